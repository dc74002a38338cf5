from __future__ import annotations

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

import yoto_sc as yt


def test_shows_the_first_genes_on_the_embedding(adata):
    drawn = yt.pl.selected_genes_umap(adata)
    genes = yt.Panel.from_adata(adata).genes[:7]
    assert [ax.get_title() for ax in drawn] == [*genes, "bulk_labels"]
    for ax, gene in zip(drawn[:7], genes, strict=True):
        points = ax.collections[-1]
        values = adata[:, gene].X.toarray().ravel()
        np.testing.assert_allclose(np.sort(points.get_array()), np.sort(values))
        order = np.lexsort(points.get_offsets().T)
        expected = np.lexsort(adata.obsm["X_umap"].T)
        np.testing.assert_allclose(points.get_array()[order], values[expected])
        assert points.colorbar.ax.get_ylabel() == "expression"


def test_a_smaller_panel_is_shown_whole(make_selected):
    assert len(yt.pl.selected_genes_umap(make_selected(4, ("S_score",)))) == 4


def test_classes_are_shown_beside_the_genes(adata):
    names = list(adata.obs["bulk_labels"].cat.categories)
    adata.uns["bulk_labels_colors"] = [f"#0000{number:02x}" for number in range(10)]
    adata.obs.loc[adata.obs_names[:9], "bulk_labels"] = np.nan
    classes = yt.pl.selected_genes_umap(adata, n_genes=3)[-1]
    legend = [text.get_text() for text in classes.get_legend().get_texts()]
    assert legend[:10] == names
    colors = {to_hex(c) for points in classes.collections for c in points.get_facecolors()}
    assert set(adata.uns["bulk_labels_colors"]) <= colors
    drawn = yt.pl.selected_genes_umap(adata, "phase", n_genes=1)
    assert [ax.get_title() for ax in drawn] == [*yt.Panel.from_adata(adata).genes[:1], "phase"]


def test_a_gene_named_as_the_classes(adata):
    gene = yt.Panel.from_adata(adata).genes[0]
    adata.obs[gene] = adata.obs["phase"]
    drawn = yt.pl.selected_genes_umap(adata, gene, n_genes=1)
    assert [ax.get_title() for ax in drawn] == [gene, f"obs: {gene}"]


def test_cells_whose_classes_are_not_known(adata):
    del adata.obs["bulk_labels"]
    assert len(yt.pl.selected_genes_umap(adata, n_genes=2)) == 2


def test_one_gene_on_given_axes(adata):
    ax = Figure().subplots()
    assert yt.pl.selected_genes_umap(adata, n_genes=1, ax=ax) is ax
    colors = ax.collections[-1].colorbar
    assert colors.ax.figure is ax.figure
    assert colors.ax.get_ylabel() == "expression"


def test_ncols(adata):
    drawn = yt.pl.selected_genes_umap(adata, n_genes=4, ncols=2)
    assert len({round(ax.get_position().x0, 3) for ax in drawn}) == 2


@pytest.mark.parametrize("basis", ["umap", "X_umap", "X_pca"])
def test_basis_is_named_as_in_scanpy(adata, basis):
    ax = yt.pl.selected_genes_umap(adata, n_genes=1, basis=basis, frameon=True)
    assert isinstance(ax, Axes)
    assert ax.get_xlabel() == f"{basis.removeprefix('X_').upper().replace('PCA', 'PC')}1"


@pytest.mark.parametrize("size", ["s", "size"])
def test_color_map_and_size_are_the_callers(adata, size):
    ax = yt.pl.selected_genes_umap(adata, n_genes=1, cmap="magma", **{size: 7})
    points = ax.collections[-1]
    assert points.get_cmap().name == "magma"
    np.testing.assert_array_equal(points.get_sizes(), 7)


def test_counts_are_logged(adata):
    adata.layers["counts"] = adata.X.copy()
    adata.layers["counts"].data = np.rint(np.expm1(adata.X.data))
    ax = yt.pl.selected_genes_umap(adata, n_genes=1, layer="counts")
    expected = np.log1p(adata[:, ax.get_title()].layers["counts"].toarray().ravel())
    np.testing.assert_allclose(np.sort(ax.collections[-1].get_array()), np.sort(expected))
    assert ax.collections[-1].colorbar.ax.get_ylabel() == "log1p expression"


def test_without_embedding_says_how_to_make_one(adata):
    del adata.obsm["X_umap"]
    with pytest.raises(KeyError, match=r"neighbors\(adata, use_rep='X_yoto'\); sc\.tl\.umap"):
        yt.pl.selected_genes_umap(adata)


def test_several_genes_do_not_fit_on_one_axes(adata):
    with pytest.raises(ValueError, match="n_genes=1"):
        yt.pl.selected_genes_umap(adata, ax=Figure().subplots())
