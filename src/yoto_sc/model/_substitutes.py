"""What the panel loses without a gene, and with another gene in its place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import entr
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GroupKFold

from yoto_sc.model._splits import at_most, fold_cells
from yoto_sc.select import observed, screen

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pandas as pd
    from numpy.typing import NDArray

    from yoto_sc._expression import Expression
    from yoto_sc._tasks import Task

    Folds = Sequence[tuple[NDArray[np.bool_], NDArray[np.bool_]]]

_MAX_CELLS = 5000
"""Panels are judged on at most this many cells, all of which are held out once."""
_N_FOLDS = 5
_SCREENING_SHARE = 0.4
"""Substitutes are found on the cells of this share of the folds, and judged on the others."""
_N_CANDIDATES = 1000
"""Number of genes that univariate screening leaves."""
_N_MORE = 3
"""Heads are refitted with so many genes more than are asked for."""
_N_BOOTSTRAPS = 100
_CLASS_WEIGHT_POWER = 0.5
_TINY = 1e-9
_TOLERANCE, _MAX_ITERATIONS = 1e-4, 500


@dataclass(frozen=True)
class Judgement:
    """How well heads that read some genes predict one task on cells they have not seen.

    Parameters
    ----------
    scores
        Macro-F1 or R², on the cells themselves and then on bootstrap samples of them; shape
        ``(1 + n_bootstraps,)``.
    by_class
        F1 of each class on the cells themselves, NaN for classes without cells; empty for a
        continuous task.
    error
        Mean cross-entropy or squared error, relative to that of a constant guess.
    slopes, curvatures
        Minus the first and the second derivative of the error by each output of the head in each
        cell, shape ``(n_obs, n_outputs)``; 0 in cells that are not judged.
    """

    scores: NDArray[np.float64]
    by_class: NDArray[np.float64]
    error: float
    slopes: NDArray[np.float32]
    curvatures: NDArray[np.float32]


@dataclass(frozen=True)
class Exchange:
    """One change of the panel.

    Parameters
    ----------
    gene
        Index of the gene that leaves.
    substitute
        Index of the gene that comes; `None` if the place stays empty.
    correlation
        Pearson correlation of the two genes, NaN without a substitute.
    judgements
        One for each task.
    """

    gene: int
    substitute: int | None
    correlation: float
    judgements: list[Judgement]


class Exchanges:
    """Measures changes of a panel by heads that are refitted and judged by cross-validation.

    The heads are linear: multinomial logistic regression with the class weights of the model's
    heads, and ridge regression. Each starts from the head of the whole panel.

    Substitutes are found on the cells of some folds, and what they cost is stated on those of the
    others: on the cells it was chosen on, the best of many genes looks better than it is.

    Parameters
    ----------
    expression
        Expression of all cells and genes.
    labels
        One encoded array of shape ``(n_obs,)`` for each task.
    tasks
        The tasks.
    panel
        Indices of the panel's genes.
    allowed
        Which genes may come in, shape ``(n_vars,)``.
    groups
        Group of each cell, shape ``(n_obs,)``, or `None`. Groups are held out whole.
    rng
        Source of randomness.
    """

    def __init__(
        self,
        expression: Expression,
        labels: Sequence[NDArray[Any]],
        tasks: Sequence[Task],
        panel: NDArray[np.intp],
        allowed: NDArray[np.bool_],
        groups: pd.Series | None,
        rng: np.random.Generator,
    ) -> None:
        rank = screen(expression.blocks(), labels)
        free = allowed.copy()
        free[panel] = False
        rank[~free] = np.inf
        others = np.argsort(rank, kind="stable")[: min(_N_CANDIDATES, int(free.sum()))]
        self._genes = np.concatenate([panel, others])
        self._n_panel = len(panel)

        labelled = np.any([observed(array) for array in labels], axis=0)
        cells = at_most(_MAX_CELLS, np.flatnonzero(labelled), rng)
        values = expression.on_model_scale(self._genes)[cells].toarray().astype(np.float32)
        values -= values.mean(axis=0)
        values /= np.maximum(values.std(axis=0), _TINY)
        self._values = values
        self._labels = [array[cells] for array in labels]
        codes = None if groups is None else groups.iloc[cells].factorize()[0]
        folds = _folds(self._labels, codes, rng)
        weights = _bootstrap_weights(np.arange(len(cells)) if codes is None else codes, rng)
        n_screening = max(1, int(_SCREENING_SHARE * (folds.max() + 1)))
        self._screening, self._judging = (
            [
                _head_of(task, array, [(folds != fold, folds == fold) for fold in part], weights)
                for task, array in zip(tasks, self._labels, strict=True)
            ]
            for part in (range(n_screening), range(n_screening, folds.max() + 1))
        )
        for head in self._screening:
            head.fit(values[:, : self._n_panel])
        self.whole = [head.fit(values[:, : self._n_panel]) for head in self._judging]

    def measure(self, position: int, n: int) -> Iterator[Exchange]:
        """Drop a gene, then try what could replace it.

        Parameters
        ----------
        position
            Place of the gene in the panel.
        n
            Number of substitutes to return, at most.

        Yields
        ------
        The panel without the gene; then the panels with the substitutes, those first whose heads
        have the smallest error over all tasks, which is less noisy than the score.
        """
        gene = int(self._genes[position])
        without = self._values[:, : self._n_panel].copy()
        without[:, position] = 0  # as good as no gene, also for a panel of one
        yield Exchange(gene, None, float("nan"), _refit(self._judging, without, position, 0.0))
        dropped = _refit(self._screening, without, position, 0.0)
        tried = []
        rest = np.delete(np.arange(self._n_panel), position)
        for candidate in self._candidates(rest, dropped, n + _N_MORE):
            columns = np.arange(self._n_panel)
            columns[position] = candidate
            r = float(np.mean(self._values[:, position] * self._values[:, candidate]))
            found = _refit(self._screening, self._values[:, columns], position, r)
            tried.append((sum(judgement.error for judgement in found), candidate, columns, r))
        for _, candidate, columns, r in sorted(tried, key=lambda one: one[0])[:n]:
            judgements = _refit(self._judging, self._values[:, columns], position, r)
            yield Exchange(gene, int(self._genes[candidate]), r, judgements)

    def _candidates(
        self, rest: NDArray[np.intp], dropped: Sequence[Judgement], n: int
    ) -> NDArray[np.intp]:
        """Return the genes that explain most of what heads without the gene leave unexplained.

        Genes are ordered by Rao's score statistic of adding each to the heads, summed over
        outputs and over tasks: the fall of the loss in a quadratic approximation, but on cells
        that were held out.
        """
        free = np.arange(self._n_panel, self._values.shape[1])
        basis, _ = np.linalg.qr(self._values[:, rest])
        left = self._values[:, free] - basis @ (basis.T @ self._values[:, free])
        squares = left**2
        gains = np.zeros(len(free))
        for judgement in dropped:
            slopes, curvatures = left.T @ judgement.slopes, squares.T @ judgement.curvatures
            gains += (slopes**2 / np.maximum(curvatures, _TINY)).sum(axis=1) / 2
        return free[np.argsort(-gains, kind="stable")[:n]]


class _ClassHead:
    """Logistic regression on all folds but one, for each fold.

    Parameters
    ----------
    labels
        Codes of shape ``(n_obs,)``; -1 is missing.
    folds
        Of each fold, masks of the cells to fit to and to judge on, shape ``(n_obs,)``.
    weights
        Bootstrap weights of the cells, shape ``(1 + n_bootstraps, n_obs)``.
    n_classes
        Number of classes.
    """

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
        self._folds = _labelled(folds, labels)
        self._fitted: list[LogisticRegression | None] = []

    def fit(self, values: NDArray[np.float32]) -> Judgement:
        """Fit to the whole panel, ``(n_obs, n_genes)``, and judge."""
        self._fitted = [
            self._new().fit(values[train], self._labels[train], self._cell_weights[train])
            if np.unique(self._labels[train]).size > 1
            else None
            for train, _ in self._folds
        ]
        return self._judge(values, self._fitted)

    def refit(self, values: NDArray[np.float32], position: int, correlation: float) -> Judgement:
        """Fit to a changed panel and judge, starting from the whole panel's coefficients.

        Parameters
        ----------
        values
            Expression of the changed panel, ``(n_obs, n_genes)``.
        position
            Place of the gene that leaves.
        correlation
            Correlation of its substitute with it; 0 without one.
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

    def _new(self) -> LogisticRegression:
        return LogisticRegression(tol=_TOLERANCE, max_iter=_MAX_ITERATIONS, warm_start=True)

    def _judge(
        self, values: NDArray[np.float32], fitted: Sequence[LogisticRegression | None]
    ) -> Judgement:
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
            return _nothing(self._labels, self._weights, self._n_classes)
        true = self._labels[judged]
        scores, by_class = f1_scores(true, proba[judged].argmax(axis=1), self._weights[:, judged])
        padded = np.full(self._n_classes, np.nan)
        padded[: len(by_class)] = by_class
        weights = np.where(judged, self._cell_weights, 0.0)[:, None]
        weights = weights / weights.sum() / self._guess_error
        is_true = self._labels[:, None] == np.arange(self._n_classes)
        return Judgement(
            scores,
            padded,
            -float((weights * is_true * np.log(np.maximum(proba, 1e-12))).sum()),
            (weights * (is_true - proba)).astype(np.float32),
            (weights * proba * (1 - proba)).astype(np.float32),
        )


