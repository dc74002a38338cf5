"""Scores of predictions, and of the genes they are made from."""

from __future__ import annotations

from yoto_sc.metrics._cross_validation import cross_validated_scores, make_folds
from yoto_sc.metrics._neighbors import nearest_neighbors, neighbor_overlap
from yoto_sc.metrics._prediction import (
    classification_scores,
    confusion_counts,
    regression_scores,
)
from yoto_sc.metrics._redundancy import gene_correlation, redundancy_scores

__all__ = [
    "classification_scores",
    "confusion_counts",
    "cross_validated_scores",
    "gene_correlation",
    "make_folds",
    "nearest_neighbors",
    "neighbor_overlap",
    "redundancy_scores",
    "regression_scores",
]
