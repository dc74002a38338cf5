"""How far confidence is from the truth."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


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
