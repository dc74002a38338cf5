"""How unlike every class of the reference a cell is."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

import numpy as np
from scipy import linalg

if TYPE_CHECKING:
    from numpy.typing import NDArray

_WEIGHT = 2.0
"""A gene in standard deviations counts so much beside a unit of the representation."""
_RIDGE = 0.3
"""Added to the variances within classes, in units of their mean."""
_MOST_GENES = 256
"""With more genes than this, the representation alone is compared."""
_N_QUANTILES = 401
_TYPICAL, _UNLIKE = 0.5, 0.95
"""Quantiles of the reference's cells at which novelty is 0, and 1."""
_TINY = 1e-6


@dataclass(frozen=True, eq=False)
class Novelty:
    r"""Distances to the classes of a task, in what a network makes of cells and in their genes.

    Of a cell with features f, whose class is c with probability :math:`p_c`, it is

    .. math:: \log \sum_c p_c (f - m_c)^\top (\Sigma + \lambda I)^{-1} (f - m_c)

    with the means of the classes and the covariance within them (Lee et al. 2018,
    arXiv:1807.03888, who take the nearest class, and the representation alone).

    Parameters
    ----------
    scale
        Standard deviation of each gene, ``(n_genes,)``.
    whitening
        Of the features, ``(n_features, n_features)``.
    means
        Of the classes, whitened, ``(n_classes, n_features)``.
    quantiles
        Of the logarithm in cells of the reference that nothing was learned from, from 0 to 1.
    """

    scale: NDArray[np.float32]
    whitening: NDArray[np.float32]
    means: NDArray[np.float32]
    quantiles: NDArray[np.float32]

    @classmethod
    def of(
        cls,
        values: NDArray[np.float32],
        latent: NDArray[np.float32],
        codes: NDArray[np.intp],
        n_classes: int,
    ) -> Self:
        """Take means and covariance; the quantiles are those of these cells, so too small.

        Parameters
        ----------
        values
            Expression on the model's scale, ``(n_obs, n_genes)``.
        latent
            Representation, ``(n_obs, n_latent)``.
        codes
            Classes, ``(n_obs,)``.
        """
        scale = values.std(axis=0)
        scale = np.where(scale > _TINY, scale, 1).astype(np.float32)
        features = _features(values, latent, scale)
        members = codes[:, None] == np.arange(n_classes)
        counts = members.sum(axis=0)
        means = members.T.astype(np.float32) @ features / np.maximum(counts, 1)[:, None]
        means[counts == 0] = features.mean(axis=0)
        rest = features - means[codes]
        within = (rest.T @ rest).astype(np.float64) / len(rest)
        within += (_RIDGE * np.trace(within) / len(within) + _TINY) * np.eye(len(within))
        inverse = linalg.inv(linalg.cholesky(within, lower=True), check_finite=False)
        whitening = inverse.T.astype(np.float32)
        found = cls(scale, whitening, means @ whitening, np.empty(0, dtype=np.float32))
        chosen = np.eye(n_classes, dtype=np.float32)[codes]
        return found.calibrated(found.distance(values, latent, chosen))

    def calibrated(self, distance: NDArray[np.float64]) -> Self:
        """Return the same with the quantiles of these cells, ``(n_obs,)``."""
        quantiles = np.quantile(distance, np.linspace(0, 1, _N_QUANTILES))
        return replace(self, quantiles=quantiles.astype(np.float32))

    def distance(
        self,
        values: NDArray[np.float32],
        latent: NDArray[np.float32],
        probabilities: NDArray[np.floating],
    ) -> NDArray[np.float64]:
        """Return the logarithm of the expected distance, ``(n_obs,)``."""
        placed = _features(values, latent, self.scale) @ self.whitening
        squares = (placed**2).sum(axis=1)[:, None] + (self.means**2).sum(axis=1)
        squares -= 2 * placed @ self.means.T
        expected = (squares.astype(np.float64) * probabilities).sum(axis=1)
        return np.asarray(np.log(np.maximum(expected, _TINY)))

    def typical(self) -> float:
        """Return the distance of a typical cell of the reference."""
        return self._quantile(_TYPICAL)

    def score(self, distance: NDArray[np.float64]) -> NDArray[np.float32]:
        """Return novelty, ``(n_obs,)``: 0 for a typical cell, above 1 for the last twentieth."""
        low, high = self._quantile(_TYPICAL), self._quantile(_UNLIKE)
        novelty: NDArray[np.float32] = ((distance - low) / max(high - low, _TINY)).astype(
            np.float32
        )
        return novelty

    def is_new(self, distance: NDArray[np.float64], share: float) -> NDArray[np.bool_]:
        """Tell which cells are more unlike the classes than all but a share of the reference's."""
        return np.asarray(distance > self._quantile(1 - share))

    def _quantile(self, level: float) -> float:
        return float(np.interp(level, np.linspace(0, 1, len(self.quantiles)), self.quantiles))


def _features(
    values: NDArray[np.float32], latent: NDArray[np.float32], scale: NDArray[np.float32]
) -> NDArray[np.float32]:
    if values.shape[1] > _MOST_GENES:
        return latent
    return np.hstack([latent, np.float32(_WEIGHT) * values / scale])
