"""`tl.stability`: what it writes is what the runs selected, under the user's rules."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import anndata
import numpy as np
import pandas as pd
import pytest

import yoto_sc as yt
from yoto_sc.tl._request import Request

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from anndata import AnnData

TASKS = {"categorical_keys": ["task_0", "task_1"], "continuous_keys": ["score_0"]}
QUICK = {
    "max_steps": 20,
    "accelerator": "cpu",
    "model_kwargs": {"n_hidden": 8, "n_members": 1},
}


def run(adata: AnnData, n_genes: Any = 6, **kwargs: Any) -> AnnData | None:
    arguments = {"n_runs": 3, "progress_bar": False, "select_kwargs": QUICK, **TASKS, **kwargs}
    return yt.tl.stability(adata, n_genes, **arguments)


@pytest.fixture(scope="module")
def calls() -> list[dict[str, Any]]:
    """What the runs of `repeated` were called with and what they selected."""
    return []


@pytest.fixture(scope="module")
def repeated(make_adata: Callable[..., AnnData], calls: list[dict[str, Any]]) -> AnnData:
    """Three real runs, watched."""
    adata = make_adata()
    real = Request.train

    def watched(request: Request, problem: Any, **more: Any) -> Any:
        model = real(request, problem, **more)
        calls.append(
            {
                "random_state": request.random_state,
                "cells": list(problem.obs_names),
                "selected": model.panel().table["selected"].to_numpy(),
            }
        )
        return model

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Request, "train", watched)
        run(adata, include=["gene_0003"], exclude=["gene_001*"])
    return adata


@dataclass
class FakeModel:
    """A model that selected genes at random."""

    tasks: tuple[Any, ...]
    table: pd.DataFrame

    @property
    def metrics(self) -> pd.DataFrame:
        scores = {"macro_f1": [0.5, 0.5, np.nan], "r2": [np.nan, np.nan, 0.1]}
        return pd.DataFrame(scores, index=["task_0", "task_1", "score_0"])

    def panel(self) -> FakeModel:
        return self


@pytest.fixture
def fake_runs(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Let runs take no time: each selects genes at random, and is written down."""
    seen: list[dict[str, Any]] = []

    def fake(request: Request, problem: Any) -> FakeModel:
        rng = np.random.default_rng(request.random_state)
        seen.append({"random_state": request.random_state, "problem": problem})
        score = rng.random(len(problem.var_names))
        selected = score >= np.sort(score)[-request.n_genes]
        return FakeModel(problem.tasks, pd.DataFrame({"selected": selected, "score": score}))

    monkeypatch.setattr(Request, "train", fake)
    return seen


def test_writes_what_the_runs_selected(
    repeated: AnnData, calls: list[dict[str, Any]], make_adata: Callable[..., AnnData]
) -> None:
    selected = np.array([call["selected"] for call in calls])
    frequency = repeated.var["yoto_frequency"]
    assert frequency.dtype == np.float32
    np.testing.assert_allclose(frequency, selected.mean(axis=0), rtol=1e-6)
    record = repeated.uns["yoto_stability"]
    genes = repeated.var_names[selected.any(axis=0)]
    assert list(record["panels"].index) == list(genes)
    np.testing.assert_array_equal(record["panels"], selected.T[repeated.var_names.isin(genes)])
    assert len({call["random_state"] for call in calls}) == 3
    assert list(record["runs"]["random_state"]) == [call["random_state"] for call in calls]
    assert list(record["runs"]["n_cells"]) == [len(call["cells"]) for call in calls]
    assert np.isfinite(record["runs"]["score"]).all()
    assert (record["runs"]["error"] == "").all()
    before = make_adata()
    assert set(repeated.var) - set(before.var) == {"yoto_frequency", "yoto_consensus"}
    assert set(repeated.uns) - set(before.uns) == {"yoto_stability"}
    assert list(repeated.obs) == list(before.obs)


