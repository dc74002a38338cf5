"""A problem holds what was asked, reads it once, and leaves the object as it was."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from yoto_sc._problem import Problem
from yoto_sc.data import Categorical, Continuous
from yoto_sc.rules import Requirements

if TYPE_CHECKING:
    from collections.abc import Callable

    from anndata import AnnData

KEYS = {"categorical": ["task_0", "task_1"], "continuous": ["score_0"]}


def test_holds_what_was_asked(adata: AnnData, state_of: Callable[..., Any]) -> None:
    before = state_of(adata)
    requirements = Requirements(include=["gene_0003"], exclude=["gene_001*"])
    problem = Problem.from_adata(
        adata, KEYS, split_key="donor", unlabeled=["class_1", np.nan], requirements=requirements
    )
    assert state_of(adata) == before
    assert [task.name for task in problem.tasks] == ["task_0", "task_1", "score_0"]
    assert [type(task) for task in problem.tasks] == [Categorical, Categorical, Continuous]
    assert problem.keys == KEYS
    assert problem.unlabeled == ("class_1",)
    assert "class_1" not in problem.tasks[0].categories
    hidden = adata.obs["task_0"].isin(["class_1"]) | adata.obs["task_0"].isna()
    np.testing.assert_array_equal(problem.labels[0] == -1, hidden)
    assert (problem.expression.n_obs, problem.expression.n_vars) == adata.shape
    pd.testing.assert_index_equal(problem.var_names, adata.var_names)
    pd.testing.assert_index_equal(problem.obs_names, adata.obs_names)
    assert problem.groups is not None
    pd.testing.assert_series_equal(problem.groups, adata.obs["donor"])
    assert problem.tables.X is None
    assert list(adata.var_names[problem.rules.required]) == ["gene_0003"]
    excluded = adata.var_names.str.startswith("gene_001")
    np.testing.assert_array_equal(problem.rules.allowed, ~excluded)


def test_is_frozen(adata: AnnData) -> None:
    problem = Problem.from_adata(adata, KEYS)
    with pytest.raises(FrozenInstanceError):
        problem.split_key = "donor"  # type: ignore[misc]
    assert problem.groups is None


def test_columns_of_the_caller_may_change_afterwards(adata: AnnData) -> None:
    problem = Problem.from_adata(adata, KEYS)
    expected = problem.tables.obs["task_0"].copy()
    adata.obs["task_0"] = "all the same"
    pd.testing.assert_series_equal(problem.tables.obs["task_0"], expected)


def test_holding_out_groups_changes_nothing_else(adata: AnnData) -> None:
    problem = Problem.from_adata(adata, KEYS)
    other = problem.holding_out("donor")
    assert other.split_key == "donor"
    assert other.expression is problem.expression
    assert other.labels is problem.labels
    assert problem.split_key is None
    with pytest.raises(KeyError, match="nope"):
        problem.holding_out("nope")


def test_of_cells_is_that_of_the_smaller_object_under_the_same_rules(adata: AnnData) -> None:
    cells = np.flatnonzero(adata.obs["task_0"] != "class_2")[::-1]
    requirements = Requirements(fraction_range=(0.3, None))
    problem = Problem.from_adata(adata, KEYS, requirements=requirements)
    part = problem.of_cells(cells)
    assert part.rules is problem.rules
    small = Problem.from_adata(adata[cells].copy(), KEYS)
    assert part.tasks == small.tasks  # classes that are left
    assert part.tasks[0].categories != problem.tasks[0].categories
    np.testing.assert_array_equal(
        part.expression.take(None, None, raw=True).toarray(), adata.X.toarray()[cells]
    )
    for ours, theirs in zip(part.labels, small.labels, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert list(part.obs_names) == list(adata.obs_names[cells])


def test_cells_that_show_one_class_are_refused(adata: AnnData) -> None:
    problem = Problem.from_adata(adata, KEYS)
    cells = np.flatnonzero(adata.obs["task_0"] == "class_0")
    with pytest.raises(ValueError, match="'task_0' has fewer than two classes"):
        problem.of_cells(cells)


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ({"split_key": "task_0"}, ValueError, "also a task"),
        ({"split_key": "nope"}, KeyError, "not a column"),
        ({"layer": "nope"}, KeyError, "not in adata.layers"),
        ({"requirements": Requirements(include=["nope"])}, KeyError, "include"),
        ({"requirements": Requirements(max_crowding=3, crowding_key="nope")}, KeyError, "nope"),
    ],
)
def test_refuses(
    adata: AnnData, arguments: dict[str, Any], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        Problem.from_adata(adata, KEYS, **arguments)


def test_tasks_that_are_known_keep_their_classes(adata: AnnData) -> None:
    """Labels of other data are encoded with the classes that a panel was selected for."""
    task = Categorical("task_0", ("class_2", "class_0"))
    problem = Problem.from_tasks(adata, (task,))
    expected = adata.obs["task_0"].map({"class_2": 0, "class_0": 1}).astype(float).fillna(-1)
    np.testing.assert_array_equal(problem.labels[0], expected)
