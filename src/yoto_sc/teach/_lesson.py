"""What one training learns from, and what it is judged by."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd

from yoto_sc.judge import all_cells
from yoto_sc.teach._components import find_components
from yoto_sc.teach._teacher import N_COMPONENTS, examine, needs_teacher, teach

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from yoto_sc._problem import Problem
    from yoto_sc.judge import Split
    from yoto_sc.teach._components import Components
    from yoto_sc.teach._teacher import UnlabeledCells, Verdict


@dataclass(frozen=True, eq=False)
class Lesson:
    """What one training learns from, and what it is judged by.

    Parameters
    ----------
    problem
        With the labels to judge by: those that were given, and components of all genes.
    split
        The cells to learn from, and the others.
    labels
        For each task, the labels to learn from: a teacher's, too. Those of other cells than the
        training cells are of no use.
    components
        Those fitted to training cells; `None`, where no task needs them.
    verdicts
        On the teachers, by the position of their task.
    """

    problem: Problem
    split: Split
    labels: tuple[NDArray[Any], ...]
    components: Components | None
    verdicts: Mapping[int, Verdict]

    @classmethod
    def of(cls, problem: Problem, split: Split) -> Self:
        """Return a lesson without a teacher."""
        return cls(problem, split, problem.labels, None, {})

    def table(self) -> pd.DataFrame:
        """Return what became of cells without a label, one row for each task that has some."""
        rows, names = [], []
        for position, verdict in self.verdicts.items():
            task = self.problem.tasks[position]
            seen = task.observed(self.problem.labels[position][self.split.train])
            names.append(task.name)
            rows.append(
                {
                    "metric": task.metric,
                    "n_labeled": int(seen.sum()),
                    "n_unlabeled": int((~seen).sum()),
                    "teacher_score": verdict.teacher,
                    "panel_score": verdict.panel,
                    "is_used": verdict.is_used,
                }
            )
        columns = ["metric", "n_labeled", "n_unlabeled", "teacher_score", "panel_score", "is_used"]
        index = pd.Index(names, name="task", dtype=object)
        return pd.DataFrame(rows, index=index, columns=columns).astype(
            {"metric": object, "is_used": bool}
        )


def prepare(
    problem: Problem,
    split: Split,
    rng: np.random.Generator,
    *,
    n_genes: int,
    unlabeled_cells: UnlabeledCells = "auto",
    before: Lesson | None = None,
) -> Lesson:
    """Fit components and teachers to the training cells, where there is something to teach.

    Parameters
    ----------
    n_genes
        Size of the panel that a teacher has to be better than.
    unlabeled_cells
        See :func:`yoto_sc.tl.select`.
    before
        A lesson on fewer cells, whose components and verdicts are kept.
    """
    train, tasks = split.train, problem.tasks
    asked = [
        position
        for position, task in enumerate(tasks)
        if unlabeled_cells != "ignore" and needs_teacher(task, problem.labels[position][train])
    ]
    derived = [position for position, task in enumerate(tasks) if task.is_derived]
    if not asked and not derived:
        return Lesson.of(problem, split)
    component_rng, *rngs = rng.spawn(1 + len(tasks))
    n_components = max([N_COMPONENTS] * bool(asked) + [tasks[p].n_outputs for p in derived])
    components = None if before is None else before.components
    if components is None:
        components = find_components(problem.expression, train, n_components, component_rng)
    cells = np.arange(problem.expression.n_obs) if derived else train
    coordinates = components.of(problem.expression, cells)
    truth = list(problem.labels)
    for position in derived:
        truth[position] = coordinates[:, : tasks[position].n_outputs]
    problem = replace(problem, labels=tuple(truth))
    features = coordinates[train] if derived else coordinates
    labels, found = list(truth), {}
    for position in asked:
        task, task_rng = tasks[position], rngs[position]
        verdict = None if before is None else before.verdicts.get(position)
        if verdict is None:
            seen = np.flatnonzero(task.observed(truth[position][train]))
            verdict = examine(
                problem, position, train[seen], features[seen], n_genes, unlabeled_cells, task_rng
            )
        found[position] = verdict
        if verdict.is_used:
            labels[position] = teach(
                problem, position, train, features, verdict.temperature, task_rng
            )
    return Lesson(problem, split, tuple(labels), components, found)


def with_components(problem: Problem, rng: np.random.Generator) -> Problem:
    """Return the problem with all its labels, those that are made from expression, too."""
    split = all_cells(problem.expression.n_obs)
    return prepare(problem, split, rng, n_genes=1, unlabeled_cells="ignore").problem
