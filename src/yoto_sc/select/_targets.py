"""What closed forms are to tell: the classes of one task, its numbers, or its vectors."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import scipy.sparse as sp

from yoto_sc.select._batches import (
    batch_columns,
    batch_effects,
    group_means,
    interactions,
    without_batches,
)
from yoto_sc.select._moments import (
    RIDGE,
    DirectionCriterion,
    DirectionMoments,
    PairCriterion,
    PairMoments,
    mean_lambda,
    mean_lambda_of,
)
from yoto_sc.select._pairs import MANY_CLASSES, closest_pairs, some_pairs, strongest_genes
from yoto_sc.select._profiles import Profile
from yoto_sc.select._spread import BlockStepper, Spread

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from yoto_sc.select._moments import Moments

_EPS = 1e-9
_N_BINS = 8
"""Numbers have a profile over so many classes of equal size."""
_BLOCK_CELLS = 1024
"""Cells that are brought to double precision at once."""
_N_DIRECTIONS = 50
"""A vector of more columns is screened for by so many principal components."""


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

    def of_genes(self, genes: NDArray[np.intp]) -> Sums:
        """Return the sums of some genes."""
        return Sums(self.by_column[:, genes], self.squares[genes])


@dataclass(frozen=True, eq=False)
class Target(ABC):
    """The labels of one task, as closed forms see them.

    Parameters
    ----------
    labels
        Encoded labels, ``(n_obs,)`` or ``(n_obs, n_columns)``.
    weight
        What the task counts for beside others.
    batches
        Codes of the batches, differences between which count for nothing, ``(n_obs,)``; `None`:
        there are none.
    """

    labels: NDArray[Any]
    weight: float = 1.0
    batches: NDArray[np.intp] | None = field(default=None, kw_only=True)

    @property
    @abstractmethod
    def seen(self) -> NDArray[np.bool_]:
        """Which cells have a label, shape ``(n_obs,)``."""

    @abstractmethod
    def design(self) -> sp.csr_matrix:
        """Weights of the cells in sums of expression, shape ``(n_obs, n_columns)``."""

    @abstractmethod
    def rankings(self, sums: Sums) -> Iterable[NDArray[np.float64]]:
        """Rank all genes by how much each tells alone, in one list or several; 1 is the best."""

    @abstractmethod
    def told(self, sums: Sums) -> NDArray[np.float64]:
        """Return by how much each gene alone lowers the criterion of the start, ``(n_vars,)``."""

    @abstractmethod
    def moments(
        self, values: NDArray[np.float32], ridge: float = RIDGE, class_weight_power: float = 0.5
    ) -> Moments:
        """Return what the labels make of some genes, brought to unit variance.

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
        Of classes, their means, in the order of their codes, and what is within; of numbers, the
        two points on the regression line, and what is around it; of vectors, the covariances of
        the columns with the genes, and those of the genes.
        """

    @abstractmethod
    def profiled(self) -> Classes | Vectors:
        """Return what profiles of genes are taken over: numbers become classes of equal size."""

    @abstractmethod
    def gradual(
        self,
        values: NDArray[np.float32],
        n_steps: int,
        ridge: float = RIDGE,
        class_weight_power: float = 0.5,
    ) -> BlockStepper:
        """Return what adds genes in blocks, for very many of them.

        Parameters
        ----------
        values
            As for `moments`.
        n_steps
            Number of genes that will be added.
        ridge, class_weight_power
            As for `moments`.

        Returns
        -------
        It has no gene yet.
        """

    def within(self, batches: NDArray[np.intp] | None) -> Self:
        """Let differences between `batches` count for nothing; of one batch, there are none."""
        if batches is None or len(np.unique(batches[self.seen])) < 2:
            return self
        return replace(self, batches=batches)

    def batch_design(self) -> sp.csr_matrix:
        """Return one column for each batch, with its cells that have a label."""
        if self.batches is None:
            return sp.csr_matrix((len(self.labels), 0))
        return batch_columns(self.batches, self.seen)

    def sums(
        self,
        by_column: NDArray[np.float64],
        by_batch: NDArray[np.float64],
        squares: NDArray[np.float64],
    ) -> Sums:
        """Return sums of expression, without what the batches add to it.

        Parameters
        ----------
        by_column, by_batch
            Sums over the cells by the columns of `design` and of `batch_design`, each
            ``(n_columns, n_vars)``.
        squares
            Of squared expression of the cells with a label, ``(n_vars,)``.

        Returns
        -------
        The sums, as :class:`Sums` has them.
        """
        if self.batches is None:
            return Sums(by_column, squares)
        design, batches = self.design(), self.batch_design()
        effects = batch_effects(design, batches, by_column, by_batch)
        n_cells = np.asarray(batches.sum(axis=0)).ravel()
        return Sums(
            by_column - (design.T @ batches) @ effects,
            squares - 2 * (effects * by_batch).sum(axis=0) + n_cells @ effects**2,
        )

    def _seen_values(
        self, values: NDArray[np.float32], weights: NDArray[np.float64]
    ) -> NDArray[np.float32]:
        """Return the expression of the cells with a label, without what the batches add."""
        seen = self.seen
        if self.batches is None:
            return values[seen]
        return without_batches(values[seen], self.design()[seen], self.batches[seen], weights)

    def shuffled(self, rng: np.random.Generator) -> Self:
        """Deal the observed labels to the same cells at random."""
        labels, seen = self.labels.copy(), self.seen
        labels[seen] = rng.permutation(labels[seen])
        return replace(self, labels=labels)


@dataclass(frozen=True, eq=False)
class Classes(Target):
    """Classes, all pairs of which are to be told apart.

    Parameters
    ----------
    labels
        Integer codes of shape ``(n_obs,)``, -1 for missing; or the probabilities of the classes,
        ``(n_obs, n_classes)``, rows of zeros for missing.
    weight
        See :class:`Target`.
    class_weights
        What each class counts for beside others, by its code, of mean 1; empty: all alike.
    batches
        See :class:`Target`.
    """

    class_weights: tuple[float, ...] = ()

    @property
    def seen(self) -> NDArray[np.bool_]:
        """Which cells have a label, shape ``(n_obs,)``."""
        return np.asarray(self.labels >= 0 if self.labels.ndim == 1 else self.labels.any(axis=1))

    def design(self) -> sp.csr_matrix:
        """Return one column for each class that occurs: how much of each cell is of the class."""
        if self.labels.ndim == 2:
            return sp.csr_matrix(self.labels[:, self.labels.any(axis=0)], dtype=np.float64)
        seen = self.seen
        classes, codes = np.unique(self.labels[seen], return_inverse=True)
        entries = (np.ones(len(codes)), (np.flatnonzero(seen), codes))
        return sp.csr_matrix(entries, shape=(len(self.labels), len(classes)))

    def rankings(self, sums: Sums) -> Iterator[NDArray[np.float64]]:
        """Rank by the ANOVA F statistic, and by the variance that each class alone explains."""
        n_class = self._n_class()
        n, total = n_class.sum(), sums.by_column.sum(axis=0)
        spread = np.maximum(sums.squares - total**2 / n, 0)
        between = (n_class * (sums.by_column / n_class - total / n) ** 2).sum(axis=0)
        yield _ranks(between / (np.maximum(spread - between, 0) + _EPS))
        turns = len(n_class) / self._weights()
        for start in range(0, len(n_class), MANY_CLASSES):  # all may be too many to hold
            part = slice(start, start + MANY_CLASSES)
            n_one, by_column = n_class[part], sums.by_column[part]
            n_rest = np.maximum(n - n_one, 1)
            difference = by_column / n_one - (total - by_column) / n_rest
            between_one = n_one * n_rest / n * difference**2
            by_class = between_one / (np.maximum(spread - between_one, 0) + _EPS)
            for ratio, turn in zip(by_class, turns[part], strict=True):
                yield _ranks(ratio) * turn

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
        means /= np.sqrt(within)
        if len(means) > MANY_CLASSES:
            return 1 - mean_lambda_of(some_pairs(len(means)), means)
        return 1 - mean_lambda(means)

    def moments(
        self, values: NDArray[np.float32], ridge: float = RIDGE, class_weight_power: float = 0.5
    ) -> PairMoments:
        if len(self._n_class()) > MANY_CLASSES:
            return self._close_moments(values, ridge, class_weight_power)
        if self.labels.ndim == 1:
            labels = self.labels[self.seen]
            classes, codes, counts = np.unique(labels, return_inverse=True, return_counts=True)
            weights = (counts.astype(np.float64) ** -class_weight_power)[codes]
            shares = (codes[:, None] == np.arange(len(classes))).astype(np.float64)
        else:
            shares = self.labels[self.seen][:, self.labels.any(axis=0)].astype(np.float64)
            shares *= shares.sum(axis=0) ** -class_weight_power
            weights = shares.sum(axis=1)
            shares /= weights[:, None]
        weights /= weights.sum()
        x, within, scale = _covariance(self._seen_values(values, weights), weights)
        # Each class as a vector over the cells whose product with them is the sum of its cells; in
        # units of the root of its weight, what it explains is the square of this.
        roots = np.sqrt(weights)[:, None]
        lengths = np.sqrt(weights @ shares)
        lengths = np.maximum(lengths, np.finfo(np.float64).tiny)
        between = ((shares * roots / lengths).astype(np.float32).T @ x).astype(np.float64) / scale
        within -= between.T @ between
        if self.batches is not None:  # what varies from batch to batch counts twice
            batches = self.batches[self.seen]
            explained = (shares * roots / lengths).astype(np.float32) @ (between * scale)
            groups = shares.argmax(axis=1) * (batches.max() + 1) + batches
            varying, by_chance = interactions((x - explained) / scale, groups, weights)
            within = (1 - by_chance) * within + varying
        within[np.diag_indices_from(within)] += ridge
        return PairMoments(between / lengths[:, None], within, self._weights())

    def profiled(self) -> Classes:
        return self

    def profile(self, sums: Sums) -> Profile:
        """Return how genes are expressed over the classes that occur, in order of their codes."""
        return Profile.of_classes(self._n_class()[:, 0], sums.by_column, sums.squares)

    def _close_moments(
        self, values: NDArray[np.float32], ridge: float, class_weight_power: float
    ) -> PairMoments:
        """Return the moments of very many classes, of which the closest pairs count."""
        spread, means = self._spread(values, ridge, class_weight_power)
        within = spread.columns(np.arange(values.shape[1])).astype(np.float64)
        within = (within + within.T) / 2
        return PairMoments(means, within, self._weights(), self._pairs(spread, means))

    def _pairs(self, spread: Spread, means: NDArray[np.float64]) -> NDArray[np.intp] | None:
        """Return which pairs of classes count; `None`: all."""
        if len(means) <= MANY_CLASSES:
            return None
        genes = strongest_genes(means)
        within = spread.columns(genes, genes).astype(np.float64)
        return closest_pairs(means[:, genes], (within + within.T) / 2, self._n_class().ravel())

    def gradual(
        self,
        values: NDArray[np.float32],
        n_steps: int,
        ridge: float = RIDGE,
        class_weight_power: float = 0.5,
    ) -> BlockStepper:
        spread, means = self._spread(values, ridge, class_weight_power)
        criterion = PairCriterion(self._weights(), self._pairs(spread, means))
        return BlockStepper(spread, means, n_steps, criterion)

    def _spread(
        self, values: NDArray[np.float32], ridge: float, class_weight_power: float
    ) -> tuple[Spread, NDArray[np.float64]]:
        """Return what is within classes, and their means, ``(n_classes, n_vars)``."""
        design = sp.csr_matrix(self.design()[self.seen])
        shares = design @ sp.diags(np.asarray(design.sum(axis=0)).ravel() ** -class_weight_power)
        weights: NDArray[np.float64] = np.asarray(shares.sum(axis=1), dtype=np.float64).ravel()
        shares = sp.diags(1 / weights) @ shares
        weights /= weights.sum()
        cells = _unit_cells(self._seen_values(values, weights), weights)
        lengths = np.sqrt(shares.T @ weights)
        axes = sp.diags(np.sqrt(weights)) @ shares @ sp.diags(1 / lengths)
        axes = sp.csr_matrix(axes, dtype=np.float32)
        between = axes.T @ cells
        varying, by_chance = None, 0.0
        if self.batches is not None:  # what varies from batch to batch counts twice
            batches = self.batches[self.seen]
            groups = np.asarray(shares.argmax(axis=1)).ravel() * (batches.max() + 1) + batches
            varying, by_chance = group_means(cells - axes @ between, groups, weights)
        means = between.astype(np.float64) / lengths[:, None]
        return Spread(cells, between, ridge, varying, by_chance), means

    def _weights(self) -> NDArray[np.float64]:
        """Return what each class that occurs counts for, ``(n_present,)``."""
        if self.labels.ndim == 2:
            classes = np.flatnonzero(self.labels.any(axis=0))
        else:
            classes = np.unique(self.labels[self.seen])
        if not self.class_weights:
            return np.ones(len(classes))
        return np.array(self.class_weights)[classes]

    def _n_class(self) -> NDArray[np.float64]:
        if self.labels.ndim == 2:
            sums: NDArray[np.float64] = self.labels.sum(axis=0, dtype=np.float64)
            return sums[sums > 0][:, None]
        counts = np.unique(self.labels[self.seen], return_counts=True)[1]
        return counts.astype(np.float64)[:, None]


class Numbers(Target):
    """Numbers, which count as two points: one standard deviation below and above their mean.

    Parameters
    ----------
    labels
        Floats of shape ``(n_obs,)``, NaN for missing.
    weight
        See :class:`Target`.
    batches
        See :class:`Target`.
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

    def moments(
        self, values: NDArray[np.float32], ridge: float = RIDGE, class_weight_power: float = 0.5
    ) -> PairMoments:
        del class_weight_power
        target = self._standardized()
        weights = np.full(len(target), 1 / len(target))
        x, within, scale = _covariance(self._seen_values(values, weights), weights)
        length = max(float(np.linalg.norm(target)), np.finfo(np.float64).tiny)
        between = ((target[None] / length).astype(np.float32) @ x).astype(np.float64) / scale
        within -= between.T @ between
        within[np.diag_indices_from(within)] += ridge
        return PairMoments(np.vstack([-between, between]), within, np.ones(2))

    def profiled(self) -> Classes:
        seen = self.seen
        numbers = self.labels[seen].astype(np.float64)
        codes = np.full(len(self.labels), -1)
        if len(numbers):
            edges = np.quantile(numbers, np.linspace(0, 1, _N_BINS + 1)[1:-1])
            codes[seen] = np.searchsorted(edges, numbers, side="right")
        return Classes(codes, self.weight, batches=self.batches)

    def gradual(
        self,
        values: NDArray[np.float32],
        n_steps: int,
        ridge: float = RIDGE,
        class_weight_power: float = 0.5,
    ) -> BlockStepper:
        del class_weight_power
        target = self._standardized()
        weights = np.full(len(target), 1 / len(target))
        cells = _unit_cells(self._seen_values(values, weights), weights)
        length = max(float(np.linalg.norm(target)), np.finfo(np.float64).tiny)
        between = (target[None] / length).astype(np.float32) @ cells
        points = np.vstack([-between, between]).astype(np.float64)
        spread = Spread(cells, between, ridge)
        return BlockStepper(spread, points, n_steps, PairCriterion(np.ones(2)))

    def _standardized(self) -> NDArray[np.float64]:
        target = self.labels[self.seen].astype(np.float64)
        target -= target.mean()
        spread = target.std()
        return target / spread if spread > 0 else target


