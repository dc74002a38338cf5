"""Scores of predictions."""

from __future__ import annotations

from yoto_sc.metrics._prediction import (
    classification_scores,
    confusion_counts,
    regression_scores,
)

__all__ = ["classification_scores", "confusion_counts", "regression_scores"]
