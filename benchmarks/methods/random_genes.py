"""Genes at random, of those detected in one cell of a hundred."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from methods.base import Training

_DETECTED_IN = 0.01


def select(training: Training, k: int, seed: int) -> list[str]:
    """Return `k` genes."""
    matrix = training.adata.X
    detected = np.flatnonzero(matrix.getnnz(axis=0) >= _DETECTED_IN * matrix.shape[0])
    return training.names(np.random.default_rng(seed).permutation(detected)[:k])
