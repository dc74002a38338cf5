"""From an AnnData object to its expression: which place is read, and by which reader."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
import scipy.sparse as sp

from yoto_sc.data._chunked import ChunkedExpression, as_chunks, extremes_of, gathered
from yoto_sc.data._in_memory import MemoryExpression
from yoto_sc.data._values import Extremes, canonical

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anndata import AnnData
    from numpy.typing import NDArray

    from yoto_sc.data._expression import Expression

logger = logging.getLogger(__name__)
_COUNTS = ("counts", "raw_counts", "count")
"""Usual names of layers with counts."""
_LARGEST_LOG = 50.0
"""Logarithms of expression are smaller, whatever their base."""


def read_expression(
    adata: AnnData,
    layer: str | None = None,
    genes: Sequence[str] | None = None,
    *,
    raw: Literal["if_scaled", "if_present"] = "if_scaled",
) -> Expression:
    """Read and check ``adata.X`` or a layer, which may be in memory, on disk, or a dask array.

    Parameters
    ----------
    layer
        Layer to read; `None` reads ``X``, or ``adata.raw`` as `raw` says.
    genes
        Var names to read, in this order, all of them in `adata`; `None`: all genes. Only what is
        read is checked, and a few genes may well be zero in all cells.
    raw
        When to read ``adata.raw`` in place of ``X``, provided that it holds all the genes: where
        ``X`` was scaled (it holds negative values), or always.

    Raises
    ------
    KeyError
        `layer` does not exist.
    TypeError
        The matrix holds no real numbers.
    ValueError
        The matrix is absent, zero everywhere, or holds negative, infinite or NaN values.
    """
    if layer is not None and layer not in adata.layers:
        raise KeyError(
            f"layer={layer!r} is not in adata.layers. The layers are {list(adata.layers)}; "
            "None reads adata.X."
        )
    source = "X" if layer is None else f"layers/{layer}"
    values = adata.X if layer is None else adata.layers[layer]
    if values is None:
        raise ValueError("adata.X is None. Name the layer that holds expression in `layer`.")
    names = adata.var_names if genes is None else pd.Index(genes)
    columns = None if genes is None else adata.var_names.get_indexer(names)
    few = genes is not None
    matrix, extremes = _opened(values, columns, source, few=few)
    wanted = raw == "if_present" or (raw == "if_scaled" and extremes.low < 0)
    unscaled = adata.raw if layer is None and wanted else None
    if unscaled is not None and names.isin(unscaled.var_names).all():
        source = "raw"
        columns = unscaled.var_names.get_indexer(names)
        matrix, extremes = _opened(unscaled.X, columns, source, few=few)
    extremes.check(source)
    if genes is None and extremes.high == 0:
        raise ValueError(
            f"adata.{source} is zero everywhere. Name the layer that holds expression in `layer`."
        )
    if genes is None and not extremes.are_integers:
        _hint(adata, source, extremes.high)
    seen = source, extremes.are_integers, extremes.high
    if isinstance(matrix, sp.csr_matrix):
        return MemoryExpression(*seen, matrix)
    return ChunkedExpression(*seen, matrix, extremes.n_stored / max(np.prod(matrix.shape), 1))


def _hint(adata: AnnData, source: str, high: float) -> None:
    """Say what may be better than what is read, which is no counts."""
    better = next((layer for layer in _COUNTS if layer in adata.layers), None)
    if better is not None and source in ("X", "raw"):
        logger.info("adata.%s holds no counts; layer=%r may, which is better.", source, better)
    if high > _LARGEST_LOG:
        logger.warning(
            "adata.%s holds fractions up to %.4g: neither counts nor logarithms. Name a layer of "
            "counts, or take logarithms first: sc.pp.log1p(adata).",
            source,
            high,
        )


def _opened(
    values: Any, genes: NDArray[np.intp] | None, source: str, *, few: bool
) -> tuple[Any, Extremes]:
    """Return what holds some genes or all, in memory or in chunks, and what was seen of them.

    If they are `few`, what lies in chunks comes into memory.
    """
    chunks = as_chunks(values, source)
    if chunks is None:
        matrix = canonical(values if genes is None else values[:, genes], source)
    elif few:
        matrix = gathered(chunks, np.arange(chunks.shape[0]), genes, source)
    else:
        chunks = chunks if genes is None else chunks[:, genes]
        return chunks, extremes_of(chunks, source)
    return matrix, Extremes.of(matrix)


def layer_of(source: str) -> str | None:
    """Return the layer that a source names; `None` if it is ``X`` or ``raw``."""
    return source.removeprefix("layers/") if source.startswith("layers/") else None


def former_layer(adata: AnnData, source: str) -> str | None:
    """Return the layer that a model was trained on, if `adata` has it; else say that X is read."""
    layer = layer_of(source)
    if layer is not None and layer not in adata.layers:
        logger.warning("The model was trained on layer %r, which adata lacks: X is read.", layer)
        return None
    return layer
