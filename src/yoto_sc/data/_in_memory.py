"""Expression that is held in memory, in whatever format, as one canonical sparse matrix."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from yoto_sc.data._expression import Expression, row_blocks

if TYPE_CHECKING:
    from collections.abc import Iterator

    import scipy.sparse as sp
    from numpy.typing import NDArray


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
        CSR matrix of shape ``(n_obs, n_vars)``: float32, or small integers.
    """

    matrix: sp.csr_matrix

    @property
    def n_obs(self) -> int:
        return int(self.matrix.shape[0])

    @property
    def n_vars(self) -> int:
        return int(self.matrix.shape[1])

    def of_cells(self, cells: NDArray[np.intp]) -> Self:
        return replace(self, matrix=self.matrix[cells])

    def of_genes(self, genes: NDArray[np.intp]) -> Self:
        return replace(self, matrix=self.matrix[:, genes])

    def held(self) -> Self:
        return self

    def blocks(
        self, cells: NDArray[np.intp] | None = None, *, raw: bool = False
    ) -> Iterator[tuple[slice, sp.csr_matrix]]:
        for rows in row_blocks(self.n_obs if cells is None else len(cells), self.n_vars):
            yield rows, self.take(rows if cells is None else cells[rows], None, raw=raw)

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
        return self._on_scale(part.astype(np.float32, copy=False), raw=raw)
