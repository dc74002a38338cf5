from __future__ import annotations

import numpy as np
import pytest

import yoto_sc as yt


def bars(ax):
    """Length and colour by gene, as drawn, column by column."""
    names = [label.get_text() for label in ax.get_yticklabels()]
    names += [text.get_text() for text in ax.texts]
    drawn = sorted(ax.patches, key=lambda bar: (bar.get_x(), bar.get_y()))
    found = [(bar.get_width(), bar.get_facecolor()) for bar in drawn]
    return dict(zip(names, found, strict=True))


def test_bars_are_the_frequencies(adata):
    drawn = bars(yt.pl.stability(adata))
    frequency = adata.var["yoto_frequency"]
    assert set(drawn) == set(adata.var_names[frequency > 0])
    for gene, (length, _) in drawn.items():
        assert length == pytest.approx(frequency[gene])
    lengths = [length for length, _ in drawn.values()]
    assert lengths == sorted(lengths, reverse=True)


def test_the_consensus_has_its_colour_and_comes_before_equals(adata):
    ax = yt.pl.stability(adata)
    consensus = adata.var["yoto_consensus"]
    drawn = bars(ax)
    colors = {
        inside: {c for g, (_, c) in drawn.items() if consensus[g] == inside}
        for inside in (True, False)
    }
    assert len(colors[True]) == len(colors[False]) == 1
    assert colors[True] != colors[False]
    assert [bool(consensus[gene]) for gene in drawn] == [True] * 32 + [False] * (len(drawn) - 32)
    (legend,) = ax.figure.legends
    assert [t.get_text() for t in legend.get_texts()] == ["in the consensus of 32", "not in it"]


def test_title_tells_the_agreement(adata):
    title = yt.pl.stability(adata).get_title()
    assert title == "5 runs agree: Jaccard 0.30, Kuncheva \N{MINUS SIGN}0.02"


def test_number_and_names_of_genes(adata):
    adata.var["symbol"] = [f"symbol of {name}" for name in adata.var_names]
    ax = yt.pl.stability(adata, n_genes=3, gene_symbols="symbol")
    names = [label.get_text() for label in ax.get_yticklabels()]
    best = adata.var["yoto_frequency"].nlargest(3)
    assert len(names) == 3
    assert all(name.startswith("symbol of ") for name in names)
    np.testing.assert_allclose([length for length, _ in bars(ax).values()], best)


def test_the_figure_grows_with_the_genes(adata):
    heights = [yt.pl.stability(adata, n_genes=n).figure.get_size_inches()[1] for n in (5, 30)]
    assert heights[1] - heights[0] == pytest.approx(25 * 0.17)


def test_many_genes_go_on_in_further_columns(adata):
    one, two = (yt.pl.stability(adata, n_genes=n) for n in (32, 61))
    assert len({bar.get_x() for bar in one.patches}) == 1
    assert sorted({bar.get_x() for bar in two.patches}) == [0, 1.5]
    assert len(two.get_yticklabels()) == 31
    assert [label.get_text() for label in two.get_xticklabels()] == ["0", "0.5", "1"] * 2
    widths, heights = np.transpose([ax.figure.get_size_inches() for ax in (one, two)])
    assert widths[1] > widths[0]
    assert heights[1] < heights[0]


def test_too_few_genes(adata):
    with pytest.raises(ValueError, match="n_genes must be at least 1, not 0"):
        yt.pl.stability(adata, n_genes=0)


def test_missing_results(adata):
    del adata.uns["yoto_stability"]
    with pytest.raises(KeyError, match=r"uns has no 'yoto_stability'.*tl\.stability"):
        yt.pl.stability(adata)
