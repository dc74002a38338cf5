"""`tl.probe_failure`: what a panel is worth when some of its genes are not measured after all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from yoto_sc._checks import as_list, check_adata, check_integer, is_integer
from yoto_sc._keys import DEFAULT_KEY
from yoto_sc._progress import progress, shows_progress
from yoto_sc._threads import one_thread
from yoto_sc.judge import Failures, lost_genes
from yoto_sc.teach import with_components
from yoto_sc.tl._question import check_labelled, question

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from anndata import AnnData

    from yoto_sc.data import Task
    from yoto_sc.judge import HeadJudgement
    from yoto_sc.model import YOTO


@shows_progress
def probe_failure(
    adata: AnnData,
    model_or_key: str | Path | YOTO = DEFAULT_KEY,
    *,
    n_lost: int | Sequence[int] | None = None,
    n_draws: int = 20,
    layer: str | None = None,
    random_state: int = 0,
    progress_bar: bool = True,
) -> pd.DataFrame:
    """Tell what a panel is worth when probes fail: with some of its genes lost at random.

    Linear heads (logistic regression, ridge regression) are refitted to the genes that are left,
    as is done with an assay whose failed probes are known, and judged by five-fold
    cross-validation, on at most 5,000 cells that are drawn at random from those with a label. With
    a `split_key`, whole groups are held out.

    Parameters
    ----------
    adata
        Annotated data with the panel's genes and with the labels, such as the data the panel was
        selected on; not changed.
    model_or_key
        The ``key_added`` of a selection in `adata`; or a :class:`yoto_sc.model.YOTO`, or the
        directory it was saved to.
    n_lost
        How many genes are lost, each below the size of the panel. ``None``: none, 1, 2, and a
        tenth, a quarter and a half of the panel.
    n_draws
        How often genes are drawn, for each number of them. Of single genes, none is drawn twice.
    layer
        Layer to read expression from; ``None``: where the selection read it.
    random_state
        Seed of the draws, the folds, and the choice of cells where there are very many.
    progress_bar
        Whether to show progress; lines in the log tell it otherwise.

    Returns
    -------
    One row for each draw and task, with the columns

    ``n_lost``, ``draw``, ``genes``
        How many genes were lost, the number of the draw, and the genes, with commas between them.
    ``task``, ``metric``, ``score``
        The task, and its score without these genes: ``macro_f1`` or ``r2``.
    ``worst_category``, ``worst_f1``
        The class with the lowest F1, and that F1; missing where there are no classes.

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

    See Also
    --------
    yoto_sc.pl.probe_failure : Draws the table.
    yoto_sc.tl.substitutes : What a single gene is for, and what replaces it.

    Examples
    --------
    >>> import yoto_sc as yt
    >>> adata = yt.datasets.pbmc68k()
    >>> yt.tl.select(adata, 8, categorical_keys="phase", max_steps=40, progress_bar=False)
    >>> table = yt.tl.probe_failure(adata, n_lost=[0, 4], n_draws=3, progress_bar=False)
    >>> table.groupby("n_lost").size().to_dict()
    {0: 1, 4: 3}
    """
    del progress_bar  # the decorator reads it
    check_adata(adata)
    check_integer(n_draws, "n_draws", minimum=1)
    check_integer(random_state, "random_state", minimum=0)
    panel, problem = question(adata, model_or_key, layer)
    numbers = _numbers(n_lost, len(panel))
    check_labelled(adata, problem)
    rng = np.random.default_rng(random_state)
    rows: list[dict[str, Any]] = []
    with one_thread():
        problem = with_components(problem, rng.spawn(1)[0])
        failures = Failures(problem, adata.var_names.get_indexer(pd.Index(panel)), rng)
        draws = [(n, lost) for n in numbers for lost in lost_genes(len(panel), n, n_draws, rng)]
        with progress("Losing genes", len(draws), "draw", at_once=True) as done:
            for number, (n, lost) in enumerate(draws):
                judged = failures.without(lost) if n else failures.whole
                names = ", ".join(panel[place] for place in lost)
                told = {"n_lost": n, "draw": number, "genes": names}
                rows += [{**told, **row} for row in _scores(problem.tasks, judged)]
                done()
    table = pd.DataFrame(rows)
    table["draw"] -= table.groupby("n_lost")["draw"].transform("min")
    return table


def _numbers(n_lost: Any, n_genes: int) -> list[int]:
    """Return how many genes are lost, ascending."""
    if n_lost is None:
        shares = (-(-n_genes // part) for part in (10, 4, 2))
        return sorted({n for n in (0, 1, 2, *shares) if n < n_genes})
    numbers = as_list([n_lost] if is_integer(n_lost) else n_lost, "n_lost")
    for number in numbers:
        check_integer(number, "n_lost", minimum=0)
        if number >= n_genes:
            raise ValueError(
                f"n_lost={number} leaves nothing of the panel, which has {n_genes} genes."
            )
    return sorted({int(number) for number in numbers})


def _scores(tasks: Sequence[Task], judged: Sequence[HeadJudgement]) -> Iterator[dict[str, Any]]:
    for task, judgement in zip(tasks, judged, strict=True):
        f1 = judgement.by_class[0]
        known = np.flatnonzero(np.isfinite(f1))
        worst = known[f1[known].argmin()] if len(known) else None
        yield {
            "task": task.name,
            "metric": task.metric,
            "score": float(judgement.scores[0]),
            "worst_category": None if worst is None else str(task.categories[worst]),
            "worst_f1": np.nan if worst is None else float(f1[worst]),
        }
