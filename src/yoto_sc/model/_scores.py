"""Scores of predictions, by task."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from yoto_sc.metrics import classification_scores, confusion_counts, regression_scores

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from yoto_sc._tasks import Task

PATH_METRIC = {"categorical": "macro_f1", "continuous": "r2"}
"""The score that stands for a task of each kind where there is room for one."""
N_BOOTSTRAPS = 200
"""A standard error is taken over so many bootstrap samples of the cells."""


def task_scores(task: Task, labels: NDArray[Any], prediction: NDArray[Any]) -> dict[str, float]:
    """Score one task; see :mod:`yoto_sc.metrics`.

    Parameters
    ----------
    task
        The task.
    labels
        Encoded labels of shape ``(n_obs,)``.
    prediction
        Class probabilities ``(n_obs, n_classes)`` or values ``(n_obs,)``.
    """
    if task.kind == "categorical":
        return classification_scores(labels, prediction)
    return regression_scores(labels, prediction)


def mean_score(
    tasks: Sequence[Task], labels: Sequence[NDArray[Any]], predictions: Sequence[NDArray[Any]]
) -> float:
    """Return the mean over tasks of macro-F1 or R²; NaN if no task has labels to judge by."""
    values = [
        task_scores(task, observed, prediction)[PATH_METRIC[task.kind]]
        for task, observed, prediction in zip(tasks, labels, predictions, strict=True)
    ]
    defined = [value for value in values if np.isfinite(value)]
    return float(np.mean(defined)) if defined else float("nan")


def standard_error(
    task: Task, labels: NDArray[Any], prediction: NDArray[Any], rng: np.random.Generator
) -> float:
    """Return the standard error of a task's macro-F1 or R², over bootstrap samples of the cells.

    Parameters
    ----------
    task
        The task.
    labels
        Encoded labels of shape ``(n_obs,)``.
    prediction
        Class probabilities ``(n_obs, n_classes)`` or values ``(n_obs,)``.
    rng
        Source of randomness.

    Returns
    -------
    The standard error; NaN where the score is.
    """
    seen = task.observed(labels)
    if not seen.any():
        return float("nan")
    if task.kind == "categorical":
        counts = confusion_counts(labels[seen], prediction[seen].argmax(1), task.n_outputs)
        samples = _resampled_macro_f1(counts, rng)
    else:
        samples = _resampled_r2(labels[seen], prediction[seen], rng)
    samples = samples[np.isfinite(samples)]
    return float(samples.std()) if len(samples) else float("nan")


def _resampled_macro_f1(counts: NDArray[np.int64], rng: np.random.Generator) -> NDArray[Any]:
    """Draw confusion counts anew: a sample of cells is no more to macro-F1 than these."""
    true, predicted = np.nonzero(counts)
    n_cells = counts.sum()
    drawn = rng.multinomial(n_cells, counts[true, predicted] / n_cells, size=N_BOOTSTRAPS)
    classes = np.arange(len(counts))
    n_true = drawn @ (true[:, None] == classes)
    n_predicted = drawn @ (predicted[:, None] == classes)
    hits = drawn @ ((true == predicted)[:, None] & (true[:, None] == classes))
    f1 = np.where(n_true > 0, 2 * hits / np.maximum(n_true + n_predicted, 1), np.nan)
    return np.asarray(np.nanmean(f1, axis=1))


def _resampled_r2(
    values: NDArray[Any], prediction: NDArray[Any], rng: np.random.Generator
) -> NDArray[Any]:
    """Draw cells anew, as the number of times that each is in the sample."""
    n_cells = len(values)
    drawn = rng.multinomial(n_cells, np.full(n_cells, 1 / n_cells), size=N_BOOTSTRAPS)
    centred = (values - values.mean()).astype(np.float64)
    spread = drawn @ centred**2 - (drawn @ centred) ** 2 / n_cells
    error = drawn @ (values.astype(np.float64) - prediction) ** 2
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(1 - error / spread)
