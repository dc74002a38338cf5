"""Imitated assays: counts as another technology might have given them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

Robust = Literal["thin", "technology"]

_SMALLEST_SHARE = 0.1
"""Thinned cells keep at least this share of their counts, on average."""
_DEPTHS = (0.1, 3.0)
"""Another technology counts so many molecules for each one that is counted here."""
_EFFICIENCY_SD = 0.9
"""Standard deviation of the logarithm of how well it detects each gene."""
_MARGIN = 1.25
"""Depths that differ by less than this factor are borne by any network."""


def check_robust(robust: object) -> None:
    """Raise if this is no way to imitate assays; ``"auto"`` leaves it to the data."""
    allowed = ("auto", *get_args(Robust))
    if robust not in (None, *allowed):
        raise ValueError(f"robust must be None or one of {allowed}, not {robust!r}.")


def borne_depths(how: Robust | None) -> tuple[float, float]:
    """Return the least and the greatest depth that a network bears which was trained so.

    It is within what was imitated, by half as much again; `None`: nothing was.
    """
    low, high = {"thin": (_SMALLEST_SHARE, 1.0), "technology": _DEPTHS}.get(how or "", (1.0, 1.0))
    return min(1.5 * low, 1 / _MARGIN), max(high / 1.5, _MARGIN)


def imitate(
    values: NDArray[np.float32], how: Robust, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Return expression as another assay might have given it.

    ``"thin"``: every cell keeps a share of its counts, log-uniform from a tenth to all.
    ``"technology"``: counts are multiplied by a depth of the cell, log-uniform from 0.1 to 3, and
    by an efficiency of the gene, log-normal and the same for all cells of a batch, and rounded up
    or down at random, so that the mean is kept.

    Parameters
    ----------
    values
        ``log1p`` of counts, of shape ``(…, n_obs, n_genes)``.
    """
    if how == "thin":
        return _thinned(values, rng)
    *batches, n_obs, n_genes = values.shape
    low, high = np.log(_DEPTHS)
    depth = np.exp(rng.uniform(low, high, (*batches, n_obs, 1))).astype(np.float32)
    efficiency = rng.standard_normal((*batches, 1, n_genes), dtype=np.float32)
    counts = np.expm1(values) * (depth * np.exp(_EFFICIENCY_SD * efficiency))
    counts += rng.random(values.shape, dtype=np.float32)
    imitated: NDArray[np.float32] = np.log1p(np.floor(counts))
    return imitated


def _thinned(values: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    share = np.exp(rng.uniform(np.log(_SMALLEST_SHARE), 0, values.shape[:-1]))
    expressed = values.nonzero()
    counts = np.rint(np.expm1(values[expressed])).astype(np.int64)
    thinned = values.copy()
    thinned[expressed] = np.log1p(rng.binomial(counts, share[expressed[:-1]]))
    return thinned
