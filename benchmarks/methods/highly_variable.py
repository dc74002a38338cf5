"""Highly variable genes: scanpy's normalised dispersion. Looks at no label."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import scanpy as sc

if TYPE_CHECKING:
    from methods.base import Training


def select(training: Training, k: int, seed: int) -> list[str]:
    """Return the `k` genes of the highest normalised dispersion."""
    table = sc.pp.highly_variable_genes(training.normalized, n_top_genes=k, inplace=False)
    dispersion = np.nan_to_num(table["dispersions_norm"].to_numpy(), nan=-np.inf)
    return training.names(np.argsort(-dispersion, kind="stable")[:k])
