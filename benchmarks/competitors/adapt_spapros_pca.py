"""Spapros without labels: the genes of the largest sums of absolute loadings.

From the highly variable genes, as in its tutorials; otherwise its defaults (20 components).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from exchange import serve
from spapros.selection import select_pca_genes

if TYPE_CHECKING:
    from anndata import AnnData


def select(adata: AnnData, k: int, seed: int) -> list[str]:
    """Return `k` genes, those of the largest sums first; there is nothing random in it."""
    variable = adata[:, adata.var["highly_variable"]].copy()
    table = select_pca_genes(variable, k, inplace=False)
    table = table[table["selection"]].sort_values("selection_score", ascending=False)
    return table.index.tolist()


if __name__ == "__main__":
    serve(select)
