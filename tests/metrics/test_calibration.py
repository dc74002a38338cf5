"""Expected calibration error against pandas' binning, closed forms and limits."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from yoto_sc.metrics import expected_calibration_error


@pytest.mark.parametrize("n_bins", [1, 7, 15])
@pytest.mark.parametrize("seed", range(3))
def test_matches_binning_with_pandas(n_bins, seed):
    rng = np.random.default_rng(seed)
    confidence = rng.random(500)
    correct = rng.random(500) < confidence**2
    bins = pd.cut(confidence, np.linspace(0, 1, n_bins + 1), include_lowest=True)
    table = pd.DataFrame({"correct": correct, "confidence": confidence})
    grouped = table.groupby(bins, observed=True)
    gaps = (grouped["correct"].mean() - grouped["confidence"].mean()).abs()
    expected = (gaps * grouped.size()).sum() / 500
    got = expected_calibration_error(correct, confidence, n_bins=n_bins)
    assert got == pytest.approx(expected)


def test_edges_belong_to_the_bin_below():
    # 0.5 shares the bin of 0.4, where they cancel; above it, they would add up.
    assert expected_calibration_error([True, False], [0.5, 0.5], n_bins=2) == 0
    assert expected_calibration_error([False, True], [0.5, 0.6], n_bins=2) == pytest.approx(0.45)
    assert expected_calibration_error([True, False], [0.0, 1.0]) == 1


def test_falls_to_zero_where_confidence_is_true():
    rng = np.random.default_rng(0)
    confidence = rng.random(200_000)
    correct = rng.random(200_000) < confidence
    assert expected_calibration_error(correct, confidence) < 0.01
    assert expected_calibration_error(correct, np.sqrt(confidence)) > 0.1


def test_without_predictions():
    assert np.isnan(expected_calibration_error([], []))


@pytest.mark.parametrize("confidence", [[0.2, 1.1], [-0.1, 0.5], [np.nan, 0.5]])
def test_error_not_probabilities(confidence):
    with pytest.raises(ValueError, match=r"must be in \[0, 1\]"):
        expected_calibration_error([True, False], confidence)


def test_error_shapes():
    with pytest.raises(ValueError, match=r"\(2,\) and confidence \(3,\)"):
        expected_calibration_error([True, False], [0.1, 0.2, 0.3])
