"""Screening: which genes tell anything about any task, each seen alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from yoto_sc.select._targets import Sums, Target

_N_SHUFFLES, _CLEARLY, _N_BEST = 3, 1.25, 10
"""A task is told about if its best genes are so many times better than with shuffled labels."""


class Screening:
    r"""What single genes tell about some tasks, from sums over the cells in one pass.

    Parameters
    ----------
    targets
        One for each task; cells that are not to be seen have no label.
    against_chance
        Whether :meth:`told` will be asked: it takes sums for labels in random order, too.

    Attributes
    ----------
    versions
        For each task, its target, and then those with the labels in random order.
    sums
        Sums of expression for each of them, once :func:`survey` has taken them.
    """

    def __init__(self, targets: Sequence[Target], *, against_chance: bool = False) -> None:
        rng = np.random.default_rng(0)
        n_shuffles = _N_SHUFFLES if against_chance else 0
        self.versions = [
            [target, *(target.shuffled(rng) for _ in range(n_shuffles))] for target in targets
        ]
        self.sums: list[list[Sums]] = []

    def told(self) -> NDArray[np.bool_]:
        """Tell which tasks single genes say more about than they would by chance.

        A gene says as much about a task as it lowers the criterion of :func:`stepwise_order`,
        alone and with cells alike: 1 less the mean over pairs of classes of Wilks' lambda, or R².
        The mean of the ten best genes must be 1.25 times what it is with the labels in random
        order, three times over.

        Returns
        -------
        Shape ``(n_tasks,)``.
        """
        told = []
        for versions, sums in zip(self.versions, self.sums, strict=True):
            real, *shuffled = (
                _most(one.told(part)) for one, part in zip(versions, sums, strict=True)
            )
            told.append(real > _CLEARLY * max(shuffled))
        return np.array(told)

    def ranks(self, tasks: NDArray[np.bool_]) -> NDArray[np.float64]:
        r"""Rank all genes by how much each tells about its best task or class.

        Of each gene, and for every task, the ranks are taken of the ANOVA F statistic over all
        classes, of the share of variance that each single class explains against the rest (one
        list for every class, so that rare classes keep their genes) or, for numbers, of the
        squared correlation. The gene's own rank is its best one; the lists of single classes count
        as one list that takes turns, so their ranks are multiplied by the number of classes. Ranks
        are divided by what the task or class counts for.

        Parameters
        ----------
        tasks
            Which tasks count, shape ``(n_tasks,)``.

        Returns
        -------
        Shape ``(n_vars,)``: the smaller, the better.
        """
        best: NDArray[np.float64] = np.array(np.inf)
        for position in np.flatnonzero(tasks):
            target = self.versions[position][0]
            for ranking in target.rankings(self.sums[position][0]):
                best = np.minimum(best, ranking / target.weight)
        return best


def survey(
    screenings: Sequence[Screening],
    reduce: Callable[[sp.csr_matrix, NDArray[np.bool_]], tuple[NDArray[np.float64], ...]],
) -> None:
    """Give screenings the sums they need, all from one pass over the cells.

    Parameters
    ----------
    screenings
        One for each set of cells that is learned from.
    reduce
        Given weights of the cells, ``(n_obs, n_columns)``, and which cells to take,
        ``(n_obs, n_sets)``, sums expression and squared expression over the cells.

    Returns
    -------
    `None`; the screenings have received their sums.
    """
    groups = [versions for screening in screenings for versions in screening.versions]
    designs = [one.design() for versions in groups for one in versions]
    designs += [versions[0].batch_design() for versions in groups]
    values, squares, *_ = reduce(
        sp.csr_matrix(sp.hstack(designs, format="csr")),
        np.column_stack([versions[0].seen for versions in groups]),
    )
    widths = [design.shape[1] for design in designs]
    found = np.split(values, np.cumsum(widths)[:-1])
    parts, by_batch, rows = iter(found[: -len(groups)]), iter(found[-len(groups) :]), iter(squares)
    for screening in screenings:
        screening.sums = [
            [one.sums(next(parts), of_batches, of_squares) for one in versions]
            for versions, of_batches, of_squares in zip(
                screening.versions, by_batch, rows, strict=False
            )
        ]


def _most(told: NDArray[np.float64]) -> float:
    """How much the best genes tell about a task, each alone: their mean, from 0 to 1."""
    n_best = min(_N_BEST, len(told))
    return float(np.partition(told, -n_best)[-n_best:].mean())
