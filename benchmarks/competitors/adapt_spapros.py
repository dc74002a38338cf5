"""Spapros: small trees on differentially expressed genes and on genes of the leading components.

From the highly variable genes, as in its tutorials; otherwise its defaults.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from exchange import serve
from spapros.selection import ProbesetSelector

if TYPE_CHECKING:
    from anndata import AnnData


def select(adata: AnnData, k: int, seed: int) -> list[str]:
    """Return at most `k` genes, by Spapros' own rank."""
    selector = ProbesetSelector(
        adata,
        celltype_key="label",
        genes_key="highly_variable",
        n=k,
        seed=seed,
        n_jobs=1,
        verbosity=0,
    )
    selector.select_probeset()
    table = selector.probeset
    return table.index[table["selection"]].tolist()


if __name__ == "__main__":
    serve(select)
