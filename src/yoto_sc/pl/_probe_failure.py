"""The score against the number of genes that were lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

from yoto_sc.pl._common import check_returned
from yoto_sc.pl._docs import fill
from yoto_sc.pl._figure import axes_for, finish, literal
from yoto_sc.pl._style import decimals, metric_name, task_styles

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

COLUMNS = ("n_lost", "draw", "task", "metric", "score")


@literal
@fill()
def probe_failure(
    table: pd.DataFrame,
    *,
    ax: Axes | None = None,
    show: bool | None = None,
) -> Axes | None:
    """Show what a panel is worth when probes fail.

    A line goes through the means over draws, and the area reaches from the worst draw to the best.

    Parameters
    ----------
    table
        What :func:`yoto_sc.tl.probe_failure` returned, or some of its rows.
    {ax}

    Returns
    -------
    The axes; ``None`` if `show`.

    Raises
    ------
    KeyError
        `table` lacks a column of :func:`yoto_sc.tl.probe_failure`.
    TypeError
        `table` is no DataFrame.

    Examples
    --------
    >>> import yoto_sc as yt
    >>> adata = yt.datasets.pbmc68k()
    >>> yt.tl.select(adata, 8, categorical_keys="phase", max_steps=40, progress_bar=False)
    >>> table = yt.tl.probe_failure(adata, n_lost=[0, 2, 4], n_draws=3, progress_bar=False)
    >>> yt.pl.probe_failure(table).get_xlabel()
    'genes lost'
    """
    check_returned(table, "yoto_sc.tl.probe_failure", COLUMNS)
    ax = axes_for(given := ax, (5.2, 3.6), show)
    tasks = list(dict.fromkeys(table["task"].astype(str)))
    for task, (color, marker) in task_styles(tasks).items():
        rows = table[table["task"].astype(str) == task].dropna(subset="score")
        score = rows.groupby("n_lost")["score"]
        means, metric = score.mean(), str(rows["metric"].iloc[0]) if len(rows) else ""
        span = f" ({metric_name(metric)} {decimals(means.iloc[0])})" if len(rows) else ""
        ax.plot(
            means.index, means, color=color, marker=marker, markersize=4, label=f"{task}{span}"
        )
        ax.fill_between(
            means.index, score.min(), score.max(), color=color, alpha=0.15, linewidth=0
        )
    metrics = list(dict.fromkeys(metric_name(metric) for metric in table["metric"].astype(str)))
    ax.set_xlabel("genes lost")
    ax.set_ylabel(f"held-out {' or '.join(metrics)}")
    ax.set_title("Mean over draws, worst to best", fontsize="medium")
    ax.locator_params(axis="x", integer=True)
    ax.set_ylim(min(0.0, *ax.get_ylim()), max(1.0, *ax.get_ylim()))
    ax.grid(axis="y", color="0.92")
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(loc="best", frameon=False, fontsize="small")
    return finish(ax, given=given, show=show)
