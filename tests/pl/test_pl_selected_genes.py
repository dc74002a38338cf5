from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.text import Text

import yoto_sc as yt


def names(ax):
    return [label.get_text() for label in ax.get_yticklabels()]


def points(ax):
    """Position of every marker, and its colour, by row."""
    found = {}
    for markers in ax.collections[1:]:  # the first holds the stems
        for x, y in markers.get_offsets():
            found[int(y)] = (float(x), to_hex(markers.get_facecolor()[0]))
    return found


def test_genes_stand_by_rank_at_what_the_panel_loses_without_them(adata):
    ax = yt.pl.selected_genes(adata)
    genes = list(adata.var[adata.var["yoto_selected"]].sort_values("yoto_rank").index)
    assert names(ax) == genes
    assert ax.yaxis.get_inverted()
    rises = adata.uns["yoto"]["attribution"].loc[genes, "criterion_increase"]
    drawn = points(ax)
    np.testing.assert_allclose([drawn[row][0] for row in range(32)], rises)
    stems = [segment[:, 0] for segment in ax.collections[0].get_segments()]
    np.testing.assert_allclose(stems, [(0, rise) for rise in rises])
    assert ax.get_xlim()[0] < min(rises.min(), 0)
    assert ax.get_xlim()[1] > rises.max()
    assert ax.get_title() == "Panel of 32 genes"
    assert ax.get_xlabel() == (
        "what the panel loses without the gene\n(rise of its task's criterion)"
    )


def test_genes_that_had_to_be_in_the_panel_are_hollow(adata):
    plain = yt.pl.selected_genes(adata)
    genes = names(plain)
    adata.var["yoto_imposed"] = adata.var_names.isin(genes[:3])
    ax = yt.pl.selected_genes(adata)
    fills = [
        (int(y), to_hex(fill), to_hex(markers.get_edgecolor()[0]))
        for markers in ax.collections[1:]
        if len(markers.get_offsets())
        for (_, y), fill in zip(markers.get_offsets(), markers.get_facecolor(), strict=True)
    ]
    tasks = points(plain)
    assert {row for row, fill, _ in fills if fill == "#ffffff"} == {0, 1, 2}
    assert {row: edge for row, _, edge in fills} == {row: c for row, (_, c) in tasks.items()}
    entries = [text.get_text() for text in ax.figure.legends[0].get_texts()]
    assert entries[-1] == "had to be in the panel"
    assert entries[:-1] == [text.get_text() for text in plain.figure.legends[0].get_texts()]


@pytest.mark.parametrize("n_genes", [8, 40])
def test_in_other_sizes_the_values_are_those_of_the_panel_as_selected(adata, n_genes):
    ax = yt.pl.selected_genes(adata, n_genes=n_genes)
    rises = adata.uns["yoto"]["attribution"]["criterion_increase"].iloc[:n_genes]
    drawn = points(ax)
    assert sorted(drawn) == list(range(min(n_genes, 32)))
    np.testing.assert_allclose([drawn[row][0] for row in sorted(drawn)], rises)
    assert len(names(ax)) == n_genes
    assert ax.get_xlabel().startswith("what the panel of 32 loses")


def test_values_that_are_zero_negative_or_unknown(adata):
    attribution = adata.uns["yoto"]["attribution"]
    attribution["criterion_increase"] = [0.0, -0.001, np.nan, -np.inf] + [0.01] * 28
    ax = yt.pl.selected_genes(adata)
    drawn = points(ax)
    assert sorted(drawn) == [0, 1, *range(4, 32)]
    assert (drawn[0][0], drawn[1][0]) == (0, -0.001)
    assert ax.get_xlim()[0] < -0.001
    written = {int(text.get_position()[1]): text.get_text() for text in ax.texts[:32]}
    assert [written[row] for row in range(32)] == list(attribution["category"])


def test_a_panel_that_loses_nothing_can_be_drawn(adata):
    adata.uns["yoto"]["attribution"]["criterion_increase"] = 0.0
    ax = yt.pl.selected_genes(adata)
    assert {x for x, _ in points(ax).values()} == {0}
    low, high = ax.get_xlim()
    assert low < 0 < high


def test_colour_is_the_task_and_text_the_class(adata):
    ax = yt.pl.selected_genes(adata)
    attribution = adata.uns["yoto"]["attribution"].loc[names(ax)]
    assert attribution["task"].nunique() > 1
    (legend,) = ax.figure.legends
    colors = {
        text.get_text(): to_hex(handle.get_color())
        for text, handle in zip(legend.get_texts(), legend.legend_handles, strict=True)
    }
    assert set(colors) == set(attribution["task"])
    drawn = points(ax)
    assert [drawn[row][1] for row in range(32)] == [
        colors[task].lower() for task in attribution["task"]
    ]
    written = {int(text.get_position()[1]): text.get_text() for text in ax.texts[:32]}
    assert [written[row] for row in range(32)] == list(attribution["category"])


