"""`tl.transfer`: what lists of genes lose on the way to another assay, and what comes back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from sklearn.metrics import f1_score, r2_score

from yoto_sc._checks import as_list, check_adata, check_integer, missing_genes
from yoto_sc._problem import Problem
from yoto_sc._threads import one_thread
from yoto_sc.data import check_task_keys, keys_by_kind
from yoto_sc.metrics import cross_validated_scores, make_folds
from yoto_sc.rules import Requirements
from yoto_sc.tl._panel_scores import gene_list
from yoto_sc.tl._request import Request

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anndata import AnnData
    from numpy.typing import NDArray

    from yoto_sc._panel import Panel
    from yoto_sc.data import Task
    from yoto_sc.model import YOTO

_SMALLEST_CLASS = 8
"""Classes with fewer labelled cells of the query than this are not judged."""
_N_SPLITS = 5
COLUMNS = (
    "panel",
    "task",
    "metric",
    "n_genes",
    "n_query",
    "reference",
    "query",
    "adapted",
    "ceiling",
)


def transfer(
    adata: AnnData,
    query: AnnData,
    panels: Sequence[str] | Panel | Mapping[str, Sequence[str] | Panel],
    *,
    categorical_keys: str | Sequence[str] = (),
    continuous_keys: str | Sequence[str] = (),
    layer: str | None = None,
    unlabeled: str | Sequence[object] = (),
    random_state: int = 0,
    max_steps: int | None = None,
    accelerator: str = "auto",
    progress_bar: bool = True,
) -> pd.DataFrame:
    """Tell what lists of genes lose on the way to another assay, and what comes back.

    For each list, a network learns from exactly these genes of the reference, and labels the query
    as :func:`yoto_sc.tl.predict` does, without and with alignment. Labels of the query, of some of
    its cells at least, tell how well. All cells of it are aligned; those without a label, of
    classes that the reference lacks, or of classes with fewer than 8 labelled cells are not
    judged.

    Parameters
    ----------
    adata
        The reference: annotated data of shape ``(n_obs, n_vars)``, as
        :func:`yoto_sc.tl.select` takes them; not changed.
    query
        Cells of the other assay, with the same columns of labels; not changed.
    panels
        A list of var names, a :class:`yoto_sc.Panel`, or several by name. A list that was selected
        on `adata` has seen the held-out cells of the reference.
    categorical_keys, continuous_keys
        Columns of labels, in ``adata.obs`` and in ``query.obs``.
    layer, unlabeled
        As in :func:`yoto_sc.tl.select`.
    random_state
        Seed of the trainings and of the folds.
    max_steps, accelerator, progress_bar
        As in :func:`yoto_sc.tl.select`.

    Returns
    -------
    One row for each list (``panel``) and ``task``: the ``metric`` (macro-F1, or R²), ``n_genes``,
    the number of cells of the query that are judged (``n_query``), and four scores: of held-out
    cells of the ``reference``; of the ``query`` as it is, each cell by itself; of the query
    ``adapted``; and the ``ceiling``, the mean over five folds of a logistic (ridge) regression
    that learned from the query itself. :func:`yoto_sc.pl.transfer` draws them.

    Raises
    ------
    KeyError
        A column, layer or gene does not exist in one of both.
    TypeError
        An argument is of the wrong type.
    ValueError
        There are fewer than two classes to judge, or too few numbers.

    Examples
    --------
    >>> import yoto_sc as yt
    >>> cells = yt.datasets.planted(
    ...     400, 100, n_classes=(3,), n_query=300, efficiency_sd=1.0, depth=0.5, missing=0.0
    ... )
    >>> is_query = (cells.obs["assay"] == "query").to_numpy()
    >>> genes = list(cells.var_names[cells.var["informative"]])[:12]
    >>> table = yt.tl.transfer(
    ...     cells[~is_query].copy(),
    ...     cells[is_query].copy(),
    ...     genes,
    ...     categorical_keys="task_0",
    ...     max_steps=200,
    ...     progress_bar=False,
    ... )
    >>> bool(table["reference"].item() > table["query"].item())
    True
    """
    check_adata(adata)
    check_adata(query)
    check_integer(random_state, "random_state", minimum=0)
    named = panels if isinstance(panels, Mapping) else {"panel": panels}
    if not named:
        raise ValueError("`panels` is empty. Name at least one list of genes.")
    lists = {name: gene_list(adata, genes, "panels") for name, genes in named.items()}
    for name, genes in lists.items():
        if absent := missing_genes(query.var_names, genes):
            raise KeyError(f"query lacks {len(absent)} genes of {name!r}: {absent}.")
    keys = keys_by_kind(categorical_keys=categorical_keys, continuous_keys=continuous_keys)
    check_task_keys(query, keys, transcriptome=False)
    rows: list[dict[str, Any]] = []
    for name, genes in lists.items():
        problem = Problem.from_adata(
            adata,
            keys,
            layer=layer,
            unlabeled=as_list(unlabeled, "unlabeled"),
            requirements=Requirements(candidates=genes),
        )
        judged = {task.name: _judged(task, query) for task in problem.tasks}
        request = Request(
            len(genes),
            random_state=random_state,
            max_steps=max_steps,
            accelerator=accelerator,
            progress_bar=progress_bar,
        )
        model = request.train(problem)
        rows += [
            {"panel": name, "n_genes": len(genes), **row}
            for row in _scores(model, query, layer, judged, random_state)
        ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _judged(task: Task, query: AnnData) -> tuple[NDArray[np.intp], NDArray[Any]]:
    """Return the cells of a query that are judged, and their labels."""
    labels = task.encode(task.column(query, task.name))
    seen = task.observed(labels)
    if task.categories:
        codes, counts = np.unique(labels[seen], return_counts=True)
        large = codes[counts >= _SMALLEST_CLASS]
        seen &= np.isin(labels, large)
        if len(large) < 2:
            raise ValueError(
                f"Task {task.name!r}: the query has fewer than two classes of the reference with "
                f"{_SMALLEST_CLASS} labelled cells."
            )
    elif seen.sum() < _SMALLEST_CLASS:
        raise ValueError(f"Task {task.name!r}: fewer than {_SMALLEST_CLASS} cells have a number.")
    cells = np.flatnonzero(seen)
    return cells, labels[cells]


def _scores(
    model: YOTO,
    query: AnnData,
    layer: str | None,
    judged: Mapping[str, tuple[NDArray[np.intp], NDArray[Any]]],
    random_state: int,
) -> list[dict[str, Any]]:
    """Return a row for each task."""
    alone, _ = model.label(query, layer=layer, adapt="none")
    adapted, _ = model.label(query, layer=layer)
    values = model.panel_values(query, layer=layer).astype(np.float64)
    rows = []
    for position, task in enumerate(model.tasks):
        cells, labels = judged[task.name]
        with one_thread():
            folds = make_folds(labels, _N_SPLITS, random_state=random_state)
            ceiling = [
                record["value"]
                for _, record in cross_validated_scores(
                    values[cells],
                    labels,
                    folds,
                    "logistic_regression",
                    n_classes=len(task.categories),
                    random_state=random_state,
                )
                if record["metric"] == task.metric
            ]
        found = {
            name: _score(task, labels, said.predictions[position][cells], said.untold[cells])
            for name, said in (("query", alone), ("adapted", adapted))
        }
        rows.append(
            {
                "task": task.name,
                "metric": task.metric,
                "n_query": len(cells),
                "reference": model.metrics[task.metric].to_dict()[task.name],
                **found,
                "ceiling": float(np.mean(ceiling)),
            }
        )
    return rows


def _score(
    task: Task, labels: NDArray[Any], prediction: NDArray[Any], untold: NDArray[np.bool_]
) -> float:
    """Return the score of the task; cells that cannot be told are wrong, or left out."""
    if not task.categories:
        return float(r2_score(labels[~untold], prediction[~untold]))
    codes = np.where(untold, -1, prediction.argmax(axis=1))
    classes = np.unique(labels)
    return float(f1_score(labels, codes, labels=classes, average="macro", zero_division=0))
