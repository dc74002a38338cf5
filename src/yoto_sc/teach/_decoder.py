"""From predicted components back to the expression of all genes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import linalg

from yoto_sc.teach._components import normalised

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from yoto_sc.data import Expression

_PENALTY = 1e-3
"""Of the ridge regression, in units of the mean variance of the components."""
_TINY = 1e-12


@dataclass(frozen=True, eq=False)
class Decoder:
    """What all genes are expected to be, given components that were predicted from a panel.

    Parameters
    ----------
    total
        Expression is of cells brought to this total, and logged; 0: as it came, normalised.
    weights, intercept
        Shapes ``(n_components, n_vars)`` and ``(n_vars,)``.
    correlation
        Pearson's, of decoded and true expression in held-out cells of a training that had not seen
        them, ``(n_vars,)``; NaN where there are none, or nothing varies.
    """

    total: float
    weights: NDArray[np.float32]
    intercept: NDArray[np.float32]
    correlation: NDArray[np.float32]

    def decode(
        self, components: NDArray[np.float32], genes: NDArray[np.intp]
    ) -> NDArray[np.float32]:
        """Return expression of some genes, ``(n_obs, n_genes)``, not below 0."""
        decoded: NDArray[np.float32] = components @ self.weights[:, genes] + self.intercept[genes]
        return np.maximum(decoded, 0, out=decoded)


@dataclass(frozen=True, eq=False)
class Joint:
    """Sums over cells of predicted components and true expression, and of their products."""

    n_obs: int
    components: NDArray[np.float64]  # (n_components,)
    gram: NDArray[np.float64]  # (n_components, n_components)
    cross: NDArray[np.float64]  # (n_components, n_vars)
    values: NDArray[np.float64]  # (n_vars,)
    squares: NDArray[np.float64]  # (n_vars,)

    @classmethod
    def of(
        cls,
        components: NDArray[np.float32],
        expression: Expression,
        cells: NDArray[np.intp],
        total: float,
    ) -> Joint:
        """Take the sums in one pass.

        Parameters
        ----------
        components
            Predicted for `cells`, ``(n_cells, n_components)``.
        """
        found = components.astype(np.float64)
        cross = np.zeros((found.shape[1], expression.n_vars))
        values, squares = np.zeros(expression.n_vars), np.zeros(expression.n_vars)
        for rows, block in normalised(expression, cells, total):
            part = block.astype(np.float64)
            cross += (part.T @ found[rows]).T
            values += np.asarray(part.sum(axis=0)).ravel()
            part.data **= 2
            squares += np.asarray(part.sum(axis=0)).ravel()
        return cls(len(cells), found.sum(axis=0), found.T @ found, cross, values, squares)

    def fit(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Regress every gene on the components; return weights and intercepts."""
        n, mean = max(self.n_obs, 1), self.components / max(self.n_obs, 1)
        gram = self.gram - n * np.outer(mean, mean)
        gram[np.diag_indices_from(gram)] += _PENALTY * np.trace(gram) / len(gram) + _TINY
        cross = self.cross - np.outer(mean, self.values)
        weights: NDArray[np.float64] = linalg.solve(gram, cross, assume_a="pos")
        return weights, self.values / n - mean @ weights

    def correlation(
        self, weights: NDArray[np.float64], intercept: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return Pearson's correlation of what is decoded with the truth, gene by gene."""
        n = max(self.n_obs, 1)
        linear = self.components @ weights
        decoded = linear + n * intercept
        squares = (weights * (self.gram @ weights)).sum(axis=0)
        squares += intercept * (2 * linear + n * intercept)
        products = (weights * self.cross).sum(axis=0) + intercept * self.values
        of_both = products - decoded * self.values / n
        spread = np.maximum(squares - decoded**2 / n, 0), self.squares - self.values**2 / n
        varies = (spread[0] > _TINY * n) & (spread[1] > _TINY * n)
        scale = np.sqrt(np.where(varies, spread[0] * spread[1], 1))
        return np.where(varies, np.clip(of_both / scale, -1, 1), np.nan)


def fit_decoder(total: float, learned: Joint, judged: tuple[Joint, Joint] | None) -> Decoder:
    """Fit a decoder.

    Parameters
    ----------
    learned
        Sums over the cells that the network learned from.
    judged
        Sums over the cells that an earlier network learned from, and over those that it had not
        seen; `None`: there are none.
    """
    weights, intercept = learned.fit()
    correlation = np.full(weights.shape[1], np.nan)
    if judged is not None and judged[1].n_obs > 1:
        correlation = judged[1].correlation(*judged[0].fit())
    return Decoder(
        total,
        weights.astype(np.float32),
        intercept.astype(np.float32),
        correlation.astype(np.float32),
    )
