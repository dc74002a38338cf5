"""How well each task is told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from yoto_sc import _keys, pl
from yoto_sc._report._classes import ClassRow, class_rows
from yoto_sc._report._pictures import Picture, of_axes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from anndata import AnnData

_METRICS = {"macro_f1": "macro-F1", "r2": "R²"}


@dataclass(frozen=True)
class TaskCard:
    """How well one task is told.

    Parameters
    ----------
    name, kind, metric
        Its name, kind, and what its score is called.
    score, standard_error, everything, on_groups
        On held-out cells; of all genes by ridge regression; on held-out groups. NaN: not known.
    n_cells, n_classes
        Held-out cells, and classes, or 0.
    accuracy
        Share of the held-out cells that are labelled rightly.
    rows
        What is told of each class.
    confusion
        Which class is taken for which.
    """

    name: str
    kind: str
    metric: str
    score: float
    standard_error: float
    everything: float
    on_groups: float
    n_cells: int
    n_classes: int
    accuracy: float
    rows: Sequence[ClassRow]
    confusion: Picture | None


def task_card(adata: AnnData, key: str, stored: Mapping[str, Any], name: str) -> TaskCard:
    """Read what a selection wrote about one task."""
    row, kind = stored[_keys.METRICS].loc[name], str(stored[_keys.TASKS].loc[name, "kind"])
    metric = "macro_f1" if kind == "categorical" else "r2"
    path = stored[_keys.PATH]
    path = path[path["task"] == name].sort_values("n_genes")
    own = path[path["n_genes"] == stored[_keys.PARAMS]["n_genes"]]
    whole = path.iloc[-1:] if len(path) and path["n_genes"].iloc[-1] > len(own) else path[:0]
    confusion = stored[_keys.CONFUSION]
    confusion = confusion[confusion["task"] == name]
    rows = class_rows(confusion, stored[_keys.ATTRIBUTION], name)
    return TaskCard(
        name=name,
        kind=kind,
        metric=_METRICS[metric],
        score=_value(row, metric),
        standard_error=_value(own.iloc[0], "standard_error") if len(own) else np.nan,
        everything=_value(whole.iloc[0], "score") if len(whole) else np.nan,
        on_groups=_value(row, f"group_{metric}"),
        n_cells=int(np.nan_to_num(_value(row, "n_cells"))),
        n_classes=int(stored[_keys.TASKS].loc[name, "n_categories"]),
        accuracy=_value(row, "accuracy"),
        rows=rows,
        confusion=of_axes(
            pl.confusion,
            adata,
            name,
            key=key,
            alt=f"Which class of {name} held-out cells are taken for.",
        )
        if rows
        else None,
    )


def _value(row: pd.Series, name: str) -> float:
    return float(row[name]) if name in row.index and pd.notna(row[name]) else np.nan
