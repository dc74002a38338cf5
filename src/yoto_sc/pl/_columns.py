"""How well each column of vectors is predicted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from yoto_sc._keys import DEFAULT_KEY
from yoto_sc.pl._common import read_table, read_tasks
from yoto_sc.pl._docs import fill
from yoto_sc.pl._figure import axes_for, finish, literal
from yoto_sc.pl._style import GREY, PALETTE, decimals

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.axes import Axes

KINDS = ("vector", "transcriptome")
ROW_INCHES = 0.18
LOWEST = -0.25
"""Where the axis ends if R² falls below; it has no lower bound."""


@literal
@fill()
def columns(
    adata: AnnData,
    *,
    task: str | None = None,
    n_columns: int = 40,
    key: str = DEFAULT_KEY,
    ax: Axes | None = None,
    show: bool | None = None,
) -> Axes | None:
    """Show how well each column of a vector is predicted in held-out cells.

    A bar is the R² of a column. The dashed line is that of all columns together, in which each
    weighs by its variance.

    Parameters
    ----------
    {adata}
    task
        A task of vectors, or ``"transcriptome"``; ``None``: the first one.
    n_columns
        Number of columns to show, the best at the top. Of more, half are the best and half are the
        worst. Components of the transcriptome stand in their own order; of more, the first are
        shown.
    {key}
    ax
        Where to draw; ``None``: a new figure, which grows with the number of columns.
    {show}

    Returns
    -------
    The axes; ``None`` if `show`.

    Raises
    ------
    KeyError
        `adata` holds no selection under `key`, or `task` was not part of it.
    ValueError
        `task` has no columns, no task has any, or `n_columns` is below 1.

    Examples
    --------
    >>> import yoto_sc as yt
    >>> yt.tl.select(adata, n_genes=32, obsm_keys=["proteins"])  # doctest: +SKIP
    >>> yt.pl.columns(adata)  # doctest: +SKIP
    """
    if n_columns < 1:
        raise ValueError(f"n_columns must be at least 1, not {n_columns}.")
    task, kind = _task_with_columns(adata, key, task)
    r2 = _scores(adata, key, task)
    shown, title = _chosen(r2, task, n_columns, in_order=kind == "transcriptome")
    longest = max(map(len, shown.index))
    width = 0.07 * longest + max(4.2, 0.6 + 0.085 * len(title))  # the title begins at the axis
    ax = axes_for(given := ax, (width, 1.3 + ROW_INCHES * len(shown)), show)
    rows, is_column = np.arange(len(shown)), shown.index.isin(r2.index)
    ax.barh(rows, shown, 0.75, color=PALETTE[0])
    note: dict[str, Any] = {"color": GREY, "fontsize": "small"}
    for row in rows[is_column & shown.isna().to_numpy()]:
        ax.text(0.01, row, "undefined: constant in held-out cells", va="center_baseline", **note)
    ax.set_yticks(rows, shown.index, fontsize="small")
    for row in rows[~is_column]:
        ax.get_yticklabels()[row].set_color(GREY)
    ax.tick_params(axis="y", length=0)
    ax.set_ylim(len(shown) - 0.4, -0.6)
    _scale(ax, shown)
    _mark_all(ax, adata, key, task)
    ax.grid(axis="x", color="0.92")
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)
    ax.set_title(title, fontsize="medium", pad=20)
    return finish(ax, given=given, show=show)


def _task_with_columns(adata: AnnData, key: str, task: str | None) -> tuple[str, str]:
    """Return the name of a task of vectors, and its kind."""
    kinds = read_tasks(adata, key)["kind"].astype(str)
    found = kinds[kinds.isin(KINDS)]
    if task is None and found.empty:
        raise ValueError(
            "This selection has no task of vectors, so there are no columns. Its tasks are "
            f"{list(kinds.index)}; see yoto_sc.pl.path for their scores."
        )
    if task is not None and task not in kinds.index:
        raise KeyError(
            f"The task {task!r} was not part of this selection. Its tasks of vectors are "
            f"{list(found.index)}."
        )
    if task is not None and task not in found.index:
        raise ValueError(
            f"The task {task!r} has no columns: its kind is {kinds[task]!r}. The tasks of "
            f"vectors are {list(found.index)}."
        )
    task = str(found.index[0]) if task is None else task
    return task, str(found[task])


def _scores(adata: AnnData, key: str, task: str) -> pd.Series[float]:
    """Return R² by the name of the column, in the order of the columns."""
    table = read_table(adata, key, "columns", ["task", "column", "r2"])
    table = table[table["task"].astype(str) == task]
    return pd.Series(table["r2"].to_numpy(dtype=np.float64), table["column"].astype(str))


def _chosen(
    r2: pd.Series[float], task: str, n_columns: int, *, in_order: bool
) -> tuple[pd.Series[float], str]:
    """Return the bars from top to bottom, and a title; a gap between two halves is one of them."""
    n_all = len(r2)
    if in_order:
        many = f"the first {n_columns} of {n_all}" if n_all > n_columns else f"{n_all}"
        return r2.iloc[:n_columns], f"{task}: {many} components"
    r2 = r2.sort_values(ascending=False, kind="stable")
    if n_all <= n_columns:
        return r2, f"{task}: {n_all} column{'s' if n_all > 1 else ''}"
    n_best, n_worst = n_columns - n_columns // 2, n_columns // 2
    gap = pd.Series([np.nan], [f"… {n_all - n_columns} more …"])
    parts = [r2.iloc[:n_best], gap, r2.iloc[n_all - n_worst :]]
    return pd.concat(
        parts
    ), f"{task}: the best {n_best} and the worst {n_worst} of {n_all} columns"


def _scale(ax: Axes, r2: pd.Series[float]) -> None:
    """Show 0 to 1, and some of what is below; say so where something is cut off."""
    ax.set_xlabel("held-out R²")
    lowest = float(min(r2.min(), 0)) if r2.notna().any() else 0.0
    ax.set_xlim(max(lowest - 0.02, LOWEST) if lowest < 0 else 0, 1)
    if lowest < LOWEST:
        ax.set_xlabel(f"held-out R²\nBars below {decimals(LOWEST)} are cut off.")
    if lowest < 0:
        ax.axvline(0, color="0.3", linewidth=0.8)


def _mark_all(ax: Axes, adata: AnnData, key: str, task: str) -> None:
    """Draw R² of all columns together."""
    metrics = read_table(adata, key, "metrics", [])
    metrics.index = metrics.index.astype(str)
    r2 = float(metrics["r2"].get(task, np.nan)) if "r2" in metrics.columns else np.nan
    if ax.get_xlim()[0] <= r2 <= 1:
        ax.axvline(r2, color=GREY, linestyle="--", linewidth=1)
        note: dict[str, Any] = {"color": GREY, "fontsize": "small", "ha": "center", "va": "bottom"}
        above: dict[str, Any] = {"xytext": (0, 3), "textcoords": "offset points"}
        at = {"xy": (r2, 1), "xycoords": ax.get_xaxis_transform(), **above}
        ax.annotate(f"all: {decimals(r2)}", **at, **note)
