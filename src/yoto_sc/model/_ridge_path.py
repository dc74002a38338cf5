"""Predictions from more genes than the network reads, for all sizes in one pass."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import linalg, special

from yoto_sc.select import observed

if TYPE_CHECKING:
    from collections.abc import Sequence

    import scipy.sparse as sp
    from numpy.typing import NDArray

    from yoto_sc._tasks import Task

_BLOCK_GENES = 512
"""Genes that are held densely at a time."""
_RIDGE = 0.3
"""The penalty, in units of the mean squared length of a cell's expression."""
_SHRINKAGE = 1e-3
"""Added to the variances of fitted values, in units of their mean."""
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

    Parameters
    ----------
    train
        Expression on the model's scale, shape ``(n_train, n_genes)``, best gene first.
    labels
        For each task, the encoded labels of these cells, ``(n_train,)``.
    held_out
        Expression of the cells to predict, ``(n_held_out, n_genes)``.
    tasks
        The tasks.
    sizes
        Numbers of genes.
    class_weight_power
        A cell of a class of n cells weighs ``n ** -class_weight_power``.

    Returns
    -------
    By size, for each task: probabilities of the classes, ``(n_held_out, n_classes)``,
    or values, ``(n_held_out,)``.
    """
    targets = [
        _Target(task, array, class_weight_power) for task, array in zip(tasks, labels, strict=True)
    ]
    columns, others = train.tocsc(), held_out.tocsc()
    gram = np.zeros((train.shape[0], train.shape[0]), dtype=np.float32)
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
            gram += x @ x.T
            cross += np.clip((z - mean) / scale, -_CLIP, _CLIP) @ x.T
        done = size
        predictions[size] = [target.predict(gram, cross) for target in targets]
    return predictions


class _Target:
    """What one task asks of the training cells."""

    def __init__(self, task: Task, labels: NDArray[Any], class_weight_power: float) -> None:
        self._is_categorical = task.kind == "categorical"
        self._seen = np.flatnonzero(observed(labels))
        seen = labels[self._seen]
        if self._is_categorical:
            counts = np.bincount(seen, minlength=task.n_outputs).astype(np.float64)
            weights = np.maximum(counts, 1) ** -class_weight_power
            self._weights = weights[seen]
            self._values = np.eye(task.n_outputs)[seen]
        else:
            self._weights = np.ones(len(seen))
            self._values = seen[:, None].astype(np.float64)

    def predict(
        self, gram: NDArray[np.float32], cross: NDArray[np.float32]
    ) -> NDArray[np.float64]:
        """Predict from the inner products among training cells, and of other cells with them."""
        seen = self._seen
        if not len(seen):  # of a rarely labelled task, no cell may have been drawn
            n_outputs = self._values.shape[1]
            guess = np.full((len(cross), n_outputs), 1 / n_outputs)
            return guess if self._is_categorical else np.zeros(len(cross))
        weights = self._weights / self._weights.mean()
        share = weights / len(weights)
        gram = gram[np.ix_(seen, seen)].astype(np.float64)
        of_mean = gram @ share
        gram += share @ of_mean - of_mean - of_mean[:, None]
        others = cross[:, seen].astype(np.float64)
        others += share @ of_mean - of_mean - (others @ share)[:, None]
        penalty = _RIDGE * max(float(np.diagonal(gram).mean()), 1e-12)
        gram[np.diag_indices_from(gram)] += penalty / weights
        mean = share @ self._values
        inverse = linalg.cho_solve(linalg.cho_factor(gram), np.eye(len(gram)))
        duals = inverse @ (self._values - mean)
        predicted: NDArray[np.float64] = mean + others @ duals
        if not self._is_categorical:
            return predicted[:, 0]
        left_out = self._values - duals / np.diagonal(inverse)[:, None]
        return _discriminant(predicted, left_out, self._values, share)


def _discriminant(
    points: NDArray[np.float64],
    examples: NDArray[np.float64],
    indicators: NDArray[np.float64],
    share: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Linear discriminant analysis: probabilities of the classes, ``(n_points, n_classes)``."""
    prior = np.maximum(share @ indicators, np.finfo(np.float64).tiny)
    centroids = indicators.T @ (share[:, None] * examples) / prior[:, None]
    rest = examples - indicators @ centroids
    within = rest.T @ (share[:, None] * rest)
    within[np.diag_indices_from(within)] += _SHRINKAGE * np.diagonal(within).mean() + 1e-12
    directions = linalg.solve(within, centroids.T, assume_a="pos")
    offsets = np.log(prior) - 0.5 * (centroids * directions.T).sum(axis=1)
    probabilities: NDArray[np.float64] = special.softmax(points @ directions + offsets, axis=1)
    return probabilities
