"""Peripheral blood cells that scanpy carries along."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING

from scipy import sparse

if TYPE_CHECKING:
    import anndata as ad


def pbmc68k() -> ad.AnnData:
    """Peripheral blood mononuclear cells, 700 cells x 765 genes, without a download.

    The subset of the 68k PBMC data of 10x Genomics [1]_ that is bundled with scanpy as
    :func:`scanpy.datasets.pbmc68k_reduced`. There, ``X`` holds scaled expression, which is
    negative in places; here it is the log-normalised expression that scanpy ships in ``raw``.

    Returns
    -------
    AnnData
        Has the following fields:

        X : :class:`scipy.sparse.csr_matrix`, float32, shape (700, 765)
            Log-normalised expression, not negative.
        obs["bulk_labels"] : categorical
            10 cell types, by correlation with bulk expression of purified cells.
        ``obs["phase"]``, ``obs["S_score"]``, ``obs["G2M_score"]``
            Cell cycle: phase (categorical) and the scores it was derived from.
        obs["louvain"] : categorical
            11 clusters.
        ``obs["n_genes"]``, ``obs["percent_mito"]``, ``obs["n_counts"]``
            Quality control, over all genes.
        ``obsm["X_pca"]``, ``obsm["X_umap"]``, ``obsp["connectivities"]``, ``obsp["distances"]``
            As computed by scanpy's authors from the scaled expression.
        ``uns["bulk_labels_colors"]``, ``uns["louvain_colors"]``
            Colours of the categories.

        ``raw`` is not set. Principal axes (``varm["PCs"]``, ``uns["pca"]``) and ranked genes
        (``uns["rank_genes_groups"]``) are left out, as they do not belong to this ``X``.

    Raises
    ------
    RuntimeError
        If scanpy ships other genes in ``raw`` than in ``X``.

    References
    ----------
    .. [1] Zheng GXY et al. Massively parallel digital transcriptional profiling of single cells.
       Nature Communications 8:14049 (2017).

    Examples
    --------
    >>> pbmc68k().shape
    (700, 765)
    """
    import scanpy as sc  # takes seconds, and `planted` does not need it

    adata = sc.datasets.pbmc68k_reduced()
    raw = adata.raw
    if raw is None or not raw.var_names.equals(adata.var_names):
        raise RuntimeError(
            "scanpy.datasets.pbmc68k_reduced() has changed: its raw must hold the genes of X in "
            f"the same order. Installed: scanpy {version('scanpy')}; known to work: 1.11."
        )
    adata.X = sparse.csr_matrix(raw.X, dtype="float32")
    del adata.raw  # anndata unsets raw on deletion only
    del adata.varm["PCs"]
    for stale in ("pca", "rank_genes_groups"):
        del adata.uns[stale]
    return adata
