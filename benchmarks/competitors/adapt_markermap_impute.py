"""MarkerMap, unsupervised: an autoencoder of all genes behind a relaxed subset of k genes.

All is as in ``adapt_markermap``, but the loss, which is that of the reconstruction alone. The
settings of its authors' script for reconstruction (one mean and one deviation for all genes, the
rate from a search, 25 epochs at least) reach 0.20 where these reach 0.38 (kang_stim, split 0).
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import anndata as ad
import numpy as np
import torch
from exchange import serve

if TYPE_CHECKING:
    from numpy.typing import NDArray

# It imports another competitor, which is in no package index, to compare itself with.
sys.modules["persist"] = ModuleType("persist")


def select(adata: ad.AnnData, k: int, seed: int) -> list[str]:
    """Return `k` genes; leave what they say of ``test.h5ad`` in ``reconstructed.npy``."""
    from markermap.utils import split_data_into_dataloaders_no_test
    from markermap.vae_models import MarkerMap, train_model

    torch.manual_seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - it draws its split from the global generator
    folder = Path(sys.argv[1])
    values = adata.X.toarray()
    mean, scale = values.mean(axis=0), np.maximum(values.std(axis=0), 1e-6)

    def standardized(expression: NDArray[np.floating]) -> NDArray[np.float32]:
        return ((expression - mean) / scale).clip(-10, 10).astype(np.float32)

    model = MarkerMap(
        input_size=values.shape[1],
        hidden_layer_size=256,
        z_size=16,
        num_classes=None,
        k=k,
        lr=1e-3,
        loss_tradeoff=1,
    )
    unused = np.zeros(len(values), dtype=np.int64)
    batches = split_data_into_dataloaders_no_test(standardized(values), unused, train_size=0.8)
    train_model(model, *batches[:2], auto_lr=False)
    model.eval()  # it does not do so itself
    found = model.get_reconstruction(standardized(ad.read_h5ad(folder / "test.h5ad").X.toarray()))
    np.save(folder / "reconstructed.npy", found * scale + mean)
    return adata.var_names[model.markers().numpy()].tolist()


if __name__ == "__main__":
    serve(select)
