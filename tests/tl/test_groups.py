"""Scores on donors never seen stand beside those on cells, and can be checked by anyone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anndata
import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, f1_score, r2_score, root_mean_squared_error

import yoto_sc as yt
from yoto_sc.tl._groups import find_group_key

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from anndata import AnnData


@pytest.fixture(scope="module")
def grouped(make_adata: Callable[..., AnnData], select: Callable[..., Any]) -> AnnData:
    """Planted data with four donors after a selection that held out both cells and donors."""
    adata = make_adata()
    select(adata, group_key="auto")
    return adata


def _score(adata: AnnData, table: str, task: str) -> dict[str, float]:
    """Recompute scores from what was written."""
    predicted = adata.uns["yoto"][table][task]
    true = adata.obs.loc[predicted.index, task]
    known = true.notna().to_numpy()
    true, predicted = true[known], predicted[known]
    if not isinstance(predicted.dtype, pd.CategoricalDtype):
        rmse = root_mean_squared_error(true, predicted)
        return {"n_cells": len(true), "r2": r2_score(true, predicted), "rmse": rmse}
    true, predicted = true.astype(str), predicted.astype(str)
    f1 = f1_score(true, predicted, average="macro", labels=sorted(set(true)), zero_division=0)
    accuracy = accuracy_score(true, predicted)
    return {"n_cells": len(true), "macro_f1": f1, "accuracy": accuracy}


@pytest.mark.parametrize("task", ["task_0", "task_1", "score_0"])
@pytest.mark.parametrize(("table", "prefix"), [("held_out", ""), ("group_held_out", "group_")])
def test_metrics_follow_from_what_is_written(
    grouped: AnnData, table: str, prefix: str, task: str
) -> None:
    row = grouped.uns["yoto"]["metrics"].loc[task]
    for name, expected in _score(grouped, table, task).items():
        assert row[prefix + name] == pytest.approx(expected, abs=1e-6), name


def test_difference(grouped: AnnData) -> None:
    metrics = grouped.uns["yoto"]["metrics"]
    for task, score in (("task_0", "macro_f1"), ("task_1", "macro_f1"), ("score_0", "r2")):
        row = metrics.loc[task]
        assert row["group_difference"] == row[f"group_{score}"] - row[score]
        assert np.isfinite(row["group_difference"])


def test_whole_donors_are_held_out(grouped: AnnData) -> None:
    held_out = grouped.obs_names.isin(grouped.uns["yoto"]["group_held_out"].index)
    donors = grouped.obs["donor"]
    assert set(donors[held_out]).isdisjoint(donors[~held_out])
    assert 0 < held_out.sum() < grouped.n_obs
    by_cells = grouped.obs.loc[grouped.uns["yoto"]["held_out"].index, "donor"]
    assert by_cells.nunique() == 4
    assert grouped.uns["yoto"]["params"]["group_key"] == "donor"


def test_same_as_a_selection_with_donors_held_out(
    grouped: AnnData, adata: AnnData, select: Callable[..., Any]
) -> None:
    select(adata, split_key="donor")
    ours, theirs = grouped.uns["yoto"]["metrics"], adata.uns["yoto"]["metrics"]
    for name in theirs.columns:
        np.testing.assert_array_equal(ours[f"group_{name}"], theirs[name])
    pd.testing.assert_frame_equal(
        grouped.uns["yoto"]["group_held_out"], adata.uns["yoto"]["held_out"]
    )


def test_panel_and_predictions_are_those_without(
    grouped: AnnData, selected: AnnData, assert_same_predictions: Callable[..., None]
) -> None:
    assert_same_predictions(grouped, selected)
    pd.testing.assert_series_equal(grouped.var["yoto_rank"], selected.var["yoto_rank"])
    metrics = selected.uns["yoto"]["metrics"]
    pd.testing.assert_frame_equal(grouped.uns["yoto"]["metrics"][metrics.columns], metrics)
    assert "group_held_out" not in selected.uns["yoto"]
    assert "group_key" not in selected.uns["yoto"]["params"]


def test_held_out_predictions_are_in_obs_without_refit(
    adata: AnnData, select: Callable[..., Any]
) -> None:
    select(adata, train_kwargs={"refit": False})
    held_out = adata.uns["yoto"]["held_out"]
    obs = adata.obs.loc[held_out.index]
    assert list(held_out.columns) == ["task_0", "task_1", "score_0"]
    assert list(held_out["task_0"]) == list(obs["yoto_task_0"])
    np.testing.assert_allclose(held_out["score_0"], obs["yoto_score_0"], rtol=1e-5)


@pytest.mark.parametrize("form", ["h5ad", "zarr"])
def test_tables_survive_files(grouped: AnnData, tmp_path: Path, form: str) -> None:
    path = tmp_path / f"adata.{form}"
    getattr(grouped, f"write_{form}")(path)
    again = getattr(anndata, f"read_{form}")(path)
    for name in ("metrics", "held_out", "group_held_out", "without"):
        ours, theirs = grouped.uns["yoto"][name], again.uns["yoto"][name]
        pd.testing.assert_frame_equal(theirs, ours, check_names=False, check_dtype=False)
        assert [str(d) for d in ours.dtypes] == [str(d) for d in theirs.dtypes]


def test_difference_is_logged(
    adata: AnnData, select: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    select(adata, group_key="auto", max_steps=2)
    (line,) = [r.getMessage() for r in caplog.records if "held-out groups" in r.getMessage()]
    row = adata.uns["yoto"]["metrics"].loc["task_0"]
    assert "groups of 'donor'" in line
    assert f"macro-F1 of task_0 {row['macro_f1']:.3f} and {row['group_macro_f1']:.3f}" in line


def test_groups_that_cannot_be_held_out_are_reported(
    adata: AnnData, select: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    adata.obs["patient"] = np.where(adata.obs["task_0"] == "class_0", "a", "b")
    adata.obs.loc[~adata.obs["task_0"].isin(["class_0", "class_1"]), "task_0"] = np.nan
    adata.obs["task_0"] = adata.obs["task_0"].cat.remove_unused_categories()
    select(adata, categorical_keys=["task_0"], group_key="patient", max_steps=2)
    assert "No scores on groups of group_key='patient'" in caplog.text
    assert "group_macro_f1" not in adata.uns["yoto"]["metrics"]
    assert "group_key" not in adata.uns["yoto"]["params"]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"group_key": "nobody"}, KeyError, "group_key"),
        ({"group_key": 3}, TypeError, "group_key must be"),
        ({"group_key": "donor", "split_key": "donor"}, ValueError, "not both"),
    ],
)
def test_bad_group_key(
    adata: AnnData,
    select: Callable[..., Any],
    state_of: Callable[..., Any],
    arguments: dict[str, Any],
    error: type[Exception],
    message: str,
) -> None:
    before = state_of(adata)
    with pytest.raises(error, match=message):
        select(adata, **arguments)
    assert state_of(adata) == before


def test_one_group_cannot_be_held_out(adata: AnnData, select: Callable[..., Any]) -> None:
    adata.obs["only"] = "one"
    with pytest.raises(ValueError, match="group_key='only' has 1 group"):
        select(adata, group_key="only")


# --- which column ---

TWO = ["a", "a", "b", "b", "b", "a"]


@pytest.mark.parametrize(
    "name",
    ["donor", "Donor", "donor_id", "DonorID", "Patient", "subject.id", "sample", "sampleName"]
    + ["individual", "mouse-1", "Mouse ID", "batch_donor", "participant", "specimen", "animal"],
)
@pytest.mark.parametrize("dtype", ["category", object, "string"])
def test_names_of_donors(name: str, dtype: Any) -> None:
    obs = pd.DataFrame({"n": range(6), name: pd.Series(TWO, dtype=dtype)})
    assert find_group_key(obs, ["cell_type"]) == name


@pytest.mark.parametrize("name", ["batch", "donors", "resampled", "mousetrap", "patientia", "x"])
def test_other_names(name: str) -> None:
    assert find_group_key(pd.DataFrame({name: TWO}), []) is None


def test_donors_come_before_samples_and_first_columns_before_later_ones() -> None:
    obs = pd.DataFrame({"sample": TWO, "donor_id": TWO, "donor": TWO})
    assert find_group_key(obs, []) == "donor_id"
    assert find_group_key(obs, ["donor_id"]) == "donor"
    assert find_group_key(obs[["sample"]], []) == "sample"


@pytest.mark.parametrize(
    "values",
    [[1, 1, 2, 2, 2, 1], [0.5, 1, 1, 1, 2, 2], ["a"] * 6, list("abcdef"), [None] * 6],
    ids=["integers", "floats", "one group", "a group for each cell", "missing"],
)
def test_columns_that_are_no_groups(values: Any) -> None:
    assert find_group_key(pd.DataFrame({"donor": values}), []) is None


def test_tasks_and_their_predictions_are_no_groups() -> None:
    obs = pd.DataFrame({"donor": TWO, "yoto_donor": TWO})
    assert find_group_key(obs, ["donor"]) is None


def test_without_donors_there_is_one_training(
    adata: AnnData, select: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    del adata.obs["donor"]
    select(adata, group_key="auto", max_steps=2)
    assert "group_held_out" not in adata.uns["yoto"]
    assert "held-out groups" not in caplog.text
    assert yt.Panel.from_adata(adata).n_genes == 6


def test_where_no_cell_is_held_out_no_group_is(adata: AnnData, select: Any, caplog: Any) -> None:
    select(adata, group_key="auto", train_kwargs={"validation_size": 0})
    assert "group_held_out" not in adata.uns["yoto"]
    assert "held-out groups" not in caplog.text


def test_a_column_that_stands_twice_is_no_error(adata: AnnData, select: Any) -> None:
    adata.obs["extra"] = "a"
    adata.obs = pd.concat([adata.obs, adata.obs[["extra"]]], axis=1)
    select(adata, group_key="auto", max_steps=2)
    assert "group_macro_f1" in adata.uns["yoto"]["metrics"]


def test_a_group_key_that_is_a_task_is_named(adata: AnnData, select: Any) -> None:
    with pytest.raises(ValueError, match="group_key='task_0' is also a task"):
        select(adata, group_key="task_0")
