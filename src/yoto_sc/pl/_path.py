"""Held-out score against panel size."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from yoto_sc._keys import DEFAULT_KEY
from yoto_sc.pl._common import read_panel, read_table, read_tasks
from yoto_sc.pl._docs import fill
from yoto_sc.pl._figure import axes_for, figure_of, finish, literal
from yoto_sc.pl._style import GREY, decimals, metric_name, task_styles

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from anndata import AnnData
    from matplotlib.axes import Axes

SHOWN = ("macro_f1", "r2")
"""The metric to draw of a task that has several."""
OPEN: dict[str, Any] = {"linestyle": "none", "markersize": 4, "markerfacecolor": "white"}
LOWEST = -0.25
"""Where the axis ends if R² falls below; it has no lower bound."""
MAX_TICKS = 8
"""With more panel sizes beside each other their numbers would touch."""


@literal
@fill()
def path(
    adata: AnnData,
    *,
    key: str = DEFAULT_KEY,
    tasks: str | Sequence[str] | None = None,
    ax: Axes | None = None,
    show: bool | None = None,
) -> Axes | None:
    """Show how well each task is predicted by panels of every size.

    Scores are those of held-out cells: macro-F1 for classes, R² for numbers, for vectors and for
    the transcriptome. The band is one standard error to either side, from bootstrap samples of
    these cells. The legend gives each task's score at the size of the panel, or at the nearest
    size measured. Filled markers are the network's predictions; open ones, at sizes above those
    that the network was trained for, come from ridge regression on some of the cells.

    Parameters
    ----------
    {adata}
    {key}
    tasks
        Tasks to show; ``None``: all.
    {ax}

    Returns
    -------
    The axes; ``None`` if `show`.

    Raises
    ------
    KeyError
        `adata` holds no selection under `key`, or one of `tasks` was not part of it.

    Examples
    --------
    {select}
    >>> yt.pl.path(adata)  # doctest: +SKIP
    """
    chosen = read_panel(adata, key).n_genes
    columns = ["n_genes", "task", "metric", "score", "standard_error", "predictor"]
    scores = read_table(adata, key, "path", columns)
    names = [str(task) for task in read_tasks(adata, key).index]
    styles = task_styles(names)
    shown = _asked(tasks, names)
    curves = {task: curve for task in shown if len(curve := _curve(scores, task))}
    ax = axes_for(given := ax, (6.4, 4.0), show)
    for task, curve in curves.items():
        size, score = curve["n_genes"].to_numpy(), curve["score"].to_numpy()
        at = score[np.abs(np.log2(size / chosen)).argmin()]
        label = f"{task} ({metric_name(curve['metric'].iloc[0])} {decimals(at)})"
        color, marker = styles[task]
        ax.plot(size, score, color=color, marker=marker, markersize=4, label=label)
        error = curve["standard_error"].fillna(0).to_numpy()
        ax.fill_between(size, score - error, score + error, color=color, alpha=0.15, linewidth=0)
        others = curve[curve["predictor"] != "network"]
        ax.plot(others["n_genes"], others["score"], color=color, marker=marker, **OPEN)
    if any((curve["predictor"] != "network").any() for curve in curves.values()):
        ax.plot([], [], color=GREY, marker="o", label="open: ridge regression", **OPEN)
    ax.axvline(chosen, color=GREY, linestyle="--", linewidth=1, zorder=0)
    note: dict[str, Any] = {"color": GREY, "fontsize": "small", "ha": "center", "va": "bottom"}
    ax.text(chosen, 1.01, f"panel: {chosen}", transform=ax.get_xaxis_transform(), **note)
    _scale_sizes(ax, [*(size for c in curves.values() for size in c["n_genes"]), chosen])
    _scale_scores(ax, [score for curve in curves.values() for score in curve["score"]])
    metrics = list(dict.fromkeys(metric_name(c["metric"].iloc[0]) for c in curves.values()))
    shown_as = metrics[0] if len(metrics) == 1 else f"score ({' or '.join(metrics)})"
    ax.set_ylabel(f"held-out {shown_as}")
    ax.set_title("Score against panel size", pad=22)
    if not curves:
        ax.text(0.5, 0.5, "no held-out scores", transform=ax.transAxes, color=GREY, ha="center")
    elif given is None:
        figure_of(ax).legend(loc="outside right upper", frameon=False, fontsize="small")
    else:
        ax.legend(loc="best", fontsize="small")
    return finish(ax, given=given, show=show)


def _asked(tasks: str | Sequence[str] | None, names: list[str]) -> list[str]:
    asked = names if tasks is None else [tasks] if isinstance(tasks, str) else list(tasks)
    unknown = [task for task in asked if task not in names]
    if unknown:
        raise KeyError(
            f"The task {unknown[0]!r} was not part of this selection. Its tasks are {names}."
        )
    return asked


def _curve(scores: pd.DataFrame, task: str) -> pd.DataFrame:
    """Return the finite scores of `task`, smallest panel first."""
    ours = scores[(scores["task"].astype(str) == task) & scores["score"].notna()]
    ours = ours[ours["metric"].isin(SHOWN)]
    return ours.astype({"n_genes": float, "score": float}).sort_values("n_genes")


def _scale_sizes(ax: Axes, sizes: list[float]) -> None:
    """Use a log2 axis with plain numbers at powers of two, widely enough spaced."""
    low, high = np.log2(min(sizes)), np.log2(max(sizes))
    powers = np.arange(np.ceil(low), np.floor(high) + 1)
    ticks = list(2 ** powers[:: -(-len(powers) // MAX_TICKS)]) if len(powers) else [min(sizes)]
    ax.set_xscale("log", base=2)
    ax.set_xticks(ticks, [f"{tick:.0f}" for tick in ticks], fontsize="small")
    ax.set_xticks([], minor=True)
    ax.set_xlim(2 ** (low - 0.3), 2 ** (high + 0.3))
    ax.set_xlabel("panel size (genes)")


def _scale_scores(ax: Axes, scores: list[float]) -> None:
    """Show 0 to 1, and some of what is below; say so where something is cut off."""
    lowest = min([*scores, 0.0])
    low = max(lowest - 0.03, LOWEST) if lowest < 0 else 0.0
    ax.set_ylim(low, max([*scores, 1.0]) + 0.02)
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(axis="y", color="0.92")
    if lowest < low:
        ax.set_xlabel(f"{ax.get_xlabel()}\nScores below {decimals(low)} are not shown.")
