"""Tables of what held-out cells say; one row for each task, or more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from yoto_sc.data import KINDS
from yoto_sc.judge._scores import task_score
from yoto_sc.metrics import REGRESSION_SCORES, standard_deviation

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from yoto_sc.data import Levels, Task
    from yoto_sc.judge._scores import Predictions, Samples

    PathRow = tuple[int, str, str, float, float, Literal["network", "ridge"]]


def path_rows(
    tasks: Sequence[Task],
    labels: Predictions,
    predictions: Mapping[int, Predictions],
    samples: Samples,
    predictor: Literal["network", "ridge"],
) -> list[PathRow]:
    """Return one row for each panel size, largest first, and task."""
    return [
        (
            size,
            task.name,
            task.metric,
            task_score(task, observed, prediction),
            samples.standard_error(task, observed, prediction),
            predictor,
        )
        for size in sorted(predictions, reverse=True)
        for task, observed, prediction in zip(tasks, labels, predictions[size], strict=True)
    ]


def base_table(
    tasks: Sequence[Task],
    labels: Predictions,
    predictions: Mapping[int, Predictions],
    samples: Samples,
    sizes: tuple[int, int] | None,
) -> pd.DataFrame:
    """Return what the first genes tell alone, and what more of them add.

    Tasks without held-out labels have no row.

    Parameters
    ----------
    sizes
        Numbers of the first genes, and of all; `None`: there are no such genes, and no rows.
    """
    if sizes is None:
        return pd.DataFrame(index=_task_index([]))
    rows = {}
    n_base, n_genes = sizes
    small, large = predictions[n_base], predictions[n_genes]
    for task, observed, alone, whole in zip(tasks, labels, small, large, strict=True):
        base, score = (task_score(task, observed, p) for p in (alone, whole))
        if np.isfinite(base) and np.isfinite(score):
            spread = samples.scores(task, observed, whole) - samples.scores(task, observed, alone)
            rows[task.name] = {
                "metric": task.metric,
                "n_base": n_base,
                "n_chosen": n_genes - n_base,
                "base_score": base,
                "score": score,
                "gain": score - base,
                "standard_error": standard_deviation(spread),
            }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(index="task")


def path_table(rows: Sequence[PathRow]) -> pd.DataFrame:
    """Return `path_rows` as a table."""
    columns = ["n_genes", "task", "metric", "score", "standard_error", "predictor"]
    return pd.DataFrame(rows, columns=columns)


def metrics_table(
    tasks: Sequence[Task], labels: Predictions, predictions: Predictions
) -> pd.DataFrame:
    """Return all scores on the held-out cells, one row for each task."""
    rows = [
        {"n_cells": int(task.observed(observed).sum()), **task.scores(observed, prediction)}
        for task, observed, prediction in zip(tasks, labels, predictions, strict=True)
    ]
    names = dict.fromkeys(name for kind in KINDS.values() for name in kind.score_names)
    for row, task, observed, prediction in zip(rows, tasks, labels, predictions, strict=True):
        structure = task.structure_scores(observed, prediction)
        row |= structure
        names |= structure
    return pd.DataFrame(rows, index=_task_index(tasks), columns=["n_cells", *names])


def tasks_table(
    tasks: Sequence[Task], train: Predictions, held_out: Predictions, levels: Levels
) -> pd.DataFrame:
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
    table = pd.DataFrame(rows, index=_task_index(tasks))
    return table.assign(level_of=levels.names(tasks)) if levels else table


def confusion_table(
    tasks: Sequence[Task], labels: Predictions, predictions: Predictions
) -> pd.DataFrame:
    """Count held-out cells by observed and predicted class, one row for each pair that occurs."""
    rows = [
        (task.name, *row)
        for task, observed, prediction in zip(tasks, labels, predictions, strict=True)
        for row in task.confusion(observed, prediction)
    ]
    return pd.DataFrame(rows, columns=["task", "observed", "predicted", "n_cells"]).astype(
        {"task": object, "observed": object, "predicted": object, "n_cells": np.int64}
    )


def columns_table(
    tasks: Sequence[Task], labels: Predictions, predictions: Predictions
) -> pd.DataFrame:
    """Return the scores of each column of vectors, on the held-out cells."""
    rows = [
        {"task": task.name, **row}
        for task, observed, prediction in zip(tasks, labels, predictions, strict=True)
        for row in task.column_scores(observed, prediction)
    ]
    columns = ["task", "column", *REGRESSION_SCORES]
    return pd.DataFrame(rows, columns=columns).astype({"task": object, "column": object})


def predictions_table(
    tasks: Sequence[Task], predictions: Sequence[NDArray[Any]], names: pd.Index
) -> pd.DataFrame:
    """Return predictions as labels and values, one column for each task or column of a vector."""
    columns: dict[str, Any] = {}
    for task, prediction in zip(tasks, predictions, strict=True):
        columns |= task.decoded(prediction)
    return pd.DataFrame(columns, index=names)


def _task_index(tasks: Sequence[Task]) -> pd.Index:
    return pd.Index([task.name for task in tasks], name="task", dtype=object)
