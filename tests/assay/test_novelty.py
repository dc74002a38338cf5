"""Cells that are unlike every class of the reference are told from those that are not."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from yoto_sc.assay import Novelty

N_GENES, N_LATENT = 6, 5


def cells(codes: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Expression and representation around the means of classes."""
    rng = np.random.default_rng(seed)
    centres = 2 * np.random.default_rng(3).standard_normal((4, N_GENES + N_LATENT))
    both = centres[codes] + 0.7 * rng.standard_normal((len(codes), N_GENES + N_LATENT))
    return both[:, :N_GENES].astype(np.float32), both[:, N_GENES:].astype(np.float32)


@pytest.fixture(scope="module")
def novelty() -> Novelty:
    """Three classes are known; quantiles come from other cells than the rest."""
    codes = np.arange(900) % 3
    held_out = np.arange(600) % 3
    found = Novelty.of(*cells(codes, 0), codes, 3)
    return found.calibrated(found.distance(*cells(held_out, 1), np.eye(3)[held_out]))


def test_a_class_that_was_not_seen_is_further_away(novelty: Novelty) -> None:
    codes = np.arange(800) % 4
    guess = np.full((800, 3), 1 / 3)
    guess[codes < 3] = np.eye(3)[codes[codes < 3]]
    distance = novelty.distance(*cells(codes, 2), guess)
    assert roc_auc_score(codes == 3, distance) > 0.95


@pytest.mark.parametrize("share", [0.01, 0.05, 0.2])
def test_false_alarms_are_as_many_as_is_said(novelty: Novelty, share: float) -> None:
    codes = np.arange(6000) % 3
    distance = novelty.distance(*cells(codes, 4), np.eye(3)[codes])
    assert novelty.is_new(distance, share).mean() == pytest.approx(share, rel=0.5)
    assert np.median(novelty.score(distance)) == pytest.approx(0, abs=0.15)
    assert (novelty.score(distance) > 1).mean() == pytest.approx(0.05, rel=0.5)


def test_distances_are_those_of_mahalanobis(novelty: Novelty) -> None:
    codes = np.arange(900) % 3
    values, latent = cells(codes, 0)
    features = np.hstack([latent, 2 * values / values.std(axis=0)]).astype(np.float64)
    means = np.stack([features[codes == code].mean(axis=0) for code in range(3)])
    rest = features - means[codes]
    within = rest.T @ rest / len(rest)
    within += 0.3 * np.trace(within) / len(within) * np.eye(len(within))
    probabilities = np.random.default_rng(0).dirichlet(np.ones(3), 900)
    shifted = features[:, None] - means
    squares = np.einsum("nci,ij,ncj->nc", shifted, np.linalg.inv(within), shifted)
    expected = np.log((squares * probabilities).sum(axis=1))
    found = novelty.distance(values, latent, probabilities)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)


def test_classes_without_cells_and_constant_genes_do_no_harm() -> None:
    codes = np.arange(300) % 3
    values, latent = cells(codes, 0)
    values[:, 2] = 1
    found = Novelty.of(values, latent, codes, 5)
    guess = np.eye(5)[codes]
    assert np.isfinite(found.distance(values, latent, guess)).all()


def test_of_large_panels_the_representation_alone_is_compared() -> None:
    rng = np.random.default_rng(0)
    codes = np.arange(300) % 3
    values = rng.standard_normal((300, 300)).astype(np.float32)
    found = Novelty.of(values, cells(codes, 0)[1], codes, 3)
    assert found.whitening.shape == (N_LATENT, N_LATENT)
