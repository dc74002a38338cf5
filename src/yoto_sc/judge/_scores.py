"""Scores of predictions, over all tasks, and how far they vary over samples of the cells."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from yoto_sc.metrics import bootstrap_weights, mean_of_defined, standard_deviation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from yoto_sc.data import Task

    Predictions = Sequence[NDArray[Any]]

N_BOOTSTRAPS = 200
"""A standard error is taken over so many bootstrap samples of the cells, or of their groups."""
_N_SHUFFLES, _ENOUGH_CELLS = 19, 30


def task_score(task: Task, labels: NDArray[Any], prediction: NDArray[Any]) -> float:
    """Return the score that stands for a task, macro-F1 or R²; NaN without labels to judge by."""
    return task.scores(labels, prediction)[task.metric]


def mean_score(
    tasks: Sequence[Task], labels: Sequence[NDArray[Any]], predictions: Predictions
) -> float:
    """Return the mean over tasks of macro-F1 or R²; NaN if no task has labels to judge by."""
    values = [
        task_score(task, observed, prediction)
        for task, observed, prediction in zip(tasks, labels, predictions, strict=True)
    ]
    defined = [value for value in values if np.isfinite(value)]
    return float(np.mean(defined)) if defined else float("nan")


def beyond_chance(
    tasks: Sequence[Task],
    labels: Sequence[NDArray[Any]],
    predictions: Predictions,
    rng: np.random.Generator,
) -> NDArray[np.bool_]:
    """Tell which predictions say more of held-out cells than the same ones dealt at random.

    A score has to be above those of 19 random orders, and R² above 0. Of few cells, it is not
    asked.

    Returns
    -------
    Shape ``(n_tasks,)``; `True` where it was not asked.
    """
    found = np.ones(len(tasks), dtype=bool)
    for position, (task, observed, prediction) in enumerate(
        zip(tasks, labels, predictions, strict=True)
    ):
        seen = np.flatnonzero(task.observed(observed))
        if len(seen) < _ENOUGH_CELLS:
            continue
        score = task_score(task, observed[seen], prediction[seen])
        by_chance = [
            task_score(task, observed[rng.permutation(seen)], prediction[seen])
            for _ in range(_N_SHUFFLES)
        ]
        least = max(by_chance) if task.categories else max(0.0, *by_chance)
        found[position] = not score <= least  # a score that is not defined says nothing
    return found


class Samples:
    """Bootstrap samples of held-out cells; where whole groups are held out, of these groups.

    Cells of one group resemble each other. To draw them one by one would promise more certainty
    about the next group than one group, or two, can give.

    Parameters
    ----------
    units
        What is drawn: the number of each cell itself, or of its group; shape ``(n_obs,)``.
    rng
        Source of randomness. All scores are taken on the same samples.
    """

    def __init__(self, units: NDArray[np.integer[Any]], rng: np.random.Generator) -> None:
        self._weights = bootstrap_weights(units, N_BOOTSTRAPS, rng)
        self._is_one = len(np.unique(units)) < 2

    def scores(
        self, task: Task, labels: NDArray[Any], prediction: NDArray[Any]
    ) -> NDArray[np.float64]:
        """Return macro-F1 or R² on each sample, ``(n_samples,)``; NaN where it is undefined."""
        seen = task.observed(labels)
        if self._is_one or not seen.any():  # of one unit, every sample is the same
            return np.full(N_BOOTSTRAPS, np.nan)
        return task.weighted_scores(labels[seen], prediction[seen], self._weights[:, seen])

    def standard_error(self, task: Task, labels: NDArray[Any], prediction: NDArray[Any]) -> float:
        """Return the standard deviation over the samples; NaN where the score is."""
        return standard_deviation(self.scores(task, labels, prediction))

    def standard_error_of_mean(
        self, tasks: Sequence[Task], labels: Sequence[NDArray[Any]], predictions: Predictions
    ) -> float:
        """Return the same for `mean_score`."""
        by_task = [
            self.scores(task, observed, prediction)
            for task, observed, prediction in zip(tasks, labels, predictions, strict=True)
        ]
        return standard_deviation(mean_of_defined(np.transpose(by_task)))
