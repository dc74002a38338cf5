from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import pearsonr

import yoto_sc as yt


def drawn(ax):
    (image,) = ax.images
    return np.ma.filled(image.get_array(), np.nan)


def names_of(ax):
    names = [label.get_text() for label in ax.get_xticklabels()]
    assert names == [label.get_text() for label in ax.get_yticklabels()]
    return names


def test_colours_are_the_correlations_of_the_panel(adata):
    ax = yt.pl.redundancy(adata)
    names, values = names_of(ax), drawn(ax)
    assert sorted(names) == sorted(yt.Panel.from_adata(adata).genes)
    x = adata[:, names].X.toarray().astype(float)
    for i, j in [(0, 1), (5, 20), (30, 2)]:
        np.testing.assert_allclose(values[i, j], pearsonr(x[:, i], x[:, j]).statistic, atol=1e-6)
    assert np.isnan(np.diag(values)).all()


def test_title_sums_up(adata):
    ax = yt.pl.redundancy(adata)
    size = np.abs(drawn(ax)[np.triu_indices(32, k=1)])
    assert ax.get_title() == (
        f"Redundancy: |r| is {size.mean():.2f} on average, {size.max():.2f} at most"
    )
    low, high = ax.images[0].get_clim()
    assert low == -high
    assert size.max() <= high <= size.max() + 0.1


def test_numbers_are_those_of_evaluate(adata):
    genes = yt.Panel.from_adata(adata).genes
    table = yt.tl.evaluate(adata, genes, categorical_keys="phase", classifiers=[])
    (mean,) = table.loc[table["metric"] == "mean_abs_correlation", "value"]
    assert f"is {mean:.2f} on average" in yt.pl.redundancy(adata).get_title()


def test_genes_that_repeat_each_other_are_side_by_side(adata):
    genes = ["CD3D", "LYZ", "CD3E", "NKG7", "CST3", "GNLY"]
    names = names_of(yt.pl.redundancy(adata, genes=genes))
    for pair in (("CD3D", "CD3E"), ("LYZ", "CST3"), ("NKG7", "GNLY")):
        assert abs(names.index(pair[0]) - names.index(pair[1])) == 1


def test_needs_no_selection_if_genes_are_given(adata):
    del adata.uns["yoto"], adata.var["yoto_selected"]
    assert len(names_of(yt.pl.redundancy(adata, genes=["CD3D", "LYZ", "NKG7"]))) == 3


def test_constant_genes_are_grey(adata):
    x = adata.X.tolil()
    x[:, adata.var_names.get_loc("LYZ")] = 0
    adata.X = x.tocsr()
    ax = yt.pl.redundancy(adata, genes=["CD3D", "CD3E", "LYZ"])
    at = names_of(ax).index("LYZ")
    assert np.isnan(drawn(ax)[at]).all()
    assert np.isfinite(drawn(ax)).sum() == 2
    ax = yt.pl.redundancy(adata, genes=["CD3D", "LYZ"])
    assert ax.get_title() == "No two genes vary"


@pytest.mark.parametrize("n_genes", [2, 8, 32, 64, 100])
def test_names_do_not_overlap(adata, n_genes):
    ax = yt.pl.redundancy(adata, genes=list(adata.var_names[:n_genes]))
    ax.figure.draw_without_rendering()
    boxes = [label.get_window_extent() for label in ax.get_yticklabels()]
    tops = sorted((box.y0, box.y1) for box in boxes)
    # The box of a text has some air above and below the letters.
    assert all(a[1] - b[0] < 0.3 * (a[1] - a[0]) for a, b in zip(tops, tops[1:], strict=False))
    assert all(box.x0 >= 0 for box in boxes)


def test_names_of_very_many_genes_are_left_out(adata):
    ax = yt.pl.redundancy(adata, genes=list(adata.var_names[:120]))
    assert names_of(ax) == []
    assert ax.get_xlabel() == "120 genes"


def test_symbols(adata):
    adata.var["symbol"] = ["s_" + name for name in adata.var_names]
    ax = yt.pl.redundancy(adata, genes=["CD3D", "LYZ"], gene_symbols="symbol")
    assert sorted(names_of(ax)) == ["s_CD3D", "s_LYZ"]


@pytest.mark.parametrize(
    ("kwargs", "error", "match"),
    [
        ({"genes": ["CD3D", "nope"]}, KeyError, r"names \['nope'\]"),
        ({"genes": ["CD3D"]}, ValueError, "at least two"),
        ({"genes": []}, ValueError, "at least two"),
        ({"genes": ["CD3D", "CD3D"]}, ValueError, "more than once"),
        ({"layer": "nope"}, KeyError, "nope"),
    ],
)
def test_bad_input(adata, kwargs, error, match):
    with pytest.raises(error, match=match):
        yt.pl.redundancy(adata, **kwargs)
