"""Scores of weighted cells against scikit-learn on repeated cells, and bootstrap samples."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import f1_score, r2_score

from yoto_sc.metrics import (
    bootstrap_weights,
    mean_of_defined,
    standard_deviation,
    weighted_f1,
    weighted_r2,
)

N_OBS, N_CLASSES = 80, 4


def make_weights(n_weightings=5, seed=0):
    return np.random.default_rng(seed).integers(0, 4, size=(n_weightings, N_OBS))


def make_codes(seed=0):
    """Class 3 is predicted, but never true."""
    rng = np.random.default_rng(seed)
    true = rng.integers(3, size=N_OBS)
    predicted = np.where(rng.random(N_OBS) < 0.6, true, rng.integers(N_CLASSES, size=N_OBS))
    return true, predicted


def make_numbers(seed=0):
    rng = np.random.default_rng(seed)
    true = rng.normal(3, 2, size=N_OBS)
    return true, true + rng.normal(size=N_OBS)


@pytest.mark.parametrize("seed", range(3))
def test_weights_are_how_often_a_cell_is_repeated(seed):
    true, predicted = make_codes(seed)
    weights = make_weights(seed=seed)
    weights[1, true == 2] = 0  # a weighting without the class
    found = weighted_f1(true, predicted, N_CLASSES, weights.astype(np.float32))
    assert found.shape == (5, N_CLASSES)
    for scores, times in zip(found, weights, strict=True):
        y, p = true.repeat(times), predicted.repeat(times)
        for code in range(N_CLASSES):
            if (y == code).any():
                expected = f1_score(y, p, labels=[code], average="macro", zero_division=0.0)
                assert scores[code] == pytest.approx(expected)
            else:
                assert np.isnan(scores[code])
        macro = f1_score(y, p, labels=np.unique(y), average="macro")
        assert mean_of_defined(scores) == pytest.approx(macro)


def test_f1_of_no_cells():
    none = np.empty(0, dtype=int)
    assert np.isnan(weighted_f1(none, none, 3, np.ones((2, 0), dtype=np.float32))).all()


@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_r2_of_repeated_cells(offset):
    true, predicted = make_numbers()
    weights = make_weights()
    found = weighted_r2(true + offset, predicted + offset, weights.astype(np.float32))
    for score, times in zip(found, weights, strict=True):
        assert score == pytest.approx(r2_score(true.repeat(times), predicted.repeat(times)))


def test_r2_is_missing_where_the_values_do_not_vary():
    true, predicted = make_numbers()
    weights = np.ones((3, N_OBS), dtype=np.float32)
    weights[1, 1:] = 0  # one cell
    weights[2] = 0  # none
    found = weighted_r2(true, predicted, weights)
    assert np.isfinite(found[0])
    assert np.isnan(found[1:]).all()
    assert np.isnan(weighted_r2(np.full(N_OBS, 0.1), predicted, weights)).all()
    assert np.isnan(weighted_r2(np.empty(0), np.empty(0), np.ones((2, 0), np.float32))).all()


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1.0, np.nan, 3.0], 2.0),
        ([np.nan, np.nan], np.nan),
        ([], np.nan),
        ([[1.0, 3.0], [np.nan, 4.0], [np.nan, np.nan]], [2, 4, np.nan]),
        (np.empty((2, 0)), [np.nan, np.nan]),
    ],
)
def test_mean_of_defined(values, expected):
    np.testing.assert_array_equal(mean_of_defined(np.array(values, dtype=float)), expected)


def test_mean_of_defined_is_over_the_last_axis():
    rng = np.random.default_rng(0)
    values = np.where(rng.random((3, 4, 5)) < 0.3, np.nan, rng.random((3, 4, 5)))
    np.testing.assert_allclose(mean_of_defined(values), np.nanmean(values, axis=-1))


@pytest.mark.parametrize(
    ("samples", "expected"),
    [
        ([1.0, 3.0], 1.0),
        ([1.0, np.nan, 3.0, np.inf], 1.0),
        ([1.0], np.nan),
        ([np.nan, 2.0], np.nan),
        ([], np.nan),
    ],
)
def test_standard_deviation_of_what_is_defined(samples, expected):
    found = standard_deviation(np.array(samples))
    assert isinstance(found, float)
    np.testing.assert_equal(found, expected)


def test_samples_of_cells_are_those_of_a_bootstrap():
    weights = bootstrap_weights(np.arange(50), 4000, np.random.default_rng(0))
    assert weights.shape == (4000, 50)
    assert weights.dtype == np.float32
    assert (weights.sum(axis=1) == 50).all()
    drawn = np.random.default_rng(1).integers(50, size=(4000, 50))
    plain = np.array([np.bincount(sample, minlength=50) for sample in drawn])
    for count in range(4):
        share = (weights == count).mean()
        assert share == pytest.approx((plain == count).mean(), abs=0.01)
    np.testing.assert_allclose(weights.mean(axis=0), 1, atol=0.1)
    assert abs(np.corrcoef(weights[:, 0], weights[:, 1])[0, 1]) < 0.1


def test_groups_are_drawn_whole():
    groups = np.array([7, 7, 3, 7, 3, 11])
    weights = bootstrap_weights(groups, 200, np.random.default_rng(0))
    for group in np.unique(groups):
        assert np.ptp(weights[:, groups == group], axis=1).max() == 0
    assert (weights[:, [0, 2, 5]].sum(axis=1) == 3).all()  # three groups, whatever their sizes


def test_one_unit_and_none():
    rng = np.random.default_rng(0)
    assert (bootstrap_weights(np.zeros(4, dtype=int), 9, rng) == 1).all()
    assert bootstrap_weights(np.empty(0, dtype=int), 9, rng).shape == (9, 0)


def test_the_generator_decides():
    one, same, other = (
        bootstrap_weights(np.arange(30), 5, np.random.default_rng(seed)) for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()
