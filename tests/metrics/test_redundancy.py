from __future__ import annotations

import itertools

import numpy as np
import scipy.stats

from yoto_sc.metrics import gene_correlation, redundancy_scores


def make_expression(seed=0):
    rng = np.random.default_rng(seed)
    x = rng.poisson(2, size=(60, 5)).astype(np.float32)
    x[:, 1] = x[:, 0] + rng.poisson(0.3, size=60)
    x[:, 4] = 0.1  # constant, though its variance may be rounded above 0
    return x


def test_correlation_matches_scipy():
    x = make_expression()
    correlation = gene_correlation(x)
    for i, j in itertools.product(range(4), repeat=2):
        expected = scipy.stats.pearsonr(x[:, i].astype(float), x[:, j].astype(float)).statistic
        np.testing.assert_allclose(correlation[i, j], expected, atol=1e-12)
    assert np.isnan(correlation[4]).all()
    assert np.isnan(correlation[:, 4]).all()


def test_scores_are_over_pairs_that_vary():
    x = make_expression().astype(float)
    pairs = [
        abs(scipy.stats.pearsonr(x[:, i], x[:, j]).statistic)
        for i, j in itertools.combinations(range(4), 2)
    ]
    scores = redundancy_scores(x)
    np.testing.assert_allclose(scores["mean_abs_correlation"], np.mean(pairs))
    np.testing.assert_allclose(scores["max_abs_correlation"], np.max(pairs))


def test_opposite_genes_are_redundant():
    assert redundancy_scores([[0, 3], [1, 2], [4, -1]])["max_abs_correlation"] == 1


def test_one_gene_has_no_redundancy():
    assert all(np.isnan(value) for value in redundancy_scores(np.eye(3)[:, :1]).values())
