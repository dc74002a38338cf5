"""Means of classes, the covariance within them, and how well pairs of classes are told apart."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from yoto_sc.select._labels import is_continuous, observed, standardized_target

if TYPE_CHECKING:
    from numpy.typing import NDArray


RIDGE = 0.1
"""Added to unit variances within classes: near copies and rare genes bring little."""


def class_moments(
    values: NDArray[np.float32], labels: NDArray[Any], ridge: float, class_weight_power: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the means of one task's classes and the covariance within, of genes of unit variance.

    A continuous target counts as two classes: the points one standard deviation below and above
    its mean, on the regression line.

    Parameters
    ----------
    values
        Expression, shape ``(n_obs, n_vars)``.
    labels
        Integer codes with -1 for missing, or floats with NaN for missing, shape ``(n_obs,)``.
    ridge
        Added to the variances.
    class_weight_power
        A cell of a class of n cells weighs ``n ** -class_weight_power``.

    Returns
    -------
    Means of shape ``(n_classes, n_vars)``, in the order of the codes that occur, and the
    covariance, ``(n_vars, n_vars)``.
    """
    seen = observed(labels)
    if is_continuous(labels):
        explained = standardized_target(labels)[:, None]
        weights = np.full(len(explained), 1 / len(explained))
    else:
        classes, codes, counts = np.unique(labels[seen], return_inverse=True, return_counts=True)
        weights = (counts.astype(np.float64) ** -class_weight_power)[codes]
        weights /= weights.sum()
        explained = (codes[:, None] == np.arange(len(classes))).astype(np.float64)
    roots = np.sqrt(weights)[:, None]
    x = values[seen]
    x = ((x - weights @ x) * roots).astype(np.float32)
    within = (x.T @ x).astype(np.float64)
    # An orthonormal basis of what the labels explain; its projection is the covariance between.
    basis = explained * roots
    lengths = np.maximum(np.linalg.norm(basis, axis=0), np.finfo(np.float64).tiny)
    between = ((basis / lengths).astype(np.float32).T @ x).astype(np.float64)
    scale = np.sqrt(np.diagonal(within)) + 1e-8
    within /= np.outer(scale, scale)
    between /= scale
    within -= between.T @ between
    within[np.diag_indices_from(within)] += ridge
    means = np.vstack([-between, between]) if is_continuous(labels) else between / lengths[:, None]
    return means, within


def mean_lambda(
    means: NDArray[np.float64], distances: NDArray[np.float64] | None = None
) -> NDArray[np.float64]:
    """Return the mean of Wilks' lambda over the pairs of classes, for each gene ``(n_vars,)``.

    Parameters
    ----------
    means
        Of the classes, in units of each gene's standard deviation within them, shape
        ``(n_classes, n_vars)``.
    distances
        Squared distances of the classes by other genes, ``(n_classes, n_classes)``; `None`: there
        are no other genes.
    """
    total = np.zeros(means.shape[1])
    for a in range(1, len(means)):  # one class at a time: all pairs may be too many to hold
        squares = (means[:a] - means[a]) ** 2
        if distances is not None:
            squares += distances[a, :a, None]
        total += (1 / (1 + squares / 4)).sum(axis=0)
    n_pairs = len(means) * (len(means) - 1) / 2
    return total / max(n_pairs, 1)
