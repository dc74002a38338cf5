"""Ridge regression in the dual against scikit-learn's, and discriminants against densities."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.stats import multivariate_normal
from sklearn.linear_model import Ridge

from yoto_sc.data import Categorical, Continuous
from yoto_sc.judge import _ridge
from yoto_sc.judge._ridge import ridge_path

TASKS = [Categorical("class", ("a", "b", "c")), Continuous("number")]


def make_cells(n_train=60, n_held_out=25, n_genes=40, seed=0):
    rng = np.random.default_rng(seed)
    values = rng.poisson(1.0, (n_train + n_held_out, n_genes)).astype(np.float32)
    codes = np.digitize(values[:, 0] + 2 * values[:, 5], [1, 4])
    numbers = (values[:, :4].sum(axis=1) + rng.normal(size=len(values))).astype(np.float32)
    train, held_out = sp.csr_matrix(values[:n_train]), sp.csr_matrix(values[n_train:])
    return train, held_out, [codes[:n_train], numbers[:n_train]]


def expected(train, held_out, labels, size, power):
    """Ridge on standardised genes; classes by the normal densities of left-out fits."""
    x, z = train.toarray()[:, :size].astype(float), held_out.toarray()[:, :size].astype(float)
    x, z = (x - (mean := x.mean(axis=0))) / (scale := x.std(axis=0)), (z - mean) / scale
    out = []
    for array in labels:
        categorical = array.dtype.kind == "i"
        seen = array >= 0 if categorical else ~np.isnan(array)
        y = array[seen]
        exponent = -power if categorical else 0.0
        weights = np.array([float((y == value).sum()) ** exponent for value in y])
        weights = weights / weights.mean()
        centre = np.average(x[seen], axis=0, weights=weights)
        inputs = x[seen] - centre
        targets = np.eye(3)[y] if categorical else y[:, None].astype(float)
        mean = np.average(targets, axis=0, weights=weights)
        ridge = Ridge(0.3 * (inputs**2).sum(axis=1).mean(), fit_intercept=False)

        def fitted(to, cells, ridge=ridge, inputs=inputs, y=targets - mean, weights=weights):
            ridge.fit(inputs[cells], y[cells], sample_weight=weights[cells])
            return ridge.predict(to)

        everyone = np.arange(len(y))
        points = mean + fitted(z - centre, everyone)
        if not categorical:
            out.append(points.ravel())
            continue
        left_out = np.vstack([fitted(inputs[[i]], everyone != i) for i in everyone]) + mean
        share = weights / weights.sum()
        means = [np.average(left_out[y == c], axis=0, weights=share[y == c]) for c in range(3)]
        rest = left_out - np.array(means)[y]
        within = rest.T @ (share[:, None] * rest)
        within += 1e-3 * np.diag(within).mean() * np.eye(3)
        density = [
            share[y == c].sum() * multivariate_normal(means[c], within).pdf(points)
            for c in range(3)
        ]
        out.append((density / np.sum(density, axis=0)).T)
    return out


@pytest.mark.parametrize("power", [0.0, 0.5])
@pytest.mark.parametrize("missing", [0.0, 0.3])
@pytest.mark.parametrize("block", [7, 512])
def test_every_size_is_a_ridge_regression(power, missing, block, monkeypatch):
    monkeypatch.setattr(_ridge, "_BLOCK_GENES", block)
    train, held_out, labels = make_cells()
    unseen = np.random.default_rng(1).random((2, 60)) < missing
    labels[0][unseen[0]], labels[1][unseen[1]] = -1, np.nan
    sizes = [12, 3, 40]  # fewer genes than cells, more, in any order
    found = ridge_path(train, labels, held_out, TASKS, sizes, power)
    assert sorted(found) == [3, 12, 40]
    for size, predictions in found.items():
        for got, wanted in zip(
            predictions, expected(train, held_out, labels, size, power), strict=True
        ):
            np.testing.assert_allclose(got, wanted, rtol=1e-2, atol=1e-3)


def test_genes_past_the_size_are_not_read():
    train, held_out, labels = make_cells()
    noise = sp.csr_matrix(np.full((60, 5), 7, dtype=np.float32))
    more = sp.hstack([train[:, :10], noise]).tocsr()
    others = sp.hstack([held_out[:, :10], noise[:25]]).tocsr()
    a = ridge_path(train, labels, held_out, TASKS, [10], 0.5)[10]
    b = ridge_path(more, labels, others, TASKS, [10], 0.5)[10]
    for x, y in zip(a, b, strict=True):
        np.testing.assert_array_equal(x, y)


def test_constant_genes_change_nothing():
    train, held_out, labels = make_cells()
    ones = sp.csr_matrix(np.ones((60, 3), dtype=np.float32))
    with_ones = sp.hstack([train, ones]).tocsr()
    others = sp.hstack([held_out, ones[:25]]).tocsr()
    found = ridge_path(with_ones, labels, others, TASKS, [40, 43], 0.5)
    for x, y in zip(found[40], found[43], strict=True):
        np.testing.assert_array_equal(x, y)


def test_a_task_without_labels_gets_a_guess():
    train, held_out, labels = make_cells()
    labels[0][:], labels[1][:] = -1, np.nan
    shares, values = ridge_path(train, labels, held_out, TASKS, [5], 0.5)[5]
    np.testing.assert_allclose(shares, 1 / 3)
    assert np.isfinite(values).all()


@pytest.mark.parametrize("diagonal", [(1.0, -1.0), (1.0, 0.0)])
def test_only_positive_definite_matrices_are_inverted(diagonal):
    with pytest.raises(np.linalg.LinAlgError, match="not positive definite"):
        _ridge._inverse(np.diag(diagonal))
