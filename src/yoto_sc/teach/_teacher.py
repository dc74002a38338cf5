"""A teacher: it reads all genes, and labels the cells that have no label."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression, RidgeCV

from yoto_sc.judge import at_most, fold_cells, ridge_path, task_score
from yoto_sc.metrics import fit_temperature
from yoto_sc.select import Screening, stepwise_order, survey

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from yoto_sc._problem import Problem
    from yoto_sc.data import Task

UnlabeledCells = Literal["auto", "use", "ignore"]

N_COMPONENTS = 60
"""Principal components that a teacher reads."""
_N_GENES = 100
"""Genes that it reads besides, each of which tells most alone."""
_PENALTIES = (1.0, 0.03)
"""Inverse penalties of logistic regression on components, and on genes of unit variance."""
_CLIP = 10.0
_N_FOLDS = 3
_CLASS_WEIGHT_POWER = 0.5
_TAUGHT_CELLS = 20_000
"""A teacher is fitted to at most so many labelled cells."""
_SCREENED_CELLS = 5000
"""Its genes are found in at most so many of them."""
_ALPHAS = np.logspace(-1, 4, 6)
_TOLERANCE, _MAX_ITERATIONS = 1e-3, 500
_NEGLIGIBLE = 0.01
"""Probabilities below this are taken as 0."""
_FEW = 0.02
"""Where fewer cells than this lack a label, for each that has one, no teacher is asked."""
_PANEL_CELLS, _PANEL_GENES, _PANEL_CANDIDATES = 1000, 32, 300
"""A teacher is compared with panels of at most so many genes, from so many cells and genes."""
_TINY = np.finfo(np.float64).tiny


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
    components: NDArray[np.float32],
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
    components
        Of these, ``(n_cells, n_components)``.
    n_genes
        Size of the panel.
    ways
        Whether the comparison decides.
    """
    task, labels = problem.tasks[position], problem.labels[position][cells]
    fold_rng, cell_rng, panel_rng = rng.spawn(3)
    kept = np.sort(cell_rng.permutation(len(cells))[:_TAUGHT_CELLS])
    cells, labels, components = cells[kept], labels[kept], components[kept]
    folds = fold_cells([task], [labels], min(_N_FOLDS, len(cells)), fold_rng)
    guess = task.guess(len(cells))
    answers, believed, panel = guess, guess.copy(), guess.copy()
    by_panel = np.zeros(len(cells), dtype=bool)
    for fold in np.unique(folds):
        learned, asked = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        if not task.is_learnable(labels[learned]):
            continue
        found = _telling_genes(problem, position, cells[learned], cell_rng)
        genes = problem.expression.take(cells, found[:_N_GENES]).toarray()
        teacher = TEACHERS[task.linear_head](
            task, [components[learned], genes[learned]], labels[learned]
        )
        answers[asked] = teacher.predict([components[asked], genes[asked]])
        believed[asked] = teacher.believed(answers[asked])
        if ways == "auto":
            learned = at_most(_PANEL_CELLS, learned, panel_rng)
            asked = at_most(_PANEL_CELLS, asked, panel_rng)
            size = min(n_genes, _PANEL_GENES)
            panel[asked] = _of_panel(problem, position, cells[learned], cells[asked], found, size)
            by_panel[asked] = True
    temperature = fit_temperature(believed, labels) if task.categories else 1.0
    score = task_score(task, labels, answers)
    if ways == "use":
        return Verdict(score, float("nan"), temperature, is_used=True)
    ours, theirs = (task_score(task, labels[by_panel], one[by_panel]) for one in (answers, panel))
    return Verdict(score, theirs, temperature, is_used=bool(ours >= theirs))


def teach(
    problem: Problem,
    position: int,
    cells: NDArray[np.intp],
    components: NDArray[np.float32],
    temperature: float,
    rng: np.random.Generator,
) -> NDArray[Any]:
    """Return labels to learn from: those there are, and a teacher's in the place of others.

    Parameters
    ----------
    position
        Of the task.
    cells
        Training cells, with a label or without.
    components
        Of these, ``(n_cells, n_components)``.
    temperature
        Of the teacher's probabilities.
    """
    task, labels = problem.tasks[position], problem.labels[position]
    seen = task.observed(labels[cells])
    learned, asked = at_most(_TAUGHT_CELLS, np.flatnonzero(seen), rng), np.flatnonzero(~seen)
    found = _telling_genes(problem, position, cells[learned], rng)[:_N_GENES]
    views = [
        [components[some], problem.expression.take(cells[some], found).toarray()]
        for some in (learned, asked)
    ]
    teacher = TEACHERS[task.linear_head](task, views[0], labels[cells[learned]])
    answers = teacher.believed(teacher.predict(views[1]))
    if task.categories:
        answers = _sharpened(answers, temperature)
    is_asked = np.zeros(len(labels), dtype=bool)
    is_asked[cells[asked]] = True
    prediction = task.guess(len(labels))
    prediction[cells[asked]] = answers
    return task.taught(labels, prediction, is_asked)


