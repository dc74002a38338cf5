"""What a model remembers of the cells it learned from: a few sums by class, and no cell."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from yoto_sc.data import Task

_FEW = 3
"""Cells of at least this many counts of the panel are labelled in any case."""
_TINY = 1e-9
_PRIOR_CELLS = 5.0
"""So many cells in the reference's composition count beside those of a query."""
_RARE = 0.005
"""Those of fewer are not, nor empty ones, if no larger share of the reference's is like them."""


@dataclass(frozen=True, eq=False)
class Reference:
    """Moments of the genes that a network reads, in its training cells.

    Parameters
    ----------
    task
        Position of the task whose classes, as predicted, are the groups; -1: all cells are one.
    shares
        Of the groups in the cells, ``(n_groups,)``.
    means, squares
        Of expression on the model's scale, and of its square, ``(n_groups, n_genes)``.
    counts
        Means of ``expm1`` of it: of counts, where it is their ``log1p``; ``(n_groups, n_genes)``.
    fewest
        Cells with fewer counts of the first genes than this cannot be told, ``(n_genes,)``.
    """

    task: int
    shares: NDArray[np.float32]
    means: NDArray[np.float32]
    squares: NDArray[np.float32]
    counts: NDArray[np.float32]
    fewest: NDArray[np.float32]

    @classmethod
    def of(
        cls,
        values: NDArray[np.float32],
        predictions: Sequence[NDArray[Any]],
        tasks: Sequence[Task],
    ) -> Self:
        """Take the moments.

        Cells belong to classes as the network says, not as they are labelled: the composition of a
        query is what the network says, too, and a query that is the reference differs in nothing.

        Parameters
        ----------
        values
            Expression on the model's scale, ``(n_obs, n_genes)``.
        predictions
            For each task, what the network predicts of these cells.
        tasks
            The one with most classes gives the groups.
        """
        sizes = [len(task.categories) for task in tasks]
        task = int(np.argmax(sizes)) if max(sizes) else -1
        members = np.ones((len(values), 1)) if task < 0 else predictions[task].astype(np.float64)
        totals = members.sum(axis=0)
        counts = np.expm1(values)

        def means(of: NDArray[np.float32]) -> NDArray[np.float32]:
            found = members.T @ of / np.maximum(totals, _TINY)[:, None]
            return found.astype(np.float32)

        rare = np.quantile(np.cumsum(counts, axis=1), _RARE, axis=0, method="lower")
        return cls(
            task,
            (totals / totals.sum()).astype(np.float32),
            means(values),
            means(values**2),
            means(counts),
            np.minimum(np.round(rare, 3), _FEW).astype(np.float32),
        )

    def of_genes(self, genes: NDArray[np.intp]) -> Self:
        """Return what is remembered of some genes."""
        return replace(
            self,
            means=self.means[:, genes],
            squares=self.squares[:, genes],
            counts=self.counts[:, genes],
            fewest=self.fewest[genes],
        )

    def mixture(
        self, shares: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return means and standard deviations in another composition, each ``(n_genes,)``."""
        mean = shares @ self.means
        variance = shares @ self.squares - mean**2
        return mean, np.sqrt(np.maximum(variance, 1e-6))

    def composition(self, probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return shares of the groups, from probabilities ``(n_obs, n_groups)``.

        A few cells in the composition of the reference are added.
        """
        total: NDArray[np.float64] = probabilities.sum(axis=0) + _PRIOR_CELLS * self.shares
        return total / total.sum()
