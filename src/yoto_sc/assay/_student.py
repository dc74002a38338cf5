"""Self-training: what a query's own cells tell of each other, with some labels or without."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_CONFIDENT = 0.7
"""Share of the cells of each predicted class that self-training believes."""
_PENALTY = 0.1
"""Inverse penalty of its logistic regression, on genes of unit variance."""
_KNOWN = 20.0
"""A cell whose label is known counts for so many."""
_LESSONS = 2
"""So many times in a row labels are learned."""
_TINY = 1e-6


@dataclass(frozen=True, eq=False)
class Student:
    """Logistic regression on a query, learned from what was predicted with most confidence."""

    mean: NDArray[np.float32]
    scale: NDArray[np.float32]
    weights: NDArray[np.float64]  # (n_genes, n_classes)
    intercept: NDArray[np.float64]  # -inf for classes it has not seen

    @classmethod
    def of(
        cls,
        values: NDArray[np.float32],
        believed: NDArray[np.floating],
        known: NDArray[np.intp] | None = None,
    ) -> Student | None:
        """Learn; `None`, if there is but one class.

        Parameters
        ----------
        values
            Expression on the model's scale, ``(n_obs, n_genes)``.
        believed
            Probabilities, ``(n_obs, n_classes)``.
        known
            Classes of cells where they are known, -1 elsewhere, ``(n_obs,)``; `None`: nowhere.
        """
        predicted, confidence = believed.argmax(axis=1), believed.max(axis=1)
        importance = np.ones(len(predicted))
        if known is not None:
            told = known >= 0
            predicted = np.where(told, known, predicted)
            confidence = np.where(told, np.inf, confidence)
            importance[told] = _KNOWN
        kept = np.zeros(len(predicted), dtype=bool)
        for code in np.unique(predicted):
            own = np.flatnonzero(predicted == code)
            n_kept = int(np.ceil(_CONFIDENT * len(own)))
            kept[own[np.argsort(-confidence[own], kind="stable")[:n_kept]]] = True
        if known is not None:
            kept |= known >= 0
        codes, counts = np.unique(predicted[kept], return_counts=True)
        if len(codes) < 2:
            return None
        mean, scale = values.mean(axis=0), values.std(axis=0) + np.float32(1e-3)
        weights = (counts**-0.5)[np.searchsorted(codes, predicted[kept])] * importance[kept]
        model = LogisticRegression(C=_PENALTY, tol=1e-3, max_iter=200).fit(
            (values[kept] - mean) / scale, predicted[kept], weights / weights.mean()
        )
        coefficients, intercept = model.coef_, model.intercept_
        if len(codes) == 2:  # scikit-learn keeps one row for two classes
            coefficients = np.vstack([np.zeros_like(coefficients), coefficients])
            intercept = np.concatenate([[0.0], intercept])
        full = np.zeros((values.shape[1], believed.shape[1]))
        full[:, codes] = coefficients.T
        offsets = np.full(believed.shape[1], -np.inf)
        offsets[codes] = intercept
        return cls(mean, scale, full, offsets)

    def predict(self, values: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return probabilities, ``(n_obs, n_classes)``."""
        scores = (values - self.mean) / self.scale @ self.weights + self.intercept
        return np.asarray(softmax(scores, axis=1))


def learn_labels(
    values: NDArray[np.float32],
    believed: NDArray[np.floating],
    known: NDArray[np.intp],
    n_classes: int,
) -> NDArray[np.float32]:
    """Learn from the cells whose class is known, and from what is believed of the others.

    Parameters
    ----------
    values
        Expression on the model's scale, ``(n_obs, n_genes)``.
    believed
        Probabilities of the first classes, ``(n_obs, n_believed)``. What is said of the others
        comes from labels alone.
    known
        Classes where they are known, -1 elsewhere, ``(n_obs,)``.
    n_classes
        Number of all classes.

    Returns
    -------
    Probabilities of all classes, ``(n_obs, n_classes)``; 1 for those that are known.
    """
    n_believed = believed.shape[1]
    found = np.zeros((len(values), n_classes))
    found[:, :n_believed] = believed
    for _ in range(_LESSONS):
        student = Student.of(values, found, known)
        if student is None:
            break
        said = student.predict(values)
        new = said[:, n_believed:].sum(axis=1, keepdims=True)
        found[:, n_believed:] = 0
        old = mean_of_logs([found[:, :n_believed], said[:, :n_believed]])
        found = np.hstack([(1 - new) * old, said[:, n_believed:]])
    told = np.flatnonzero(known >= 0)
    found[told] = 0
    found[told, known[told]] = 1
    return found.astype(np.float32)


def mean_of_logs(views: Sequence[NDArray[Any]]) -> NDArray[np.float64]:
    """Return the mean of the logarithms of probabilities, as probabilities."""
    logs = [np.log(np.maximum(view, _TINY)) for view in views]
    return np.asarray(softmax(np.mean(logs, axis=0), axis=1))
