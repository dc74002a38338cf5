"""What lists of genes lose on the way to another assay, and what is won back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from yoto_sc.pl._common import check_returned
from yoto_sc.pl._docs import fill
from yoto_sc.pl._figure import axes_for, figure_of, finish, hide_grid, literal, new_figure
from yoto_sc.pl._style import GREY, PALETTE, decimals, metric_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from matplotlib.axes import Axes

COLUMNS = ("panel", "task", "metric", "reference", "query", "adapted", "ceiling", "n_query")
LOWEST = -0.25
"""Where the axis ends if R² falls below; it has no lower bound."""
LIST_INCHES = 1.05
LETTER_INCHES = 0.085
MIN_SPAN = 0.2
"""The axis shows this much of the score at least, so that noise does not look like a fall."""


class _Stage(NamedTuple):
    """How one score of a list is drawn."""

    label: str
    offset: float
    color: str
    marker: str
    above: bool
    """Where its number stands."""


STAGES = {
    "reference": _Stage("reference, held-out cells", -0.24, PALETTE[0], "o", above=True),
    "query": _Stage("query as it is", 0.0, PALETTE[1], "v", above=False),
    "adapted": _Stage("query, aligned", 0.24, PALETTE[2], "^", above=True),
}
CEILING = "ceiling: trained on the query's labels"


@literal
@fill()
def transfer(
    table: pd.DataFrame,
    *,
    task: str | None = None,
    ax: Axes | None = None,
    show: bool | None = None,
) -> Axes | list[Axes] | None:
    """Show how much lists of genes lose on the way to another assay, and what is won back.

    For each list, a line goes from the score on held-out cells of the reference to that on the
    query as it is, and on to that with alignment. The dashed line is what the same genes tell to
    an estimator that has learned from the query's own labels. R² below −0.25 is drawn at the
    lower end, with its value.

    Parameters
    ----------
    table
        What :func:`yoto_sc.tl.transfer` returned, or some of its rows.
    task
        A task of the table; ``None``: all of them, one below the other.
    ax
        Where to draw one task; ``None``: a new figure, which grows with the number of lists and
        tasks.
    {show}

    Returns
    -------
    The axes; a list of them, if there are several tasks; ``None`` if `show`.

    Raises
    ------
    KeyError
        `table` lacks a column of :func:`yoto_sc.tl.transfer`, or has no such task.
    TypeError
        `table` is no DataFrame.
    ValueError
        `table` is empty, or there are several tasks for one `ax`.

    Examples
    --------
    >>> import pandas as pd
    >>> import yoto_sc as yt
    >>> table = pd.DataFrame(
    ...     {
    ...         "panel": ["ours", "markers"],
    ...         "task": "cell_type",
    ...         "metric": "macro_f1",
    ...         "reference": [0.9, 0.85],
    ...         "query": [0.6, 0.65],
    ...         "adapted": [0.75, 0.7],
    ...         "ceiling": [0.82, 0.8],
    ...         "n_query": 400,
    ...     }
    ... )
    >>> ax = yt.pl.transfer(table)
    >>> [label.get_text() for label in ax.get_xticklabels()]
    ['ours', 'markers']
    """
    blocks = _blocks(table, task)
    if ax is not None and len(blocks) > 1:
        raise ValueError(
            f"One `ax` holds one task, but the table has {list(blocks)}. Name one in `task`."
        )
    panels = list(dict.fromkeys(name for block in blocks.values() for name in block["panel"]))
    longest = max(map(len, panels))
    is_turned = longest * LETTER_INCHES > LIST_INCHES
    size = (
        max(4.6, 0.9 + LIST_INCHES * len(panels)),
        0.8 + 2.1 * len(blocks) + (0.045 * longest if is_turned else 0),
    )
    if len(blocks) == 1:
        drawn = [axes_for(ax, size, show)]
    else:
        drawn = list(new_figure(size, show).subplots(len(blocks), sharex=True))
    for one, (name, block) in zip(drawn, blocks.items(), strict=True):
        hide_grid(one)
        _draw(one, name, block, panels)
    turned: dict[str, Any] = {"rotation": 25, "ha": "right", "rotation_mode": "anchor"}
    drawn[-1].set_xticks(range(len(panels)), panels, **(turned if is_turned else {}))
    _explain(drawn[-1], is_ours=ax is None)
    shown = finish(drawn[0], given=ax, show=show)
    return drawn if len(drawn) > 1 and shown is not None else shown


def _blocks(table: pd.DataFrame, task: str | None) -> dict[str, pd.DataFrame]:
    """Return the rows of each task that is to be drawn."""
    check_returned(table, "yoto_sc.tl.transfer", COLUMNS)
    if table.empty:
        raise ValueError("The table has no rows.")
    blocks = {str(name): block for name, block in table.groupby("task", sort=False)}
    if task is not None and task not in blocks:
        raise KeyError(f"The table has no task {task!r}. Its tasks are {list(blocks)}.")
    return blocks if task is None else {task: blocks[task]}


def _draw(ax: Axes, task: str, block: pd.DataFrame, panels: Sequence[str]) -> None:
    """Draw one task, a line for each list."""
    metric = str(block["metric"].iloc[0])
    columns = [*STAGES, "ceiling"]
    scores = block.set_index("panel")[columns].astype(np.float64)
    low, high = _scale(ax, scores.to_numpy())
    for at, panel in enumerate(panels):
        if panel not in scores.index:
            continue
        row = scores.loc[panel]
        x = np.array([at + stage.offset for stage in STAGES.values()])
        y = row[list(STAGES)].to_numpy()
        seen = np.isfinite(y)
        if seen.any():
            ax.plot(x[seen], y[seen].clip(low, high), color="0.65", linewidth=1.6, zorder=2)
        ends = [at - 0.1, at + 0.42]  # beside the two scores that it is the ceiling of
        ax.plot(ends, np.full(2, row["ceiling"]), color="0.25", linestyle=(0, (3, 2)), zorder=1)
        for place, value, stage in zip(x, y, STAGES.values(), strict=True):
            if np.isfinite(value):
                _mark(ax, place, value, stage, low)
    ax.set_xlim(-0.6, len(panels) - 0.4)
    ax.set_ylabel(metric_name(metric))
    ax.grid(axis="y", color="0.92")
    ax.set_axisbelow(True)
    ax.tick_params(axis="x", length=0)
    ax.spines[["top", "right"]].set_visible(False)
    ax.set_title(task, loc="left", fontsize="medium", fontweight="bold")
    n_cells = block["n_query"].dropna().unique()
    if len(n_cells) == 1:
        note = f"{int(n_cells[0]):,} cells of the query"
        ax.set_title(note, loc="right", fontsize="small", color=GREY)


def _scale(ax: Axes, scores: np.ndarray) -> tuple[float, float]:
    """Set the limits, with room for numbers; return the lowest and the highest point drawn."""
    found = scores[np.isfinite(scores)].clip(LOWEST, None)
    low, high = (float(found.min()), float(found.max())) if found.size else (0.0, 1.0)
    if high - low < MIN_SPAN:
        middle = (low + high) / 2
        low, high = middle - MIN_SPAN / 2, middle + MIN_SPAN / 2
    room = 0.17 * (high - low)
    ax.set_ylim(low - room, high + room)
    return low, high


def _mark(ax: Axes, x: float, value: float, stage: _Stage, low: float) -> None:
    """Draw one score, and its number."""
    from matplotlib.patheffects import withStroke

    y = max(value, low)
    look: dict[str, Any] = {"color": stage.color, "markersize": 8, "markeredgecolor": "white"}
    ax.plot(x, y, stage.marker, zorder=3, **look)
    ax.annotate(
        decimals(value),
        (x, y),
        xytext=(0, 6 if stage.above else -6),
        textcoords="offset points",
        ha="center",
        va="bottom" if stage.above else "top",
        fontsize="small",
        color=stage.color,
        zorder=4,
        path_effects=[withStroke(linewidth=2.5, foreground="white")],  # lines may pass behind
    )


def _explain(ax: Axes, *, is_ours: bool) -> None:
    """Say what the marks are."""
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], linestyle="", marker=stage.marker, color=stage.color, label=stage.label)
        for stage in STAGES.values()
    ]
    handles.append(Line2D([], [], color="0.25", linestyle=(0, (3, 2)), label=CEILING))
    look: dict[str, Any] = {"handles": handles, "fontsize": "small", "frameon": False}
    if is_ours:
        figure_of(ax).legend(loc="outside lower center", ncols=2, **look)
    else:
        ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=2, **look)
