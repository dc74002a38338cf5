"""Panels side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from yoto_sc.pl._common import check_returned
from yoto_sc.pl._docs import fill
from yoto_sc.pl._figure import axes_for, finish, literal
from yoto_sc.pl._style import GREY, PALETTE, metric_name

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

PREFERRED = ("macro_f1", "r2")
"""The metrics to draw if none is asked for."""
LOWER_IS_BETTER = frozenset(
    {"log_loss", "calibration_error", "rmse", "mean_abs_correlation", "max_abs_correlation"}
)
LEAST_SPAN = 0.1
"""The axis of scores is no shorter, so that differences that mean nothing look like nothing."""
COLUMNS = ("panel", "task", "classifier", "fold", "metric", "category", "value", "n_cells")


@literal
@fill()
def compare(
    table: pd.DataFrame,
    *,
    metric: str | None = None,
    ax: Axes | None = None,
    show: bool | None = None,
) -> Axes | None:
    """Show the scores of several panels side by side.

    Each small dot is a fold, and the large one is their mean (of recalls, that by the number of
    cells, so the recall of all cells of the class). Values of several classifiers are
    averaged in each fold; to see one, pass its rows alone:
    ``table[table["classifier"] == "random_forest"]``.

    Parameters
    ----------
    table
        What :func:`yoto_sc.tl.compare` returned, or some of its rows.
    metric
        A metric of the table, ``"recall"`` for one block of rows a class, ``"column_r2"`` for one
        a column of a vector; ``None``: macro-F1 of classes and R² of all else.
    {ax}

    Returns
    -------
    The axes, a block of rows for each task, class or column, a row for each panel; ``None`` if
    `show`.

    Raises
    ------
    KeyError
        `table` lacks a column of :func:`yoto_sc.tl.compare`.
    TypeError
        `table` is no DataFrame.
    ValueError
        `table` holds no value of `metric`.

    Examples
    --------
    >>> import yoto_sc as yt
    >>> adata = yt.datasets.pbmc68k()
    >>> table = yt.tl.compare(
    ...     adata,
    ...     {"T cells": ["CD3D", "CD3E"], "mixed": ["CD3D", "NKG7"]},
    ...     categorical_keys="phase",
    ...     classifiers="k_neighbors",
    ... )
    >>> ax = yt.pl.compare(table, metric="balanced_accuracy")
    >>> [label.get_text() for label in ax.get_yticklabels()]
    ['phase', 'T cells', 'mixed']
    """
    rows = _rows_of(table, metric)
    panels = list(rows["panel"].unique())
    blocks = _blocks(rows)
    labels = [label for heading in blocks for label in ([heading] if heading else []) + panels]
    longest = max(map(len, labels))
    ax = axes_for(given := ax, (4.4 + 0.07 * longest, 1.2 + 0.23 * len(labels)), show)
    at = 0
    headings = []
    for heading, block in blocks.items():
        if heading:
            headings.append(at)
            at += 1
        for number, panel in enumerate(panels):
            _draw(ax, at, block[block["panel"] == panel], PALETTE[number % len(PALETTE)])
            at += 1
    ax.set_yticks(range(len(labels)), labels, fontsize="small")
    for position in headings:
        ax.get_yticklabels()[position].set_fontweight("bold")
        if position:
            ax.axhline(position - 0.5, color="0.85", linewidth=0.8, zorder=0)
    ax.set_ylim(len(labels) - 0.4, -0.6)
    ax.tick_params(axis="y", length=0)
    ax.grid(axis="x", color="0.92")
    ax.set_axisbelow(True)
    ax.spines[["top", "right", "left"]].set_visible(False)
    _scale(ax)
    ax.set_xlabel(_axis_label(rows))
    if rows["fold"].notna().any():
        ax.set_title("small: folds, large: their mean", fontsize="small", color=GREY)
    return finish(ax, given=given, show=show)


def _rows_of(table: pd.DataFrame, metric: str | None) -> pd.DataFrame:
    """Return the rows to draw that have a value."""
    check_returned(table, "yoto_sc.tl.compare", COLUMNS)
    wanted = PREFERRED if metric is None else (metric,)
    rows = table[table["metric"].isin(wanted) & table["value"].notna()]
    if rows.empty:
        metrics = list(table.loc[table["value"].notna(), "metric"].unique())
        raise ValueError(
            f"The table holds no value of {' or '.join(wanted)}. Its metrics are {metrics}."
        )
    return rows


def _blocks(rows: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Split rows by task and class; the heading of each is empty if there is but one to name."""
    several_tasks = rows["task"].nunique() > 1
    several_metrics = rows["metric"].nunique() > 1
    blocks = {}
    for of, block in rows.groupby(["task", "category"], sort=False):
        task, category = map(str, of)
        heading = category or task or ("all genes" if several_tasks else "")
        if category and several_tasks:
            heading = f"{task}: {category}"
        metric = block["metric"].iloc[0]
        if several_metrics:
            heading += f" ({metric_name(metric)})"
        if metric == "recall":
            one = block[
                (block["panel"] == block["panel"].iloc[0])
                & (block["classifier"] == block["classifier"].iloc[0])
            ]
            heading += f" (n={one['n_cells'].sum():,})"
        blocks[heading] = block
    return blocks


def _draw(ax: Axes, at: int, rows: pd.DataFrame, color: str) -> None:
    """Draw the folds of one panel, each averaged over its classifiers, and their mean."""
    if rows.empty:
        return
    folds = rows.groupby("fold", dropna=False)
    values = folds["value"].mean().to_numpy()
    # Folds hold different numbers of cells of a small class; of all its cells, this is the recall.
    is_recall = rows["metric"].iloc[0] == "recall"
    weights = folds["n_cells"].first().to_numpy(dtype=np.float64) if is_recall else None
    if len(values) > 1:
        faint: dict[str, Any] = {"color": color, "alpha": 0.45}
        ax.plot([values.min(), values.max()], [at, at], linewidth=1.2, **faint)
        ax.plot(values, np.full(len(values), at), "o", markersize=4, **faint)
    mean = np.average(values, weights=weights)
    ax.plot(mean, at, "o", color=color, markersize=8, markeredgecolor="white")


def _scale(ax: Axes) -> None:
    """Keep small differences small, and the numbers apart."""
    low, high = ax.get_xlim()
    room = max(0.0, LEAST_SPAN - (high - low)) / 2
    ax.set_xlim(low - room, high + room)
    ax.locator_params(axis="x", nbins=5)


def _axis_label(rows: pd.DataFrame) -> str:
    metrics = list(rows["metric"].unique())
    label = " or ".join(metric_name(metric) for metric in metrics)
    if rows["fold"].notna().any():
        label = f"held-out {label}"
    n_classifiers = rows.groupby(["task", "metric"])["classifier"].nunique().max()
    if n_classifiers > 1:
        label += f" (mean of {n_classifiers} estimators)"
    if set(metrics) <= LOWER_IS_BETTER:
        label += ", lower is better"
    return label
