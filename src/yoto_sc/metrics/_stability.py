"""How much panels from several runs agree."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["jaccard_index", "kuncheva_index"]


def jaccard_index(panels: ArrayLike) -> NDArray[np.float64]:
    r"""Return the Jaccard index of every pair of panels.

    It is :math:`|A \cap B| / |A \cup B|`: 1 for equal panels, 0 for panels without a common gene.

    Parameters
    ----------
    panels
        Boolean, shape ``(n_panels, n_genes)``: which panel holds which gene.

    Returns
    -------
    Symmetric, shape ``(n_panels, n_panels)``; NaN for two empty panels.

    Raises
    ------
    ValueError
        `panels` is no boolean matrix.

    Examples
    --------
    >>> jaccard_index([[True, True, False], [True, False, True]]).round(2).tolist()
    [[1.0, 0.33], [0.33, 1.0]]
    """
    common, sizes = _overlaps(panels)
    union = sizes[:, None] + sizes - common
    return _ratio(common, union)


def kuncheva_index(panels: ArrayLike) -> NDArray[np.float64]:
    r"""Return Kuncheva's index, the agreement beyond chance, of every pair of panels.

    Of panels of k among n genes that share r, it is [1]_

    .. math::

        \frac{r - k^2 / n}{k - k^2 / n},

    1 for equal panels, 0 on average for panels drawn at random, and not below -1.

    Parameters
    ----------
    panels
        Boolean, shape ``(n_panels, n_genes)``: which panel holds which of the genes that could
        have been chosen. All panels are of the same size.

    Returns
    -------
    Symmetric, shape ``(n_panels, n_panels)``; NaN if the panels hold no gene, or all.

    Raises
    ------
    ValueError
        `panels` is no boolean matrix, or the panels differ in size.

    References
    ----------
    .. [1] Kuncheva LI. A stability index for feature selection. Proc. 25th IASTED International
       Multi-Conference: Artificial Intelligence and Applications, 390-395 (2007).

    Examples
    --------
    >>> kuncheva_index([[True, True, False, False], [True, False, True, False]]).tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    common, sizes = _overlaps(panels)
    if np.unique(sizes).size > 1:
        msg = f"panels are of sizes {sorted({int(s) for s in sizes})}, but must be of one size."
        raise ValueError(msg)
    size = sizes[0] if len(sizes) else 0.0
    expected = size**2 / max(np.asarray(panels).shape[1], 1)
    return _ratio(common - expected, np.full_like(common, size - expected))


def _overlaps(panels: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Count the genes that two panels share, ``(n_panels, n_panels)``, and that each holds."""
    held = np.asarray(panels)
    if held.ndim != 2 or held.dtype != np.bool_:
        msg = (
            f"panels has dtype {held.dtype} and shape {held.shape}, but must be boolean, of shape "
            "(n_panels, n_genes)."
        )
        raise ValueError(msg)
    counts = held.astype(np.float64)
    common = counts @ counts.T
    return common, common.diagonal()


def _ratio(
    numerator: NDArray[np.float64], denominator: NDArray[np.float64]
) -> NDArray[np.float64]:
    defined = denominator > 0
    return np.where(defined, numerator / np.where(defined, denominator, 1), np.nan)
