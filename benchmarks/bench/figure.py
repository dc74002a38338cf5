"""The figure: score against panel size, one panel of the figure for each data set."""

from __future__ import annotations

from typing import TYPE_CHECKING

import matplotlib.pyplot as plt
import numpy as np

from bench.compare import all_splits
from bench.names import METHOD_NAMES

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

# Okabe & Ito's palette; markers and line styles differ too, and ours is the only heavy line.
_STYLES = {
    "yoto": ("#D55E00", "o", "-"),
    "yoto_prefix64": ("#D55E00", "s", ":"),
    "yoto_published": ("#E69F00", "D", "--"),
    "stepwise": ("#0072B2", "^", "-"),
    "l1_logistic": ("#009E73", "v", "-"),
    "wilcoxon": ("#56B4E9", "P", "-"),
    "t_test": ("#56B4E9", "X", "--"),
    "forest": ("#CC79A7", "<", "-"),
    "highly_variable": ("#6B6B6B", ">", "--"),
    "random": ("#6B6B6B", ".", ":"),
    "spapros": ("#000000", "*", "-"),
    "markermap": ("#000000", "d", "--"),
    "lassonet": ("#000000", "p", ":"),
    "nsforest": ("#000000", "h", "-."),
    "activesvc": ("#E69F00", "H", ":"),
}
_COLUMNS = 4
_LOW = ("highly_variable", "random")
"""Far below all others; with the whole of their lines, the others could not be told apart."""


def draw(summary: pd.DataFrame, path: Path) -> None:
    """Draw the setting in which cells are held out; of several tasks, their mean."""
    summary = all_splits(summary)
    rows = summary[(summary["score"] == "logistic_macro_f1") & (summary["setting"] == "cells")]
    several = rows.groupby("dataset")["tasks"].transform(
        lambda t: not (~t.str.contains(r"\+")).any()
    )
    rows = rows[~rows["tasks"].str.contains(r"\+") | several]
    means = rows.groupby(["dataset", "tasks", "method", "size"], sort=False)["mean"].mean()
    questions = list(rows[["dataset", "tasks"]].drop_duplicates().itertuples(index=False))
    n_rows = -(-len(questions) // _COLUMNS)
    figure, axes = plt.subplots(
        n_rows, _COLUMNS, figsize=(12, 3 * n_rows + 0.8), squeeze=False, layout="constrained"
    )
    handles: dict[str, plt.Line2D] = {}
    for ax, question in zip(axes.flat, questions, strict=False):
        own = means.xs(tuple(question), level=("dataset", "tasks"))
        for method, style in _STYLES.items():
            if method in own.index.get_level_values("method"):
                values = own.loc[method].sort_index()
                handles[method] = _line(ax, values, method, style)
        others = own[~own.index.isin(_LOW, level="method")]
        margin = 0.06 * (own.max() - others.min())
        ax.set_ylim(others.min() - margin, own.max() + margin)
        ax.set_title(f"{question[0]}: {question[1]}", fontsize=10)
        ax.set_xscale("log", base=2)
        sizes = np.unique(own.index.get_level_values("size"))
        ax.set_xticks(sizes, [str(size) for size in sizes])
        ax.grid(color="#E5E5E5", linewidth=0.6)
        ax.spines[["top", "right"]].set_visible(False)
    for ax in axes[-1]:
        ax.set_xlabel("genes in the panel")
    for ax in axes.flat[len(questions) :]:
        ax.set_axis_off()
    figure.supylabel("macro-F1, logistic regression on held-out cells", fontsize=10)
    shown = [name for name in METHOD_NAMES if name in handles]
    figure.legend(
        [handles[name] for name in shown],
        [METHOD_NAMES[name] for name in shown],
        loc="outside lower center",
        ncols=5,
        frameon=False,
    )
    figure.savefig(path, dpi=130)
    plt.close(figure)


def _line(ax: plt.Axes, values: pd.Series, method: str, style: tuple[str, str, str]) -> plt.Line2D:
    color, marker, line = style
    heavy = method == "yoto"
    return ax.plot(
        values.index,
        values,
        color=color,
        marker=marker,
        linestyle=line,
        linewidth=2.4 if heavy else 1.2,
        markersize=6 if heavy else 4.5,
        zorder=3 if heavy else 2,
    )[0]
