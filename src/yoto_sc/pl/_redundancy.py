"""Correlation of the panel's genes with each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from yoto_sc._keys import DEFAULT_KEY
from yoto_sc.pl._common import gene_labels, read_panel
from yoto_sc.pl._docs import fill
from yoto_sc.pl._expression import read_expression
from yoto_sc.pl._figure import axes_for, figure_of, finish, literal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anndata import AnnData
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

MAX_NAMED = 100
"""The names of more genes would be too small to read."""


@literal
@fill()
def redundancy(
    adata: AnnData,
    *,
    key: str = DEFAULT_KEY,
    genes: Sequence[str] | None = None,
    layer: str | None = None,
    use_raw: bool | None = None,
    gene_symbols: str | None = None,
    ax: Axes | None = None,
    show: bool | None = None,
) -> Axes | None:
    """Show which genes of a panel repeat each other.

    Pearson correlation over all cells, of the logarithm of counts or of normalised expression as
    it is. Genes are ordered by average-linkage clustering of one minus the absolute correlation,
    so that genes that repeat each other form blocks.

    Parameters
    ----------
    adata
        Annotated data with the results of :func:`yoto_sc.tl.select`, or any if `genes` are given;
        not changed.
    {key}
    genes
        Var names to show in place of the selected genes.
    {source}
    {gene_symbols}
    {ax}

    Returns
    -------
    The axes; ``None`` if `show`. The title gives the mean and the largest absolute correlation of
    two genes. A gene that is the same in all cells is grey.

    Raises
    ------
    KeyError
        `adata` holds no selection under `key`, or a gene, column or layer does not exist.
    ValueError
        There are fewer than two genes, or one is named twice.

    Examples
    --------
    >>> import yoto_sc as yt
    >>> adata = yt.datasets.pbmc68k()
    >>> ax = yt.pl.redundancy(adata, genes=["CD3D", "CD3E", "NKG7"])
    >>> [label.get_text() for label in ax.get_xticklabels()]
    ['NKG7', 'CD3E', 'CD3D']
    """
    names = read_panel(adata, key).genes if genes is None else _given(adata, genes)
    if len(names) < 2:
        raise ValueError(f"Redundancy is between genes; {names} is one only. Pass at least two.")
    labels = gene_labels(adata, names, gene_symbols)
    values, scale = read_expression(adata, names, key=key, layer=layer, use_raw=use_raw)
    correlation = _correlation(values)
    order = _order(correlation)
    shown = correlation[np.ix_(order, order)]
    size = np.abs(shown[np.triu_indices(len(shown), k=1)])
    size = size[~np.isnan(size)]
    np.fill_diagonal(shown, np.nan)  # every gene is itself

    inches = 1.0 + 0.2 * min(max(len(names), 10), 50)
    ax = axes_for(given := ax, (inches + 2.0, inches + 1.0), show)
    limit = max(np.ceil(10 * size.max(initial=0)) / 10, 0.1)
    image = ax.imshow(np.ma.masked_invalid(shown), cmap="RdBu_r", vmin=-limit, vmax=limit)
    ax.set_facecolor("0.85")
    ordered = [labels[gene] for gene in order]
    if len(names) > MAX_NAMED:
        ordered = []
        ax.set_xlabel(f"{len(names)} genes")
    fontsize = min(8, 400 / len(names))
    ax.set_xticks(range(len(ordered)), ordered, rotation=90, fontsize=fontsize)
    ax.set_yticks(range(len(ordered)), ordered, fontsize=fontsize)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    title = "No two genes vary"
    if size.size:
        title = f"Redundancy: |r| is {size.mean():.2f} on average, {size.max():.2f} at most"
    ax.set_title(title, fontsize="medium")
    figure_of(ax).colorbar(image, ax=ax, shrink=0.6, label=f"correlation of {scale}")
    return finish(ax, given=given, show=show)


def _given(adata: AnnData, genes: Sequence[str]) -> list[str]:
    names = [genes] if isinstance(genes, str) else list(genes)
    unknown = [gene for gene in names if gene not in adata.var_names]
    if unknown:
        raise KeyError(f"`genes` names {unknown}, not in adata.var_names.")
    twice = sorted({gene for gene in names if names.count(gene) > 1})
    if twice:
        raise ValueError(f"`genes` names {twice} more than once.")
    return names


def _correlation(values: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return Pearson correlations, NaN for genes that are the same in all cells."""
    with np.errstate(invalid="ignore", divide="ignore"):
        correlation = np.atleast_2d(np.corrcoef(values, rowvar=False, dtype=np.float64))
    constant = np.ptp(values, axis=0) == 0
    correlation[constant] = correlation[:, constant] = np.nan
    return correlation


def _order(correlation: NDArray[np.float64]) -> NDArray[np.intp]:
    """Put genes that repeat each other side by side; genes that are constant count as apart."""
    from scipy.cluster.hierarchy import leaves_list, linkage, optimal_leaf_ordering
    from scipy.spatial.distance import squareform

    distance = 1 - np.abs(np.nan_to_num(correlation))
    np.fill_diagonal(distance, 0)
    pairs = squareform(distance, checks=False)
    tree = optimal_leaf_ordering(linkage(pairs, "average"), pairs)
    return leaves_list(tree).astype(np.intp)
