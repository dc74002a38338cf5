"""Imitated assays keep zeros and means, and differ as they say."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import kstest

from yoto_sc.assay import imitate


def counts_of(values: np.ndarray) -> np.ndarray:
    return np.expm1(values.astype(np.float64))


def test_depth_is_of_the_cell_and_efficiency_of_the_gene() -> None:
    """With counts so large that rounding is nothing, they are the two terms of an additive fit."""
    values = np.full((3, 400, 60), np.log1p(100_000), dtype=np.float32)
    logs = np.log(counts_of(imitate(values, "technology", np.random.default_rng(0))) / 100_000)
    for batch in logs:
        depth = batch.mean(axis=1, keepdims=True)
        efficiency = batch.mean(axis=0, keepdims=True)
        np.testing.assert_allclose(batch, depth + efficiency - batch.mean(), atol=2e-3)
        assert efficiency.std() == pytest.approx(0.9, rel=0.3)
        exponents = (depth - efficiency.mean()).ravel()
        exponents = exponents - exponents.min() + np.log(0.1)
        width = np.log(30)
        assert kstest(exponents, "uniform", args=(np.log(0.1), width)).pvalue > 0.01


def test_batches_have_assays_of_their_own() -> None:
    values = np.full((2, 50, 30), np.log1p(100_000), dtype=np.float32)
    found = np.log(counts_of(imitate(values, "technology", np.random.default_rng(0))))
    one, other = found.mean(axis=1) - found.mean(axis=(1, 2))[:, None]
    assert np.abs(one - other).max() > 0.5


def test_counts_are_whole_and_their_mean_is_kept() -> None:
    values = np.full((400, 60, 40), np.log1p(3), dtype=np.float32)
    counts = counts_of(imitate(values, "technology", np.random.default_rng(1)))
    np.testing.assert_allclose(counts, counts.round(), rtol=1e-6, atol=1e-5)
    mean_depth = (3 - 0.1) / np.log(30)
    assert counts.mean() == pytest.approx(3 * mean_depth * np.exp(0.9**2 / 2), rel=0.08)


@pytest.mark.parametrize("how", ["thin", "technology"])
def test_zeros_stay_and_the_input_too(how: str) -> None:
    rng = np.random.default_rng(2)
    values = np.log1p(rng.poisson(1.0, (2, 50, 20))).astype(np.float32)
    before = values.copy()
    found = imitate(values, how, rng)
    assert found.dtype == np.float32
    assert (found[before == 0] == 0).all()
    assert (found != before).any()
    np.testing.assert_array_equal(values, before)
