"""Scores of predictions, and agreement of panels."""

from __future__ import annotations

from yoto_sc.metrics._prediction import (
    classification_scores,
    confusion_counts,
    regression_scores,
)
from yoto_sc.metrics._stability import jaccard_index, kuncheva_index

__all__ = [
    "classification_scores",
    "confusion_counts",
    "jaccard_index",
    "kuncheva_index",
    "regression_scores",
]
