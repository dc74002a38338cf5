"""Scores of predictions."""

from __future__ import annotations

from yoto_sc.metrics._calibration import expected_calibration_error
from yoto_sc.metrics._prediction import (
    classification_scores,
    confusion_counts,
    regression_scores,
)

__all__ = [
    "classification_scores",
    "confusion_counts",
    "expected_calibration_error",
    "regression_scores",
]
