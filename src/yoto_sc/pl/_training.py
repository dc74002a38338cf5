"""Loss and panel size over training."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from yoto_sc._keys import DEFAULT_KEY
from yoto_sc.pl._common import read_table
from yoto_sc.pl._docs import fill
from yoto_sc.pl._figure import axes_for, finish, hide_grid
from yoto_sc.pl._style import GREY, PALETTE

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData
    from matplotlib.axes import Axes

LOSSES = {
    "train_loss": ("training cells", PALETTE[0], "-"),
    "validation_loss": ("held-out cells", PALETTE[1], "--"),
}


@fill()
def training(
    adata: AnnData, *, key: str = DEFAULT_KEY, ax: Axes | None = None, show: bool | None = None
) -> Axes | None:
    """Show the loss on training and held-out cells while the panel shrinks.

    A line parts the two phases: genes are selected, then the panel is fixed, and a network learns
    to predict from it. The loss is another one there, which takes fewer genes in account as well,
    and begins higher.

    Parameters
    ----------
    {adata}
    {key}
    {ax}

    Returns
    -------
    The axes of the loss; those of the panel size share their x axis. ``None`` if `show`.

    Raises
    ------
    KeyError
        `adata` holds no selection under `key`.

    Examples
    --------
    {select}
    >>> yt.pl.training(adata)  # doctest: +SKIP
    """
    history = read_table(adata, key, "history", ["step", "n_genes", *LOSSES])
    history = history.astype(float).sort_values("step", kind="stable")
    ax = axes_for(given := ax, (6.4, 3.8), show)
    for column, (label, color, line) in LOSSES.items():
        observed = history[history[column].notna()]
        ax.plot(
            observed["step"],
            observed[column],
            color=color,
            linestyle=line,
            marker="o" if len(observed) <= 50 else "",
            markersize=4,
            label=label,
        )
    ax.set_xlabel("training step")
    ax.set_ylabel("loss")
    ax.set_title("Training", pad=20)
    ax.spines["top"].set_visible(False)
    _add_sizes(ax, history)
    _add_phases(ax, history)
    ax.legend(loc="best", fontsize="small", title="loss on", title_fontsize="small")
    return finish(ax, given=given, show=show)


def _add_sizes(ax: Axes, history: pd.DataFrame) -> None:
    """Draw the panel size behind the losses, on an axis of its own."""
    sizes = ax.twinx()
    hide_grid(sizes)
    sizes.fill_between(
        history["step"], history["n_genes"], step="post", color=GREY, alpha=0.15, linewidth=0
    )
    top = max(float(np.nanmax(history["n_genes"])), 1.0)
    ticks = 2.0 ** np.arange(0, np.floor(np.log2(top)) + 1)
    sizes.set_yscale("log", base=2)
    sizes.set_ylim(0.9, 1.2 * top)
    sizes.set_yticks(ticks, [f"{tick:.0f}" for tick in ticks], fontsize="small")
    sizes.set_yticks([], minor=True)
    sizes.set_ylabel("panel size (genes, grey area)", color=GREY)
    sizes.tick_params(axis="y", colors=GREY)
    sizes.spines["top"].set_visible(False)
    ax.set_zorder(sizes.get_zorder() + 1)  # the losses lie on top, so
    ax.patch.set_visible(False)  # their background must let the area through


def _add_phases(ax: Axes, history: pd.DataFrame) -> None:
    """Name the phases above the axes, and draw the line between them."""
    steps, sizes = history["step"].to_numpy(), history["n_genes"].to_numpy()
    selecting = steps[sizes > sizes[-1]]
    first, last = steps[0], steps[-1]
    fixed = selecting[-1] if len(selecting) else first
    phases = [(first, fixed, "selecting genes"), (fixed, last, "panel fixed: learning from it")]
    for start, stop, name in phases:
        if stop > start:
            ax.text(
                (start + stop) / 2,
                1.02,
                name,
                transform=ax.get_xaxis_transform(),
                ha="center",
                color=GREY,
                fontsize="small",
            )
    if first < fixed < last:
        ax.axvline(fixed, color=GREY, linestyle=":", linewidth=1.2)
