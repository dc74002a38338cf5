"""Plots of what `yoto_sc.tl` stored or returned; none of them computes a selection."""

from __future__ import annotations

from yoto_sc.pl._columns import columns
from yoto_sc.pl._compare import compare
from yoto_sc.pl._confusion import confusion
from yoto_sc.pl._grouped_plots import (
    selected_genes_dotplot,
    selected_genes_heatmap,
    selected_genes_matrixplot,
    selected_genes_stacked_violin,
)
from yoto_sc.pl._path import path
from yoto_sc.pl._probe_failure import probe_failure
from yoto_sc.pl._redundancy import redundancy
from yoto_sc.pl._selected_genes import selected_genes
from yoto_sc.pl._stability import stability
from yoto_sc.pl._training import training
from yoto_sc.pl._transfer import transfer
from yoto_sc.pl._umap import selected_genes_umap

__all__ = [
    "columns",
    "compare",
    "confusion",
    "path",
    "probe_failure",
    "redundancy",
    "selected_genes",
    "selected_genes_dotplot",
    "selected_genes_heatmap",
    "selected_genes_matrixplot",
    "selected_genes_stacked_violin",
    "selected_genes_umap",
    "stability",
    "training",
    "transfer",
]
