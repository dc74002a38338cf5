"""Linear models that are refitted to every panel, and judged by cross-validation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import entr
from sklearn.linear_model import LogisticRegression, Ridge

from yoto_sc.metrics import mean_of_defined, weighted_f1, weighted_r2

if TYPE_CHECKING:
    from collections.abc import Sequence

    import scipy.sparse as sp
    from numpy.typing import NDArray

    from yoto_sc.data import Task

    Folds = Sequence[tuple[NDArray[np.bool_], NDArray[np.bool_]]]

_CLASS_WEIGHT_POWER = 0.5
_TOLERANCE, _MAX_ITERATIONS = 1e-4, 500


@dataclass(frozen=True)
class HeadJudgement:
    """How well heads that read some genes predict one task on cells they have not seen."""

    scores: NDArray[np.float64]  # macro-F1 or R²: on the cells, then on samples
    by_class: NDArray[np.float64]  # F1 of each class, likewise, (n_samples, n_classes)
    error: float  # cross-entropy or squared error, relative to that of a constant guess
    slopes: NDArray[np.float32]  # minus the first derivative of the error, (n_obs, n_outputs)
    curvatures: NDArray[np.float32]  # its second derivative; 0 in cells that are not judged
    predicted: NDArray[np.float64]  # of cells that are judged, (n_obs, n_outputs); others NaN


class LogisticHead:
    """Logistic regression on all folds but one, for each fold."""

    def __init__(
        self,
        labels: NDArray[Any],
        folds: Folds,
        weights: NDArray[np.float32],
        n_classes: int,
    ) -> None:
        counts = np.bincount(labels[labels >= 0], minlength=n_classes)
        class_weights = np.maximum(counts, 1.0) ** -_CLASS_WEIGHT_POWER
        class_weights *= counts.sum() / (counts * class_weights).sum()
        self._cell_weights = np.where(labels >= 0, class_weights[labels], 0.0)
        share = counts * class_weights / counts.sum()
        self._guess_error = max(float(entr(share).sum()), 1e-3)
        self._labels, self._weights, self._n_classes = labels, weights, n_classes
        self._folds = folds
        self._fitted: list[LogisticRegression | None] = []

    def fit(self, values: NDArray[np.float32]) -> HeadJudgement:
        """Fit to the whole panel, ``(n_obs, n_genes)``, and judge."""
        self._fitted = [
            self._new().fit(values[train], self._labels[train], self._cell_weights[train])
            if np.unique(self._labels[train]).size > 1
            else None
            for train, _ in self._folds
        ]
        return self._judge(values, self._fitted)

    def refit(
        self, values: NDArray[np.float32], position: int | NDArray[np.intp], correlation: float
    ) -> HeadJudgement:
        """Fit to a changed panel and judge, starting from the whole panel's coefficients.

        Parameters
        ----------
        position
            Places of the panel in which it changed.
        correlation
            Of the new genes in these places with the former ones; 0, if there are none.
        """
        fitted: list[LogisticRegression | None] = []
        for (train, _), whole in zip(self._folds, self._fitted, strict=True):
            if whole is None:
                fitted.append(None)
                continue
            model = self._new()
            model.classes_, model.intercept_ = whole.classes_, whole.intercept_.copy()
            model.coef_ = whole.coef_.copy()
            model.coef_[:, position] *= correlation
            fitted.append(model.fit(values[train], self._labels[train], self._cell_weights[train]))
        return self._judge(values, fitted)

    def role_errors(
        self, judgement: HeadJudgement, marked: NDArray[np.intp]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Tell how badly each cell of some classes is told from those of the others.

        It is the cross-entropy of the two sides, relative to that of a guess; both count for a
        half. With no class on one side, that of all classes, which count by the heads' weights.

        Returns
        -------
        The errors and the weights of the cells, each ``(n_obs,)``; 0 for cells not judged.
        """
        proba, labels = judgement.predicted, self._labels
        judged = ~np.isnan(proba[:, 0]) & (labels >= 0)
        inside = np.isin(labels, marked) & judged
        if len(marked) in (0, self._n_classes):
            right = proba[np.arange(len(labels)), labels]
            guess = self._guess_error
            weights: NDArray[np.float64] = np.where(judged, self._cell_weights, 0.0)
        else:
            on_side = proba[:, marked].sum(axis=1)
            right = np.where(inside, on_side, 1 - on_side)
            guess, weights = float(np.log(2)), np.zeros(len(labels))
            if inside.any() and (judged & ~inside).any():
                for side in (inside, judged & ~inside):
                    weights[side] = 1 / side.sum()
        errors = np.zeros(len(labels))
        errors[judged] = -np.log(np.clip(right[judged], 1e-12, 1)) / guess
        return errors, weights

    def _new(self) -> LogisticRegression:
        return LogisticRegression(tol=_TOLERANCE, max_iter=_MAX_ITERATIONS, warm_start=True)

    def _judge(
        self, values: NDArray[np.float32], fitted: Sequence[LogisticRegression | None]
    ) -> HeadJudgement:
        proba = np.zeros((len(self._labels), self._n_classes))
        judged = np.zeros(len(self._labels), dtype=bool)
        for (train, test), model in zip(self._folds, fitted, strict=True):
            judged |= test & train.any()
            if not test.any() or not train.any():
                continue
            if model is None:  # one class is all there is to learn from
                proba[test, self._labels[train][0]] = 1
            else:
                proba[np.ix_(test, model.classes_)] = model.predict_proba(values[test])
        if not judged.any():
            return _nothing(self._weights, self._n_classes, self._n_classes)
        true = self._labels[judged]
        f1 = weighted_f1(
            true, proba[judged].argmax(axis=1), self._n_classes, self._weights[:, judged]
        )
        weights = np.where(judged, self._cell_weights, 0.0)[:, None]
        weights = weights / weights.sum() / self._guess_error
        is_true = self._labels[:, None] == np.arange(self._n_classes)
        return HeadJudgement(
            mean_of_defined(f1),
            f1,
            -float((weights * is_true * np.log(np.maximum(proba, 1e-12))).sum()),
            (weights * (is_true - proba)).astype(np.float32),
            (weights * proba * (1 - proba)).astype(np.float32),
            np.where(judged[:, None], proba, np.nan),
        )


