"""Expression, wherever its numbers lie: the one interface that the rest of the package reads."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Self

import numpy as np
import scipy.sparse as sp

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray


_BLOCK_BYTES = 128 * 2**20
_LONGEST_BLOCK = 8192
"""Rows are handed out, and summed, in blocks of about this dense size, and no more rows."""


class Reduced(NamedTuple):
    """Sums over cells, each ``(n_columns, n_vars)``; see :meth:`Expression.reduce`."""

    values: NDArray[np.float64]
    squares: NDArray[np.float64]
    expressing: NDArray[np.float64]

    @classmethod
    def of(
        cls,
        block: sp.csr_matrix,
        values: sp.csr_matrix,
        squares: NDArray[np.bool_] | None,
        *,
        expressing: bool,
    ) -> Self:
        """Sum over the cells of one block."""
        wide = block.data.astype(np.float64)  # the places of the values are not copied
        part = sp.csr_matrix((wide, block.indices, block.indptr), shape=block.shape)
        columns = values.T.tocsr()
        sums = (columns @ part).toarray()
        of_squares = counts = np.zeros((0, block.shape[1]))
        if squares is not None:
            part.data **= 2
            of_squares = (part.T @ squares.astype(np.float64)).T
        if expressing:
            part.data = np.ones_like(wide)
            counts = (columns @ part).toarray()
        return cls(sums, of_squares, counts)

    def plus(self, other: Reduced) -> Reduced:
        """Return the sums over the cells of both."""
        return Reduced(*(mine + theirs for mine, theirs in zip(self, other, strict=True)))


@dataclass(frozen=True, eq=False)
class Expression(ABC):
    """Expression of all cells and genes, checked: finite, non-negative numbers in float32.

    A reader provides :meth:`blocks` and :meth:`take`. What it hands out are pieces that fit into
    memory, as CSR matrices. Where a block ends depends on the numbers of cells and genes alone,
    not on how they are stored: sums over blocks, in their order, are then the same bit for bit,
    whoever reads.

    Counts are read as ``log(1 + count)``, the model's scale, and values that come normalised as
    they are; with `raw`, both as they are. The transform sees each number alone, so measuring
    fewer genes changes nothing.

    Parameters
    ----------
    source
        Where it is read: ``"X"``, ``"raw"`` or ``"layers/<name>"``.
    is_counts
        Whether all values are integers.
    maximum
        No value is larger.
    """

    source: str
    is_counts: bool
    maximum: float

    @property
    @abstractmethod
    def n_obs(self) -> int:
        """Number of cells."""

    @property
    @abstractmethod
    def n_vars(self) -> int:
        """Number of genes."""

    @abstractmethod
    def of_cells(self, cells: NDArray[np.intp]) -> Self:
        """Return the expression of some cells only."""

    @abstractmethod
    def of_genes(self, genes: NDArray[np.intp]) -> Expression:
        """Return the expression of a few genes only, in memory."""

    @abstractmethod
    def held(self) -> Expression:
        """Return the same expression in memory, if it takes little there; else as it is."""

    @abstractmethod
    def blocks(
        self, cells: NDArray[np.intp] | None = None, *, raw: bool = False
    ) -> Iterator[tuple[slice, sp.csr_matrix]]:
        """Iterate over slices of `cells`, and their rows of shape ``(n_rows, n_vars)``.

        Parameters
        ----------
        cells
            Indices of shape ``(n_cells,)``; `None`: all cells, in their order.
        raw
            As stored, rather than on the model's scale.
        """

    @abstractmethod
    def take(
        self,
        cells: NDArray[np.intp] | slice | None,
        genes: NDArray[np.intp] | None,
        *,
        raw: bool = False,
    ) -> sp.csr_matrix:
        """Return some cells and genes, in the given order; `None`: all of them.

        Parameters
        ----------
        cells
            Indices of shape ``(n_cells,)``, or a slice.
        genes
            Indices of shape ``(n_genes,)``.
        raw
            As stored, rather than on the model's scale.

        Returns
        -------
        Shape ``(n_cells, n_genes)``, float32.
        """

    def require_counts(self, what: str) -> None:
        """Refuse to do something with values that are no counts.

        Raises
        ------
        ValueError
            They are none.
        """
        if not self.is_counts:
            raise ValueError(
                f"{what} draws from counts, but adata.{self.source} holds none. Name the layer "
                "that holds counts in `layer`."
            )

    def reduce(
        self,
        values: sp.csr_matrix,
        squares: NDArray[np.bool_] | None = None,
        *,
        expressing: bool = False,
        raw: bool = False,
    ) -> Reduced:
        """Sum over all cells, in one pass.

        Parameters
        ----------
        values
            Weights of the cells, shape ``(n_obs, n_columns)``, for sums of expression.
        squares
            Which cells to take, shape ``(n_obs, n_columns)``, in sums of squared expression;
            `None`: there are none.
        expressing
            Sum the weights of the cells that express each gene, too.
        raw
            Expression as stored, rather than on the model's scale.
        """
        total = Reduced(
            np.zeros((values.shape[1], self.n_vars)),
            np.zeros((0 if squares is None else squares.shape[1], self.n_vars)),
            np.zeros((values.shape[1] if expressing else 0, self.n_vars)),
        )
        for rows, block in self.blocks(raw=raw):
            of_block = None if squares is None else squares[rows]
            part = Reduced.of(block, values[rows], of_block, expressing=expressing)
            for mine, more in zip(total, part, strict=True):
                mine += more
        return total

    def _on_scale(self, part: sp.csr_matrix, *, raw: bool) -> sp.csr_matrix:
        """Bring values as stored to the model's scale, unless they are to stay `raw`."""
        return logged(part) if self.is_counts and not raw else part


def logged(part: sp.csr_matrix) -> sp.csr_matrix:
    """Return ``log(1 + x)`` of all values."""
    return sp.csr_matrix((np.log1p(part.data), part.indices, part.indptr), shape=part.shape)


def row_blocks(n_rows: int, n_vars: int) -> Iterator[slice]:
    """Yield slices of rows whose dense float32 form takes at most 128 MiB."""
    size = rows_of_block(n_vars)
    for start in range(0, n_rows, size):
        yield slice(start, min(start + size, n_rows))


def rows_of_block(n_vars: int) -> int:
    """Return how many rows are a block."""
    return min(_LONGEST_BLOCK, max(1, _BLOCK_BYTES // (4 * max(1, n_vars))))
