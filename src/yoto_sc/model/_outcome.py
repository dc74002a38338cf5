"""From a finished training to its record: the panel, and what its genes are for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

from yoto_sc._panel import Panel
from yoto_sc.model._data import labels_of
from yoto_sc.model._fields import task_key
from yoto_sc.model._module import X_KEY
from yoto_sc.model._scores import PATH_METRIC, task_scores
from yoto_sc.model._selection import Selection
from yoto_sc.model._splits import at_most

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

_ATTRIBUTION_CELLS = 2000
"""What genes are for is told from at most this many training cells."""
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
    shown = data.train.batch(at_most(_ATTRIBUTION_CELLS, np.arange(len(data.train)), rng))
    held_out = data.validation.everything() if len(data.validation) else shown
    genes = list(var_names[trained.ranking[:n_genes]])
    attribution = attribute(module, shown, held_out, tasks, genes)
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
        without=without_table(module, held_out, tasks, genes),
    )


@torch.inference_mode()
def attribute(
    module: YOTOModule,
    train: Tensors,
    held_out: Tensors,
    tasks: Sequence[Task],
    genes: Sequence[str],
) -> pd.DataFrame:
    """Tell what each panel gene is for: where the loss rises most when it is left out.

    The task is the one whose mean loss, relative to that of a constant guess, rises most: on
    held-out cells, or on training cells if the network learned from all. If it is categorical, the
    class is the one that owes most to the gene: the rise of the loss of its training cells is the
    largest share of its rises over all genes. (Classes that are hard to tell lose most from any
    gene.) Rare classes have too few held-out cells to tell.

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
    means = np.zeros((len(genes), len(tasks)))
    by_class = [np.zeros((len(genes), task.n_outputs)) for task in tasks]
    for position in range(len(genes)):
        mask = whole.clone()
        mask[position] = 0
        on_train = _rises(module.cell_losses(train, mask), base_train)
        on_held_out = _rises(module.cell_losses(held_out, mask), base_held_out)
        for t, task in enumerate(tasks):
            means[position, t] = _mean(on_held_out[t], otherwise=_mean(on_train[t]))
            if task.kind == "categorical":
                codes = train[task_key(t)].numpy()
                by_class[t][position] = [
                    max(_mean(on_train[t][codes == code]), 0.0) for code in range(task.n_outputs)
                ]
    shares = [rises / np.maximum(rises.sum(axis=0), _TINY) for rises in by_class]
    rows = []
    for position, t in enumerate(means.argmax(axis=1)):
        best = int(shares[t][position].argmax())
        category = str(tasks[t].categories[best]) if tasks[t].kind == "categorical" else ""
        rows.append((tasks[t].name, category, means[position, t]))
    index = pd.Index(list(genes), name="gene", dtype=object)
    return pd.DataFrame(rows, columns=["task", "category", "loss_increase"], index=index)


def without_table(
    module: YOTOModule, held_out: Tensors, tasks: Sequence[Task], genes: Sequence[str]
) -> pd.DataFrame:
    """Return by how much the score of every task falls with one panel gene unmeasured.

    Parameters
    ----------
    module
        The network, narrowed in rank order.
    held_out
        Cells to judge on; training cells, if the network learned from all.
    tasks
        The tasks.
    genes
        Var names of the panel, by rank.
    """
    labels = labels_of(held_out, tasks)

    def scores(measured: torch.Tensor | None) -> list[float]:
        predictions, _ = module.predict(held_out[X_KEY], len(genes), measured)
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


def _rises(without: list[torch.Tensor], with_: list[torch.Tensor]) -> Predictions:
    """Return by how much the loss of each cell rises, for each task; NaN where unlabelled."""
    return [(a - b).double().cpu().numpy() for a, b in zip(without, with_, strict=True)]


def _mean(values: NDArray[Any], otherwise: float = 0.0) -> float:
    """Mean of the values that are not NaN."""
    values = values[~np.isnan(values)]
    return float(values.mean()) if len(values) else otherwise
