"""What each gene of a panel adds to the others, in closed form."""

from __future__ import annotations

from typing import TYPE_CHECKING

from yoto_sc.select._moments import RIDGE

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from yoto_sc.select._targets import Target


def confusion_without(
    values: NDArray[np.float32],
    target: Target,
    *,
    ridge: float = RIDGE,
    class_weight_power: float = 0.5,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Tell how hard each class is to tell from the others, with each gene left out.

    It is the mean of Wilks' lambda over the class's pairs with the other classes, the criterion of
    :func:`stepwise_order`; for the columns of a vector, 1 - R².

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
    continuous target has two, with equal values: below and above its mean. A vector has its
    columns, weighted so that the mean over them is by variance.
    """
    return target.moments(values, ridge, class_weight_power).without()
