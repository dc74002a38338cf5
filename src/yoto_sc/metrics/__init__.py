"""Scores of predictions, of the genes they are made from, and agreement of panels."""

from __future__ import annotations

from yoto_sc.metrics._calibration import expected_calibration_error, fit_temperature
from yoto_sc.metrics._cross_validation import cross_validated_scores, make_folds
from yoto_sc.metrics._neighbors import nearest_neighbors, neighbor_overlap
from yoto_sc.metrics._prediction import (
    CLASSIFICATION_SCORES,
    REGRESSION_SCORES,
    classification_scores,
    confusion_counts,
    regression_scores,
)
from yoto_sc.metrics._redundancy import gene_correlation, redundancy_scores
from yoto_sc.metrics._resampling import (
    bootstrap_weights,
    mean_of_defined,
    standard_deviation,
    weighted_f1,
    weighted_r2,
)
from yoto_sc.metrics._stability import jaccard_index, kuncheva_index

__all__ = [
    "CLASSIFICATION_SCORES",
    "REGRESSION_SCORES",
    "bootstrap_weights",
    "classification_scores",
    "confusion_counts",
    "cross_validated_scores",
    "expected_calibration_error",
    "fit_temperature",
    "gene_correlation",
    "jaccard_index",
    "kuncheva_index",
    "mean_of_defined",
    "make_folds",
    "nearest_neighbors",
    "neighbor_overlap",
    "redundancy_scores",
    "regression_scores",
    "standard_deviation",
    "weighted_f1",
    "weighted_r2",
]
