"""Expression that is read chunk by chunk, from a file or wherever dask finds it."""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import scipy.sparse as sp
from anndata.abc import CSCDataset, CSRDataset

from yoto_sc._memory import give_back
from yoto_sc._progress import progress
from yoto_sc._workers import n_threads
from yoto_sc.data._expression import Expression, Reduced, logged, row_blocks, rows_of_block
from yoto_sc.data._in_memory import MemoryExpression
from yoto_sc.data._values import (
    Extremes,
    appended,
    canonical,
    check_dtype,
    no_rows,
    smallest_dtype,
    stacked,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import DTypeLike, NDArray


_HELD_BYTES = 2**30
"""Cells that are learned from are held in memory if they take no more than this."""
_STORED_BYTES = 8
"""A value that is not zero, and its place."""
_CHUNK_BYTES = 64 * 2**20
"""Chunks that are cut here hold about so many bytes of values that are stored."""
_AHEAD = 4
"""Blocks that are read ahead by each thread."""


@dataclass(frozen=True, eq=False)
class ChunkedExpression(Expression):
    """Expression that is never in memory as a whole.

    Dask reads the chunks and sums over them, on its threads, or on a cluster if a
    `dask.distributed.Client` is current. The sums are over the same blocks of cells, in the same
    order, as in memory.

    Parameters
    ----------
    source, is_counts, maximum
        See :class:`Expression`.
    array
        Dask array of shape ``(n_obs, n_vars)``, with chunks of whole rows, CSR or dense.
    density
        Share of the values that are not zero.
    """

    array: Any
    density: float = 1.0

    @property
    def n_obs(self) -> int:
        return int(self.array.shape[0])

    @property
    def n_vars(self) -> int:
        return int(self.array.shape[1])

    def of_cells(self, cells: NDArray[np.intp]) -> Self:
        return replace(self, array=self.array[cells])

    def of_genes(self, genes: NDArray[np.intp]) -> MemoryExpression:
        few = self.take(None, genes, raw=True)
        return MemoryExpression(self.source, self.is_counts, self.maximum, few)

    def held(self) -> Expression:
        if self.n_obs * self.n_vars * self.density * _STORED_BYTES > _HELD_BYTES:
            return self
        dtype = smallest_dtype(self.maximum, are_integers=self.is_counts)
        matrix = gathered(self.array, np.arange(self.n_obs), None, self.source, dtype)
        return MemoryExpression(self.source, self.is_counts, self.maximum, matrix)

    def blocks(
        self, cells: NDArray[np.intp] | None = None, *, raw: bool = False
    ) -> Iterator[tuple[slice, sp.csr_matrix]]:
        array = self.array if cells is None else self.array[cells]
        n_rows, size = array.shape[0], rows_of_block(self.n_vars)
        stop, read, left = 0, 0, no_rows(self.n_vars)
        ends = np.cumsum(array.chunks[0])
        while stop < n_rows:
            start, stop = stop, min(stop + size, n_rows)
            if read < stop:  # whole chunks, so that none is read twice
                end = int(ends[np.searchsorted(ends, stop)])
                chunks = canonical(array[read:end].compute(), self.source)
                left, read = stacked([left, chunks]), end
            block, left = left[: stop - start], left[stop - start :]
            yield slice(start, stop), self._on_scale(block, raw=raw)

    def take(
        self,
        cells: NDArray[np.intp] | slice | None,
        genes: NDArray[np.intp] | None,
        *,
        raw: bool = False,
    ) -> sp.csr_matrix:
        rows = np.arange(self.n_obs)
        rows = rows if cells is None else rows[cells]
        part = gathered(self.array, rows, genes, self.source)
        return self._on_scale(part, raw=raw)

    def reduce(
        self,
        values: sp.csr_matrix,
        squares: NDArray[np.bool_] | None = None,
        *,
        expressing: bool = False,
        raw: bool = False,
    ) -> Reduced:
        from dask import delayed

        is_logged, source = self.is_counts and not raw, self.source
        blocks = self.array.rechunk({0: rows_of_block(self.n_vars)}).to_delayed().ravel()
        parts = [
            delayed(_reduced)(
                block,
                values[rows],
                None if squares is None else squares[rows],
                expressing=expressing,
                is_logged=is_logged,
                source=source,
            )
            for block, rows in zip(blocks, row_blocks(self.n_obs, self.n_vars), strict=True)
        ]
        total = functools.reduce(delayed(Reduced.plus), parts)
        reduced: Reduced = computed(total, parts, "Summing over the cells")
        return reduced


def _reduced(
    block: Any,
    values: sp.csr_matrix,
    squares: NDArray[np.bool_] | None,
    *,
    expressing: bool,
    is_logged: bool,
    source: str,
) -> Reduced:
    """Sum over the cells of one block as it is stored."""
    part = canonical(block, source)
    return Reduced.of(logged(part) if is_logged else part, values, squares, expressing=expressing)


def as_chunks(values: Any, source: str) -> Any:
    """Return a dask array of whole rows if `values` are read in chunks; `None` if they are not.

    Raises
    ------
    ImportError
        Dask is needed, and is not installed.
    ValueError
        The values are stored by genes.
    TypeError
        They are no real numbers.
    """
    by_genes = isinstance(values, CSCDataset)
    package = type(values).__module__.partition(".")[0]
    on_disk = isinstance(values, CSRDataset) or package in ("h5py", "zarr")
    if not (by_genes or on_disk or package == "dask"):
        return None
    try:
        import dask.array as da
        from anndata.experimental import read_elem_lazy
    except ImportError as error:
        raise ImportError(
            f'adata.{source} is not in memory, and is read by dask: pip install "yoto-sc[dask]". '
            "Or load it: adata = adata.to_memory()."
        ) from error
    if on_disk:
        check_dtype(values, source)
        place = values.group if isinstance(values, CSRDataset) else values
        values = read_elem_lazy(place, chunks=(rows_of_block(values.shape[1]), values.shape[1]))
    if by_genes or isinstance(values._meta, sp.csc_matrix | sp.csc_array):
        raise ValueError(
            f"adata.{source} is stored by genes (CSC), so that cells cannot be read a few at a "
            "time. Store it by cells (CSR), or load it: adata = adata.to_memory()."
        )
    if not isinstance(values, da.Array):
        raise TypeError(f"adata.{source} is a dask {type(values).__name__}, not a dask array.")
    check_dtype(values, source)
    if np.isnan(values.shape).any():
        raise ValueError(
            f"adata.{source} is a dask array of unknown shape; call compute_chunk_sizes() on it."
        )
    array: Any = values
    return array.rechunk({1: -1})


def lazily(element: Any, n_bytes: int) -> Any:
    """Return a matrix of an opened file as a dask array of whole rows, or columns if it is CSC.

    Parameters
    ----------
    element
        Array or group of h5py or zarr.
    n_bytes
        What it takes in memory.

    Raises
    ------
    ImportError
        Dask is not installed.
    """
    try:
        import dask.array  # noqa: F401
        from anndata.experimental import read_elem_lazy
    except ImportError as error:
        raise ImportError(
            f"its expression takes {n_bytes / 2**30:.1f} GiB, and is read in chunks by dask: "
            'pip install "yoto-sc[dask]"'
        ) from error
    shape = [int(n) for n in element.attrs.get("shape", getattr(element, "shape", ()))]
    along = int(element.attrs.get("encoding-type") == "csc_matrix")
    chunks = list(shape)
    chunks[along] = max(1, min(shape[along], _CHUNK_BYTES * shape[along] // max(n_bytes, 1)))
    return read_elem_lazy(element, chunks=tuple(chunks))


def extremes_of(array: Any, source: str) -> Extremes:
    """Look at all values, in one pass."""
    from dask import delayed

    def of_chunk(chunk: Any) -> Extremes:
        return Extremes.of(canonical(chunk, source))

    parts = [delayed(of_chunk)(chunk) for chunk in array.to_delayed().ravel()]
    return Extremes.of_all(computed(delayed(parts), parts, "Checking expression"))


def computed(value: Any, parts: Sequence[Any], description: str) -> Any:
    """Compute a delayed value, and show how many of the delayed `parts` in it are done.

    A cluster has a dashboard for that.
    """
    with progress(description, len(parts), "block") as done:
        return _watched(value, parts, done)


def _watched(value: Any, parts: Sequence[Any], done: Callable[[], None]) -> Any:
    """Compute a delayed value, and call `done` after each of the `parts` in it."""
    from dask.callbacks import Callback

    keys = {part.key for part in parts}

    def note(key: Any, *_: Any) -> None:
        if key in keys:
            done()

    with Callback(posttask=note):  # type: ignore[no-untyped-call]
        found = value.compute()
    give_back()
    return found


def _in_turn(parts: Sequence[Any], description: str) -> Iterator[Any]:
    """Compute delayed parts, a few ahead of what is taken, so that few are held."""
    from dask import delayed

    size = _AHEAD * n_threads()
    with progress(description, len(parts), "block") as done:
        for start in range(0, len(parts), size):
            some = parts[start : start + size]
            yield from _watched(delayed(some), some, done)


def gathered(
    array: Any,
    cells: NDArray[np.intp],
    genes: NDArray[np.intp] | None,
    source: str,
    dtype: DTypeLike = np.float32,
) -> sp.csr_matrix:
    """Bring some cells and genes into memory, in the given order, in one pass.

    Parameters
    ----------
    cells
        Indices of shape ``(n_cells,)``.
    genes
        Indices of shape ``(n_genes,)``; `None`: all.
    dtype
        Values are stored so, which has to hold them.
    """
    from dask import delayed

    def of_chunk(chunk: Any, rows: NDArray[np.intp]) -> sp.csr_matrix:
        part = canonical(chunk[rows], source)
        part = part if genes is None else part[:, genes]
        return sp.csr_matrix(part.astype(dtype, copy=False))

    order = np.argsort(cells, kind="stable")
    ascending = cells[order]
    ends = np.cumsum([0, *array.chunks[0]])
    bounds = np.searchsorted(ascending, ends)
    chunks = array.to_delayed().ravel()
    parts = [
        delayed(of_chunk)(chunk, ascending[first:last] - start)
        for chunk, start, first, last in zip(
            chunks, ends[:-1], bounds[:-1], bounds[1:], strict=True
        )
        if last > first
    ]
    n_genes = array.shape[1] if genes is None else len(genes)
    found = appended(_in_turn(parts, "Reading cells"), n_genes, dtype)
    if (order[1:] > order[:-1]).all():
        return found
    back = np.empty_like(order)
    back[order] = np.arange(len(order))
    return found[back]
