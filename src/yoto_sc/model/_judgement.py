"""How a finished training does on cells it has not seen: scores, and the path."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from yoto_sc.metrics import classification_scores, confusion_counts, regression_scores
from yoto_sc.model._data import labels_of
from yoto_sc.model._module import X_KEY
from yoto_sc.model._ridge_path import ridge_path
from yoto_sc.model._scores import (
    N_BOOTSTRAPS,
    PATH_METRIC,
    mean_score,
    standard_error,
    task_scores,
)
from yoto_sc.model._splits import at_most
from yoto_sc.model._temperature import set_temperatures

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import scipy.sparse as sp
    from numpy.typing import NDArray

    from yoto_sc._expression import Expression
    from yoto_sc._tasks import Task
    from yoto_sc.model._training import Trained

    Predictions = Sequence[NDArray[Any]]
    PathRow = tuple[int, str, str, float, float, Literal["network", "ridge"]]

_N_PATH_SIZES, _N_LARGER_SIZES = 20, 10
"""Sizes on the path up to the network's, and of those above it."""
_RIDGE_CELLS = 1200
"""Above the network's size, at most so many cells are learned from, and as many judged on."""


@dataclass(frozen=True)
class Judgement:
    """How a training did on its held-out cells.

    Parameters
    ----------
    n_genes
        Size of the panel.
    predictions
        Predictions from the panel of that size, for each task: class probabilities
        ``(n_held_out, n_classes)`` or values ``(n_held_out,)``.
    tasks, metrics, path, history, confusion
        Tables; see :class:`~yoto_sc.model._selection.Selection`.
    """

    n_genes: int
    predictions: Predictions
    tasks: pd.DataFrame
    metrics: pd.DataFrame
    path: pd.DataFrame
    history: pd.DataFrame
    confusion: pd.DataFrame

    def predictions_table(self, tasks: Sequence[Task], names: pd.Index) -> pd.DataFrame:
        """Return the predictions as labels and values, one column for each task.

        Parameters
        ----------
        tasks
            The tasks.
        names
            Obs names of the held-out cells.
        """
        return pd.DataFrame(
            {
                task.name: task.decode(values.argmax(1)) if task.kind == "categorical" else values
                for task, values in zip(tasks, self.predictions, strict=True)
            },
            index=names,
        )


def judge(
    trained: Trained,
    tasks: Sequence[Task],
    expression: Expression,
    n_genes: int | Literal["auto"],
    smallest: int,
    rng: np.random.Generator,
) -> Judgement:
    """Calibrate a finished training, and judge it.

    Both are done on the held-out cells; one temperature for each task and size is too little to
    fit them closely.

    Parameters
    ----------
    trained
        The training.
    tasks
        The tasks.
    expression
        Expression of all cells and genes.
    n_genes
        Size of the panel, or ``"auto"``.
    smallest
        Smallest size that ``"auto"`` may choose.
    rng
        Source of randomness.
    """
    module, data = trained.plan.module, trained.data
    held_out = data.validation.everything()
    train_labels = [array.numpy() for array in data.train.labels.values()]
    labels = labels_of(held_out, tasks)
    sizes = path_sizes(module.n_genes, smallest)
    set_temperatures(module, held_out, sizes, rng)
    predictions: dict[int, Predictions] = {
        size: [p.cpu().numpy() for p in module.predict(held_out[X_KEY], size)[0]] for size in sizes
    }
    if n_genes == "auto":
        eligible = {size: shot for size, shot in predictions.items() if size >= smallest}
        n_genes = choose_size(tasks, labels, eligible, rng)
    larger = larger_sizes(trained, tasks, expression, rng)
    return Judgement(
        n_genes=n_genes,
        predictions=predictions[n_genes],
        tasks=tasks_table(tasks, train_labels, labels),
        metrics=metrics_table(tasks, labels, predictions[n_genes]),
        path=path_table(larger + path_rows(tasks, labels, predictions, "network", rng)),
        history=trained.plan.history,
        confusion=confusion_table(tasks, labels, predictions[n_genes]),
    )


def path_sizes(largest: int, smallest: int = 1) -> list[int]:
    """Return about 20 log-spaced sizes up to `largest`, with both ends and powers of two."""
    sizes = np.geomspace(1, largest, _N_PATH_SIZES).round().astype(int)
    powers = 2 ** np.arange(largest.bit_length())
    return sorted({*sizes.tolist(), *powers.tolist(), smallest})


def larger_sizes(
    trained: Trained, tasks: Sequence[Task], expression: Expression, rng: np.random.Generator
) -> list[PathRow]:
    """Return the path's rows for more genes than the network reads, up to all ranked ones.

    Parameters
    ----------
    trained, tasks, expression, rng
        See `judge`.
    """
    module, data, split, ranking = (
        trained.plan.module,
        trained.data,
        trained.split,
        trained.ranking,
    )
    n_trained = module.n_genes
    sizes = np.geomspace(n_trained, len(ranking), _N_LARGER_SIZES + 1)[1:].round().astype(int)
    learned = at_most(_RIDGE_CELLS, np.arange(len(split.train)), rng)
    judged = at_most(_RIDGE_CELLS, np.arange(len(split.validation)), rng)
    predictions = ridge_path(
        _rows(expression, split.train[learned], ranking),
        [array.numpy()[learned] for array in data.train.labels.values()],
        _rows(expression, split.validation[judged], ranking),
        tasks,
        sorted(set(sizes[sizes > n_trained].tolist())),
        module.class_weight_power,
    )
    labels = [array.numpy()[judged] for array in data.validation.labels.values()]
    return path_rows(tasks, labels, predictions, "ridge", rng)


