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


class Reduced(NamedTuple):
    """Sums over all cells, each ``(n_columns, n_vars)``; see :meth:`Expression.reduce`."""

    values: NDArray[np.float64]
    squares: NDArray[np.float64]
    expressing: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Expression(ABC):
    """Expression of all cells and genes, checked: finite, non-negative numbers in float32.

    A reader provides :meth:`blocks` and :meth:`take`. What it hands out are pieces that fit into
    memory, as CSR matrices.

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
    def blocks(self, *, raw: bool = False) -> Iterator[tuple[slice, sp.csr_matrix]]:
        """Iterate over row slices and the rows, of shape ``(n_rows, n_vars)``."""

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
            Count the cells that express each gene, in one row.
        raw
            Expression as stored, rather than on the model's scale.
        """
        n_squares = 0 if squares is None else squares.shape[1]
        sums = np.zeros((values.shape[1], self.n_vars))
        of_squares = np.zeros((n_squares, self.n_vars))
        counts = np.zeros((int(expressing), self.n_vars))
        for rows, block in self.blocks(raw=raw):
            part = block.astype(np.float64)
            sums += (values[rows].T.tocsr() @ part).toarray()
            if squares is not None:
                part.data **= 2
                taken = sp.csr_matrix(squares[rows].T.astype(np.float64))
                of_squares += (taken @ part).toarray()
            if expressing:
                counts += block.getnnz(axis=0)
        return Reduced(sums, of_squares, counts)
