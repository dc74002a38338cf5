"""SCMER: genes that keep the similarities of cells, by a penalty that is tuned to their number.

On the highly variable genes, with 40 components as in its tutorials; otherwise its defaults.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from exchange import serve
from scmer import UmapL1

if TYPE_CHECKING:
    from anndata import AnnData


def select(adata: AnnData, k: int, seed: int) -> list[str]:
    """Return at most `k` genes, those of the largest weight first."""
    np.random.seed(seed)  # noqa: NPY002 - its components are drawn from the global generator
    variable = adata[:, adata.var["highly_variable"]]
    model = UmapL1.tune(k, variable.X.toarray(), n_pcs=40, n_threads=1, verbosity=0)
    weights = np.asarray(model.w).ravel()
    best = np.argsort(-weights, kind="stable")[:k]
    return variable.var_names[best[weights[best] > 0]].tolist()


if __name__ == "__main__":
    serve(select)
