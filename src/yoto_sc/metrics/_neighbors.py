"""Nearest neighbours of cells, and how far two sets of them agree."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from sklearn.neighbors import NearestNeighbors

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


def nearest_neighbors(x: ArrayLike, n_neighbors: int) -> NDArray[np.intp]:
    """Find the nearest other cells of every cell, exactly, in Euclidean distance.

    Parameters
    ----------
    x
        Coordinates, shape ``(n_obs, n_dims)``.
    n_neighbors
        At most ``n_obs - 1``.

    Returns
    -------
    Indices of the neighbours, nearest first, shape ``(n_obs, n_neighbors)``.
    """
    search = NearestNeighbors(n_neighbors=n_neighbors).fit(np.asarray(x))
    found: NDArray[np.intp] = search.kneighbors(return_distance=False)
    return found


def neighbor_overlap(one: NDArray[np.intp], other: NDArray[np.intp]) -> float:
    """Return the mean share of neighbours that two representations of the cells agree on.

    By chance it is about ``n_neighbors / n_obs``.

    Parameters
    ----------
    one, other
        Indices of neighbours, none twice in a row, shape ``(n_obs, n_neighbors)``.

    Returns
    -------
    In [0, 1]: 1 if every cell has the same neighbours in both.
    """
    if one.shape != other.shape:
        raise ValueError(f"The shapes {one.shape} and {other.shape} differ.")
    both = np.sort(np.hstack([one, other]), axis=1)  # a shared neighbour stands there twice
    return float((both[:, 1:] == both[:, :-1]).sum() / one.size)
