"""What the panel loses without a gene, and with another gene in its place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from yoto_sc.judge._linear_heads import head_of, standardized
from yoto_sc.judge._roles import find_roles, role_losses, still_kept
from yoto_sc.judge._splits import MAX_JUDGED, at_most, fold_units
from yoto_sc.metrics import bootstrap_weights
from yoto_sc.select import Screening, survey

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from yoto_sc._problem import Problem
    from yoto_sc.data import Task
    from yoto_sc.judge._linear_heads import HeadJudgement, LogisticHead, RidgeHead
    from yoto_sc.judge._roles import Role

_CHOOSING_SHARE = 0.6
"""Substitutes are found without the cells of the other folds, which then judge them."""
_N_CANDIDATES = 1000
"""Number of genes that univariate screening leaves."""
_N_MORE = 5
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
    kept: float  # how much of the gene's role the substitute keeps, at most 1; NaN if unknown
    role_losses: NDArray[np.float64]  # rise of the error in it: on the cells, then on samples


class Exchanges:
    """Measures changes of a panel by heads that are refitted and judged by cross-validation.

    The heads are linear: multinomial logistic regression with the class weights of the model's
    heads, and ridge regression. Each starts from the head of the whole panel.

    Roles and substitutes are found without the cells of some folds, and what they cost is stated
    on these: on the cells it was chosen on, the best of many genes looks better than it is.

    Attributes
    ----------
    whole
        Judgements of the panel as it is, one for each task.
    roles
        What each gene of the panel is for; `None` where it tells about no task.
    """

    def __init__(
        self, problem: Problem, panel: NDArray[np.intp], rng: np.random.Generator
    ) -> None:
        tasks, rules = problem.tasks, problem.rules
        labelled = problem.labelled
        cells = at_most(MAX_JUDGED, np.flatnonzero(labelled), rng)
        labels = [array[cells] for array in problem.labels]
        groups = None if problem.groups is None else problem.groups.iloc[cells].factorize()[0]
        folds = fold_units(tasks, labels, groups, rng)
        n_choosing = max(1, int(_CHOOSING_SHARE * (folds.max() + 1)))

        judging = np.zeros(len(labelled), dtype=bool)
        judging[cells[folds >= n_choosing]] = True
        if problem.groups is not None:  # the other cells of their groups are as good as they
            judging |= problem.groups.isin(problem.groups[judging]).to_numpy()
        chosen_on = [
            task.blank(array, judging) for task, array in zip(tasks, problem.labels, strict=True)
        ]
        targets = [task.target(array) for task, array in zip(tasks, chosen_on, strict=True)]
        profiled = [target.profiled() for target in targets]
        screening = Screening([*targets, *profiled])
        survey([screening], problem.expression.reduce)
        rank = screening.ranks(np.arange(2 * len(tasks)) < len(tasks))
        free = rules.allowed
        free[panel] = False
        rank[~free] = np.inf
        others = np.argsort(rank, kind="stable")[: min(_N_CANDIDATES, int(free.sum()))]
        self._genes = np.concatenate([panel, others])
        self._n_panel = len(panel)
        self._rules = rules.subset(self._genes)
        self._importance = [task.weight for task in tasks]

        self._values = values = standardized(problem.expression.take(cells, self._genes))
        choosing = folds < n_choosing
        self.roles = find_roles(
            [
                target.profile(sums[0].of_genes(self._genes))
                for target, sums in zip(profiled, screening.sums[len(tasks) :], strict=True)
            ],
            [_codes(task, array) for task, array in zip(tasks, chosen_on, strict=True)],
            values[choosing, : self._n_panel],
            [task.target(array[choosing]) for task, array in zip(tasks, labels, strict=True)],
        )
        units = np.arange(len(cells)) if groups is None else groups
        drawn = bootstrap_weights(units, _N_BOOTSTRAPS, rng)
        self._weights = np.vstack([np.ones((1, len(cells)), dtype=np.float32), drawn])
        self._choosing, self._judging = (
            [
                head_of(
                    task, array, [(folds != fold, folds == fold) for fold in part], self._weights
                )
                for task, array in zip(tasks, labels, strict=True)
            ]
            for part in (range(n_choosing), range(n_choosing, folds.max() + 1))
        )
        self._chosen_from = [head.fit(values[:, : self._n_panel]) for head in self._choosing]
        self.whole = [head.fit(values[:, : self._n_panel]) for head in self._judging]

    def measure(self, position: int, n: int) -> Iterator[Exchange]:
        """Drop a gene, then try what could replace it.

        Genes with the most similar profile in the gene's role are tried. They are ranked by how
        much of the role they keep, as profiles and refitted heads say it. Substitutes of a gene
        without a role are those whose heads have the smallest error over all tasks, by their
        weights.

        Parameters
        ----------
        position
            Place of the gene in the panel.
        n
            Number of substitutes to return, at most.

        Yields
        ------
        The panel without the gene; then the panels with the substitutes, best first.
        """
        gene, role = int(self._genes[position]), self.roles[position]
        without = self._values[:, : self._n_panel].copy()
        without[:, position] = 0  # as good as no gene, also for a panel of one
        judged = self._refit(self._judging, without, position, 0.0)
        yield Exchange(gene, None, np.nan, judged, np.nan, self._role_losses(role, judged))
        dropped = self._refit(self._choosing, without, position, 0.0)
        tried = self._candidates(position, dropped, n + _N_MORE)
        changed = [self._swapped(candidate, position) for candidate in tried]
        found = [self._refit(self._choosing, values, position, r) for values, r in changed]
        if role is None:
            kept = np.full(len(tried), np.nan)
            merit = -np.array(
                [np.dot(self._importance, [one.error for one in tasks]) for tasks in found]
            )
        else:
            merit = kept = still_kept(
                role.kept[tried],
                self._role_losses(role, dropped, choosing=True),
                [self._role_losses(role, tasks, choosing=True) for tasks in found],
            )
        for best in np.argsort(-merit, kind="stable")[:n]:
            values, r = changed[best]
            judged = self._refit(self._judging, values, position, r)
            yield Exchange(
                gene,
                int(self._genes[tried[best]]),
                r,
                judged,
                float(kept[best]),
                self._role_losses(role, judged),
            )

    def _swapped(self, candidate: int, position: int) -> tuple[NDArray[np.float32], float]:
        """Return the panel with another gene in one place, and the correlation of the two."""
        columns = np.arange(self._n_panel)
        columns[position] = candidate
        r = float(np.mean(self._values[:, position] * self._values[:, candidate]))
        return self._values[:, columns], r

    def _role_losses(
        self, role: Role | None, after: Sequence[HeadJudgement], *, choosing: bool = False
    ) -> NDArray[np.float64]:
        if role is None:
            return np.full(len(self._weights), np.nan)
        heads, before = (
            (self._choosing, self._chosen_from) if choosing else (self._judging, self.whole)
        )
        return role_losses(role, heads[role.task], before, after, self._weights)

    def _candidates(
        self, position: int, dropped: Sequence[HeadJudgement], n: int
    ) -> NDArray[np.intp]:
        """Return the genes to try: those most like the gene, where it has a role."""
        panel = np.arange(len(self._genes)) < self._n_panel
        free = np.flatnonzero(self._rules.replacements(panel, position))
        role = self.roles[position]
        merit = self._gains(position, free, dropped) if role is None else role.kept[free]
        return free[np.argsort(-merit, kind="stable")[:n]]

    def _gains(
        self, position: int, free: NDArray[np.intp], dropped: Sequence[HeadJudgement]
    ) -> NDArray[np.float64]:
        """Tell how much genes explain of what heads without the gene leave unexplained.

        It is Rao's score statistic of adding each to the heads, summed over outputs and, by their
        weights, over tasks: the fall of the loss in a quadratic approximation, but on cells that
        were held out.
        """
        rest = np.delete(np.arange(self._n_panel), position)
        basis, _ = np.linalg.qr(self._values[:, rest])
        left = self._values[:, free] - basis @ (basis.T @ self._values[:, free])
        squares = left**2
        gains = np.zeros(len(free))
        for weight, judgement in zip(self._importance, dropped, strict=True):
            slopes, curvatures = left.T @ judgement.slopes, squares.T @ judgement.curvatures
            gains += weight * (slopes**2 / np.maximum(curvatures, _TINY)).sum(axis=1) / 2
        return gains

    @staticmethod
    def _refit(
        heads: Sequence[LogisticHead | RidgeHead],
        values: NDArray[np.float32],
        position: int,
        correlation: float,
    ) -> list[HeadJudgement]:
        return [head.refit(values, position, correlation) for head in heads]


def _codes(task: Task, labels: NDArray[Any]) -> NDArray[np.intp]:
    """Return the codes of the classes that occur; none, where there are no classes."""
    if not task.categories:
        return np.empty(0, dtype=np.intp)
    return np.unique(labels[task.observed(labels)]).astype(np.intp)
