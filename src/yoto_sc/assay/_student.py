"""Self-training: what a query's own cells tell of each other, with some labels or without."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

_CONFIDENT = 0.7
"""Share of the cells of each predicted class that self-training believes."""
_PENALTY = 0.1
"""Inverse penalty of its logistic regression, on genes of unit variance."""
_KNOWN = 20.0
"""A cell whose label is known counts for so many."""
LESSONS = 2
"""So many times in a row labels are learned."""
_BEGINNINGS = ("predicted", "both", "labels")
_FOLDS, _FEWEST_KNOWN = 5, 10
"""With fewer known cells than this, predictions are trusted."""
_SAMPLE_CELLS = 3000
"""Beside the known cells, it learns from at most so many."""
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

    Self-training begins with what was predicted; or with what a logistic regression on the known
    cells alone says, or the mean of both, if that tells more of the known cells, left out in five
    folds, by a standard error.

    Parameters
    ----------
    values
        Expression on the model's scale, ``(n_obs, n_genes)``.
    believed
        Predicted probabilities of the first classes, ``(n_obs, n_believed)``. What is said of the
        others comes from labels alone.
    known
        Classes where they are known, -1 elsewhere, ``(n_obs,)``.
    n_classes
        Number of all classes.

    Returns
    -------
    Probabilities of all classes, ``(n_obs, n_classes)``; 1 for those that are known.
    """
    rng = np.random.default_rng(0)
    told = np.flatnonzero(known >= 0)
    others = np.flatnonzero(known < 0)
    others = rng.choice(others, min(_SAMPLE_CELLS, len(others)), replace=False)
    sample = np.sort(np.concatenate([told, others]))
    best = _BEGINNINGS[0]
    if len(told) >= _FEWEST_KNOWN:
        folds = np.array_split(rng.permutation(told), _FOLDS)
        right = {}
        for beginning in _BEGINNINGS:
            guessed = known.copy()
            for fold in folds:
                rest = known.copy()
                rest[fold] = -1
                found = _self_train(values, believed, rest, n_classes, sample, beginning)
                guessed[fold] = found[fold].argmax(axis=1)
            right[beginning] = guessed[told] == known[told]
        best = _best(right, known[told])
    found = _self_train(values, believed, known, n_classes, sample, best)
    found[told] = 0
    found[told, known[told]] = 1
    return found.astype(np.float32)


def _best(right: Mapping[str, NDArray[np.bool_]], codes: NDArray[np.intp]) -> str:
    """Return the beginning that is right most often, classes alike, if that is no chance.

    It has to be ahead of the first one by the standard error of the difference.
    """
    first, *others = right
    weights = 1 / np.bincount(codes)[codes]
    weights /= weights.sum()
    best, lead = first, 0.0
    for other in others:
        gains = right[other].astype(float) - right[first]
        gain = float(weights @ gains)
        error = float(np.sqrt(weights**2 @ (gains - gain) ** 2))
        if gain - error > lead:
            best, lead = other, gain - error
    return best


def _self_train(
    values: NDArray[np.float32],
    believed: NDArray[np.floating],
    known: NDArray[np.intp],
    n_classes: int,
    sample: NDArray[np.intp],
    beginning: str,
) -> NDArray[np.float64]:
    """Return probabilities of all classes, ``(n_obs, n_classes)``, learned in a `sample`."""
    n_believed = believed.shape[1]
    found = np.zeros((len(values), n_classes))
    found[:, :n_believed] = believed
    told = np.flatnonzero(known >= 0)
    if beginning != "predicted":
        alone = Student.of(values[told], np.eye(n_classes)[known[told]], known[told])
        if alone is not None:
            said = alone.predict(values)
            found = said if beginning == "labels" else _mixed(found, said, n_believed)
            n_believed = n_classes if beginning == "labels" else n_believed
    for _ in range(LESSONS):
        student = Student.of(values[sample], found[sample], known[sample])
        if student is None:
            break
        found = _mixed(found, student.predict(values), n_believed)
    return found


def _mixed(
    found: NDArray[np.float64], said: NDArray[np.float64], n_believed: int
) -> NDArray[np.float64]:
    """Mix what was found with what is said; on all but the first classes, only the latter."""
    new = said[:, n_believed:]
    old = mean_of_logs([found[:, :n_believed], said[:, :n_believed]])
    return np.hstack([(1 - new.sum(axis=1, keepdims=True)) * old, new])


def mean_of_logs(
    views: Sequence[NDArray[Any]], weights: Sequence[float] | None = None
) -> NDArray[np.float64]:
    """Return the (weighted) mean of the logarithms of probabilities, as probabilities."""
    logs = [np.log(np.maximum(view, _TINY)) for view in views]
    return np.asarray(softmax(np.average(logs, axis=0, weights=weights), axis=1))