class _ValueHead:
    """Ridge regression on all folds but one, for each fold.

    Parameters
    ----------
    labels
        Values of shape ``(n_obs,)``; NaN is missing.
    folds, weights
        As in :class:`_ClassHead`.
    """

    def __init__(self, labels: NDArray[Any], folds: Folds, weights: NDArray[np.float32]) -> None:
        self._labels, self._weights = labels.astype(np.float64), weights
        self._folds = _labelled(folds, labels)

    def fit(self, values: NDArray[np.float32]) -> Judgement:
        """Fit to a panel, ``(n_obs, n_genes)``, and judge."""
        predicted = np.full(len(self._labels), np.nan)
        for train, test in self._folds:
            if train.any() and test.any():
                head = Ridge().fit(values[train], self._labels[train])
                predicted[test] = head.predict(values[test])
        judged = ~np.isnan(predicted)
        if np.unique(self._labels[judged]).size < 2:
            return _nothing(self._labels, self._weights, 1)
        scores = r2_scores(self._labels[judged], predicted[judged], self._weights[:, judged])
        unit = judged.sum() * self._labels[judged].var()
        residuals = np.where(judged, self._labels - predicted, 0.0)
        return Judgement(
            scores,
            np.empty(0),
            1 - float(scores[0]),
            (2 * residuals / unit)[:, None].astype(np.float32),
            (2 * judged / unit)[:, None].astype(np.float32),
        )

    def refit(self, values: NDArray[np.float32], position: int, correlation: float) -> Judgement:
        """Fit to a changed panel and judge; the solution is in closed form."""
        del position, correlation
        return self.fit(values)


