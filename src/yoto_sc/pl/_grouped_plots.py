"""The panel through scanpy's plots of groups."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from yoto_sc._keys import DEFAULT_KEY
from yoto_sc.pl._docs import fill
from yoto_sc.pl._grouped import Shown, draw_grouped

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.axes import Axes


@fill(plot="dotplot", result="DotPlot")
def selected_genes_dotplot(
    adata: AnnData,
    groupby: str | None = None,
    *,
    key: str = DEFAULT_KEY,
    n_genes: int | None = None,
    layer: str | None = None,
    use_raw: bool | None = None,
    log: bool | None = None,
    gene_symbols: str | None = None,
    ax: Axes | None = None,
    show: bool | None = None,
    return_fig: bool = False,
    **kwargs: Any,
) -> Any:
    """Show the panel as a dot plot, each gene under the group that expresses it most.

    {means}
    """
    shown = Shown(key, n_genes, layer, use_raw, log, gene_symbols)
    kwargs |= {"ax": ax, "return_fig": return_fig}
    return draw_grouped("dotplot", adata, groupby, shown, show, kwargs, statistic="Mean")


@fill(plot="matrixplot", result="MatrixPlot")
def selected_genes_matrixplot(
    adata: AnnData,
    groupby: str | None = None,
    *,
    key: str = DEFAULT_KEY,
    n_genes: int | None = None,
    layer: str | None = None,
    use_raw: bool | None = None,
    log: bool | None = None,
    gene_symbols: str | None = None,
    ax: Axes | None = None,
    show: bool | None = None,
    return_fig: bool = False,
    **kwargs: Any,
) -> Any:
    """Show the panel as a matrix plot, each gene under the group that expresses it most.

    {means}
    """
    shown = Shown(key, n_genes, layer, use_raw, log, gene_symbols)
    kwargs |= {"ax": ax, "return_fig": return_fig}
    return draw_grouped("matrixplot", adata, groupby, shown, show, kwargs, statistic="Mean")


@fill(plot="stacked_violin", result="StackedViolin")
def selected_genes_stacked_violin(
    adata: AnnData,
    groupby: str | None = None,
    *,
    key: str = DEFAULT_KEY,
    n_genes: int | None = None,
    layer: str | None = None,
    use_raw: bool | None = None,
    log: bool | None = None,
    gene_symbols: str | None = None,
    ax: Axes | None = None,
    show: bool | None = None,
    return_fig: bool = False,
    **kwargs: Any,
) -> Any:
    """Show the panel as stacked violins, each gene under the group that expresses it most.

    Of more than 20 genes, further ones are drawn below, and a list of dictionaries of axes is
    returned, one for each row of violins. With ``ax``, ``return_fig``, ``swap_axes`` or
    ``dendrogram``, all are drawn in one piece.

    {means}
    """
    shown = Shown(key, n_genes, layer, use_raw, log, gene_symbols)
    kwargs |= {"ax": ax, "return_fig": return_fig}
    return draw_grouped(
        "stacked_violin", adata, groupby, shown, show, kwargs, statistic="Median", widest=20
    )


@fill()
def selected_genes_heatmap(
    adata: AnnData,
    groupby: str | None = None,
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
        Passed to :func:`scanpy.pl.heatmap`. By default each gene is scaled to its own range
        (``standard_scale="var"``); ``None`` shows expression as it is. That function
        always makes a figure of its own and takes no ``ax``.

    Returns
    -------
    Dictionary of axes, as scanpy returns; ``None`` if `show`.

    Raises
    ------
    TypeError
        `ax` was given.
    {grouped_raises}

    Examples
    --------
    {select}
    >>> yt.pl.selected_genes_heatmap(adata, groupby="cell_type")  # doctest: +SKIP
    """
    if "ax" in kwargs:
        raise TypeError(
            "selected_genes_heatmap takes no `ax`: scanpy.pl.heatmap makes a figure of its own. "
            "Use selected_genes_matrixplot(adata, groupby, ax=ax) for means on given axes."
        )
    shown = Shown(key, n_genes, layer, use_raw, log, gene_symbols)
    kwargs.setdefault("show_gene_labels", True)
    return draw_grouped("heatmap", adata, groupby, shown, show, kwargs)
