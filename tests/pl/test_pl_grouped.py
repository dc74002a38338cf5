"""The panel through scanpy's plots of groups."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scanpy as sc
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from scipy import sparse

import yoto_sc as yt

GROUP = "bulk_labels"


def genes_of(ax):
    return [label.get_text() for label in ax.get_xticklabels()]


def expected_groups(adata, groupby, values=None) -> dict[str, list[str]]:
    """Group of each panel gene by z-scores of the means, made with pandas alone."""
    genes = list(adata.var.query("yoto_selected").sort_values("yoto_rank").index)
    if values is None:
        values = adata[:, genes].X.toarray()
    means = pd.DataFrame(values, columns=genes).groupby(
        adata.obs[groupby].to_numpy(), observed=True
    )
    z = means.mean().apply(lambda column: (column - column.mean()) / column.std())
    home = z.idxmax()
    categories = adata.obs[groupby].cat.categories
    grouped = {str(c): [gene for gene in genes if home[gene] == c] for c in categories}
    return {group: found for group, found in grouped.items() if found}


def unscaled(kind, adata, groupby=GROUP, **kwargs):
    """The axes of a plot of expression as it is."""
    plot = getattr(yt.pl, f"selected_genes_{kind}")
    return plot(adata, groupby, standard_scale=None, **kwargs)


def means_of(adata, genes, groupby, layer=None) -> np.ndarray:
    frame = sc.get.obs_df(adata, [groupby, *genes], layer=layer, use_raw=False)
    return frame.groupby(groupby, observed=True).mean().to_numpy()


@pytest.mark.parametrize("groupby", [GROUP, "phase", "louvain"])
def test_genes_stand_under_the_group_that_expresses_them_most(adata, groupby):
    axes = yt.pl.selected_genes_dotplot(adata, groupby)
    expected = expected_groups(adata, groupby)
    assert genes_of(axes["mainplot_ax"]) == [gene for found in expected.values() for gene in found]
    assert [text.get_text() for text in axes["gene_group_ax"].texts] == list(expected)
    groups = [label.get_text() for label in axes["mainplot_ax"].get_yticklabels()]
    assert groups == list(adata.obs[groupby].cat.categories)


def test_matrixplot_shows_the_means(adata):
    ax = unscaled("matrixplot", adata)["mainplot_ax"]
    shown = np.asarray(ax.collections[0].get_array()).reshape(10, 32)
    np.testing.assert_allclose(shown, means_of(adata, genes_of(ax), GROUP), rtol=1e-5)


def test_heatmap_shows_every_cell_by_group(adata):
    axes = unscaled("heatmap", adata)
    image = axes["heatmap_ax"].images[0]
    cells = adata.obs[GROUP].sort_values(kind="stable").index
    expected = adata[cells, genes_of(axes["heatmap_ax"])].X.toarray()
    shown = np.asarray(image.get_array())
    np.testing.assert_allclose(np.sort(shown[:68], axis=0), np.sort(expected[:68], axis=0))
    assert shown.sum() == pytest.approx(expected.sum(), rel=1e-5)
    assert image.colorbar.ax.get_ylabel() == "expression"


def test_names_of_small_groups_do_not_overlap(adata):
    ax = yt.pl.selected_genes_heatmap(adata, GROUP)["groupby_ax"]
    ax.figure.draw_without_rendering()
    boxes = sorted(
        (label.get_window_extent() for label in ax.get_yticklabels()), key=lambda b: b.y0
    )
    assert len(boxes) == 10
    assert all(low.y1 <= high.y0 + 1 for low, high in zip(boxes[:-1], boxes[1:], strict=True))


def test_stacked_violin_colours_by_the_median(adata):
    axes = unscaled("stacked_violin", adata, "phase", n_genes=4)
    assert sorted(genes_of(axes["mainplot_ax"])) == sorted(yt.Panel.from_adata(adata).genes[:4])
    assert axes["color_legend_ax"].get_title() == "Median expression\nin group"


@pytest.mark.parametrize("groupby", [GROUP, "phase"])
def test_many_violins_go_on_in_further_rows(adata, groupby):
    adata.var["yoto_imposed"] = adata.var_names.isin(["CST3"])
    first, second = yt.pl.selected_genes_stacked_violin(adata, groupby)
    whole = yt.pl.selected_genes_dotplot(adata, groupby)["mainplot_ax"]
    mains = [axes["mainplot_ax"] for axes in (first, second)]
    assert [len(genes_of(ax)) for ax in mains] == [16, 16]
    assert sum(map(genes_of, mains), []) == genes_of(whole)
    labels = [label for ax in mains for label in ax.get_xticklabels()]
    assert [x.get_text() for x in labels if x.get_fontstyle() == "italic"] == ["CST3"]
    assert first["mainplot_ax"].figure is second["mainplot_ax"].figure
    assert mains[1].get_window_extent().y1 < mains[0].get_window_extent().y0


@pytest.mark.parametrize("argument", [{"swap_axes": True}, {"ax": True}, {"dendrogram": True}])
def test_violins_whose_place_or_order_was_asked_for_are_in_one_piece(adata, argument):
    if "ax" in argument:
        argument = {"ax": Figure((16, 5)).subplots()}
    assert isinstance(yt.pl.selected_genes_stacked_violin(adata, GROUP, **argument), dict)


@pytest.mark.parametrize("kind", ["dotplot", "matrixplot", "stacked_violin", "heatmap"])
def test_genes_that_had_to_be_in_the_panel_are_in_italics(adata, kind):
    adata.var["symbol"] = "s-" + adata.var_names
    genes = yt.Panel.from_adata(adata).genes
    adata.var["yoto_imposed"] = adata.var_names.isin(genes[:3])
    plot = getattr(yt.pl, f"selected_genes_{kind}")
    axes = plot(adata, GROUP, n_genes=8, gene_symbols="symbol")
    labels = axes["heatmap_ax" if kind == "heatmap" else "mainplot_ax"].get_xticklabels()
    styles = {label.get_text(): label.get_fontstyle() for label in labels}
    assert {name for name, style in styles.items() if style == "italic"} == {
        f"s-{gene}" for gene in genes[:3]
    }
    assert len(styles) == 8


def test_n_genes_takes_the_best(adata):
    ax = yt.pl.selected_genes_dotplot(adata, GROUP, n_genes=5)["mainplot_ax"]
    assert sorted(genes_of(ax)) == sorted(yt.Panel.from_adata(adata).genes[:5])


@pytest.mark.parametrize("layout", [sparse.csr_matrix, sparse.csc_matrix, sparse.csr_array, None])
def test_counts_are_read_from_the_layer_and_logged(adata, layout):
    counts = np.rint(np.expm1(adata.X.toarray()))
    adata.layers["counts"] = counts if layout is None else layout(counts)
    adata.uns["yoto"]["params"] |= {"layer": "counts", "expression": "layers/counts"}
    axes = unscaled("matrixplot", adata)
    ax = axes["mainplot_ax"]
    assert axes["color_legend_ax"].get_title() == "Mean log1p expression\nin group"
    adata.layers["log"] = np.log1p(counts)
    shown = np.asarray(ax.collections[0].get_array()).reshape(10, 32)
    np.testing.assert_allclose(shown, means_of(adata, genes_of(ax), GROUP, "log"), rtol=1e-5)
    panel_log = np.log1p(counts)[:, adata.var_names.get_indexer(yt.Panel.from_adata(adata).genes)]
    expected = expected_groups(adata, GROUP, panel_log)
    assert genes_of(ax) == [gene for found in expected.values() for gene in found]

    raw_counts = unscaled("matrixplot", adata, log=False)
    assert raw_counts["color_legend_ax"].get_title() == "Mean expression\nin group"


@pytest.mark.parametrize("stored", [True, False])
def test_raw_is_read_where_the_selection_read_it_or_on_request(adata, stored):
    adata.raw = adata
    adata.X = np.zeros(adata.shape, dtype=np.float32)
    if stored:
        adata.uns["yoto"]["params"]["expression"] = "raw"
    ax = unscaled("matrixplot", adata, use_raw=None if stored else True)
    shown = np.asarray(ax["mainplot_ax"].collections[0].get_array()).reshape(10, 32)
    expected = means_of(adata.raw.to_adata(), genes_of(ax["mainplot_ax"]), GROUP)
    np.testing.assert_allclose(shown, expected, rtol=1e-5)


def test_only_panel_genes_are_made_dense(adata, monkeypatch):
    widths = []
    original = type(adata.X).toarray

    def toarray(self, *args, **kwargs):
        widths.append(self.shape[1])
        return original(self, *args, **kwargs)

    monkeypatch.setattr(type(adata.X), "toarray", toarray)
    yt.pl.selected_genes_dotplot(adata, GROUP)
    assert widths == [32]


def test_cells_without_a_group_are_left_out(adata):
    adata.obs["partial"] = adata.obs[GROUP].where(adata.obs[GROUP] != "Dendritic")
    assert "Dendritic" in adata.obs["partial"].cat.categories
    ax = unscaled("matrixplot", adata, "partial")["mainplot_ax"]
    labelled = adata[adata.obs["partial"].notna()].copy()
    groups = [label.get_text() for label in ax.get_yticklabels()]
    assert groups == list(labelled.obs["partial"].cat.categories)
    shown = np.asarray(ax.collections[0].get_array()).reshape(9, 32)
    np.testing.assert_allclose(shown, means_of(labelled, genes_of(ax), "partial"), rtol=1e-5)


@pytest.mark.parametrize("dtype", ["str", "string", "int", "bool"])
def test_groups_need_not_be_categorical(adata, dtype):
    codes = adata.obs["phase"].cat.codes.to_numpy() % 2
    adata.obs["group"] = pd.Series(codes, adata.obs_names).astype(dtype)
    ax = yt.pl.selected_genes_dotplot(adata, "group")["mainplot_ax"]
    expected = [str(value) for value in sorted(adata.obs["group"].unique())]
    assert [label.get_text() for label in ax.get_yticklabels()] == expected


def test_the_users_colours_are_used(adata):
    adata.uns["phase_colors"] = ["#ff0000", "#00ff00", "#0000ff"]
    present = adata[adata.obs["phase"] != "G2M"]  # the second of three
    axes = yt.pl.selected_genes_heatmap(present.copy(), "phase")
    colors = axes["groupby_ax"].images[0].cmap.colors
    assert [to_hex(color) for color in colors] == ["#ff0000", "#0000ff"]


def test_duplicate_cell_names_do_no_harm(adata):
    adata.obs.index = ["cell"] * adata.n_obs
    yt.pl.selected_genes_dotplot(adata, GROUP)


@pytest.mark.parametrize("swap_axes", [False, True])
@pytest.mark.parametrize("kind", ["dotplot", "matrixplot"])
def test_group_names_are_whole_apart_and_inside(adata, kind, swap_axes):
    axes = getattr(yt.pl, f"selected_genes_{kind}")(adata, GROUP, swap_axes=swap_axes)
    figure = axes["mainplot_ax"].figure
    figure.draw_without_rendering()
    texts = axes["gene_group_ax"].texts
    assert [text.get_text() for text in texts] == list(expected_groups(adata, GROUP))
    boxes = [text.get_window_extent() for text in texts]
    others = [*boxes, axes["color_legend_ax"].get_tightbbox()]
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in others[i + 1 :])
    assert all(
        figure.bbox.x0 <= b.x0 and b.x1 <= figure.bbox.x1 and b.y1 <= figure.bbox.y1 for b in boxes
    )


@pytest.mark.parametrize("swap_axes", [False, True])
def test_genes_follow_the_dendrogram(adata, swap_axes):
    sc.tl.dendrogram(adata, GROUP, use_rep="X_pca")
    axes = yt.pl.selected_genes_dotplot(adata, GROUP, dendrogram=True, swap_axes=swap_axes)
    expected = expected_groups(adata, GROUP)
    order = [g for g in adata.uns[f"dendrogram_{GROUP}"]["categories_ordered"] if g in expected]
    assert len(order) < 10  # scanpy alone would then leave the genes as they are
    assert [text.get_text() for text in axes["gene_group_ax"].texts] == order
    labels = "get_yticklabels" if swap_axes else "get_xticklabels"
    shown = [label.get_text() for label in getattr(axes["mainplot_ax"], labels)()]
    assert shown == [gene for group in order for gene in expected[group]]


def test_dendrogram_is_made_where_there_is_none(adata):
    axes = yt.pl.selected_genes_heatmap(adata, GROUP, dendrogram=True)
    assert "dendrogram_ax" in axes
    assert f"dendrogram_{GROUP}" not in adata.uns


def test_each_gene_has_all_colours_unless_told_otherwise(adata):
    for scale in ({}, {"standard_scale": "var"}):
        axes = yt.pl.selected_genes_matrixplot(adata, GROUP, **scale)
        shown = np.asarray(axes["mainplot_ax"].collections[0].get_array()).reshape(10, 32)
        np.testing.assert_allclose(shown.max(axis=0), 1)
        assert axes["color_legend_ax"].get_title() == "Mean expression\nin group, scaled by gene"
    axes = yt.pl.selected_genes_matrixplot(adata, GROUP, standard_scale=None)
    assert np.asarray(axes["mainplot_ax"].collections[0].get_array()).max() > 1
    assert axes["color_legend_ax"].get_title() == "Mean expression\nin group"


def test_arguments_reach_scanpy(adata):
    axes = yt.pl.selected_genes_matrixplot(adata, GROUP, standard_scale="group")
    shown = np.asarray(axes["mainplot_ax"].collections[0].get_array()).reshape(10, 32)
    np.testing.assert_allclose(shown.max(axis=1), 1)
    assert axes["color_legend_ax"].get_title() == "Mean expression\nin group, scaled by group"
    axes = yt.pl.selected_genes_dotplot(adata, GROUP, colorbar_title="mine")
    assert axes["color_legend_ax"].get_title() == "mine"


@pytest.mark.parametrize(
    ("kind", "result"),
    [
        ("dotplot", sc.pl.DotPlot),
        ("matrixplot", sc.pl.MatrixPlot),
        ("stacked_violin", sc.pl.StackedViolin),
    ],
)
def test_return_fig(adata, kind, result):
    plot = getattr(yt.pl, f"selected_genes_{kind}")(adata, "phase", return_fig=True)
    assert isinstance(plot, result)


@pytest.mark.parametrize("kind", ["dotplot", "matrixplot"])
def test_given_axes_stay_in_their_figure(adata, kind):
    figure = Figure(figsize=(9, 4))
    axes = getattr(yt.pl, f"selected_genes_{kind}")(
        adata, "phase", n_genes=8, ax=figure.subplots()
    )
    assert axes["mainplot_ax"].figure is figure
    assert tuple(figure.get_size_inches()) == (9, 4)


@pytest.mark.parametrize("kind", ["dotplot", "heatmap", "matrixplot", "stacked_violin"])
def test_without_groupby_the_first_classes_are_the_groups(adata, kind):
    plot = getattr(yt.pl, f"selected_genes_{kind}")
    axes, expected = (plot(adata, *groupby, n_genes=4) for groupby in ([], [GROUP]))
    assert axes.keys() == expected.keys()
    for name in axes:
        for side in ("get_xticklabels", "get_yticklabels"):
            ours, theirs = (getattr(drawn[name], side)() for drawn in (axes, expected))
            assert [t.get_text() for t in ours] == [t.get_text() for t in theirs]
    with pytest.raises(ValueError, match="no categorical task"):
        plot(adata, key="modules")


def test_symbols_are_shown(adata):
    adata.var["symbol"] = [f"s_{gene}" for gene in adata.var_names]
    ax = yt.pl.selected_genes_dotplot(adata, GROUP, gene_symbols="symbol")["mainplot_ax"]
    expected = expected_groups(adata, GROUP)
    assert genes_of(ax) == [f"s_{gene}" for found in expected.values() for gene in found]


@pytest.mark.parametrize(
    ("kwargs", "error", "message"),
    [
        ({"groupby": "nothing"}, KeyError, "'nothing' is not a column of adata.obs"),
        ({"groupby": "n_counts"}, ValueError, "continuous numbers"),
        ({"key": "modules"}, ValueError, r"no categorical task, .*\['modules', .* Pass `groupby`"),
        ({"key": "other"}, KeyError, r"tl\.select"),
        ({"groupby": [GROUP, "phase"]}, ValueError, "one column of adata.obs"),
        ({"groupby": "empty"}, ValueError, "every value is missing"),
        ({"groupby": GROUP, "layer": "nothing"}, KeyError, r"layers\['nothing'\]"),
        ({"groupby": GROUP, "use_raw": True}, KeyError, r"adata\.raw, which is not set"),
        ({"groupby": GROUP, "layer": "a", "use_raw": True}, ValueError, "Pass one of them"),
        ({"groupby": GROUP, "n_genes": 0}, ValueError, "between 1 and"),
    ],
)
def test_bad_arguments(adata, kwargs, error, message):
    adata.obs["empty"] = pd.Categorical([None] * adata.n_obs)
    with pytest.raises(error, match=message):
        yt.pl.selected_genes_dotplot(adata, **kwargs)


def test_a_panel_gene_that_raw_lacks(adata):
    adata.raw = adata[:, ~adata.var["yoto_selected"]]
    with pytest.raises(KeyError, match="adata.raw lacks 32 panel genes"):
        yt.pl.selected_genes_dotplot(adata, GROUP, use_raw=True)


def test_no_expression_at_all(adata):
    adata.X = None
    with pytest.raises(ValueError, match="adata.X, which is None"):
        yt.pl.selected_genes_dotplot(adata, GROUP)


def test_heatmap_takes_no_axes(adata):
    with pytest.raises(TypeError, match="selected_genes_matrixplot"):
        yt.pl.selected_genes_heatmap(adata, GROUP, ax=Figure().subplots())


def test_a_failing_plot_leaves_no_figure(adata):
    with pytest.raises(AttributeError, match="not_an_argument"):
        yt.pl.selected_genes_dotplot(adata, GROUP, not_an_argument=1)
