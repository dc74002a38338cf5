"""The transcriptome as a task, without labels or beside them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import anndata
import numpy as np
import pandas as pd
import pytest
import scanpy as sc

import yoto_sc as yt

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from anndata import AnnData

    Select = Callable[..., AnnData | None]
    StateOf = Callable[[AnnData], dict[tuple[str, ...], str]]

ALONE = {"categorical_keys": (), "continuous_keys": ()}


@dataclass(frozen=True)
class Done:
    """Data before and after a selection for the transcriptome alone, and its model."""

    before: AnnData
    after: AnnData
    model_dir: Path


@pytest.fixture(scope="module")
def done(make_adata: Callable[..., AnnData], select: Select, tmp_path_factory: Any) -> Done:
    before, after = make_adata(), make_adata()
    model_dir = tmp_path_factory.mktemp("transcriptome") / "model"
    select(after, transcriptome=True, max_steps=40, model_dir=model_dir, **ALONE)
    return Done(before, after, model_dir)


def test_no_labels_are_needed(done: Done, state_of: StateOf) -> None:
    before, after = state_of(done.before), state_of(done.after)
    assert after.keys() - before.keys() == {
        *(("var", "column", f"yoto_{name}") for name in ("selected", "rank", "score")),
        ("obsm", "yoto_transcriptome"),
        ("obsm", "X_yoto"),
        ("uns", "yoto"),
    }
    assert {at: after[at] for at in before} == before
    record = done.after.uns["yoto"]
    assert record["params"]["transcriptome"] == 30
    assert list(record["tasks"].index) == ["transcriptome"]
    assert list(record["tasks"]["kind"]) == ["transcriptome"]
    assert list(record["columns"]["column"]) == [f"PC{i + 1}" for i in range(30)]
    assert record["metrics"].loc["transcriptome", "n_cells"] == len(record["held_out"])
    assert "teacher" not in record
    assert done.after.var["yoto_selected"].sum() == 6
    assert set(record["attribution"]["task"]) == {"transcriptome"}


def test_predictions_are_principal_components_as_by_scanpy(done: Done) -> None:
    predicted = done.after.obsm["yoto_transcriptome"]
    assert predicted.shape == (160, 30)
    assert predicted.dtype == np.float32
    adata = done.before.copy()
    adata.X = adata.X.toarray()
    sc.pp.normalize_total(adata)
    sc.pp.log1p(adata)
    components = sc.pp.pca(adata.X, n_comps=5, svd_solver="full")
    correlation = np.corrcoef(predicted[:, 0], components[:, 0])[0, 1]
    assert abs(correlation) > 0.6
    spread = predicted.std(axis=0)
    assert spread[0] > spread[10:].max()


def test_results_survive_a_file(done: Done, tmp_path: Path) -> None:
    done.after.copy().write_h5ad(tmp_path / "adata.h5ad")
    again = anndata.read_h5ad(tmp_path / "adata.h5ad")
    np.testing.assert_array_equal(
        again.obsm["yoto_transcriptome"], done.after.obsm["yoto_transcriptome"]
    )
    pd.testing.assert_frame_equal(again.uns["yoto"]["columns"], done.after.uns["yoto"]["columns"])


def test_a_saved_model_predicts_the_same_from_the_panel_alone(done: Done) -> None:
    measured = done.before[:, yt.Panel.from_adata(done.after).genes].copy()
    yt.tl.predict(measured, done.model_dir)
    for key in ("yoto_transcriptome", "X_yoto"):
        np.testing.assert_array_equal(measured.obsm[key], done.after.obsm[key])


def test_the_same_call_does_the_same(
    done: Done, make_adata: Callable[..., AnnData], select: Select, state_of: StateOf
) -> None:
    again = make_adata()
    select(again, transcriptome=np.int64(30), max_steps=40, **ALONE)
    assert state_of(again) == state_of(done.after)


def test_held_out_cells_have_no_part_in_the_components(
    make_adata: Callable[..., AnnData], select: Select
) -> None:
    """Strange held-out cells change how well they are predicted, and not what is learned."""
    plain, strange = make_adata(), make_adata()
    keep = {"train_kwargs": {"refit": False}, "transcriptome": 4, "max_steps": 4}
    select(plain, **keep, **ALONE)
    held_out = plain.uns["yoto"]["held_out"].index
    rows = plain.obs_names.isin(held_out)
    counts = strange.X.toarray()
    counts[rows] = counts[rows][:, ::-1] * 5
    strange.X = type(strange.X)(counts)
    select(strange, **keep, **ALONE)
    assert list(strange.uns["yoto"]["held_out"].index) == list(held_out)
    np.testing.assert_array_equal(plain.var["yoto_rank"], strange.var["yoto_rank"])
    np.testing.assert_array_equal(
        plain.obsm["yoto_transcriptome"][~rows], strange.obsm["yoto_transcriptome"][~rows]
    )
    assert (plain.uns["yoto"]["metrics"]["r2"] != strange.uns["yoto"]["metrics"]["r2"]).all()


def test_beside_labels_it_comes_last(adata: AnnData, select: Select) -> None:
    select(adata, transcriptome=3, max_steps=10)
    record = adata.uns["yoto"]
    assert list(record["tasks"].index) == ["task_0", "task_1", "score_0", "transcriptome"]
    assert adata.obsm["yoto_transcriptome"].shape == (160, 3)
    assert {"yoto_task_0", "yoto_score_0"} <= set(adata.obs)
    assert list(record["teacher"].index) == ["task_0", "task_1", "score_0"]
    assert list(record["held_out"].columns)[-3:] == [f"transcriptome_PC{i}" for i in (1, 2, 3)]


def test_a_second_selection_drops_it(done: Done, select: Select) -> None:
    adata = done.after.copy()
    select(adata, 3, categorical_keys="task_0", max_steps=4)
    assert "yoto_transcriptome" not in adata.obsm
    assert "transcriptome" not in adata.uns["yoto"]["params"]


@pytest.mark.parametrize("value", [False, 0, np.False_])
def test_it_may_be_left_out(
    adata: AnnData, selected: AnnData, select: Select, state_of: StateOf, value: Any
) -> None:
    select(adata, transcriptome=value)
    assert state_of(adata) == state_of(selected)


# --- what is refused ---


@pytest.mark.parametrize("value", [False, 0])
def test_no_task_at_all(adata: AnnData, select: Select, state_of: StateOf, value: Any) -> None:
    before = state_of(adata)
    with pytest.raises(ValueError, match="No task given.*transcriptome=True"):
        select(adata, transcriptome=value, **ALONE)
    assert state_of(adata) == before


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        (-1, ValueError, "transcriptome must be at least 0, not -1"),
        (51, ValueError, "transcriptome must be at most 50, not 51"),
        ("yes", TypeError, "transcriptome must be an integer, not 'yes'"),
        (2.5, TypeError, "transcriptome must be an integer, not 2.5"),
    ],
)
@pytest.mark.parametrize("keys", [ALONE, {"categorical_keys": "task_0"}], ids=["alone", "beside"])
def test_other_values_are_refused(
    adata: AnnData,
    select: Select,
    state_of: StateOf,
    keys: Any,
    value: Any,
    error: type[Exception],
    message: str,
) -> None:
    before = state_of(adata)
    with pytest.raises(error, match=message):
        select(adata, transcriptome=value, **keys)
    assert state_of(adata) == before


def test_names_that_are_taken(adata: AnnData, select: Select, state_of: StateOf) -> None:
    adata.obsm["yoto_transcriptome"] = np.ones((160, 2))
    adata.obs["transcriptome"] = adata.obs["task_0"]
    before = state_of(adata)
    with pytest.raises(ValueError, match=r"would overwrite adata\.obsm\['yoto_transcriptome'\]"):
        select(adata, transcriptome=True, **ALONE)
    with pytest.raises(ValueError, match="the name 'transcriptome' is taken"):
        select(adata, transcriptome=True, categorical_keys="transcriptome", key_added="k")
    assert state_of(adata) == before


# --- scvi-tools ---


def test_scvi_tools_registers_it(
    make_adata: Callable[..., AnnData], train: Callable[..., Any]
) -> None:
    model = train(make_adata(), setup={"transcriptome": 4}, train_kwargs={"max_steps": 5})
    assert [task.name for task in model.tasks] == ["transcriptome"]
    frame = model.predict()
    assert list(frame.columns) == [f"transcriptome_PC{i}" for i in (1, 2, 3, 4)]
    assert np.isfinite(frame).all(axis=None)


def test_a_model_of_scvi_tools_needs_some_task(make_adata: Callable[..., AnnData]) -> None:
    with pytest.raises(ValueError, match="No task given.*transcriptome=True"):
        yt.model.YOTO.setup_anndata(make_adata())
