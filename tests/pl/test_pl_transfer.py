"""The table is made by hand, so that each mark is known."""

from __future__ import annotations

from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

import yoto_sc as yt

SCORES = ("reference", "query", "adapted", "ceiling")
MARKERS = ("o", "v", "^")


def make_table(panels=("ours", "vendor"), tasks=("cell_type", "age")):
    rng = np.random.default_rng(0)
    rows = []
    for panel in panels:
        for task in tasks:
            reference = rng.uniform(0.8, 0.95)
            query = reference - rng.uniform(0.1, 0.4)
            adapted = query + rng.uniform(0, 0.2)
            scores = (reference, query, adapted, adapted + rng.uniform(-0.05, 0.1))
            metric = "r2" if task == "age" else "macro_f1"
            rows.append((panel, task, metric, *scores, 80, 3600, 4 if task != "age" else None))
    columns = ["panel", "task", "metric", *SCORES, "n_reference", "n_query", "n_classes"]
    whole = dict.fromkeys(("n_reference", "n_query", "n_classes"), "Int64")
    return pd.DataFrame(rows, columns=columns).astype(whole)


def drawn_in(ax, n_panels):
    """The scores that are drawn, a row for each list: by marker, and the dashes."""
    out = np.full((n_panels, 4), np.nan)
    for line in ax.lines:
        x, y = np.asarray(line.get_xdata(), float), np.asarray(line.get_ydata(), float)
        panel = int(round(float(np.mean(x))))
        if line.get_marker() in MARKERS:
            out[panel, MARKERS.index(line.get_marker())] = y[0]
        elif line.is_dashed():
            assert y[0] == y[1] or np.isnan(y).all()
            out[panel, 3] = y[0]
    return out


def texts_of(ax):
    return [text.get_text() for text in ax.texts]


def test_marks_are_the_scores():
    table = make_table()
    axes = yt.pl.transfer(table)
    assert [ax.get_title(loc="left") for ax in axes] == ["cell_type", "age"]
    assert [ax.get_ylabel() for ax in axes] == ["macro-F1", "R²"]
    for ax, task in zip(axes, ("cell_type", "age"), strict=True):
        block = table[table["task"] == task]
        np.testing.assert_allclose(drawn_in(ax, 2), block[list(SCORES)])
        numbers = [f"{value:.2f}" for value in block[list(SCORES[:3])].to_numpy().ravel()]
        assert texts_of(ax) == numbers
        assert ax.get_title(loc="right") == "3,600 cells of the query"
    assert [label.get_text() for label in axes[-1].get_xticklabels()] == ["ours", "vendor"]


def test_the_line_goes_from_the_reference_down_and_up_again():
    table = make_table(("ours",), ("cell_type",))
    ax = yt.pl.transfer(table)
    lines = [line for line in ax.lines if len(line.get_xdata()) == 3]
    assert len(lines) == 1
    assert all(a < b for a, b in pairwise(lines[0].get_xdata()))
    np.testing.assert_allclose(lines[0].get_ydata(), table[list(SCORES[:3])].iloc[0])


def test_one_task_of_several():
    table = make_table()
    ax = yt.pl.transfer(table, task="age")
    assert ax.get_title(loc="left") == "age"
    np.testing.assert_allclose(drawn_in(ax, 2), table[table["task"] == "age"][list(SCORES)])


def test_scores_far_below_are_at_the_end_with_their_value():
    table = make_table(tasks=("age",))
    table.loc[1, "query"] = -3.5
    ax = yt.pl.transfer(table)
    assert drawn_in(ax, 2)[1, 1] == -0.25
    assert ax.get_ylim()[0] > -0.6
    assert "−3.50" in texts_of(ax)


def test_what_is_undefined_is_left_out():
    table = make_table(tasks=("age",))
    table.loc[0, ["reference", "ceiling"]] = np.nan
    table.loc[1, list(SCORES)] = np.nan
    ax = yt.pl.transfer(table)
    np.testing.assert_allclose(drawn_in(ax, 2), table[list(SCORES)])
    assert len(texts_of(ax)) == 2
    assert yt.pl.transfer(table.iloc[1:]).get_ylim()[0] < 0.5


def test_a_list_without_a_task_keeps_its_place():
    table = make_table().drop(index=2)  # the vendor's cell types
    axes = yt.pl.transfer(table)
    assert np.isnan(drawn_in(axes[0], 2)[1]).all()
    np.testing.assert_allclose(drawn_in(axes[1], 2)[1], table.loc[3, list(SCORES)].tolist())


def test_differences_that_are_nothing_look_like_nothing():
    table = make_table(("ours",), ("cell_type",))
    table[list(SCORES)] = [0.8, 0.799, 0.801, 0.8]
    low, high = yt.pl.transfer(table).get_ylim()
    assert high - low > 0.2


@pytest.mark.parametrize("n_panels", [1, 6])
@pytest.mark.parametrize("name", ["list", "a rather long name of a list"])
def test_names_and_legend_have_room(n_panels, name):
    panels = [f"{name} {number}" for number in range(n_panels)]
    axes = yt.pl.transfer(make_table(panels))
    figure = axes[0].figure
    figure.draw_without_rendering()
    size = figure.get_size_inches() * figure.dpi
    legend = figure.legends[0].get_window_extent()
    labels = [label.get_window_extent() for label in axes[-1].get_xticklabels()]
    assert legend.y1 <= min(box.y0 for box in labels) + 1
    assert legend.x0 >= -1
    assert legend.x1 <= size[0] + 1
    for box in labels:
        assert box.x0 >= -1
        assert box.x1 <= size[0] + 1
    numbers = [text.get_window_extent() for text in axes[0].texts]
    assert all(axes[0].bbox.y0 <= box.y0 and box.y1 <= axes[0].bbox.y1 for box in numbers)


def test_table_does_not_change():
    table = make_table()
    before = table.copy()
    yt.pl.transfer(table)
    pd.testing.assert_frame_equal(table, before)


def test_draws_on_given_axes(monkeypatch):
    figure, axes = plt.subplots()
    assert yt.pl.transfer(make_table(), task="age", ax=axes) is axes
    assert axes.get_legend() is not None
    calls = []
    monkeypatch.setattr(plt, "show", lambda: calls.append(plt.get_fignums()))
    assert yt.pl.transfer(make_table(), task="age", ax=axes, show=True) is None
    assert yt.pl.transfer(make_table(), show=True) is None
    assert len(calls) == 2
    assert plt.get_fignums() == [figure.number]
    plt.close(figure)


def test_bad_input():
    table = make_table()
    with pytest.raises(TypeError, match="not a dict"):
        yt.pl.transfer({})
    with pytest.raises(KeyError, match=r"no column 'ceiling'.*tl\.transfer"):
        yt.pl.transfer(table.drop(columns="ceiling"))
    with pytest.raises(KeyError, match=r"no task 'nope'. Its tasks are \['cell_type', 'age'\]"):
        yt.pl.transfer(table, task="nope")
    with pytest.raises(ValueError, match="no rows"):
        yt.pl.transfer(table.iloc[:0])
    figure, axes = plt.subplots()
    with pytest.raises(ValueError, match="One `ax` holds one task"):
        yt.pl.transfer(table, ax=axes)
    plt.close(figure)