@pytest.mark.parametrize("stored", ["yoto", "modules", "both"])
def test_the_heading_says_what_stands_beside_the_genes(adata, stored):
    key = "yoto" if stored == "both" else stored
    if stored == "both":
        results = adata.uns["yoto"]
        results["tasks"].loc["S_score", "kind"] = "vector"
        results["attribution"].loc[results["attribution"].index[:2], "task"] = "S_score"
        results["attribution"].loc[results["attribution"].index[:2], "category"] = "a column"
    words = {"yoto": "class", "modules": "column", "both": "class or column"}
    texts = [text.get_text() for text in yt.pl.selected_genes(adata, key=key).texts]
    assert {text for text in texts if text in words.values()} == {words[stored]}


def test_words_do_not_overlap_in_large_print(adata):
    with mpl.rc_context({"font.size": 20}):
        ax = yt.pl.selected_genes(adata)
        ax.figure.draw_without_rendering()
        (heading,) = [text for text in ax.texts if text.get_text() == "class"]
    (written,) = [text for text in ax.findobj(Text) if text.get_text() == "Panel of 32 genes"]
    assert not written.get_window_extent().overlaps(heading.get_window_extent())


@pytest.mark.parametrize(("n_genes", "n_columns"), [(1, 1), (8, 1), (64, 1), (65, 2), (200, 4)])
def test_any_size_of_the_same_ranking(adata, n_genes, n_columns):
    columns = yt.pl.selected_genes(adata, n_genes=n_genes).figure.axes
    assert len(columns) == n_columns
    ranked = adata.var["yoto_rank"].sort_values().index
    assert [name for column in columns for name in names(column)] == list(ranked[:n_genes])
    assert len({column.get_xlim() for column in columns}) == 1


def test_rows_are_as_high_in_small_as_in_large_figures(adata):
    heights = []
    for n_genes in (1, 8, 64):
        ax = yt.pl.selected_genes(adata, n_genes=n_genes)
        ax.figure.draw_without_rendering()
        heights.append(ax.get_window_extent().height / ax.figure.dpi / n_genes)
    assert heights == pytest.approx([0.19] * 3, abs=0.06)


def test_given_axes_hold_all_genes(adata):
    ax = Figure().subplots()
    yt.pl.selected_genes(adata, n_genes=100, ax=ax)
    assert len(names(ax)) == 100


@pytest.mark.parametrize("missing", ["table", "column", "values"])
def test_where_it_is_not_known_what_genes_add_the_axis_says_so(adata, missing):
    attribution = adata.uns["yoto"]["attribution"]
    if missing == "table":
        del adata.uns["yoto"]["attribution"]
    elif missing == "column":
        del attribution["criterion_increase"]
    else:
        attribution["criterion_increase"] = np.nan
    ax = yt.pl.selected_genes(adata)
    assert names(ax) == yt.Panel.from_adata(adata).genes
    assert points(ax) == {}
    assert ax.get_xlabel() == "what each gene adds was not stored"
    assert len(ax.get_xticks()) == 0
    assert ax.figure.legends == []


def test_without_a_task_dots_are_grey(adata):
    adata.uns["yoto"]["attribution"]["task"] = ""
    ax = yt.pl.selected_genes(adata)
    assert ax.figure.legends == []
    assert {color for _, color in points(ax).values()} == {"#6b6b6b"}


def test_without_uns_the_panel_is_still_shown(adata):
    del adata.uns["yoto"]
    assert len(names(yt.pl.selected_genes(adata))) == 32


def test_symbols_stand_for_var_names_where_they_are_unique(adata):
    genes = yt.Panel.from_adata(adata).genes
    adata.var["symbol"] = [f"s_{gene}" for gene in adata.var_names]
    adata.var.loc[genes[:4], "symbol"] = ["same", "same", None, genes[5]]
    shown = names(yt.pl.selected_genes(adata, gene_symbols="symbol"))
    assert shown == [*genes[:4], *(f"s_{gene}" for gene in genes[4:])]


@pytest.mark.parametrize("n_genes", [0, -1, 701])
def test_impossible_sizes(adata, n_genes):
    with pytest.raises(ValueError, match=rf"between 1 and the 700 ranked genes, not {n_genes}"):
        yt.pl.selected_genes(adata, n_genes=n_genes)


def test_panel_without_genes_left(adata):
    rest = adata[:, ~adata.var["yoto_selected"]].copy()
    with pytest.raises(ValueError, match="No gene of adata is selected"):
        yt.pl.selected_genes(rest)


def test_unknown_symbols_column(adata):
    with pytest.raises(KeyError, match=r"gene_symbols='symbol'.*'yoto_selected'"):
        yt.pl.selected_genes(adata, gene_symbols="symbol")
