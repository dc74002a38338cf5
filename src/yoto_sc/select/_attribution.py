"""What each gene of a panel adds to the others, in closed form."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from yoto_sc.select._targets import RIDGE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from yoto_sc.select._targets import Target


def confusion_without(
    values: NDArray[np.float32],
    target: Target,
    *,
    ridge: float = RIDGE,
    class_weight_power: float = 0.5,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    r"""Tell how hard each class is to tell from the others, with each gene left out.

    It is the mean of Wilks' lambda over the class's pairs with the other classes, the criterion of
    :func:`stepwise_order`. Without the gene j, the squared Mahalanobis distance of two classes
    whose means differ by d shrinks by :math:`(W^{-1} d)_j^2 / (W^{-1})_{jj}`.

    Parameters
    ----------
    values
        Expression of the panel, shape ``(n_obs, n_vars)``.
    target
        The task, on these cells.
    ridge, class_weight_power
        As in :func:`stepwise_order`.

    Returns
    -------
    The mean with all genes, of shape ``(n_classes,)``, and with each one left out, of shape
    ``(n_classes, n_vars)``. Classes are those that occur, in the order of their codes. A
    continuous target has two, with equal values: below and above its mean.
    """
    means, within = target.moments(values, ridge, class_weight_power)
    precision = np.linalg.inv(within)
    scores = means @ precision
    n_classes, n_vars = means.shape
    complete, without = np.ones(n_classes), np.ones((n_classes, n_vars))
    for a in range(n_classes):  # one class at a time: all pairs may be too many to hold
        others = np.arange(n_classes) != a
        if others.any():
            d, w = means[others] - means[a], scores[others] - scores[a]
            distances = (d * w).sum(axis=1)
            shrunk = distances[:, None] - w**2 / np.diagonal(precision)
            complete[a] = (1 / (1 + distances / 4)).mean()
            without[a] = (1 / (1 + np.maximum(shrunk, 0) / 4)).mean(axis=0)
    return complete, without
