"""The points to tell apart, the covariance around them, and how well pairs of them are told."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


RIDGE = 0.1
"""Added to unit variances within classes: near copies and rare genes bring little."""


class ClassMoments(NamedTuple):
    """What the labels of one task make of some genes of unit variance.

    Parameters
    ----------
    means
        The points to tell apart, shape ``(n_points, n_vars)``.
    within
        The covariance around them, shape ``(n_vars, n_vars)``.
    """

    means: NDArray[np.float64]
    within: NDArray[np.float64]


def mean_lambda(
    means: NDArray[np.float64], distances: NDArray[np.float64] | None = None
) -> NDArray[np.float64]:
    """Return the mean of Wilks' lambda over the pairs of classes, for each gene ``(n_vars,)``.

    Parameters
    ----------
    means
        Of the classes, in units of each gene's standard deviation within them, shape
        ``(n_classes, n_vars)``.
    distances
        Squared distances of the classes by other genes, ``(n_classes, n_classes)``; `None`: there
        are no other genes.
    """
    total = np.zeros(means.shape[1])
    for a in range(1, len(means)):  # one class at a time: all pairs may be too many to hold
        squares = (means[:a] - means[a]) ** 2
        if distances is not None:
            squares += distances[a, :a, None]
        total += (1 / (1 + squares / 4)).sum(axis=0)
    n_pairs = len(means) * (len(means) - 1) / 2
    return total / max(n_pairs, 1)
