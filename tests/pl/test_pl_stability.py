from __future__ import annotations

import numpy as np
import pytest

import yoto_sc as yt


def bars(ax):
    """Length and colour of each gene's bar."""
    names = [label.get_text() for label in ax.get_yticklabels()]
    drawn = {round(bar.get_y() + bar.get_height() / 2): bar for bar in ax.patches}
    return {
        name: (drawn[row].get_width(), drawn[row].get_facecolor())
        for row, name in enumerate(names)
    }


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
    title = yt.pl.stability(adata).get_title(loc="left")
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
    heights = [yt.pl.stability(adata, n_genes=n).figure.get_size_inches()[1] for n in (5, 50)]
    assert heights[1] - heights[0] == pytest.approx(45 * 0.17)


def test_too_few_genes(adata):
    with pytest.raises(ValueError, match="n_genes must be at least 1, not 0"):
        yt.pl.stability(adata, n_genes=0)


def test_missing_results(adata):
    del adata.uns["yoto_stability"]
    with pytest.raises(KeyError, match=r"uns has no 'yoto_stability'.*tl\.stability"):
        yt.pl.stability(adata)
