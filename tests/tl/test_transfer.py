"""`tl.transfer`: what lists of genes lose on the way to another assay, and what comes back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import yoto_sc as yt

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

QUICK: dict[str, Any] = {"max_steps": 300, "accelerator": "cpu", "progress_bar": False}
TASKS = {"categorical_keys": "task_0", "continuous_keys": "score_0"}


@pytest.fixture(scope="module")
def assays() -> tuple[AnnData, AnnData]:
    both = yt.datasets.planted(
        700,
        80,
        n_informative=12,
        n_redundant=4,
        n_classes=(4,),
        n_continuous=1,
        missing=0.0,
        n_query=500,
        efficiency_sd=1.4,
        depth=0.6,
        random_state=1,
    )
    is_query = (both.obs["assay"] == "query").to_numpy()
    return both[~is_query].copy(), both[is_query].copy()


@pytest.fixture(scope="module")
def lists(assays: tuple[AnnData, AnnData]) -> dict[str, list[str]]:
    told = assays[0].var["informative"]
    return {
        "informative": list(assays[0].var_names[told])[:10],
        "others": list(assays[0].var_names[~told])[:10],
    }


@pytest.fixture(scope="module")
def table(assays: tuple[AnnData, AnnData], lists: dict[str, list[str]]) -> pd.DataFrame:
    reference, query = assays
    return yt.tl.transfer(reference, query, lists, **TASKS, **QUICK)


def test_a_row_for_each_list_and_task(table: pd.DataFrame) -> None:
    assert table[["panel", "task", "metric"]].to_numpy().tolist() == [
        ["informative", "task_0", "macro_f1"],
        ["informative", "score_0", "r2"],
        ["others", "task_0", "macro_f1"],
        ["others", "score_0", "r2"],
    ]
    assert (table["n_genes"] == 10).all()
    assert (table["n_query"] == 500).all()
    assert table[["reference", "query", "adapted", "ceiling"]].notna().all(axis=None)


def test_what_is_lost_and_what_comes_back(table: pd.DataFrame) -> None:
    row = table.iloc[0]
    assert row["reference"] > row["query"] + 0.02
    assert row["adapted"] > row["query"]
    assert row["ceiling"] > row["query"]
    other = table.iloc[2]
    assert row["reference"] > other["reference"] + 0.3
    assert row["ceiling"] > other["ceiling"] + 0.3


def test_scores_are_those_of_predictions(
    assays: tuple[AnnData, AnnData], lists: dict[str, list[str]], table: pd.DataFrame
) -> None:
    """The same training, by hand."""
    reference, query = (adata.copy() for adata in assays)
    yt.tl.select(
        reference,
        10,
        candidates=lists["informative"],
        group_key=None,
        **{name: [key] for name, key in TASKS.items()},
        **QUICK,
    )
    metrics = reference.uns["yoto"]["metrics"]
    assert table["reference"].iloc[0] == pytest.approx(metrics.loc["task_0", "macro_f1"])
    assert table["reference"].iloc[1] == pytest.approx(metrics.loc["score_0", "r2"])


def test_cells_without_a_label_are_not_judged(
    assays: tuple[AnnData, AnnData], lists: dict[str, list[str]]
) -> None:
    reference, query = (adata.copy() for adata in assays)
    labels = query.obs["task_0"].astype(object)
    first = labels.unique()[0]
    rare = labels.index[(labels == first).to_numpy()][7:]  # of this class, seven are left
    labels[rare] = np.nan
    labels.iloc[400:] = np.nan
    query.obs["task_0"] = labels
    found = yt.tl.transfer(
        reference, query, lists["informative"], categorical_keys="task_0", **QUICK
    )
    assert found["panel"].tolist() == ["panel"]
    assert found["n_query"].item() == int((labels.notna() & (labels != first)).sum())


def test_refuses_what_cannot_be_judged(
    assays: tuple[AnnData, AnnData], lists: dict[str, list[str]]
) -> None:
    reference, query = assays
    genes = lists["informative"]
    fewer = query[:, query.var_names != genes[2]].copy()
    with pytest.raises(KeyError, match=r"query lacks 1 genes of 'panel'"):
        yt.tl.transfer(reference, fewer, genes, categorical_keys="task_0")
    with pytest.raises(KeyError, match="no_gene"):
        yt.tl.transfer(reference, query, [*genes, "no_gene"], categorical_keys="task_0")
    with pytest.raises(ValueError, match="is empty"):
        yt.tl.transfer(reference, query, {}, categorical_keys="task_0")
    one = query[(query.obs["task_0"] == "class_0").to_numpy()].copy()
    with pytest.raises(ValueError, match="fewer than two classes"):
        yt.tl.transfer(reference, one, genes, categorical_keys="task_0")
    few = query.copy()
    few.obs.loc[few.obs_names[7:], "score_0"] = np.nan
    with pytest.raises(ValueError, match="fewer than 8 cells have a number"):
        yt.tl.transfer(reference, few, genes, continuous_keys="score_0")
    bare = query.copy()
    del bare.obs["task_0"]
    with pytest.raises(KeyError, match="task_0"):
        yt.tl.transfer(reference, bare, genes, categorical_keys="task_0")
