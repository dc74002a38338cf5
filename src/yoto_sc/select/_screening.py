"""Screening: which genes tell anything about any task, each seen alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp

from yoto_sc.select._targets import Sums

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray

    from yoto_sc.select._targets import Target

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
    """

    def __init__(self, targets: Sequence[Target], *, against_chance: bool = False) -> None:
        rng = np.random.default_rng(0)
        n_shuffles = _N_SHUFFLES if against_chance else 0
        self._versions = [
            [target, *(target.shuffled(rng) for _ in range(n_shuffles))] for target in targets
        ]
        self._sums: list[list[Sums]] = []

    def designs(self) -> list[sp.csr_matrix]:
        """Return the designs of all sums that are needed, each ``(n_obs, n_columns)``."""
        return [one.design() for versions in self._versions for one in versions]

    def seen(self) -> list[NDArray[np.bool_]]:
        """Return for each task the cells whose squares are summed, ``(n_obs,)``."""
        return [versions[0].seen for versions in self._versions]

    def receive(
        self, values: Iterable[NDArray[np.float64]], squares: Iterable[NDArray[np.float64]]
    ) -> None:
        """Take the sums over all cells.

        Parameters
        ----------
        values
            Expression weighted with each design, ``(n_columns, n_vars)``.
        squares
            Squared expression of the cells that are seen, for each task, ``(n_vars,)``.
        """
        parts = iter(values)
        self._sums = [
            [Sums(next(parts), of_task) for _ in versions]
            for versions, of_task in zip(self._versions, squares, strict=True)
        ]

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
        for versions, sums in zip(self._versions, self._sums, strict=True):
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
        as one list that takes turns, so their ranks are multiplied by the number of classes.

        Parameters
        ----------
        tasks
            Which tasks count, shape ``(n_tasks,)``.

        Returns
        -------
        Shape ``(n_vars,)``: the smaller, the better.
        """
        best: NDArray[np.float64] = np.min(
            [
                ranking
                for position in np.flatnonzero(tasks)
                for ranking in self._versions[position][0].rankings(self._sums[position][0])
            ],
            axis=0,
        )
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
    designs = [screening.designs() for screening in screenings]
    seen = [screening.seen() for screening in screenings]
    widths = [design.shape[1] for each in designs for design in each]
    values, squares, *_ = reduce(
        sp.csr_matrix(sp.hstack([design for each in designs for design in each], format="csr")),
        np.column_stack([cells for each in seen for cells in each]),
    )
    parts, rows = iter(np.split(values, np.cumsum(widths)[:-1])), iter(squares)
    for screening, of_values, of_squares in zip(screenings, designs, seen, strict=True):
        screening.receive([next(parts) for _ in of_values], [next(rows) for _ in of_squares])


def _most(told: NDArray[np.float64]) -> float:
    """How much the best genes tell about a task, each alone: their mean, from 0 to 1."""
    n_best = min(_N_BEST, len(told))
    return float(np.partition(told, -n_best)[-n_best:].mean())
