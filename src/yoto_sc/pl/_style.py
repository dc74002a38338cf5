"""Colours, markers and names that all plots share."""

from __future__ import annotations

from itertools import cycle, product
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

# Okabe & Ito's palette, which stays apart under every common colour blindness. Its yellow is left
# out, for it is hardly seen on white, and its black is kept for text.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKERS = ("o", "s", "^", "D", "v", "P")
GREY = "#6B6B6B"
LIGHT_GREY = "#D9D9D9"

METRIC_NAMES = {
    "macro_f1": "macro-F1",
    "r2": "R²",
    "column_r2": "R² of a column",
    "rmse": "RMSE",
    "pearson_r": "Pearson r",
    "knn_overlap": "share of nearest neighbours kept",
    "leiden_nmi": "NMI of Leiden clusters",
    "mean_abs_correlation": "mean |r| of two genes",
    "max_abs_correlation": "largest |r| of two genes",
    "marker_coverage": "share of known markers",
    "marker_classes": "share of classes with a marker",
}
"""How a column of the metrics table is written in a figure; others with spaces for underscores."""


class TaskStyle(NamedTuple):
    """How one task is drawn in every plot."""

    color: str
    marker: str


def task_styles(tasks: Iterable[str]) -> dict[str, TaskStyle]:
    """Give each task a colour, and a marker that changes when the colours start again."""
    looks = zip(tasks, cycle(product(MARKERS, PALETTE)), strict=False)
    return {task: TaskStyle(color, marker) for task, (marker, color) in looks}


def metric_name(metric: str) -> str:
    """Return the name of a metric as it is written in a figure."""
    return METRIC_NAMES.get(metric, metric.replace("_", " "))


def decimals(value: float) -> str:
    """Return a number with two decimals and a true minus sign."""
    return f"{value:.2f}".replace("-", "\N{MINUS SIGN}")
