"""The panel as a table, and what each of its genes is for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from yoto_sc._panel import Panel
from yoto_sc.judge._scores import task_score
from yoto_sc.select import confusion_without

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from yoto_sc.data import Task
    from yoto_sc.judge._scores import Predictions

_TINY = 1e-12
_TIE = 1e-6
"""Shares that differ by less, relatively, are equal."""


def attribute(
    values: NDArray[np.float32],
    labels: Sequence[NDArray[Any]],
    tasks: Sequence[Task],
    told: NDArray[np.bool_],
    genes: Sequence[str],
    class_weight_power: float,
    batches: NDArray[np.intp] | None = None,
) -> pd.DataFrame:
    """Tell what each panel gene is for, by the criterion that the selection starts from.

    The task is the one whose term in the criterion rises most when the gene is left out. If it is
    categorical, the class is the one that owes most to the gene: the rise of the class's confusion
    with the others is the largest share of its rises over all genes. (Classes that are hard to
    tell lose most from any gene.) In a tie, no class is named: of two classes, both owe the same.

    The network's own losses would tell the same of cells that it has not seen. It has seen all,
    and remembers some of them.
    """
    by_task = np.zeros((len(genes), len(tasks)))
    categories = []
    for t, (task, observed_labels) in enumerate(zip(tasks, labels, strict=True)):
        target = task.target(observed_labels).within(batches)
        complete, without = confusion_without(
            values, target, class_weight_power=class_weight_power
        )
        by_task[:, t] = np.sqrt(without.mean(axis=0)) - np.sqrt(complete.mean())
        rises = without - complete[:, None]
        shares = rises / np.maximum(rises.sum(axis=1, keepdims=True), _TINY)
        points = np.array(task.points_told(observed_labels), dtype=object)
        categories.append(np.where(_is_tied(shares), "", points[shares.argmax(axis=0)]))
    by_task[:, ~told] = -np.inf
    best = by_task.argmax(axis=1)
    return pd.DataFrame(
        {
            "task": [tasks[t].name for t in best],
            "category": [categories[t][position] for position, t in enumerate(best)],
            "criterion_increase": by_task.max(axis=1),
        },
        index=pd.Index(list(genes), name="gene", dtype=object),
    ).astype({"task": object, "category": object})


def _is_tied(shares: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether no class, of ``(n_classes, n_genes)``, owes more to a gene than all others."""
    best = shares.max(axis=0)
    return np.asarray(((shares >= best - _TIE * np.abs(best)).sum(axis=0) > 1) | (best <= _TINY))


def without_table(
    tasks: Sequence[Task],
    labels: Sequence[NDArray[Any]],
    genes: Sequence[str],
    whole: Predictions,
    without: Iterable[Predictions],
) -> pd.DataFrame:
    """Return by how much the score of every task falls with one panel gene unmeasured.

    Parameters
    ----------
    tasks, labels
        What is judged, and the labels of the cells.
    genes
        Names of the panel's genes.
    whole
        Predictions from all genes.
    without
        Predictions without each of them, in their order.
    """

    def scores(predictions: Predictions) -> list[float]:
        return [
            task_score(task, observed, prediction)
            for task, observed, prediction in zip(tasks, labels, predictions, strict=True)
        ]

    before = scores(whole)
    rows = [
        (gene, task.name, task.metric, score - left)
        for gene, predictions in zip(genes, without, strict=True)
        for task, score, left in zip(tasks, before, scores(predictions), strict=True)
    ]
    return pd.DataFrame(rows, columns=["gene", "task", "metric", "loss"])


def panel_table(
    var_names: pd.Index,
    ranking: NDArray[np.intp],
    n_genes: int,
    attribution: pd.DataFrame,
    required: NDArray[np.bool_],
) -> Panel:
    """Assemble the panel; genes that it had to hold are marked, if there are any.

    The score falls with the logarithm of the rank, from 1 for the first gene to near 0 for the
    last, on the scale on which a panel shrinks geometrically; it is 0 for genes that were no
    candidates.
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
    if required.any():
        table["imposed"] = required
    return Panel(table)
