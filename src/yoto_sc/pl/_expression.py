"""Expression of a few genes, read from where the selection read it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from yoto_sc._lazy import in_memory
from yoto_sc.pl._common import read_results

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
    """Read the expression of `genes` in all cells; of sparse or backed matrices only theirs.

    Where from and whether as ``log1p`` are as in the public functions. Returns values of shape
    ``(n_obs, len(genes))``, and what they are, for labels.
    """
    matrix = in_memory(_columns(adata, list(genes), _source(adata, key, layer, use_raw)))
    matrix = matrix.toarray() if hasattr(matrix, "toarray") else matrix
    values = np.asarray(matrix, dtype=np.float32)
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
    params = read_results(adata, key).get("params", {})
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
