"""Scores of vectors, against scikit-learn and against each column alone."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
from sklearn import metrics as skm

from yoto_sc.metrics import regression_scores, weighted_r2

N_OBS = 120


def make_vectors(n_columns=4, seed=0):
    """Columns of different mean, variance and difficulty."""
    rng = np.random.default_rng(seed)
    scales = np.array([1.0, 8.0, 0.2, 3.0])[:n_columns]
    true = 5 + scales * rng.normal(size=(N_OBS, n_columns))
    predicted = 0.6 * true + 2 + scales[::-1] * 0.3 * rng.normal(size=true.shape)
    return true, predicted


@pytest.mark.parametrize("offset", [0.0, 1e4])
@pytest.mark.parametrize("n_columns", [1, 2, 4])
def test_scores_of_vectors_match_sklearn_and_scipy(n_columns, offset):
    true, predicted = make_vectors(n_columns)
    true, predicted = true + offset, predicted + offset
    got = regression_scores(true, predicted)
    assert all(type(value) is float for value in got.values())
    assert got["r2"] == pytest.approx(
        skm.r2_score(true, predicted, multioutput="variance_weighted")
    )
    mean_squared = skm.mean_squared_error(true, predicted, multioutput="uniform_average")
    assert got["rmse"] == pytest.approx(np.sqrt(mean_squared))
    by_column = [
        scipy.stats.pearsonr(*pair).statistic for pair in zip(true.T, predicted.T, strict=True)
    ]
    assert got["pearson_r"] == pytest.approx(np.mean(by_column))


def test_one_column_is_a_number():
    true, predicted = make_vectors(1)
    assert regression_scores(true, predicted) == regression_scores(true[:, 0], predicted[:, 0])


def test_columns_weigh_by_their_variance():
    """Large errors in a column of tiny variance hardly matter, and the other way round."""
    true, _ = make_vectors(2)
    for column, left in ((0, 1 - 1 / 65), (1, 1 - 64 / 65)):
        predicted = true.copy()
        predicted[:, column] = true[:, column].mean()
        assert regression_scores(true, predicted)["r2"] == pytest.approx(left, abs=0.01)


def test_a_missing_value_takes_its_row_away():
    true, predicted = make_vectors()
    expected = regression_scores(true[2:], predicted[2:])
    true[0, 3] = true[1] = np.nan
    predicted[:2] = np.inf
    assert regression_scores(true, predicted) == expected


def test_a_constant_column_has_no_correlation():
    true, predicted = make_vectors(3)
    got = regression_scores(np.insert(true, 1, 0.1, axis=1), np.insert(predicted, 1, 0.1, axis=1))
    expected = regression_scores(true, predicted)
    assert got["r2"] == pytest.approx(expected["r2"])
    assert got["pearson_r"] == pytest.approx(expected["pearson_r"])
    assert got["rmse"] == pytest.approx(expected["rmse"] * np.sqrt(3 / 4))
    predicted[:, 0] = 0.1  # what is predicted does not vary, either
    got = regression_scores(true, predicted)
    assert got["pearson_r"] == pytest.approx(
        regression_scores(true[:, 1:], predicted[:, 1:])["pearson_r"]
    )
    assert got["r2"] == pytest.approx(
        skm.r2_score(true, predicted, multioutput="variance_weighted")
    )


def test_vectors_that_do_not_vary_have_an_error_alone():
    true, predicted = np.full((7, 2), 0.1), np.arange(14.0).reshape(7, 2)
    got = regression_scores(true, predicted)
    assert np.isnan([got["r2"], got["pearson_r"]]).all()
    assert got["rmse"] == pytest.approx(np.sqrt(skm.mean_squared_error(true, predicted)))


@pytest.mark.parametrize("n_obs", [0, 3])
def test_nothing_observed_is_all_nan(n_obs):
    got = regression_scores(np.full((n_obs, 2), np.nan), np.zeros((n_obs, 2)))
    assert set(got) == {"r2", "rmse", "pearson_r"}
    assert np.isnan(list(got.values())).all()


@pytest.mark.parametrize(
    ("true", "predicted", "match"),
    [
        (np.zeros((3, 2)), np.zeros(3), r"y_pred has shape \(3,\)"),
        (np.zeros(3), np.zeros((3, 1)), r"y_pred has shape \(3, 1\)"),
        (np.zeros((3, 2)), np.zeros((3, 1)), r"y_pred has shape \(3, 1\)"),
        (np.zeros((3, 1)), np.zeros((3, 2)), r"y_pred has shape \(3, 2\)"),
        (np.zeros((3, 2)), np.zeros((2, 2)), "y_pred has 2 rows"),
        (np.zeros((3, 2)), [[0, 0], [0, np.nan], [np.inf, 0]], "not finite in 2 of 3 observed"),
    ],
)
def test_bad_input(true, predicted, match):
    with pytest.raises(ValueError, match=match):
        regression_scores(true, predicted)


# --- weighted cells ---


@pytest.mark.parametrize("offset", [0.0, 1e4])
@pytest.mark.parametrize("n_columns", [1, 2, 4])
def test_weights_are_how_often_a_cell_is_repeated(n_columns, offset):
    true, predicted = make_vectors(n_columns)
    weights = np.random.default_rng(1).integers(0, 4, size=(6, N_OBS))
    found = weighted_r2(true + offset, predicted + offset, weights.astype(np.float32))
    assert found.shape == (6,)
    for score, times in zip(found, weights, strict=True):
        y, p = true.repeat(times, axis=0), predicted.repeat(times, axis=0)
        expected = skm.r2_score(y, p, multioutput="variance_weighted")
        assert score == pytest.approx(expected, rel=1e-4)


def test_columns_may_be_far_apart():
    """What differs between columns is not taken for what varies in them."""
    true, predicted = make_vectors()
    far = np.array([0, 1e8, -1e8, 3])
    weights = np.random.default_rng(1).integers(0, 4, size=(6, N_OBS)).astype(np.float32)
    np.testing.assert_allclose(
        weighted_r2(true + far, predicted + far, weights),
        weighted_r2(true, predicted, weights),
        rtol=1e-3,
    )


def test_one_column_is_weighted_as_a_number():
    true, predicted = make_vectors(1)
    weights = np.random.default_rng(1).integers(0, 4, size=(6, N_OBS)).astype(np.float32)
    np.testing.assert_array_equal(
        weighted_r2(true, predicted, weights), weighted_r2(true[:, 0], predicted[:, 0], weights)
    )


def test_r2_is_missing_where_no_column_varies():
    true, predicted = make_vectors()
    weights = np.ones((3, N_OBS), dtype=np.float32)
    weights[1, 1:] = 0  # one cell
    weights[2] = 0  # none
    found = weighted_r2(true, predicted, weights)
    assert np.isfinite(found[0])
    assert np.isnan(found[1:]).all()
    assert np.isnan(weighted_r2(np.full((N_OBS, 4), 0.1), predicted, weights)).all()
    true[:, :3] = 0.1  # one column varies, and is enough
    assert np.isfinite(weighted_r2(true, predicted, weights)[0])
    none = np.empty((0, 2))
    assert np.isnan(weighted_r2(none, none, np.ones((2, 0), np.float32))).all()
