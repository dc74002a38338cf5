"""NS-Forest: for every class the few markers that a forest and the binary score agree on.

It has no panel size: the markers of all classes are taken in turn, then its further binary genes.
"""

from __future__ import annotations

import tempfile
from itertools import zip_longest
from typing import TYPE_CHECKING

from exchange import serve
from nsforest import nsforesting, preprocessing

if TYPE_CHECKING:
    from anndata import AnnData


def select(adata: AnnData, k: int, seed: int) -> list[str]:
    """Return at most `k` genes; its seed is fixed."""
    adata = preprocessing.prep_medians(adata, "label")
    adata = preprocessing.prep_binary_scores(adata, "label")
    with tempfile.TemporaryDirectory() as folder:
        table = nsforesting.NSForest(adata, "label", n_jobs=1, output_folder=f"{folder}/")
    found: dict[str, None] = {}
    for column in ("NSForest_markers", "binary_genes"):
        for genes in zip_longest(*table[column]):
            found.update(dict.fromkeys(gene for gene in genes if gene is not None))
    return list(found)[:k]


if __name__ == "__main__":
    serve(select)
