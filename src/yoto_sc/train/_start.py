"""Where a training starts: the genes that closed forms find."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import compress
from typing import TYPE_CHECKING

import numpy as np

from yoto_sc._progress import progress
from yoto_sc.judge import at_most
from yoto_sc.select import Screening, stepwise_blocks, stepwise_order, survey

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from yoto_sc.rules import GeneRules
    from yoto_sc.teach import Lesson

LARGE_PANEL = 256
"""The genes of larger panels are found in closed form alone, the first of them one by one."""
LARGE_PANEL_STEPS = 700
"""Their network is trained for so many batches, as many as refine a smaller panel."""
_START_FACTOR, _START_CAP = 8, 1000
"""The training starts from this many genes for each gene of the panel, up to so many in all."""
_START_SCORE = 4.0
"""Score that the first of them starts with; the last one starts near 0."""
_WORST = 50.0
"""Bound on the logarithm of a preference or a rank, so that a linear program stays solvable."""
_N_CANDIDATES = 1000
"""Screening leaves so many genes for the stepwise order, or more if the start needs more."""
_STEPWISE_CELLS = 20_000
"""The stepwise order is taken from at most this many training cells."""
_STEPWISE_VALUES = 1e8
"""For large panels, from so few that they have at most so many values over all tasks,"""
_LEAST_CELLS = 5000
"""but from no fewer than this."""


@dataclass(frozen=True)
class Start:
    """The genes a training starts from, and those that stay behind."""

    genes: NDArray[np.intp]  # indices of those that take part, (n_start,): ascending, or by rank
    scores: NDArray[np.float32]  # their initial scores, (n_start,)
    rules: GeneRules  # on these genes; a panel of them can meet them
    others: NDArray[np.intp]  # indices of the other allowed genes, best first
    told: NDArray[np.bool_]  # tasks that genes are selected for, (n_tasks,)
    is_final: bool = False  # the genes are the panel, in the order of their ranks

    @property
    def required(self) -> NDArray[np.bool_]:
        """Which of the genes must be in the panel, shape ``(n_start,)``."""
        return self.rules.required


def start_length(n_genes: int) -> int:
    """Return the number of genes that the training of a panel of `n_genes` starts from."""
    if n_genes > LARGE_PANEL:
        return n_genes
    return min(_START_FACTOR * n_genes, max(2 * n_genes, _START_CAP))


def screen(lessons: Sequence[Lesson]) -> list[Screening]:
    """Look at all genes, each alone, in one pass for the training cells of all `lessons`."""
    screenings = []
    for lesson in lessons:
        hidden = np.ones(lesson.problem.expression.n_obs, dtype=bool)
        hidden[lesson.split.train] = False
        targets = [
            task.target(task.blank(labels, hidden)).within(lesson.problem.batches)
            for task, labels in zip(lesson.problem.tasks, lesson.labels, strict=True)
        ]
        # A task that nothing tells about would take the places of others, if there are any.
        screenings.append(Screening(targets, against_chance=len(targets) > 1))
    survey(screenings, lessons[0].problem.expression.reduce)
    return screenings


def find_start(
    lesson: Lesson,
    screening: Screening,
    n_genes: int,
    class_weight_power: float,
    rng: np.random.Generator,
    among: NDArray[np.bool_] | None = None,
) -> Start:
    """Take the best genes of a screening, put them in stepwise order, and take the first of these.

    Only training cells are looked at. Tasks that expression tells no more about than chance are
    passed over, if there are others: by chance too, some genes tell them best. So are those that
    are not `among` the tasks that an earlier training could predict. A preference
    multiplies the gains of its gene and adds its logarithm to the score; what the caps make a gene
    cost counts against it in the same way.

    Of a large panel, the genes are final: those that come first, or of which the ranks have the
    best sum that the caps allow.
    """
    problem, rules = lesson.problem, lesson.problem.rules
    told = np.ones(len(problem.tasks), dtype=bool)
    if len(told) > 1:
        told = screening.told()
        if among is not None:
            told &= among
        told |= not told.any()
    rank = screening.ranks(told)
    with np.errstate(divide="ignore"):
        favour = np.clip(np.log(rules.weights), -_WORST, _WORST)
    merit = favour - np.log(rank)
    merit[~rules.allowed] = -np.inf
    penalty = np.zeros(len(merit))
    if rules.caps:
        penalty = rules.penalties(np.maximum(merit, -_WORST), n_genes)
        merit -= penalty
    merit[rules.required] = np.inf
    by_merit = np.argsort(-merit, kind="stable")[: int(rules.allowed.sum())]

    length = start_length(n_genes)
    is_large = n_genes > LARGE_PANEL
    screened = np.sort(by_merit[: max(_N_CANDIDATES, 2 * n_genes if is_large else length)])
    if rules.caps and not rules.subset(screened).is_feasible(n_genes):
        panel = rules.good_panel(np.clip(merit, -_WORST, _WORST), n_genes)
        screened = np.union1d(screened, panel)
    ordering = _Ordering(lesson, told, class_weight_power, np.exp(favour - penalty), rng)
    if is_large:
        few = np.sort(by_merit[:_N_CANDIDATES])
        order = ordering.of_many(few, screened, len(screened) if rules.caps else length)
        if rules.caps:  # the best panel by these ranks that meets the rules
            best = rules.subset(order).best_panel(
                np.linspace(_START_SCORE, 0, len(order)), n_genes
            )
            order = order[best]
        others = by_merit[~np.isin(by_merit, order)]
        scores = np.linspace(_START_SCORE, 0, len(order), dtype=np.float32)
        return Start(order, scores, rules.subset(order), others, told, is_final=True)
    order = ordering.of_few(screened, length)
    score = favour.copy()
    score[order] += _START_SCORE * (1 - np.arange(len(order)) / length)
    if rules.caps:  # enough genes that a panel of theirs meets the rules
        panel = screened[rules.subset(screened).good_panel(score[screened], n_genes)]
        order = np.concatenate([panel, order[~np.isin(order, panel)]])[: len(order)]
    genes = np.sort(order)
    others = by_merit[~np.isin(by_merit, genes)]
    return Start(genes, score[genes].astype(np.float32), rules.subset(genes), others, told)


@dataclass(frozen=True)
class _Ordering:
    """What puts genes in stepwise order, by the training cells of a lesson."""

    lesson: Lesson
    told: NDArray[np.bool_]
    class_weight_power: float
    weights: NDArray[np.float64]  # factors of the genes' gains, (n_vars,)
    rng: np.random.Generator

    def of_few(self, genes: NDArray[np.intp], n_steps: int) -> NDArray[np.intp]:
        """Add genes one by one."""
        cells = at_most(_STEPWISE_CELLS, self.lesson.split.train, self.rng)
        return self._order(stepwise_order, cells, genes, n_steps)

    def of_many(
        self, few: NDArray[np.intp], genes: NDArray[np.intp], n_steps: int
    ) -> NDArray[np.intp]:
        """Add the best of a few genes one by one, and then of many, block by block."""
        first = self.of_few(few, min(LARGE_PANEL, n_steps))
        n_cells = int(_STEPWISE_VALUES / len(genes) / self.told.sum())
        n_cells = max(_LEAST_CELLS, min(_STEPWISE_CELLS, n_cells))
        cells = at_most(n_cells, self.lesson.split.train, self.rng)
        with progress(f"Ordering {n_steps} genes", n_steps, "gene") as done:
            blocks = partial(stepwise_blocks, first=np.searchsorted(genes, first), on_step=done)
            return self._order(blocks, cells, genes, n_steps)

    def _order(
        self,
        by: Callable[..., NDArray[np.intp]],
        cells: NDArray[np.intp],
        genes: NDArray[np.intp],
        n_steps: int,
    ) -> NDArray[np.intp]:
        problem = self.lesson.problem
        targets = [
            task.target(labels[cells]).within(problem.batches_of(cells))
            for task, labels in compress(
                zip(problem.tasks, self.lesson.labels, strict=True), self.told
            )
        ]
        order = by(
            problem.expression.take(cells, genes).toarray(),
            targets,
            n_steps,
            class_weight_power=self.class_weight_power,
            required=problem.rules.required[genes],
            weights=self.weights[genes],
        )
        return np.asarray(genes[order])
