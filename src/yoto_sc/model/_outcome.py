"""From a finished training to its record: held-out scores, the path, and what genes are for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
import torch

from yoto_sc._panel import Panel
from yoto_sc.metrics import classification_scores, confusion_counts, regression_scores
from yoto_sc.model._fields import task_key
from yoto_sc.model._module import X_KEY
from yoto_sc.model._selection import Selection

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from yoto_sc._tasks import Task
    from yoto_sc.model._data import Cells, SelectionData, Tensors
    from yoto_sc.model._module import YOTOModule
    from yoto_sc.model._plan import SelectionTrainingPlan

    Predictions = Sequence[NDArray[Any]]

PATH_METRIC = {"categorical": "macro_f1", "continuous": "r2"}
"""The score that stands for a task of each kind along the path."""
_N_PATH_SIZES = 20
_N_BOOTSTRAPS = 200
_ATTRIBUTION_CELLS = 2000


def summarize(
    plan: SelectionTrainingPlan,
    data: SelectionData,
    tasks: Sequence[Task],
    var_names: pd.Index,
    ranking: NDArray[np.intp],
    *,
    is_counts: bool,
    n_genes: int | Literal["auto"],
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
    is_counts
        Whether expression is counts.
    n_genes
        Size of the panel, or ``"auto"``.
    rng
        Source of randomness.
    """
    module, n_trained = plan.module, plan.module.n_genes
    held_out, train = data.validation.everything(), data.train.everything()
    labels = _labels(held_out, tasks)
    predictions: dict[int, Predictions] = {
        size: [p.cpu().numpy() for p in module.predict(held_out[X_KEY], size)[0]]
        for size in path_sizes(n_trained)
    }
    if n_genes == "auto":
        n_genes = choose_size(tasks, labels, predictions, rng)
    on_the_way = [shot for shot in plan.snapshots if shot.n_genes > n_trained]
    along_path = {
        **predictions,
        **{shot.n_genes: shot.predictions for shot in on_the_way},
    }
    attribution = attribute(module, data.train, tasks, list(var_names[ranking[:n_genes]]), rng)
    return Selection(
        panel=panel_table(var_names, ranking, n_genes, attribution),
        n_trained=n_trained,
        is_counts=is_counts,
        tasks=tasks_table(tasks, _labels(train, tasks), labels),
        metrics=metrics_table(tasks, labels, predictions[n_genes]),
        path=path_table(tasks, labels, along_path),
        history=plan.history,
        confusion=confusion_table(tasks, labels, predictions[n_genes]),
        attribution=attribution,
    )


def path_sizes(largest: int) -> list[int]:
    """Return about 20 panel sizes from 1 to `largest`, log-spaced, both included."""
    return sorted(set(np.geomspace(1, largest, _N_PATH_SIZES).round().astype(int).tolist()))


def path_table(
    tasks: Sequence[Task], labels: Predictions, predictions: dict[int, Predictions]
) -> pd.DataFrame:
    """Return one row for each panel size, largest first, and task."""
    rows = [
        (size, task.name, PATH_METRIC[task.kind], task_scores(task, observed, prediction))
        for size in sorted(predictions, reverse=True)
        for task, observed, prediction in zip(tasks, labels, predictions[size], strict=True)
    ]
    return pd.DataFrame(
        [(size, name, metric, scores[metric]) for size, name, metric, scores in rows],
        columns=["n_genes", "task", "metric", "score"],
    )


def task_scores(task: Task, labels: NDArray[Any], prediction: NDArray[Any]) -> dict[str, float]:
    """Score one task; see :mod:`yoto_sc.metrics`."""
    if task.kind == "categorical":
        return classification_scores(labels, prediction)
    return regression_scores(labels, prediction)


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
        values = [
            task_scores(task, observed[cells], prediction[cells])[PATH_METRIC[task.kind]]
            for task, observed, prediction in zip(tasks, labels, predictions[size], strict=True)
        ]
        return float(np.nanmean(values)) if not np.isnan(values).all() else -np.inf

    n_cells = len(labels[0])
    scores = {size: score(size, np.arange(n_cells)) for size in sorted(predictions)}
    best = max(scores, key=lambda size: scores[size])
    samples = (rng.integers(n_cells, size=n_cells) for _ in range(_N_BOOTSTRAPS))
    error = float(np.std([score(best, cells) for cells in samples]))
    return next(size for size, value in scores.items() if value >= scores[best] - error)


@torch.inference_mode()
def attribute(
    module: YOTOModule, cells: Cells, tasks: Sequence[Task], genes: Sequence[str], rng: Any
) -> pd.DataFrame:
    """Tell what each panel gene is for: where the loss rises most when it is left out.

    Of every task the rise of the mean loss is taken, relative to that of a constant guess; of the
    worst hit categorical task, the class whose cells lose most. Measured on at most 2,000 training
    cells, as classes of few cells have fewer still among the held-out ones.

    Parameters
    ----------
    module
        The network, narrowed in rank order.
    cells
        The training cells.
    tasks
        The tasks.
    genes
        Var names of the panel, by rank.
    rng
        Source of randomness, for the choice of cells.
    """
    chosen = np.arange(len(cells))
    if len(cells) > _ATTRIBUTION_CELLS:
        chosen = np.sort(rng.choice(chosen, _ATTRIBUTION_CELLS, replace=False))
    batch = cells.batch(chosen)
    whole = module.prefix_mask(len(genes))
    baseline = module.cell_losses(batch, whole)
    rows = []
    for position in range(len(genes)):
        mask = whole.clone()
        mask[position] = 0
        increases = [
            (without - with_).double().cpu().numpy()
            for without, with_ in zip(module.cell_losses(batch, mask), baseline, strict=True)
        ]
        means = [float(rise[~np.isnan(rise)].mean()) for rise in increases]
        worst = int(np.argmax(means))
        rows.append(
            {
                "task": tasks[worst].name,
                "category": _worst_class(tasks[worst], increases[worst], batch, worst),
                "loss_increase": means[worst],
            }
        )
    index = pd.Index(list(genes), name="gene", dtype=object)
    return pd.DataFrame(rows, index=index)


def panel_table(
    var_names: pd.Index, ranking: NDArray[np.intp], n_genes: int, attribution: pd.DataFrame
) -> Panel:
    """Assemble the panel.

    The panel shrinks geometrically, so the score of a gene is the share of the shrinking that it
    lasted: 1 for the gene that is left alone, near 0 for those that go first, 0 for those that
    were no candidates.

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


def _labels(batch: Tensors, tasks: Sequence[Task]) -> list[NDArray[Any]]:
    return [batch[task_key(position)].numpy() for position in range(len(tasks))]


def _task_index(tasks: Sequence[Task]) -> pd.Index:
    return pd.Index([task.name for task in tasks], name="task", dtype=object)


def _worst_class(task: Task, increase: NDArray[Any], batch: Tensors, position: int) -> str:
    if task.kind != "categorical":
        return ""
    codes = batch[task_key(position)].numpy()
    means = [
        increase[codes == code].mean() if (codes == code).any() else -np.inf
        for code in range(task.n_outputs)
    ]
    return str(task.categories[int(np.argmax(means))])
