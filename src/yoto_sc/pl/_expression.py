"""Expression of a few genes, read from where the selection read it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

from yoto_sc.pl._common import read_params

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from anndata import AnnData
    from numpy.typing import NDArray


def read_expression(
    adata: AnnData,
    genes: Sequence[str],
    *,
    key: str,
    layer: str | None = None,
    use_raw: bool | None = None,
    log: bool | None = None,
) -> tuple[NDArray[np.float32], str]:
    """Read the expression of `genes` in all cells.

    Parameters
    ----------
    adata
        Annotated data. Of sparse or backed matrices only the columns of `genes` are read.
    genes
        Var names.
    key
        The selection's ``key_added``.
    layer, use_raw
        Where to read from; both ``None``: where the selection read.
    log
        Return ``log1p`` of the values; ``None``: if they are counts, that is whole numbers.

    Returns
    -------
    Values of shape ``(n_obs, len(genes))``, and what they are: ``"log1p expression"`` or
    ``"expression"``.

    Raises
    ------
    KeyError
        The layer, ``adata.raw`` or a gene in it does not exist.
    ValueError
        Both a layer and raw were asked for, or there is no ``X``.
    """
    values = _dense(_columns(adata, list(genes), _source(adata, key, layer, use_raw)))
    if log is None:
        log = bool((values >= 0).all() and (values == np.rint(values)).all())
    return (np.log1p(values), "log1p expression") if log else (values, "expression")


def _source(adata: AnnData, key: str, layer: str | None, use_raw: bool | None) -> str:
    if layer is not None and use_raw:
        raise ValueError(
            f"Expression is read from one place, but both layer={layer!r} and use_raw=True were "
            "given. Pass one of them."
        )
    if layer is not None:
        return f"layers/{layer}"
    if use_raw is not None:
        return "raw" if use_raw else "X"
    params = read_params(adata, key)
    stored = params.get("layer")
    return str(params.get("expression") or (f"layers/{stored}" if stored else "X"))


def _columns(adata: AnnData, genes: list[str], source: str) -> Any:
    if source == "raw":
        if adata.raw is None:
            raise KeyError(
                "Expression is to be read from adata.raw, which is not set. Pass `layer`, or "
                "use_raw=False to read adata.X."
            )
        absent = [gene for gene in genes if gene not in adata.raw.var_names]
        if absent:
            raise KeyError(f"adata.raw lacks {len(absent)} panel genes: {absent}.")
        return adata.raw[:, genes].X
    if source.startswith("layers/"):
        layer = source.removeprefix("layers/")
        if layer not in adata.layers:
            raise KeyError(
                f"Expression is to be read from adata.layers[{layer!r}], which does not exist. "
                f"The layers are {list(adata.layers)}. Pass one as `layer`, or use_raw=False to "
                "read adata.X."
            )
        return adata[:, genes].layers[layer]
    if adata.X is None:
        raise ValueError(
            "Expression is to be read from adata.X, which is None. Pass `layer`, or use_raw=True."
        )
    return adata[:, genes].X


def _dense(matrix: Any) -> NDArray[np.float32]:
    if sparse.issparse(matrix):
        matrix = matrix.toarray()  # type: ignore[attr-defined]
    return np.asarray(matrix, dtype=np.float32)
