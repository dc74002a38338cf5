"""Selections for vectors and the transcriptome, through the verbs and plots that come after."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import anndata
import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest

import yoto_sc as yt
from yoto_sc.tl._request import Request

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from anndata import AnnData

mpl.use("Agg")

SLASHED = "CD4+/CD25 T Reg"
ALONE = {"transcriptome": 4}
MIXED: dict[str, Any] = {
    "categorical_keys": ["type", "number"],
    "obsm_keys": ["proteins", "embedding"],
    "transcriptome": 3,
    "task_weights": {"proteins": 2},
    "class_weights": {"type": {SLASHED: 3}, "number": {1: 2}},
}


@dataclass(frozen=True)
class Done:
    """A selection, read from a file, and its model."""

    adata: AnnData
    model_dir: Path


def with_vectors(adata: AnnData) -> AnnData:
    """Add a table with rows that lack a value, an array, and classes that are hard to write."""
    values = np.log1p(adata.X[:, :3].toarray())
    adata.obsm["embedding"] = values[:, ::-1] - 1
    values[:20, 1] = np.nan
    adata.obsm["proteins"] = pd.DataFrame(values, adata.obs_names, ["CD3", "CD4", "CD8"])
    first = adata.obs["task_0"].cat.categories[0]
    adata.obs["type"] = adata.obs["task_0"].cat.rename_categories({first: SLASHED})
    adata.obs["number"] = pd.Categorical(adata.obs["task_1"].cat.codes.clip(0))
    return adata


@pytest.fixture(scope="module", params=["alone", "mixed"])
def done(
    request: Any,
    make_adata: Callable[..., AnnData],
    quick_arguments: dict[str, Any],
    tmp_path_factory: pytest.TempPathFactory,
) -> Done:
    folder, adata = tmp_path_factory.mktemp("vectors"), with_vectors(make_adata())
    tasks = {"alone": ALONE, "mixed": MIXED}[request.param]
    quick = {name: value for name, value in quick_arguments.items() if not name.endswith("_keys")}
    yt.tl.select(adata, 6, **tasks, **quick, model_dir=folder / "model")
    adata.write_h5ad(folder / "selected.h5ad")
    return Done(anndata.read_h5ad(folder / "selected.h5ad"), folder / "model")


def test_weights_survive_a_file(done: Done) -> None:
    params = done.adata.uns["yoto"]["params"]
    assert params["transcriptome"] in (3, 4)
    if params["transcriptome"] == 4:
        assert not {"task_weights", "class_weights", "obsm_keys"} & params.keys()
        return
    assert params["task_weights"] == {"proteins": 2.0}
    assert params["class_weights"].to_dict("records") == [
        {"task": "type", "category": SLASHED, "weight": 3.0},
        {"task": "number", "category": "1", "weight": 2.0},
    ]


def test_substitutes_by_key_and_by_model_are_the_same(done: Done) -> None:
    genes = yt.Panel.from_adata(done.adata).genes[:2]
    by_key = yt.tl.substitutes(done.adata, genes=genes, n=2)
    model = yt.model.YOTO.load(done.model_dir, accelerator="cpu")
    for given in (model, done.model_dir):
        pd.testing.assert_frame_equal(
            by_key, yt.tl.substitutes(done.adata, given, genes=genes, n=2)
        )
    tasks = list(done.adata.uns["yoto"]["tasks"].index)
    assert list(by_key["task"]) == tasks * 4
    metrics = ["macro_f1" if task in ("type", "number") else "r2" for task in tasks]
    assert list(by_key["metric"]) == metrics * 4
    assert np.isfinite(by_key[["score", "loss", "loss_se", "dropped_loss"]]).all(axis=None)
    assert (by_key["dropped_category_loss"].notna() == (by_key["metric"] == "macro_f1")).all()


def test_substitutes_know_the_weights_by_key(done: Done) -> None:
    from yoto_sc.tl._question import _from_key

    _, problem = _from_key(done.adata, "yoto", None)
    model = yt.model.YOTO.load(done.model_dir, accelerator="cpu")
    assert {t.name: (t.weight, t.class_weights) for t in problem.tasks} == {
        t.name: (t.weight, t.class_weights) for t in model.tasks
    }
    without = done.adata[done.adata.obs["type"] != SLASHED].copy()
    _, problem = _from_key(without, "yoto", None)  # a class that is not there has no weight
    found = {t.name: t.class_weights for t in problem.tasks if t.categories}
    assert found in ({}, {"type": (), "number": (0.75, 1.5, 0.75)})


@pytest.mark.parametrize("done", ["mixed"], indirect=True)
def test_missing_vectors_are_told(done: Done) -> None:
    adata = done.adata.copy()
    adata.obsm["proteins"] = np.ones((adata.n_obs, 5))
    with pytest.raises(ValueError, match=r"adata\.obsm\['proteins'\] shows fewer than two"):
        yt.tl.substitutes(adata, done.model_dir)
    del adata.obsm["proteins"]
    for given in ("yoto", done.model_dir):
        with pytest.raises(
            KeyError, match=r"selected for 'proteins', which is not in adata\.obsm"
        ):
            yt.tl.substitutes(adata, given)


def test_the_panel_names_tasks_and_columns(done: Done, tmp_path: Path) -> None:
    panel = yt.Panel.from_adata(done.adata)
    assert panel.n_genes == 6
    panel.to_csv(tmp_path / "panel.csv")
    written = pd.read_csv(tmp_path / "panel.csv", keep_default_na=False)
    assert list(written["gene"]) == panel.genes == yt.Panel.from_csv(tmp_path / "panel.csv").genes
    for _, row in written.iterrows():
        if row["task"] == "transcriptome":
            assert (row["role"], row["category"]) == ("predicts transcriptome", "")
        if row["task"] == "proteins":
            assert row["category"] in ("CD3", "CD4", "CD8")
            assert row["role"] == f"most missed by {row['category']} (proteins)"
    assert set(written["task"]) <= set(done.adata.uns["yoto"]["tasks"].index)


@pytest.mark.parametrize(
    "plot", ["columns", "path", "redundancy", "selected_genes", "selected_genes_umap", "training"]
)
def test_plots(done: Done, plot: str, tmp_path: Path) -> None:
    done.adata.obsm["X_umap"] = np.random.default_rng(0).normal(size=(done.adata.n_obs, 2))
    drawn = getattr(yt.pl, plot)(done.adata)
    ax = drawn[0] if isinstance(drawn, list) else drawn
    ax.figure.savefig(tmp_path / "plot.png")
    texts = [label.get_text() for label in ax.get_yticklabels()]
    if plot == "columns":
        expected = done.adata.uns["yoto"]["columns"].query("task == 'transcriptome'")["column"]
        if len(expected) == 4:
            assert texts == list(expected)
        else:
            assert sorted(texts) == ["CD3", "CD4", "CD8"]
    if plot == "selected_genes":
        assert texts == yt.Panel.from_adata(done.adata).genes


@pytest.mark.parametrize("tasks", [ALONE, MIXED], ids=["alone", "mixed"])
def test_stability(
    tasks: dict[str, Any],
    make_adata: Callable[..., AnnData],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    adata, real, seen = with_vectors(make_adata()), Request.train, []

    def watched(request: Request, problem: Any, **more: Any) -> Any:
        seen.append({task.name: (task.weight, task.class_weights) for task in problem.tasks})
        return real(request, problem, **more)

    monkeypatch.setattr(Request, "train", watched)
    weights = {name: value for name, value in tasks.items() if name.endswith("weights")}
    quick = {"max_steps": 10, "accelerator": "cpu", "unlabeled_cells": "ignore", **weights}
    named = {name: value for name, value in tasks.items() if name not in weights}
    yt.tl.stability(adata, 6, n_runs=2, **named, select_kwargs=quick, progress_bar=False)
    results = adata.uns["yoto_stability"]
    assert np.isfinite(results["runs"]["score"]).all()
    assert adata.var["yoto_consensus"].sum() == 6
    assert results["params"]["transcriptome"] == tasks["transcriptome"]
    names = [*tasks.get("categorical_keys", ()), *tasks.get("obsm_keys", ())]
    assert [list(of_run) for of_run in seen] == [[*names, "transcriptome"]] * 2
    if weights:
        assert results["params"]["obsm_keys"] == ["proteins", "embedding"]
        assert results["params"]["task_weights"] == {"proteins": 2.0}
        assert {of_run["proteins"][0] for of_run in seen} == {2.0}
        assert all(max(of_run["type"][1]) > 1 for of_run in seen)
    else:
        assert not {"task_weights", "class_weights"} & results["params"].keys()
    adata.write_h5ad(tmp_path / "adata.h5ad")
    yt.pl.stability(anndata.read_h5ad(tmp_path / "adata.h5ad"))


def test_stability_refuses_wrong_weights_before_any_run(
    make_adata: Callable[..., AnnData],
) -> None:
    with pytest.raises(KeyError, match=r"`task_weights` names \['nope'\]"):
        yt.tl.stability(
            make_adata(), 6, categorical_keys="task_0", select_kwargs={"task_weights": {"nope": 2}}
        )
