"""Which pairs of very many classes matter: those that are close together."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import linalg

if TYPE_CHECKING:
    from numpy.typing import NDArray

MANY_CLASSES = 128
"""Of more classes than this, only the closest pairs are looked at."""
_MOST_PAIRS = MANY_CLASSES * (MANY_CLASSES - 1) // 2
_LEAST_NEIGHBOURS = 3
"""They are about so many, but each class has so many others in any case."""
_N_DIRECTIONS = 64
"""Classes are close in so many directions, which set them apart most."""
_N_GENES = 1000
"""These are found in so many genes, by which classes differ most."""
_BLOCK = 512
"""Distances of so many classes from all others are held at a time."""


def strongest_genes(means: NDArray[np.float64]) -> NDArray[np.intp]:
    """Return the genes by which classes differ most, ascending.

    Parameters
    ----------
    means
        Of the classes, of genes of unit variance, shape ``(n_classes, n_vars)``.
    """
    n_genes = min(_N_GENES, means.shape[1])
    return np.sort(np.argsort(-means.var(axis=0), kind="stable")[:n_genes])


def closest_pairs(
    means: NDArray[np.float64], within: NDArray[np.float64], n_cells: NDArray[np.float64]
) -> NDArray[np.intp]:
    r"""Return the pairs of each class with those nearest to it.

    The distance is Mahalanobis', in the 64 directions in which means vary most, for their number
    of cells, less what it would be by chance, :math:`64\,(1 / n_a + 1 / n_b)`: the mean of few
    cells is far from everything.

    Parameters
    ----------
    means
        Of the classes, shape ``(n_classes, n_vars)``.
    within
        The covariance within them, ``(n_vars, n_vars)``.
    n_cells
        Of each class, ``(n_classes,)``.

    Returns
    -------
    Shape ``(n_pairs, 2)``, without repeats, the smaller number first, in ascending order.
    """
    n_classes = len(means)
    factor = linalg.cholesky(within, lower=True)
    placed = linalg.solve_triangular(factor, means.T, lower=True).T
    placed -= n_cells @ placed / n_cells.sum()
    between = placed.T @ (placed * n_cells[:, None])
    n_directions = min(_N_DIRECTIONS, n_classes - 1, len(between))
    _, axes = linalg.eigh(between, subset_by_index=(len(between) - n_directions, len(between) - 1))
    placed = placed @ axes
    squares, by_chance = (placed**2).sum(axis=1), n_directions / n_cells
    n_nearest = min(max(_LEAST_NEIGHBOURS, _MOST_PAIRS // n_classes), n_classes - 1)
    found = []
    for start in range(0, n_classes, _BLOCK):
        some = np.arange(start, min(start + _BLOCK, n_classes))
        distances = squares - by_chance - 2 * placed[some] @ placed.T
        distances[np.arange(len(some)), some] = np.inf
        nearest = np.argpartition(distances, n_nearest - 1, axis=1)[:, :n_nearest]
        found.append(np.column_stack([np.repeat(some, n_nearest), nearest.ravel()]))
    return np.unique(np.sort(np.concatenate(found), axis=1), axis=0)


def some_pairs(n_classes: int) -> NDArray[np.intp]:
    """Return pairs of classes drawn at random, the same ones every time, ``(n_pairs, 2)``."""
    rng = np.random.default_rng(0)
    first = rng.integers(n_classes, size=_MOST_PAIRS)
    second = (first + rng.integers(1, n_classes, size=_MOST_PAIRS)) % n_classes
    return np.column_stack([first, second])


def partners(pairs: NDArray[np.intp], n_classes: int) -> list[NDArray[np.intp]]:
    """Return, for each class, the others that it is in a pair with."""
    both = np.concatenate([pairs, pairs[:, ::-1]])
    both = both[np.lexsort((both[:, 1], both[:, 0]))]
    return np.split(both[:, 1], np.searchsorted(both[:, 0], np.arange(1, n_classes)))
