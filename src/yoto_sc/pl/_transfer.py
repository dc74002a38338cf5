"""What is lost on the way to another assay."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from yoto_sc.pl._docs import fill
from yoto_sc.pl._figure import axes_for, finish
from yoto_sc.pl._style import GREY, PALETTE, metric_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

SCORES = ("reference", "query", "adapted", "ceiling")
COLUMNS = ("panel", "task", "metric", *SCORES)


@fill()
def transfer(
    table: pd.DataFrame, *, ax: Axes | None = None, show: bool | None = None
) -> Axes | None:
    """Show what lists of genes lose on the way to another assay, and what comes back.

    A grey line goes from the score on the reference (ring) down to that on the query (cross); a
    coloured one from there to the score with alignment (dot). The bar is the ceiling: what the
    same genes tell if labels of the query are known.

    Parameters
    ----------
    table
        What :func:`yoto_sc.tl.transfer` returned, or some of its rows.
    {ax}

    Returns
    -------
    The axes, a block of rows for each task, a row for each list; ``None`` if `show`.

    Raises
    ------
    KeyError
        `table` lacks a column of :func:`yoto_sc.tl.transfer`.
    TypeError
        `table` is no DataFrame.
    ValueError
        `table` is empty.

    Examples
    --------
    >>> import pandas as pd
    >>> import yoto_sc as yt
    >>> table = pd.DataFrame(
    ...     {
    ...         "panel": ["markers", "selected"],
    ...         "task": "cell_type",
    ...         "metric": "macro_f1",
    ...         "reference": [0.90, 0.94],
    ...         "query": [0.62, 0.70],
    ...         "adapted": [0.71, 0.81],
    ...         "ceiling": [0.83, 0.89],
    ...     }
    ... )
    >>> ax = yt.pl.transfer(table)
    >>> [label.get_text() for label in ax.get_yticklabels()]
    ['markers', 'selected']
    """
    if not isinstance(table, pd.DataFrame):
        raise TypeError(
            f"table must be what yoto_sc.tl.transfer returned, not a {type(table).__name__}."
        )
    absent = [column for column in COLUMNS if column not in table.columns]
    if absent:
        raise KeyError(
            f"The table has no column {absent[0]!r}. Pass what yoto_sc.tl.transfer returned."
        )
    if table.empty:
        raise ValueError("The table has no row.")
    blocks = list(table.groupby("task", sort=False))
    panels = list(table["panel"].unique())
    labels = [
        label
        for task, block in blocks
        for label in (
            [f"{task} ({metric_name(block['metric'].iloc[0])})"] * (len(blocks) > 1)
            + block["panel"].tolist()
        )
    ]
    longest = max(map(len, labels))
    ax = axes_for(given := ax, (4.6 + 0.07 * longest, 1.5 + 0.3 * len(labels)), show)
    at = 0
    for _, block in blocks:
        if len(blocks) > 1:
            at += 1
        for panel, *scores in block[["panel", *SCORES]].itertuples(index=False):
            _draw(ax, at, scores, PALETTE[panels.index(panel) % len(PALETTE)])
            at += 1
    ax.set_yticks(range(len(labels)), labels, fontsize="small")
    if len(blocks) > 1:
        start = 0
        for _, block in blocks:
            ax.get_yticklabels()[start].set_fontweight("bold")
            start += 1 + len(block)
    ax.set_ylim(len(labels) - 0.4, -0.6)
    ax.tick_params(axis="y", length=0)
    ax.grid(axis="x", color="0.92")
    ax.set_axisbelow(True)
    ax.spines[["top", "right", "left"]].set_visible(False)
    metrics = " or ".join(metric_name(metric) for metric in table["metric"].unique())
    ax.set_xlabel(metrics)
    ax.set_title(
        "○ reference   ✖ query   ● adapted   | ceiling", loc="left", fontsize="small", color=GREY
    )
    return finish(ax, given=given, show=show)


def _draw(ax: Axes, at: int, scores: Sequence[float], color: str) -> None:
    """Draw one list's way from the reference to the query, and back."""
    reference, query, adapted, ceiling = scores
    ax.plot([query, reference], [at, at], color="0.8", linewidth=2.5, zorder=1)
    ax.plot([query, adapted], [at, at], color=color, linewidth=2.5, zorder=2)
    ax.plot(ceiling, at, "|", color="black", markersize=14, zorder=3)
    ax.plot(reference, at, "o", color=GREY, markerfacecolor="white", markersize=8, zorder=3)
    ax.plot(query, at, "X", color=GREY, markersize=8, markeredgecolor="white", zorder=3)
    ax.plot(adapted, at, "o", color=color, markersize=9, markeredgecolor="white", zorder=4)
