"""What a panel is worth when some of its genes are not measured after all."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.model_selection import cross_val_predict

import yoto_sc as yt
from yoto_sc.judge import lost_genes


@pytest.fixture(scope="module")
def selected(make_adata, quick_arguments, tmp_path_factory):
    adata, path = make_adata(), tmp_path_factory.mktemp("model") / "model"
    yt.tl.select(adata, 12, model_dir=path, **quick_arguments)
    return adata, path


@pytest.fixture(scope="module")
def table(selected):
    return yt.tl.probe_failure(selected[0], n_draws=4, progress_bar=False)


def test_none_one_two_and_parts_of_the_panel_are_lost(table):
    tasks = table["task"].nunique()
    assert (table.groupby("n_lost")["draw"].nunique()).to_dict() == {0: 1, 1: 4, 2: 4, 3: 4, 6: 4}
    assert len(table) == 17 * tasks
    for n_lost, genes in zip(table["n_lost"], table["genes"], strict=True):
        assert len(genes.split(", ") if genes else []) == n_lost
    assert list(table["draw"].unique()) == [0, 1, 2, 3]


def test_scores_are_those_of_regression_on_the_genes_that_are_left(selected, table):
    adata = selected[0]
    panel = yt.Panel.from_adata(adata).genes
    rows = table[(table["task"] == "task_0") & (table["n_lost"] == 6)]
    seen = adata.obs["task_0"].notna().to_numpy()
    labels = adata.obs["task_0"][seen].astype(str)
    for lost, score in zip(rows["genes"], rows["score"], strict=True):
        left = [gene for gene in panel if gene not in lost.split(", ")]
        values = np.log1p(adata[seen, left].X.toarray())
        values = (values - values.mean(axis=0)) / np.maximum(values.std(axis=0), 1e-9)
        told = cross_val_predict(LogisticRegression(max_iter=500), values, labels, cv=5)
        assert score == pytest.approx(f1_score(labels, told, average="macro"), abs=0.12)


def test_more_is_lost_with_more_genes(table):
    means = table[table["metric"] == "macro_f1"].groupby("n_lost")["score"].mean()
    assert means[6] < means[0]
    worst = table.dropna(subset="worst_f1")
    assert (worst["worst_f1"] <= worst["score"] + 1e-9).all()
    assert set(worst["task"]) == {"task_0", "task_1"}


def test_without_any_loss_the_panel_is_as_it_is(selected, table):
    again = yt.tl.probe_failure(selected[0], n_lost=0, progress_bar=False)
    pd.testing.assert_frame_equal(again, table[table["n_lost"] == 0].reset_index(drop=True))


def test_a_model_is_asked_as_its_selection_is(selected):
    adata, path = selected
    few = {"n_lost": [0, 3], "n_draws": 2, "progress_bar": False}
    pd.testing.assert_frame_equal(
        yt.tl.probe_failure(adata, path, **few), yt.tl.probe_failure(adata, **few)
    )


def test_draws_differ_and_single_genes_come_once():
    rng = np.random.default_rng(0)
    assert sorted(int(gene) for (gene,) in lost_genes(5, 1, 20, rng)) == [0, 1, 2, 3, 4]
    pairs = [tuple(lost) for lost in lost_genes(4, 2, 200, rng)]
    assert len(pairs) == len(set(pairs)) == 6
    assert all(first < second for first, second in pairs)
    assert [lost.tolist() for lost in lost_genes(3, 0, 5, rng)] == [[]]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"n_lost": 12}, ValueError, "n_lost=12 leaves nothing of the panel, which has 12 genes"),
        ({"n_lost": [0, -1]}, ValueError, "n_lost must be at least 0"),
        ({"n_lost": "two"}, TypeError, "n_lost must be an integer"),
        ({"n_lost": 0.5}, TypeError, "n_lost must be a name or a list"),
        ({"n_draws": 0}, ValueError, "n_draws must be at least 1"),
        ({"random_state": -1}, ValueError, "random_state must be at least 0"),
        ({"model_or_key": "mine"}, FileNotFoundError, "neither the key of a selection"),
    ],
)
def test_bad_arguments(selected, arguments, error, message):
    with pytest.raises(error, match=message):
        yt.tl.probe_failure(selected[0], **arguments)


def test_the_plot_shows_means_and_extremes(table):
    ax = yt.pl.probe_failure(table, show=False)
    first = table[table["task"] == "task_0"].groupby("n_lost")["score"]
    np.testing.assert_allclose(ax.lines[0].get_xydata(), first.mean().reset_index())
    area = ax.collections[0].get_paths()[0].vertices
    assert area[:, 1].min() == pytest.approx(first.min().min())
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels[0].startswith("task_0 (macro-F1 0.")
    assert ax.get_ylabel() == "held-out macro-F1 or R²"
    ax.set_title("mine")
    assert ax.get_title("left") == ""


def test_the_plot_of_a_task_without_scores(table):
    empty = table.assign(score=np.where(table["task"] == "task_0", np.nan, table["score"]))
    ax = yt.pl.probe_failure(empty, show=False)
    assert len(ax.lines[0].get_xydata()) == 0
    assert ax.get_legend().get_texts()[0].get_text() == "task_0"
