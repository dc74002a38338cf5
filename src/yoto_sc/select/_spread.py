"""Covariances of very many genes, of which a few columns are taken at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import linalg

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from yoto_sc.select._moments import Criterion


@dataclass(frozen=True, eq=False)
class Spread:
    r"""What genes vary by around the points of a task, as products that are not multiplied out.

    It is :math:`(1 - \nu) (X^\top X - B^\top B) + V^\top V + \rho I`.

    Parameters
    ----------
    cells
        X: centred, of unit variance, times the roots of the weights, ``(n_obs, n_vars)``.
    explained
        B: what the labels explain, ``(n_rows, n_vars)``.
    ridge
        :math:`\rho`.
    varying
        V: what varies from batch to batch, ``(n_groups, n_vars)``; `None`: nothing.
    by_chance
        :math:`\nu`, which of it would by chance.
    """

    cells: NDArray[np.float32]
    explained: NDArray[np.float32]
    ridge: float
    varying: NDArray[np.float32] | None = None
    by_chance: float = 0.0

    def columns(
        self, genes: NDArray[np.intp], rows: NDArray[np.intp] | slice = slice(None)
    ) -> NDArray[np.float32]:
        """Return covariances with some genes, ``(n_rows, n_genes)``."""
        found = self._product(self.cells, genes, rows) - self._product(self.explained, genes, rows)
        if self.varying is not None:
            found *= 1 - self.by_chance
            found += self._product(self.varying, genes, rows)
        found += self.ridge * (np.arange(self.cells.shape[1])[rows][:, None] == genes)
        return found

    def variances(self) -> NDArray[np.float32]:
        """Return the variance of each gene, ``(n_vars,)``."""
        found = _squares(self.cells) - _squares(self.explained)
        if self.varying is not None:
            found = (1 - self.by_chance) * found + _squares(self.varying)
        return np.asarray(found + self.ridge)

    @staticmethod
    def _product(
        factor: NDArray[np.float32], genes: NDArray[np.intp], rows: NDArray[np.intp] | slice
    ) -> NDArray[np.float32]:
        product: NDArray[np.float32] = factor[:, rows].T @ factor[:, genes]
        return product


def _squares(factor: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(np.einsum("ij,ij->j", factor, factor))


class BlockStepper:
    """Genes that are in, by a Cholesky factorisation on the way, block of genes by block.

    Parameters
    ----------
    spread
        The covariance of the genes.
    projections
        What a gene brings to each point, shape ``(n_points, n_vars)``.
    n_steps
        Number of genes that will be added.
    criterion
        What is left open.
    """

    def __init__(
        self,
        spread: Spread,
        projections: NDArray[np.float64],
        n_steps: int,
        criterion: Criterion,
    ) -> None:
        self._spread = spread
        self._projections = projections
        self._variances = spread.variances().astype(np.float64)
        # By columns, so that those of a block lie together.
        self._factor = np.zeros((len(self._variances), n_steps), dtype=np.float32, order="F")
        self._n_added = 0
        self._criterion = criterion

    def open(self) -> float:
        """Return what is left open, from 0 to 1."""
        return float(self._criterion.left(np.zeros((len(self._projections), 1)))[0])

    def left(self, genes: NDArray[np.intp]) -> NDArray[np.float64]:
        """Return what would be left open with each of some genes added, ``(n_genes,)``."""
        # Rounding may bring the variance of a gene that others explain below the ridge.
        variances = np.maximum(self._variances[genes], self._spread.ridge / 2)
        return self._criterion.left(self._projections[:, genes] / np.sqrt(variances))

    def correlations(self, genes: NDArray[np.intp]) -> NDArray[np.float32]:
        """Return those of some genes, given the genes that are in, ``(n_genes, n_genes)``."""
        known = self._factor[genes, : self._n_added]
        covariance = self._spread.columns(genes, genes) - known @ known.T
        scale = np.sqrt(np.maximum(np.diagonal(covariance), self._spread.ridge / 2))
        return np.asarray(covariance / np.outer(scale, scale))

    def add(self, block: NDArray[np.intp]) -> None:
        """Condition on some genes at once."""
        known = self._factor[:, : self._n_added]
        columns = self._spread.columns(block) - known @ known[block].T
        own = columns[block].astype(np.float64)
        own[np.diag_indices_from(own)] += 1e-6  # rounding of single precision
        factor = linalg.cholesky((own + own.T) / 2, lower=True)
        columns = linalg.solve_triangular(factor.astype(np.float32), columns.T, lower=True).T
        scores = linalg.solve_triangular(factor, self._projections[:, block].T, lower=True)
        for position in range(len(block)):
            self._criterion.note(scores[position])
        self._projections = self._projections - scores.T @ columns.T
        self._factor[:, self._n_added : self._n_added + len(block)] = columns
        self._n_added += len(block)
        self._variances -= np.einsum("ij,ij->i", columns, columns)
