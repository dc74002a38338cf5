"""Bars are held against the stored table; labels against each other, as drawn."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import yoto_sc as yt


def bars(ax):
    """Length of each bar, by its label, from top to bottom."""
    labels = [label.get_text() for label in ax.get_yticklabels()]
    drawn = {round(bar.get_y() + bar.get_height() / 2): bar.get_width() for bar in ax.patches}
    return {label: drawn.get(row, np.nan) for row, label in enumerate(labels)}


def stored(adata, task="modules"):
    table = adata.uns["modules"]["columns"]
    return table[table["task"] == task].set_index("column")["r2"]


def with_r2(adata, values):
    """Give the selection vectors with columns of these R²."""
    names = [f"marker {number}" for number in range(len(values))]
    adata.uns["modules"]["columns"] = pd.DataFrame(
        {"task": "modules", "column": names, "r2": values, "rmse": 1.0, "pearson_r": 0.5}
    )
    return dict(zip(names, values, strict=True))


def columns(adata, **kwargs):
    return yt.pl.columns(adata, key="modules", **kwargs)


def test_bars_are_r2_the_best_at_the_top(adata):
    ax = columns(adata)
    expected = stored(adata).sort_values(ascending=False)
    assert list(bars(ax)) == list(expected.index)
    np.testing.assert_allclose(list(bars(ax).values()), expected)
    assert ax.get_ylim()[0] > ax.get_ylim()[1]
    assert ax.get_title() == "modules: 12 columns"
    assert ax.get_xlabel() == "held-out R²"
    assert ax.get_xlim()[0] < expected.min() < 0
    assert ax.get_xlim()[1] == 1


def test_a_line_is_all_columns_together(adata):
    ax = columns(adata)
    (line,) = [line for line in ax.lines if line.get_linestyle() == "--"]
    np.testing.assert_allclose(line.get_xdata(), 0.625)
    assert [text.get_text() for text in ax.texts] == ["all: 0.62"]
    adata.uns["modules"]["metrics"] = adata.uns["modules"]["metrics"][["macro_f1"]]
    assert len(columns(adata).texts) == 0


def test_components_stand_in_their_order(adata):
    ax = columns(adata, task="transcriptome")
    assert list(bars(ax)) == [f"PC{number + 1}" for number in range(30)]
    np.testing.assert_allclose(list(bars(ax).values()), stored(adata, "transcriptome"))
    few = columns(adata, task="transcriptome", n_columns=3)
    assert list(bars(few)) == ["PC1", "PC2", "PC3"]
    assert few.get_title() == "transcriptome: the first 3 of 30 components"


@pytest.mark.parametrize("n_columns", [1, 2, 5, 11, 12])
def test_of_many_columns_the_best_and_the_worst(adata, n_columns):
    ax = columns(adata, n_columns=n_columns)
    ranked = stored(adata).sort_values(ascending=False)
    n_best, n_worst = (n_columns + 1) // 2, n_columns // 2
    expected = list(ranked.index)
    if n_columns < 12:
        expected = [*ranked.index[:n_best], f"… {12 - n_columns} more …"]
        expected += list(ranked.index[12 - n_worst :])
        title = f"modules: the best {n_best} and the worst {n_worst} of 12 columns"
        assert ax.get_title() == title
    drawn = bars(ax)
    assert list(drawn) == expected
    for name, value in ranked[ranked.index.isin(drawn)].items():
        np.testing.assert_allclose(drawn[name], value)


def test_far_below_zero_is_cut_off_and_said(adata):
    with_r2(adata, [0.5, -3.0])
    ax = columns(adata)
    assert ax.get_xlim() == (-0.25, 1)
    assert "Bars below \N{MINUS SIGN}0.25 are cut off." in ax.get_xlabel()
    with_r2(adata, [0.5, 0.2])
    ax = columns(adata)
    assert ax.get_xlim() == (0, 1)
    assert ax.get_xlabel() == "held-out R²"


@pytest.mark.parametrize("values", [[0.5, np.nan, 0.7], [np.nan]])
def test_a_column_without_a_score_is_told(adata, values):
    with_r2(adata, values)
    ax = columns(adata)
    *_, last = bars(ax)
    assert last == f"marker {values.index(np.nan) if len(values) > 1 else 0}"
    assert "undefined: constant in held-out cells" in [text.get_text() for text in ax.texts]


@pytest.mark.parametrize("n_columns", [1, 40, 200])
@pytest.mark.parametrize("task", ["t", "proteins_of_the_second_batch_denoised"])
def test_labels_do_not_overlap(adata, n_columns, task):
    with_r2(adata, list(np.linspace(-0.1, 1, 200)))
    for name in ("tasks", "metrics"):
        adata.uns["modules"][name] = adata.uns["modules"][name].rename({"modules": task})
    adata.uns["modules"]["columns"]["task"] = task
    ax = columns(adata, n_columns=n_columns)
    ax.figure.draw_without_rendering()
    boxes = [label.get_window_extent() for label in ax.get_yticklabels()]
    spans = sorted((box.y0, box.y1) for box in boxes)
    assert all(a[1] <= b[0] + 1 for a, b in zip(spans, spans[1:], strict=False))
    assert all(box.x0 >= 0 for box in boxes)
    (note,), title = ax.texts, ax._left_title
    assert not note.get_window_extent().overlaps(title.get_window_extent())
    assert title.get_window_extent().x1 <= ax.figure.bbox.x1


@pytest.mark.parametrize(
    ("kwargs", "error", "message"),
    [
        ({"task": "louvain"}, KeyError, r"'louvain' was not part.*\['modules', 'transcriptome'\]"),
        ({"n_columns": 0}, ValueError, "n_columns must be at least 1, not 0"),
        (
            {"task": "phase", "key": "yoto"},
            ValueError,
            r"'phase' has no columns: its kind is 'categorical'. The tasks of vectors are \[\]",
        ),
        ({"key": "yoto"}, ValueError, r"no task of vectors, .*\['bulk_labels', 'phase'.*pl\.path"),
    ],
)
def test_bad_arguments(adata, kwargs, error, message):
    with pytest.raises(error, match=message):
        yt.pl.columns(adata, **{"key": "modules", **kwargs})


def test_a_table_of_another_version(adata):
    del adata.uns["modules"]["columns"]
    with pytest.raises(KeyError, match=r"holds no 'columns'.*tl\.select"):
        columns(adata)
