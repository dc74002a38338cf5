"""Screening: which genes tell anything about any task, each seen alone."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp

from yoto_sc.select._labels import is_continuous, observed, standardized_target
from yoto_sc.select._moments import RIDGE, mean_lambda

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

_EPS = 1e-9
_N_SHUFFLES, _CLEARLY, _N_BEST = 3, 1.25, 10
"""A task is told about if its best genes are so many times better than with shuffled labels."""


def screen(
    blocks: Iterable[tuple[slice, sp.csr_matrix]], labels: Sequence[NDArray[Any]]
) -> NDArray[np.float64]:
    r"""Rank all genes by how much each tells about its best task or class.

    Of each gene, and for every task, the ranks are taken of the ANOVA F statistic over all
    classes, of the share of variance that each single class explains against the rest (one list
    for every class, so that rare classes keep their genes) or, for a continuous task, of the
    squared correlation. The gene's own rank is its best one; the lists of single classes count as
    one list that takes turns, so their ranks are multiplied by the number of classes.

    Parameters
    ----------
    blocks
        Row slices and the rows of the expression matrix of shape ``(n_obs, n_vars)``, on the scale
        the model works on. Passed over once.
    labels
        One array of shape ``(n_obs,)`` for each task: integer codes with -1 for missing, or floats
        with NaN for missing. Cells that are not to be seen count as missing.

    Returns
    -------
    Shape ``(n_vars,)``: the smaller, the better.
    """
    tasks = [_Moments(task_labels) for task_labels in labels]
    _add(blocks, tasks)
    best: NDArray[np.float64] = np.min([r for task in tasks for r in task.rankings()], axis=0)
    return best


def beyond_chance(
    blocks: Iterable[tuple[slice, sp.csr_matrix]], labels: Sequence[NDArray[Any]]
) -> NDArray[np.bool_]:
    """Tell which tasks single genes say more about than they would by chance.

    A gene says as much about a task as it lowers the criterion of :func:`stepwise_order`, alone
    and with cells alike: 1 less the mean over pairs of classes of Wilks' lambda, or R². The mean
    of the ten best genes must be 1.25 times what it is with the labels in random order, three
    times over.

    Parameters
    ----------
    blocks, labels
        As in :func:`screen`.

    Returns
    -------
    Shape ``(n_tasks,)``.
    """
    rng = np.random.default_rng(0)
    tasks = [_Moments(task_labels) for task_labels in labels]
    shuffled = [
        [_Moments(_shuffled(task_labels, rng)) for _ in range(_N_SHUFFLES)]
        for task_labels in labels
    ]
    _add(blocks, [*tasks, *chain.from_iterable(shuffled)])
    return np.array(
        [
            task.most_told() > _CLEARLY * max(other.most_told() for other in others)
            for task, others in zip(tasks, shuffled, strict=True)
        ]
    )


class _Moments:
    """Sums of one task over its observed cells: by class, or weighted with the target."""

    def __init__(self, labels: NDArray[Any]) -> None:
        self._continuous = is_continuous(labels)
        seen = observed(labels)
        if self._continuous:
            design = np.zeros((len(labels), 2))
            design[seen] = np.column_stack([np.ones(seen.sum()), standardized_target(labels)])
            self._design = sp.csr_matrix(design)
        else:
            classes, codes = np.unique(labels[seen], return_inverse=True)
            entries = (np.ones(len(codes)), (np.flatnonzero(seen), codes))
            self._design = sp.csr_matrix(entries, shape=(len(labels), len(classes)))
        self._sums: Any = 0.0
        self._squares: Any = 0.0

    def add(self, rows: slice, values: sp.csr_matrix) -> None:
        design = self._design[rows]
        self._sums += (design.T @ values).toarray()
        seen = design.getnnz(axis=1) > 0
        self._squares += np.asarray(values[seen].power(2).sum(axis=0)).ravel()

    def rankings(self) -> list[NDArray[np.float64]]:
        if self._continuous:
            return [_ranks(self._correlation())]
        overall, by_class = self._variance_ratios()
        return [_ranks(overall), *(_ranks(ratio) * len(by_class) for ratio in by_class)]

    def most_told(self) -> float:
        """How much the best genes tell about the task, each alone: their mean, from 0 to 1."""
        told = self._told()
        n_best = min(_N_BEST, len(told))
        return float(np.partition(told, -n_best)[-n_best:].mean())

    def _told(self) -> NDArray[np.float64]:
        if self._continuous:
            return self._correlation()
        n_class = np.asarray(self._design.sum(axis=0)).ravel()[:, None]
        n = n_class.sum()
        means = self._sums / n_class
        variance = np.maximum(self._squares / n - (self._sums.sum(axis=0) / n) ** 2, 0) + _EPS
        within = np.maximum(self._squares - (n_class * means**2).sum(axis=0), 0) / n
        within += RIDGE * variance
        if len(means) < 2:  # there is nothing to tell
            return np.zeros(means.shape[1])
        return 1 - mean_lambda(means / np.sqrt(within))

    def _correlation(self) -> NDArray[np.float64]:
        n = self._design[:, 0].sum()
        mean = self._sums[0] / n
        variance = np.maximum(self._squares / n - mean**2, 0)
        correlation: NDArray[np.float64] = (self._sums[1] / n) ** 2 / (variance + _EPS)
        return correlation

    def _variance_ratios(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Variance between over variance within: all classes, and each against the rest."""
        n_class = np.asarray(self._design.sum(axis=0)).ravel()[:, None]
        n = n_class.sum()
        total = self._sums.sum(axis=0)
        spread = np.maximum(self._squares - total**2 / n, 0)
        between = (n_class * (self._sums / n_class - total / n) ** 2).sum(axis=0)
        overall = between / (np.maximum(spread - between, 0) + _EPS)
        n_rest = np.maximum(n - n_class, 1)
        difference = self._sums / n_class - (total - self._sums) / n_rest
        between_one = n_class * n_rest / n * difference**2
        return overall, between_one / (np.maximum(spread - between_one, 0) + _EPS)


def _add(blocks: Iterable[tuple[slice, sp.csr_matrix]], tasks: Sequence[_Moments]) -> None:
    """Show all rows to every task, in one pass."""
    for rows, matrix in blocks:
        values = matrix.astype(np.float64)
        for task in tasks:
            task.add(rows, values)


def _ranks(statistic: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rank from 1 (largest) on; of equal values, the gene that comes first."""
    ranks = np.empty(len(statistic))
    ranks[np.argsort(-statistic, kind="stable")] = np.arange(1, len(statistic) + 1)
    return ranks


def _shuffled(labels: NDArray[Any], rng: np.random.Generator) -> NDArray[Any]:
    """Deal the observed labels to the same cells at random."""
    shuffled = labels.copy()
    seen = observed(labels)
    shuffled[seen] = rng.permutation(labels[seen])
    return shuffled
