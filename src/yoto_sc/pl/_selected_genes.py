"""The panel's genes by rank, with what each is for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from yoto_sc._keys import DEFAULT_KEY
from yoto_sc.pl._common import gene_labels, read_panel, read_results
from yoto_sc.pl._docs import fill
from yoto_sc.pl._figure import figure_of, finish, hide_grid, literal, new_figure
from yoto_sc.pl._style import GREY, LIGHT_GREY, TaskStyle, task_styles

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.axes import Axes

MAX_ROWS = 64
"""Genes in one column of a figure; longer panels get several columns of equal length."""
ROW_INCHES = 0.19
COLUMN_INCHES = 5.0
LEGEND_TITLE = "task served most"
IMPOSED = "had to be in the panel"
NO_TASK = TaskStyle(GREY, "o")
UNKNOWN = "what each gene adds was not stored"


@literal
@fill()
def selected_genes(
    adata: AnnData,
    *,
    key: str = DEFAULT_KEY,
    n_genes: int | None = None,
    gene_symbols: str | None = None,
    ax: Axes | None = None,
    show: bool | None = None,
) -> Axes | None:
    """Show the panel's genes by rank, and what the panel would lose without each.

    A dot stands at the rise of the selection criterion when the gene is left out: by so much its
    task gets harder to tell (``criterion_increase`` in ``adata.uns["yoto"]["attribution"]``). The
    colour is that task, the one that the gene serves most. A gene that others can stand in for
    has a small rise, even at a high rank.

    The class written beside a gene in grey is the one that owes most to it: the rise of that
    class's confusion with the others is the largest share of its rises over all genes. Of vectors
    with named columns, it is the column.

    Genes that had to be in the panel (``include``) have hollow dots.

    What is left out is left out of the panel as selected, whatever `n_genes` is. Genes beyond
    that panel, and others without a value, have their names and no dots.

    Parameters
    ----------
    {adata}
    {key}
    {n_genes}
    {gene_symbols}
    ax
        Where to draw; ``None``: a new figure. On given axes all genes stand in one column; a new
        figure grows with the panel, and above 64 genes it has several columns.
    {show}

    Returns
    -------
    The axes, of several columns the first (``ax.figure.axes`` has all); ``None`` if `show`.

    Raises
    ------
    KeyError
        `adata` holds no selection under `key`.
    ValueError
        `n_genes` is out of range.

    Examples
    --------
    {select}
    >>> yt.pl.selected_genes(adata)  # doctest: +SKIP
    """
    panel = read_panel(adata, key, n_genes)
    table = panel.table.loc[panel.genes]
    rises = _rises(adata, key)
    labels = gene_labels(adata, panel.genes, gene_symbols)
    table = table.assign(rise=rises.reindex(table.index), label=labels)
    table["imposed"] = table.index.isin(panel.imposed)
    styles = _styles(adata, key, table.loc[table["rise"].notna(), "task"])
    n_columns = -(-len(table) // MAX_ROWS) if ax is None else 1
    columns = np.array_split(np.arange(len(table)), n_columns)
    if ax is None:
        size = (COLUMN_INCHES * n_columns, 1.65 + ROW_INCHES * len(columns[0]))
        all_axes = list(new_figure(size, show).subplots(1, n_columns, squeeze=False)[0])
    else:
        all_axes = [ax]
    limits, heading = _limits(table["rise"]), _heading(adata, key, table)
    for axes, rows in zip(all_axes, columns, strict=True):
        _draw(axes, table.iloc[rows], styles, heading, n_rows=len(columns[0]))
        if limits is None:
            axes.set_xticks([])
            axes.set_xlabel(UNKNOWN)
        else:
            axes.set_xlim(*limits)
            whose = "the panel" if len(rises) == len(table) else f"the panel of {len(rises)}"
            axes.set_xlabel(f"what {whose} loses without the gene\n(rise of its task's criterion)")
    title = f"Panel of {len(table)} genes" if len(table) > 1 else "Panel of 1 gene"
    is_marked = bool((table["imposed"] & table["rise"].notna()).any())
    _add_titles(all_axes, title, styles, ax is not None, is_marked)
    return finish(all_axes[0], given=ax, show=show)


def _rises(adata: AnnData, key: str) -> pd.Series[float]:
    """Return by how much the criterion rises without each panel gene; none if it was not told."""
    attribution = read_results(adata, key).get("attribution")
    if attribution is None or "criterion_increase" not in attribution.columns:
        return pd.Series(dtype=np.float64)
    rises = attribution["criterion_increase"].astype(np.float64)
    return rises.where(np.isfinite(rises))


def _styles(adata: AnnData, key: str, tasks: pd.Series) -> dict[str, TaskStyle]:
    """Styles of the tasks that occur; the colours are those that other plots give them."""
    stored = read_results(adata, key).get("tasks")
    order = [] if stored is None else [str(task) for task in stored.index]
    occurring = [str(task) for task in tasks.unique() if task]
    styles = task_styles(dict.fromkeys([*order, *occurring]))
    return {task: style for task, style in styles.items() if task in occurring}


def _heading(adata: AnnData, key: str, table: pd.DataFrame) -> str:
    """Return what stands beside the genes: classes, columns of vectors, or both."""
    stored = read_results(adata, key).get("tasks")
    named = table.loc[table["category"].ne(""), "task"]
    kinds = (
        {} if stored is None else dict(zip(map(str, stored.index), stored["kind"], strict=True))
    )
    words = {"column" if kinds.get(task) == "vector" else "class" for task in named}
    return " or ".join(sorted(words))


def _limits(rises: pd.Series[float]) -> tuple[float, float] | None:
    """Return the ends of the axis, which holds 0; none if no rise is known."""
    if rises.isna().all():
        return None
    low, high = min(rises.min(), 0.0), max(rises.max(), 0.0)
    pad = 0.04 * (high - low or 1.0)
    return low - pad, high + pad


def _draw(
    ax: Axes, table: pd.DataFrame, styles: dict[str, TaskStyle], heading: str, n_rows: int
) -> None:
    rows = np.arange(len(table))
    hide_grid(ax)
    ax.hlines(rows, 0, table["rise"], color=LIGHT_GREY, linewidth=1.5, zorder=1)
    for task, (color, marker) in {"": NO_TASK, **styles}.items():
        ours = (table["rise"].notna() & (table["task"] == task)).to_numpy()
        fill = np.where(table["imposed"][ours], "white", color)
        style: dict[str, Any] = {"edgecolors": color, "marker": marker, "zorder": 2}
        ax.scatter(table["rise"][ours], rows[ours], s=34, c=fill, **style)
    note: dict[str, Any] = {"color": GREY, "fontsize": "x-small"}
    right = ax.get_yaxis_transform()
    for row, category in enumerate(table["category"]):
        ax.text(1.015, row, category, transform=right, va="center_baseline", **note)
    if table["category"].ne("").any():
        ax.text(1.015, 1, heading, transform=ax.transAxes, va="bottom", weight="bold", **note)
    ax.set_yticks(rows, table["label"], fontsize="small")
    ax.tick_params(axis="y", length=0)
    ax.set_ylim(n_rows - 0.5, -0.7)
    ax.spines[["top", "right"]].set_visible(False)


def _add_titles(
    all_axes: list[Axes],
    title: str,
    styles: dict[str, TaskStyle],
    is_given: bool,
    is_marked: bool,
) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=style.color, marker=style.marker, linestyle="", label=task)
        for task, style in styles.items()
    ]
    if is_marked:
        hollow: dict[str, Any] = {"marker": "o", "linestyle": "", "markerfacecolor": "white"}
        handles.append(Line2D([], [], color=GREY, label=IMPOSED, **hollow))
    all_axes[0].set_title(title, pad=22)  # above the heading of the classes
    if not handles:
        return
    legend: dict[str, Any] = {"handles": handles, "title": LEGEND_TITLE, "fontsize": "small"}
    if is_given:
        all_axes[0].legend(loc="lower right", **legend)
        return
    widest = max(0.6 + 0.085 * len(str(h.get_label())) for h in handles)  # inches of an entry
    figure_of(all_axes[0]).legend(
        loc="outside lower center",
        ncols=max(1, int(COLUMN_INCHES * len(all_axes) / widest)),
        title_fontsize="small",
        frameon=False,
        **legend,
    )
