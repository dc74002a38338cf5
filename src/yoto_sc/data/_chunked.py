"""Expression that is read chunk by chunk, from a file or wherever dask finds it."""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
import scipy.sparse as sp
from anndata.abc import CSCDataset, CSRDataset

from yoto_sc._memory import give_back
from yoto_sc._progress import progress
from yoto_sc._workers import n_threads
from yoto_sc.data._expression import Expression, Reduced, logged, rows_of_block
from yoto_sc.data._in_memory import MemoryExpression
from yoto_sc.data._values import (
    Extremes,
    appended,
    canonical,
    check_dtype,
    rows_in,
    smallest_dtype,
    stacked,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

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
        size, stop = rows_of_block(self.n_vars), 0
        runs = (array.blocks[run].compute() for run in _runs(array, size))
        for block in _cut((canonical(run, self.source) for run in runs), size):
            start, stop = stop, stop + block.shape[0]
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

        size, chunks = rows_of_block(self.n_vars), self.array.to_delayed().ravel()
        ends = np.cumsum([0, *self.array.chunks[0]])
        how = _How(size, expressing, self.is_counts and not raw, self.source)
        parts, start, before = [], 0, None
        for run in _runs(self.array, size):
            some, end = list(chunks[run]), int(ends[run.stop])
            stop = end if end == self.n_obs else end // size * size
            of_run = None if squares is None else squares[start:stop]
            parts.append(delayed(_reduced)(before, some, values[start:stop], of_run, how))
            before = delayed(_last_rows)(some, end - stop, self.source) if end > stop else None
            start = stop
        total: Any = functools.reduce(delayed(_added), parts, [])
        reduced: Reduced = computed(total[0], parts, "Summing over the cells")
        return reduced


class _How(NamedTuple):
    """What is done with the cells of a block; see :meth:`Expression.reduce`."""

    size: int
    """Rows of a block."""
    expressing: bool
    is_logged: bool
    source: str


def _reduced(
    before: sp.csr_matrix | None,
    chunks: Sequence[Any],
    values: sp.csr_matrix,
    squares: NDArray[np.bool_] | None,
    how: _How,
) -> list[Reduced]:
    """Sum over the cells of each block of some chunks, of which the first began `before` them."""
    pieces = (canonical(chunk, how.source) for chunk in chunks)
    blocks = _cut(pieces if before is None else chain([before], pieces), how.size)
    found = []
    for start in range(0, values.shape[0], how.size):  # more rows wait for the next chunks
        rows, block = slice(start, start + how.size), next(blocks)
        block = logged(block) if how.is_logged else block
        of_block = None if squares is None else squares[rows]
        found.append(Reduced.of(block, values[rows], of_block, expressing=how.expressing))
    return found


def _added(total: list[Reduced], parts: list[Reduced]) -> list[Reduced]:
    """Add sums over blocks, in their order; none at all are an empty list."""
    return [functools.reduce(Reduced.plus, [*total, *parts])]


def _runs(array: Any, size: int) -> Iterator[slice]:
    """Yield slices of consecutive chunks that have `size` rows at least, except for the last."""
    first = n_rows = 0
    for number, more in enumerate(array.chunks[0], start=1):
        n_rows += more
        if n_rows >= size or number == array.numblocks[0]:
            yield slice(first, number)
            first, n_rows = number, 0


def _cut(pieces: Iterable[sp.csr_matrix], size: int) -> Iterator[sp.csr_matrix]:
    """Cut consecutive rows anew, into blocks of `size` rows; the last may be shorter."""
    held, n_held = [], 0
    for piece in pieces:
        start = 0
        while start < piece.shape[0]:
            held.append(rows_in(piece, start, start + size - n_held))
            start += held[-1].shape[0]
            n_held += held[-1].shape[0]
            if n_held == size:
                yield held[0] if len(held) == 1 else stacked(held)
                held, n_held = [], 0
    if held:
        yield stacked(held)


def _last_rows(chunks: Sequence[Any], n_rows: int, source: str) -> sp.csr_matrix:
    """Return the last rows of some chunks."""
    found: list[sp.csr_matrix] = []
    for chunk in reversed(chunks):
        if n_rows > 0:
            found.insert(0, canonical(chunk[-n_rows:], source))
            n_rows -= found[0].shape[0]
    return stacked(found)


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
