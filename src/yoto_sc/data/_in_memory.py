"""Expression that is held in memory, in whatever format, as one canonical sparse matrix."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import scipy.sparse as sp

from yoto_sc.data._expression import Expression

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

_BLOCK_BYTES = 32 * 2**20
"""Dense input is converted, and blocks are handed out, in pieces of about this dense size."""


@dataclass(frozen=True, eq=False)
class MemoryExpression(Expression):
    """Expression in memory.

    Whatever the input's format (CSR, CSC, sparse array, dense in C or F order) and dtype, the same
    numbers give the same canonical CSR matrix, and so the same panel.

    Parameters
    ----------
    source, is_counts, maximum
        See :class:`Expression`.
    matrix
        CSR matrix of shape ``(n_obs, n_vars)``, float32.
    """

    matrix: sp.csr_matrix

    @classmethod
    def of(cls, matrix: sp.csr_matrix, source: str) -> Self:
        """Check the values of a canonical matrix.

        Raises
        ------
        ValueError
            It holds negative, infinite or NaN values.
        """
        low = minimum(matrix)
        high = float(matrix.data.max()) if matrix.nnz else 0.0
        if not np.isfinite([low, high]).all():
            raise ValueError(
                f"adata.{source} holds NaN or infinite values. Replace them, or drop the genes or "
                "cells that hold them."
            )
        if low < 0:
            raise ValueError(
                f"adata.{source} holds negative values (down to {low:.3g}), as scaled data do. "
                "Pass counts, or log-normalised expression, in `layer` or X."
            )
        return cls(source, _all_integers(matrix), high, matrix)

    @property
    def n_obs(self) -> int:
        return int(self.matrix.shape[0])

    @property
    def n_vars(self) -> int:
        return int(self.matrix.shape[1])

    def of_cells(self, cells: NDArray[np.intp]) -> Self:
        return replace(self, matrix=self.matrix[cells])

    def blocks(self, *, raw: bool = False) -> Iterator[tuple[slice, sp.csr_matrix]]:
        for rows in _row_blocks(*self.matrix.shape):
            yield rows, self.take(rows, None, raw=raw)

    def take(
        self,
        cells: NDArray[np.intp] | slice | None,
        genes: NDArray[np.intp] | None,
        *,
        raw: bool = False,
    ) -> sp.csr_matrix:
        rows: Any = slice(None) if cells is None else cells
        columns: Any = slice(None) if genes is None else genes
        # Of few cells, all genes are soon copied; of most cells, some genes are.
        if isinstance(rows, slice) or 2 * len(rows) < self.n_obs:
            part: sp.csr_matrix = self.matrix[rows][:, columns]
        else:
            part = self.matrix[:, columns][rows]
        if raw or not self.is_counts:
            return part
        return sp.csr_matrix((np.log1p(part.data), part.indices, part.indptr), shape=part.shape)


def canonical(values: Any, source: str) -> sp.csr_matrix:
    """Convert to CSR float32 with sorted, unique indices; the input is never changed.

    Raises
    ------
    TypeError
        `values` is no matrix in memory, or holds no real numbers.
    """
    is_sparse = isinstance(values, sp.spmatrix | sp.sparray)
    if not (is_sparse or isinstance(values, np.ndarray)):
        raise TypeError(
            f"adata.{source} is a {type(values).__name__}; supported are dense numpy arrays and "
            "scipy sparse matrices held in memory. Call adata.to_memory() first."
        )
    if values.dtype.kind not in "biuf":
        raise TypeError(f"adata.{source} must hold real numbers, but its dtype is {values.dtype}.")
    with np.errstate(over="ignore"):  # an overflow becomes inf, which is refused later
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


def minimum(matrix: sp.csr_matrix) -> float:
    """Return the smallest stored value; 0 if there is none."""
    return float(matrix.data.min()) if matrix.nnz else 0.0


def _row_blocks(n_rows: int, n_columns: int) -> Iterator[slice]:
    """Yield slices of rows whose dense float32 form takes about `_BLOCK_BYTES`."""
    size = max(1, _BLOCK_BYTES // (4 * max(1, n_columns)))
    for start in range(0, n_rows, size):
        yield slice(start, min(start + size, n_rows))


def _all_integers(matrix: sp.csr_matrix) -> bool:
    step = _BLOCK_BYTES // 4
    parts = (matrix.data[start : start + step] for start in range(0, matrix.nnz, step))
    return all(bool((np.rint(part) == part).all()) for part in parts)
