"""What a reader should be careful about, in sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from yoto_sc import _keys

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import pandas as pd

    from yoto_sc._report._tasks import TaskCard

_WEAK = 0.5
"""A class of a lower F1 is not told well."""
_FEW_CELLS = 10
_SELDOM = 0.01
"""Genes in a smaller share of the cells are easily missed."""
_HEAVY = 0.5
_N_HEAVY = 8
_MISCALIBRATED = 0.1
_GROUP_DROP = -0.05
_MOST_NAMED = 12
_ROUNDED = 1 + 1e-9


def cautions(
    tasks: Sequence[TaskCard], expression: pd.DataFrame | None, stored: Mapping[str, Any]
) -> list[str]:
    """Return a sentence for each caution.

    Parameters
    ----------
    tasks
        How well each is told.
    expression
        ``mean`` and ``detection`` of the panel's genes; `None`: not known.
    stored
        What the selection wrote to ``uns``.
    """
    found = []
    for task in tasks:
        if not task.n_cells:
            found.append(f"{task.name}: no cells were held out, so nothing says how well it does.")
        weak = [row for row in task.rows if row.f1 < _WEAK]
        if weak:
            named = [f"{row.name} (F1 {row.f1:.2f})" for row in weak]
            found.append(f"{task.name}: not told well: {_some(named)}.")
        few = [f"{row.name} ({row.n_cells})" for row in task.rows if row.n_cells < _FEW_CELLS]
        if few:
            found.append(
                f"{task.name}: scores of classes with fewer than {_FEW_CELLS} held-out cells are "
                f"uncertain: {_some(few)}."
            )
        error = stored[_keys.METRICS].get("calibration_error")
        if error is not None and error[task.name] > _MISCALIBRATED:
            found.append(
                f"{task.name}: confidences are off by {error[task.name]:.2f} on average; read "
                "them as ranks."
            )
        if task.on_groups - task.score < _GROUP_DROP:
            found.append(
                f"{task.name}: in groups that were held out whole, {task.metric} is "
                f"{task.on_groups:.2f} rather than {task.score:.2f}: expect that of new ones."
            )
    if expression is not None:
        found += _of_expression(expression)
    found += _of_assay(stored)
    return found


def _of_assay(stored: Mapping[str, Any]) -> Iterable[str]:
    summary = stored.get(_keys.ASSAY_SUMMARY, {})
    below = list(summary.get("below_floor", []))
    if below:
        yield (
            f"Seen in fewer than {100 * summary['detection_floor']:.1f} % of the cells of any "
            f"class: {_some(below)}."
        )
    if summary.get("crowding", 0) > summary.get("max_crowding", np.inf) * _ROUNDED:
        yield (
            f"{summary['crowded_class']} of {summary['crowded_task']}: the panel's mean counts "
            f"sum to {summary['crowding']:.4g}, above max_crowding={summary['max_crowding']:g}."
        )
    if _keys.ASSAY_COPIES in stored:
        pairs = stored[_keys.ASSAY_COPIES]
        named = [
            f"{pair.gene} and {pair.copy} ({pair.correlation:.2f})" for pair in pairs.itertuples()
        ]
        yield f"Genes that tell much the same, by their correlation: {_some(named)}."


def _of_expression(expression: pd.DataFrame) -> Iterable[str]:
    seldom = expression[expression["detection"] < _SELDOM]
    if len(seldom):
        named = [f"{gene} ({100 * row.detection:.1f} %)" for gene, row in seldom.iterrows()]
        yield f"Genes seen in fewer than {100 * _SELDOM:.0f} % of the cells: {_some(named)}."
    total = float(np.clip(expression["mean"], 0, None).sum())
    heaviest = expression["mean"].nlargest(_N_HEAVY)
    share = float(heaviest.sum()) / total if total > 0 else 0.0
    if len(expression) > 2 * _N_HEAVY and share > _HEAVY:
        yield (
            f"{len(heaviest)} genes hold {100 * share:.0f} % of the panel's expression: "
            f"{_some(list(map(str, heaviest.index)))}."
        )


def _some(names: Sequence[str]) -> str:
    """Write names in a sentence, and how many there are if they are many."""
    shown = ", ".join(names[:_MOST_NAMED])
    left = len(names) - _MOST_NAMED
    return f"{shown} and {left} more" if left > 0 else shown
