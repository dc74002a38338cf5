"""The gene of the largest loading of each principal component in turn. Looks at no label."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import scanpy as sc
from sklearn.decomposition import PCA

from methods.combine import round_robin

if TYPE_CHECKING:
    from methods.base import Training

_N_VARIABLE, _N_COMPONENTS = 2000, 30


def select(training: Training, k: int, seed: int) -> list[str]:
    """Return `k` of the 2,000 most variable genes, for 30 components."""
    normalized = training.normalized
    n_variable = min(_N_VARIABLE, normalized.n_vars)
    table = sc.pp.highly_variable_genes(normalized, n_top_genes=n_variable, inplace=False)
    variable = np.flatnonzero(table["highly_variable"])
    pca = PCA(_N_COMPONENTS, svd_solver="arpack", random_state=0)
    pca.fit(normalized.X[:, variable].toarray())
    orders = np.argsort(-np.abs(pca.components_), axis=1, kind="stable")
    return training.names(variable[round_robin(orders.tolist(), k)])