class LogisticTeacher:
    """Multinomial logistic regressions on components and on genes; rare classes weigh more.

    Its answer is their mean on the scale of logarithms.
    """

    def __init__(
        self, task: Task, views: Sequence[NDArray[np.float32]], labels: NDArray[Any]
    ) -> None:
        weights = task.regressands(labels, _CLASS_WEIGHT_POWER)[1]
        weights *= len(weights) / weights.sum()
        components, genes = views
        self._scaling = _scaling(genes)
        self._models = [
            LogisticRegression(C=penalty, tol=_TOLERANCE, max_iter=_MAX_ITERATIONS).fit(
                view, labels, weights
            )
            for view, penalty in zip(
                (components, _scaled(genes, self._scaling)), _PENALTIES, strict=True
            )
        ]
        self._classes, first = np.unique(labels, return_index=True)
        self._class_weights = np.ones(task.n_outputs)
        self._class_weights[self._classes] = weights[first]

    def predict(self, views: Sequence[NDArray[np.float32]]) -> NDArray[np.float64]:
        """Return probabilities of all classes, ``(n_obs, n_classes)``."""
        components, genes = views
        proba = np.zeros((len(components), len(self._class_weights)))
        if len(components):
            logs = [
                model.predict_log_proba(view)
                for model, view in zip(
                    self._models, (components, _scaled(genes, self._scaling)), strict=True
                )
            ]
            proba[:, self._classes] = softmax(np.mean(logs, axis=0), axis=1)
        return proba

    def believed(self, prediction: NDArray[np.float64]) -> NDArray[np.float64]:
        """Take the weights of the classes out of probabilities: they are for decisions alone."""
        share = prediction / self._class_weights
        return share / np.maximum(share.sum(axis=1, keepdims=True), _TINY)


class RidgeTeacher:
    """Ridge regressions on components and on genes; their mean is the answer.

    The penalties are chosen by leaving cells out, one at a time.
    """

    def __init__(
        self, task: Task, views: Sequence[NDArray[np.float32]], labels: NDArray[Any]
    ) -> None:
        del task
        components, genes = views
        self._shape = labels.shape[1:]
        self._scaling = _scaling(genes)
        self._models = [
            RidgeCV(_ALPHAS).fit(view, labels)
            for view in (components, _scaled(genes, self._scaling))
        ]

    def predict(self, views: Sequence[NDArray[np.float32]]) -> NDArray[np.float64]:
        """Return values, ``(n_obs,)`` or ``(n_obs, n_columns)``."""
        components, genes = views
        if not len(components):
            return np.empty((0, *self._shape))
        seen = components, _scaled(genes, self._scaling)
        answers = [model.predict(view) for model, view in zip(self._models, seen, strict=True)]
        # Of one column, they come without an axis of columns.
        return np.asarray(np.mean(answers, axis=0)).reshape(-1, *self._shape)

    def believed(self, prediction: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the values themselves."""
        return prediction


TEACHERS: dict[str, type[LogisticTeacher | RidgeTeacher]] = {
    "logistic": LogisticTeacher,
    "ridge": RidgeTeacher,
}
"""By the name of the linear head that a kind of task gives."""


def _scaling(genes: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return means and standard deviations, 1 where nothing varies."""
    scale = genes.std(axis=0)
    return genes.mean(axis=0), np.where(scale > 0, scale, 1)


def _scaled(
    genes: NDArray[np.float32], scaling: tuple[NDArray[np.float32], NDArray[np.float32]]
) -> NDArray[np.float32]:
    return np.clip((genes - scaling[0]) / scaling[1], -_CLIP, _CLIP)


def _sharpened(proba: NDArray[np.float64], temperature: float) -> NDArray[np.float64]:
    """Calibrate probabilities, and drop negligible ones."""
    power = np.where(proba > 0, np.maximum(proba, _TINY) ** (1 / temperature), 0)
    power /= power.sum(axis=1, keepdims=True)
    power[power < np.minimum(_NEGLIGIBLE, power.max(axis=1, keepdims=True))] = 0
    return power / power.sum(axis=1, keepdims=True)


def _telling_genes(
    problem: Problem, position: int, cells: NDArray[np.intp], rng: np.random.Generator
) -> NDArray[np.intp]:
    """Return the genes that tell most of a task, each alone, in some labelled cells."""
    cells = at_most(_SCREENED_CELLS, cells, rng)
    screening = Screening([problem.tasks[position].target(problem.labels[position][cells])])
    survey([screening], problem.expression.of_cells(cells).reduce)
    rank = screening.ranks(np.ones(1, dtype=bool))
    return np.argsort(rank, kind="stable")[:_PANEL_CANDIDATES]


def _of_panel(
    problem: Problem,
    position: int,
    learned: NDArray[np.intp],
    asked: NDArray[np.intp],
    genes: NDArray[np.intp],
    n_genes: int,
) -> NDArray[Any]:
    """Choose a panel in closed form from some cells, and predict others from it."""
    task, labels = problem.tasks[position], problem.labels[position][learned]
    genes = np.sort(genes[problem.rules.allowed[genes]])
    values = problem.expression.take(learned, genes)
    order = stepwise_order(values.toarray(), [task.target(labels)], n_genes)
    judged = problem.expression.take(asked, genes[order])
    answers = ridge_path(
        values[:, order], [labels], judged, [task], [len(order)], _CLASS_WEIGHT_POWER
    )
    return answers[len(order)][0]
