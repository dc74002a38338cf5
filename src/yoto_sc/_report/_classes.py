"""What is told of each class: how well, what it is taken for, and which genes serve it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd


@dataclass(frozen=True)
class ClassRow:
    """One class of a task.

    Parameters
    ----------
    name
        The class.
    n_cells
        Held-out cells of it.
    recall, precision, f1
        Share of them that are found, share of those that bear its label that are of it, and the
        harmonic mean of the two.
    other, n_other
        The class that its cells are most taken for, and how many are; empty if none is.
    genes
        Genes of the panel that serve it first, best first.
    """

    name: str
    n_cells: int
    recall: float
    precision: float
    f1: float
    other: str
    n_other: int
    genes: Sequence[str]


def class_rows(confusion: pd.DataFrame, attribution: pd.DataFrame, task: str) -> list[ClassRow]:
    """Return a row for each class of a task, in the order of their names.

    Parameters
    ----------
    confusion
        Number of held-out cells, ``n_cells``, by ``observed`` and ``predicted`` class.
    attribution
        By gene, best first, the ``task`` and ``category`` that it serves.
    """
    if confusion.empty:
        return []
    confusion = confusion.astype({"observed": str, "predicted": str})
    counts = confusion.pivot_table("n_cells", "observed", "predicted", "sum", fill_value=0)
    own = attribution[attribution["task"].astype(str) == task]
    rows = []
    for name, predicted in counts.iterrows():
        n_cells = int(predicted.sum())
        n_right = int(predicted.get(name, 0))
        n_told = int(counts[name].sum()) if name in counts else 0
        wrong = predicted.drop(name, errors="ignore")
        n_other = int(wrong.max()) if len(wrong) else 0
        rows.append(
            ClassRow(
                name=str(name),
                n_cells=n_cells,
                recall=n_right / n_cells if n_cells else np.nan,
                precision=n_right / n_told if n_told else np.nan,
                f1=2 * n_right / (n_cells + n_told) if n_cells + n_told else np.nan,
                other=str(wrong.idxmax()) if n_other else "",
                n_other=n_other,
                genes=[str(gene) for gene in own.index[own["category"].astype(str) == name]],
            )
        )
    return rows
