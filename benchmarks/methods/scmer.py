"""SCMER, which needs no label."""

from __future__ import annotations

from typing import TYPE_CHECKING

from methods.external import fit_without_labels

if TYPE_CHECKING:
    from methods.base import Fitted, Training


def fit(training: Training, k: int, seed: int) -> Fitted:
    """Select `k` genes."""
    return fit_without_labels(training, k, seed, name="scmer", environment="scmer")
