"""Scores of the predictions of one task against its observed labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from yoto_sc.metrics._calibration import expected_calibration_error
from yoto_sc.metrics._resampling import (
    as_columns,
    explained,
    f1_by_class,
    mean_of_defined,
)

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

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
            As :func:`sklearn.metrics.log_loss`, over all classes of the model, in nats.
        ``calibration_error``
            :func:`expected_calibration_error` of the predicted class, in [0, 1].
    """
    y_proba = np.asarray(proba)
    if y_proba.ndim != 2 or y_proba.shape[1] == 0:
        raise ValueError(f"proba has shape {y_proba.shape}, but must be (n_obs, n_classes).")
    n_columns = y_proba.shape[1]
    if n_classes not in (None, n_columns):
        raise ValueError(f"proba has {n_columns} columns, but must have n_classes={n_classes}.")
    codes = _codes("y_true", y_true, n_columns)
    _check_length("proba", len(y_proba), len(codes))
    observed = codes >= 0
    codes, y_proba = codes[observed], y_proba[observed]
    if not codes.size:
        return dict.fromkeys(CLASSIFICATION_SCORES, float("nan"))

    eps = np.finfo(y_proba.dtype if y_proba.dtype.kind == "f" else np.float64).eps
    p = y_proba.astype(np.float64)
    sums = p.sum(axis=1)
    if not (p.min() >= 0 and np.abs(sums - 1).max() <= _SUM_TOLERANCE):  # so that NaN fails too
        raise ValueError(
            f"proba has values from {p.min():.3g} and row sums from {sums.min():.3g} to "
            f"{sums.max():.3g}, but must hold probabilities: 0 or greater, rows summing to 1. "
            "Apply a softmax to logits first."
        )
    predicted, confidence = p.argmax(axis=1), p.max(axis=1).clip(max=1)
    counts = confusion_counts(codes, predicted, n_columns)
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
    """Score the predictions of one continuous task, or of one of vectors.

    Parameters
    ----------
    y_true
        Observed values, shape (n_obs,) or (n_obs, n_columns); ``NaN`` is missing and ignored, in
        any column with its whole row.
    y_pred
        Predicted values, of the same shape, in the unit of `y_true`.

    Returns
    -------
    dict
        ``r2``, at most 1, of vectors over all columns together, by their variance; ``rmse``, in
        the unit of `y_true`, over all entries; and ``pearson_r``, in [-1, 1], of vectors the mean
        over the columns where it is defined. All ``NaN`` if no value is observed; ``r2`` also if
        the observed values are all equal, and ``pearson_r`` if these or the predicted ones are.
    """
    values = {"y_true": np.asarray(y_true, float), "y_pred": np.asarray(y_pred, float)}
    for name, array in values.items():
        if array.ndim not in (1, 2) or array.shape[1:] != values["y_true"].shape[1:]:
            raise ValueError(
                f"{name} has shape {array.shape}, but both must be (n_obs,) or (n_obs, n_columns)."
            )
    _check_length("y_pred", len(values["y_pred"]), len(values["y_true"]))
    columns = {name: as_columns(array) for name, array in values.items()}
    observed = ~np.isnan(columns["y_true"]).any(axis=1)
    n_observed = int(observed.sum())
    if not n_observed:
        return dict.fromkeys(REGRESSION_SCORES, float("nan"))
    for name, array in columns.items():
        n_bad = n_observed - int(np.isfinite(array[observed]).all(axis=1).sum())
        if n_bad:
            raise ValueError(f"{name} is not finite in {n_bad} of {n_observed} observed cells.")

    true, pred = (array[observed] for array in columns.values())
    squared_error = float(np.square(true - pred).sum())
    # Equality is tested on the values: rounding may leave a variance above 0.
    true_varies, both_vary = np.ptp(true, axis=0) > 0, np.ptp(pred, axis=0) > 0
    both_vary &= true_varies
    a, b = true - true.mean(axis=0), pred - pred.mean(axis=0)
    r2 = float("nan")
    if true_varies.any():
        r2 = float(explained(squared_error, np.square(a).sum()))
    a, b = a[:, both_vary], b[:, both_vary]
    r = (a * b).sum(axis=0) / (np.linalg.norm(a, axis=0) * np.linalg.norm(b, axis=0))
    return {
        "r2": r2,
        "rmse": float(np.sqrt(squared_error / true.size)),
        "pearson_r": float(mean_of_defined(np.clip(r, -1, 1))),
    }


def confusion_counts(y_true: ArrayLike, y_pred: ArrayLike, n_classes: int) -> NDArray[np.int64]:
    """Count cells by true and predicted class.

    Parameters
    ----------
    y_true, y_pred
        Observed and predicted class codes, integer, shape (n_obs,); cells whose observed one is
        -1 are ignored.
    n_classes
        Number of classes the model knows.

    Returns
    -------
    Numbers of cells, shape (n_classes, n_classes): true classes are rows.
    """
    true, pred = _codes("y_true", y_true, n_classes), _codes("y_pred", y_pred, n_classes)
    _check_length("y_pred", len(pred), len(true))
    true, pred = true[true >= 0], pred[true >= 0]
    if n_none := int((pred < 0).sum()):
        raise ValueError(f"y_pred is -1 in {n_none} observed cells, but must name a class.")
    counts = np.bincount(true * n_classes + pred, minlength=n_classes**2)
    return counts.reshape(n_classes, n_classes).astype(np.int64)


def _codes(name: str, values: ArrayLike, n_classes: int) -> NDArray[np.int64]:
    codes: NDArray[Any] = np.asarray(values)
    if codes.ndim != 1 or (codes.size and codes.dtype.kind not in "iu"):
        raise ValueError(
            f"{name} has dtype {codes.dtype} and shape {codes.shape}, but must hold integer "
            "class codes of shape (n_obs,)."
        )
    codes = codes.astype(np.int64)  # pandas' are int8, too small for products of codes
    if codes.size and not (codes.min() >= -1 and codes.max() < n_classes):
        raise ValueError(
            f"{name} has codes from {codes.min()} to {codes.max()}, but the {n_classes} classes "
            f"are 0 to {n_classes - 1}, and -1 where missing."
        )
    return codes


def _check_length(name: str, n: int, n_obs: int) -> None:
    if n != n_obs:
        raise ValueError(f"{name} has {n} rows, but y_true has {n_obs}.")
