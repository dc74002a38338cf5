"""What a panel is worth when probes fail."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from yoto_sc.judge._linear_heads import head_of, standardized
from yoto_sc.judge._splits import MAX_JUDGED, at_most, fold_units

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from yoto_sc._problem import Problem
    from yoto_sc.judge._linear_heads import HeadJudgement


class Failures:
    """Judges a panel without some of its genes, by linear heads that are refitted to the others.

    They are multinomial logistic regression with the class weights of the model's heads, and ridge
    regression, judged by cross-validation. Each starts from the head of the whole panel.
    """

    def __init__(
        self, problem: Problem, panel: NDArray[np.intp], rng: np.random.Generator
    ) -> None:
        cells = at_most(MAX_JUDGED, np.flatnonzero(problem.labelled), rng)
        labels = [array[cells] for array in problem.labels]
        groups = None if problem.groups is None else problem.groups.iloc[cells].factorize()[0]
        folds = fold_units(problem.tasks, labels, groups, rng)
        of_folds = [(folds != fold, folds == fold) for fold in range(folds.max() + 1)]
        one = np.ones((1, len(cells)), dtype=np.float32)
        self._values = standardized(problem.expression.take(cells, panel))
        self._heads = [
            head_of(task, array, of_folds, one)
            for task, array in zip(problem.tasks, labels, strict=True)
        ]
        self.whole = [head.fit(self._values) for head in self._heads]

    def without(self, lost: NDArray[np.intp]) -> list[HeadJudgement]:
        """Judge the panel without the genes in some places, one judgement for each task."""
        left = self._values.copy()
        left[:, lost] = 0  # as good as no gene
        return [head.refit(left, lost, 0.0) for head in self._heads]


def lost_genes(
    n_genes: int, n_lost: int, n_draws: int, rng: np.random.Generator
) -> Iterator[NDArray[np.intp]]:
    """Draw different sets of genes that are lost; of single genes, each once if they are few.

    Yields
    ------
    Sorted places in the panel, ``(n_lost,)``.
    """
    seen = set[tuple[int, ...]]()
    if n_lost == 1:
        order = rng.permutation(n_genes)[:n_draws]
        yield from (np.array([gene]) for gene in order)
        return
    for _ in range(n_draws):
        drawn = np.sort(rng.choice(n_genes, n_lost, replace=False))
        if tuple(drawn.tolist()) not in seen:
            seen.add(tuple(drawn.tolist()))
            yield drawn
