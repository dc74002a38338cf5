"""Scores of the predictions of one task against its observed labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from yoto_sc.metrics._calibration import expected_calibration_error
from yoto_sc.metrics._resampling import explained, f1_by_class, mean_of_defined

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = [
    "CLASSIFICATION_SCORES",
    "REGRESSION_SCORES",
    "classification_scores",
    "confusion_counts",
    "regression_scores",
]

CLASSIFICATION_SCORES = (
    "macro_f1",
    "balanced_accuracy",
    "accuracy",
    "log_loss",
    "calibration_error",
)
REGRESSION_SCORES = ("r2", "rmse", "pearson_r")
# Half-precision softmax sums to 1 within about this; logits do not.
_SUM_TOLERANCE = 1e-2


def classification_scores(
    y_true: ArrayLike, proba: ArrayLike, *, n_classes: int | None = None
) -> dict[str, float]:
    r"""Score predicted class probabilities of one categorical task.

    Parameters
    ----------
    y_true
        Observed class codes, integer, shape (n_obs,); -1 is missing and ignored.
    proba
        Predicted probabilities, shape (n_obs, n_classes), rows sum to 1. The predicted class is
        the most probable one, the first of them on ties.
    n_classes
        Number of classes the model knows; if given, `proba` must have as many columns.

    Returns
    -------
    dict
        All ``NaN`` if no label is observed, else

        ``macro_f1``
            Mean over the classes that occur in `y_true` of the harmonic mean of precision and
            recall, in [0, 1]. :func:`sklearn.metrics.f1_score` by default also averages over
            classes that occur only among the predictions, with an F1 of 0; here, such a
            prediction costs recall of the true class only, so that the score does not depend on
            which classes a held-out set happens to lack.
        ``balanced_accuracy``
            Mean recall over the same classes, in [0, 1].
        ``accuracy``
            Share of the observed cells with the right class, in [0, 1].
        ``log_loss``
            Mean of the negative natural logarithm of the probability of the true class, over all
            classes of the model, in nats. Probabilities are clipped to
            :math:`[\epsilon, 1 - \epsilon]`, the machine epsilon of their dtype, as in
            :func:`sklearn.metrics.log_loss`.
        ``calibration_error``
            Expected calibration error of the predicted class, in [0, 1]; see
            :func:`expected_calibration_error`.

    Raises
    ------
    ValueError
        If shapes do not match, a code is not in -1, ..., n_classes - 1, or observed rows of
        `proba` are not probabilities.

    Examples
    --------
    >>> scores = classification_scores([0, 1, -1], [[0.8, 0.2], [0.1, 0.9], [0.5, 0.5]])
    >>> scores["accuracy"], round(scores["calibration_error"], 2)
    (1.0, 0.15)
    """
    y_proba = np.asarray(proba)
    if y_proba.ndim != 2 or y_proba.shape[1] == 0:
        msg = f"proba has shape {y_proba.shape}, but must be (n_obs, n_classes)."
        raise ValueError(msg)
    if n_classes is not None and y_proba.shape[1] != n_classes:
        msg = f"proba has {y_proba.shape[1]} columns, but must have n_classes={n_classes}."
        raise ValueError(msg)
    n_classes = y_proba.shape[1]
    codes = _codes("y_true", y_true, n_classes)
    _check_length("proba", len(y_proba), len(codes))
    observed = codes >= 0
    codes, y_proba = codes[observed], y_proba[observed]
    if not codes.size:
        return dict.fromkeys(CLASSIFICATION_SCORES, float("nan"))

    eps = np.finfo(y_proba.dtype if y_proba.dtype.kind == "f" else np.float64).eps
    p = y_proba.astype(np.float64)
    sums = p.sum(axis=1)
    # Written so that NaN fails too.
    if not (p.min() >= 0 and np.abs(sums - 1).max() <= _SUM_TOLERANCE):
        msg = (
            f"proba has values from {p.min():.3g} and row sums from {sums.min():.3g} to "
            f"{sums.max():.3g}, but must hold probabilities: 0 or greater, rows summing to 1. "
            "Apply a softmax to logits first."
        )
        raise ValueError(msg)

    predicted, confidence = p.argmax(axis=1), p.max(axis=1).clip(max=1)
    counts = confusion_counts(codes, predicted, n_classes)
    hits, n_true, n_predicted = np.diag(counts), counts.sum(axis=1), counts.sum(axis=0)
    present = n_true > 0
    p_true = p[np.arange(len(codes)), codes]
    return {
        "macro_f1": float(mean_of_defined(f1_by_class(hits, n_true, n_predicted))),
        "balanced_accuracy": float((hits[present] / n_true[present]).mean()),
        "accuracy": float(hits.sum() / len(codes)),
        "log_loss": float(-np.log(np.clip(p_true, eps, 1 - eps)).mean()),
        "calibration_error": expected_calibration_error(predicted == codes, confidence),
    }


def regression_scores(y_true: ArrayLike, y_pred: ArrayLike) -> dict[str, float]:
    """Score the predictions of one continuous task.

    Parameters
    ----------
    y_true
        Observed values, shape (n_obs,); ``NaN`` is missing and ignored.
    y_pred
        Predicted values, shape (n_obs,), in the unit of `y_true`.

    Returns
    -------
    dict
        All ``NaN`` if no value is observed, else

        ``r2``
            Coefficient of determination, at most 1; ``NaN`` if the observed values are all equal.
        ``rmse``
            Root mean squared error, in the unit of `y_true`.
        ``pearson_r``
            Correlation, in [-1, 1]; ``NaN`` if observed or predicted values are all equal.

    Raises
    ------
    ValueError
        If shapes do not match, an observed value is infinite, or the prediction for an observed
        value is not finite.

    Examples
    --------
    >>> regression_scores([1.0, 3.0, float("nan")], [1.0, 3.0, 7.0])["rmse"]
    0.0
    """
    true = np.asarray(y_true, dtype=np.float64)
    pred = np.asarray(y_pred, dtype=np.float64)
    for name, values in (("y_true", true), ("y_pred", pred)):
        if values.ndim != 1:
            msg = f"{name} has shape {values.shape}, but must be (n_obs,)."
            raise ValueError(msg)
    _check_length("y_pred", len(pred), len(true))
    observed = ~np.isnan(true)
    true, pred = true[observed], pred[observed]
    if not true.size:
        return dict.fromkeys(REGRESSION_SCORES, float("nan"))
    for name, values in (("y_true", true), ("y_pred", pred)):
        n_bad = int((~np.isfinite(values)).sum())
        if n_bad:
            msg = f"{name} is not finite in {n_bad} of {len(values)} observed cells."
            raise ValueError(msg)

    squared_error = float(np.square(true - pred).sum())
    # Equality is tested on the values: rounding may leave a variance above 0.
    true_varies, pred_varies = np.ptp(true) > 0, np.ptp(pred) > 0
    a, b = true - true.mean(), pred - pred.mean()
    r2 = float(explained(squared_error, a @ a)) if true_varies else float("nan")
    r = float("nan")
    if true_varies and pred_varies:
        r = float(np.clip(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)), -1, 1))
    return {"r2": r2, "rmse": float(np.sqrt(squared_error / len(true))), "pearson_r": r}


def confusion_counts(y_true: ArrayLike, y_pred: ArrayLike, n_classes: int) -> NDArray[np.int64]:
    """Count cells by true and predicted class.

    Parameters
    ----------
    y_true
        Observed class codes, integer, shape (n_obs,); -1 is missing and ignored.
    y_pred
        Predicted class codes, integer, shape (n_obs,).
    n_classes
        Number of classes the model knows.

    Returns
    -------
    numpy.ndarray
        Number of cells, shape (n_classes, n_classes): true classes are rows.

    Raises
    ------
    ValueError
        If shapes do not match or a code is out of range.

    Examples
    --------
    >>> confusion_counts([0, 1, 1, -1], [0, 0, 1, 1], 2).tolist()
    [[1, 0], [1, 1]]
    """
    true = _codes("y_true", y_true, n_classes)
    pred = _codes("y_pred", y_pred, n_classes)
    _check_length("y_pred", len(pred), len(true))
    observed = true >= 0
    true, pred = true[observed], pred[observed]
    if (pred < 0).any():
        msg = f"y_pred is -1 in {int((pred < 0).sum())} observed cells, but must name a class."
        raise ValueError(msg)
    counts = np.bincount(true * n_classes + pred, minlength=n_classes**2)
    return counts.reshape(n_classes, n_classes).astype(np.int64)


def _codes(name: str, values: ArrayLike, n_classes: int) -> NDArray[np.int64]:
    codes: NDArray[Any] = np.asarray(values)
    if codes.ndim != 1 or (codes.size and codes.dtype.kind not in "iu"):
        msg = (
            f"{name} has dtype {codes.dtype} and shape {codes.shape}, but must hold integer "
            "class codes of shape (n_obs,)."
        )
        raise ValueError(msg)
    # Pandas' category codes are int8, too small for products of codes.
    codes = codes.astype(np.int64)
    if codes.size and not (codes.min() >= -1 and codes.max() < n_classes):
        msg = (
            f"{name} has codes from {codes.min()} to {codes.max()}, but the {n_classes} classes "
            f"are 0 to {n_classes - 1}, and -1 where missing."
        )
        raise ValueError(msg)
    return codes


def _check_length(name: str, n: int, n_obs: int) -> None:
    if n != n_obs:
        msg = f"{name} has {n} rows, but y_true has {n_obs}."
        raise ValueError(msg)
