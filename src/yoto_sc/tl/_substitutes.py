"""`tl.substitutes`: what each gene of a panel is for, and which other gene could stand in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from yoto_sc._checks import as_list, check_adata, check_integer
from yoto_sc._keys import DEFAULT_KEY
from yoto_sc._progress import progress, shows_progress
from yoto_sc._threads import one_thread
from yoto_sc.judge import Exchanges, is_measurable, verdict_on
from yoto_sc.metrics import standard_deviation
from yoto_sc.teach import with_components
from yoto_sc.tl._question import check_labelled, question

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from anndata import AnnData

    from yoto_sc.data import Task
    from yoto_sc.judge import Exchange, HeadJudgement, Role
    from yoto_sc.model import YOTO


_TINY = 1e-6


@shows_progress
def substitutes(
    adata: AnnData,
    model_or_key: str | Path | YOTO = DEFAULT_KEY,
    *,
    genes: str | Sequence[str] | None = None,
    n: int = 5,
    layer: str | None = None,
    random_state: int = 0,
    progress_bar: bool = True,
) -> pd.DataFrame:
    """Tell what each panel gene is for, and what its best replacements cost.

    Like is replaced by like. Each gene has a role: the task of which the panel tells most less
    without it, and the classes in it that the gene marks. Substitutes are the genes that keep most
    of this role. The profile of mean expression over the classes says how much that would be, by
    what is expressed and by fold changes: a gene that other classes express as well is no
    substitute for a marker. Linear heads (logistic regression, ridge regression) that are refitted
    with the substitute say the same by the error that they make in the role. The two are averaged
    by their precision, as in meta-analysis, if the heads lose measurably without the gene.
    Otherwise profiles decide alone. For numbers, classes are eighths of the cells; vectors and the
    transcriptome have the covariances with their columns as profiles, and one ridge regression.

    A gene that alone tells about no task (F test, p < 0.001) has no role. It is replaced by the
    genes with the largest score statistic (Rao 1948) on the errors that heads make without it.

    Heads are judged by five-fold cross-validation, on at most 5,000 cells that are drawn at random
    from those with a label. Roles and substitutes are found without the cells of two folds, and
    all scores and losses are stated on these: cells that neither the heads nor the choice of the
    substitute have seen, though the selection of the panel may have.

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
    progress_bar
        Whether to show progress; lines in the log tell it otherwise.

    Returns
    -------
    One row for each gene, substitute and task, the best substitutes first, with the columns

    ``gene``, ``rank``, ``substitute``
        The panel gene, and its substitute, of which rank 1 is the best. With each of them, the
        panel still meets the rules of the selection (`exclude`, `candidates`, `budget`, …). A gene
        without any has one row for each task, where ``rank`` and ``substitute`` are missing.
    ``verdict``
        ``"not needed"``: the role loses nothing measurable if the gene is left out without any
        substitute. Otherwise ``"as good"`` or ``"worse"``, as the role loses nothing measurable
        with the substitute, or something; ``"no substitute"``, if there is none. Measurable is
        what is beyond two standard errors, and 0.02. ``"too few cells"``: it may be much, above
        0.1, but is not measurable. Missing if the gene has no role.
    ``role_task``, ``role_classes``
        The role: its task, and the classes that the gene marks, those above the widest gap in its
        mean expression. ``"all but …"`` names those below, if they are fewer; missing where there
        are no classes, or no gap beyond noise.
    ``role_dropped_loss``, ``role_dropped_loss_se``
        By how much the error in the role rises without the gene, and the standard error of that:
        over bootstrap samples of the cells, or of the groups if the selection had a ``split_key``.
        The error is the cross-entropy of the marked classes against the others, both counting for
        a half, or the squared error; 1 is that of a guess.
    ``role_kept``
        How much of the role the substitute keeps, at most about 1. Substitutes are ranked by it.
    ``role_loss``, ``role_loss_se``
        By how much the error in the role rises with the substitute, and its standard error.
    ``correlation``
        Pearson correlation of the two genes.
    ``task``, ``metric``
        The task, and its score: ``macro_f1`` or ``r2``.
    ``score``
        Held-out score of the panel as it is.
    ``loss``, ``loss_se``
        By how much the score falls with the substitute, and the standard error of that.
    ``dropped_loss``, ``dropped_loss_se``
        By how much the score falls without the gene, and the standard error of that.
    ``dropped_category``, ``dropped_category_loss``
        The class whose F1 falls most without the gene, and by how much. It is not named unless
        its fall, and by how much that exceeds the next one, are beyond two standard errors.

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
    del progress_bar  # the decorator reads it
    check_adata(adata)
    check_integer(n, "n", minimum=1)
    check_integer(random_state, "random_state", minimum=0)
    panel, problem = question(adata, model_or_key, layer)
    positions = _positions(panel, as_list(genes, "genes"))
    check_labelled(adata, problem)
    rng = np.random.default_rng(random_state)
    rows: list[dict[str, Any]] = []
    with one_thread():
        with progress("Finding roles", 1, "step", at_once=True):
            exchanges = Exchanges(
                with_components(problem, rng.spawn(1)[0]),
                adata.var_names.get_indexer(pd.Index(panel)),
                rng,
            )
        with progress("Trying substitutes", len(positions), "gene", at_once=True) as done:
            for position in positions:
                rows += _rows(adata.var_names, problem.tasks, exchanges, position, n)
                done()
    return pd.DataFrame(rows).astype({"rank": "Int64"})


