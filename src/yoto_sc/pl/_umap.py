"""Expression of the panel's first genes on an embedding."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from yoto_sc._keys import DEFAULT_KEY, Keys
from yoto_sc._lazy import in_memory
from yoto_sc.pl._common import gene_labels, read_panel
from yoto_sc.pl._docs import fill
from yoto_sc.pl._expression import read_expression
from yoto_sc.pl._figure import draw_with_scanpy, figure_of, fit, label_color_bar, literal
from yoto_sc.pl._grouped import first_classes, group_uns, groups_of
from yoto_sc.pl._style import LIGHT_GREY

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

N_SHOWN = 7
"""Genes shown unless `n_genes` says otherwise; the classes are the eighth plot."""
PANEL_INCHES = (2.7, 2.4)
COLORS = (LIGHT_GREY, "#7FB2D6", "#0072B2", "#00223A")


@literal
@fill()
def selected_genes_umap(
    adata: AnnData,
    groupby: str | None = None,
    *,
    key: str = DEFAULT_KEY,
    n_genes: int | None = None,
    basis: str = "X_umap",
    ncols: int = 4,
    layer: str | None = None,
    use_raw: bool | None = None,
    log: bool | None = None,
    gene_symbols: str | None = None,
    ax: Axes | None = None,
    show: bool | None = None,
    **kwargs: Any,
) -> Any:
    """Show the expression of the panel's most important genes on an embedding, and the classes.

    Parameters
    ----------
    adata
        Annotated data with the results of :func:`yoto_sc.tl.select` and an embedding; not
        changed.
    groupby
        Column of ``adata.obs`` with classes, which are shown after the genes. ``None``: the labels
        of the first categorical task, if `adata` has them and several genes are shown.
    {key}
    n_genes
        Number of genes, most important first. ``None``: the panel, at most its first 7.
    basis
        Entry of ``adata.obsm``, with or without its ``X_``.
    ncols
        Number of plots in a row.
    {expression}
    ax
        Where to draw, for ``n_genes=1`` without `groupby` only; ``None``: a new figure.
    {show}
    **kwargs
        Passed to :func:`scanpy.pl.embedding`, such as ``cmap`` and ``size``.

    Returns
    -------
    The axes, in a list if there are several plots, as scanpy returns; ``None`` if `show`.

    Raises
    ------
    KeyError
        `adata` holds no selection under `key`, no such embedding, layer or column.
    ValueError
        `n_genes` is out of range, `groupby` holds no groups, or `ax` was given for several plots.

    Examples
    --------
    >>> import scanpy as sc
    >>> import yoto_sc as yt
    >>> yt.tl.select(adata, n_genes=32, categorical_keys=["cell_type"])  # doctest: +SKIP
    >>> sc.pp.neighbors(adata, use_rep="X_yoto")  # doctest: +SKIP
    >>> sc.tl.umap(adata)  # doctest: +SKIP
    >>> yt.pl.selected_genes_umap(adata)  # doctest: +SKIP
    """
    import anndata as ad
    import matplotlib as mpl
    from matplotlib.colors import LinearSegmentedColormap
    from scanpy.plotting import embedding

    genes = read_panel(adata, key, n_genes).genes
    if n_genes is None:
        genes = genes[:N_SHOWN]
    if groupby is None and len(genes) > 1:
        first = first_classes(adata, key)
        groupby = first if first in adata.obs.columns else None
    n_plots = len(genes) + (groupby is not None)
    if ax is not None and n_plots > 1:
        raise ValueError(
            f"`ax` holds one plot, but there are {n_plots} to be shown. Pass n_genes=1 and no "
            "`groupby`, or no `ax`."
        )
    name, coordinates = _embedding(adata, basis, key)
    labels = gene_labels(adata, genes, gene_symbols)
    values, expression = read_expression(
        adata, genes, key=key, layer=layer, use_raw=use_raw, log=log
    )
    small = ad.AnnData(
        values,
        var=pd.DataFrame(index=pd.Index(labels, dtype=object)),
        obsm={f"X_{name}": coordinates},
    )
    shown = list(labels)
    if groupby is not None:
        groups = groups_of(adata, groupby)
        title = groupby if groupby not in labels else f"obs: {groupby}"
        small.obs[title] = groups.rename_categories(str)
        colors = group_uns(adata, groupby, groups).get(f"{groupby}_colors")
        if colors is not None:
            small.uns[f"{title}_colors"] = colors
        shown.append(title)
        kwargs.setdefault("legend_fontsize", "small")
    if not {"cmap", "color_map"} & set(kwargs):
        kwargs["cmap"] = LinearSegmentedColormap.from_list("yoto", COLORS)
    kwargs.setdefault("frameon", False)
    if "s" not in kwargs:
        # scanpy's default size is made for larger plots than these
        kwargs.setdefault("size", min(40_000 / adata.n_obs, 60))
    bar_location = kwargs.get("colorbar_loc", "right")
    if ax is not None:
        # scanpy would take the room for the colour bar from pyplot's current figure
        kwargs |= {"ax": ax, "colorbar_loc": None}

    def adjust(drawn: Any) -> None:
        every = drawn if isinstance(drawn, list) else [drawn]
        if ax is not None and bar_location is not None:
            figure_of(ax).colorbar(ax.collections[-1], ax=ax, location=bar_location)
        for axes in every:
            label_color_bar(axes.collections[-1], expression)
        if ax is None:
            fit(figure_of(every[0]))

    with mpl.rc_context({"figure.figsize": PANEL_INCHES}):  # the size of one of scanpy's plots
        return draw_with_scanpy(
            embedding, small, name, color=shown, ncols=ncols, show=show, adjust=adjust, **kwargs
        )


def _embedding(adata: AnnData, basis: str, key: str) -> tuple[str, NDArray[Any]]:
    """Return the name of an embedding without its ``X_``, and the coordinates."""
    for name in (basis, f"X_{basis}"):
        if name in adata.obsm:
            return name.removeprefix("X_"), in_memory(adata.obsm[name])
    raise KeyError(
        f"adata.obsm has no embedding {basis!r}, only {list(adata.obsm)}. Compute one first: "
        f"sc.pp.neighbors(adata, use_rep={Keys(key).latent!r}); sc.tl.umap(adata)."
    )
