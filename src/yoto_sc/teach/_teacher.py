"""A teacher: it reads all genes, and labels the cells that have no label."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from sklearn.linear_model import LogisticRegression, RidgeCV

from yoto_sc.judge import at_most, fold_cells, ridge_path, task_score
from yoto_sc.metrics import fit_temperature
from yoto_sc.select import Screening, stepwise_order, survey

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from yoto_sc._problem import Problem
    from yoto_sc.data import Task

UnlabeledCells = Literal["auto", "use", "ignore"]

N_COMPONENTS = 60
"""Principal components that a teacher reads."""
_N_FOLDS = 3
_CLASS_WEIGHT_POWER = 0.5
_TAUGHT_CELLS = 20_000
"""A teacher is fitted to at most so many labelled cells."""
_ALPHAS = np.logspace(-1, 4, 6)
_MAX_ITERATIONS = 1000
_NEGLIGIBLE = 0.01
"""Probabilities below this are taken as 0."""
_FEW = 0.02
"""Where fewer cells than this lack a label, for each that has one, no teacher is asked."""
_PANEL_CELLS, _PANEL_GENES, _PANEL_CANDIDATES = 1000, 32, 300
"""A teacher is compared with panels of at most so many genes, from so many cells and genes."""


@dataclass(frozen=True)
class Verdict:
    """What labelled cells say of the teacher of one task, all of it out of fold.

    Parameters
    ----------
    teacher, panel
        Macro-F1 or R² of the teacher, and of a panel that learns from labelled cells alone.
    temperature
        What calibrates the teacher's probabilities.
    is_used
        Whether cells without a label learn from it.
    """

    teacher: float
    panel: float
    temperature: float
    is_used: bool


def needs_teacher(task: Task, encoded: NDArray[Any]) -> bool:
    """Whether enough cells lack a label that a teacher could make a difference."""
    n_labeled = int(task.observed(encoded).sum())
    return not task.is_derived and len(encoded) - n_labeled > _FEW * n_labeled


def examine(
    problem: Problem,
    position: int,
    cells: NDArray[np.intp],
    features: NDArray[np.float32],
    n_genes: int,
    ways: UnlabeledCells,
    rng: np.random.Generator,
) -> Verdict:
    """Let a teacher label labelled cells out of fold, and a panel too, and compare them.

    Parameters
    ----------
    position
        Of the task.
    cells
        Training cells with a label, ``(n_cells,)``.
    features
        What the teacher reads of these, ``(n_cells, n_features)``.
    n_genes
        Size of the panel.
    ways
        Whether the comparison decides.
    """
    task, labels = problem.tasks[position], problem.labels[position][cells]
    fold_rng, panel_rng = rng.spawn(2)
    folds = fold_cells([task], [labels], min(_N_FOLDS, len(cells)), fold_rng)
    prediction, believed = task.guess(len(cells)), task.guess(len(cells))
    for fold in np.unique(folds):
        learned, asked = folds != fold, folds == fold
        if task.is_learnable(labels[learned]):
            teacher = TEACHERS[task.linear_head](task, features[learned], labels[learned])
            prediction[asked] = teacher.predict(features[asked])
            believed[asked] = teacher.believed(prediction[asked])
    temperature = fit_temperature(believed, labels) if task.categories else 1.0
    score = task_score(task, labels, prediction)
    if ways == "use":
        return Verdict(score, float("nan"), temperature, is_used=True)
    panel, asked = _panel_answers(
        problem, position, cells, folds, min(n_genes, _PANEL_GENES), panel_rng
    )
    theirs = task_score(task, labels[asked], panel)
    ours = task_score(task, labels[asked], prediction[asked])
    return Verdict(score, theirs, temperature, is_used=bool(ours >= theirs))


def teach(
    task: Task,
    labels: NDArray[Any],
    cells: NDArray[np.intp],
    features: NDArray[np.float32],
    temperature: float,
    rng: np.random.Generator,
) -> NDArray[Any]:
    """Return labels to learn from: those there are, and a teacher's in the place of others.

    Parameters
    ----------
    labels
        Encoded labels of all cells, ``(n_obs, …)``.
    cells
        Training cells.
    features
        Of these, ``(n_cells, n_features)``.
    """
    seen = task.observed(labels[cells])
    learned = at_most(_TAUGHT_CELLS, np.flatnonzero(seen), rng)
    teacher = TEACHERS[task.linear_head](task, features[learned], labels[cells[learned]])
    asked = np.zeros(len(labels), dtype=bool)
    asked[cells[~seen]] = True
    answers = teacher.believed(teacher.predict(features[~seen]))
    if task.categories:
        answers = _sharpened(answers, temperature)
    prediction = task.guess(len(labels))
    prediction[asked] = answers
    return task.taught(labels, prediction, asked)


class LogisticTeacher:
    """Multinomial logistic regression; rare classes weigh more."""

    def __init__(self, task: Task, features: NDArray[np.float32], labels: NDArray[Any]) -> None:
        self._n_classes = task.n_outputs
        weights = task.regressands(labels, _CLASS_WEIGHT_POWER)[1]
        weights *= len(weights) / weights.sum()
        self._model = LogisticRegression(max_iter=_MAX_ITERATIONS).fit(features, labels, weights)
        classes, first = np.unique(labels, return_index=True)
        self._class_weights = np.ones(task.n_outputs)
        self._class_weights[classes] = weights[first]

    def predict(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return probabilities of all classes, ``(n_obs, n_classes)``."""
        proba = np.zeros((len(features), self._n_classes))
        if len(features):
            proba[:, self._model.classes_] = self._model.predict_proba(features)
        return proba

    def believed(self, prediction: NDArray[np.float64]) -> NDArray[np.float64]:
        """Take the weights of the classes out of probabilities: they are for decisions alone."""
        share = prediction / self._class_weights
        return share / np.maximum(share.sum(axis=1, keepdims=True), np.finfo(np.float64).tiny)


