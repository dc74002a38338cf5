"""Read an expression matrix of any format as one canonical sparse matrix."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
import scipy.sparse as sp

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from anndata import AnnData
    from numpy.typing import NDArray

_BLOCK_BYTES = 32 * 2**20
"""Dense input is converted, and dense blocks are handed out, in pieces of about this size."""


@dataclass(frozen=True)
class Expression:
    """Expression of all cells, in the one format the rest of the package works with.

    Whatever the input's format (CSR, CSC, sparse array, dense in C or F order) and dtype, the same
    numbers give the same canonical CSR matrix, and so the same panel.

    Parameters
    ----------
    matrix
        CSR matrix of shape ``(n_obs, n_vars)``, float32, finite and non-negative.
    source
        Where it was read: ``"X"``, ``"raw"`` or ``"layers/<name>"``.
    is_counts
        Whether all values are integers, so that the model takes ``log1p`` of them.
    """

    matrix: sp.csr_matrix
    source: str
    is_counts: bool

    @classmethod
    def from_adata(
        cls,
        adata: AnnData,
        layer: str | None = None,
        genes: Sequence[str] | None = None,
        *,
        raw: Literal["if_scaled", "if_present"] = "if_scaled",
    ) -> Expression:
        """Read and check ``adata.X`` or a layer.

        Parameters
        ----------
        adata
            Annotated data of shape ``(n_obs, n_vars)``.
        layer
            Layer to read; `None` reads ``X``, or ``adata.raw`` as `raw` says.
        genes
            Var names to read, in this order, all of them in `adata`; `None`: all genes. Only what
            is read is checked, and a few genes may well be zero in all cells.
        raw
            When to read ``adata.raw`` in place of ``X``, provided that it holds all the genes:
            where ``X`` was scaled (it holds negative values), or always.

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
        matrix = _canonical(values, source)
        wanted = raw == "if_present" or (raw == "if_scaled" and _minimum(matrix) < 0)
        unscaled = adata.raw if layer is None and wanted else None
        if unscaled is not None and names.isin(unscaled.var_names).all():
            source = "raw"
            matrix = _canonical(unscaled.X[:, unscaled.var_names.get_indexer(names)], source)
        _check_values(matrix, source)
        if genes is None and not matrix.data.any():
            raise ValueError(
                f"adata.{source} is zero everywhere. Name the layer that holds expression in "
                "`layer`."
            )
        return cls(matrix, source, _all_integers(matrix))

    def on_model_scale(self, genes: NDArray[np.intp] | None = None) -> sp.csr_matrix:
        """Return the columns `genes`, of shape ``(n_obs, n_genes)``, as the model reads them.

        `None` returns all columns. Counts become ``log(1 + count)``; values that come normalised
        stay as they are. The transform sees each gene alone, so measuring fewer genes changes
        nothing.
        """
        return self._transform(self.matrix if genes is None else self.matrix[:, genes])

    def blocks(self) -> Iterator[tuple[slice, sp.csr_matrix]]:
        """Iterate over row slices and the rows, of shape ``(n_rows, n_vars)``, on that scale."""
        for rows in _row_blocks(*self.matrix.shape):
            yield rows, self._transform(self.matrix[rows])

    def _transform(self, part: sp.csr_matrix) -> sp.csr_matrix:
        if not self.is_counts:
            return part
        return sp.csr_matrix((np.log1p(part.data), part.indices, part.indptr), shape=part.shape)


def _row_blocks(n_rows: int, n_columns: int) -> Iterator[slice]:
    """Yield slices of rows whose dense float32 form takes about `_BLOCK_BYTES`."""
    size = max(1, _BLOCK_BYTES // (4 * max(1, n_columns)))
    for start in range(0, n_rows, size):
        yield slice(start, min(start + size, n_rows))


def _canonical(values: Any, source: str) -> sp.csr_matrix:
    """Convert to CSR float32 with sorted, unique indices; the input is never changed."""
    is_sparse = isinstance(values, sp.spmatrix | sp.sparray)
    if not (is_sparse or isinstance(values, np.ndarray)):
        raise TypeError(
            f"adata.{source} is a {type(values).__name__}; supported are dense numpy arrays and "
            "scipy sparse matrices held in memory. Call adata.to_memory() first."
        )
    if values.dtype.kind not in "biuf":
        raise TypeError(f"adata.{source} must hold real numbers, but its dtype is {values.dtype}.")
    with np.errstate(over="ignore"):  # an overflow becomes inf, which _check_values reports
        if not is_sparse:
            empty = sp.csr_matrix(values.shape, dtype=np.float32)
            blocks = [
                sp.csr_matrix(np.ascontiguousarray(values[rows]).astype(np.float32, copy=False))
                for rows in _row_blocks(*values.shape)
            ]
            return sp.vstack(blocks, format="csr") if blocks else empty
        csr: Any = values.tocsr()
        matrix = sp.csr_matrix(
            (csr.data.astype(np.float32, copy=False), csr.indices, csr.indptr), shape=csr.shape
        )
    if not (matrix.has_canonical_format and matrix.data.all()):
        matrix = matrix.copy()
        matrix.sum_duplicates()
        matrix.eliminate_zeros()
    return matrix


def _minimum(matrix: sp.csr_matrix) -> float:
    return float(matrix.data.min()) if matrix.nnz else 0.0


def _check_values(matrix: sp.csr_matrix, source: str) -> None:
    low = _minimum(matrix)
    high = float(matrix.data.max()) if matrix.nnz else 0.0
    if np.isnan(low) or np.isinf([low, high]).any():
        raise ValueError(
            f"adata.{source} holds NaN or infinite values. Replace them, or drop the genes or "
            "cells that hold them."
        )
    if low < 0:
        raise ValueError(
            f"adata.{source} holds negative values (down to {low:.3g}), as scaled data do. Pass "
            "counts, or log-normalised expression, in `layer` or X."
        )


def _all_integers(matrix: sp.csr_matrix) -> bool:
    step = _BLOCK_BYTES // 4
    return all(
        bool((np.mod(matrix.data[start : start + step], 1) == 0).all())
        for start in range(0, matrix.nnz, step)
    )
