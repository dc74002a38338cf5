"""All tasks of a selection, of whatever kind: their keys, their order, and the way back."""

from __future__ import annotations

import ast
import inspect
import logging

import anndata as ad
import numpy as np
import pandas as pd
import pytest

from yoto_sc.data import (
    KINDS,
    Categorical,
    Continuous,
    Task,
    check_task_keys,
    point_out_no_labels,
    read_tasks,
    task_from_dict,
)


def make_adata(**columns):
    columns = columns or {"type": ["a", "b", "a"], "age": [1.0, 2.0, 3.0], "donor": list("xyx")}
    obs = pd.DataFrame(columns)
    return ad.AnnData(obs=obs.set_axis([f"c{i}" for i in range(len(obs))]))


def with_vectors(adata):
    """Give obsm entries under the names of the columns of obs, so that any kind can read them."""
    for name in adata.obs:
        adata.obsm[name] = np.arange(2.0 * adata.n_obs).reshape(-1, 2)
    return adata


READ = [name for name, kind in KINDS.items() if not kind.is_derived]
"""Kinds whose labels are read."""


def keys_of(categorical=(), continuous=()):
    return {"categorical": categorical, "continuous": continuous}


# --- kinds ---


def test_kinds_are_known_by_their_names():
    assert list(KINDS) == ["categorical", "continuous", "vector", "transcriptome"]
    for name, kind in KINDS.items():
        assert issubclass(kind, Task)
        assert kind.kind == name


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_a_kind_says_all_that_is_asked_of_it(kind):
    assert not inspect.isabstract(kind)
    for name in ("kind", "argument", "place", "metric", "score_names", "head", "linear_head"):
        assert getattr(kind, name), name
    assert kind.metric in kind.score_names
    names = [other.argument for other in KINDS.values()]
    assert names.count(kind.argument) == 1


# --- read_tasks ---


def test_tasks_come_kind_by_kind():
    adata = make_adata(s=[0.0, 1.0, 2.0] * 2, b=list("xyx") * 2, a=["u", "v", "none"] * 2)
    assert read_tasks(adata, keys_of(["b", "a"], ["s"]), ["none"]) == (
        Categorical("b", ("x", "y")),
        Categorical("a", ("u", "v")),
        Continuous("s"),
    )


def test_tasks_of_one_kind():
    adata = make_adata(s=[0.0, 1.0], t=[3, 4])
    tasks = read_tasks(adata, {"continuous": ["t", "s"]})
    assert tasks == (Continuous("t"), Continuous("s"))


def test_tasks_leave_the_data_as_they_are():
    adata = make_adata()
    before = adata.obs.copy()
    for task in read_tasks(adata, keys_of(["type"], ["age"]), ["b "]):
        task.encode(task.column(adata, task.name))
    pd.testing.assert_frame_equal(adata.obs, before)


# --- point_out_no_labels ---


def pointed_out(caplog, adata, keys, unlabeled=()):
    """Return the lines of the log."""
    tasks = read_tasks(adata, keys, unlabeled)
    labels = [task.encode(task.column(adata, task.name)) for task in tasks]
    point_out_no_labels(tasks, labels, unlabeled)
    assert {record.levelno for record in caplog.records} <= {logging.WARNING}
    return [record.getMessage() for record in caplog.records]


HOLES = {
    "type": ["a", "b", "a", "Unknown", "Unknown", "nan", None],
    "phase": ["low quality", "S", "S", "G1", "G1", None, None],
    "sure": list("xyxyxyx"),
    "age": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0],
}


def test_one_line_a_task_says_what_to_copy(caplog):
    adata = make_adata(**HOLES)
    lines = pointed_out(caplog, adata, keys_of(["type", "phase", "sure"], ["age"]))
    assert len(lines) == 2
    assert "Task 'type'" in lines[0]
    assert "'Unknown' (2 cells), 'nan' (1 cell)" in lines[0]
    assert lines[0].endswith("unlabeled=['Unknown', 'nan'].")
    assert "Task 'phase'" in lines[1]
    assert "'low quality' (1 cell)" in lines[1]
    assert lines[1].endswith("unlabeled=['low quality'].")


def test_what_is_unlabeled_already_is_in_the_list_and_not_pointed_out(caplog):
    lines = pointed_out(caplog, make_adata(**HOLES), keys_of(["type", "sure"]), ["z", "Unknown"])
    (line,) = lines
    assert "'Unknown' (" not in line
    assert line.endswith("unlabeled=['z', 'Unknown', 'nan'].")