def test_consensus_has_n_genes_and_keeps_the_rules(repeated: AnnData) -> None:
    consensus = repeated.var["yoto_consensus"]
    assert consensus.dtype == bool
    assert consensus.sum() == 6
    assert consensus["gene_0003"]
    assert not consensus[repeated.var_names.str.startswith("gene_001")].any()
    frequency = repeated.var["yoto_frequency"]
    assert frequency[consensus].min() >= frequency[~consensus].max()


def test_agreement_is_that_of_the_free_genes(repeated: AnnData) -> None:
    record = repeated.uns["yoto_stability"]
    panels = [set(record["panels"].index[record["panels"][run]]) for run in record["panels"]]
    free = [panel - {"gene_0003"} for panel in panels]
    n = sum(not name.startswith("gene_001") for name in repeated.var_names) - 1
    pairs = [(0, 1), (0, 2), (1, 2)]
    jaccard = [len(free[i] & free[j]) / len(free[i] | free[j]) for i, j in pairs]
    kuncheva = [(len(free[i] & free[j]) - 25 / n) / (5 - 25 / n) for i, j in pairs]
    for name, expected in (("jaccard", jaccard), ("kuncheva", kuncheva)):
        table = record[name].to_numpy()
        np.testing.assert_allclose([table[pair] for pair in pairs], expected)
        assert record[f"mean_{name}"] == pytest.approx(np.mean(expected))


def test_runs_see_stratified_subsamples(repeated: AnnData, calls: list[dict[str, Any]]) -> None:
    assert len({tuple(call["cells"]) for call in calls}) == 3
    for call in calls:
        assert len(call["cells"]) == pytest.approx(0.8 * repeated.n_obs, abs=1)
        counts = repeated.obs["task_0"].value_counts()
        sampled = repeated.obs.loc[call["cells"], "task_0"].value_counts()
        np.testing.assert_allclose(sampled[counts.index], 0.8 * counts, atol=1)


def test_same_seed_same_result(
    make_adata: Callable[..., AnnData], fake_runs: list[dict[str, Any]], state_of: Any
) -> None:
    one, other, third = make_adata(), make_adata(), make_adata()
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    run(one)
    run(other)
    run(third, random_state=1)
    assert state_of(one) == state_of(other)
    assert not np.array_equal(one.var["yoto_frequency"], third.var["yoto_frequency"])
    np.testing.assert_array_equal(state, np.random.get_state()[1])  # noqa: NPY002


def test_groups_are_drawn_whole(adata: AnnData, fake_runs: list[dict[str, Any]]) -> None:
    adata.obs["donor"] = np.arange(adata.n_obs) % 8
    run(adata, split_key="donor", n_runs=4, subsample=0.5)
    sizes = adata.obs["donor"].value_counts()
    drawn = []
    for call in fake_runs:
        counts = call["problem"].groups.value_counts()
        assert (counts == sizes[counts.index]).all()
        assert call["problem"].split_key == "donor"
        drawn.append(frozenset(counts.index))
    assert {len(groups) for groups in drawn} == {4}
    assert len(set(drawn)) > 1


def test_subsample_of_1_varies_the_seed_alone(
    adata: AnnData, fake_runs: list[dict[str, Any]]
) -> None:
    run(adata, subsample=1)
    assert [len(call["problem"].obs_names) for call in fake_runs] == [adata.n_obs] * 3
    assert len({call["random_state"] for call in fake_runs}) == 3


def test_survives_writing(repeated: AnnData, tmp_path: Path) -> None:
    repeated.write_h5ad(tmp_path / "adata.h5ad")
    record = anndata.read_h5ad(tmp_path / "adata.h5ad").uns["yoto_stability"]
    np.testing.assert_array_equal(record["jaccard"], repeated.uns["yoto_stability"]["jaccard"])
    assert record["params"]["exclude"] == ["gene_001*"]


