from __future__ import annotations

import numpy as np
import pytest
import scanpy as sc
from scipy import sparse

from yoto_sc.datasets import pbmc68k


@pytest.fixture(scope="module")
def bundled():
    return sc.datasets.pbmc68k_reduced()


def test_expression_is_what_scanpy_ships_in_raw(bundled):
    adata = pbmc68k()
    assert adata.shape == (700, 765)
    assert sparse.issparse(adata.X)
    assert adata.X.format == "csr"
    assert adata.X.dtype == np.float32
    assert adata.X.data.min() > 0
    assert adata.raw is None
    for gene in ("CST3", "NKG7", "CD79A"):
        np.testing.assert_array_equal(
            sc.get.obs_df(adata, gene), sc.get.obs_df(bundled, gene, use_raw=True)
        )
    # Scaled expression, which must not come back.
    assert bundled.X.min() < 0


def test_annotation_is_kept_and_stale_results_are_dropped(bundled):
    adata = pbmc68k()
    assert adata.obs.equals(bundled.obs)
    assert adata.var.equals(bundled.var)
    assert set(adata.obsm) == {"X_pca", "X_umap"}
    assert {"bulk_labels_colors", "louvain_colors", "neighbors"} <= set(adata.uns)
    assert not {"rank_genes_groups", "pca"} & set(adata.uns)
    assert "PCs" not in adata.varm


def test_every_call_returns_a_new_object():
    first = pbmc68k()
    first.X.data[:] = -1
    assert pbmc68k().X.data.min() > 0


def test_genes_of_raw_in_another_order_are_an_error(bundled, monkeypatch):
    changed = bundled.copy()
    changed.raw = bundled.raw.to_adata()[:, ::-1]
    monkeypatch.setattr(sc.datasets, "pbmc68k_reduced", lambda: changed)
    with pytest.raises(RuntimeError, match="same order"):
        pbmc68k()


def test_survives_h5ad(tmp_path):
    adata = pbmc68k()
    adata.write_h5ad(tmp_path / "pbmc.h5ad")
    back = sc.read_h5ad(tmp_path / "pbmc.h5ad")
    assert (back.X != adata.X).nnz == 0
