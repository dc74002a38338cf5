"""What the panel loses without a gene, and with another gene in its place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.model_selection import GroupKFold

from yoto_sc.judge._linear_heads import LINEAR_HEADS
from yoto_sc.judge._splits import at_most, fold_cells
from yoto_sc.metrics import bootstrap_weights
from yoto_sc.select import Screening, survey

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from yoto_sc._problem import Problem
    from yoto_sc.data import Task
    from yoto_sc.judge._linear_heads import HeadJudgement, LogisticHead, RidgeHead

_MAX_CELLS = 5000
"""Panels are judged on at most this many cells, all of which are held out once."""
_N_FOLDS = 5
_SCREENING_SHARE = 0.4
"""Substitutes are found on the cells of this share of the folds, and judged on the others."""
_N_CANDIDATES = 1000
"""Number of genes that univariate screening leaves."""
_N_MORE = 3
"""Heads are refitted with so many genes more than are asked for."""
_N_BOOTSTRAPS = 100
_TINY = 1e-9


@dataclass(frozen=True)
class Exchange:
    """One change of the panel."""

    gene: int  # index of the gene that leaves
    substitute: int | None  # index of the gene that comes, if any does
    correlation: float  # Pearson's, of the two genes
    judgements: list[HeadJudgement]  # one for each task


class Exchanges:
    """Measures changes of a panel by heads that are refitted and judged by cross-validation.

    The heads are linear: multinomial logistic regression with the class weights of the model's
    heads, and ridge regression. Each starts from the head of the whole panel.

    Substitutes are found on the cells of some folds, and what they cost is stated on those of the
    others: on the cells it was chosen on, the best of many genes looks better than it is.
    """

    def __init__(
        self, problem: Problem, panel: NDArray[np.intp], rng: np.random.Generator
    ) -> None:
        tasks, rules = problem.tasks, problem.rules
        screening = Screening(
            [task.target(array) for task, array in zip(tasks, problem.labels, strict=True)]
        )
        survey([screening], problem.expression.reduce)
        rank = screening.ranks(np.ones(len(tasks), dtype=bool))
        free = rules.allowed
        free[panel] = False
        rank[~free] = np.inf
        others = np.argsort(rank, kind="stable")[: min(_N_CANDIDATES, int(free.sum()))]
        self._genes = np.concatenate([panel, others])
        self._n_panel = len(panel)
        self._rules = rules.subset(self._genes)
        self._importance = [task.weight for task in tasks]

        labelled = np.any(
            [task.observed(array) for task, array in zip(tasks, problem.labels, strict=True)],
            axis=0,
        )
        cells = at_most(_MAX_CELLS, np.flatnonzero(labelled), rng)
        values = problem.expression.take(cells, self._genes).toarray().astype(np.float32)
        values -= values.mean(axis=0)
        values /= np.maximum(values.std(axis=0), _TINY)
        self._values = values
        labels = [array[cells] for array in problem.labels]
        groups = None if problem.groups is None else problem.groups.iloc[cells].factorize()[0]
        folds = _folds(tasks, labels, groups, rng)
        units = np.arange(len(cells)) if groups is None else groups
        drawn = bootstrap_weights(units, _N_BOOTSTRAPS, rng)
        weights = np.vstack([np.ones((1, len(cells)), dtype=np.float32), drawn])
        n_screening = max(1, int(_SCREENING_SHARE * (folds.max() + 1)))
        self._screening, self._judging = (
            [
                _head_of(task, array, [(folds != fold, folds == fold) for fold in part], weights)
                for task, array in zip(tasks, labels, strict=True)
            ]
            for part in (range(n_screening), range(n_screening, folds.max() + 1))
        )
        for head in self._screening:
            head.fit(values[:, : self._n_panel])
        self.whole = [head.fit(values[:, : self._n_panel]) for head in self._judging]

    def measure(self, position: int, n: int) -> Iterator[Exchange]:
        """Drop a gene, then try what could replace it.

        Parameters
        ----------
        position
            Place of the gene in the panel.
        n
            Number of substitutes to return, at most.

        Yields
        ------
        The panel without the gene; then the panels with the substitutes, those first whose heads
        have the smallest error over all tasks, by their weights. It is less noisy than the score.
        """
        gene = int(self._genes[position])
        without = self._values[:, : self._n_panel].copy()
        without[:, position] = 0  # as good as no gene, also for a panel of one
        yield Exchange(gene, None, float("nan"), _refit(self._judging, without, position, 0.0))
        dropped = _refit(self._screening, without, position, 0.0)
        tried = []
        for candidate in self._candidates(position, dropped, n + _N_MORE):
            columns = np.arange(self._n_panel)
            columns[position] = candidate
            r = float(np.mean(self._values[:, position] * self._values[:, candidate]))
            found = _refit(self._screening, self._values[:, columns], position, r)
            errors = [judgement.error for judgement in found]
            tried.append((float(np.dot(self._importance, errors)), candidate, columns, r))
        for _, candidate, columns, r in sorted(tried, key=lambda one: one[0])[:n]:
            judgements = _refit(self._judging, self._values[:, columns], position, r)
            yield Exchange(gene, int(self._genes[candidate]), r, judgements)

    def _candidates(
        self, position: int, dropped: Sequence[HeadJudgement], n: int
    ) -> NDArray[np.intp]:
        """Return the genes that explain most of what heads without the gene leave unexplained.

        Genes are ordered by Rao's score statistic of adding each to the heads, summed over
        outputs and, by their weights, over tasks: the fall of the loss in a quadratic
        approximation, but on cells that were held out.
        """
        panel = np.arange(len(self._genes)) < self._n_panel
        free = np.flatnonzero(self._rules.replacements(panel, position))
        rest = np.delete(np.arange(self._n_panel), position)
        basis, _ = np.linalg.qr(self._values[:, rest])
        left = self._values[:, free] - basis @ (basis.T @ self._values[:, free])
        squares = left**2
        gains = np.zeros(len(free))
        for weight, judgement in zip(self._importance, dropped, strict=True):
            slopes, curvatures = left.T @ judgement.slopes, squares.T @ judgement.curvatures
            gains += weight * (slopes**2 / np.maximum(curvatures, _TINY)).sum(axis=1) / 2
        return free[np.argsort(-gains, kind="stable")[:n]]


def _refit(
    heads: Sequence[LogisticHead | RidgeHead],
    values: NDArray[np.float32],
    position: int,
    correlation: float,
) -> list[HeadJudgement]:
    return [head.refit(values, position, correlation) for head in heads]


def _head_of(
    task: Task,
    labels: NDArray[Any],
    folds: Sequence[tuple[NDArray[np.bool_], NDArray[np.bool_]]],
    weights: NDArray[np.float32],
) -> LogisticHead | RidgeHead:
    seen = task.observed(labels)
    labelled = [(train & seen, test & seen) for train, test in folds]
    return LINEAR_HEADS[task.linear_head](labels, labelled, weights, task.n_outputs)


def _folds(
    tasks: Sequence[Task],
    labels: Sequence[NDArray[Any]],
    groups: NDArray[np.intp] | None,
    rng: np.random.Generator,
) -> NDArray[np.intp]:
    """Deal cells, or whole groups, into folds; shape ``(n_obs,)``."""
    n_obs = len(labels[0])
    if groups is None:
        return fold_cells(tasks, labels, min(_N_FOLDS, n_obs), rng)
    n_folds = min(_N_FOLDS, len(np.unique(groups)))
    folds = np.empty(n_obs, dtype=np.intp)
    splitter = GroupKFold(n_folds, shuffle=True, random_state=int(rng.integers(2**31)))
    for fold, (_, test) in enumerate(splitter.split(folds, groups=groups)):
        folds[test] = fold
    return folds