def test_copy_and_repeat(adata: AnnData, fake_runs: Any, state_of: Any) -> None:
    before = state_of(adata)
    changed = run(adata, copy=True, key_added="other")
    assert state_of(adata) == before
    assert changed is not None
    assert changed.var["other_consensus"].sum() == 6
    assert run(changed, n_genes=4, key_added="other") is None
    assert changed.var["other_consensus"].sum() == 4


def failing(monkeypatch: pytest.MonkeyPatch, fails: set[int]) -> None:
    inner, count = Request.train, iter(range(100))

    def fake(request: Request, problem: Any) -> Any:
        if next(count) in fails:
            raise RuntimeError("it diverged")
        return inner(request, problem)

    monkeypatch.setattr(Request, "train", fake)


def test_a_failed_run_is_told_and_left_out(
    adata: AnnData, fake_runs: Any, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    failing(monkeypatch, {1})
    run(adata, n_runs=4)
    assert "run_1 failed and is left out: it diverged" in caplog.text
    record = adata.uns["yoto_stability"]
    assert list(record["runs"]["error"]) == ["", "RuntimeError: it diverged", "", ""]
    assert list(record["jaccard"].index) == ["run_0", "run_2", "run_3"]
    np.testing.assert_allclose(record["panels"].mean(axis=1) % (1 / 3), 0, atol=1e-9)


def test_too_many_failed_runs(
    adata: AnnData, fake_runs: Any, monkeypatch: pytest.MonkeyPatch, state_of: Any
) -> None:
    failing(monkeypatch, {0, 2})
    before = state_of(adata)
    with pytest.raises(RuntimeError, match=r"2 of 3 runs failed.*it diverged"):
        run(adata)
    assert state_of(adata) == before


def test_consensus_breaks_ties_by_score_and_meets_the_budget(
    adata: AnnData, fake_runs: Any
) -> None:
    adata.var["price"] = np.where(np.arange(adata.n_vars) < 40, 3.0, 1.0)
    rules = {"include": ["gene_0001"], "select_kwargs": {"cost": "price", "budget": 12.0}}
    run(adata, **rules)
    consensus = adata.var["yoto_consensus"]
    price, frequency = adata.var["price"], adata.var["yoto_frequency"]
    assert consensus.sum() == 6
    assert consensus["gene_0001"]
    assert price[consensus].sum() <= 12
    assert all(call["problem"].requirements.budget == 12 for call in fake_runs)
    # of genes of the same price, the more frequent ones are taken
    for amount in (1.0, 3.0):
        same = (price == amount) & (adata.var_names != "gene_0001")
        taken, left = frequency[same & consensus], frequency[same & ~consensus]
        assert taken.empty or taken.min() >= left.max()
    assert adata.uns["yoto_stability"]["params"]["cost"] == "price"


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ({"n_runs": 1}, ValueError, "n_runs must be at least 2"),
        ({"subsample": 0}, ValueError, "subsample must be above 0 and at most 1"),
        ({"subsample": 1.5}, ValueError, "subsample must be above 0 and at most 1"),
        ({"subsample": "half"}, TypeError, "subsample must be a number"),
        ({"n_genes": "auto"}, TypeError, "n_genes must be an integer"),
        ({"n_genes": 51}, ValueError, "exceeds the 50 genes"),
        ({"categorical_keys": "nope"}, KeyError, "not a column"),
        ({"select_kwargs": {"layer": "x"}}, TypeError, r"\['layer'\] as arguments of their own"),
        ({"key_added": ""}, TypeError, "non-empty string"),
        ({"candidates": "yoto_consensus"}, ValueError, "would be overwritten"),
        ({"split_key": "pair"}, ValueError, "leaves a run 1 group"),
    ],
)
def test_bad_input(
    adata: AnnData,
    fake_runs: list[Any],
    state_of: Any,
    arguments: dict[str, Any],
    error: type[Exception],
    match: str,
) -> None:
    adata.obs["pair"] = np.arange(adata.n_obs) % 2
    adata.var["yoto_consensus"] = True
    if arguments.get("candidates") is None:
        del adata.var["yoto_consensus"]
    before = state_of(adata)
    with pytest.raises(error, match=match):
        run(adata, **arguments)
    assert state_of(adata) == before
    assert fake_runs == []


