"""The leading principal components of log-normalised variable genes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import scipy.sparse as sp
from scipy import linalg

from yoto_sc.judge import at_most

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from yoto_sc.data import Expression

N_VARIABLE_GENES = 2000
_FITTED_CELLS = 10_000
"""Genes and components are found in at most this many cells."""
_N_BINS = 20
_TINY = 1e-12
_LARGEST_LOG = 30.0
"""Values above this were never logarithms of expression."""


@dataclass(frozen=True, eq=False)
class Components:
    """Principal components, as fitted to some cells, to be taken of any.

    Parameters
    ----------
    genes
        Indices of the variable genes, ascending, ``(n_genes,)``.
    total
        Counts of a cell are brought to this total; 0: expression came normalised.
    mean
        Of the genes, ``(n_genes,)``.
    axes
        The components, orthonormal, those of the largest variance first, ``(n_genes,
        n_components)``.
    """

    genes: NDArray[np.intp]
    total: float
    mean: NDArray[np.float64]
    axes: NDArray[np.float64]

    def of(self, expression: Expression, cells: NDArray[np.intp]) -> NDArray[np.float32]:
        """Return the coordinates of some cells, ``(n_cells, n_components)``."""
        axes, offset = self.axes.astype(np.float32), (self.mean @ self.axes).astype(np.float32)
        coordinates = np.empty((len(cells), axes.shape[1]), dtype=np.float32)
        for rows, block in normalised(expression, cells, self.total, self.genes):
            coordinates[rows] = block @ axes - offset
        return coordinates


def find_components(
    expression: Expression,
    cells: NDArray[np.intp],
    n_components: int,
    rng: np.random.Generator,
) -> Components:
    """Find variable genes and their principal components in some cells.

    Parameters
    ----------
    cells
        Indices of shape ``(n_cells,)``; of very many, some are drawn.
    n_components
        Where there are fewer, the last ones are zero.
    """
    cells = at_most(_FITTED_CELLS, cells, rng)
    total = typical_total(expression, cells)
    n_vars = expression.n_vars
    sums, squares = np.zeros(n_vars), np.zeros(n_vars)
    came_logged = not expression.is_counts and expression.maximum <= _LARGEST_LOG
    for _, block in normalised(expression, cells, total, log=False):
        part = block.astype(np.float64)
        if came_logged:
            part = part.expm1()
        sums += np.asarray(part.sum(axis=0)).ravel()
        part.data **= 2
        squares += np.asarray(part.sum(axis=0)).ravel()
    genes = np.sort(most_variable(sums, squares, len(cells), N_VARIABLE_GENES))
    n_genes = len(genes)
    gram, sums = np.zeros((n_genes, n_genes)), np.zeros(n_genes)
    for _, block in normalised(expression, cells, total, genes):
        dense = block.toarray()
        gram += dense.T @ dense
        sums += dense.sum(axis=0, dtype=np.float64)
    mean = sums / len(cells)
    covariance = gram / len(cells) - np.outer(mean, mean)
    n_found = min(n_components, n_genes)
    _, found = linalg.eigh(covariance, subset_by_index=[n_genes - n_found, n_genes - 1])
    found = found[:, ::-1]
    found = found * np.sign(found[np.abs(found).argmax(axis=0), np.arange(n_found)])
    axes = np.zeros((n_genes, n_components))
    axes[:, :n_found] = found
    return Components(genes, total, mean, axes)


def typical_total(expression: Expression, cells: NDArray[np.intp]) -> float:
    """Return the median of the cells' total counts; 0 for expression that came normalised."""
    if not expression.is_counts:
        return 0.0
    totals = np.concatenate(
        [np.asarray(block.sum(axis=1)).ravel() for _, block in expression.blocks(cells, raw=True)]
    )
    expressed = totals[totals > 0]
    return float(np.median(expressed)) if len(expressed) else 1.0


def normalised(
    expression: Expression,
    cells: NDArray[np.intp],
    total: float,
    genes: NDArray[np.intp] | None = None,
    *,
    log: bool = True,
) -> Iterator[tuple[slice, sp.csr_matrix]]:
    """Iterate over log-normalised cells, as scanpy's ``normalize_total`` and ``log1p`` make them.

    Parameters
    ----------
    total
        What counts of a cell, over all genes, are brought to; 0: values are taken as they are.
    genes
        Which to return, ``(n_genes,)``; `None`: all.
    log
        Whether to take the logarithm of counts.

    Yields
    ------
    Slices of `cells`, and their expression, ``(n_rows, n_genes)``.
    """
    for rows, block in expression.blocks(cells, raw=True):
        sums = np.asarray(block.sum(axis=1, dtype=np.float64)).ravel()
        part = block if genes is None else block[:, genes]
        if total > 0:
            scale = (total / np.maximum(sums, _TINY)).astype(np.float32)
            part = sp.csr_matrix(part.multiply(scale[:, None]))
            part = part.log1p() if log else part
        yield rows, part


def most_variable(
    sums: NDArray[np.float64], squares: NDArray[np.float64], n_cells: int, n_genes: int
) -> NDArray[np.intp]:
    """Return the most variable genes, by the dispersion given the mean (Satija et al. 2015).

    The logarithm of variance over mean is standardised among genes of like mean, as by
    :func:`scanpy.pp.highly_variable_genes` by default.

    Parameters
    ----------
    sums, squares
        Sums of normalised expression, not logged, and of its squares, ``(n_vars,)``.

    Returns
    -------
    Indices of shape ``(n_genes,)`` or fewer, the most variable first.
    """
    mean = sums / n_cells
    variance = np.maximum(squares / n_cells - mean**2, 0) * n_cells / max(n_cells - 1, 1)
    varies = variance > _TINY * np.maximum(mean, _TINY) ** 2
    dispersion = np.log(np.where(varies, variance / np.maximum(mean, _TINY), np.nan))
    bins = pd.cut(pd.Series(np.log1p(mean)), bins=_N_BINS, labels=False)
    grouped = pd.Series(dispersion).groupby(bins)
    centre, spread = grouped.transform("mean"), grouped.transform("std")
    alone = spread.isna()  # the only gene of its bin
    spread, centre = spread.mask(alone, centre), centre.mask(alone, 0)
    score = ((dispersion - centre) / spread).to_numpy()
    order = np.argsort(-np.where(varies & np.isfinite(score), score, -np.inf), kind="stable")
    return order[: min(n_genes, max(int(varies.sum()), 1))]
