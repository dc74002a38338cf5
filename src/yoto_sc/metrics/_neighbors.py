"""Nearest neighbours of cells, and how far two sets of them agree."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from sklearn.neighbors import NearestNeighbors

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["nearest_neighbors", "neighbor_overlap"]


def nearest_neighbors(x: ArrayLike, n_neighbors: int) -> NDArray[np.intp]:
    """Find the nearest other cells of every cell, exactly, in Euclidean distance.

    Parameters
    ----------
    x
        Coordinates, shape ``(n_obs, n_dims)``.
    n_neighbors
        Number of neighbours, at most ``n_obs - 1``.

    Returns
    -------
    Indices of the neighbours, nearest first, shape ``(n_obs, n_neighbors)``.

    Examples
    --------
    >>> nearest_neighbors([[0.0], [1.0], [3.0]], 1).ravel().tolist()
    [1, 0, 1]
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

    Raises
    ------
    ValueError
        The shapes differ.

    Examples
    --------
    >>> import numpy as np
    >>> neighbor_overlap(np.array([[1, 2], [0, 2]]), np.array([[2, 3], [2, 0]]))
    0.75
    """
    if one.shape != other.shape:
        raise ValueError(f"The shapes {one.shape} and {other.shape} differ.")
    n_obs, n_neighbors = one.shape
    both = np.sort(np.hstack([one, other]), axis=1)  # a shared neighbour stands there twice
    return float((both[:, 1:] == both[:, :-1]).sum() / (n_obs * n_neighbors))
