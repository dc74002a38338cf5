"""How much genes are expressed, and where."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from yoto_sc._checks import check_column, mask_of
from yoto_sc.data._reading import read_expression

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anndata import AnnData
    from numpy.typing import NDArray

FEW_CELLS = 50
"""Of a class with fewer cells, the share that expresses a gene is taken of so many."""
FLOOR_IN_CLASS, FLOOR_IN_ALL = 0.05, 0.01
"""Genes are hardly seen if no class, or, without classes, no such share of all cells has them."""
MAX_GROUPS = 200
"""More groups are numbers, or names of cells, rather than types."""


def summarize(
    adata: AnnData, genes: Sequence[str], groupby: str | None = None, layer: str | None = None
) -> pd.DataFrame:
    """Return mean expression and detection of some genes, over all cells and in each group.

    Parameters
    ----------
    genes
        Var names.
    groupby
        Column of ``adata.obs``; cells without an entry are in no group.
    layer
        Layer to read, as stored; `None`: where :func:`read_expression` does.

    Returns
    -------
    One row for each gene. The columns are ``mean`` over all cells, ``detection``, which is the
    share of cells that express the gene, and both for each group, such as ``mean (B cell)``.

    Raises
    ------
    KeyError
        A gene, `groupby` or `layer` does not exist.
    ValueError
        `groupby` has too many groups, or expression is not finite and non-negative.
    """
    mask_of(adata.var_names, genes, "genes")
    names, codes = ["all"], np.zeros((adata.n_obs, 1), dtype=np.intp)
    if groupby is not None:
        check_column(adata.obs, groupby, "groupby")
        groups = pd.Categorical(adata.obs[groupby]).remove_unused_categories()
        if len(groups.categories) > MAX_GROUPS:
            raise ValueError(
                f"groupby={groupby!r} has {len(groups.categories)} groups; columns are written "
                f"for at most {MAX_GROUPS}."
            )
        names += [str(category) for category in groups.categories]
        codes = np.column_stack([codes, np.where(groups.codes < 0, -1, groups.codes + 1)])
    cells, place = np.nonzero(codes >= 0)
    ones = np.ones(len(cells))
    members: Any = sp.csr_array((ones, (codes[cells, place], cells)), (len(names), adata.n_obs))
    x = read_expression(adata, layer, genes).take(None, None, raw=True)
    n_cells = members.sum(axis=1)[:, None]
    means, detection = (members @ x).toarray() / n_cells, (members @ (x > 0)).toarray() / n_cells
    columns: dict[str, NDArray[np.float64]] = {}
    for name, mean, share in zip(names, means, detection, strict=True):
        where = f" ({name})" if columns else ""
        columns |= {f"mean{where}": mean, f"detection{where}": share}
    return pd.DataFrame(columns, index=pd.Index(list(genes)))
