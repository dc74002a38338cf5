"""Continuous tasks are read off columns of numbers, and turn them into predictions and scores."""

from __future__ import annotations

import dataclasses
import json

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy.stats import pearsonr
from sklearn.metrics import r2_score, root_mean_squared_error

from yoto_sc._keys import Keys
from yoto_sc.data import Continuous, task_from_dict
from yoto_sc.select import Numbers

TASK = Continuous("y")


def continuous(values, name="y", unlabeled=()):
    """Return the task of a column, and the column."""
    column = values if isinstance(values, pd.Series) else pd.Series(values)
    obs = pd.DataFrame({name: column}).set_axis([f"c{i}" for i in range(len(column))])
    return Continuous.from_adata(ad.AnnData(obs=obs), name, unlabeled), column


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
    task, _ = continuous(column)
    assert task == TASK
    values = task.encode(column)
    assert values.dtype == np.float32
    np.testing.assert_array_equal(values, np.float32([2, 1, np.nan, 2, 1, 2]))
    assert task.observed(values).tolist() == [True, True, False, True, True, True]


@pytest.mark.parametrize("dtype", ["bool", "boolean", object])
def test_booleans_are_numbers_too(dtype):
    task, column = continuous(pd.Series([True, False, True], dtype=dtype))
    np.testing.assert_array_equal(task.encode(column), np.float32([1, 0, 1]))


def test_unlabeled_names_categories_not_numbers():
    task, column = continuous([0.0, -9.0, 1.0], unlabeled=[-9.0, "Unknown"])
    assert task.encode(column).tolist() == [0, -9, 1]


def test_exact_values_have_double_precision():
    column = pd.Series([0.1, 1 / 3, None])
    exact = TASK.encode_exactly(column)
    assert exact.dtype == np.float64
    np.testing.assert_array_equal(exact, [0.1, 1 / 3, np.nan])
    assert (exact[:2] != TASK.encode(column)[:2]).all()


def test_encode_does_not_change_its_input():
    column = pd.Series([1, None, 2], dtype="Int64")
    before = column.copy(deep=True)
    TASK.encode(column)
    pd.testing.assert_series_equal(column, before)


def test_decode_returns_the_values():
    values = np.float32([1.5, -2])
    np.testing.assert_array_equal(TASK.decode(values), values)


def test_what_the_kind_is_called():
    assert (TASK.kind, TASK.argument) == ("continuous", "continuous_keys")
    assert TASK.metric in TASK.score_names
    assert (TASK.head, TASK.linear_head) == ("squared_error", "ridge")


def test_there_are_no_classes():
    assert TASK.categories == ()
    assert TASK.n_outputs == 1
    assert TASK.in_sorted_order() == TASK
    assert TASK.strata(np.float32([1, 2])) is None
    assert TASK.confusion(np.float32([1, 2]), np.float32([2, 1])) == []


def test_json_round_trip():
    task = Continuous("S.score")
    assert task_from_dict(json.loads(json.dumps(task.to_dict()))) == task
    assert task.to_dict() == {
        "name": "S.score",
        "kind": "continuous",
        "categories": [],
        "ordered": False,
    }


def test_tasks_are_frozen_and_hashable():
    with pytest.raises(dataclasses.FrozenInstanceError):
        TASK.name = "z"
    assert len({TASK, Continuous("y"), Continuous("z")}) == 2


def test_error_absent_column():
    adata = ad.AnnData(obs=pd.DataFrame({"y": [1.0, 2.0]}, index=["c0", "c1"]))
    with pytest.raises(KeyError, match=r"continuous_keys` names 'z'.*\['y'\]"):
        Continuous.from_adata(adata, "z")


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


# --- labels ---


def test_blank_hides_labels_and_leaves_the_others():
    values = np.float32([0, 2, np.nan, 1])
    blanked = TASK.blank(values, np.array([True, False, True, False]))
    np.testing.assert_array_equal(blanked, np.float32([np.nan, 2, np.nan, 1]))
    assert blanked.dtype == np.float32
    assert values[0] == 0


