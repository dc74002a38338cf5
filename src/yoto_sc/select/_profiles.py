"""How genes are expressed over the classes of a task, and which do it alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
from scipy.special import fdtrc

if TYPE_CHECKING:
    from numpy.typing import NDArray

_PRIOR_CELLS = 2.0
"""Means of classes are shrunken as if so many more cells had the mean of all."""
_FLOOR = 0.1
"""Added to mean expression before the logarithm: below it, fold changes are noise."""
_SURE = 2.0
"""Two classes differ if their means do by so many standard errors."""
_TINY = 1e-12


@dataclass(frozen=True, eq=False)
class Profile:
    r"""What genes show of one task.

    Parameters
    ----------
    parts
        Ways to see it, each of shape ``(n_points, n_vars)``. Of classes, the mean expression, and
        its logarithm, as differences from the mean of the classes; of vectors, the covariances of
        the genes with the columns.
    by_chance
        P values of each gene telling nothing about the task, shape ``(n_vars,)``.
    means, variance, n_cells
        Mean expression of the classes, ``(n_classes, n_vars)``, the variance within them,
        ``(n_vars,)``, and their cells, ``(n_classes,)``; without classes, none.
    """

    parts: tuple[NDArray[np.float64], ...]
    by_chance: NDArray[np.float64]
    means: NDArray[np.float64]
    variance: NDArray[np.float64]
    n_cells: NDArray[np.float64]

    @classmethod
    def of_classes(
        cls,
        n_cells: NDArray[np.float64],
        sums: NDArray[np.float64],
        squares: NDArray[np.float64],
    ) -> Self:
        """Return the profile over classes.

        Parameters
        ----------
        n_cells
            Of each class, shape ``(n_classes,)``.
        sums
            Of expression over the cells of each class, ``(n_classes, n_vars)``.
        squares
            Of squared expression over all of them, ``(n_vars,)``.

        Returns
        -------
        The profile, with means.
        """
        n, n_classes, counts = n_cells.sum(), len(n_cells), n_cells[:, None]
        overall = sums.sum(axis=0) / n
        between = (sums**2 / counts).sum(axis=0) - n * overall**2
        within = np.maximum(squares - n * overall**2 - between, 0)
        free = max(n - n_classes, 1)
        ratio = between / max(n_classes - 1, 1) / (within / free + _TINY)
        by_chance = fdtrc(max(n_classes - 1, 1), free, np.maximum(ratio, 0))
        means = (sums + _PRIOR_CELLS * overall) / (counts + _PRIOR_CELLS)
        parts = (means, np.log(np.maximum(means, 0) + _FLOOR))
        return cls(
            tuple(part - part.mean(axis=0) for part in parts),
            by_chance,
            means,
            within / free,
            n_cells,
        )

    @classmethod
    def of_columns(
        cls,
        n_cells: int,
        covariances: NDArray[np.float64],
        squared_correlations: NDArray[np.float64],
    ) -> Self:
        """Return the profile over the columns of a vector; both of shape ``(n_columns, n_vars)``.

        Parameters
        ----------
        n_cells
            With a label.
        covariances
            Of the genes with the columns, which weigh by their variance.
        squared_correlations
            Likewise, each column alone.

        Returns
        -------
        The profile, without means.
        """
        free = max(n_cells - 2, 1)
        ratio = squared_correlations / np.maximum(1 - squared_correlations, _TINY) * free
        by_chance = np.minimum(fdtrc(1, free, ratio).min(axis=0) * len(ratio), 1)
        none = np.empty((0, covariances.shape[1]))
        return cls((covariances,), by_chance, none, none.sum(axis=0), np.empty(0))

    def kept(self, gene: int) -> NDArray[np.float64]:
        r"""Tell how much of what one gene shows the others show as well, ``(n_vars,)``.

        It is the share of the squared length of the gene's profile :math:`d` that
        :math:`\lambda c` explains, where :math:`c` is the profile of the other and
        :math:`0 \le \lambda \le 1`: a gene that shows the same more strongly is as good, one that
        shows it weakly is not, and what it shows besides counts against it. The mean over the
        parts is taken. At most 1; 0 for genes that show nothing of it.
        """
        shares = []
        for part in self.parts:
            own = part[:, gene]
            products, squares = own @ part, (part**2).sum(axis=0)
            factors = np.clip(products / np.maximum(squares, _TINY), 0, 1)
            explained = factors * (2 * products - factors * squares)
            shares.append(explained / max(float(own @ own), _TINY))
        kept: NDArray[np.float64] = np.mean(shares, axis=0)
        return kept

    def marked(self, gene: int) -> NDArray[np.intp]:
        """Return the classes that the gene marks: those above the widest gap in its means.

        Means are compared by their logarithm. Gaps that may be chance do not count; if there is no
        other, no class is marked.

        Returns
        -------
        Positions of the classes, ascending.
        """
        means = self.means[:, gene]
        order = np.argsort(means, kind="stable")
        low, high = order[:-1], order[1:]
        error = np.sqrt(self.variance[gene] * (1 / self.n_cells[low] + 1 / self.n_cells[high]))
        levels = np.log(np.maximum(means, 0) + _FLOOR)
        gaps = np.where(
            means[high] - means[low] > _SURE * error + _TINY, levels[high] - levels[low], 0.0
        )
        if not gaps.any():
            return np.empty(0, dtype=np.intp)
        return np.sort(order[gaps.argmax() + 1 :])