def _positions(panel: list[str], genes: list[str]) -> list[int]:
    unknown = [gene for gene in genes if gene not in panel]
    if unknown:
        raise KeyError(f"`genes` names {unknown}, not in the panel. Its genes are {panel}.")
    return [panel.index(gene) for gene in genes or panel]


def _rows(
    var_names: pd.Index, tasks: Sequence[Task], exchanges: Exchanges, position: int, n: int
) -> Iterator[dict[str, Any]]:
    """Yield the rows of one gene."""
    dropped, *found = exchanges.measure(position, n)
    whole = exchanges.whole
    of_gene = _role_columns(tasks, exchanges.roles[position], dropped)
    for rank, exchange in enumerate(found or [dropped], start=1):
        in_role = exchange.role_losses
        verdict = verdict_on(dropped.role_losses, in_role if found else None)
        for place, task in enumerate(tasks):
            before, without = whole[place], dropped.judgements[place]
            after = exchange.judgements[place]
            category, category_loss = _worst_category(task, before, without)
            substitute = exchange.substitute
            is_swap = substitute is not None
            yield {
                "gene": var_names[exchange.gene],
                "rank": rank if is_swap else pd.NA,
                "substitute": None if substitute is None else var_names[substitute],
                "verdict": verdict,
                **of_gene,
                "role_kept": exchange.kept,
                "role_loss": in_role[0] if is_swap else np.nan,
                "role_loss_se": standard_deviation(in_role[1:]) if is_swap else np.nan,
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


def _role_columns(tasks: Sequence[Task], role: Role | None, dropped: Exchange) -> dict[str, Any]:
    """Return what a gene is for, and what its role loses without it."""
    losses = dropped.role_losses
    task = None if role is None else tasks[role.task]
    return {
        "role_task": None if task is None else task.name,
        "role_classes": None if role is None or task is None else _classes(task, role),
        "role_dropped_loss": losses[0],
        "role_dropped_loss_se": standard_deviation(losses[1:]),
    }


def _classes(task: Task, role: Role) -> str | None:
    """Name the classes that a gene marks; of most classes, those that it does not mark."""
    names = [str(category) for category in task.categories]
    marked = [names[code] for code in role.marked]
    if not marked:
        return None
    if len(marked) <= len(names) / 2:
        return ", ".join(marked)
    return "all but " + ", ".join(name for name in names if name not in marked)


def _loss(before: HeadJudgement, after: HeadJudgement) -> float:
    return float(before.scores[0] - after.scores[0])


def _standard_error(before: HeadJudgement, after: HeadJudgement) -> float:
    return standard_deviation((before.scores - after.scores)[1:])


def _worst_category(task: Task, before: HeadJudgement, after: HeadJudgement) -> tuple[Any, float]:
    """Name the class that loses measurably, and measurably more than any other."""
    losses = before.by_class - after.by_class
    known = np.flatnonzero(np.isfinite(losses[0]))
    if not len(known):
        return None, float("nan")
    worst, *others = known[np.argsort(-losses[0, known], kind="stable")]
    ahead = losses[:, worst] - (losses[:, others[0]] if others else 0.0)
    is_clear = is_measurable(losses[:, worst], _TINY) and is_measurable(ahead, _TINY)
    return (task.categories[worst] if is_clear else None), float(losses[0, worst])
