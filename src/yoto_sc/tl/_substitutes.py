"""`tl.substitutes`: what each gene of a panel is for, and which other gene could stand in."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from yoto_sc._checks import as_list, check_adata, check_integer, check_split_key
from yoto_sc._keys import DEFAULT_KEY, PARAMS, Keys
from yoto_sc._panel import Panel
from yoto_sc._problem import Problem
from yoto_sc._progress import shows_progress
from yoto_sc._threads import one_thread
from yoto_sc.data import KINDS, former_layer, layer_of, named_tasks
from yoto_sc.judge import Exchanges
from yoto_sc.metrics import standard_deviation
from yoto_sc.rules import Requirements
from yoto_sc.teach import with_components

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from anndata import AnnData

    from yoto_sc.data import Task
    from yoto_sc.judge import Exchange, HeadJudgement
    from yoto_sc.model import YOTO


@shows_progress
def substitutes(
    adata: AnnData,
    model_or_key: str | Path | YOTO = DEFAULT_KEY,
    *,
    genes: str | Sequence[str] | None = None,
    n: int = 5,
    layer: str | None = None,
    random_state: int = 0,
) -> pd.DataFrame:
    """Tell what each panel gene is for, and what its best replacements cost.

    Each gene is dropped from the panel, and other genes are put in its place. Linear heads
    (logistic regression, ridge regression) are refitted every time and judged by five-fold
    cross-validation, on at most 5,000 cells that are drawn at random from those with a label. The
    genes to try are those with the largest score statistic (Rao 1948) on the errors that the
    heads make without the gene. Vectors and the transcriptome have one ridge regression for all
    columns.

    Substitutes are found and ranked on two of the five folds, and all scores are stated on the
    other three: cells that neither the heads nor the choice of the substitute have seen, though
    the selection of the panel may have.

    Parameters
    ----------
    adata
        Annotated data with all genes and with the labels, such as the data the panel was selected
        on; not changed.
    model_or_key
        The ``key_added`` of a selection in `adata`; or a :class:`yoto_sc.model.YOTO`, or the
        directory it was saved to.
    genes
        Panel genes to look at; `None`: all.
    n
        Number of substitutes for each gene.
    layer
        Layer to read expression from; `None`: where the selection read it.
    random_state
        Seed of the folds, and of the choice of cells where there are very many.

    Returns
    -------
    One row for each gene, substitute and task, the best substitutes first, with the columns

    ``gene``, ``rank``, ``substitute``
        The panel gene, and its substitute, of which rank 1 is the best: the one whose heads have
        the smallest held-out loss, as means over tasks by their weights. With each of them, the
        panel still meets the rules of the selection (`exclude`, `candidates`, `budget`, …). A gene
        without any has one row for each task, where ``rank`` and ``substitute`` are missing.
    ``correlation``
        Pearson correlation of the two genes.
    ``task``, ``metric``
        The task, and its score: ``macro_f1`` or ``r2``.
    ``score``
        Held-out score of the panel as it is.
    ``loss``, ``loss_se``
        By how much the score falls with the substitute, and the standard error of that: over
        bootstrap samples of the cells, or of the groups if the selection had a ``split_key``.
    ``dropped_loss``, ``dropped_loss_se``
        By how much the score falls without the gene, and the standard error of that.
    ``dropped_category``, ``dropped_category_loss``
        The class whose F1 falls most without the gene, and by how much; missing for tasks
        without classes.

    Raises
    ------
    FileNotFoundError
        There is no model in the directory.
    KeyError
        There is no selection under the key, or a gene, column or layer does not exist.
    TypeError
        An argument is of the wrong type.
    ValueError
        An argument is out of range.

    References
    ----------
    Rao CR. Large sample tests of statistical hypotheses concerning several parameters with
    applications to problems of estimation. Math. Proc. Camb. Philos. Soc. 44:50-57 (1948).

    Examples
    --------
    >>> import yoto_sc as yt
    >>> adata = yt.datasets.pbmc68k()
    >>> yt.tl.select(adata, 8, categorical_keys="bulk_labels", max_steps=40, progress_bar=False)
    >>> gene = yt.Panel.from_adata(adata).genes[0]
    >>> table = yt.tl.substitutes(adata, genes=gene, n=2)
    >>> table["rank"].tolist(), table["metric"][0]
    ([1, 2], 'macro_f1')
    """
    check_adata(adata)
    check_integer(n, "n", minimum=1)
    check_integer(random_state, "random_state", minimum=0)
    panel, problem = _question(adata, model_or_key, layer)
    positions = _positions(panel, as_list(genes, "genes"))
    labelled = np.zeros(adata.n_obs, dtype=bool)
    for task, labels in zip(problem.tasks, problem.labels, strict=True):
        labelled |= task.observed(labels)
        if not task.is_learnable(labels):
            raise ValueError(
                f"adata.{task.place}[{task.name!r}] shows fewer than two of the values that the "
                "panel was selected for. Pass labelled data, such as those it was selected on."
            )
    if problem.groups is not None and problem.groups[labelled].nunique() < 2:
        raise ValueError(
            f"All cells with a label are in one group of split_key={problem.split_key!r}; "
            "holding groups out needs at least 2."
        )
    rng = np.random.default_rng(random_state)
    with one_thread():
        exchanges = Exchanges(
            with_components(problem, rng.spawn(1)[0]),
            adata.var_names.get_indexer(pd.Index(panel)),
            rng,
        )
        rows = [
            row
            for position in positions
            for row in _rows(
                adata.var_names, problem.tasks, exchanges.whole, exchanges.measure(position, n)
            )
        ]
    return pd.DataFrame(rows).astype({"rank": "Int64"})


def _question(adata: AnnData, model_or_key: Any, layer: str | None) -> tuple[list[str], Problem]:
    """Return a panel, most important gene first, and what it was selected for."""
    if isinstance(model_or_key, str) and Keys(model_or_key).selected in adata.var.columns:
        return _from_key(adata, model_or_key, layer)
    from yoto_sc.model import YOTO

    if isinstance(model_or_key, str | PathLike):
        try:
            model_or_key = YOTO.load(Path(model_or_key), accelerator="cpu")
        except FileNotFoundError as error:
            raise FileNotFoundError(
                f"{str(model_or_key)!r} is neither the key of a selection in adata nor the "
                "directory of a saved model. Run yoto_sc.tl.select first, or pass its key_added."
            ) from error
    if not isinstance(model_or_key, YOTO):
        raise TypeError(
            "model_or_key must be the key of a selection in adata, a yoto_sc.model.YOTO or the "
            f"directory of a saved one, not {type(model_or_key).__name__}."
        )
    return _from_model(adata, model_or_key, layer)


def _from_key(adata: AnnData, key: str, layer: str | None) -> tuple[list[str], Problem]:
    params: Mapping[str, Any] = adata.uns.get(Keys(key).uns, {}).get(PARAMS, {})
    keys = {
        name: as_list(params.get(kind.argument), kind.argument)
        for name, kind in KINDS.items()
        if not kind.is_derived
    }
    transcriptome = int(params.get("transcriptome", 0))
    if not any(keys.values()) and not transcriptome:
        raise KeyError(
            f"adata.uns[{key!r}]['params'] does not name the tasks of the selection. Run "
            f"yoto_sc.tl.select(adata, …, key_added={key!r}) again."
        )
    _check_labels(adata, named_tasks(keys))
    as_text = as_list(params.get("unlabeled"), "unlabeled")  # stored as strings, whatever they are
    unlabeled = [
        category
        for name in {*keys["categorical"], params.get("crowding_key")} & {*adata.obs.columns}
        for category in adata.obs[name].dropna().unique()
        if str(category) in as_text
    ]
    problem = Problem.from_adata(
        adata,
        keys,
        transcriptome=transcriptome,
        task_weights=params.get("task_weights"),
        class_weights=_class_weights(adata, params.get("class_weights")),
        layer=layer_of(str(params.get("expression", "X"))) if layer is None else layer,
        split_key=params.get("split_key"),
        unlabeled=unlabeled,
        requirements=Requirements.from_params(params),
    )
    return Panel.from_adata(adata, key).genes, problem


def _class_weights(adata: AnnData, table: pd.DataFrame | None) -> dict[str, dict[Any, float]]:
    """Return the weights of classes that are found; stored as text, whatever they are."""
    weights: dict[str, dict[Any, float]] = {}
    if table is not None:
        for task, of_task in table.groupby("task", sort=False):
            by_text = dict(zip(of_task["category"].astype(str), of_task["weight"], strict=True))
            found = adata.obs[task].dropna().unique()
            weights[str(task)] = {c: by_text[str(c)] for c in found if str(c) in by_text}
    return weights


def _from_model(adata: AnnData, model: YOTO, layer: str | None) -> tuple[list[str], Problem]:
    genes = model.panel().genes
    absent = [gene for gene in genes if gene not in adata.var_names]
    if absent:
        raise KeyError(
            f"adata lacks {len(absent)} panel genes: {absent}. Pass data with all genes."
        )
    _check_labels(adata, model.tasks)
    setup = model.registry["setup_args"]
    check_split_key(adata.obs, setup["split_key"])
    problem = Problem.from_tasks(
        adata,
        model.tasks,
        layer=former_layer(adata, model.selection.source) if layer is None else layer,
        split_key=setup["split_key"],
        unlabeled=tuple(as_list(setup["unlabeled"], "unlabeled")),
        requirements=Requirements.from_params(model.init_params_["non_kwargs"]),
    )
    return genes, problem


def _check_labels(adata: AnnData, tasks: Sequence[Task]) -> None:
    for task in tasks:
        known = list(getattr(adata, task.place).keys())
        if not task.is_derived and task.name not in known:
            raise KeyError(
                f"The panel was selected for {task.name!r}, which is not in adata.{task.place}. "
                f"There are {known}."
            )


def _positions(panel: list[str], genes: list[str]) -> list[int]:
    unknown = [gene for gene in genes if gene not in panel]
    if unknown:
        raise KeyError(f"`genes` names {unknown}, not in the panel. Its genes are {panel}.")
    return [panel.index(gene) for gene in genes or panel]


def _rows(
    var_names: pd.Index,
    tasks: Sequence[Task],
    whole: Sequence[HeadJudgement],
    measured: Iterator[Exchange],
) -> Iterator[dict[str, Any]]:
    """Yield the rows of one gene; `measured` begins with the panel that lacks it."""
    dropped = next(measured)
    found: list[Exchange] = list(measured)
    for rank, exchange in enumerate(found or [dropped], start=1):
        for position, task in enumerate(tasks):
            before, without = whole[position], dropped.judgements[position]
            after = exchange.judgements[position]
            category, category_loss = _worst_category(task, before, without)
            substitute = exchange.substitute
            is_swap = substitute is not None
            yield {
                "gene": var_names[exchange.gene],
                "rank": rank if is_swap else pd.NA,
                "substitute": None if substitute is None else var_names[substitute],
                "correlation": exchange.correlation,
                "task": task.name,
                "metric": task.metric,
                "score": float(before.scores[0]),
                "loss": _loss(before, after) if is_swap else np.nan,
                "loss_se": _standard_error(before, after) if is_swap else np.nan,
                "dropped_loss": _loss(before, without),
                "dropped_loss_se": _standard_error(before, without),
                "dropped_category": category,
                "dropped_category_loss": category_loss,
            }


def _loss(before: HeadJudgement, after: HeadJudgement) -> float:
    return float(before.scores[0] - after.scores[0])


def _standard_error(before: HeadJudgement, after: HeadJudgement) -> float:
    return standard_deviation((before.scores - after.scores)[1:])


def _worst_category(task: Task, before: HeadJudgement, after: HeadJudgement) -> tuple[Any, float]:
    losses = before.by_class - after.by_class
    if not np.isfinite(losses).any():
        return None, float("nan")
    worst = int(np.nanargmax(losses))
    return task.categories[worst], float(losses[worst])
