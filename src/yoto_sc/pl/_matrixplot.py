"""The panel as a matrix plot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from yoto_sc._keys import DEFAULT_KEY
from yoto_sc.pl._docs import GROUPED, GROUPED_RAISES, SHOW, fill
from yoto_sc.pl._grouped import color_title, draw_grouped, group_panel

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.axes import Axes


@fill(grouped=GROUPED, show=SHOW, raises=GROUPED_RAISES)
def selected_genes_matrixplot(
    adata: AnnData,
    groupby: str,
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

    Parameters
    ----------
    {grouped}
    ax
        Where to draw; ``None``: a new figure.
    {show}
    return_fig
        Return scanpy's ``MatrixPlot`` to style further; nothing is drawn yet.
    **kwargs
        Passed to :func:`scanpy.pl.matrixplot`, such as ``standard_scale="var"``.

    Returns
    -------
    Dictionary of axes, as scanpy returns; ``None`` if `show`.

    Raises
    ------
    {raises}

    Examples
    --------
    >>> import yoto_sc as yt
    >>> yt.tl.select(adata, n_genes=32, categorical_keys=["cell_type"])  # doctest: +SKIP
    >>> yt.pl.selected_genes_matrixplot(adata, groupby="cell_type")  # doctest: +SKIP
    """
    from scanpy.plotting import matrixplot

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
    kwargs.setdefault("colorbar_title", color_title("Mean", grouped.expression, kwargs))
    return draw_grouped(
        matrixplot, grouped, groupby, ax=ax, show=show, return_fig=return_fig, **kwargs
    )
