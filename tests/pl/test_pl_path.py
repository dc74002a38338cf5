from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import yoto_sc as yt


def curves(ax):
    """Drawn points of each task, by the first word of its entry in the legend."""
    lines = [line for line in ax.lines if " (" in line.get_label()]
    return {line.get_label().split(" (")[0]: line.get_xydata() for line in lines}


def test_each_task_has_its_scores(adata):
    ax = yt.pl.path(adata)
    table = adata.uns["yoto"]["path"]
    drawn = curves(ax)
    assert list(drawn) == ["bulk_labels", "phase", "S_score"]
    for task, points in drawn.items():
        expected = table[table["task"] == task].sort_values("n_genes")
        np.testing.assert_allclose(points, expected[["n_genes", "score"]])


def test_legend_gives_the_score_of_the_panel(adata):
    ax = yt.pl.path(adata)
    (legend,) = ax.figure.legends
    at = adata.uns["yoto"]["path"].query("n_genes == 32").set_index("task")["score"]
    assert [text.get_text() for text in legend.get_texts()] == [
        f"bulk_labels (macro-F1 {at['bulk_labels']:.2f})",
        f"phase (macro-F1 {at['phase']:.2f})",
        f"S_score (R² {at['S_score']:.2f})",
        "open: ridge regression",
    ]


def test_open_markers_where_the_network_does_not_reach(adata):
    (opened,) = [
        line
        for line in yt.pl.path(adata, tasks="phase").lines
        if line.get_markerfacecolor() == "white" and len(line.get_xdata())
    ]
    table = adata.uns["yoto"]["path"].query("task == 'phase' and predictor == 'ridge'")
    np.testing.assert_array_equal(np.sort(opened.get_xdata()), np.sort(table["n_genes"]))
    assert opened.get_linestyle() == "None"


def test_no_word_of_ridge_regression_without_it(adata):
    adata.uns["yoto"]["path"] = adata.uns["yoto"]["path"].query("predictor == 'network'")
    (legend,) = yt.pl.path(adata).figure.legends
    assert len(legend.get_texts()) == 3


def test_sizes_are_plain_powers_of_two_and_the_panel_is_marked(adata):
    ax = yt.pl.path(adata)
    ticks = [label.get_text() for label in ax.get_xticklabels()]
    assert ticks == ["1", "4", "16", "64", "256"]
    assert ax.get_xscale() == "log"
    assert [text.get_text() for text in ax.texts] == ["panel: 32"]
    (line,) = [line for line in ax.lines if line.get_linestyle() == "--"]
    assert set(line.get_xdata()) == {32}


def test_many_sizes_have_a_number_at_each_second_power(adata):
    path = adata.uns["yoto"]["path"]
    path.loc[path["n_genes"] == 765, "n_genes"] = 20_000
    ticks = [label.get_text() for label in yt.pl.path(adata).get_xticklabels()]
    assert ticks == [str(4**power) for power in range(8)]


@pytest.mark.parametrize(
    ("tasks", "label"),
    [
        (None, "held-out score (macro-F1 or R²)"),
        (["phase", "bulk_labels"], "held-out macro-F1"),
        ("S_score", "held-out R²"),
    ],
)
def test_label_names_the_metrics_shown(adata, tasks, label):
    assert yt.pl.path(adata, tasks=tasks).get_ylabel() == label


def test_very_negative_scores_are_cut_off_and_that_is_said(adata):
    ax = yt.pl.path(adata)
    assert adata.uns["yoto"]["path"]["score"].min() < -0.25
    assert ax.get_ylim()[0] == -0.25
    assert ax.get_xlabel() == "panel size (genes)\nScores below \N{MINUS SIGN}0.25 are not shown."
    ax = yt.pl.path(adata, tasks="phase")
    assert ax.get_ylim()[0] == 0
    assert ax.get_xlabel() == "panel size (genes)"


def test_a_task_keeps_its_colour_when_shown_alone(adata):
    colors = {line.get_label(): line.get_color() for line in yt.pl.path(adata).lines}
    (alone,) = [line for line in yt.pl.path(adata, tasks="phase").lines if "(" in line.get_label()]
    assert colors[alone.get_label()] == alone.get_color()


def test_other_metrics_and_missing_scores_are_left_out(adata):
    path = adata.uns["yoto"]["path"]
    accuracy = path.query("task == 'phase'").assign(metric="accuracy", score=0.99)
    path.loc[(path["task"] == "phase") & (path["n_genes"] == 4), "score"] = np.nan
    adata.uns["yoto"]["path"] = pd.concat([accuracy, path], ignore_index=True)
    points = curves(yt.pl.path(adata))["phase"]
    assert 0.99 not in points[:, 1]
    assert 4 not in points[:, 0]
    assert len(points) == 10


@pytest.mark.filterwarnings("error")
def test_a_path_without_scores_is_an_empty_plot(adata):
    adata.uns["yoto"]["path"]["score"] = np.nan
    ax = yt.pl.path(adata)
    assert curves(ax) == {}
    assert "no held-out scores" in [text.get_text() for text in ax.texts]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["32"]


def test_a_single_size_can_be_drawn(adata):
    adata.uns["yoto"]["path"] = adata.uns["yoto"]["path"].query("n_genes == 32")
    ax = yt.pl.path(adata)
    assert [label.get_text() for label in ax.get_xticklabels()] == ["32"]


def test_unknown_task(adata):
    with pytest.raises(KeyError, match=r"'louvain' was not part.*'bulk_labels', 'phase'"):
        yt.pl.path(adata, tasks=["phase", "louvain"])


def test_missing_table(adata):
    del adata.uns["yoto"]["path"]
    with pytest.raises(KeyError, match="holds no 'path'"):
        yt.pl.path(adata)
