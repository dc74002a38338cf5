"""MarkerMap, supervised: a network behind a relaxed subset of k genes.

Width and training as in its own examples; expression is standardised, as there.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np
import torch
from exchange import serve

if TYPE_CHECKING:
    from anndata import AnnData

# It imports another competitor, which is in no package index, to compare itself with.
sys.modules["persist"] = ModuleType("persist")


def select(adata: AnnData, k: int, seed: int) -> list[str]:
    """Return `k` genes."""
    from markermap.vae_models import MarkerMap

    torch.manual_seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - it draws its split from the global generator
    values = adata.X.toarray()
    values = (values - values.mean(axis=0)) / np.maximum(values.std(axis=0), 1e-6)
    codes = adata.obs["label"].cat.codes.to_numpy().astype(np.int64)
    model = MarkerMap(
        input_size=values.shape[1],
        hidden_layer_size=256,
        z_size=16,
        num_classes=int(codes.max()) + 1,
        k=k,
        loss_tradeoff=0,
    )
    markers, _, _ = model.map(values.clip(-10, 10).astype(np.float32), codes)
    return adata.var_names[np.asarray(markers)].tolist()


if __name__ == "__main__":
    serve(select)
