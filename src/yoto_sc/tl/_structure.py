"""How much of the structure of the data, its neighbourhoods and clusters, some genes keep."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp
from anndata import AnnData
from sklearn.decomposition import PCA
from sklearn.metrics import normalized_mutual_info_score

from yoto_sc.metrics import nearest_neighbors, neighbor_overlap
from yoto_sc.teach import normalised, typical_total

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from yoto_sc.data import Expression

MAX_CELLS = 30_000
"""All pairs of cells are compared, so more are subsampled."""
N_NEIGHBORS = 15
N_COMPONENTS = 50


@dataclass(frozen=True)
class Structure:
    """What panels are compared with."""

    cells: NDArray[np.intp]  # indices of those that are compared, (n_cells,)
    expression: sp.csr_matrix  # normalised, (n_cells, n_vars)
    neighbors: NDArray[np.intp]  # of each cell, (n_cells, n_neighbors)
    clusters: NDArray[np.int64]  # (n_cells,)
    random_state: int

    @classmethod
    def of(
        cls, expression: Expression, coordinates: NDArray[Any] | None, random_state: int
    ) -> Structure:
        """Find the structure that all genes show, or coordinates of shape ``(n_obs, n_dims)``."""
        n_obs = expression.n_obs
        rng = np.random.default_rng(random_state)
        cells = np.sort(rng.permutation(n_obs)[:MAX_CELLS])
        blocks = normalised(expression, cells, typical_total(expression, cells))
        matrix = sp.csr_matrix(sp.vstack([block for _, block in blocks]))
        found = _coordinates(matrix, random_state) if coordinates is None else coordinates[cells]
        neighbors = nearest_neighbors(found, min(N_NEIGHBORS, len(cells) - 1))
        return cls(cells, matrix, neighbors, _clusters(neighbors, random_state), random_state)

    def scores(
        self, genes: NDArray[np.intp], labels: dict[str, NDArray[np.int64]]
    ) -> list[dict[str, Any]]:
        """Score the structure that `genes` show."""
        coordinates = _coordinates(self.expression[:, genes], self.random_state)
        neighbors = nearest_neighbors(coordinates, self.neighbors.shape[1])
        clusters = _clusters(neighbors, self.random_state)
        records = [
            {
                "metric": "knn_overlap",
                "value": neighbor_overlap(self.neighbors, neighbors),
                "n_cells": len(self.cells),
            }
        ]
        for task, truth in {
            "": self.clusters,
            **{k: v[self.cells] for k, v in labels.items()},
        }.items():
            known = truth >= 0
            records.append(
                {
                    "task": task,
                    "metric": "leiden_nmi",
                    "value": float(normalized_mutual_info_score(truth[known], clusters[known])),
                    "n_cells": int(known.sum()),
                }
            )
        return records


def _coordinates(x: sp.csr_matrix, random_state: int) -> NDArray[np.float32]:
    """Return few columns as they are, and the principal components of many."""
    n_components = min(N_COMPONENTS, x.shape[0] - 1)
    if x.shape[1] <= n_components:
        return x.toarray()
    pca = PCA(n_components, svd_solver="arpack", random_state=random_state)
    coordinates: NDArray[np.float32] = pca.fit_transform(x)
    return coordinates


def _clusters(neighbors: NDArray[np.intp], random_state: int) -> NDArray[np.int64]:
    """Cluster the graph that joins each cell with its neighbours."""
    import scanpy as sc  # takes a second to import

    n_cells, n_neighbors = neighbors.shape
    start = np.arange(0, n_cells * n_neighbors + 1, n_neighbors)
    graph = sp.csr_matrix((np.ones(neighbors.size), neighbors.ravel(), start), (n_cells, n_cells))
    cells = AnnData(shape=(n_cells, 0))
    sc.tl.leiden(
        cells,
        adjacency=graph.maximum(graph.T),
        flavor="igraph",
        n_iterations=2,
        directed=False,
        random_state=random_state,
    )
    return cells.obs["leiden"].astype(np.int64).to_numpy()