def test_foreign_results_are_not_overwritten(adata: AnnData, fake_runs: list[Any]) -> None:
    adata.var["yoto_frequency"] = 440.0
    with pytest.raises(ValueError, match=r"would overwrite adata\.var\['yoto_frequency'\]"):
        run(adata)


def test_columns_that_select_kwargs_name_are_there_in_every_run(adata: AnnData) -> None:
    """Neither the column of the types nor that of the groups is one of a task."""
    adata.obs["organ"] = np.where(np.arange(adata.n_obs) % 3, "liver", "lung")
    values = adata.X.toarray()
    by_organ = np.array([values[adata.obs["organ"] == o].mean(axis=0) for o in ("liver", "lung")])
    free = adata.copy()
    run(free, n_runs=2)
    most = by_organ[:, free.var["yoto_consensus"]].sum(axis=1).max() / 2
    rules = {"max_crowding": most, "crowding_key": "organ", "group_key": "donor"}
    run(adata, n_runs=2, select_kwargs={**QUICK, **rules})
    record = adata.uns["yoto_stability"]
    assert list(record["runs"]["error"]) == ["", ""]
    consensus = adata.var["yoto_consensus"]
    assert consensus.sum() == 6
    assert by_organ[:, consensus].sum(axis=1).max() <= most
    for name in record["panels"]:  # judged on the cells of the run, which are not all
        genes = adata.var_names.isin(record["panels"].index[record["panels"][name]])
        assert by_organ[:, genes].sum(axis=1).max() <= 1.2 * most
    assert record["params"]["crowding_key"] == "organ"


@pytest.mark.parametrize("name", ["organ", "donor"])
def test_columns_of_one_kind_alone(adata: AnnData, fake_runs: Any, name: str) -> None:
    """Each run sees its cells of the column as it is."""
    adata.obs["organ"] = pd.Categorical(np.where(np.arange(adata.n_obs) % 3, "liver", "lung"))
    rules = {
        "organ": {"max_crowding": 90.0, "crowding_key": "organ"},
        "donor": {"group_key": name},
    }
    run(adata, select_kwargs={**QUICK, **rules[name]})
    for call in fake_runs:
        obs = call["problem"].tables.obs
        expected = adata.obs.loc[obs.index, name]
        pd.testing.assert_series_equal(obs[name], expected, check_categorical=False)


def test_a_class_that_a_run_does_not_see(adata: AnnData) -> None:
    """It belongs to one donor: runs without that donor learn the others."""
    is_last = adata.obs["donor"] == adata.obs["donor"].iloc[0]
    labels = adata.obs["task_0"].astype(object)
    labels[labels == "class_1"] = "class_0"
    labels[is_last & (np.arange(adata.n_obs) % 2 == 0)] = "class_1"
    adata.obs["task_0"] = pd.Categorical(labels)
    run(adata, n_runs=4, split_key="donor", subsample=0.6)
    runs = adata.uns["yoto_stability"]["runs"]
    assert list(runs["error"]) == [""] * 4
    assert np.isfinite(runs["score"]).all()


def test_arguments_of_select_that_mean_nothing_here_or_anywhere(
    adata: AnnData, fake_runs: list[Any]
) -> None:
    for group_key in ("auto", None, "donor"):
        run(adata, select_kwargs={**QUICK, "group_key": group_key})
    assert len(fake_runs) == 9
    with pytest.raises(KeyError, match="nope"):
        run(adata, select_kwargs={"group_key": "nope"})
    with pytest.raises(TypeError, match=r"\['fooo'\], which yoto_sc.tl.select does not take"):
        run(adata, select_kwargs={"fooo": 1})