class Vectors(Target):
    """Vectors, the variance of which is to be explained, over all columns together.

    Parameters
    ----------
    labels
        Floats of shape ``(n_obs, n_columns)``, NaN for missing in the whole row.
    weight
        See :class:`Target`.
    batches
        See :class:`Target`.
    """

    @property
    def seen(self) -> NDArray[np.bool_]:
        """Which cells have a label, shape ``(n_obs,)``."""
        return np.asarray(~np.isnan(self.labels).any(axis=1))

    def design(self) -> sp.csr_matrix:
        """Return a column of ones for cells with a label, and one for each direction."""
        directions, _ = self._directions()
        design = np.zeros((len(self.labels), 1 + directions.shape[1]))
        design[self.seen] = np.column_stack([np.ones(len(directions)), directions])
        return sp.csr_matrix(design)

    def rankings(self, sums: Sums) -> list[NDArray[np.float64]]:
        """Rank by R² over all directions, and by the squared correlation with each alone."""
        squares = self._squared_correlations(sums)
        overall = self._directions()[1] @ squares
        return [_ranks(overall), *(_ranks(one) * len(squares) for one in squares)]

    def told(self, sums: Sums) -> NDArray[np.float64]:
        """Return R² over all directions, by their variance."""
        shares = self._directions()[1]
        return np.asarray(shares @ self._squared_correlations(sums))

    def moments(
        self, values: NDArray[np.float32], ridge: float = RIDGE, class_weight_power: float = 0.5
    ) -> DirectionMoments:
        del class_weight_power
        columns, shares = _unit_variance(self.labels[self.seen])
        n = len(columns)
        weights = np.full(n, 1 / n)
        x, covariance, scale = _covariance(self._seen_values(values, weights), weights)
        projections = ((columns / np.sqrt(n)).astype(np.float32).T @ x).astype(np.float64) / scale
        covariance[np.diag_indices_from(covariance)] += ridge
        return DirectionMoments(projections, covariance, shares)

    def profiled(self) -> Vectors:
        return self

    def profile(self, sums: Sums) -> Profile:
        """Return how genes vary with the directions, which weigh by their variance."""
        n, shares = int(self.seen.sum()), self._directions()[1]
        return Profile.of_columns(
            n,
            np.sqrt(shares)[:, None] * sums.by_column[1:] / n,
            self._squared_correlations(sums),
        )

    def gradual(
        self,
        values: NDArray[np.float32],
        n_steps: int,
        ridge: float = RIDGE,
        class_weight_power: float = 0.5,
    ) -> BlockStepper:
        del class_weight_power
        columns, shares = _unit_variance(self.labels[self.seen])
        weights = np.full(len(columns), 1 / len(columns))
        cells = _unit_cells(self._seen_values(values, weights), weights)
        scaled = (columns * np.sqrt(shares / len(columns))).astype(np.float32)
        spread = Spread(cells, np.empty((0, cells.shape[1]), dtype=np.float32), ridge)
        projections = (scaled.T @ cells).astype(np.float64)
        return BlockStepper(spread, projections, n_steps, DirectionCriterion())

    def _squared_correlations(self, sums: Sums) -> NDArray[np.float64]:
        """Return those of each direction with each gene, ``(n_directions, n_vars)``."""
        n = self.seen.sum()
        mean = sums.by_column[0] / n
        variance = np.maximum(sums.squares / n - mean**2, 0)
        return np.asarray((sums.by_column[1:] / n) ** 2 / (variance + _EPS))

    def _directions(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the columns, or the leading principal components of very many of them.

        Returns
        -------
        Of unit variance, ``(n_seen, n_directions)``; and their shares in the variance.
        """
        columns, shares = _unit_variance(self.labels[self.seen])
        if len(shares) <= _N_DIRECTIONS:
            return columns, shares
        scaled = columns * np.sqrt(shares)
        values, axes = np.linalg.eigh(scaled.T @ scaled)
        return _unit_variance(scaled @ axes[:, np.argsort(-values)[:_N_DIRECTIONS]])


def _unit_variance(
    columns: NDArray[Any],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Centre columns and scale them; return them, and their shares in the variance."""
    columns = columns.astype(np.float64)
    columns -= columns.mean(axis=0)
    spread = columns.std(axis=0)
    columns /= np.where(spread > 0, spread, 1)
    total = float((spread**2).sum())
    return columns, spread**2 / total if total > 0 else np.full(len(spread), 1 / len(spread))


def _covariance(
    x: NDArray[np.float32], weights: NDArray[np.float64]
) -> tuple[NDArray[np.float32], NDArray[np.float64], NDArray[np.float64]]:
    """Take the covariance of genes that are brought to unit variance.

    Returns
    -------
    The cells, centred and multiplied by the roots of their weights, ``(n_obs, n_vars)``; the
    covariance, ``(n_vars, n_vars)``; and the standard deviations, ``(n_vars,)``.
    """
    mean, roots = weights @ x, np.sqrt(weights)[:, None]
    centred = np.empty_like(x)
    for start in range(0, len(x), _BLOCK_CELLS):
        rows = slice(start, start + _BLOCK_CELLS)
        centred[rows] = (x[rows] - mean) * roots[rows]  # in double precision, then rounded
    x = centred
    covariance = (x.T @ x).astype(np.float64)
    scale = np.sqrt(np.diagonal(covariance)) + 1e-8
    covariance /= np.outer(scale, scale)
    return x, covariance, scale


def _unit_cells(x: NDArray[np.float32], weights: NDArray[np.float64]) -> NDArray[np.float32]:
    """Bring genes to unit variance; return the cells, times the roots of their weights."""
    cells = x - weights.astype(np.float32) @ x
    cells *= np.sqrt(weights).astype(np.float32)[:, None]
    cells /= np.sqrt(np.einsum("ij,ij->j", cells, cells)) + np.float32(1e-8)
    return cells


def _ranks(statistic: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rank from 1 (largest) on; of equal values, the gene that comes first."""
    ranks = np.empty(len(statistic))
    ranks[np.argsort(-statistic, kind="stable")] = np.arange(1, len(statistic) + 1)
    return ranks
