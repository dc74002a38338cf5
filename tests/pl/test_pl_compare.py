"""The table is made by hand, so that each mean is known."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

import yoto_sc as yt

PANELS = ("ours", "vendor", "random")
CLASSIFIERS = ("k_neighbors", "random_forest")


def make_table(panels=PANELS, tasks=("cell_type", "age")):
    rng = np.random.default_rng(0)
    rows = []
    for panel in panels:
        for task in tasks:
            for classifier in CLASSIFIERS:
                for fold in range(4):
                    common = (panel, task, classifier, fold)
                    metric = "r2" if task == "age" else "macro_f1"
                    rows.append((*common, metric, "", rng.random(), 20))
                    if task == "age":
                        continue
                    rows.append((*common, "log_loss", "", rng.random(), 20))
                    for n_cells, category in ((15, "B"), (5 - fold, "T")):
                        rows.append((*common, "recall", category, rng.random(), n_cells))
                    rows.append((*common, "recall", "one cell", np.nan, 0))
        rows.append((panel, "", "", None, "knn_overlap", "", rng.random(), 80))
        for task in ("", "cell_type"):
            rows.append((panel, task, "", None, "leiden_nmi", "", rng.random(), 80))
    columns = ["panel", "task", "classifier", "fold", "metric", "category", "value", "n_cells"]
    return pd.DataFrame(rows, columns=columns).astype({"fold": "Int64", "n_cells": "Int64"})


def rows_of(ax):
    """The large dot and the small dots of each row, in the order of the rows."""
    labels = [label.get_text() for label in ax.get_yticklabels()]
    out = []
    for at, label in enumerate(labels):
        lines = [line for line in ax.lines if set(line.get_ydata()) == {at}]
        sized = {
            line.get_markersize(): line.get_xdata() for line in lines if line.get_marker() == "o"
        }
        out.append((label, sized[max(sized)] if sized else None, sized.get(4)))
    return out


def test_folds_and_their_mean():
    table = make_table()
    rows = rows_of(yt.pl.compare(table))
    assert [label for label, *_ in rows] == [
        *("cell_type (macro-F1)", *PANELS),
        *("age (R²)", *PANELS),
    ]
    for task, metric, first in (("cell_type", "macro_f1", 1), ("age", "r2", 5)):
        for label, mean, folds in rows[first : first + 3]:
            ours = (table["panel"] == label) & (table["task"] == task)
            expected = table[ours & (table["metric"] == metric)].groupby("fold")["value"].mean()
            np.testing.assert_allclose(folds, expected)
            np.testing.assert_allclose(mean, expected.mean())


def test_recall_has_a_block_for_each_class_with_its_cells():
    table = make_table()
    rows = rows_of(yt.pl.compare(table, metric="recall"))
    assert [label for label, *_ in rows] == ["B (n=60)", *PANELS, "T (n=14)", *PANELS]
    ours = table.query("panel == 'vendor' and category == 'T'").astype({"n_cells": float})
    pooled = (ours["value"] * ours["n_cells"]).sum() / ours["n_cells"].sum()
    np.testing.assert_allclose(rows[6][1], pooled)


@pytest.mark.parametrize(
    ("metric", "label", "first"),
    [
        (None, "held-out macro-F1 or R² (mean of 2 estimators)", "cell_type (macro-F1)"),
        ("log_loss", "held-out log loss (mean of 2 estimators), lower is better", "cell_type"),
        ("knn_overlap", "share of nearest neighbours kept", "ours"),
        ("leiden_nmi", "NMI of Leiden clusters", "all genes"),
    ],
)
def test_labels(metric, label, first):
    ax = yt.pl.compare(make_table(), metric=metric)
    assert ax.get_xlabel() == label
    assert ax.get_yticklabels()[0].get_text() == first
    assert (ax.get_title() == "") == ax.get_xlabel().startswith(("share", "NMI"))


def test_small_differences_look_small():
    table = make_table()
    table["value"] = 0.7 + table["value"] / 1000
    ax = yt.pl.compare(table)
    low, high = ax.get_xlim()
    assert high - low == pytest.approx(0.1)
    assert low < table["value"].min()
    assert high > table["value"].max()
    assert len(ax.get_xticks()) <= 7


def test_columns_have_blocks_of_their_own():
    table = make_table(tasks=("age",))
    parts = [
        table.assign(task="proteins", metric="column_r2", category=name, value=table["value"] / n)
        for n, name in enumerate(("CD3", "CD4"), start=1)
    ]
    parts = [part[part["fold"].notna()] for part in parts]
    both = pd.concat([table, *parts])
    ax = yt.pl.compare(both, metric="column_r2")
    rows = rows_of(ax)
    assert [label for label, *_ in rows] == ["CD3", *PANELS, "CD4", *PANELS]
    np.testing.assert_allclose(rows[5][2], rows[1][2] / 2)
    assert ax.get_xlabel() == "held-out R² of a column (mean of 2 estimators)"
    without = yt.pl.compare(both)  # by default, each task has one block
    assert [label for label, *_ in rows_of(without)] == ["age", *PANELS]


def test_one_classifier_alone():
    table = make_table()
    ax = yt.pl.compare(table[table["classifier"] == "random_forest"])
    assert ax.get_xlabel() == "held-out macro-F1 or R²"


def test_a_panel_without_values_keeps_its_row():
    table = make_table()
    table = table[(table["panel"] != "vendor") | (table["task"] != "age")]
    rows = rows_of(yt.pl.compare(table))
    assert rows[6][0] == "vendor"
    assert rows[6][1] is None


@pytest.mark.parametrize("n_panels", [2, 8])
def test_labels_do_not_overlap(n_panels):
    names = [f"a rather long name of a panel {number}" for number in range(n_panels)]
    ax = yt.pl.compare(make_table(names), metric="recall")
    ax.figure.draw_without_rendering()
    boxes = [label.get_window_extent() for label in ax.get_yticklabels()]
    spans = sorted((box.y0, box.y1) for box in boxes)
    assert all(a[1] <= b[0] + 1 for a, b in zip(spans, spans[1:], strict=False))
    assert all(box.x0 >= 0 for box in boxes)


def test_table_does_not_change():
    table = make_table()
    before = table.copy()
    yt.pl.compare(table)
    pd.testing.assert_frame_equal(table, before)


def test_draws_on_given_axes(monkeypatch):
    figure, axes = plt.subplots()
    assert yt.pl.compare(make_table(), ax=axes) is axes
    calls = []
    monkeypatch.setattr(plt, "show", lambda: calls.append(plt.get_fignums()))
    assert yt.pl.compare(make_table(), ax=axes, show=True) is None
    assert yt.pl.compare(make_table(), show=True) is None
    assert len(calls) == 2
    assert plt.get_fignums() == [figure.number]
    plt.close(figure)


def test_bad_input():
    table = make_table()
    with pytest.raises(TypeError, match="not a dict"):
        yt.pl.compare({})
    with pytest.raises(KeyError, match=r"no column 'panel'.*tl\.compare"):
        yt.pl.compare(table.drop(columns="panel"))
    with pytest.raises(ValueError, match=r"no value of nope. Its metrics are \['macro_f1'"):
        yt.pl.compare(table, metric="nope")
