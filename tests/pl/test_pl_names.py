"""Names of genes and classes are drawn as they are, whatever is in them."""

from __future__ import annotations

import pytest
from matplotlib.text import Text

import yoto_sc as yt

ODD = "$_$ <b>^%\\"
GROUP = "bulk_labels"


@pytest.fixture
def odd(adata):
    """Give the first gene, and the first class, a name that is no formula."""
    gene = yt.Panel.from_adata(adata).genes[0]
    adata.var_names = [ODD if name == gene else name for name in adata.var_names]
    stored = adata.uns["yoto"]
    stored["attribution"] = stored["attribution"].rename(index={gene: ODD})
    first = adata.obs[GROUP].cat.categories[0]
    for column in (GROUP, f"yoto_{GROUP}"):
        adata.obs[column] = adata.obs[column].cat.rename_categories({first: ODD})
    stored["confusion"] = stored["confusion"].replace(first, ODD)
    return adata


@pytest.mark.parametrize(
    ("plot", "arguments"),
    [
        ("selected_genes", {}),
        ("redundancy", {}),
        ("confusion", {"task": GROUP}),
        ("stability", {"n_genes": 60}),
        ("selected_genes_dotplot", {"groupby": GROUP}),
        ("selected_genes_matrixplot", {"groupby": GROUP}),
        ("selected_genes_stacked_violin", {"groupby": GROUP}),
        ("selected_genes_heatmap", {"groupby": GROUP}),
    ],
)
def test_a_dollar_begins_no_formula(odd, plot, arguments):
    drawn = getattr(yt.pl, plot)(odd, show=False, **arguments)
    drawn = drawn[0] if isinstance(drawn, list) else drawn
    ax = next(iter(drawn.values())) if isinstance(drawn, dict) else drawn
    ax.figure.canvas.draw()
    texts = [text.get_text() for text in ax.figure.findobj(Text)]
    assert plot == "stability" or any(ODD in text for text in texts)