def f1_scores(
    true: NDArray[Any], predicted: NDArray[Any], weights: NDArray[np.float32]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Score predicted classes under several weightings of the cells.

    Parameters
    ----------
    true, predicted
        Class codes of shape ``(n_obs,)``.
    weights
        Shape ``(n_weightings, n_obs)``.

    Returns
    -------
    Macro-F1 of each weighting over the classes that occur in it, ``(n_weightings,)``; and F1 of
    each class by the first weighting, ``(n_classes,)``, NaN for classes that do not occur.
    """
    classes = np.arange(max(true.max(initial=0), predicted.max(initial=0)) + 1)
    is_true = (true[:, None] == classes).astype(np.float32)
    is_predicted = (predicted[:, None] == classes).astype(np.float32)
    n_true = (weights @ is_true).astype(np.float64)
    n_predicted = (weights @ is_predicted).astype(np.float64)
    hits = (weights @ (is_true * is_predicted)).astype(np.float64)
    occurs = n_true > 0
    f1 = np.where(occurs, 2 * hits / np.maximum(n_true + n_predicted, 1), 0.0)
    macro = f1.sum(axis=1) / np.maximum(occurs.sum(axis=1), 1)
    return macro, np.where(occurs[0], f1[0], np.nan)


def r2_scores(
    true: NDArray[np.float64], predicted: NDArray[np.float64], weights: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Return R² under several weightings of the cells; NaN where the values do not vary.

    Parameters
    ----------
    true, predicted
        Values of shape ``(n_obs,)``.
    weights
        Shape ``(n_weightings, n_obs)``.
    """
    total = np.maximum(weights.sum(axis=1, dtype=np.float64), 1)
    centred = true - true.mean() if len(true) else true
    spread = weights @ centred**2 - (weights @ centred) ** 2 / total
    residual = weights @ (true - predicted) ** 2
    varies = spread > 1e-12 * total
    return np.where(varies, 1 - residual / np.where(varies, spread, 1), np.nan)


def _nothing(labels: NDArray[Any], weights: NDArray[np.float32], n_outputs: int) -> Judgement:
    """Judgement where no cell can be judged: scores are NaN, and no gene gains anything."""
    zeros = np.zeros((len(labels), n_outputs), dtype=np.float32)
    by_class = np.full(n_outputs if labels.dtype.kind == "i" else 0, np.nan)
    return Judgement(np.full(len(weights), np.nan), by_class, 0.0, zeros, zeros)


def _refit(
    heads: Sequence[_ClassHead | _ValueHead],
    values: NDArray[np.float32],
    position: int,
    correlation: float,
) -> list[Judgement]:
    return [head.refit(values, position, correlation) for head in heads]


def _labelled(folds: Folds, labels: NDArray[Any]) -> Folds:
    """Leave out the cells without a label."""
    seen = observed(labels)
    return [(train & seen, test & seen) for train, test in folds]


def _head_of(
    task: Task, labels: NDArray[Any], folds: Folds, weights: NDArray[np.float32]
) -> _ClassHead | _ValueHead:
    if task.kind == "categorical":
        return _ClassHead(labels, folds, weights, task.n_outputs)
    return _ValueHead(labels, folds, weights)


def _folds(
    labels: Sequence[NDArray[Any]], groups: NDArray[np.intp] | None, rng: np.random.Generator
) -> NDArray[np.intp]:
    """Deal cells, or whole groups, into folds; shape ``(n_obs,)``."""
    n_obs = len(labels[0])
    if groups is None:
        return fold_cells(labels, min(_N_FOLDS, n_obs), rng)
    n_folds = min(_N_FOLDS, len(np.unique(groups)))
    folds = np.empty(n_obs, dtype=np.intp)
    splitter = GroupKFold(n_folds, shuffle=True, random_state=int(rng.integers(2**31)))
    for fold, (_, test) in enumerate(splitter.split(folds, groups=groups)):
        folds[test] = fold
    return folds


def _bootstrap_weights(groups: NDArray[np.intp], rng: np.random.Generator) -> NDArray[np.float32]:
    """How often each cell is drawn, ``(1 + n_bootstraps, n_obs)``; all once in the first row."""
    units, unit_of = np.unique(groups, return_inverse=True)
    n_units = len(units)
    drawn = rng.multinomial(n_units, np.full(n_units, 1 / n_units), size=_N_BOOTSTRAPS)
    counts = np.concatenate([np.ones((1, n_units)), drawn]).astype(np.float32)
    return counts[:, unit_of]
