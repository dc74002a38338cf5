"""`tl.transfer`: what lists of genes lose on the way to another assay, and what is won back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from yoto_sc._checks import check_adata, check_integer, missing_genes
from yoto_sc._problem import Problem
from yoto_sc._progress import shows_progress
from yoto_sc._threads import one_thread
from yoto_sc.data import (
    KINDS,
    check_task_keys,
    keys_by_kind,
    layer_of,
    point_out_no_labels,
    read_expression,
)
from yoto_sc.judge import task_score
from yoto_sc.metrics import cross_validated_scores, make_folds
from yoto_sc.rules import Requirements
from yoto_sc.tl._models import as_model
from yoto_sc.tl._panel_scores import gene_list
from yoto_sc.tl._request import Request

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anndata import AnnData
    from numpy.typing import NDArray

    from yoto_sc._panel import Panel
    from yoto_sc.data import Expression, Task
    from yoto_sc.model import YOTO

    Genes = Sequence[str] | Panel | PathLike[str] | YOTO

COLUMNS: dict[str, Any] = {
    "panel": object,
    "task": object,
    "metric": object,
    "n_genes": "Int64",
    "reference": np.float64,
    "query": np.float64,
    "adapted": np.float64,
    "ceiling": np.float64,
    "n_reference": "Int64",
    "n_query": "Int64",
    "n_classes": "Int64",
}


@shows_progress
def transfer(
    adata: AnnData,
    query: AnnData,
    genes: Genes | Mapping[str, Genes],
    *,
    categorical_keys: str | Sequence[str] = (),
    continuous_keys: str | Sequence[str] = (),
    layer: str | None = None,
    unlabeled: str | Sequence[object] = (),
    n_splits: int = 5,
    random_state: int = 0,
    max_steps: int | None = None,
    accelerator: str = "auto",
    progress_bar: bool = True,
) -> pd.DataFrame:
    """Tell how much lists of genes lose on the way to another assay, and what is won back.

    For each list, a network that reads these genes alone is trained on the reference, as
    :func:`yoto_sc.tl.select` trains it. It is judged on held-out cells of the reference, and on
    the labelled cells of the query, as they are and aligned. Beside it stands what the same genes
    tell to estimators that know the query's own labels.

    Parameters
    ----------
    adata
        Annotated data of the reference, of shape ``(n_obs, n_vars)``; not changed.
    query
        Annotated data of the other assay, with the genes of all lists; not changed. It is labelled
        in the same columns, at least in part. Cells without a label take part in the alignment
        only.
    genes
        Var names, a :class:`yoto_sc.Panel`, or a trained :class:`yoto_sc.model.YOTO` or the path
        of a saved one (a :class:`~pathlib.Path`, since a text is a gene). Models are judged as
        they are, on the cells of `adata` that they held out, by name. Several of these are a
        mapping from the names they are shown under.
    categorical_keys
        Columns of ``adata.obs`` and ``query.obs`` with classes to predict.
    continuous_keys
        Columns of both with numbers to predict.
    layer
        Layer to read expression from, as in :func:`yoto_sc.tl.select`; `None`: ``X``. If the query
        lacks it, its ``X`` is read.
    unlabeled
        Categories that stand for "no label", such as ``"Unknown"``.
    n_splits
        Number of folds of the query's labelled cells.
    random_state
        Seed of trainings and folds. The same data, arguments and seed give the same table on the
        same machine.
    max_steps
        Number of minibatches to train for; `None`: a default that suits most data.
    accelerator
        Where to train, as in Lightning's trainer.
    progress_bar
        Whether to show progress.

    Returns
    -------
    One row for each list and task, with the columns

    ``panel``
        Name of the list; empty if there is but one without a name.
    ``task``
        Column of ``obs``.
    ``metric``
        What the four scores are: ``macro_f1`` of classes, ``r2`` of numbers.
    ``n_genes``
        Number of genes of the list (Int64).
    ``reference``
        Score on the held-out cells of the reference.
    ``query``
        Score on the labelled cells of the query, each predicted by itself:
        ``adapt="none"`` of :func:`yoto_sc.tl.predict`.
    ``adapted``
        The same with ``adapt="auto"``: cells are aligned where that is safe, without labels.
    ``ceiling``
        Mean over folds of the score of logistic regression, or ridge regression for numbers, that
        learns from the labelled cells of the query, as in :func:`yoto_sc.tl.evaluate`: about what
        the genes tell in that assay. Where few cells are labelled, it is low, and the network,
        which has learned from the whole reference, may exceed it.
    ``n_reference``, ``n_query``
        Number of cells that were judged (Int64).
    ``n_classes``
        Number of classes that count (Int64); NA for numbers.

    :func:`yoto_sc.pl.transfer` draws it.

    Raises
    ------
    KeyError
        A column, layer or gene does not exist, in `adata` or in `query`, or a model has no such
        task.
    TypeError
        An argument is of the wrong type.
    ValueError
        An argument is out of range, `genes` is empty, the assays share too few classes or the
        query has too few labels, expression of one assay is counts and that of the other is not,
        or a model held out no cell of `adata`. But for classes that are so rare that no cell is
        held out, all errors come before anything is trained.

    Notes
    -----
    A class counts if held-out cells of the reference have it and at least two cells of the query,
    so that all four scores are of the same classes, and may be compared. Cells of other classes
    are neither judged nor learned from for the ceiling. A network may still take a cell for a
    class that does not count, which is wrong. Cells with so few counts that
    :func:`yoto_sc.tl.predict` gives them no label are judged by what the network says of them.

    Genes that were selected on the reference with its labels were selected on the held-out cells
    too, which makes ``reference`` a little too good, and the loss too large. For a list of
    :func:`yoto_sc.tl.select`, pass the model: what it held out had no part in its scores.

    Examples
    --------
    >>> import yoto_sc as yt
    >>> cells = yt.datasets.planted(
    ...     300, 60, n_informative=8, n_classes=(4,), n_query=200, efficiency_sd=1.0
    ... )
    >>> is_query = (cells.obs["assay"] == "query").to_numpy()
    >>> reference, query = cells[~is_query].copy(), cells[is_query].copy()
    >>> table = yt.tl.transfer(
    ...     reference,
    ...     query,
    ...     list(cells.var_names[cells.var["informative"]]),
    ...     categorical_keys="task_0",
    ...     max_steps=100,
    ...     progress_bar=False,
    ... )
    >>> row = table.iloc[0]
    >>> row["metric"], bool(row["reference"] > row["query"])
    ('macro_f1', True)
    """
    check_adata(adata)
    check_adata(query, "query")
    keys = keys_by_kind(categorical_keys=categorical_keys, continuous_keys=continuous_keys)
    check_task_keys(adata, keys)
    _check_labels_of_query(query, keys)
    check_integer(n_splits, "n_splits", minimum=2)
    check_integer(random_state, "random_state", minimum=0, maximum=2**32 - 1)
    contests: dict[str, _Contest] = {}
    problem = None
    for name, (argument, entry) in _named(genes).items():
        if _is_model(entry, argument):
            model = as_model(entry)
            contests[name] = _Contest.of_model(model, adata, query, keys, argument)
            continue
        listed = gene_list(adata, entry, argument)
        if problem is None:
            problem = Problem.from_adata(adata, keys, layer=layer, unlabeled=unlabeled)
            point_out_no_labels(problem.tasks, problem.labels, problem.unlabeled)
        request = Request(
            len(listed),
            random_state=random_state,
            max_steps=max_steps,
            accelerator=accelerator,
            progress_bar=progress_bar,
        )
        contests[name] = _Contest.of_list(listed, problem, query, request, argument)
    for contest in contests.values():
        contest.check(adata, query, n_splits, random_state)
    rows = [
        {"panel": name, **row}
        for name, contest in contests.items()
        for row in contest.rows(adata, query, n_splits, random_state)
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS)


@dataclass(frozen=True, eq=False)
class _Contest:
    """A list of genes, or a model, and what it is to be judged on.

    Parameters
    ----------
    tasks
        The questions that are judged.
    expression
        Of the query, for the list's genes only, in the order of the list.
    model
        Trained; `None`: it is to be trained as `request` says, on `problem`.
    """

    tasks: Sequence[Task]
    expression: Expression
    model: YOTO | None = None
    problem: Problem | None = None
    request: Request | None = None

    @classmethod
    def of_list(
        cls, genes: list[str], problem: Problem, query: AnnData, request: Request, argument: str
    ) -> _Contest:
        """Let a list take part, for which a network is to be trained."""
        only = Requirements(candidates=genes)
        problem = replace(problem, requirements=only, rules=only.gene_rules(problem.tables.var))
        request.check(problem)
        source, is_counts = problem.expression.source, problem.expression.is_counts
        expression = _read(query, genes, argument, source, is_counts=is_counts)
        return cls(problem.tasks, expression, problem=problem, request=request)

    @classmethod
    def of_model(
        cls,
        model: YOTO,
        adata: AnnData,
        query: AnnData,
        keys: Mapping[str, Sequence[str]],
        argument: str,
    ) -> _Contest:
        """Let a trained model take part."""
        known = {(task.kind, task.name): task for task in model.tasks}
        asked = [(kind, key) for kind, named in keys.items() for key in named]
        unknown = [key for kind, key in asked if (kind, key) not in known]
        if unknown:
            raise KeyError(
                f"The model of `{argument}` has no task {unknown[0]!r} of this kind. Its tasks "
                f"are { {task.name: task.kind for task in model.tasks} }."
            )
        held_out = model.held_out.index
        if not len(held_out) or not held_out.isin(adata.obs_names).all():
            raise ValueError(
                f"`adata` lacks cells that the model of `{argument}` held out. Pass the data that "
                "it was trained on, and train with a validation_size above 0."
            )
        selection = model.selection
        expression = _read(
            query, model.panel().genes, argument, selection.source, is_counts=selection.is_counts
        )
        return cls([known[task] for task in asked], expression, model)

    def check(self, adata: AnnData, query: AnnData, n_splits: int, random_state: int) -> None:
        """Refuse tasks that cannot be judged in the query."""
        for task in self.tasks:
            ours = task.encode_exactly(task.column(adata, task.name))
            theirs = task.encode_exactly(query.obs[task.name])
            _folds(task, _shared(task, ours, theirs)[1], n_splits, random_state)

    def rows(
        self, adata: AnnData, query: AnnData, n_splits: int, random_state: int
    ) -> list[dict[str, Any]]:
        """Train the network, if that is to be done, and return the scores, a row for each task."""
        model = self.model
        if model is None:
            assert self.request is not None
            assert self.problem is not None
            model = self.request.train(self.problem)
        alone, aligned = (model.label(query, adapt=adapt)[0] for adapt in ("none", "auto"))
        x = self.expression.take(None, None, raw=not model.selection.is_counts)
        held_out = model.held_out
        names = [task.name for task in model.tasks]
        rows = []
        for task in self.tasks:
            position = names.index(task.name)
            ours, theirs = _shared(
                task,
                task.encode_exactly(task.column(adata, task.name).loc[held_out.index]),
                task.encode_exactly(query.obs[task.name]),
            )
            said = task.encode(held_out[task.name])
            rows.append(
                {
                    "task": task.name,
                    "metric": task.metric,
                    "n_genes": x.shape[1],
                    "reference": task_score(task, ours, _as_prediction(task, said)),
                    "query": task_score(task, theirs, alone.predictions[position]),
                    "adapted": task_score(task, theirs, aligned.predictions[position]),
                    "ceiling": _ceiling(task, theirs, x.toarray(), n_splits, random_state),
                    "n_reference": task.observed(ours).sum(),
                    "n_query": task.observed(theirs).sum(),
                    "n_classes": len(np.unique(ours[task.observed(ours)]))
                    if task.categories
                    else pd.NA,
                }
            )
        return rows


def _named(genes: Any) -> dict[str, tuple[str, Any]]:
    """Return what each list was given as, and the list, by name."""
    if not isinstance(genes, Mapping):
        return {"": ("genes", genes)}
    if not genes:
        raise ValueError("`genes` is empty. Name at least one list of genes.")
    for name in genes:
        if not isinstance(name, str):
            raise TypeError(f"The names of `genes` must be strings, not {name!r}.")
    return {name: (f"genes[{name!r}]", entry) for name, entry in genes.items()}


def _is_model(entry: object, argument: str) -> bool:
    """Tell models from lists, without importing what models need."""
    if isinstance(entry, Iterable):
        return False
    if not isinstance(entry, PathLike) and not hasattr(entry, "selection_"):
        raise TypeError(
            f"`{argument}` must be a list of genes, a yoto_sc.Panel, a yoto_sc.model.YOTO or the "
            f"path of a saved one, not {type(entry).__name__}."
        )
    return True


def _check_labels_of_query(query: AnnData, keys: Mapping[str, Sequence[str]]) -> None:
    for kind, named in keys.items():
        for key in named:
            if key not in query.obs:
                raise KeyError(
                    f"`{KINDS[kind].argument}` names {key!r}, which is not a column of query.obs. "
                    f"The columns are {list(query.obs.columns)}."
                )


def _read(
    query: AnnData, genes: Sequence[str], argument: str, source: str, *, is_counts: bool
) -> Expression:
    """Read some genes of the query, from where the reference was read if there is such a place."""
    absent = missing_genes(query.var_names, genes)
    if absent:
        raise KeyError(
            f"query lacks {len(absent)} of the {len(genes)} genes of `{argument}`: {absent}."
        )
    layer = layer_of(source)
    expression = read_expression(
        query,
        layer if layer in query.layers else None,
        genes,
        raw="if_present" if source == "raw" else "if_scaled",
    )
    if is_counts and not expression.is_counts:
        raise ValueError(
            f"The reference holds counts, but query.{expression.source} holds fractions. Name a "
            "layer that holds counts in both in `layer`."
        )
    if not is_counts and expression.is_counts and expression.maximum > 1:
        raise ValueError(
            f"The reference holds normalised expression, but query.{expression.source} holds "
            "counts. Pass counts of both, or normalise both alike."
        )
    return expression


def _shared(
    task: Task, ours: NDArray[Any], theirs: NDArray[Any]
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Blank the labels of classes that do not count, in the reference and in the query."""
    if not task.categories:
        return ours, theirs
    in_ours, in_theirs = (
        np.bincount(labels[task.observed(labels)], minlength=task.n_outputs)
        for labels in (ours, theirs)
    )
    counts = np.flatnonzero((in_ours > 0) & (in_theirs > 1))
    if len(counts) < 2:
        shared = [task.categories[code] for code in counts]
        raise ValueError(
            f"Task {task.name!r}: of the reference's classes {list(task.categories)}, those with "
            f"at least two labelled cells in the query, and one in the reference to judge, are "
            f"{shared}; at least two classes are needed."
        )
    ours, theirs = (task.blank(labels, ~np.isin(labels, counts)) for labels in (ours, theirs))
    return ours, theirs


def _folds(task: Task, labels: NDArray[Any], n_splits: int, random_state: int) -> list[Any]:
    try:
        return make_folds(labels, n_splits, random_state=random_state)
    except ValueError as error:
        raise ValueError(
            f"Task {task.name!r} cannot be cross-validated in the query. {error}"
        ) from error


def _as_prediction(task: Task, said: NDArray[Any]) -> NDArray[Any]:
    """Return labels as a network would have said them: classes with certainty."""
    return np.eye(task.n_outputs)[said] if task.categories else said


def _ceiling(
    task: Task, labels: NDArray[Any], x: NDArray[Any], n_splits: int, random_state: int
) -> float:
    """Return the mean score of cross-validation among the labelled cells."""
    shown, labels = task.on_these(labels)
    with one_thread():
        scores = cross_validated_scores(
            x.astype(np.float64),
            labels,
            _folds(task, labels, n_splits, random_state),
            "logistic_regression",
            n_classes=len(shown.categories),
            random_state=random_state,
        )
    return float(np.mean([row["value"] for _, row in scores if row["metric"] == task.metric]))
