"""How much the genes of a panel repeat each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["gene_correlation", "redundancy_scores"]


def gene_correlation(x: ArrayLike) -> NDArray[np.float64]:
    """Correlate each gene with each other gene.

    Parameters
    ----------
    x
        Expression, shape ``(n_obs, n_genes)``.

    Returns
    -------
    Pearson correlations in [-1, 1], shape ``(n_genes, n_genes)``; NaN for a gene that is the same
    in all cells.

    Examples
    --------
    >>> gene_correlation([[0, 0], [1, 2], [2, 4]]).round(6).tolist()
    [[1.0, 1.0], [1.0, 1.0]]
    """
    values = np.asarray(x, dtype=np.float64)
    varies = np.ptp(values, axis=0) > 0  # of the values: rounding may leave a variance above 0
    centred = values[:, varies] - values[:, varies].mean(axis=0)
    centred /= np.linalg.norm(centred, axis=0)
    correlation = np.full((values.shape[1],) * 2, np.nan)
    correlation[np.ix_(varies, varies)] = np.clip(centred.T @ centred, -1, 1)
    return correlation


def redundancy_scores(x: ArrayLike) -> dict[str, float]:
    """Summarise how much genes repeat each other.

    Parameters
    ----------
    x
        Expression, shape ``(n_obs, n_genes)``.

    Returns
    -------
    dict
        ``NaN`` if fewer than two genes vary, else, in [0, 1],

        ``mean_abs_correlation``
            Mean absolute Pearson correlation over the pairs of genes that vary.
        ``max_abs_correlation``
            That of the most similar pair.

    Examples
    --------
    >>> scores = redundancy_scores([[0, 0, 1], [1, 2, 1], [2, 4, 1]])
    >>> round(scores["max_abs_correlation"], 6)
    1.0
    """
    correlation = gene_correlation(x)
    pairs = np.abs(correlation[np.triu_indices(len(correlation), k=1)])
    pairs = pairs[~np.isnan(pairs)]
    return {
        "mean_abs_correlation": float(pairs.mean()) if pairs.size else float("nan"),
        "max_abs_correlation": float(pairs.max()) if pairs.size else float("nan"),
    }
