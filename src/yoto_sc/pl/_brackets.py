"""Labels that scanpy cuts or lets overlap."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import isotonic_regression

from yoto_sc.pl._figure import figure_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from numpy.typing import NDArray

LABEL_INCHES = 0.145
"""Height of a small label and the space it needs."""
LEGEND_INCHES = 0.15
"""Space between the names of the groups and the legend."""


def relabel_brackets(axes: dict[str, Axes], groups: Sequence[str], *, may_move: bool) -> None:
    """Write the names of the groups that have genes beside their brackets, small and in full.

    The legend is moved away from names that would run into it, if it `may_move`.
    """
    texts = axes["gene_group_ax" if "gene_group_ax" in axes else "gene_groups_ax"].texts
    for text in texts:
        text.set_fontsize("small")
    if not texts or texts[0].get_rotation() != 270:
        return
    # genes run down, and scanpy cut the names to the length of the brackets
    for text, name in zip(texts, groups, strict=True):
        text.set(text=name, rotation=0, ha="left", x=0.6)
    if may_move:
        figure = figure_of(axes["color_legend_ax"])
        right = max(text.get_window_extent().x1 for text in texts) + LEGEND_INCHES * figure.dpi
        missing = right - axes["color_legend_ax"].get_window_extent().x0
        for name in axes.keys() & {"color_legend_ax", "size_legend_ax"}:
            place = axes[name].get_position()
            axes[name].set_position(place.translated(max(missing, 0) / figure.bbox.width, 0))


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


def spread_ticks(ax: Axes, *, down: bool) -> None:
    """Move tick labels in increasing order apart, of the y axis if `down`, else of the x axis."""
    width, height = ax.get_position().size * figure_of(ax).get_size_inches()
    axis, inches = (ax.yaxis, height) if down else (ax.xaxis, width)
    labels = [label.get_text() for label in axis.get_ticklabels()]
    first, last = axis.get_view_interval()
    gap = LABEL_INCHES * abs(last - first) / inches
    axis.set_ticks(spread(list(axis.get_ticklocs()), gap), labels)
    axis.set_view_interval(first, last, ignore=True)  # ticks beyond the ends would widen it
