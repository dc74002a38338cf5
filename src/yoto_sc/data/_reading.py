"""From an AnnData object to its expression: which place is read, and by which reader."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Literal

import pandas as pd

from yoto_sc.data._in_memory import MemoryExpression, canonical, minimum

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anndata import AnnData

    from yoto_sc.data._expression import Expression

logger = logging.getLogger(__name__)


def read_expression(
    adata: AnnData,
    layer: str | None = None,
    genes: Sequence[str] | None = None,
    *,
    raw: Literal["if_scaled", "if_present"] = "if_scaled",
) -> Expression:
    """Read and check ``adata.X`` or a layer.

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
    if genes is not None:
        values = values[:, adata.var_names.get_indexer(names)]
    matrix = canonical(values, source)
    wanted = raw == "if_present" or (raw == "if_scaled" and minimum(matrix) < 0)
    unscaled = adata.raw if layer is None and wanted else None
    if unscaled is not None and names.isin(unscaled.var_names).all():
        source = "raw"
        matrix = canonical(unscaled.X[:, unscaled.var_names.get_indexer(names)], source)
    expression = MemoryExpression.of(matrix, source)
    if genes is None and expression.maximum == 0:
        raise ValueError(
            f"adata.{source} is zero everywhere. Name the layer that holds expression in `layer`."
        )
    return expression


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