class RidgeTeacher:
    """Ridge regression; the penalty is chosen by leaving cells out, one at a time."""

    def __init__(self, task: Task, features: NDArray[np.float32], labels: NDArray[Any]) -> None:
        self._model = RidgeCV(_ALPHAS).fit(features, labels)

    def predict(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return values, ``(n_obs,)`` or ``(n_obs, n_columns)``."""
        shape = (0, *np.shape(self._model.intercept_))
        return self._model.predict(features) if len(features) else np.empty(shape)

    def believed(self, prediction: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the values themselves."""
        return prediction


TEACHERS: dict[str, type[LogisticTeacher | RidgeTeacher]] = {
    "logistic": LogisticTeacher,
    "ridge": RidgeTeacher,
}
"""By the name of the linear head that a kind of task gives."""


def _sharpened(proba: NDArray[np.float64], temperature: float) -> NDArray[np.float64]:
    """Calibrate probabilities, and drop negligible ones."""
    power = np.maximum(proba, np.finfo(np.float64).tiny) ** (1 / temperature)
    power = np.where(proba > 0, power, 0)
    power /= power.sum(axis=1, keepdims=True)
    power[power < np.minimum(_NEGLIGIBLE, power.max(axis=1, keepdims=True))] = 0
    return power / power.sum(axis=1, keepdims=True)


def _panel_answers(
    problem: Problem,
    position: int,
    cells: NDArray[np.intp],
    folds: NDArray[np.intp],
    n_genes: int,
    rng: np.random.Generator,
) -> tuple[NDArray[Any], NDArray[np.intp]]:
    """Predict labelled cells from panels that other labelled cells choose, fold by fold.

    Returns
    -------
    The predictions, and which of `cells` they are for.
    """
    task, labels = problem.tasks[position], problem.labels[position]
    allowed = np.flatnonzero(problem.rules.allowed)
    answers, asked = [], []
    for fold in np.unique(folds):
        learned = at_most(_PANEL_CELLS, np.flatnonzero(folds != fold), rng)
        judged = at_most(_PANEL_CELLS, np.flatnonzero(folds == fold), rng)
        if not task.is_learnable(labels[cells[learned]]):
            continue
        seen = labels[cells[learned]]
        screening = Screening([task.target(seen)])
        survey([screening], problem.expression.of_cells(cells[learned]).reduce)
        rank = screening.ranks(np.ones(1, dtype=bool))[allowed]
        found = allowed[np.sort(np.argsort(rank, kind="stable")[:_PANEL_CANDIDATES])]
        values = problem.expression.take(cells[learned], found)
        order = stepwise_order(values.toarray(), [task.target(seen)], n_genes)
        predicted = ridge_path(
            values[:, order],
            [seen],
            problem.expression.take(cells[judged], found[order]),
            [task],
            [len(order)],
            _CLASS_WEIGHT_POWER,
        )
        answers.append(predicted[len(order)][0])
        asked.append(judged)
    if not asked:
        return task.guess(0), np.empty(0, dtype=np.intp)
    return np.concatenate(answers), np.concatenate(asked)
