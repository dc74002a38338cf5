"""Importance in a random forest over all genes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

from methods.combine import round_robin

if TYPE_CHECKING:
    from methods.base import Training

_N_TREES = 300


def select(training: Training, k: int, seed: int) -> list[str]:
    """Return the `k` most important genes; of several tasks, each task's in turn."""
    matrix = training.log1p.tocsc()
    lists = []
    for key in (*training.categorical, *training.continuous):
        cells = training.labelled(key)
        labels = training.adata.obs[key].iloc[cells]
        if key in training.categorical:
            forest = RandomForestClassifier(_N_TREES, class_weight="balanced", random_state=seed)
            forest.fit(matrix[cells], labels.cat.codes)
        else:
            forest = RandomForestRegressor(_N_TREES, max_features="sqrt", random_state=seed)
            forest.fit(matrix[cells], labels)
        lists.append(np.argsort(-forest.feature_importances_, kind="stable")[:k])
    return training.names(np.array(round_robin(lists, k)))
