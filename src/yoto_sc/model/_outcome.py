"""From a finished training to its record: the panel, and what its genes are for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

from yoto_sc._panel import Panel
from yoto_sc.model._data import labels_of
from yoto_sc.model._module import X_KEY
from yoto_sc.model._scores import PATH_METRIC, task_scores
from yoto_sc.model._selection import Selection
from yoto_sc.model._splits import at_most
from yoto_sc.select import confusion_without

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from yoto_sc._expression import Expression
    from yoto_sc._tasks import Task
    from yoto_sc.model._data import Tensors
    from yoto_sc.model._judgement import Judgement
    from yoto_sc.model._module import YOTOModule
    from yoto_sc.model._training import Trained

    Predictions = Sequence[NDArray[Any]]

_JUDGED_CELLS = 2000
"""Where no cell is held out, losses are taken on at most this many training cells."""
_TINY = 1e-12


def describe(
    trained: Trained,
    judgement: Judgement,
    tasks: Sequence[Task],
    var_names: pd.Index,
    expression: Expression,
    rng: np.random.Generator,
) -> Selection:
    """Write down the panel of a finished training, and what its genes are for.

    Parameters
    ----------
    trained
        The training that the panel is taken from.
    judgement
        How it, or one like it on fewer cells, did on held-out cells.
    tasks
        The tasks.
    var_names
        Names of all genes.
    expression
        Expression of all cells and genes.
    rng
        Source of randomness.
    """
    module, data, n_genes = trained.plan.module, trained.data, judgement.n_genes
    genes = list(var_names[trained.ranking[:n_genes]])
    values, labels = data.sample()
    attribution = attribute(
        values[:, :n_genes], labels, tasks, trained.plan.told, genes, module.class_weight_power
    )
    if len(data.validation):
        judged = data.validation.everything()
    else:
        judged = data.train.batch(at_most(_JUDGED_CELLS, np.arange(len(data.train)), rng))
    return Selection(
        panel=panel_table(var_names, trained.ranking, n_genes, attribution),
        n_trained=module.n_genes,
        is_counts=expression.is_counts,
        from_raw=expression.source == "raw",
        tasks=judgement.tasks,
        metrics=judgement.metrics,
        path=judgement.path,
        history=judgement.history,
        confusion=judgement.confusion,
        attribution=attribution,
        without=without_table(module, judged, tasks, genes),
    )


def attribute(
    values: NDArray[np.float32],
    labels: Sequence[NDArray[Any]],
    tasks: Sequence[Task],
    told: NDArray[np.bool_],
    genes: Sequence[str],
    class_weight_power: float,
) -> pd.DataFrame:
    """Tell what each panel gene is for, by the criterion that the selection starts from.

    The task is the one whose term in the criterion rises most when the gene is left out. If it is
    categorical, the class is the one that owes most to the gene: the rise of the class's confusion
    with the others is the largest share of its rises over all genes. (Classes that are hard to
    tell lose most from any gene.)

    The network's own losses would tell the same of cells that it has not seen. It has seen all,
    and remembers some of them.

    Parameters
    ----------
    values
        Expression of the panel's genes, by rank, shape ``(n_obs, n_genes)``.
    labels
        One encoded array of shape ``(n_obs,)`` for each task.
    tasks
        The tasks.
    told
        Those among which to choose, shape ``(n_tasks,)``.
    genes
        Var names of the panel, by rank.
    class_weight_power
        As in :func:`yoto_sc.select.stepwise_order`.
    """
    by_task = np.zeros((len(genes), len(tasks)))
    categories = []
    for t, (task, observed_labels) in enumerate(zip(tasks, labels, strict=True)):
        complete, without = confusion_without(
            values, observed_labels, class_weight_power=class_weight_power
        )
        by_task[:, t] = np.sqrt(without.mean(axis=0)) - np.sqrt(complete.mean())
        rises = without - complete[:, None]
        shares = rises / np.maximum(rises.sum(axis=1, keepdims=True), _TINY)
        categories.append(_names(task, observed_labels)[shares.argmax(axis=0)])
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


def without_table(
    module: YOTOModule, cells: Tensors, tasks: Sequence[Task], genes: Sequence[str]
) -> pd.DataFrame:
    """Return by how much the score of every task falls with one panel gene unmeasured.

    Parameters
    ----------
    module
        The network, narrowed in rank order.
    cells
        Cells to judge on; training cells, if the network learned from all.
    tasks
        The tasks.
    genes
        Var names of the panel, by rank.
    """
    labels = labels_of(cells, tasks)

    def scores(measured: torch.Tensor | None) -> list[float]:
        predictions, _ = module.predict(cells[X_KEY], len(genes), measured)
        return [
            task_scores(task, observed, prediction.cpu().numpy())[PATH_METRIC[task.kind]]
            for task, observed, prediction in zip(tasks, labels, predictions, strict=True)
        ]

    whole = scores(None)
    positions = torch.arange(len(genes), device=module.device)
    rows = [
        (gene, task.name, PATH_METRIC[task.kind], before - after)
        for position, gene in enumerate(genes)
        for task, before, after in zip(tasks, whole, scores(positions != position), strict=True)
    ]
    return pd.DataFrame(rows, columns=["gene", "task", "metric", "loss"])


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


def _names(task: Task, labels: NDArray[Any]) -> NDArray[np.object_]:
    """Return the names of the classes that occur; of a number, two empty ones."""
    if task.kind == "continuous":
        return np.array(["", ""], dtype=object)
    return np.array(
        [str(task.categories[code]) for code in np.unique(labels[labels >= 0])], object
    )
