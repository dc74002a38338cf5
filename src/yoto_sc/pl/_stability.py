"""How often each gene was selected, over seeds and subsamples."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from yoto_sc._keys import DEFAULT_KEY, Keys
from yoto_sc.pl._common import gene_labels
from yoto_sc.pl._docs import fill
from yoto_sc.pl._figure import axes_for, figure_of, finish, literal
from yoto_sc.pl._style import LIGHT_GREY, PALETTE, decimals

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData
    from matplotlib.axes import Axes

ROW_INCHES, COLUMN_INCHES = 0.17, 3.4
MAX_SHOWN = 96
"""Genes shown if it is not said how many."""
MAX_ROWS = 32
"""Genes below one another; more go on in the next column."""
PITCH = 1.5
"""From one column to the next, where a bar is at most 1 long."""


@literal
@fill()
def stability(
    adata: AnnData,
    *,
    key: str = DEFAULT_KEY,
    n_genes: int | None = None,
    gene_symbols: str | None = None,
    ax: Axes | None = None,
    show: bool | None = None,
) -> Axes | None:
    """Show how often each gene was selected, and how much the runs agree.

    The title gives the means over all pairs of runs of the Jaccard index, and of Kuncheva's
    index, which is 0 for panels drawn at random.

    Parameters
    ----------
    adata
        Annotated data with the results of :func:`yoto_sc.tl.stability`; not changed.
    key
        Its ``key_added``.
    n_genes
        Number of genes to show, the most frequent first. ``None``: twice the size of the
        consensus, if so many were selected at all, and at most 96.
    {gene_symbols}
    ax
        Where to draw; ``None``: a new figure, which grows with the number of genes. More than 32
        go on in further columns.
    {show}

    Returns
    -------
    The axes; ``None`` if `show`.

    Raises
    ------
    KeyError
        `adata` holds no results under `key`, or `gene_symbols` is not a column of ``adata.var``.
    ValueError
        `n_genes` is below 1.

    Examples
    --------
    >>> import yoto_sc as yt
    >>> yt.tl.stability(adata, 32, categorical_keys=["cell_type"])  # doctest: +SKIP
    >>> yt.pl.stability(adata)  # doctest: +SKIP
    """
    if n_genes is not None and n_genes < 1:
        raise ValueError(f"n_genes must be at least 1, not {n_genes}.")
    results, var = _read(adata, key)
    n_consensus = int(var["consensus"].sum())
    shown = var[var["frequency"] > 0].iloc[
        : min(2 * n_consensus, MAX_SHOWN) if n_genes is None else n_genes
    ]
    n_columns = -(-len(shown) // MAX_ROWS)
    n_rows = -(-len(shown) // n_columns)
    rows, left = np.arange(len(shown)) % n_rows, np.arange(len(shown)) // n_rows * PITCH
    size = (1.2 + COLUMN_INCHES * n_columns, 1.5 + ROW_INCHES * n_rows)
    ax = axes_for(given := ax, size, show)
    chosen, frequency = shown["consensus"].to_numpy(dtype=bool), shown["frequency"].to_numpy()
    for ours, color, label in (
        (chosen, PALETTE[0], f"in the consensus of {n_consensus}"),
        (~chosen, LIGHT_GREY, "not in it"),
    ):
        if ours.any():
            ax.barh(rows[ours], frequency[ours], 0.75, left=left[ours], color=color, label=label)
    _add_names(ax, gene_labels(adata, list(shown.index), gene_symbols), n_rows, n_columns)
    ax.set_xlabel("share of the runs that selected the gene")
    ax.spines[["top", "right"]].set_visible(False)
    ax.set_title(
        f"{len(results['jaccard'])} runs agree: Jaccard {decimals(results['mean_jaccard'])}, "
        f"Kuncheva {decimals(results['mean_kuncheva'])}",
        fontsize="medium",
    )
    if given is None:
        figure_of(ax).legend(loc="outside lower center", ncols=2, frameon=False, fontsize="small")
    else:
        ax.legend(loc="lower right", fontsize="small")
    return finish(ax, given=given, show=show)


def _add_names(ax: Axes, names: list[str], n_rows: int, n_columns: int) -> None:
    """Name the genes left of their bars, and give every column its own axis of shares."""
    ax.set_yticks(range(n_rows), names[:n_rows], fontsize="small")
    for number, name in enumerate(names[n_rows:], start=n_rows):
        column, row = divmod(number, n_rows)
        place: dict[str, Any] = {"ha": "right", "va": "center", "fontsize": "small"}
        ax.text(column * PITCH - 0.03, row, name, **place)
    starts = PITCH * np.arange(n_columns)
    shares = np.array([0.0, 0.5, 1.0])
    ax.set_xticks((starts[:, None] + shares).ravel(), [f"{x:g}" for x in shares] * n_columns)
    for start in starts[1:]:
        ax.axvline(start, color=LIGHT_GREY, linewidth=0.8, zorder=0)
    ax.tick_params(axis="y", length=0)
    ax.set_ylim(n_rows - 0.4, -0.6)
    ax.set_xlim(0, starts[-1] + 1)


def _read(adata: AnnData, key: str) -> tuple[dict[str, Any], pd.DataFrame]:
    """Return the stored results; and ``frequency`` and ``consensus`` of all genes, sorted."""
    keys = Keys(key)
    results = adata.uns.get(keys.stability)
    columns = {keys.frequency: "frequency", keys.consensus: "consensus"}
    absent = [column for column in columns if column not in adata.var.columns]
    if results is None or absent:
        where = f"var has no column {absent[0]!r}" if absent else f"uns has no {keys.stability!r}"
        raise KeyError(
            f"adata.{where}. Run yoto_sc.tl.stability(adata, …, key_added={key!r}) first, or pass "
            "the key it was run with."
        )
    var = adata.var[list(columns)].rename(columns=columns)
    # Of genes as frequent, those of the consensus come first.
    return dict(results), var.sort_values(
        ["frequency", "consensus"], ascending=False, kind="stable"
    )