@pytest.mark.parametrize(
    ("values", "chosen", "expected"),
    [
        ([1, 2, 3, np.nan], [1, 0, 0, 1], [0, 0, 0, 0]),  # two values are left
        ([1, 2, 2, np.nan], [1, 0, 0, 1], [1, 0, 0, 0]),  # one value is left
        ([1, 2, np.nan, np.nan], [1, 1, 0, 1], [1, 1, 0, 0]),  # none is left
        ([1, 1, 2, 2], [0, 0, 0, 0], [0, 0, 0, 0]),
    ],
)
def test_only_in_marks_what_the_others_cannot_do_without(values, chosen, expected):
    marked = TASK.only_in(np.float32(values), np.array(chosen, dtype=bool))
    assert marked.tolist() == [bool(flag) for flag in expected]


@pytest.mark.parametrize(
    ("values", "expected"),
    [([0, 1], True), ([np.nan, 2, 0], True), ([1, 1], False), ([np.nan, 1], False), ([], False)],
)
def test_two_values_can_be_learned(values, expected):
    assert TASK.is_learnable(np.float32(values)) is expected


# --- closed forms ---


def test_target_holds_the_values():
    values = np.float32([0, np.nan, 2])
    target = TASK.target(values)
    assert isinstance(target, Numbers)
    np.testing.assert_array_equal(target.labels, values)
    np.testing.assert_array_equal(target.seen, TASK.observed(values))


def test_points_told_have_no_names():
    values = np.float32([0, 1, 2])
    points = TASK.points_told(values)
    assert list(points) == ["", ""]
    assert len(points) == len(TASK.target(values).moments(np.eye(3, 2, dtype=np.float32)).means)


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
def test_regressands_are_the_values_of_cells_that_count_alike(power):
    values, weights = TASK.regressands(np.float32([1, 2, 2]), power)
    np.testing.assert_array_equal(values, [[1], [2], [2]])
    np.testing.assert_array_equal(weights, [1, 1, 1])
    assert values.dtype == weights.dtype == np.float64


def test_what_a_regression_predicts_is_the_prediction():
    rest = np.zeros((3, 1)), np.zeros((3, 1)), np.full(3, 1 / 3)
    assert TASK.from_regression(np.array([[1.5], [2.5]]), *rest).tolist() == [1.5, 2.5]


def test_guess_is_finite():
    assert TASK.guess(4).tolist() == [0, 0, 0, 0]


# --- scores ---


def make_predictions(n_obs=60, seed=0):
    rng = np.random.default_rng(seed)
    values = rng.normal(5, 2, size=n_obs)
    return values.astype(np.float32), (values + rng.normal(size=n_obs)).astype(np.float32)


def test_scores_match_sklearns_and_scipys():
    values, predicted = make_predictions()
    scores = TASK.scores(np.append(values, np.float32(np.nan)), np.append(predicted, 0))
    assert tuple(scores) == tuple(TASK.score_names)
    true, predicted = values.astype(float), predicted.astype(float)
    assert scores["r2"] == pytest.approx(r2_score(true, predicted))
    assert scores["rmse"] == pytest.approx(root_mean_squared_error(true, predicted))
    assert scores["pearson_r"] == pytest.approx(pearsonr(true, predicted).statistic)


def test_scores_of_no_label_are_missing():
    assert np.isnan(list(TASK.scores(np.full(3, np.nan), np.zeros(3)).values())).all()


def test_weighted_scores_are_those_of_repeated_cells():
    values, predicted = make_predictions()
    weights = np.random.default_rng(1).integers(0, 4, size=(6, 60))
    found = TASK.weighted_scores(values, predicted, weights.astype(np.float32))
    for score, times in zip(found, weights, strict=True):
        assert score == pytest.approx(
            r2_score(values.repeat(times), predicted.repeat(times)), rel=1e-4
        )


# --- what is written ---


def test_values_are_written_in_single_precision():
    assert TASK.columns(Keys("k")) == ["k_y"]
    names = pd.Index(["c0", "c1"])
    written = TASK.written(Keys("k"), np.array([0.1, 2.0]), names, 0.9)  # there is no confidence
    assert list(written) == ["k_y"]
    np.testing.assert_array_equal(written["k_y"], np.float32([0.1, 2]))
    assert written["k_y"].dtype == np.float32
