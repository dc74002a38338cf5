"""MarkerMap, supervised: a network behind a relaxed subset of k genes.

Width as in its own examples, and expression standardised, as there; epochs and early stopping are
the defaults of its ``train_model``. The learning rate is the largest that its search may return:
on small data the search itself ends near 1e-7, and what is selected then are the genes that the
network happened to start from.
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
    from markermap.utils import split_data_into_dataloaders_no_test
    from markermap.vae_models import MarkerMap, train_model

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
        lr=1e-3,
        loss_tradeoff=0,
    )
    values = values.clip(-10, 10).astype(np.float32)
    batches = split_data_into_dataloaders_no_test(values, codes, train_size=0.8)[:2]
    train_model(model, *batches, auto_lr=False)
    return adata.var_names[model.markers().numpy()].tolist()


if __name__ == "__main__":
    serve(select)
