"""Labels that scanpy cuts or lets overlap."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import isotonic_regression

from yoto_sc.pl._figure import figure_of, widen_gap

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from numpy.typing import NDArray

LABEL_INCHES = 0.145
"""Height of a small label and the space it needs."""


def relabel_brackets(axes: dict[str, Axes], groups: Sequence[str], *, may_widen: bool) -> None:
    """Write the names of the groups beside their brackets in small letters, and in full.

    Parameters
    ----------
    axes
        What scanpy's grouped plots return.
    groups
        Names of the groups that have genes, in the order shown.
    may_widen
        Widen the figure where names stand at the right and would run into the legend.
    """
    brackets = axes.get("gene_group_ax", axes.get("gene_groups_ax"))
    texts = [] if brackets is None else list(brackets.texts)
    for text in texts:
        text.set_fontsize("small")
    if not texts or texts[0].get_rotation() != 270:
        return
    # genes run down, and scanpy cut the names to the length of the brackets
    for text, name in zip(texts, groups, strict=True):
        text.set(text=name, rotation=0, ha="left", x=0.6)
    legend = axes.get("color_legend_ax")
    if may_widen and legend is not None:
        to_inches = figure_of(legend).dpi_scale_trans.inverted()
        right = max(text.get_window_extent().transformed(to_inches).x1 for text in texts)
        missing = right + 0.15 - legend.get_window_extent().transformed(to_inches).x0
        if missing > 0:
            widen_gap(legend, missing)


def spread(positions: Sequence[float], gap: float) -> NDArray[np.float64]:
    """Move sorted positions as little as possible until all are `gap` apart.

    Examples
    --------
    >>> spread([0.0, 1.0, 5.0], 2.0).tolist()
    [-0.5, 1.5, 5.0]
    """
    steps = gap * np.arange(len(positions))
    moved: NDArray[np.float64] = isotonic_regression(np.asarray(positions) - steps).x + steps
    return moved


def spread_ticks(axis: Axis, inches: float) -> None:
    """Move the tick labels of an axis apart where they would overlap.

    Parameters
    ----------
    axis
        An axis with ticks in increasing order.
    inches
        Length of the axis.
    """
    labels = [label.get_text() for label in axis.get_ticklabels()]
    first, last = axis.get_view_interval()
    gap = LABEL_INCHES * abs(last - first) / inches
    axis.set_ticks(spread(list(axis.get_ticklocs()), gap), labels)
    axis.set_view_interval(first, last, ignore=True)  # ticks beyond the ends would widen it
