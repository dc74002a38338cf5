"""Forward stepwise discriminant analysis over several tasks, in closed form."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from yoto_sc.select._labels import is_continuous, observed, standardized_target

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


_TINY = 1e-9
"""Variances are at least this."""


def stepwise_order(
    values: NDArray[np.float32],
    labels: Sequence[NDArray[Any]],
    n_steps: int,
    *,
    ridge: float = 0.01,
    class_weight_power: float = 0.5,
    required: NDArray[np.bool_] | None = None,
    weights: NDArray[np.float64] | None = None,
) -> NDArray[np.intp]:
    r"""Order genes by forward stepwise discriminant analysis, summed over tasks.

    Each step adds the gene j that maximises

    .. math::

        \sum_t \log \frac{T^{(t)}_{jj \cdot S}}{W^{(t)}_{jj \cdot S}},

    the drop of the log of Wilks' lambda, where T and W are the total covariance and the covariance
    within the classes of task t, given the genes S that are already in. For a continuous task, W
    is the covariance that a regression on the target leaves. The criterion is that of classical
    stepwise discriminant analysis (Jennrich 1977), with cells weighted so that rare classes count,
    on the scale of correlations.

    Parameters
    ----------
    values
        Shape ``(n_obs, n_vars)``: expression, each gene of about unit variance.
    labels
        One array of shape ``(n_obs,)`` for each task: integer codes with -1 for missing, or floats
        with NaN for missing.
    n_steps
        Number of genes to order; at most ``n_vars``.
    ridge
        Added to the unit variances, so that near copies of a selected gene bring nothing.
    class_weight_power
        A cell of a class of n cells weighs ``n ** -class_weight_power``.
    required
        Mask of shape ``(n_vars,)``: genes that come before all others.
    weights
        Shape ``(n_vars,)``, non-negative: factors of the genes' gains.

    Returns
    -------
    Indices of the genes, best first, of shape ``(n_steps,)``.
    """
    n_vars = values.shape[1]
    n_steps = min(n_steps, n_vars)
    conditioned = [
        _Conditioned(covariance, n_steps)
        for task_labels in labels
        for covariance in _covariances(values, task_labels, ridge, class_weight_power)
    ]
    left = np.ones(n_vars, dtype=bool)
    first = np.zeros(n_vars, dtype=bool) if required is None else required.copy()
    order = np.empty(n_steps, dtype=np.intp)
    for step in range(n_steps):
        gain = np.zeros(n_vars)
        for total, within in zip(conditioned[::2], conditioned[1::2], strict=True):
            gain += np.log(total.variances()) - np.log(within.variances())
        if weights is not None:
            gain *= weights
        eligible = left & first if (left & first).any() else left
        j = int(np.where(eligible, gain, -np.inf).argmax())
        order[step] = j
        left[j] = False
        for covariance in conditioned:
            covariance.add(j)
    return order


class _Conditioned:
    """A covariance given the variables that were added, by a Cholesky factorisation on the way.

    Parameters
    ----------
    covariance
        Shape ``(n_vars, n_vars)``.
    n_steps
        Number of variables that will be added.
    """

    def __init__(self, covariance: NDArray[np.float64], n_steps: int) -> None:
        self._covariance = covariance
        self._factor = np.empty((len(covariance), n_steps))
        self._n_added = 0
        self._diagonal = np.diagonal(covariance).copy()

    def variances(self) -> NDArray[np.float64]:
        """Return the conditional variances, positive, of shape ``(n_vars,)``."""
        return np.maximum(self._diagonal, _TINY)

    def add(self, j: int) -> None:
        """Condition on the j-th variable."""
        known = self._factor[:, : self._n_added]
        column = self._covariance[:, j] - known @ known[j]
        column /= np.sqrt(max(column[j], _TINY))
        self._factor[:, self._n_added] = column
        self._n_added += 1
        self._diagonal -= column**2


def _covariances(
    values: NDArray[np.float32], labels: NDArray[Any], ridge: float, class_weight_power: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Total and within-class correlation, shape ``(n_vars, n_vars)``, over the observed cells."""
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
    x = (x - weights @ x) * roots
    x = x.astype(np.float32)
    total = (x.T @ x).astype(np.float64)
    # An orthonormal basis of what the labels explain; its projection is the covariance between.
    basis = explained * roots
    basis /= np.maximum(np.linalg.norm(basis, axis=0), np.finfo(np.float64).tiny)
    between = (basis.astype(np.float32).T @ x).astype(np.float64)
    scale = np.sqrt(np.diagonal(total)) + 1e-8
    total /= np.outer(scale, scale)
    between /= scale
    total[np.diag_indices_from(total)] += ridge
    return total, total - between.T @ between