def path_rows(
    tasks: Sequence[Task],
    labels: Predictions,
    predictions: Mapping[int, Predictions],
    predictor: Literal["network", "ridge"],
    rng: np.random.Generator,
) -> list[PathRow]:
    """Return one row for each panel size, largest first, and task."""
    rows: list[PathRow] = []
    for size in sorted(predictions, reverse=True):
        for task, observed, prediction in zip(tasks, labels, predictions[size], strict=True):
            metric = PATH_METRIC[task.kind]
            score = task_scores(task, observed, prediction)[metric]
            error = standard_error(task, observed, prediction, rng)
            rows.append((size, task.name, metric, score, error, predictor))
    return rows


def path_table(rows: Sequence[PathRow]) -> pd.DataFrame:
    """Return `path_rows` as a table."""
    columns = ["n_genes", "task", "metric", "score", "standard_error", "predictor"]
    return pd.DataFrame(rows, columns=columns)


def metrics_table(
    tasks: Sequence[Task], labels: Predictions, predictions: Predictions
) -> pd.DataFrame:
    """Return all scores on the held-out cells, one row for each task."""
    rows = [
        {"n_cells": int(task.observed(observed).sum()), **task_scores(task, observed, prediction)}
        for task, observed, prediction in zip(tasks, labels, predictions, strict=True)
    ]
    columns = [
        "n_cells",
        *classification_scores(np.array([-1]), np.ones((1, 1))),
        *regression_scores(np.array([np.nan]), np.zeros(1)),
    ]
    return pd.DataFrame(rows, index=_task_index(tasks), columns=columns)


def tasks_table(tasks: Sequence[Task], train: Predictions, held_out: Predictions) -> pd.DataFrame:
    """Return what each task is and how many cells have a label, one row for each task."""
    rows = []
    for task, seen, unseen in zip(tasks, train, held_out, strict=True):
        n_train, n_held_out = int(task.observed(seen).sum()), int(task.observed(unseen).sum())
        rows.append(
            {
                "kind": task.kind,
                "n_categories": len(task.categories),
                "n_observed": n_train + n_held_out,
                "n_train": n_train,
                "n_validation": n_held_out,
            }
        )
    return pd.DataFrame(rows, index=_task_index(tasks))


def confusion_table(
    tasks: Sequence[Task], labels: Predictions, predictions: Predictions
) -> pd.DataFrame:
    """Count held-out cells by observed and predicted class, one row for each pair that occurs."""
    rows = []
    for task, observed, prediction in zip(tasks, labels, predictions, strict=True):
        if task.kind != "categorical" or not len(observed):
            continue
        counts = confusion_counts(observed, prediction.argmax(1), task.n_outputs)
        rows += [
            (task.name, str(task.categories[i]), str(task.categories[j]), int(counts[i, j]))
            for i, j in zip(*np.nonzero(counts), strict=True)
        ]
    return pd.DataFrame(rows, columns=["task", "observed", "predicted", "n_cells"]).astype(
        {"task": object, "observed": object, "predicted": object, "n_cells": np.int64}
    )


def choose_size(
    tasks: Sequence[Task],
    labels: Predictions,
    predictions: dict[int, Predictions],
    rng: np.random.Generator,
) -> int:
    """Return the smallest size within one standard error of the best.

    The score of a size is the mean over tasks of the macro-F1 or R² on the held-out cells; its
    standard error is that of the best size, over bootstrap samples of these cells.

    Parameters
    ----------
    tasks, labels
        Tasks and their held-out labels.
    predictions
        Held-out predictions of every task, by panel size.
    rng
        Source of randomness.
    """

    def score(size: int, cells: NDArray[np.intp]) -> float:
        return mean_score(
            tasks, [array[cells] for array in labels], [p[cells] for p in predictions[size]]
        )

    n_cells = len(labels[0])
    scores = {size: score(size, np.arange(n_cells)) for size in sorted(predictions)}
    judged = [size for size, value in scores.items() if np.isfinite(value)]
    if not judged:
        return max(scores)
    best = max(judged, key=lambda size: scores[size])
    samples = [score(best, rng.integers(n_cells, size=n_cells)) for _ in range(N_BOOTSTRAPS)]
    defined = [value for value in samples if np.isfinite(value)]
    error = float(np.std(defined)) if defined else 0.0
    return next(size for size in judged if scores[size] >= scores[best] - error)


def _task_index(tasks: Sequence[Task]) -> pd.Index:
    return pd.Index([task.name for task in tasks], name="task", dtype=object)


def _rows(
    expression: Expression, cells: NDArray[np.intp], genes: NDArray[np.intp]
) -> sp.csr_matrix:
    """Expression of some cells and genes on the model's scale."""
    return replace(expression, matrix=expression.matrix[cells]).on_model_scale(genes)
