"""The transcriptome as a task: the leading principal components of all genes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from yoto_sc.data._kinds._vector import Vector
from yoto_sc.metrics import nearest_neighbors, neighbor_overlap

if TYPE_CHECKING:
    from collections.abc import Collection

    from anndata import AnnData
    from numpy.typing import NDArray

TRANSCRIPTOME = "transcriptome"
"""Name of the task."""
_COMPARED_CELLS, _N_NEIGHBORS = 3000, 15
"""Neighbours are sought among at most so many cells, and so many of each."""


@dataclass(frozen=True)
class Transcriptome(Vector):
    """Regression of principal components, which are fitted to the training cells alone.

    No labels are read: until the components are fitted, all are zero.
    """

    kind: ClassVar = TRANSCRIPTOME
    argument: ClassVar = TRANSCRIPTOME
    is_derived: ClassVar = True

    @classmethod
    def of(cls, n_components: int) -> Self:
        """Make the task of so many components."""
        return cls(TRANSCRIPTOME, tuple(f"PC{i + 1}" for i in range(n_components)))

    @classmethod
    def from_adata(cls, adata: AnnData, name: str, unlabeled: Collection[object] = ()) -> Self:
        """Refuse: there is nothing to read."""
        raise NotImplementedError("The transcriptome is read from expression.")

    @classmethod
    def column(cls, adata: AnnData, name: str) -> Any:
        """Return nothing: there are no labels; see :meth:`Task.column`."""
        return np.empty((adata.n_obs, 0))

    def encode(self, column: Any) -> NDArray[Any]:
        """Return zeros, in no memory."""
        return np.broadcast_to(np.float32(0), (len(column), self.n_outputs))

    def structure_scores(
        self, encoded: NDArray[Any], prediction: NDArray[Any]
    ) -> dict[str, float]:
        """Return the share of neighbours that predicted and true components agree on."""
        n_cells = len(encoded)
        cells = np.linspace(0, n_cells - 1, min(n_cells, _COMPARED_CELLS)).astype(int)
        n_neighbors = min(_N_NEIGHBORS, len(cells) - 1)
        if n_neighbors < 1:
            return {"knn_overlap": float("nan")}
        found = (nearest_neighbors(array[cells], n_neighbors) for array in (encoded, prediction))
        return {"knn_overlap": neighbor_overlap(*found)}

    def is_learnable(self, encoded: NDArray[Any]) -> bool:
        return True