class RidgeHead:
    """Ridge regression on all folds but one, for each fold."""

    def __init__(
        self,
        labels: NDArray[Any],
        folds: Folds,
        weights: NDArray[np.float32],
        n_outputs: int,
    ) -> None:
        self._labels, self._weights = labels.astype(np.float64), weights
        self._n_outputs = n_outputs
        self._folds = folds

    def fit(self, values: NDArray[np.float32]) -> HeadJudgement:
        """Fit to a panel, ``(n_obs, n_genes)``, and judge."""
        predicted = np.full(self._labels.shape, np.nan)
        for train, test in self._folds:
            if train.any() and test.any():
                head = Ridge().fit(values[train], self._labels[train])
                answers = head.predict(values[test])  # of one column, without an axis of columns
                predicted[test] = answers.reshape(predicted[test].shape)
        columns = (len(values), self._n_outputs)
        labels, predicted = self._labels.reshape(columns), predicted.reshape(columns)
        judged = ~np.isnan(predicted).any(axis=1)
        seen = labels[judged]
        if not (seen != seen[:1]).any():
            return _nothing(self._weights, self._n_outputs, 0)
        scores = weighted_r2(seen, predicted[judged], self._weights[:, judged])
        unit = float(judged.sum() * seen.var(axis=0).sum())
        residuals = np.where(judged[:, None], labels - predicted, 0.0)
        curvatures = np.repeat((2 * judged / unit)[:, None], self._n_outputs, axis=1)
        return HeadJudgement(
            scores,
            np.empty((len(scores), 0)),
            1 - float(scores[0]),
            (2 * residuals / unit).astype(np.float32),
            curvatures.astype(np.float32),
            predicted,
        )

    def refit(
        self, values: NDArray[np.float32], position: int | NDArray[np.intp], correlation: float
    ) -> HeadJudgement:
        """Fit to a changed panel and judge; the solution is in closed form."""
        del position, correlation
        return self.fit(values)

    def role_errors(
        self, judgement: HeadJudgement, marked: NDArray[np.intp]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return squared errors, relative to the variance; see :class:`LogisticHead`."""
        del marked
        labels = self._labels.reshape(judgement.predicted.shape)
        judged = np.asarray(~np.isnan(judgement.predicted).any(axis=1))
        errors, weights = np.zeros(len(labels)), judged.astype(np.float64)
        if judged.any():
            residuals = labels[judged] - judgement.predicted[judged]
            unit = float(labels[judged].var(axis=0).sum())
            errors[judged] = (residuals**2).sum(axis=1) / max(unit, 1e-12)
        return errors, weights


def _nothing(weights: NDArray[np.float32], n_outputs: int, n_classes: int) -> HeadJudgement:
    """Judgement where no cell can be judged: scores are NaN, and no gene gains anything."""
    zeros = np.zeros((weights.shape[1], n_outputs), dtype=np.float32)
    by_class = np.full((len(weights), n_classes), np.nan)
    predicted = np.full(zeros.shape, np.nan)
    return HeadJudgement(np.full(len(weights), np.nan), by_class, 0.0, zeros, zeros, predicted)


LINEAR_HEADS: dict[str, type[LogisticHead | RidgeHead]] = {
    "logistic": LogisticHead,
    "ridge": RidgeHead,
}
"""By the name that a kind of task gives."""


def standardized(expression: sp.csr_matrix) -> NDArray[np.float32]:
    """Return genes with mean 0 and standard deviation 1, dense; constant ones are 0."""
    values = expression.toarray().astype(np.float32)
    values -= values.mean(axis=0)
    values /= np.maximum(values.std(axis=0), 1e-9)
    found: NDArray[np.float32] = values
    return found


def head_of(
    task: Task,
    labels: NDArray[Any],
    folds: Sequence[tuple[NDArray[np.bool_], NDArray[np.bool_]]],
    weights: NDArray[np.float32],
) -> LogisticHead | RidgeHead:
    """Return the heads of a task, which learn from, and are judged on, its labelled cells."""
    seen = task.observed(labels)
    labelled = [(train & seen, test & seen) for train, test in folds]
    return LINEAR_HEADS[task.linear_head](labels, labelled, weights, task.n_outputs)
