"""How far confidence is from the truth, and what makes it true."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

_PRIOR_SD = 0.5
"""Standard deviation of the logarithm of the temperature, before any cell is seen."""
_LARGEST_LOG = 2.0
_TINY = 1e-12


def expected_calibration_error(
    correct: ArrayLike, confidence: ArrayLike, *, n_bins: int = 15
) -> float:
    r"""Mean distance between confidence and accuracy, over bins of confidence.

    .. math::

        \mathrm{ECE} = \sum_b \frac{n_b}{n} \,|\mathrm{accuracy}_b - \mathrm{confidence}_b|

    over bins of equal width, closed on the right [1]_. Even for true probabilities it is above 0
    on a finite number of cells, by about the spread of the accuracies in the bins.

    Parameters
    ----------
    correct
        Whether each prediction is right, bool, shape (n_obs,).
    confidence
        Predicted probability of being right, in [0, 1], shape (n_obs,).
    n_bins
        Number of bins.

    Returns
    -------
    A number in [0, 1]; NaN without predictions.

    References
    ----------
    .. [1] Guo C, Pleiss G, Sun Y, Weinberger KQ. On calibration of modern neural networks.
       ICML, PMLR 70:1321-1330 (2017).
    """
    right, p = np.asarray(correct, dtype=bool), np.asarray(confidence, dtype=np.float64)
    if right.ndim != 1 or p.shape != right.shape:
        raise ValueError(
            f"correct has shape {right.shape} and confidence {p.shape}, but both must be (n_obs,)."
        )
    if not right.size:
        return float("nan")
    if not (p.min() >= 0 and p.max() <= 1):  # written so that NaN fails too
        raise ValueError(
            f"confidence goes from {p.min():.3g} to {p.max():.3g}, but must be in [0, 1]."
        )
    inner_edges = np.linspace(0, 1, n_bins + 1)[1:-1]
    # The bin sizes cancel: n_b * |mean - mean| is the absolute sum of the differences.
    gaps = np.bincount(np.searchsorted(inner_edges, p), weights=right - p, minlength=n_bins)
    return float(np.abs(gaps).sum() / len(p))


def fit_temperature(proba: NDArray[Any], labels: NDArray[Any]) -> float:
    r"""Return the temperature that makes `labels` most likely.

    Minimises the log loss of :math:`p^{1/T}`, rescaled to sum to 1, summed over the cells, plus
    :math:`\log(T)^2 / 2 \sigma^2`: few cells move it little away from 1.

    Parameters
    ----------
    proba
        Probabilities of the classes, shape ``(n_obs, n_classes)``.
    labels
        Codes of the true classes, shape ``(n_obs,)``, none missing.

    Returns
    -------
    The temperature, above 0.
    """
    logits = np.log(np.maximum(proba.astype(np.float64), _TINY))
    rows = np.arange(len(labels))

    def cost(log_temperature: float) -> float:
        log_proba = log_softmax(logits / np.exp(log_temperature), axis=1)
        penalty = 0.5 * (log_temperature / _PRIOR_SD) ** 2
        return float(penalty - log_proba[rows, labels].sum())

    best = minimize_scalar(cost, bounds=(-_LARGEST_LOG, _LARGEST_LOG), method="bounded")
    return float(np.exp(best.x))
