"""What an assay will meet: how much a panel's genes are expressed, and where."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
import scipy.sparse as sp

from yoto_sc.data import FEW_CELLS, FLOOR_IN_ALL, Categorical
from yoto_sc.metrics import gene_correlation

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from yoto_sc._problem import Problem

COPY = 0.8
"""Two genes that are correlated above this tell an assay much the same."""
N_HEAVIEST = 8
_MOST_CELLS, _MOST_GENES = 10_000, 1000
"""Genes are correlated in so many cells, and only if there are no more of them."""


class AssayTables(NamedTuple):
    """What an assay of a panel will meet."""

    genes: pd.DataFrame
    """By gene: ``mean``, ``detection``, ``share``, ``peak_detection``, and its class and task."""
    classes: pd.DataFrame
    """For all cells and for each class: ``n_cells``, and the ``total`` of the genes' means."""
    copies: pd.DataFrame
    """Pairs of genes, ``gene`` and ``copy``, with their ``correlation``."""
    summary: dict[str, Any]


def assay_tables(
    problem: Problem, genes: Sequence[str], imposed: Sequence[str] = ()
) -> AssayTables:
    """Tell how much a panel's genes are expressed, by class and in all, and what stands out.

    Parameters
    ----------
    problem
        Expression of all cells, as stored; and the tasks, with their classes.
    genes
        Var names of the panel, by rank.
    imposed
        Those that had to be in it.
    """
    expression = problem.expression_of(genes)
    classes, membership = _classes(problem)
    n_cells = np.asarray(membership.sum(axis=0)).ravel()
    sums, seen = np.zeros((2, len(n_cells), len(genes)))
    for rows, block in expression.blocks(raw=True):
        members = membership[rows].T.tocsr()
        sums += (members @ block).toarray()
        seen += (members @ (block > 0)).toarray()
    means = sums / n_cells[:, None]
    shares = seen / np.maximum(n_cells, np.r_[0, np.full(len(n_cells) - 1, FEW_CELLS)])[:, None]
    peak = shares.argmax(axis=0)
    total = means[0].sum()
    table = pd.DataFrame(
        {
            "mean": means[0],
            "detection": shares[0],
            "share": means[0] / total if total > 0 else np.nan,
            "peak_detection": shares.max(axis=0),
            "peak_class": classes["category"].to_numpy()[peak],
            "peak_task": classes["task"].to_numpy()[peak],
        },
        index=pd.Index(list(genes), name="gene", dtype=object),
    )
    classes = classes.assign(n_cells=n_cells.astype(np.int64), total=means.sum(axis=1))
    copies = _copies(expression, genes)
    return AssayTables(table, classes, copies, _summary(problem, table, classes, imposed))


def warnings_on(tables: AssayTables) -> Iterator[str]:
    """Yield a sentence on each thing about a panel that its user should know before ordering."""
    summary, classes = tables.summary, tables.classes
    cap = summary.get("max_crowding", np.inf)
    above = classes[(classes["total"] > cap * (1 + 1e-9)) & (classes["task"] != "")]
    if len(above):
        named = [
            f"{row.category} of {row.task} ({row.total:.3g}; most by "
            f"{', '.join(tables.genes['mean'].nlargest(3).index)})"
            for row in above.itertuples()
        ]
        yield f"max_crowding={cap:g} is exceeded in classes it was not asked for: {some(named)}."
    below = summary.get("below_floor", [])
    if len(below):
        named = [f"{gene} ({tables.genes.loc[gene, 'peak_detection']:.2%})" for gene in below]
        yield (
            f"Genes seen in fewer than {summary['detection_floor']:.1%} of the cells of any class "
            f"are easily missed: {some(named)}."
        )
    pairs = tables.copies
    if len(pairs):
        named = [
            f"{pair.gene} and {pair.copy} ({pair.correlation:.2f})" for pair in pairs.itertuples()
        ]
        yield f"Genes correlated above {COPY:g} tell much the same: {some(named)}."


def some(names: Sequence[str], most: int = 8) -> str:
    """Write names in a sentence, and how many there are if they are many."""
    left = len(names) - most
    return ", ".join(names[:most]) + (f" and {left} more" if left > 0 else "")


def _classes(problem: Problem) -> tuple[pd.DataFrame, sp.csr_matrix]:
    """Return names of all classes, and who is in them, ``(n_obs, 1 + n_classes)``; all first."""
    n_obs = problem.expression.n_obs
    rows, parts = [("", "all cells")], [sp.csr_matrix(np.ones((n_obs, 1)))]
    found = [
        (task, labels)
        for task, labels in zip(problem.tasks, problem.labels, strict=True)
        if isinstance(task, Categorical)
    ]
    key = problem.requirements.crowding_key
    if key is not None and key not in {task.name for task, _ in found}:
        types = Categorical.from_adata(problem.tables, key, problem.unlabeled)
        found.append((types, types.encode(problem.tables.obs[key])))
    for task, labels in found:
        cells = np.flatnonzero(task.observed(labels))
        shape = (n_obs, task.n_outputs)
        parts.append(sp.csr_matrix((np.ones(len(cells)), (cells, labels[cells])), shape))
        rows += [(task.name, str(category)) for category in task.categories]
    return pd.DataFrame(rows, columns=["task", "category"], dtype=object), sp.hstack(
        parts, format="csr"
    )


def _copies(expression: Any, genes: Sequence[str]) -> pd.DataFrame:
    """Return the pairs of genes that are correlated above `COPY`, the most alike first."""
    pairs: list[tuple[str, str, float]] = []
    if len(genes) <= _MOST_GENES:
        step = -(-expression.n_obs // _MOST_CELLS)
        values: NDArray[np.float32] = expression.take(slice(None, None, step), None).toarray()
        correlation = np.triu(np.nan_to_num(gene_correlation(values)), k=1)
        alike = np.argwhere(correlation > COPY)
        pairs = [(genes[i], genes[j], correlation[i, j]) for i, j in alike]
    table = pd.DataFrame(pairs, columns=["gene", "copy", "correlation"])
    table = table.astype({"gene": object, "copy": object, "correlation": float})
    return table.sort_values("correlation", ascending=False, kind="stable", ignore_index=True)


def _summary(
    problem: Problem, genes: pd.DataFrame, classes: pd.DataFrame, imposed: Sequence[str]
) -> dict[str, Any]:
    """Put the panel into a few numbers and names."""
    fullest = classes.iloc[1 + int(classes["total"].iloc[1:].argmax()) if len(classes) > 1 else 0]
    floor = problem.requirements.min_detection
    if floor is None:
        floor = FLOOR_IN_ALL
    below = genes.index[genes["peak_detection"] < floor]
    summary: dict[str, Any] = {
        "share_of_heaviest": float(genes["share"].nlargest(N_HEAVIEST).sum()),
        "heaviest": list(genes["share"].nlargest(N_HEAVIEST).index),
        "crowding": float(fullest["total"]),
        "crowded_class": fullest["category"],
        "crowded_task": fullest["task"],
        "detection_floor": float(floor),
        "least_detected": str(genes["peak_detection"].idxmin()),
    }
    if problem.requirements.max_crowding is not None:
        summary["max_crowding"] = float(problem.requirements.max_crowding)
    if len(below):
        summary["below_floor"] = list(below)
    if set(below) & set(imposed):
        summary["below_floor_imposed"] = [gene for gene in below if gene in set(imposed)]
    return summary
