"""ActiveSVC: adds the gene that turns a linear classifier most, judged on few hard cells.

From the highly variable genes: for each gene it considers, it copies the data. 100 cells in every
step, balanced over the classes, which its paper recommends for uneven ones.
"""

from __future__ import annotations

import random
import warnings
from typing import TYPE_CHECKING

import numpy as np
from activeSVC import min_complexity
from exchange import serve

if TYPE_CHECKING:
    from anndata import AnnData


def select(adata: AnnData, k: int, seed: int) -> list[str]:
    """Return `k` genes, in the order in which they were added."""
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - it draws cells from the global generator
    warnings.simplefilter("ignore")
    adata = adata[:, adata.var["highly_variable"]]
    values = adata.X.toarray()
    codes = adata.obs["label"].cat.codes.to_numpy().astype(np.int64)
    # What it is given to test on, it only prints scores of.
    genes = min_complexity(
        values, codes, values[:100], codes[:100], k, num_samples=100, balance=True
    )[0]
    return adata.var_names[genes].tolist()


if __name__ == "__main__":
    serve(select)
