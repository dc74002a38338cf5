"""Scores of predictions, by task."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from yoto_sc.metrics import classification_scores, regression_scores

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from yoto_sc._tasks import Task

PATH_METRIC = {"categorical": "macro_f1", "continuous": "r2"}
"""The score that stands for a task of each kind where there is room for one."""


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
