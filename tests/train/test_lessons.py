"""A training learns from the labels of its lesson, and is judged by those of its problem."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from yoto_sc._problem import Problem
from yoto_sc.nn import Annealing
from yoto_sc.select import Classes, Numbers, Screening, Vectors, stepwise_order, survey
from yoto_sc.teach import Lesson, prepare
from yoto_sc.train import Recipe, _start, task_key
from yoto_sc.train._batches import SelectionData
from yoto_sc.train._start import find_start, screen

if TYPE_CHECKING:
    from collections.abc import Callable

    from anndata import AnnData

    from yoto_sc.judge import Split
    from yoto_sc.train import Training


@pytest.fixture(scope="module")
def taught_problem(make_adata: Callable[..., AnnData]) -> Problem:
    """160 cells with a class, a number and a vector, which half of them lack."""
    adata = make_adata(missing=0.5)
    adata.obsm["vector"] = np.log1p(adata.X[:, :2].toarray())
    adata.obsm["vector"][::2] = np.nan
    keys = {"categorical": ["task_0"], "continuous": ["score_0"], "vector": ["vector"]}
    return Problem.from_adata(adata, keys, transcriptome=3)


@pytest.fixture(scope="module")
def lesson(taught_problem: Problem, split: Split) -> Lesson:
    """All of them learn from a teacher."""
    rng = np.random.default_rng(0)
    return prepare(taught_problem, split, rng, n_genes=6, unlabeled_cells="use")


def targets_of(lesson: Lesson, cells: Any) -> list[Any]:
    kinds = Classes, Numbers, Vectors, Vectors
    return [kind(labels[cells]) for kind, labels in zip(kinds, lesson.labels, strict=True)]


def test_batches_hold_the_lessons_labels_and_validation_the_problems(
    taught_problem: Problem, lesson: Lesson, split: Split
) -> None:
    recipe = Recipe(Annealing(3, 2), batch_size=16)
    data = SelectionData(lesson, np.arange(3), recipe, 2, np.random.default_rng(0))
    for position in range(4):
        np.testing.assert_array_equal(
            data.train.labels[position], lesson.labels[position][split.train]
        )
        np.testing.assert_array_equal(
            data.validation.labels[position], lesson.problem.labels[position][split.validation]
        )
    assert data.train.labels[0].shape == (len(split.train), 4)
    assert data.validation.labels[0].dtype == np.int64
    assert np.isfinite(data.train.labels[2]).all()
    assert np.isnan(data.validation.labels[2]).any()
    assert not taught_problem.labels[3].any()
    assert data.validation.labels[3].any()  # components, made for all cells
    index = np.array([[5, 0], [7, 7]])
    batch = data.train.batch(index)
    for position in range(4):
        expected = lesson.labels[position][split.train][index]
        np.testing.assert_array_equal(batch[task_key(position)], expected)


def test_genes_are_screened_for_the_lessons_labels(lesson: Lesson, split: Split) -> None:
    found = screen([lesson])[0]
    alone = Screening(targets_of(lesson, split.train))
    survey([alone], lesson.problem.expression.of_cells(split.train).reduce)
    every = np.ones(4, dtype=bool)
    np.testing.assert_allclose(found.ranks(every), alone.ranks(every))
    plain = screen([Lesson.of(lesson.problem, split)])[0]
    assert (found.ranks(every) != plain.ranks(every)).any()


def test_the_start_is_in_the_order_of_the_lessons_labels(
    lesson: Lesson, split: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_start, "_START_FACTOR", 2)  # six of fifty genes
    monkeypatch.setattr(_start, "_START_CAP", 1)
    start = find_start(lesson, screen([lesson])[0], 3, 0.5, np.random.default_rng(0))
    assert start.told.all()
    values = lesson.problem.expression.take(split.train, None).toarray()
    order = stepwise_order(values, targets_of(lesson, split.train), 6, class_weight_power=0.5)
    np.testing.assert_array_equal(start.genes, np.sort(order))
    by_score = start.genes[np.argsort(-start.scores, kind="stable")]
    np.testing.assert_array_equal(by_score, order)


def test_a_training_of_taught_labels(
    lesson: Lesson, taught_problem: Problem, make_training: Callable[..., Training]
) -> None:
    """Every task is learned, and every one is predicted in the form of its kind."""
    found = make_training(taught_problem, max_steps=60).run(lesson, np.random.default_rng(1))
    history = found.history
    assert history["train_loss"].iloc[-1] < history["train_loss"].iloc[0]
    assert np.isfinite(history["validation_loss"]).all()
    values = taught_problem.expression.take(lesson.split.validation, found.ranking[:6]).toarray()
    with torch.no_grad():
        predictions = found.module.predict(torch.from_numpy(values), 6)[0]
    n_held_out = len(lesson.split.validation)
    shapes = [tuple(prediction.shape) for prediction in predictions]
    assert shapes == [(n_held_out, 4), (n_held_out,), (n_held_out, 2), (n_held_out, 3)]
    torch.testing.assert_close(predictions[0].sum(1), torch.ones(n_held_out))


def test_tables_of_zeros_and_ones_train_as_codes(
    problem: Problem, split: Split, make_training: Callable[..., Training]
) -> None:
    """Up to rounding: what is certain is learned as what was given."""
    labels, nobody = list(problem.labels), np.zeros(160, dtype=bool)
    for position in (0, 1):
        task = problem.tasks[position]
        labels[position] = task.taught(labels[position], task.guess(160), nobody)
    given = Lesson.of(problem, split)
    certain = Lesson(problem, split, tuple(labels), None, {})
    training = make_training(problem, max_steps=20)
    one, other = (training.run(each, np.random.default_rng(1)) for each in (given, certain))
    np.testing.assert_array_equal(one.ranking[:6], other.ranking[:6])
    np.testing.assert_allclose(one.history["train_loss"], other.history["train_loss"], rtol=1e-3)


def test_what_is_said_of_the_panel_is_said_of_given_labels(
    lesson: Lesson, taught_problem: Problem, make_training: Callable[..., Training]
) -> None:
    """Losses without a gene are taken on labelled cells, though others were learned from."""
    training = make_training(taught_problem, max_steps=4, unlabeled_cells="use")
    outcome = training.fit(lesson.split, np.random.default_rng(1), 6, refit=False)
    selection = outcome.selection
    assert list(selection.teacher.index) == ["task_0", "score_0", "vector"]
    assert selection.teacher["is_used"].all()
    seen = [
        int(task.observed(labels[lesson.split.validation]).sum())
        for task, labels in zip(taught_problem.tasks, taught_problem.labels, strict=True)
    ]
    assert list(selection.metrics["n_cells"]) == seen
    assert seen[-1] == len(lesson.split.validation)
    assert np.isfinite(selection.without["loss"]).all()
    points = {"PC1", "PC2", "PC3", "0", "1", "", *taught_problem.tasks[0].categories}
    assert set(selection.attribution["category"]) <= points


@pytest.mark.parametrize("how", ["auto", "ignore"])
def test_all_cells_are_learned_from_in_the_end(
    taught_problem: Problem, split: Split, make_training: Callable[..., Training], how: Any
) -> None:
    training = make_training(taught_problem, max_steps=4, unlabeled_cells=how)
    outcome = training.fit(split, np.random.default_rng(1), 6, refit=True)
    lesson = outcome.trained.lesson
    np.testing.assert_array_equal(lesson.split.train, np.arange(160))
    assert bool(lesson.verdicts) == (how == "auto")
    table = outcome.selection.teacher
    assert (table["n_labeled"] + table["n_unlabeled"] == 160).all()
    assert len(table) == (3 if how == "auto" else 0)
