"""Macro-F1 and R² of weighted cells, and how far they vary over samples of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp

if TYPE_CHECKING:
    from numpy.typing import NDArray


def bootstrap_weights(
    units: NDArray[np.integer[Any]], n_samples: int, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Draw bootstrap samples of cells, or of groups of them.

    Parameters
    ----------
    units
        What is drawn: the number of each cell itself, or of its group; shape ``(n_obs,)``.
    n_samples, rng
        How many samples, and from which generator.

    Returns
    -------
    How often each cell is drawn, shape ``(n_samples, n_obs)``.
    """
    names, unit_of = np.unique(units, return_inverse=True)
    if (n_units := len(names)) == 0:
        return np.empty((n_samples, 0), dtype=np.float32)
    drawn = rng.multinomial(n_units, np.full(n_units, 1 / n_units), size=n_samples)
    weights: NDArray[np.float32] = drawn.astype(np.float32)[:, unit_of]
    return weights


def weighted_f1(
    true: NDArray[np.integer[Any]],
    predicted: NDArray[np.integer[Any]],
    n_classes: int,
    weights: NDArray[np.float32],
) -> NDArray[np.float64]:
    """Return F1 of each class under several weightings of the cells.

    Parameters
    ----------
    true, predicted, n_classes
        Class codes of shape ``(n_obs,)``, none missing, and how many there are.
    weights
        Whole numbers, shape ``(n_weightings, n_obs)``.

    Returns
    -------
    Shape ``(n_weightings, n_classes)``; NaN for a class without a true cell in the weighting.
    """
    cells = np.arange(len(true))
    is_right = np.flatnonzero(true == predicted)

    def count(cells: NDArray[np.intp], codes: NDArray[np.integer[Any]]) -> NDArray[np.float64]:
        one_hot = sp.csr_matrix(
            (np.ones(len(cells)), (codes, cells)), shape=(n_classes, len(true))
        )
        counts: NDArray[np.float64] = (one_hot @ weights.T).T
        return counts

    return f1_by_class(
        count(is_right, true[is_right]), count(cells, true), count(cells, predicted)
    )


def f1_by_class(
    hits: NDArray[Any], n_true: NDArray[Any], n_predicted: NDArray[Any]
) -> NDArray[np.float64]:
    """Return F1 from counts ``(…, n_classes)`` of cells; NaN for a class without a true cell."""
    with np.errstate(invalid="ignore"):
        return np.where(n_true > 0, 2 * hits / (n_true + n_predicted), np.nan)


def mean_of_defined(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean over the last axis, without what is NaN; NaN if all is. Shape ``(…,)``."""
    if values.ndim == 1:
        defined = values[~np.isnan(values)]
        return np.asarray(defined.mean() if len(defined) else np.nan)
    n = (~np.isnan(values)).sum(axis=-1)
    return np.where(n > 0, np.nansum(values, axis=-1) / np.maximum(n, 1), np.nan)


def weighted_r2(
    true: NDArray[Any], predicted: NDArray[Any], weights: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Return R² under several weightings of the cells, over all columns by their variance.

    Parameters
    ----------
    true, predicted
        Values of shape ``(n_obs,)`` or ``(n_obs, n_columns)``, none missing.
    weights
        Shape ``(n_weightings, n_obs)``.

    Returns
    -------
    Shape ``(n_weightings,)``; NaN where the true values do not vary.
    """
    true, predicted = (as_columns(a.astype(np.float64)) for a in (true, predicted))
    total = np.maximum(weights.sum(axis=1, dtype=np.float64), 1)
    centred = true - true.mean(axis=0) if len(true) else true
    means = weights @ centred
    spread = weights @ (centred**2).sum(axis=1) - (means**2).sum(axis=1) / total
    error = weights @ ((true - predicted) ** 2).sum(axis=1)
    return explained(error, np.where(spread > 1e-12 * total, spread, np.nan))


def as_columns(values: NDArray[Any]) -> NDArray[Any]:
    """Return numbers as vectors of one column, and vectors as they are."""
    return values[:, None] if values.ndim == 1 else values


def explained(squared_error: Any, spread: Any) -> NDArray[np.float64]:
    """Return R², one less the share of the spread that is left; both are sums of squares."""
    return np.asarray(1 - squared_error / spread)


def standard_deviation(samples: NDArray[np.float64]) -> float:
    """Return the standard deviation of the samples that are defined; NaN of fewer than two."""
    samples = samples[np.isfinite(samples)]
    return float(samples.std()) if len(samples) > 1 else float("nan")
