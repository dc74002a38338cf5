"""Predictions from more genes than the network reads, for all sizes in one pass."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import linalg

if TYPE_CHECKING:
    from collections.abc import Sequence

    import scipy.sparse as sp
    from numpy.typing import NDArray

    from yoto_sc.data import Task

_BLOCK_GENES = 512
"""Genes that are held densely at a time."""
_RIDGE = 0.3
"""The penalty, in units of the mean squared length of a cell's expression."""
_CLIP = 10.0
"""Standardised expression is clipped to this many standard deviations, as in the network."""


def ridge_path(
    train: sp.csr_matrix,
    labels: Sequence[NDArray[Any]],
    held_out: sp.csr_matrix,
    tasks: Sequence[Task],
    sizes: Sequence[int],
    class_weight_power: float,
) -> dict[int, list[NDArray[np.float64]]]:
    r"""Predict each task from the first genes of a ranking, for growing numbers of them.

    Ridge regression on standardised expression, of the targets or of one indicator for each class,
    is solved in its dual (Saunders, Gammerman and Vovk 1998),

    .. math::

        \hat y(x) = \bar y + k(x)^\top (K + \lambda D^{-1})^{-1} (y - \bar y),

    with the weights D of the cells, and weighted means taken off y and off the cells whose inner
    products are K. As :math:`K = \sum_j x_j x_j^\top`, one pass over the genes in the order of
    their ranks gives the K of every size. Classes are told apart by linear discriminant analysis
    of the fitted values, as in flexible discriminant analysis (Hastie, Tibshirani and Buja 1994);
    centroids and covariance come from the fit to each cell that leaves this cell out.

    Returns
    -------
    By size, for each task, a prediction for the held-out cells.
    """
    columns, others = train.tocsc(), held_out.tocsc()
    gram = np.zeros((train.shape[0], train.shape[0]), dtype=np.float32, order="F")
    cross = np.zeros((held_out.shape[0], train.shape[0]), dtype=np.float32)
    predictions: dict[int, list[NDArray[np.float64]]] = {}
    done = 0
    for size in sorted(sizes):
        for start in range(done, size, _BLOCK_GENES):
            genes = slice(start, min(start + _BLOCK_GENES, size))
            x, z = columns[:, genes].toarray(), others[:, genes].toarray()
            mean, scale = x.mean(axis=0), x.std(axis=0)
            scale[scale <= 1e-6 * np.maximum(mean, 1)] = 1.0
            x = np.clip((x - mean) / scale, -_CLIP, _CLIP)
            # The lower triangle is all that is needed, for half of the work.
            gram = linalg.blas.ssyrk(1.0, x, beta=1.0, c=gram, lower=1, overwrite_c=1)
            cross += np.clip((z - mean) / scale, -_CLIP, _CLIP) @ x.T
        done = size
        whole = np.tril(gram) + np.tril(gram, -1).T
        predictions[size] = [
            _predict(task, array, whole, cross, class_weight_power)
            for task, array in zip(tasks, labels, strict=True)
        ]
    return predictions


def _predict(
    task: Task,
    labels: NDArray[Any],
    gram: NDArray[np.float32],
    cross: NDArray[np.float32],
    class_weight_power: float,
) -> NDArray[np.float64]:
    """Predict from the inner products among training cells, and of other cells with them."""
    seen = np.flatnonzero(task.observed(labels))
    if not len(seen):  # of a rarely labelled task, no cell may have been drawn
        return task.guess(len(cross))
    values, weights = task.regressands(labels[seen], class_weight_power)
    weights = weights / weights.mean()
    share = weights / len(weights)
    inner = gram[np.ix_(seen, seen)].astype(np.float64)
    of_mean = inner @ share
    inner += share @ of_mean - of_mean - of_mean[:, None]
    others = cross[:, seen].astype(np.float64)
    others += share @ of_mean - of_mean - (others @ share)[:, None]
    penalty = _RIDGE * max(float(np.diagonal(inner).mean()), 1e-12)
    inner[np.diag_indices_from(inner)] += penalty / weights
    mean = share @ values
    inverse = _inverse(inner)
    duals = inverse @ (values - mean)
    left_out = values - duals / np.diagonal(inverse)[:, None]
    return task.from_regression(mean + others @ duals, left_out, values, share)


def _inverse(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Invert a symmetric, positive definite matrix."""
    factor, info = linalg.lapack.dpotrf(matrix, lower=1)
    if info == 0:
        half, info = linalg.lapack.dpotri(factor, lower=1)
    if info != 0:
        raise np.linalg.LinAlgError("The matrix is not positive definite.")
    inverse: NDArray[np.float64] = np.tril(half) + np.tril(half, -1).T
    return inverse
