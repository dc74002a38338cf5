"""Markers of every class by scanpy's tests, the best of each class in turn."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np
import scanpy as sc
from sklearn.feature_selection import r_regression

from methods.combine import round_robin

if TYPE_CHECKING:
    from methods.base import Training


def select(training: Training, k: int, seed: int, *, test: str) -> list[str]:
    """Return `k` genes: round robin over the classes of each task, then over the tasks.

    A continuous task contributes the genes that correlate with it most.
    """
    lists = [_class_markers(training, key, k, test) for key in training.categorical]
    lists += [_correlated(training, key, k) for key in training.continuous]
    return round_robin(lists, k)


def _class_markers(training: Training, key: str, k: int, test: str) -> list[str]:
    adata = training.normalized[training.labelled(key)].copy()
    adata.obs[key] = adata.obs[key].cat.remove_unused_categories()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scanpy fragments its own tables
        sc.tl.rank_genes_groups(adata, key, method=test, n_genes=k)
    names = adata.uns["rank_genes_groups"]["names"]
    return round_robin([names[group] for group in names.dtype.names], k)


def _correlated(training: Training, key: str, k: int) -> list[str]:
    cells = training.labelled(key)
    matrix = training.normalized.X[cells].toarray()
    r = r_regression(matrix, training.adata.obs[key].to_numpy()[cells])
    return training.names(np.argsort(-np.abs(np.nan_to_num(r)), kind="stable")[:k])
