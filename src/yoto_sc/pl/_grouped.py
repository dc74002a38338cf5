"""The panel as scanpy's grouped plots take it: a small AnnData, and genes for each group."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import sparse

from yoto_sc.pl._brackets import relabel_brackets, spread_ticks
from yoto_sc.pl._common import gene_labels, read_panel, read_tasks
from yoto_sc.pl._expression import read_expression
from yoto_sc.pl._figure import (
    draw_with_scanpy,
    figure_of,
    finish,
    fit,
    label_color_bar,
    new_figure,
)

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.axes import Axes
    from numpy.typing import NDArray


class Shown(NamedTuple):
    """Which genes to show, and how to read and name them; as in the public functions."""

    key: str
    n_genes: int | None
    layer: str | None
    use_raw: bool | None
    log: bool | None
    gene_symbols: str | None


class Grouped(NamedTuple):
    """Input of one of scanpy's grouped plots."""

    adata: AnnData
    """The cells that have a group and the panel genes only; safe to change."""
    var_names: dict[str, list[str]]
    """For each group that has any, the genes shown under it."""
    expression: str
    """What the values are, for the colour bar."""
    imposed: frozenset[str] = frozenset()
    """Genes shown that had to be in the panel."""


NO_ROWS = ("ax", "return_fig", "swap_axes", "dendrogram")
"""Arguments of scanpy with which a plot is drawn in one piece."""
GENE_INCHES, GROUP_INCHES = 0.37, 0.35
SCALED = {"var": ", scaled by gene", "group": ", scaled by group"}
"""What a colour bar says of the argument ``standard_scale`` of scanpy."""


def group_panel(adata: AnnData, groupby: str, shown: Shown) -> Grouped:
    """Put each panel gene under the group that expresses it most.

    Cells without a group are left out. Groups come in category order, and the genes of a group
    by rank. The group with the highest mean is also the one with the highest z-score of the mean.
    """
    import anndata as ad

    groups = groups_of(adata, groupby)
    panel = read_panel(adata, shown.key, shown.n_genes)
    genes, had_to = panel.genes, set(panel.imposed)
    labels = np.array(gene_labels(adata, genes, shown.gene_symbols), dtype=object)
    values, expression = read_expression(
        adata, genes, key=shown.key, layer=shown.layer, use_raw=shown.use_raw, log=shown.log
    )
    kept = groups.codes >= 0
    values, groups = values[kept], groups[kept]
    names = pd.Index([str(category) for category in groups.categories])
    codes = pd.Categorical.from_codes(groups.codes, categories=names)
    cells = pd.RangeIndex(len(values)).astype(str)
    small = ad.AnnData(
        values, obs=pd.DataFrame({groupby: codes}, cells), var=pd.DataFrame(index=labels)
    )
    small.uns.update(group_uns(adata, groupby, groups))
    home = highest_group(values, groups.codes, len(names))
    var_names = {names[code]: list(labels[home == code]) for code in np.unique(home)}
    imposed = frozenset(str(label) for g, label in zip(genes, labels, strict=True) if g in had_to)
    return Grouped(small, var_names, expression, imposed)


