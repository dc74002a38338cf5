"""How much panels from several runs agree."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


def jaccard_index(panels: ArrayLike) -> NDArray[np.float64]:
    r"""Return the Jaccard index of every pair of panels, shape ``(n_panels, n_panels)``.

    It is :math:`|A \cap B| / |A \cup B|`: 1 for equal panels, 0 for panels without a common gene,
    NaN for two empty ones. What panel holds which gene is boolean, ``(n_panels, n_genes)``.
    """
    common, sizes = _overlaps(panels)
    return _ratio(common, sizes[:, None] + sizes - common)


def kuncheva_index(panels: ArrayLike) -> NDArray[np.float64]:
    r"""Return Kuncheva's index, the agreement beyond chance, of every pair of panels.

    Of panels of k among n genes that share r, it is [1]_

    .. math::

        \frac{r - k^2 / n}{k - k^2 / n},

    1 for equal panels, 0 on average for panels drawn at random, and not below -1; NaN if the
    panels hold no gene, or all of those that could have been chosen. Shapes are those of
    `jaccard_index`; the panels must be of one size.

    References
    ----------
    .. [1] Kuncheva LI. A stability index for feature selection. Proc. 25th IASTED International
       Multi-Conference: Artificial Intelligence and Applications, 390-395 (2007).
    """
    common, sizes = _overlaps(panels)
    if np.unique(sizes).size > 1:
        raise ValueError(
            f"panels are of sizes {sorted({int(s) for s in sizes})}, but must be of one size."
        )
    size = sizes[0] if len(sizes) else 0.0
    expected = size**2 / max(np.asarray(panels).shape[1], 1)
    return _ratio(common - expected, np.full_like(common, size - expected))


def _overlaps(panels: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Count the genes that two panels share, ``(n_panels, n_panels)``, and that each holds."""
    held = np.asarray(panels)
    if held.ndim != 2 or held.dtype != np.bool_:
        raise ValueError(
            f"panels has dtype {held.dtype} and shape {held.shape}, but must be boolean, of shape "
            "(n_panels, n_genes)."
        )
    counts = held.astype(np.float64)
    common = counts @ counts.T
    return common, common.diagonal()


def _ratio(
    numerator: NDArray[np.float64], denominator: NDArray[np.float64]
) -> NDArray[np.float64]:
    return np.divide(
        numerator, denominator, out=np.full_like(numerator, np.nan), where=denominator > 0
    )
