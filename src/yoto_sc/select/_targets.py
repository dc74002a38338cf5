"""What closed forms are to tell apart: the classes of one task, or its numbers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
import scipy.sparse as sp

if TYPE_CHECKING:
    from numpy.typing import NDArray

RIDGE = 0.1
"""Added to unit variances within classes: near copies and rare genes bring little."""
_EPS = 1e-9


class ClassMoments(NamedTuple):
    """What the labels of one task make of some genes of unit variance.

    Parameters
    ----------
    means
        The points to tell apart, shape ``(n_points, n_vars)``.
    within
        The covariance around them, shape ``(n_vars, n_vars)``.
    """

    means: NDArray[np.float64]
    within: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Sums:
    """Sums of expression over the cells of one target.

    Parameters
    ----------
    by_column
        Weighted with each column of the target's design, shape ``(n_columns, n_vars)``.
    squares
        Of the squared expression of the cells with a label, shape ``(n_vars,)``.
    """

    by_column: NDArray[np.float64]
    squares: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Target(ABC):
    """The labels of one task, as closed forms see them.

    Parameters
    ----------
    labels
        Encoded labels of shape ``(n_obs,)``.
    """

    labels: NDArray[Any]

    @property
    @abstractmethod
    def seen(self) -> NDArray[np.bool_]:
        """Which cells have a label, shape ``(n_obs,)``."""

    @abstractmethod
    def design(self) -> sp.csr_matrix:
        """Weights of the cells in sums of expression, shape ``(n_obs, n_columns)``."""

    @abstractmethod
    def rankings(self, sums: Sums) -> list[NDArray[np.float64]]:
        """Rank all genes by how much each tells alone, in one list or several; 1 is the best."""

    @abstractmethod
    def told(self, sums: Sums) -> NDArray[np.float64]:
        """Return by how much each gene alone lowers the criterion of the start, ``(n_vars,)``."""

    def moments(
        self, values: NDArray[np.float32], ridge: float = RIDGE, class_weight_power: float = 0.5
    ) -> ClassMoments:
        """Return the points to tell apart and the covariance around them, for unit variances.

        Parameters
        ----------
        values
            Expression, shape ``(n_obs, n_vars)``.
        ridge
            Added to the variances.
        class_weight_power
            A cell of a class of n cells weighs ``n ** -class_weight_power``.

        Returns
        -------
        Means of shape ``(n_points, n_vars)``, and the covariance, ``(n_vars, n_vars)``.
        """
        explained, weights = self._explained(class_weight_power)
        between, within, lengths = _decompose(values[self.seen], explained, weights, ridge)
        return ClassMoments(self._points(between, lengths), within)

    @abstractmethod
    def _explained(
        self, class_weight_power: float
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return what the labels explain, ``(n_seen, n_columns)``, and the cells' weights."""

    @abstractmethod
    def _points(
        self, between: NDArray[np.float64], lengths: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return the points to tell apart, from the projections on what the labels explain."""

    def shuffled(self, rng: np.random.Generator) -> Self:
        """Deal the observed labels to the same cells at random."""
        labels, seen = self.labels.copy(), self.seen
        labels[seen] = rng.permutation(labels[seen])
        return type(self)(labels)


class Classes(Target):
    """Classes, all pairs of which are to be told apart.

    Parameters
    ----------
    labels
        Integer codes of shape ``(n_obs,)``, -1 for missing.
    """

    @property
    def seen(self) -> NDArray[np.bool_]:
        """Which cells have a label, shape ``(n_obs,)``."""
        return np.asarray(self.labels >= 0)

    def design(self) -> sp.csr_matrix:
        """Return one column of zeros and ones for each class that occurs."""
        seen = self.seen
        classes, codes = np.unique(self.labels[seen], return_inverse=True)
        entries = (np.ones(len(codes)), (np.flatnonzero(seen), codes))
        return sp.csr_matrix(entries, shape=(len(self.labels), len(classes)))

    def rankings(self, sums: Sums) -> list[NDArray[np.float64]]:
        """Rank by the ANOVA F statistic, and by the variance that each class alone explains."""
        n_class = self._n_class()
        n, total = n_class.sum(), sums.by_column.sum(axis=0)
        spread = np.maximum(sums.squares - total**2 / n, 0)
        between = (n_class * (sums.by_column / n_class - total / n) ** 2).sum(axis=0)
        overall = between / (np.maximum(spread - between, 0) + _EPS)
        n_rest = np.maximum(n - n_class, 1)
        difference = sums.by_column / n_class - (total - sums.by_column) / n_rest
        between_one = n_class * n_rest / n * difference**2
        by_class = between_one / (np.maximum(spread - between_one, 0) + _EPS)
        return [_ranks(overall), *(_ranks(ratio) * len(by_class) for ratio in by_class)]

    def told(self, sums: Sums) -> NDArray[np.float64]:
        """Return one less the mean over pairs of classes of Wilks' lambda."""
        n_class = self._n_class()
        n = n_class.sum()
        means = sums.by_column / n_class
        variance = sums.squares / n - (sums.by_column.sum(axis=0) / n) ** 2
        variance = np.maximum(variance, 0) + _EPS
        within = np.maximum(sums.squares - (n_class * means**2).sum(axis=0), 0) / n
        within += RIDGE * variance
        if len(means) < 2:  # there is nothing to tell
            return np.zeros(means.shape[1])
        return 1 - mean_lambda(means / np.sqrt(within))

    def _explained(
        self, class_weight_power: float
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        labels = self.labels[self.seen]
        classes, codes, counts = np.unique(labels, return_inverse=True, return_counts=True)
        weights = (counts.astype(np.float64) ** -class_weight_power)[codes]
        weights /= weights.sum()
        return (codes[:, None] == np.arange(len(classes))).astype(np.float64), weights

    def _points(
        self, between: NDArray[np.float64], lengths: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        return between / lengths[:, None]  # the means of the classes, in the order of their codes

    def _n_class(self) -> NDArray[np.float64]:
        counts = np.unique(self.labels[self.seen], return_counts=True)[1]
        return counts.astype(np.float64)[:, None]


class Numbers(Target):
    """Numbers, which count as two points: one standard deviation below and above their mean.

    Parameters
    ----------
    labels
        Floats of shape ``(n_obs,)``, NaN for missing.
    """

    @property
    def seen(self) -> NDArray[np.bool_]:
        """Which cells have a label, shape ``(n_obs,)``."""
        return np.asarray(~np.isnan(self.labels))

    def design(self) -> sp.csr_matrix:
        """Return a column of ones for cells with a label, and one of their standardised values."""
        design = np.zeros((len(self.labels), 2))
        seen = self.seen
        design[seen] = np.column_stack([np.ones(seen.sum()), self._standardized()])
        return sp.csr_matrix(design)

    def rankings(self, sums: Sums) -> list[NDArray[np.float64]]:
        """Rank by the squared correlation."""
        return [_ranks(self.told(sums))]

    def told(self, sums: Sums) -> NDArray[np.float64]:
        """Return R²."""
        n = self.seen.sum()
        mean = sums.by_column[0] / n
        variance = np.maximum(sums.squares / n - mean**2, 0)
        correlation: NDArray[np.float64] = (sums.by_column[1] / n) ** 2 / (variance + _EPS)
        return correlation

    def _explained(
        self, class_weight_power: float
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        target = self._standardized()[:, None]
        return target, np.full(len(target), 1 / len(target))

    def _points(
        self, between: NDArray[np.float64], lengths: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        return np.vstack([-between, between])  # on the regression line

    def _standardized(self) -> NDArray[np.float64]:
        target = self.labels[self.seen].astype(np.float64)
        target -= target.mean()
        spread = target.std()
        return target / spread if spread > 0 else target


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


def _decompose(
    x: NDArray[np.float32],
    explained: NDArray[np.float64],
    weights: NDArray[np.float64],
    ridge: float,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Split the covariance of standardised genes into what labels explain, and the rest.

    Returns
    -------
    The projections of the genes on each column of `explained`, scaled to unit length, of shape
    ``(n_columns, n_vars)``; the covariance of the rest, ``(n_vars, n_vars)``; and the lengths of
    these columns, ``(n_columns,)``.
    """
    roots = np.sqrt(weights)[:, None]
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
    return between, within, lengths


def _ranks(statistic: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rank from 1 (largest) on; of equal values, the gene that comes first."""
    ranks = np.empty(len(statistic))
    ranks[np.argsort(-statistic, kind="stable")] = np.arange(1, len(statistic) + 1)
    return ranks
