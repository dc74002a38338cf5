"""The panel as scanpy's grouped plots take it: a small AnnData, and genes for each group."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import sparse

from yoto_sc.pl._brackets import relabel_brackets
from yoto_sc.pl._common import gene_labels, read_panel
from yoto_sc.pl._expression import read_expression
from yoto_sc.pl._figure import draw_with_scanpy, fit

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from anndata import AnnData
    from matplotlib.axes import Axes
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Grouped:
    """Input of one of scanpy's grouped plots.

    Parameters
    ----------
    adata
        The labelled cells and the panel genes only; safe to change.
    var_names
        For each group that has any, the genes shown under it.
    expression
        What the values are, for the colour bar.
    """

    adata: AnnData
    var_names: dict[str, list[str]]
    expression: str


def group_panel(
    adata: AnnData,
    groupby: str,
    *,
    key: str,
    n_genes: int | None,
    layer: str | None,
    use_raw: bool | None,
    log: bool | None,
    gene_symbols: str | None,
) -> Grouped:
    """Put each panel gene under the group that expresses it most.

    Cells without a group are left out. Groups come in category order, and the genes of a group
    by rank. The group with the highest mean is also the one with the highest z-score of the mean.

    Parameters
    ----------
    adata
        Annotated data with the results of a selection; not changed.
    groupby
        Column of ``adata.obs`` that holds the groups.
    key, n_genes, layer, use_raw, log, gene_symbols
        As in the public functions.

    Raises
    ------
    KeyError
        There is no selection under `key`, or `groupby` is not a column.
    ValueError
        `groupby` holds no group, or continuous numbers.
    """
    import anndata as ad

    groups = _groups(adata, groupby)
    genes = read_panel(adata, key, n_genes).genes
    labels = gene_labels(adata, genes, gene_symbols)
    values, expression = read_expression(
        adata, genes, key=key, layer=layer, use_raw=use_raw, log=log
    )
    kept = groups.codes >= 0
    values, groups = values[kept], groups[kept]
    names = [str(category) for category in groups.categories]
    small = ad.AnnData(
        values,
        obs=pd.DataFrame(
            {groupby: pd.Categorical.from_codes(groups.codes, categories=pd.Index(names))},
            index=pd.RangeIndex(len(values)).astype(str),
        ),
        var=pd.DataFrame(index=pd.Index(labels, dtype=object)),
    )
    small.uns.update(_group_uns(adata, groupby, groups))
    home = highest_group(values, groups.codes, len(names))
    var_names = {
        name: [label for label, code in zip(labels, home, strict=True) if code == number]
        for number, name in enumerate(names)
    }
    return Grouped(small, {name: found for name, found in var_names.items() if found}, expression)


def highest_group(
    values: NDArray[np.floating[Any]], codes: NDArray[np.integer[Any]], n_groups: int
) -> NDArray[np.intp]:
    """Return the group with the highest mean of each column; the first of several.

    Parameters
    ----------
    values
        Expression, of shape ``(n_obs, n_genes)``.
    codes
        Group of each cell, of shape ``(n_obs,)``; every group has a cell.
    n_groups
        Number of groups.

    Returns
    -------
    Codes of shape ``(n_genes,)``.

    Examples
    --------
    >>> import numpy as np
    >>> highest_group(np.array([[0.0, 3.0], [2.0, 1.0], [4.0, 1.0]]), np.array([0, 1, 1]), 2)
    array([1, 0])
    """
    members = sparse.csr_array(
        (np.ones(len(codes)), (codes, np.arange(len(codes)))), shape=(n_groups, len(codes))
    )
    means = (members @ values) / np.bincount(codes, minlength=n_groups)[:, None]
    return np.argmax(means, axis=0)


def draw_grouped(
    plot: Callable[..., Any],
    grouped: Grouped,
    groupby: str,
    *,
    ax: Axes | None = None,
    show: bool | None,
    return_fig: bool = False,
    adjust: Callable[[Any], None] | None = None,
    **kwargs: Any,
) -> Any:
    """Call a grouped plot of scanpy so that every label can be read.

    Parameters
    ----------
    plot
        ``scanpy.pl.dotplot`` or one of its kin.
    grouped
        From :func:`group_panel`.
    groupby
        The column that holds the groups.
    ax, show, return_fig
        As in the public functions.
    adjust
        Called with the dictionary of axes that scanpy returns.
    **kwargs
        Passed to `plot`.
    """
    order = _shown_order(grouped, groupby, kwargs.get("dendrogram", False))
    var_names = grouped.var_names
    if len(order) < grouped.adata.obs[groupby].cat.categories.size:
        # scanpy follows the dendrogram itself only if genes are shown under every group
        var_names = {group: var_names[group] for group in order}
    extra: dict[str, Any] = {"return_fig": True} if return_fig else {}
    if ax is not None:
        extra["ax"] = ax

    def adjust_axes(axes: Any) -> None:
        if return_fig:
            return
        if adjust is not None:
            adjust(axes)
        relabel_brackets(axes, order, may_widen=ax is None)
        if ax is None:
            fit(next(iter(axes.values())))

    return draw_with_scanpy(
        plot,
        grouped.adata,
        var_names,
        groupby,
        show=show,
        adjust=adjust_axes,
        **extra,
        **kwargs,
    )


def _shown_order(grouped: Grouped, groupby: str, dendrogram: bool | str) -> list[str]:
    """Return the groups that genes are shown under, in the order of the dendrogram if any."""
    groups = list(grouped.var_names)
    if not dendrogram or grouped.adata.obs[groupby].cat.categories.size <= 2:
        return groups
    import scanpy as sc

    name = dendrogram if isinstance(dendrogram, str) else f"dendrogram_{groupby}"
    if name not in grouped.adata.uns:
        sc.tl.dendrogram(grouped.adata, groupby, use_rep="X", key_added=name)
    ordered = map(str, grouped.adata.uns[name]["categories_ordered"])
    return [group for group in ordered if group in groups]


def color_title(statistic: str, expression: str, kwargs: Mapping[str, Any]) -> str:
    r"""Return the title of a colour bar.

    Examples
    --------
    >>> color_title("Mean", "log1p expression", {"standard_scale": "var"})
    'Mean log1p expression\nin group, scaled'
    """
    scaled = ", scaled" if kwargs.get("standard_scale") else ""
    return f"{statistic} {expression}\nin group{scaled}"


def _groups(adata: AnnData, groupby: str) -> pd.Categorical:
    if not isinstance(groupby, str):
        raise ValueError(
            f"groupby takes the name of one column of adata.obs, not {groupby!r}. To group by "
            "several, join them into one column first."
        )
    if groupby not in adata.obs.columns:
        raise KeyError(
            f"groupby={groupby!r} is not a column of adata.obs. The columns are "
            f"{list(adata.obs.columns)}."
        )
    column = adata.obs[groupby]
    if pd.api.types.is_float_dtype(column.dtype):
        raise ValueError(
            f"groupby={groupby!r} holds continuous numbers (dtype {column.dtype}), not groups. "
            "Pass a categorical column, or bin it first with pandas.cut."
        )
    groups = pd.Categorical(column).remove_unused_categories()
    if len(groups.categories) == 0:
        raise ValueError(
            f"groupby={groupby!r} holds no group: every value is missing. Pass another column."
        )
    return groups


def _group_uns(adata: AnnData, groupby: str, groups: pd.Categorical) -> dict[str, Any]:
    """Return the user's group colours, and dendrograms of the same groups."""
    found: dict[str, Any] = {}
    colors, column = adata.uns.get(f"{groupby}_colors"), adata.obs[groupby]
    if isinstance(column.dtype, pd.CategoricalDtype) and colors is not None:
        all_groups = column.cat.categories
        if len(colors) >= len(all_groups):
            found[f"{groupby}_colors"] = [
                colors[position] for position in all_groups.get_indexer(groups.categories)
            ]
    names = {str(category) for category in groups.categories}
    for name, entry in adata.uns.items():
        if (
            name.startswith("dendrogram")
            and "categories_ordered" in entry
            and set(map(str, entry["categories_ordered"])) == names
        ):
            found[name] = entry
    return found
