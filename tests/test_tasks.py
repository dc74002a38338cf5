"""Tasks are read off columns of any dtype, with missing labels anywhere."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest

from yoto_sc._tasks import MISSING_CODE, Task, tasks_from_obs

LABELS = ["b", "a", None, "b", "a", "b"]
CODES = [1, 0, -1, 1, 0, 1]


def categorical(values, name="y", unlabeled=()):
    """Return the task of a column, and the column."""
    column = values if isinstance(values, pd.Series) else pd.Series(values)
    return Task.from_obs(pd.DataFrame({name: column}), name, "categorical", unlabeled), column


def continuous(values, name="y"):
    column = values if isinstance(values, pd.Series) else pd.Series(values)
    return Task.from_obs(pd.DataFrame({name: column}), name, "continuous"), column


MISSING_CATEGORICAL = {
    "object-None": pd.Series(LABELS, dtype=object),
    "object-nan": pd.Series([np.nan if x is None else x for x in LABELS], dtype=object),
    "object-NA": pd.Series([pd.NA if x is None else x for x in LABELS], dtype=object),
    "object-NaT": pd.Series([pd.NaT if x is None else x for x in LABELS], dtype=object),
    "category": pd.Series(LABELS, dtype="category"),
    "category-of-string": pd.Series(pd.Series(LABELS, dtype="string"), dtype="category"),
    "string": pd.Series(LABELS, dtype="string"),
}


@pytest.mark.parametrize("column", MISSING_CATEGORICAL.values(), ids=MISSING_CATEGORICAL)
def test_missing_labels_of_every_text_dtype(column):
    task, _ = categorical(column)
    assert task == Task("y", "categorical", ("a", "b"))
    assert all(type(category) is str for category in task.categories)
    codes = task.encode(column)
    assert codes.dtype == np.int64
    assert codes.tolist() == CODES
    assert task.observed(codes).tolist() == [code >= 0 for code in CODES]


MISSING_NUMBERS = {
    "Int64": pd.Series([2, 1, None, 2, 1, 2], dtype="Int64"),
    "Float64": pd.Series([2, 1, None, 2, 1, 2], dtype="Float64"),
    "float32": pd.Series([2, 1, np.nan, 2, 1, 2], dtype="float32"),
    "object": pd.Series([2, 1, None, 2, 1, 2], dtype=object),
    "object-NA": pd.Series([2, 1, pd.NA, 2, 1, 2], dtype=object),
    "category": pd.Series([2, 1, None, 2, 1, 2], dtype="category"),
    "category-of-Int64": pd.Series(pd.Series([2, 1, None, 2, 1, 2], dtype="Int64")).astype(
        "category"
    ),
}


@pytest.mark.parametrize("column", MISSING_NUMBERS.values(), ids=MISSING_NUMBERS)
def test_missing_labels_of_every_number_dtype(column):
    as_class, _ = categorical(column)
    assert as_class.categories == (1, 2)
    assert all(type(category) in (int, float) for category in as_class.categories)
    assert as_class.encode(column).tolist() == CODES

    as_value, _ = continuous(column)
    values = as_value.encode(column)
    assert values.dtype == np.float32
    np.testing.assert_array_equal(values, np.float32([2, 1, np.nan, 2, 1, 2]))
    assert as_value.observed(values).tolist() == [True, True, False, True, True, True]


@pytest.mark.parametrize("dtype", ["bool", "boolean", object, "category"])
def test_booleans(dtype):
    task, column = categorical(pd.Series([True, False, True, True], dtype=dtype))
    assert task.categories == (False, True)
    assert all(type(category) is bool for category in task.categories)
    assert task.encode(column).tolist() == [1, 0, 1, 1]


def test_booleans_with_missing_values():
    for column in (
        pd.Series([True, None, False, True], dtype="boolean"),
        pd.Series([True, None, False, True], dtype=object),
    ):
        task, _ = categorical(column)
        assert task.categories == (False, True)
        assert task.encode(column).tolist() == [1, -1, 0, 1]


@pytest.mark.parametrize("dtype", ["bool", "boolean", object])
def test_booleans_are_numbers_too(dtype):
    task, column = continuous(pd.Series([True, False, True], dtype=dtype))
    np.testing.assert_array_equal(task.encode(column), np.float32([1, 0, 1]))


def test_categories_keep_the_columns_own_order_and_drop_unused_ones():
    column = pd.Series(
        pd.Categorical(["G1", "S", "G2M", "G1"], categories=["none", "G1", "S", "G2M"])
    )
    assert categorical(column)[0].categories == ("G1", "S", "G2M")


def test_categories_without_an_order_are_sorted():
    assert categorical(["b", "B", "a", "10", "9", "9"])[0].categories == ("10", "9", "B", "a", "b")
    assert categorical([10, 9, 9, -1])[0].categories == (-1, 9, 10)


def test_categories_of_several_types_are_kept_apart():
    task, column = categorical(pd.Series([1, "1", 1, "1", "x"], dtype=object))
    assert sorted(map(repr, task.categories)) == ["'1'", "'x'", "1"]
    decoded = task.decode(task.encode(column))
    assert list(decoded) == [1, "1", 1, "1", "x"]


def test_unused_categories_may_outnumber_the_cells():
    column = pd.Series(pd.Categorical(["a", "b", "a", "b"], categories=list("abcdefgh")))
    assert categorical(column)[0].categories == ("a", "b")


@pytest.mark.parametrize("dtype", [object, "category", "string"])
def test_unlabeled_categories_count_as_missing(dtype):
    column = pd.Series(["a", "Unknown", "b", "n/a", "a"], dtype=dtype)
    task, _ = categorical(column, unlabeled=["Unknown", "n/a", "never seen"])
    assert task.categories == ("a", "b")
    assert task.encode(column).tolist() == [0, -1, 1, -1, 0]


def test_unlabeled_categories_leave_the_order_of_the_others():
    column = pd.Series(pd.Categorical(["S", "?", "G1", "S"], categories=["S", "?", "G1"]))
    assert categorical(column, unlabeled=["?"])[0].categories == ("S", "G1")


def test_unlabeled_may_be_a_number():
    task, column = categorical([0, 1, 2, 1, 2, -9], unlabeled=[-9, 0])
    assert task.categories == (1, 2)
    assert task.encode(column).tolist() == [-1, 0, 1, 0, 1, -1]


def test_unlabeled_names_whole_categories_only():
    task, _ = categorical(["Unknown", "Unknown 1", "a", "a"], unlabeled=["Unknown"])
    assert task.categories == ("Unknown 1", "a")


@pytest.mark.parametrize("dtype", [object, "category", "string"])
def test_unseen_labels_of_other_data_are_missing(dtype):
    task, _ = categorical(["a", "b", "a"])
    other = pd.Series(["c", "b", None, "A", "a"], dtype=dtype)
    assert task.encode(other).tolist() == [-1, 1, -1, -1, 0]


def test_numbers_are_recognised_whatever_their_dtype():
    """An integer column with a missing value is read as float from most files."""
    task, _ = categorical([1, 2, 1])
    assert task.encode(pd.Series([2.0, np.nan, 1.0])).tolist() == [1, -1, 0]
    assert task.encode(pd.Series([2, None], dtype="Int64")).tolist() == [1, -1]


def test_encode_does_not_change_its_input():
    column = pd.Series(["a", None, "b", "a"], dtype="category")
    before = column.copy(deep=True)
    task, _ = categorical(column, unlabeled=["nothing"])
    task.encode(column)
    pd.testing.assert_series_equal(column, before)
    assert list(column.cat.categories) == ["a", "b"]


@pytest.mark.parametrize(
    "values",
    [["x", "y", "x"], [3, 1, 3, 7, 7], [True, False, True], [0.5, 0.25, 0.5]],
    ids=["str", "int", "bool", "float"],
)
def test_decode_is_the_inverse_of_encode(values):
    task, column = categorical(values)
    decoded = task.decode(task.encode(column))
    assert isinstance(decoded, pd.Categorical)
    assert tuple(decoded.categories) == task.categories
    assert list(decoded) == values
    np.testing.assert_array_equal(task.encode(pd.Series(decoded)), task.encode(column))


def test_decode_keeps_all_categories_and_missing_labels():
    decoded = Task("y", "categorical", ("b", "a")).decode(np.array([1, MISSING_CODE]))
    assert list(decoded.categories) == ["b", "a"]
    assert decoded[0] == "a"
    assert pd.isna(decoded[1])


def test_decode_refuses_a_continuous_task():
    with pytest.raises(TypeError, match=r"'score' is continuous"):
        Task("score", "continuous").decode(np.array([0]))


def test_n_outputs():
    assert Task("y", "categorical", ("a", "b", "c")).n_outputs == 3
    assert Task("y", "continuous").n_outputs == 1


@pytest.mark.parametrize(
    "values",
    [
        ["x", "y", "x"],
        pd.Series([3, 1, 3], dtype="int8"),
        pd.Series([True, False, True], dtype="boolean"),
        pd.Series([0.5, 0.1, 0.5], dtype="float32"),
        pd.Series(pd.to_datetime(["2020-01-01", "2021-01-01", "2020-01-01"])),
        pd.Series(pd.cut([1, 2, 1], [0, 1, 2])),
    ],
    ids=["str", "int8", "boolean", "float32", "datetime", "interval"],
)
def test_json_round_trip(values):
    task, column = categorical(values)
    again = Task.from_dict(json.loads(json.dumps(task.to_dict(), allow_nan=False)))
    assert again == task
    assert list(map(type, again.categories)) == list(map(type, task.categories))
    np.testing.assert_array_equal(again.encode(column), task.encode(column))
    assert (again.encode(column) >= 0).all()


def test_json_round_trip_of_a_continuous_task():
    task = Task("S.score", "continuous")
    assert Task.from_dict(json.loads(json.dumps(task.to_dict()))) == task


def test_from_dict_refuses_unknown_kinds():
    with pytest.raises(ValueError, match=r"'ordinal'.*categorical"):
        Task.from_dict({"name": "y", "kind": "ordinal", "categories": []})


def test_tasks_are_frozen_and_hashable():
    task = Task("y", "categorical", ("a", "b"))
    with pytest.raises(dataclasses.FrozenInstanceError):
        task.name = "z"
    assert len({task, Task("y", "categorical", ("a", "b"))}) == 1


def test_tasks_from_obs_puts_categorical_ones_first():
    obs = pd.DataFrame({"s": [0.0, 1.0, 2.0], "b": list("xyx"), "a": ["u", "v", "none"]})
    obs = pd.concat([obs, obs], ignore_index=True)
    tasks = tasks_from_obs(obs, ["b", "a"], ["s"], ["none"])
    assert [(t.name, t.kind, t.categories) for t in tasks] == [
        ("b", "categorical", ("x", "y")),
        ("a", "categorical", ("u", "v")),
        ("s", "continuous", ()),
    ]


@pytest.mark.parametrize("kind", ["categorical", "continuous"])
def test_error_absent_column(kind):
    with pytest.raises(KeyError, match=rf"{kind}_keys names 'z'.*\['y'\]"):
        Task.from_obs(pd.DataFrame({"y": ["a", "b"]}), "z", kind)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([None, None, None], r"'y' has no observed label"),
        (["Unknown", "Unknown", None], r"'y' has no observed label"),
        (["a", "a", None], r"'y' has one observed class"),
        (["a", "a", "Unknown"], r"'y' has one observed class"),
        (["a", "b", "c"], r"'y' has 3 labelled cells for 3 classes"),
    ],
)
def test_error_too_few_labels(values, message):
    with pytest.raises(ValueError, match=message):
        categorical(pd.Series(values, dtype=object), unlabeled=["Unknown"])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([np.nan, np.nan], r"'y' has no observed value"),
        ([1.0, np.inf, 2.0], r"'y' holds infinite values"),
        ([1.0, -np.inf], r"'y' holds infinite values"),
        ([1.0, 1e39], r"too large for float32"),
        ([2.0, 2.0, np.nan], r"'y' has the same value"),
        ([1e8, 1e8 + 1], r"'y' has the same value"),  # alike in float32
    ],
)
def test_error_useless_numbers(values, message):
    with pytest.raises(ValueError, match=message):
        continuous(values)


@pytest.mark.parametrize(
    "values",
    [
        ["a", "b", "c"],
        pd.Series(["a", "b"], dtype="category"),
        pd.Series(["a", None], dtype="string"),
        [1.0, "b", 2.0],
        pd.Series(pd.to_datetime(["2020-01-01", "2021-01-01"])),
    ],
    ids=["object", "category", "string", "mixed", "datetime"],
)
def test_error_text_is_no_number(values):
    with pytest.raises(TypeError, match=r"'y' in `continuous_keys` must hold numbers"):
        continuous(values)


@pytest.mark.parametrize("ordered", [True, False])
def test_order_of_categories_is_kept(ordered):
    column = pd.Series(pd.Categorical(list("cabcab"), categories=list("cab"), ordered=ordered))
    task, _ = categorical(column)
    decoded = Task.from_dict(task.to_dict()).decode(np.array([0, 2]))
    assert decoded.ordered == ordered
    assert list(decoded.categories) == list("cab")
