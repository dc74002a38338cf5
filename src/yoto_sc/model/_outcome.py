"""From a finished training to its record: held-out scores, the path, and what genes are for."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
import torch

from yoto_sc._panel import Panel
from yoto_sc.metrics import classification_scores, confusion_counts, regression_scores
from yoto_sc.model._fields import task_key
from yoto_sc.model._module import X_KEY
from yoto_sc.model._ridge_path import ridge_path
from yoto_sc.model._scores import PATH_METRIC, mean_score, task_scores
from yoto_sc.model._selection import Selection
from yoto_sc.model._splits import at_most

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import scipy.sparse as sp
    from numpy.typing import NDArray

    from yoto_sc._expression import Expression
    from yoto_sc._tasks import Task
    from yoto_sc.model._data import SelectionData, Tensors
    from yoto_sc.model._module import YOTOModule
    from yoto_sc.model._plan import SelectionTrainingPlan
    from yoto_sc.model._splits import Split

    Predictions = Sequence[NDArray[Any]]
    PathRow = tuple[int, str, str, float, Literal["network", "ridge"]]

_N_PATH_SIZES, _N_LARGER_SIZES = 20, 10
"""Sizes on the path up to the network's, and of those above it."""
_RIDGE_CELLS = 1200
"""Above the network's size, at most so many cells are learned from, and as many judged on."""
_N_BOOTSTRAPS = 200
_ATTRIBUTION_CELLS = 2000
"""What genes are for is told from at most this many training cells."""


def summarize(
    plan: SelectionTrainingPlan,
    data: SelectionData,
    tasks: Sequence[Task],
    var_names: pd.Index,
    ranking: NDArray[np.intp],
    expression: Expression,
    split: Split,
    *,
    n_genes: int | Literal["auto"],
    smallest: int,
    rng: np.random.Generator,
) -> Selection:
    """Judge a finished training on the held-out cells and write down all there is to know.

    Parameters
    ----------
    plan, data
        The training, over, and its cells; both narrowed to the trained genes in rank order.
    tasks
        The tasks.
    var_names
        Names of all genes.
    ranking
        Indices of the ranked genes, best first.
    expression
        Expression of all cells and genes.
    split
        Training and held-out cells.
    n_genes
        Size of the panel, or ``"auto"``.
    smallest
        Smallest size that ``"auto"`` may choose.
    rng
        Source of randomness.
    """
    module, n_trained = plan.module, plan.module.n_genes
    held_out = data.validation.everything()
    train_labels = [array.numpy() for array in data.train.labels.values()]
    labels = _labels(held_out, tasks)
    predictions: dict[int, Predictions] = {
        size: [p.cpu().numpy() for p in module.predict(held_out[X_KEY], size)[0]]
        for size in path_sizes(n_trained, smallest)
    }
    if n_genes == "auto":
        eligible = {size: shot for size, shot in predictions.items() if size >= smallest}
        n_genes = choose_size(tasks, labels, eligible, rng)
    shown = at_most(_ATTRIBUTION_CELLS, np.arange(len(data.train)), rng)
    genes = list(var_names[ranking[:n_genes]])
    attribution = attribute(module, data.train.batch(shown), held_out, tasks, genes)
    larger = larger_sizes(plan, data, tasks, ranking, expression, split, rng)
    return Selection(
        panel=panel_table(var_names, ranking, n_genes, attribution),
        n_trained=n_trained,
        is_counts=expression.is_counts,
        from_raw=expression.source == "raw",
        tasks=tasks_table(tasks, train_labels, labels),
        metrics=metrics_table(tasks, labels, predictions[n_genes]),
        path=path_table(larger + path_rows(tasks, labels, predictions, "network")),
        history=plan.history,
        confusion=confusion_table(tasks, labels, predictions[n_genes]),
        attribution=attribution,
    )


def path_sizes(largest: int, smallest: int = 1) -> list[int]:
    """Return about 20 log-spaced panel sizes from 1 to `largest`, with both and `smallest`."""
    sizes = np.geomspace(1, largest, _N_PATH_SIZES).round().astype(int)
    return sorted({*sizes.tolist(), smallest})


def larger_sizes(
    plan: SelectionTrainingPlan,
    data: SelectionData,
    tasks: Sequence[Task],
    ranking: NDArray[np.intp],
    expression: Expression,
    split: Split,
    rng: np.random.Generator,
) -> list[PathRow]:
    """Return the path's rows for more genes than the network reads, up to all ranked ones.

    Parameters
    ----------
    plan, data, tasks, ranking, expression, split, rng
        See `summarize`.
    """
    n_trained = plan.module.n_genes
    sizes = np.geomspace(n_trained, len(ranking), _N_LARGER_SIZES + 1)[1:].round().astype(int)
    learned = at_most(_RIDGE_CELLS, np.arange(len(split.train)), rng)
    judged = at_most(_RIDGE_CELLS, np.arange(len(split.validation)), rng)
    predictions = ridge_path(
        _rows(expression, split.train[learned], ranking),
        [array.numpy()[learned] for array in data.train.labels.values()],
        _rows(expression, split.validation[judged], ranking),
        tasks,
        sorted(set(sizes[sizes > n_trained].tolist())),
        plan.module.class_weight_power,
    )
    labels = [array.numpy()[judged] for array in data.validation.labels.values()]
    return path_rows(tasks, labels, predictions, "ridge")


