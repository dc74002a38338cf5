"""What labels make of some genes, as forward selection and leaving out read it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from yoto_sc.select._pairs import partners

if TYPE_CHECKING:
    from numpy.typing import NDArray

RIDGE = 0.1
"""Added to unit variances within classes: near copies and rare genes bring little."""
_TINY = 1e-9
"""Variances are at least this."""
_BLOCK_PAIRS = 64
"""Of listed pairs, so many are held for all genes at a time."""


@dataclass(frozen=True, eq=False)
class Moments(ABC):
    """What the labels of one task make of some genes of unit variance."""

    @abstractmethod
    def stepper(self, n_steps: int) -> Stepper:
        """Return what tells, step by step, how much of the task is left open."""

    @abstractmethod
    def without(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Tell how much is left open with all genes, and with each one left out.

        Returns
        -------
        For each point that is told, shape ``(n_points,)`` and ``(n_points, n_vars)``. The mean
        over the points is what the criterion says of the task.
        """


class Criterion(ABC):
    """What a task has left open, given what the genes that are in bring to its points."""

    @abstractmethod
    def left(self, scaled: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return what would be left open with each gene added, from 0 to 1, ``(n_vars,)``.

        Parameters
        ----------
        scaled
            What each gene brings to each point, given those that are in, in units of the gene's
            standard deviation given them, ``(n_points, n_vars)``.
        """

    @abstractmethod
    def note(self, scores: NDArray[np.float64]) -> None:
        """Take in what the added gene brings to each point, shape ``(n_points,)``."""


class Stepper:
    """Genes that are in, by a Cholesky factorisation of a covariance on the way.

    Parameters
    ----------
    covariance
        Of the genes, shape ``(n_vars, n_vars)``.
    projections
        What a gene brings to each point, given those that are in, shape ``(n_points, n_vars)``.
    n_steps
        Number of genes that will be added.
    criterion
        What is left open.
    """

    def __init__(
        self,
        covariance: NDArray[np.float64],
        projections: NDArray[np.float64],
        n_steps: int,
        criterion: Criterion,
    ) -> None:
        self._covariance = covariance
        self._variances = np.diagonal(covariance).copy()
        self._factor = np.empty((len(covariance), n_steps))
        self._n_added = 0
        self._projections = projections
        self._criterion = criterion

    def left(self) -> NDArray[np.float64]:
        """Return what would be left open with each gene added, from 0 to 1, ``(n_vars,)``."""
        scaled = self._projections / np.sqrt(np.maximum(self._variances, _TINY))
        return self._criterion.left(scaled)

    def add(self, j: int) -> None:
        """Condition on the j-th gene."""
        known = self._factor[:, : self._n_added]
        column = self._covariance[:, j] - known @ known[j]
        scale = np.sqrt(max(column[j], _TINY))
        column /= scale
        scores = self._projections[:, j] / scale
        self._criterion.note(scores)
        self._projections = self._projections - np.outer(scores, column)
        self._factor[:, self._n_added] = column
        self._n_added += 1
        self._variances -= column**2


@dataclass(frozen=True, eq=False)
class PairMoments(Moments):
    r"""Points, all pairs of which are to be told apart.

    What is left open is the mean over pairs of Wilks' lambda. Without the gene j, the squared
    Mahalanobis distance of two points whose means differ by d shrinks by
    :math:`(W^{-1} d)_j^2 / (W^{-1})_{jj}`.

    Parameters
    ----------
    means
        The points, shape ``(n_points, n_vars)``.
    within
        The covariance around them, shape ``(n_vars, n_vars)``.
    weights
        What the points count for, ``(n_points,)``; a pair counts for the product.
    pairs
        Those that are to be told apart, ``(n_pairs, 2)``; `None`: all.
    """

    means: NDArray[np.float64]
    within: NDArray[np.float64]
    weights: NDArray[np.float64]
    pairs: NDArray[np.intp] | None = None

    def stepper(self, n_steps: int) -> Stepper:
        return Stepper(self.within, self.means, n_steps, PairCriterion(self.weights, self.pairs))

    def without(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        precision = np.linalg.inv(self.within)
        scores = self.means @ precision
        n_points, n_vars = self.means.shape
        complete, without = np.ones(n_points), np.ones((n_points, n_vars))
        if self.pairs is None:
            every = np.arange(n_points)
            near = [every[every != a] for a in range(n_points)]
        else:
            near = partners(self.pairs, n_points)
        for a, others in enumerate(near):  # one at a time: all pairs may be too many to hold
            if len(others):
                d, w = self.means[others] - self.means[a], scores[others] - scores[a]
                distances = (d * w).sum(axis=1)
                shrunk = distances[:, None] - w**2 / np.diagonal(precision)
                complete[a] = (1 / (1 + distances / 4)).mean()
                without[a] = (1 / (1 + np.maximum(shrunk, 0) / 4)).mean(axis=0)
        return complete, without


class PairCriterion(Criterion):
    """The mean lambda of pairs of points; a gene brings the difference of their means.

    Parameters
    ----------
    weights
        What the points count for, ``(n_points,)``.
    pairs
        Of points, ``(n_pairs, 2)``; `None`: all.
    """

    def __init__(
        self, weights: NDArray[np.float64], pairs: NDArray[np.intp] | None = None
    ) -> None:
        shape = (len(weights), len(weights)) if pairs is None else len(pairs)
        self._distances = np.zeros(shape)
        self._weights = weights
        self._pairs = pairs

    def left(self, scaled: NDArray[np.float64]) -> NDArray[np.float64]:
        if self._pairs is not None:
            return mean_lambda_of(self._pairs, scaled, self._distances, self._weights)
        return mean_lambda(scaled, self._distances, self._weights)

    def note(self, scores: NDArray[np.float64]) -> None:
        if self._pairs is not None:
            self._distances += (scores[self._pairs[:, 0]] - scores[self._pairs[:, 1]]) ** 2
        else:
            self._distances += (scores[:, None] - scores) ** 2


@dataclass(frozen=True, eq=False)
class DirectionMoments(Moments):
    r"""Columns of a target, the variance of which is to be explained.

    What is left open is :math:`1 - R^2` of the regression on the genes, over all columns by their
    variance. Without the gene j, a column's explained share falls by
    :math:`(\Sigma^{-1} b)_j^2 / (\Sigma^{-1})_{jj}`, where b are its covariances with the genes.

    Parameters
    ----------
    projections
        Covariances of the columns, of unit variance, with the genes, ``(n_columns, n_vars)``.
    covariance
        Of the genes, shape ``(n_vars, n_vars)``.
    shares
        Of the columns in the variance of the target, ``(n_columns,)``; they sum to 1.
    """

    projections: NDArray[np.float64]
    covariance: NDArray[np.float64]
    shares: NDArray[np.float64]

    def stepper(self, n_steps: int) -> Stepper:
        roots = np.sqrt(self.shares)[:, None]
        return Stepper(self.covariance, self.projections * roots, n_steps, DirectionCriterion())

    def without(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        precision = np.linalg.inv(self.covariance)
        coefficients = self.projections @ precision
        left = 1 - (coefficients * self.projections).sum(axis=1)
        falls = coefficients**2 / np.diagonal(precision)
        weights = self.shares * len(self.shares)  # so that the mean is by variance
        return weights * left, weights[:, None] * (left[:, None] + falls)


class DirectionCriterion(Criterion):
    """1 - R² of a target; a gene brings its partial covariances with the columns."""

    def __init__(self) -> None:
        self._explained = 0.0

    def left(self, scaled: NDArray[np.float64]) -> NDArray[np.float64]:
        gains: NDArray[np.float64] = (scaled**2).sum(axis=0)
        return np.maximum(1 - self._explained - gains, 0)

    def note(self, scores: NDArray[np.float64]) -> None:
        self._explained += float(scores @ scores)


def mean_lambda(
    means: NDArray[np.float64],
    distances: NDArray[np.float64] | None = None,
    weights: NDArray[np.float64] | None = None,
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
    weights
        What the classes count for, ``(n_classes,)``; `None`: all alike.
    """
    weights = np.ones(len(means)) if weights is None else weights
    total: NDArray[np.float64] = np.zeros(means.shape[1])
    for a in range(1, len(means)):  # one class at a time: all pairs may be too many to hold
        squares = (means[:a] - means[a]) ** 2
        if distances is not None:
            squares += distances[a, :a, None]
        total += ((weights[:a, None] * weights[a]) / (1 + squares / 4)).sum(axis=0)
    of_pairs = (weights.sum() ** 2 - (weights**2).sum()) / 2
    total /= max(of_pairs, np.finfo(np.float64).tiny)
    return total


def mean_lambda_of(
    pairs: NDArray[np.intp],
    means: NDArray[np.float64],
    distances: NDArray[np.float64] | None = None,
    weights: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]:
    """Do as `mean_lambda` does, over some pairs.

    Parameters
    ----------
    pairs
        Shape ``(n_pairs, 2)``.
    means, weights
        As for `mean_lambda`.
    distances
        Of the pairs, ``(n_pairs,)``.
    """
    weights = np.ones(len(means)) if weights is None else weights
    distances = np.zeros(len(pairs)) if distances is None else distances
    counts = weights[pairs[:, 0]] * weights[pairs[:, 1]]
    total: NDArray[np.float64] = np.zeros(means.shape[1])
    for start in range(0, len(pairs), _BLOCK_PAIRS):
        block = slice(start, start + _BLOCK_PAIRS)
        inverse = means[pairs[block, 0]] - means[pairs[block, 1]]
        inverse **= 2
        inverse += distances[block, None]
        inverse /= 4
        inverse += 1
        total += counts[block] @ np.reciprocal(inverse, out=inverse)
    total /= max(counts.sum(), np.finfo(np.float64).tiny)
    return total
