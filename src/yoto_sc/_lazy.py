"""What anndata reads lazily, and pandas and numpy are to work on: brought into memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp

if TYPE_CHECKING:
    from anndata import AnnData


def load_tables(adata: AnnData) -> None:
    """Replace the lazy tables of cells and genes, in place; they are small beside expression."""
    for name in ("obs", "var"):
        table = getattr(adata, name)
        if hasattr(table, "to_memory"):
            setattr(adata, name, table.to_memory())


def is_lazy(entry: Any) -> bool:
    """Whether an array or a matrix is read from elsewhere when it is needed."""
    return entry is not None and not isinstance(entry, np.ndarray | sp.spmatrix | sp.sparray)


def in_memory(entry: Any) -> Any:
    """Return an array, sparse matrix or table in memory, wherever it was."""
    if hasattr(entry, "to_memory"):
        return entry.to_memory()
    return entry.compute() if hasattr(entry, "compute") else entry
