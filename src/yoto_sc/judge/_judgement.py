"""How a finished training does on cells it has not seen: scores, and the path."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from yoto_sc.judge._ridge import ridge_path
from yoto_sc.judge._scores import Samples, mean_score
from yoto_sc.judge._splits import at_most
from yoto_sc.judge._tables import (
    base_table,
    columns_table,
    confusion_table,
    metrics_table,
    path_rows,
    path_table,
    predictions_table,
    tasks_table,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from yoto_sc._problem import Problem
    from yoto_sc.data import Task
    from yoto_sc.judge._scores import Predictions
    from yoto_sc.judge._splits import Split
    from yoto_sc.judge._tables import PathRow

_N_PATH_SIZES, _N_LARGER_SIZES = 20, 6
"""Sizes on the path up to the network's, and of those above it."""
_RIDGE_CELLS = 1000
"""Above the network's size, at most so many cells are learned from, and as many judged on."""


@dataclass(frozen=True)
class Answers:
    """What a finished training says of the cells that it has not seen."""

    split: Split
    ranking: NDArray[np.intp]  # indices of the ranked genes, best first
    n_trained: int  # number of genes that the network reads
    on_path: NDArray[np.intp]  # positions among the held-out cells of those in `by_size`
    by_size: Mapping[int, Predictions]  # by panel size, a prediction for each task
    predict: Callable[[int], Predictions]  # all held-out cells, from so many genes
    history: pd.DataFrame  # the course of the training


@dataclass(frozen=True)
class Judgement:
    """How a training did on its held-out cells.

    Parameters
    ----------
    tasks, metrics, columns, path, base, history, confusion, held_out
        Tables; see :class:`~yoto_sc.judge.Selection`.
    """

    n_genes: int
    tasks: pd.DataFrame
    metrics: pd.DataFrame
    columns: pd.DataFrame
    path: pd.DataFrame
    base: pd.DataFrame
    history: pd.DataFrame
    confusion: pd.DataFrame
    held_out: pd.DataFrame


def judge(
    problem: Problem,
    answers: Answers,
    n_genes: int | Literal["auto"],
    class_weight_power: float,
    rng: np.random.Generator,
) -> Judgement:
    """Judge a finished training on its held-out cells."""
    tasks, split = problem.tasks, answers.split
    labels = [array[split.validation] for array in problem.labels]
    sample_rng, ridge_rng = rng.spawn(2)
    cells = answers.on_path
    on_path = [array[cells] for array in labels]
    units = _units(problem.groups, split.validation)[cells]
    samples = Samples(units, sample_rng)
    if n_genes == "auto":
        smallest = problem.rules.smallest_size
        eligible = {size: shot for size, shot in answers.by_size.items() if size >= smallest}
        # Of one group, nothing tells how much the next may differ: its cells tell at least a bit.
        known = samples if len(np.unique(units)) > 1 else Samples(cells, sample_rng)
        n_genes = choose_size(tasks, on_path, eligible, known)
    whole = len(cells) == len(split.validation)
    predictions = answers.by_size[n_genes] if whole else answers.predict(n_genes)
    n_base = int(problem.rules.required.sum())
    sizes = (n_base, n_genes) if n_base else None
    larger = _larger_sizes(problem, answers, class_weight_power, ridge_rng)
    return Judgement(
        n_genes=n_genes,
        tasks=tasks_table(
            tasks, [array[split.train] for array in problem.labels], labels, problem.levels
        ),
        metrics=metrics_table(tasks, labels, predictions),
        columns=columns_table(tasks, labels, predictions),
        path=path_table(larger + path_rows(tasks, on_path, answers.by_size, samples, "network")),
        base=base_table(tasks, on_path, answers.by_size, samples, sizes),
        history=answers.history,
        confusion=confusion_table(tasks, labels, predictions),
        held_out=predictions_table(tasks, predictions, problem.obs_names[split.validation]),
    )


def path_sizes(largest: int, smallest: int = 1) -> list[int]:
    """Return about 20 log-spaced sizes up to `largest`, with both ends and powers of two."""
    sizes = np.geomspace(1, largest, _N_PATH_SIZES).round().astype(int)
    powers = 2 ** np.arange(largest.bit_length())
    return sorted({*sizes.tolist(), *powers.tolist(), smallest})


def choose_size(
    tasks: Sequence[Task],
    labels: Predictions,
    predictions: Mapping[int, Predictions],
    samples: Samples,
) -> int:
    """Return the smallest size within one standard error of the best.

    The score of a size is the mean over tasks of the macro-F1 or R² on the held-out cells; its
    standard error is that of the best size.
    """
    scores = {size: mean_score(tasks, labels, predictions[size]) for size in sorted(predictions)}
    judged = [size for size, value in scores.items() if np.isfinite(value)]
    if not judged:
        return max(scores)
    best = max(judged, key=lambda size: scores[size])
    error = samples.standard_error_of_mean(tasks, labels, predictions[best])
    margin = error if np.isfinite(error) else 0.0
    return next(size for size in judged if scores[size] >= scores[best] - margin)


def _larger_sizes(
    problem: Problem, answers: Answers, class_weight_power: float, rng: np.random.Generator
) -> list[PathRow]:
    """Return the path's rows for more genes than the network reads, up to all ranked ones."""
    split, ranking, n_trained = answers.split, answers.ranking, answers.n_trained
    sizes = np.geomspace(n_trained, len(ranking), _N_LARGER_SIZES + 1)[1:].round().astype(int)
    cell_rng, sample_rng = rng.spawn(2)
    learned = at_most(_RIDGE_CELLS, split.train, cell_rng)
    judged = at_most(_RIDGE_CELLS, split.validation, cell_rng)
    predictions = ridge_path(
        problem.expression.take(learned, ranking),
        [array[learned] for array in problem.labels],
        problem.expression.take(judged, ranking),
        problem.tasks,
        sorted(set(sizes[sizes > n_trained].tolist())),
        class_weight_power,
    )
    labels = [array[judged] for array in problem.labels]
    samples = Samples(_units(problem.groups, judged), sample_rng)
    return path_rows(problem.tasks, labels, predictions, samples, "ridge")


def _units(groups: pd.Series | None, cells: NDArray[np.intp]) -> NDArray[Any]:
    """Return what is drawn in bootstrap samples of cells: the cells, or their groups."""
    return cells if groups is None else pd.factorize(groups.iloc[cells])[0]