def test_the_list_can_be_copied_whatever_was_given(caplog):
    given = np.array(["z", 3, None, np.nan, pd.NA, np.int64(7), np.str_("Unknown")], dtype=object)
    task = Categorical("type", ("a", "b", "nan"))
    point_out_no_labels([task], [np.array([0, 1, 2, -1])], given)
    assert caplog.messages[0].endswith("unlabeled=['z', 3, 7, 'Unknown', 'nan'].")


def test_nothing_to_point_out(caplog):
    adata = make_adata(**HOLES)
    assert pointed_out(caplog, adata, keys_of(["sure"], ["age"])) == []
    assert pointed_out(caplog, adata, keys_of(["type"]), ["Unknown", "nan"]) == []


def test_what_is_pointed_out_can_be_done(caplog):
    (line,) = pointed_out(caplog, make_adata(**HOLES), keys_of(["type"]))
    caplog.clear()
    told = ast.literal_eval(line.partition("unlabeled=")[2].removesuffix("."))
    assert pointed_out(caplog, make_adata(**HOLES), keys_of(["type"]), told) == []


# --- task_from_dict ---


@pytest.mark.parametrize(
    "task", [Categorical("y", ("b", "a"), True), Categorical("y", (1, 2)), Continuous("s.t")]
)
def test_round_trip(task):
    again = task_from_dict(task.to_dict())
    assert again == task
    assert type(again) is type(task)


def test_from_dict_refuses_unknown_kinds():
    with pytest.raises(ValueError, match=r"'ordinal'.*categorical"):
        task_from_dict({"name": "y", "kind": "ordinal", "categories": []})


# --- check_task_keys ---


@pytest.mark.parametrize(
    ("categorical", "continuous"), [(["type"], []), ([], ["age"]), (["type", "donor"], ["age"])]
)
def test_task_keys_that_will_do(categorical, continuous):
    check_task_keys(make_adata(), keys_of(categorical, continuous))


def test_no_task():
    with pytest.raises(
        ValueError,
        match=r"No task given.*`categorical_keys` or `continuous_keys`.*"
        r"\['type', 'age', 'donor'\].*`obsm_keys`, or transcriptome=True",
    ):
        check_task_keys(make_adata(), keys_of())


@pytest.mark.parametrize("kind", READ)
def test_absent_task(kind):
    keys = {**keys_of(["type"], ["age"]), kind: ["typo"]}
    with pytest.raises(KeyError, match=rf"`{KINDS[kind].argument}` names 'typo'.*'donor'"):
        check_task_keys(with_vectors(make_adata()), keys)


def test_key_of_both_kinds():
    message = r"\['age'\] are in both `categorical_keys` and `continuous_keys`"
    with pytest.raises(ValueError, match=message):
        check_task_keys(make_adata(), keys_of(["type", "age"], ["age"]))


@pytest.mark.parametrize("kind", READ)
def test_repeated_task(kind):
    message = rf"`{KINDS[kind].argument}` names 'age' more than once"
    with pytest.raises(ValueError, match=message):
        check_task_keys(with_vectors(make_adata()), {**keys_of(), kind: ["age", "age"]})


@pytest.mark.parametrize("kind", [name for name in READ if KINDS[name].place == "obs"])
def test_task_that_names_two_columns(kind):
    adata = make_adata()
    adata.obs.columns = ["type", "type", "donor"]
    with pytest.raises(ValueError, match=r"more than one column 'type'"):
        check_task_keys(adata, {**keys_of(), kind: ["type"]})


@pytest.mark.parametrize("key", [3, None, ("type",)])
def test_tasks_that_are_no_names(key):
    for keys in (keys_of(["type", key]), keys_of(["type"], [key])):
        with pytest.raises(TypeError, match=r"names \(strings\) of adata.obs, not"):
            check_task_keys(make_adata(), keys)
    with pytest.raises(TypeError, match=r"names \(strings\) of adata.obsm, not"):
        check_task_keys(make_adata(), {"vector": [key]})


def test_labels_are_read_where_the_kind_finds_them():
    adata = with_vectors(make_adata())
    for name in READ:
        kind = KINDS[name]
        there = getattr(adata, kind.place)["age"]
        np.testing.assert_array_equal(kind.column(adata, "age"), there)
