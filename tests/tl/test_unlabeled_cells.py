"""Cells without a label learn from a teacher, or do not; what is said of it; and nothing else."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import anndata
import numpy as np
import pandas as pd
import pytest

import yoto_sc as yt

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from anndata import AnnData

    Select = Callable[..., AnnData | None]
    StateOf = Callable[[AnnData], dict[tuple[str, ...], str]]
    MakeAdata = Callable[..., AnnData]

TASKS = ["task_0", "task_1", "score_0"]
COLUMNS = ["metric", "n_labeled", "n_unlabeled", "teacher_score", "panel_score", "is_used"]


@pytest.fixture(scope="module")
def make_rare(make_adata: MakeAdata) -> MakeAdata:
    """Build 200 cells; of each task, 30 % of the labels are left."""

    def make() -> AnnData:
        return make_adata(n_obs=200, missing=0.7)

    return make


@pytest.fixture(scope="module")
def selections(make_rare: MakeAdata, select: Select, tmp_path_factory: Any) -> dict[str, Any]:
    """One selection for each way, and the directory of its model; not to be changed."""
    found = {}
    for how in ("auto", "use", "ignore"):
        adata, folder = make_rare(), tmp_path_factory.mktemp(how) / "model"
        select(adata, unlabeled_cells=how, max_steps=40, model_dir=folder)
        found[how] = (adata, folder)
    return found


def test_the_table_of_teachers(selections: Any) -> None:
    for how in ("auto", "use"):
        adata, _ = selections[how]
        table = adata.uns["yoto"]["teacher"]
        assert list(table.index) == TASKS
        assert table.index.name == "task"
        assert list(table.columns) == COLUMNS
        assert list(table["metric"]) == ["macro_f1", "macro_f1", "r2"]
        assert list(table["n_labeled"]) == [int(adata.obs[task].notna().sum()) for task in TASKS]
        assert (table["n_labeled"] + table["n_unlabeled"] == adata.n_obs).all()
        assert table["teacher_score"].le(1).all()
        assert table["is_used"].dtype == bool
    use, auto = (selections[how][0].uns["yoto"]["teacher"] for how in ("use", "auto"))
    assert use["is_used"].all()
    assert use["panel_score"].isna().all()  # panels were not asked
    np.testing.assert_allclose(use["teacher_score"], auto["teacher_score"])
    assert auto["panel_score"].notna().all()
    assert (auto["is_used"] == (auto["teacher_score"] >= auto["panel_score"])).all()


def test_where_labels_are_ignored_there_is_no_table(selections: Any) -> None:
    assert "teacher" not in selections["ignore"][0].uns["yoto"]


def test_what_was_asked_for_is_noted(selections: Any) -> None:
    for how, (adata, _) in selections.items():
        assert adata.uns["yoto"]["params"]["unlabeled_cells"] == how


def test_a_teacher_makes_a_difference(selections: Any) -> None:
    use, ignore = (selections[how][0] for how in ("use", "ignore"))
    assert (use.obs["yoto_score_0"] != ignore.obs["yoto_score_0"]).any()


def test_scores_are_those_of_labelled_cells_in_any_case(selections: Any) -> None:
    numbers = [selections[how][0].uns["yoto"]["metrics"]["n_cells"] for how in selections]
    adata = selections["use"][0]
    held_out = adata.uns["yoto"]["held_out"].index
    expected = adata.obs.loc[held_out, TASKS].notna().sum()
    for n_cells in numbers:
        np.testing.assert_array_equal(n_cells, expected)
    assert 0 < numbers[0].min() < len(held_out)
    trained = selections["use"][0].uns["yoto"]["tasks"]["n_train"]
    pd.testing.assert_series_equal(
        trained, selections["ignore"][0].uns["yoto"]["tasks"]["n_train"]
    )


def test_the_contract_holds(
    selections: Any, make_rare: MakeAdata, state_of: StateOf, assert_contract: Any
) -> None:
    before = state_of(make_rare())
    for adata, _ in selections.values():
        keys = {"categorical_keys": TASKS[:2], "continuous_keys": TASKS[2:]}
        assert_contract(before, adata, 6, **keys)


def test_a_model_remembers_its_teachers(selections: Any, make_rare: MakeAdata) -> None:
    for how, (adata, folder) in selections.items():
        model = yt.model.YOTO.load(folder, accelerator="cpu")
        table = model.selection.teacher
        assert list(table.columns) == COLUMNS
        if how == "ignore":
            assert table.empty
        else:
            pd.testing.assert_frame_equal(table, adata.uns["yoto"]["teacher"])
        again = make_rare()
        yt.tl.predict(again, folder)
        for column in again.obs.filter(like="yoto_"):
            pd.testing.assert_series_equal(again.obs[column], adata.obs[column])


def test_the_table_survives_a_file(selections: Any, tmp_path: Path) -> None:
    adata = selections["auto"][0].copy()
    adata.write_h5ad(tmp_path / "adata.h5ad")
    again = anndata.read_h5ad(tmp_path / "adata.h5ad")
    pd.testing.assert_frame_equal(again.uns["yoto"]["teacher"], adata.uns["yoto"]["teacher"])


def test_the_same_call_does_the_same(
    selections: Any, make_rare: MakeAdata, select: Select, state_of: StateOf
) -> None:
    again = make_rare()
    select(again, unlabeled_cells="use", max_steps=40)
    assert state_of(again) == state_of(selections["use"][0])


def test_where_all_cells_have_labels_it_does_not_matter(
    make_adata: MakeAdata, select: Select, state_of: StateOf
) -> None:
    """To the last bit: no random number is drawn for a teacher that nobody asks."""
    states = []
    for how in ("auto", "ignore"):
        adata = make_adata(missing=0.0)
        select(adata, unlabeled_cells=how, max_steps=20)
        assert "teacher" not in adata.uns["yoto"]
        assert adata.uns["yoto"]["params"].pop("unlabeled_cells") == how
        states.append(state_of(adata))
    assert states[0] == states[1]


def test_more_cells_know_more(select: Select) -> None:
    """Where 40 genes together tell a number, and one cell in ten has it."""
    rng = np.random.default_rng(0)
    score = rng.normal(size=400)
    counts = rng.poisson(np.exp(0.3 + np.outer(score, 0.4 * rng.choice([-1, 1], 40))))
    obs = pd.DataFrame({"score": pd.Series(score).mask(rng.random(400) > 0.1)}).rename(str)
    found = {}
    for how in ("use", "ignore"):
        adata = anndata.AnnData(counts.astype(np.float32), obs=obs.copy())
        select(adata, 8, continuous_keys="score", unlabeled_cells=how, max_steps=150)
        found[how] = np.corrcoef(adata.obs["yoto_score"], score)[0, 1]
    assert found["use"] > found["ignore"] + 0.01


@pytest.mark.parametrize("value", ["always", None, True, ["use"], 1])
def test_another_way_is_refused(
    make_adata: MakeAdata,
    select: Select,
    state_of: StateOf,
    value: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Before anything is read."""

    def read(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("Data were read.")

    monkeypatch.setattr("yoto_sc.tl._select.Problem.from_adata", read)
    adata = make_adata()
    before = state_of(adata)
    message = r"unlabeled_cells must be one of \('auto', 'use', 'ignore'\), not"
    with pytest.raises(ValueError, match=message):
        select(adata, unlabeled_cells=value)
    assert state_of(adata) == before


def test_an_interruption_leaves_all_as_it_was(
    make_rare: MakeAdata, select: Select, state_of: StateOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*args: Any, **kwargs: Any) -> None:
        raise KeyboardInterrupt

    adata = make_rare()
    before = state_of(adata)
    monkeypatch.setattr("yoto_sc.teach._lesson.examine", stop)
    with pytest.raises(KeyboardInterrupt):
        select(adata)
    assert state_of(adata) == before


def test_a_trained_model_of_scvi_tools_asks_a_teacher_too(
    make_rare: MakeAdata, train: Callable[..., Any]
) -> None:
    how = {"plan_kwargs": {"unlabeled_cells": "use"}, "max_steps": 5}
    model = train(make_rare(), train_kwargs=how)
    assert model.selection.teacher["is_used"].all()
    assert json.dumps(model.selection.to_dict())
