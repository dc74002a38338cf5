"""Scores are recomputed with scikit-learn, scipy and pandas."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scipy.special
import scipy.stats
from sklearn import metrics as skm

from yoto_sc.metrics import classification_scores, confusion_counts, regression_scores

CLASSIFICATION = {"macro_f1", "balanced_accuracy", "accuracy", "log_loss", "calibration_error"}


def make_predictions(seed: int = 0, n_obs: int = 500, n_classes: int = 5, absent: int | None = 3):
    """Imperfect probabilities; class `absent` is predicted but never observed."""
    rng = np.random.default_rng(seed)
    y = rng.integers(n_classes, size=n_obs)
    if absent is not None:
        y[y == absent] = 0
    logits = rng.normal(size=(n_obs, n_classes)) + 1.5 * np.eye(n_classes)[y]
    return y, scipy.special.softmax(logits, axis=1)


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("absent", [None, 3])
def test_classification_matches_sklearn(seed, absent):
    y, proba = make_predictions(seed, absent=absent)
    predicted = proba.argmax(axis=1)
    present = np.unique(y)
    got = classification_scores(y, proba)
    assert set(got) == CLASSIFICATION
    assert all(type(value) is float for value in got.values())
    assert got["macro_f1"] == pytest.approx(
        skm.f1_score(y, predicted, labels=present, average="macro")
    )
    assert got["balanced_accuracy"] == pytest.approx(
        skm.recall_score(y, predicted, labels=present, average="macro")
    )
    assert got["accuracy"] == pytest.approx(skm.accuracy_score(y, predicted))
    assert got["log_loss"] == pytest.approx(skm.log_loss(y, proba, labels=np.arange(5)))


def test_macro_f1_does_not_average_over_classes_that_are_only_predicted():
    y, proba = make_predictions(absent=3)
    predicted = proba.argmax(axis=1)
    assert 3 in predicted
    ours = classification_scores(y, proba)["macro_f1"]
    default = skm.f1_score(y, predicted, average="macro", zero_division=0.0)
    assert ours == pytest.approx(default * 5 / 4)


def test_calibration_error_matches_binning_with_pandas():
    y, proba = make_predictions(7, n_obs=2000)
    confidence = proba.max(axis=1)
    frame = pd.DataFrame({"confidence": confidence, "correct": proba.argmax(axis=1) == y})
    bins = pd.cut(frame["confidence"], np.linspace(0, 1, 16))
    by_bin = frame.groupby(bins, observed=True).agg(["mean", "size"])
    gap = (by_bin["correct", "mean"] - by_bin["confidence", "mean"]).abs()
    expected = (gap * by_bin["correct", "size"]).sum() / len(frame)
    assert classification_scores(y, proba)["calibration_error"] == pytest.approx(expected)


def test_calibration_error_closed_form():
    # Confidence 0.9 with 3 of 4 right, confidence 0.6 with 0 of 1 right: other bins.
    proba = np.array([[0.9, 0.1]] * 4 + [[0.4, 0.6]])
    got = classification_scores([0, 0, 0, 1, 0], proba)["calibration_error"]
    assert got == pytest.approx((4 * 0.15 + 1 * 0.6) / 5)


def test_calibration_bins_are_closed_on_the_right():
    # 0.8 is the edge 12 / 15. In one bin, the two errors would cancel in part.
    proba = np.array([[0.8, 0.2], [0.85, 0.15]])
    got = classification_scores([1, 0], proba)["calibration_error"]
    assert got == pytest.approx((0.8 + 0.15) / 2)


def test_missing_labels_are_ignored_whatever_was_predicted_there():
    y, proba = make_predictions()
    expected = classification_scores(y[100:], proba[100:])
    y, proba = y.copy(), proba.copy()
    y[:100], proba[:100] = -1, np.nan
    assert classification_scores(y, proba) == expected


def test_perfect_and_saturated_probabilities_stay_finite():
    y = np.array([0, 1, 2])
    right = classification_scores(y, np.eye(3, dtype=np.float32))
    assert right["macro_f1"] == right["balanced_accuracy"] == right["accuracy"] == 1
    assert right["calibration_error"] == 0
    assert right["log_loss"] == pytest.approx(0, abs=1e-6)
    wrong = classification_scores(y, np.roll(np.eye(3, dtype=np.float32), 1, axis=1))
    assert wrong["macro_f1"] == wrong["accuracy"] == 0
    assert wrong["calibration_error"] == 1
    assert wrong["log_loss"] == pytest.approx(-np.log(np.finfo(np.float32).eps))


@pytest.mark.parametrize("n_obs", [0, 3])
def test_nothing_observed_is_all_nan(n_obs):
    got = classification_scores(np.full(n_obs, -1), np.full((n_obs, 2), 0.5))
    assert set(got) == CLASSIFICATION
    assert np.isnan(list(got.values())).all()
    got = regression_scores(np.full(n_obs, np.nan), np.zeros(n_obs))
    assert set(got) == {"r2", "rmse", "pearson_r"}
    assert np.isnan(list(got.values())).all()


@pytest.mark.parametrize(
    ("y", "proba", "kwargs", "match"),
    [
        ([0, 2], [[0.5, 0.5]] * 2, {}, "y_true has codes from 0 to 2"),
        ([0, -2], [[0.5, 0.5]] * 2, {}, "y_true has codes from -2"),
        ([0.0, 1.0], [[0.5, 0.5]] * 2, {}, "y_true has dtype float64"),
        ([0], [[0.5, 0.5]] * 2, {}, "proba has 2 rows, but y_true has 1"),
        ([0, 1], [0.5, 0.5], {}, r"proba has shape \(2,\)"),
        ([0, 1], [[0.5, 0.5]] * 2, {"n_classes": 3}, "must have n_classes=3"),
        ([0, 1], [[2.0, -1.0], [0.5, 0.5]], {}, "must hold probabilities"),
        ([0, 1], [[3.0, 1.0], [0.5, 0.5]], {}, "must hold probabilities"),
        ([0, 1], [[np.nan, 1.0], [0.5, 0.5]], {}, "must hold probabilities"),
    ],
)
def test_bad_classification_input(y, proba, kwargs, match):
    with pytest.raises(ValueError, match=match):
        classification_scores(y, proba, **kwargs)


def test_confusion_counts_match_sklearn():
    y, proba = make_predictions()
    predicted = proba.argmax(axis=1)
    counts = confusion_counts(y, predicted, 6)
    assert counts.shape == (6, 6)
    assert counts.dtype == np.int64
    np.testing.assert_array_equal(counts, skm.confusion_matrix(y, predicted, labels=np.arange(6)))


def test_confusion_counts_hold_small_integer_codes_of_many_classes():
    codes = np.arange(100, dtype=np.int8)
    np.testing.assert_array_equal(confusion_counts(codes, codes, 100), np.eye(100))


def test_confusion_counts_ignore_missing_truth_but_not_missing_predictions():
    assert confusion_counts([-1, 1], [-1, 0], 2).tolist() == [[0, 0], [1, 0]]
    with pytest.raises(ValueError, match="y_pred is -1 in 1 observed"):
        confusion_counts([0, 1], [-1, 0], 2)


@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_regression_matches_sklearn_and_scipy(offset):
    rng = np.random.default_rng(3)
    y = rng.normal(size=300) + offset
    pred = 0.5 * y + rng.normal(size=300)
    expected = {
        "r2": skm.r2_score(y, pred),
        "rmse": skm.root_mean_squared_error(y, pred),
        "pearson_r": scipy.stats.pearsonr(y, pred).statistic,
    }
    assert regression_scores(y, pred) == pytest.approx(expected)
    with_missing = regression_scores(np.r_[y, np.nan], np.r_[pred, np.inf])
    assert with_missing == pytest.approx(expected)


def test_regression_of_constants_has_an_error_but_no_r():
    # 0.1 is not exact in binary: the mean of equal values may differ from them by rounding.
    constant = np.full(7, 0.1)
    varying = np.arange(7.0)
    got = regression_scores(constant, varying)
    assert np.isnan([got["r2"], got["pearson_r"]]).all()
    assert got["rmse"] == pytest.approx(skm.root_mean_squared_error(constant, varying))
    got = regression_scores(varying, constant)
    assert np.isnan(got["pearson_r"])
    assert got["r2"] == pytest.approx(skm.r2_score(varying, constant))


@pytest.mark.parametrize(
    ("y", "pred", "match"),
    [
        ([0.0, 1.0], [0.0], "y_pred has 1 rows"),
        ([[0.0]], [0.0], r"y_pred has shape \(1,\)"),
        ([[[0.0]]], [[[0.0]]], r"y_true has shape \(1, 1, 1\)"),
        ([0.0, 1.0], [0.0, np.nan], "y_pred is not finite in 1 of 2"),
        ([0.0, np.inf], [0.0, 1.0], "y_true is not finite in 1 of 2"),
    ],
)
def test_bad_regression_input(y, pred, match):
    with pytest.raises(ValueError, match=match):
        regression_scores(y, pred)
