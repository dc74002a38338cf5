"""What another assay does to expression: imitated, recognised, and made good."""

from yoto_sc.assay._alignment import Adapt, Alignment, Network, align
from yoto_sc.assay._imitate import Robust, borne_depths, check_robust, imitate
from yoto_sc.assay._novelty import Novelty
from yoto_sc.assay._query import Query, label_cells
from yoto_sc.assay._reference import Reference
from yoto_sc.assay._student import learn_labels

__all__ = [
    "Adapt",
    "Alignment",
    "Network",
    "Novelty",
    "Query",
    "Reference",
    "Robust",
    "align",
    "borne_depths",
    "check_robust",
    "imitate",
    "label_cells",
    "learn_labels",
]
