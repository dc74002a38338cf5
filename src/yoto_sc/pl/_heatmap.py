"""The panel as a heatmap of cells."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from yoto_sc._keys import DEFAULT_KEY
from yoto_sc.pl._brackets import spread_ticks
from yoto_sc.pl._docs import GROUPED, GROUPED_RAISES, SHOW, fill
from yoto_sc.pl._figure import figure_of
from yoto_sc.pl._grouped import draw_grouped, group_panel

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.axes import Axes


@fill(grouped=GROUPED, show=SHOW, raises=GROUPED_RAISES)
def selected_genes_heatmap(
    adata: AnnData,
    groupby: str,
    *,
    key: str = DEFAULT_KEY,
    n_genes: int | None = None,
    layer: str | None = None,
    use_raw: bool | None = None,
    log: bool | None = None,
    gene_symbols: str | None = None,
    show: bool | None = None,
    **kwargs: Any,
) -> Any:
    """Show the panel in every cell, each gene under the group that expresses it most.

    Parameters
    ----------
    {grouped}
    {show}
    **kwargs
        Passed to :func:`scanpy.pl.heatmap`, such as ``standard_scale="var"``. That function
        always makes a figure of its own and takes no ``ax``.

    Returns
    -------
    Dictionary of axes, as scanpy returns; ``None`` if `show`.

    Raises
    ------
    TypeError
        `ax` was given.
    {raises}

    Examples
    --------
    >>> import yoto_sc as yt
    >>> yt.tl.select(adata, n_genes=32, categorical_keys=["cell_type"])  # doctest: +SKIP
    >>> yt.pl.selected_genes_heatmap(adata, groupby="cell_type")  # doctest: +SKIP
    """
    from scanpy.plotting import heatmap

    if "ax" in kwargs:
        raise TypeError(
            "selected_genes_heatmap takes no `ax`: scanpy.pl.heatmap makes a figure of its own. "
            "Use selected_genes_matrixplot(adata, groupby, ax=ax) for means on given axes."
        )
    grouped = group_panel(
        adata,
        groupby,
        key=key,
        n_genes=n_genes,
        layer=layer,
        use_raw=use_raw,
        log=log,
        gene_symbols=gene_symbols,
    )
    scaled = ", scaled" if kwargs.get("standard_scale") else ""

    def adjust(axes: dict[str, Axes]) -> None:
        if "groupby_ax" in axes:
            _spread_groups(axes["groupby_ax"], down=not kwargs.get("swap_axes", False))
        bar = axes["heatmap_ax"].images[0].colorbar
        if bar is not None:
            bar.set_label(f"{grouped.expression}{scaled}", fontsize="small")
            bar.ax.tick_params(labelsize="small")

    kwargs.setdefault("show_gene_labels", True)
    return draw_grouped(heatmap, grouped, groupby, show=show, adjust=adjust, **kwargs)


def _spread_groups(ax: Axes, *, down: bool) -> None:
    """Move the names of small groups apart; `down`: the groups stand one below the other."""
    width, height = ax.get_position().size * figure_of(ax).get_size_inches()
    axis, inches = (ax.yaxis, height) if down else (ax.xaxis, width)
    spread_ticks(axis, inches)
