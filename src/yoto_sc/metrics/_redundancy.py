"""How much the genes of a panel repeat each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


def gene_correlation(x: ArrayLike) -> NDArray[np.float64]:
    """Correlate genes with each other: Pearson, shape ``(n_genes, n_genes)``.

    The expression `x` is of shape ``(n_obs, n_genes)``; a gene that is the same in all cells has
    NaN.
    """
    values = np.asarray(x, dtype=np.float64)
    varies = np.ptp(values, axis=0) > 0  # of the values: rounding may leave a variance above 0
    centred = values[:, varies] - values[:, varies].mean(axis=0)
    centred /= np.linalg.norm(centred, axis=0)
    correlation = np.full((values.shape[1],) * 2, np.nan)
    correlation[np.ix_(varies, varies)] = np.clip(centred.T @ centred, -1, 1)
    return correlation


def redundancy_scores(x: ArrayLike) -> dict[str, float]:
    """Return the mean and the largest absolute correlation over the pairs of genes that vary.

    Both are NaN if fewer than two genes vary. The expression `x` is of shape
    ``(n_obs, n_genes)``.
    """
    correlation = gene_correlation(x)
    pairs = np.abs(correlation[np.triu_indices(len(correlation), k=1)])
    pairs = pairs[~np.isnan(pairs)]
    return {
        "mean_abs_correlation": float(pairs.mean()) if pairs.size else float("nan"),
        "max_abs_correlation": float(pairs.max()) if pairs.size else float("nan"),
    }