def path_rows(
    tasks: Sequence[Task],
    labels: Predictions,
    predictions: Mapping[int, Predictions],
    predictor: Literal["network", "ridge"],
) -> list[PathRow]:
    """Return one row for each panel size, largest first, and task."""
    rows: list[PathRow] = []
    for size in sorted(predictions, reverse=True):
        for task, observed, prediction in zip(tasks, labels, predictions[size], strict=True):
            metric = PATH_METRIC[task.kind]
            score = task_scores(task, observed, prediction)[metric]
            rows.append((size, task.name, metric, score, predictor))
    return rows


def path_table(rows: Sequence[PathRow]) -> pd.DataFrame:
    """Return `path_rows` as a table."""
    return pd.DataFrame(rows, columns=["n_genes", "task", "metric", "score", "predictor"])


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
    samples = [score(best, rng.integers(n_cells, size=n_cells)) for _ in range(_N_BOOTSTRAPS)]
    defined = [value for value in samples if np.isfinite(value)]
    error = float(np.std(defined)) if defined else 0.0
    return next(size for size in judged if scores[size] >= scores[best] - error)


@torch.inference_mode()
def attribute(
    module: YOTOModule,
    train: Tensors,
    held_out: Tensors,
    tasks: Sequence[Task],
    genes: Sequence[str],
) -> pd.DataFrame:
    """Tell what each panel gene is for: where the loss rises most when it is left out.

    The task is the one whose mean loss on held-out cells, relative to that of a constant guess,
    rises most. If it is categorical, the class is the one whose training cells lose most; rare
    classes have too few held-out cells to tell.

    Parameters
    ----------
    module
        The network, narrowed in rank order.
    train, held_out
        Cells. Without labels among the held-out ones, training cells stand in for them.
    tasks
        The tasks.
    genes
        Var names of the panel, by rank.
    """
    whole = module.prefix_mask(len(genes))
    base_train = module.cell_losses(train, whole)
    base_held_out = module.cell_losses(held_out, whole)
    rows = []
    for position in range(len(genes)):
        mask = whole.clone()
        mask[position] = 0
        on_train = _rises(module.cell_losses(train, mask), base_train)
        on_held_out = _rises(module.cell_losses(held_out, mask), base_held_out)
        means = [
            _mean(rise, otherwise=_mean(stand_in))
            for rise, stand_in in zip(on_held_out, on_train, strict=True)
        ]
        worst = int(np.argmax(means))
        category = ""
        if tasks[worst].kind == "categorical":
            codes = train[task_key(worst)].numpy()
            by_class = [
                _mean(on_train[worst][codes == code], otherwise=-np.inf)
                for code in range(tasks[worst].n_outputs)
            ]
            category = str(tasks[worst].categories[int(np.argmax(by_class))])
        rows.append((tasks[worst].name, category, means[worst]))
    index = pd.Index(list(genes), name="gene", dtype=object)
    return pd.DataFrame(rows, columns=["task", "category", "loss_increase"], index=index)


def panel_table(
    var_names: pd.Index, ranking: NDArray[np.intp], n_genes: int, attribution: pd.DataFrame
) -> Panel:
    """Assemble the panel.

    The score falls with the logarithm of the rank, from 1 for the first gene to near 0 for the
    last, on the scale on which a panel shrinks geometrically; it is 0 for genes that were no
    candidates.

    Parameters
    ----------
    var_names
        Names of all genes.
    ranking
        Indices of the ranked genes, best first.
    n_genes
        Size of the panel.
    attribution
        What `attribute` returned.
    """
    ranks = pd.array([pd.NA] * len(var_names), dtype="Int64")
    ranks[ranking] = np.arange(1, len(ranking) + 1)
    scores = np.zeros(len(var_names), dtype=np.float32)
    scores[ranking] = 1 - np.log(np.arange(1, len(ranking) + 1)) / np.log(len(ranking) + 1)
    table = pd.DataFrame({"rank": ranks, "score": scores}, index=var_names)
    table["selected"] = False
    table.loc[var_names[ranking[:n_genes]], "selected"] = True
    for column in ("task", "category"):
        table[column] = attribution[column].reindex(var_names)
    return Panel(table)


def _rows(
    expression: Expression, cells: NDArray[np.intp], genes: NDArray[np.intp]
) -> sp.csr_matrix:
    """Expression of some cells and genes on the model's scale."""
    return replace(expression, matrix=expression.matrix[cells]).on_model_scale(genes)


def _labels(batch: Tensors, tasks: Sequence[Task]) -> list[NDArray[Any]]:
    return [batch[task_key(position)].numpy() for position in range(len(tasks))]


def _task_index(tasks: Sequence[Task]) -> pd.Index:
    return pd.Index([task.name for task in tasks], name="task", dtype=object)


def _rises(without: list[torch.Tensor], with_: list[torch.Tensor]) -> Predictions:
    """Return by how much the loss of each cell rises, for each task; NaN where unlabelled."""
    return [(a - b).double().cpu().numpy() for a, b in zip(without, with_, strict=True)]


def _mean(values: NDArray[Any], otherwise: float = 0.0) -> float:
    """Mean of the values that are not NaN."""
    values = values[~np.isnan(values)]
    return float(values.mean()) if len(values) else otherwise