def highest_group(
    values: NDArray[np.floating[Any]], codes: NDArray[np.integer[Any]], n_groups: int
) -> NDArray[np.intp]:
    """Return the group with the highest mean of each column; the first of several.

    The values are of shape ``(n_obs, n_genes)``, codes ``(n_obs,)``; every group has a cell.

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
    plot: str,
    adata: AnnData,
    groupby: str | None,
    shown: Shown,
    show: bool | None,
    kwargs: dict[str, Any],
    *,
    statistic: str | None = None,
    widest: int | None = None,
) -> Any:
    """Call a grouped plot of scanpy, with further `kwargs`, so that every label can be read.

    The colours are the `statistic` of each group's cells; `None`: a heatmap, the cells' own. Each
    gene has all of them, unless `kwargs` say otherwise: one bright gene would leave the others
    white. More genes than fit beside each other (`widest`) go on in further rows, unless `kwargs`
    say where, or in which order, to draw.
    """
    import scanpy as sc

    kwargs = {"standard_scale": "var", **kwargs}

    groupby = _some_classes(adata, shown.key) if groupby is None else groupby
    grouped = group_panel(adata, groupby, shown)
    order = _shown_order(grouped, groupby, kwargs.get("dendrogram", False))
    var_names = grouped.var_names
    if len(order) < grouped.adata.obs[groupby].cat.categories.size:
        # scanpy follows the dendrogram itself only if genes are shown under every group
        var_names = {group: var_names[group] for group in order}
    scaled = SCALED.get(kwargs["standard_scale"], "")
    if statistic is not None:
        title = f"{statistic} {grouped.expression}\nin group{scaled}"
        kwargs = {"colorbar_title": title, **kwargs}

    scanpys = partial(getattr(sc.pl, plot), grouped.adata, groupby=groupby)
    rows = _rows(var_names, widest or len(grouped.adata.var_names))
    if len(rows) > 1 and not any(kwargs.get(argument) for argument in NO_ROWS):
        return _draw_rows(scanpys, rows, show, kwargs, grouped.imposed)

    def adjust(axes: dict[str, Axes]) -> None:
        if statistic is None:
            spread_ticks(axes["groupby_ax"], down=not kwargs.get("swap_axes", False))
            label_color_bar(axes["heatmap_ax"].images[0], f"{grouped.expression}{scaled}")
        is_own = kwargs.get("ax") is None
        relabel_brackets(axes, order, may_move=is_own)
        _italicise(axes, grouped.imposed)
        if is_own:
            fit(figure_of(next(iter(axes.values()))))

    return draw_with_scanpy(scanpys, var_names, show=show, adjust=adjust, **kwargs)


def _rows(var_names: dict[str, list[str]], widest: int) -> list[dict[str, list[str]]]:
    """Split genes over as few rows as hold them, of about the same length, in their order."""
    every = [(group, gene) for group, genes in var_names.items() for gene in genes]
    rows: list[dict[str, list[str]]] = []
    for part in np.array_split(np.arange(len(every)), -(-len(every) // widest)):
        row: dict[str, list[str]] = {}
        for group, gene in (every[number] for number in part):
            row.setdefault(group, []).append(gene)
        rows.append(row)
    return rows


def _draw_rows(
    scanpys: partial[Any],
    rows: list[dict[str, list[str]]],
    show: bool | None,
    kwargs: dict[str, Any],
    imposed: frozenset[str],
) -> list[dict[str, Axes]] | None:
    """Draw one of scanpy's plots for each row of genes, below one another in one figure."""
    n_groups = scanpys.args[0].obs[scanpys.keywords["groupby"]].cat.categories.size
    longest = max(sum(map(len, row.values())) for row in rows)
    height = GROUP_INCHES * n_groups + 1.6
    figure = new_figure((GENE_INCHES * longest + 3, height * len(rows)), show)
    figure.set_layout_engine("none")  # scanpy's grids know none

    def adjust(axes: dict[str, Axes]) -> None:
        relabel_brackets(axes, [], may_move=False)  # above the genes, where none was cut
        _italicise(axes, imposed)

    drawn = [
        draw_with_scanpy(scanpys, row, show=False, adjust=adjust, **{**kwargs, "ax": ax})
        for row, ax in zip(rows, figure.subplots(len(rows)), strict=True)
    ]
    fit(figure)
    return None if finish(figure.axes[0], given=None, show=show) is None else drawn


def _italicise(axes: dict[str, Axes], imposed: frozenset[str]) -> None:
    """Set genes that had to be in the panel in italics."""
    for axis in (axis for ax in axes.values() for axis in (ax.xaxis, ax.yaxis)):
        for label in axis.get_ticklabels():
            if label.get_text() in imposed:
                label.set_fontstyle("italic")


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


def first_classes(adata: AnnData, key: str) -> str | None:
    """Return the first categorical task, if there is one."""
    kinds = read_tasks(adata, key)["kind"].astype(str)
    categorical = kinds.index[kinds == "categorical"]
    return None if categorical.empty else str(categorical[0])


def _some_classes(adata: AnnData, key: str) -> str:
    """Return the first categorical task."""
    found = first_classes(adata, key)
    if found is None:
        raise ValueError(
            "This selection has no categorical task, so there are no classes to group the cells "
            f"by. Its tasks are {list(read_tasks(adata, key).index)}. Pass `groupby`, a column of "
            "adata.obs."
        )
    return found


def groups_of(adata: AnnData, groupby: str) -> pd.Categorical:
    """Return the group of each cell; only groups that a cell has are categories."""
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


def group_uns(adata: AnnData, groupby: str, groups: pd.Categorical) -> dict[str, Any]:
    """Return the user's group colours, and dendrograms of the same groups."""
    names = {str(category) for category in groups.categories}
    found = {
        name: entry
        for name, entry in adata.uns.items()
        if name.startswith("dendrogram")
        and "categories_ordered" in entry
        and set(map(str, entry["categories_ordered"])) == names
    }
    colors, column = adata.uns.get(f"{groupby}_colors"), adata.obs[groupby]
    if isinstance(column.dtype, pd.CategoricalDtype) and colors is not None:
        all_groups = column.cat.categories
        if len(colors) >= len(all_groups):
            kept = all_groups.get_indexer(groups.categories)
            found[f"{groupby}_colors"] = [colors[position] for position in kept]
    return found
