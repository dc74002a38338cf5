"""Scores of features by scikit-learn's estimators, trained and judged on different cells."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.model_selection import (
    GroupKFold,
    KFold,
    LeaveOneGroupOut,
    StratifiedGroupKFold,
    StratifiedKFold,
)
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from yoto_sc.metrics._prediction import classification_scores, confusion_counts, regression_scores
from yoto_sc.metrics._resampling import as_columns

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Fold = tuple[NDArray[np.intp], NDArray[np.intp]]

Classifier = Literal["logistic_regression", "random_forest", "k_neighbors"]
CLASSIFIERS: tuple[Classifier, ...] = get_args(Classifier)
_N_NEIGHBORS = 5
_RIDGE_ALPHAS = np.logspace(-2, 4, 13)


def make_folds(
    labels: NDArray[Any],
    n_splits: int,
    *,
    groups: NDArray[np.integer[Any]] | None = None,
    random_state: int = 0,
) -> list[Fold]:
    """Divide the labelled cells into cells to train on and cells to judge on, several times.

    Every labelled cell is judged on once, with two exceptions, which are trained on in every fold:
    a class of one cell, if cells are held out; and cells of no group, if groups are held out.

    Parameters
    ----------
    labels
        Labels of one task: integer class codes, shape ``(n_obs,)``, -1 where missing; or floats,
        shape ``(n_obs,)`` or ``(n_obs, n_columns)``, NaN where missing, in any column with its
        whole row.
    n_splits
        Number of folds. If there are at most as many groups, each group is a fold.
    groups
        Codes of groups that are held out whole, shape ``(n_obs,)``, -1 where a cell has none;
        `None`: cells are held out. Both ways folds resemble each other in their classes, as far as
        the groups allow.
    random_state
        Seed of the order of the cells.

    Returns
    -------
    Sorted indices of the training and of the held-out cells, for each fold.

    Examples
    --------
    >>> import numpy as np
    >>> for train, test in make_folds(np.array([0, 0, 1, 1, 2, -1]), 2):
    ...     print(train, test)
    [0 3 4] [1 2]
    [1 2 4] [0 3]
    """
    is_class = labels.dtype.kind in "iu"
    observed = labels >= 0 if is_class else ~np.isnan(as_columns(labels)).any(axis=1)
    judged = observed.copy()
    if groups is not None:
        judged &= groups >= 0
    elif is_class:
        judged &= np.bincount(np.maximum(labels, 0), weights=observed)[labels] > 1
    cells = np.flatnonzero(judged)
    y = labels[cells]
    of_cell = None if groups is None else groups[cells]
    splitter = _splitter(y, of_cell, n_splits, random_state)
    with warnings.catch_warnings():  # a class of fewer cells than folds is judged in some of them
        warnings.filterwarnings("ignore", "The least populated class in y", UserWarning)
        tests = [cells[test] for _, test in splitter.split(cells, y, of_cell) if len(test)]
    folds = [(np.setdiff1d(np.flatnonzero(observed), test), test) for test in tests]
    if not all((labels[train] != labels[train[:1]]).any() for train, _ in folds):
        raise ValueError(
            "A fold leaves fewer than two classes or values to learn from. Label more cells, or "
            "cells of more groups."
        )
    return folds


def _splitter(
    y: NDArray[Any], groups: NDArray[np.integer[Any]] | None, n_splits: int, seed: int
) -> Any:
    """Choose how to hold out, and refuse what scikit-learn cannot divide."""
    is_class = y.dtype.kind in "iu"
    n_groups = None if groups is None else len(np.unique(groups))
    if n_groups is not None and n_groups < 2:
        raise ValueError(
            f"The labelled cells are of {n_groups} group; holding groups out needs at least 2. "
            "Label cells of more groups, or hold out cells instead."
        )
    if n_groups is not None and n_groups <= n_splits:
        return LeaveOneGroupOut()
    most = int(np.unique(y, return_counts=True)[1].max(initial=0)) if is_class else len(y)
    if most < n_splits:
        unit = "cells of one class" if is_class else "cells with a value"
        raise ValueError(
            f"n_splits={n_splits} exceeds the {most} {unit} that can be held out. Pass fewer."
        )
    if groups is not None and not is_class:
        return GroupKFold(n_splits)
    kind = KFold if not is_class else StratifiedKFold if groups is None else StratifiedGroupKFold
    return kind(n_splits, shuffle=True, random_state=seed)


def cross_validated_scores(
    x: NDArray[np.float64],
    labels: NDArray[Any] | Sequence[NDArray[Any]],
    folds: Sequence[Fold],
    classifier: Classifier,
    *,
    n_classes: int = 0,
    random_state: int = 0,
) -> list[tuple[int, dict[str, Any]]]:
    """Train on the training cells of each fold, and judge on its held-out cells.

    Parameters
    ----------
    x
        Features, shape ``(n_obs, n_features)``; standardised by the training cells of each fold.
    labels, folds
        Of :func:`make_folds`. Labels that are made from the training cells are a list, with those
        of all cells for each fold.
    classifier
        Which estimator; of floats, the regressor of the same family (ridge for logistic
        regression), which predicts all columns of vectors at once.
    n_classes
        0 if `labels` are floats. Held-out cells of a class without training cells count as wrong.
    random_state
        Seed of the random forest.

    Returns
    -------
    The class code of a recall, or the position of the column of a ``column_r2``, else -1; and a
    record of ``classifier``, ``fold``, ``metric``, ``value`` and ``n_cells``, the number of
    held-out cells behind the value.
    """
    by_fold = [labels] * len(folds) if isinstance(labels, np.ndarray) else labels
    scored: list[tuple[int, dict[str, Any]]] = []
    for fold, ((train, test), of_fold) in enumerate(zip(folds, by_fold, strict=True)):
        is_class = of_fold.dtype.kind in "iu"
        name = "ridge" if classifier == "logistic_regression" and not is_class else classifier
        estimator = _estimator(classifier, is_class, len(train), random_state)
        fitted = make_pipeline(StandardScaler(), estimator).fit(x[train], _targets(of_fold[train]))
        if classifier == "random_forest":  # threads would add up the trees in any order
            estimator.set_params(n_jobs=1)
        y = of_fold[test]
        if is_class:
            proba = np.zeros((len(test), n_classes))
            proba[:, estimator.classes_] = fitted.predict_proba(x[test])
            scores = classification_scores(y, proba)
            counts = confusion_counts(y, proba.argmax(axis=1), n_classes)
            parts = [
                (code, "recall", counts[code, code] / n if n else np.nan, int(n))
                for code, n in enumerate(counts.sum(axis=1))
            ]
        else:
            predicted = fitted.predict(x[test]).reshape(y.shape)
            scores = regression_scores(y, predicted)
            columns = zip(y.T, predicted.T, strict=True) if y.ndim == 2 else ()
            parts = [
                (column, "column_r2", regression_scores(*both)["r2"], len(test))
                for column, both in enumerate(columns)
            ]
        values = [(-1, metric, value, len(test)) for metric, value in scores.items()]
        common = {"classifier": name, "fold": fold}
        scored += [
            (code, {**common, "metric": metric, "value": float(value), "n_cells": n})
            for code, metric, value, n in values + parts
        ]
    return scored


def _targets(labels: NDArray[Any]) -> NDArray[Any]:
    """Return labels as estimators take them: vectors of one column as numbers."""
    return labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels


def _estimator(classifier: Classifier, is_class: bool, n_train: int, seed: int) -> Any:
    n_neighbors = min(_N_NEIGHBORS, n_train)
    # Of all features, scikit-learn's default, regression trees resemble each other and take long.
    forest = RandomForestRegressor(max_features=1 / 3, random_state=seed)
    of_classes, of_numbers = {
        "logistic_regression": (LogisticRegression(max_iter=1000), RidgeCV(_RIDGE_ALPHAS)),
        "random_forest": (RandomForestClassifier(random_state=seed), forest),
        "k_neighbors": (KNeighborsClassifier(n_neighbors), KNeighborsRegressor(n_neighbors)),
    }[classifier]
    return of_classes if is_class else of_numbers
