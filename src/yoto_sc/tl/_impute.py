"""`tl.impute`: the genes that were not measured, from those that were."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd
from anndata import AnnData

from yoto_sc._checks import as_list, check_adata, check_panel
from yoto_sc._keys import DEFAULT_KEY, Keys
from yoto_sc._progress import shows_progress
from yoto_sc.tl._models import as_model

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from yoto_sc.model import YOTO


@shows_progress
def impute(
    adata: AnnData,
    model: str | Path | YOTO,
    *,
    genes: Sequence[str] | None = None,
    layer: str | None = None,
    missing: Literal["error", "zero"] = "error",
    layer_added: str | None = None,
    key_added: str = DEFAULT_KEY,
    copy: bool = False,
) -> AnnData | None:
    """Tell the expression of genes that were not measured, from the panel.

    The model predicts the leading components of the transcriptome from the panel, and every gene
    by ridge regression on these. That tells well what moves with the components, and little of
    genes that go their own way: each gene comes with its correlation on held-out cells, so that
    nobody trusts a bad one. The model must have learned the transcriptome
    (``yoto_sc.tl.select(…, transcriptome=True)``).

    Parameters
    ----------
    adata
        Annotated data that holds at least the panel's genes, in any order, as for
        :func:`yoto_sc.tl.predict`.
    model
        A :class:`yoto_sc.model.YOTO`, or the directory it was saved to.
    genes
        Genes of the training data; `None`: all of them outside the panel or, with `layer_added`,
        all that `adata` holds too.
    layer
        Layer to read the panel from, as in :func:`yoto_sc.tl.predict`.
    missing
        What to do about panel genes that `adata` lacks, as in :func:`yoto_sc.tl.predict`.
    layer_added
        Write to this layer of `adata`, for genes that it holds, rather than to a new object; NaN
        for its other genes.
    key_added
        Prefix of the column of ``var``.
    copy
        With `layer_added`: return a changed copy instead of changing `adata`.

    Returns
    -------
    An object of shape ``(n_obs, n_genes)`` with expression in ``X``, float32; with `layer_added`,
    `None`, or the changed copy if `copy`. Expression is that of cells brought to the median total
    of the training cells, then ``log1p``; as in the training data, if these came normalised. Sets
    (for the default key)

    var["yoto_correlation"] : float32
        Pearson's correlation of imputed and true expression, on cells held out from a first
        training; NaN where it was not measured.

    Raises
    ------
    FileNotFoundError
        There is no model in the directory.
    KeyError
        A gene is unknown, or a panel gene is missing.
    TypeError
        An argument is of the wrong type.
    ValueError
        The model has not learned the transcriptome, or expression is not of the kind that it was
        trained on.

    Examples
    --------
    >>> import yoto_sc as yt
    >>> adata = yt.datasets.pbmc68k()
    >>> yt.tl.select(
    ...     adata, 16, transcriptome=True, max_steps=40, progress_bar=False, model_dir="my_model"
    ... )
    >>> measured = yt.Panel.from_adata(adata).subset(adata)  # 16 genes, nothing else
    >>> imputed = yt.tl.impute(measured, "my_model", genes=["HLA-DRA", "CD74"])
    >>> imputed.shape, bool((imputed.var["yoto_correlation"] > 0.5).all())
    ((700, 2), True)
    """
    check_adata(adata, copy=copy)
    model = as_model(model)
    column = Keys(key_added).correlation
    known = model.selection.panel.table.index
    asked = None if genes is None else as_list(genes, "genes")
    if layer_added is not None:
        if not isinstance(layer_added, str):
            raise TypeError(f"layer_added must be the name of a layer, not {layer_added!r}.")
        if asked is None:
            asked = list(adata.var_names[adata.var_names.isin(known)])
        check_panel(adata.var_names, asked, "genes")
    values = model.impute(adata, asked, layer=layer, missing=missing)
    correlation = pd.Series(model.decoder().correlation, index=known)[values.columns]
    if layer_added is None:
        var = pd.DataFrame({column: correlation})
        return AnnData(values.to_numpy(), obs=adata.obs.copy(), var=var)
    whole = np.full(adata.shape, np.nan, dtype=np.float32)
    whole[:, adata.var_names.get_indexer(values.columns)] = values.to_numpy()
    adata = adata.copy() if copy else adata
    adata.layers[layer_added] = whole
    adata.var[column] = correlation.reindex(adata.var_names).to_numpy()
    return adata if copy else None
