"""LassoNet: a network whose first layer is switched off, gene by gene, by a growing penalty.

From the highly variable genes, standardised, and with penalties 5 % apart (its default, 2 %, takes
more than twice as long). Genes are ranked by the penalty at which they disappear.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from exchange import serve
from lassonet import LassoNetClassifier

if TYPE_CHECKING:
    from anndata import AnnData


def select(adata: AnnData, k: int, seed: int) -> list[str]:
    """Return the `k` genes that last longest."""
    adata = adata[:, adata.var["highly_variable"]]
    values = adata.X.toarray()
    values = (values - values.mean(axis=0)) / np.maximum(values.std(axis=0), 1e-6)
    model = LassoNetClassifier(path_multiplier=1.05, verbose=0, random_state=seed, torch_seed=seed)
    model.path(values, adata.obs["label"].cat.codes.to_numpy().astype(np.int64))
    order = np.argsort(-model.feature_importances_.numpy(), kind="stable")
    return adata.var_names[order[:k]].tolist()


if __name__ == "__main__":
    serve(select)
