"""Logistic regression with an L1 penalty.

One model for each class against the rest, on the 1000 genes of the largest F statistic: all genes
at once would take many times as long. The penalty is relaxed step by step until 4k genes have a
coefficient, and the k of the largest sums of absolute coefficients stay; stopping at k genes gives
worse panels, of a few easy classes' genes only.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_selection import f_classif, f_regression
from sklearn.linear_model import LogisticRegression, lasso_path
from sklearn.svm import l1_min_c

from methods.combine import round_robin

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from methods.base import Training

_N_SCREENED = 1000
_STEP = 1.5
_SURPLUS = 4
_WEAKEST = 1e6


def select(training: Training, k: int, seed: int) -> list[str]:
    """Return `k` genes; of several tasks, each task's in turn."""
    lists = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.simplefilter("ignore", RuntimeWarning)  # F statistics of constant genes
        warnings.simplefilter("ignore", UserWarning)
        for key in training.categorical:
            lists.append(_classification(training, key, k, seed))
        for key in training.continuous:
            lists.append(_regression(training, key, k))
    return training.names(np.array(round_robin(lists, k)))


def _classification(training: Training, key: str, k: int, seed: int) -> NDArray[np.intp]:
    cells = training.labelled(key)
    labels = training.adata.obs[key].astype(str).to_numpy()[cells]
    matrix = training.log1p[cells]
    genes = _screened(f_classif(matrix, labels)[0])
    values = _standardized(matrix, genes)
    members = [labels == name for name in np.unique(labels)]
    # The bound is for unweighted classes: start below it.
    c = min(l1_min_c(values, member, loss="log") for member in members) / 5
    for weights in _path(values, members, c, seed):
        if np.count_nonzero(weights) >= min(_SURPLUS * k, len(genes) // 2):
            break
    return genes[np.argsort(-weights, kind="stable")[:k]]


def _path(
    values: NDArray[np.float32], members: list[NDArray[np.bool_]], c: float, seed: int
) -> Iterator[NDArray[np.float64]]:
    """Yield, from the strongest penalty on, the sum of every gene's coefficients."""
    while c < _WEAKEST:
        coefficients = []
        for member in members:
            model = LogisticRegression(
                C=c,
                l1_ratio=1,
                solver="liblinear",
                class_weight="balanced",
                tol=1e-3,
                random_state=seed,
            )
            coefficients.append(np.abs(model.fit(values, member).coef_.ravel()))
        yield np.sum(coefficients, axis=0)
        c *= _STEP


def _regression(training: Training, key: str, k: int) -> NDArray[np.intp]:
    cells = training.labelled(key)
    target = training.adata.obs[key].to_numpy(dtype=np.float64)[cells]
    matrix = training.log1p[cells]
    genes = _screened(f_regression(matrix, target)[0])
    values = _standardized(matrix, genes).astype(np.float64)
    _, path, _ = lasso_path(values, target - target.mean(), n_alphas=200)
    for weights in np.abs(path.T):
        if np.count_nonzero(weights) >= k:
            break
    return genes[np.argsort(-weights, kind="stable")[:k]]


def _screened(statistic: NDArray[np.float64]) -> NDArray[np.intp]:
    return np.argsort(-np.nan_to_num(statistic, nan=-1.0), kind="stable")[:_N_SCREENED]


def _standardized(matrix: object, genes: NDArray[np.intp]) -> NDArray[np.float32]:
    values = matrix[:, genes].toarray()
    values -= values.mean(axis=0)
    return values / np.maximum(values.std(axis=0), 1e-6)
