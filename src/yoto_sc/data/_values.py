"""The numbers of a matrix: one canonical form, and what may be in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import scipy.sparse as sp

from yoto_sc.data._expression import row_blocks

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import DTypeLike, NDArray

_PIECE = 2**23
"""So many values are looked at, at a time."""


class Extremes(NamedTuple):
    """What was seen of the values of a matrix."""

    low: float
    high: float
    are_integers: bool
    n_stored: int = 0  # values that are not zero

    @classmethod
    def of(cls, matrix: sp.csr_matrix) -> Extremes:
        """Look at all values of a canonical matrix; those that are not stored are zero."""
        if not matrix.nnz:
            return cls(0.0, 0.0, True)
        pieces = (matrix.data[at : at + _PIECE] for at in range(0, matrix.nnz, _PIECE))
        whole = all(bool((np.rint(piece) == piece).all()) for piece in pieces)
        return cls(float(matrix.data.min()), float(matrix.data.max()), whole, matrix.nnz)

    @classmethod
    def of_all(cls, parts: Iterable[Extremes]) -> Extremes:
        """Join what was seen of parts of a matrix."""
        lows, highs, integers, stored = zip(*parts, strict=True)
        return cls(float(np.min(lows)), float(np.max(highs)), all(integers), sum(stored))

    def check(self, source: str) -> None:
        """Refuse values that are no expression.

        Raises
        ------
        ValueError
            There are negative, infinite or NaN values.
        """
        if not np.isfinite([self.low, self.high]).all():
            raise ValueError(
                f"adata.{source} holds NaN or infinite values. Replace them, or drop the genes or "
                "cells that hold them."
            )
        if self.low < 0:
            raise ValueError(
                f"adata.{source} holds negative values (down to {self.low:.3g}), as scaled data "
                "do. Pass counts, or log-normalised expression, in `layer` or X."
            )


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
            f"adata.{source} is a {type(values).__name__}; supported are dense numpy arrays, "
            "scipy sparse matrices, dask arrays of these, and what anndata reads from a file, "
            "backed or lazily. Call adata.to_memory() first."
        )
    check_dtype(values, source)
    _check_structure(values, source)
    with np.errstate(over="ignore"):  # an overflow becomes inf, which is refused later
        if not is_sparse:
            blocks = [
                sp.csr_matrix(np.ascontiguousarray(values[rows]).astype(np.float32, copy=False))
                for rows in row_blocks(*values.shape)
            ]
            return stacked([no_rows(values.shape[1]), *blocks])
        csr: Any = values.tocsr()
        matrix = sp.csr_matrix(
            (csr.data.astype(np.float32, copy=False), csr.indices, csr.indptr), shape=csr.shape
        )
    if not (matrix.has_canonical_format and matrix.data.all()):
        matrix = matrix.copy()
        matrix.sum_duplicates()
        matrix.eliminate_zeros()
    return matrix


def _check_structure(values: Any, source: str) -> None:
    """Refuse a damaged matrix, whose places would lead compiled code out of its memory."""
    if isinstance(values, sp.csr_matrix | sp.csr_array | sp.csc_matrix | sp.csc_array):
        try:  # on a shell of its own, as the check trims what it is given
            parts = (values.data, values.indices, values.indptr)
            type(values)(parts, shape=values.shape).check_format(full_check=True)
        except ValueError as error:
            raise ValueError(
                f"adata.{source} is a damaged sparse matrix: {error}. Read it anew."
            ) from error


def no_rows(n_vars: int) -> sp.csr_matrix:
    """Return a matrix of shape ``(0, n_vars)``."""
    shape: Any = (0, n_vars)
    return sp.csr_matrix(shape, dtype=np.float32)


def rows_in(matrix: sp.csr_matrix, start: int, stop: int) -> sp.csr_matrix:
    """Return consecutive rows; their values stay where they are."""
    ends = matrix.indptr[start : stop + 1]
    stored = slice(ends[0], ends[-1])
    parts = (matrix.data[stored], matrix.indices[stored], ends - ends[0])
    return sp.csr_matrix(parts, shape=(len(ends) - 1, matrix.shape[1]))


def stacked(blocks: Sequence[sp.csr_matrix]) -> sp.csr_matrix:
    """Return blocks of rows as one matrix."""
    return sp.csr_matrix(sp.vstack(blocks, format="csr"))


def appended(blocks: Iterable[sp.csr_matrix], n_vars: int, dtype: DTypeLike) -> sp.csr_matrix:
    """Return blocks of rows as one matrix; only the block at hand is held twice.

    Values are stored as `dtype`, which has to hold them.
    """
    data, indices = np.empty(0, dtype=dtype), np.empty(0, dtype=np.int32)
    ends = [np.zeros(1, dtype=np.int64)]
    for block in blocks:
        start, stop = len(data), len(data) + block.nnz
        data.resize(stop, refcheck=False)
        indices.resize(stop, refcheck=False)
        data[start:] = block.data
        indices[start:] = block.indices
        ends.append(block.indptr[1:] + np.int64(start))
    indptr = np.concatenate(ends)
    return sp.csr_matrix((data, indices, indptr), shape=(len(indptr) - 1, n_vars))


def smallest_dtype(maximum: float, *, are_integers: bool) -> DTypeLike:
    """Return what stores values up to a maximum exactly, as float32 does, in the fewest bytes."""
    small = are_integers and maximum <= np.iinfo(np.uint16).max
    return np.min_scalar_type(int(maximum)) if small else np.float32


def joined(n_rows: int, blocks: Iterable[Sequence[NDArray[Any]]]) -> list[NDArray[Any]]:
    """Join arrays that come in blocks of rows, one block at least; no row is held twice."""
    whole: list[NDArray[Any]] = []
    stop = 0
    for block in blocks:
        whole = whole or [np.empty((n_rows, *part.shape[1:]), part.dtype) for part in block]
        start, stop = stop, stop + len(block[0])
        for array, part in zip(whole, block, strict=True):
            array[start:stop] = part
    return whole


def check_dtype(values: Any, source: str) -> None:
    """Refuse what holds no real numbers.

    Raises
    ------
    TypeError
        It holds none.
    """
    if values.dtype.kind not in "biuf":
        raise TypeError(f"adata.{source} must hold real numbers, but its dtype is {values.dtype}.")
