"""The transcriptome is a task without labels: how many components, and what it is called."""

from __future__ import annotations

import json

import anndata as ad
import numpy as np
import pandas as pd
import pytest

from yoto_sc._keys import Keys
from yoto_sc._problem import Problem
from yoto_sc.data import (
    TRANSCRIPTOME,
    Categorical,
    Transcriptome,
    check_task_keys,
    n_components,
    named_tasks,
    task_from_dict,
)

NONE = {"categorical": [], "continuous": [], "vector": []}


def make_adata(n_obs=12, n_vars=7):
    rng = np.random.default_rng(0)
    obs = pd.DataFrame(
        {"type": np.resize(["a", "b"], n_obs)}, index=[f"c{i}" for i in range(n_obs)]
    )
    counts = rng.poisson(2, (n_obs, n_vars)).astype(np.float32)
    return ad.AnnData(counts, obs=obs, var=pd.DataFrame(index=[f"g{i}" for i in range(n_vars)]))


# --- how many ---


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (True, 30),
        (np.True_, 30),
        (False, 0),
        (np.False_, 0),
        (0, 0),
        (1, 1),  # one component, and not "yes"
        (5, 5),
        (np.int64(40), 40),
        (np.uint8(3), 3),
        (99, 99),
    ],
)
def test_number_of_components(asked, expected):
    found = n_components(asked, 100, 200)
    assert found == expected
    assert type(found) is int


@pytest.mark.parametrize(
    ("n_obs", "n_vars", "expected"), [(12, 50, 11), (50, 12, 12), (99, 99, 30)]
)
def test_there_are_no_more_components_than_genes_and_cells(n_obs, n_vars, expected):
    assert n_components(True, n_obs, n_vars) == expected
    least = min(n_obs - 1, n_vars)
    assert n_components(least, n_obs, n_vars) == least
    with pytest.raises(
        ValueError, match=f"transcriptome must be at most {least}, not {least + 1}"
    ):
        n_components(least + 1, n_obs, n_vars)


def test_fewer_than_no_components():
    with pytest.raises(ValueError, match="transcriptome must be at least 0, not -1"):
        n_components(-1, 100, 200)


@pytest.mark.parametrize("asked", ["yes", 2.0, np.float64(3), None, [5], ()])
def test_what_is_no_number_of_components(asked):
    with pytest.raises(TypeError, match="transcriptome must be an integer, not"):
        n_components(asked, 100, 200)


# --- the task ---


def test_what_the_task_is_called():
    task = Transcriptome.of(3)
    assert task.name == task.kind == task.argument == TRANSCRIPTOME == "transcriptome"
    assert task.names == ("PC1", "PC2", "PC3")
    assert task.n_outputs == 3
    assert task.is_derived
    assert task.place == "obsm"
    assert (task.head, task.linear_head, task.metric) == ("vector", "ridge", "r2")


def test_there_are_no_labels_to_read():
    task = Transcriptome.of(3)
    labels = task.encode(task.column(make_adata(), task.name))
    assert labels.shape == (12, 3)
    assert labels.dtype == np.float32
    assert not labels.any()
    assert labels.strides == (0, 0)  # in no memory
    assert task.observed(labels).all()
    assert task.is_learnable(labels)
    assert not task.only_in(labels, np.arange(12) < 6).any()
    with pytest.raises(NotImplementedError):
        Transcriptome.from_adata(make_adata(), task.name)


def test_json_round_trip():
    task = Transcriptome.of(3)
    again = task_from_dict(json.loads(json.dumps(task.to_dict())))
    assert again == task
    assert type(again) is Transcriptome


def test_components_are_written_as_an_array():
    task = Transcriptome.of(2)
    written = task.written(Keys("k"), np.ones((4, 2)), pd.Index(list("abcd")))
    assert list(written) == task.columns(Keys("k")) == ["k_transcriptome"]
    assert type(written["k_transcriptome"]) is np.ndarray
    assert list(task.decoded(np.ones((4, 2)))) == ["transcriptome_PC1", "transcriptome_PC2"]


# --- keys ---


@pytest.mark.parametrize("transcriptome", [True, 1, np.int64(3)])
def test_it_is_a_task_beside_others_or_alone(transcriptome):
    adata = make_adata()
    check_task_keys(adata, NONE, transcriptome)
    check_task_keys(adata, {**NONE, "categorical": ["type"]}, transcriptome)
    assert [task.name for task in named_tasks({"categorical": ["type"]}, transcriptome)] == [
        *("type", "transcriptome")
    ]


@pytest.mark.parametrize("transcriptome", [False, 0])
def test_without_it_there_is_no_task(transcriptome):
    with pytest.raises(ValueError, match="No task given.*transcriptome=True"):
        check_task_keys(make_adata(), NONE, transcriptome)
    tasks = named_tasks({"categorical": ["type"]}, transcriptome)
    assert [task.name for task in tasks] == ["type"]


@pytest.mark.parametrize("kind", ["categorical", "continuous", "vector"])
def test_its_name_is_taken(kind):
    adata = make_adata()
    adata.obs["transcriptome"] = np.arange(12.0)
    adata.obsm["transcriptome"] = np.arange(24.0).reshape(12, 2)
    keys = {**NONE, kind: ["transcriptome"]}
    check_task_keys(adata, keys)
    with pytest.raises(ValueError, match="name 'transcriptome' is taken"):
        check_task_keys(adata, keys, True)


# --- in a problem ---


def test_it_comes_last_in_a_problem():
    problem = Problem.from_adata(make_adata(), {"categorical": ["type"]}, transcriptome=4)
    assert problem.tasks == (Categorical("type", ("a", "b")), Transcriptome.of(4))
    assert problem.n_components == 4
    assert problem.keys == {"categorical": ["type"]}  # no label of it was read
    assert problem.labels[1].shape == (12, 4)


def test_a_problem_without_it():
    problem = Problem.from_adata(make_adata(), {"categorical": ["type"]}, transcriptome=0)
    assert problem.n_components == 0
    assert len(problem.tasks) == 1


def test_it_may_be_the_only_task_of_a_problem():
    problem = Problem.from_adata(make_adata(), NONE, transcriptome=True)
    assert problem.tasks == (Transcriptome.of(7),)
    assert problem.keys == {}
    part = problem.of_cells(np.arange(5))
    assert part.labels[0].shape == (5, 7)


def test_more_components_than_genes_are_refused_by_a_problem():
    with pytest.raises(ValueError, match="transcriptome must be at most 7, not 8"):
        Problem.from_adata(make_adata(), NONE, transcriptome=8)
