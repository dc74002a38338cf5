"""Scores over all tasks, and their standard errors against a plain bootstrap of the cells."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from sklearn.metrics import f1_score, r2_score

from yoto_sc.data import Categorical, Continuous
from yoto_sc.judge import mean_score
from yoto_sc.judge._scores import N_BOOTSTRAPS, Samples, task_score

if TYPE_CHECKING:
    from collections.abc import Callable

N_CELLS, N_SAMPLES = 400, 600
CLASSES = Categorical("type", ("a", "b", "c"))
NUMBER = Continuous("age")


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def macro_f1(true: Any, predicted: Any) -> float:
    return f1_score(true, predicted, average="macro", labels=np.unique(true))


def make_classes(rng: np.random.Generator) -> Any:
    labels = rng.choice(3, size=N_CELLS, p=[0.7, 0.25, 0.05])
    return labels, np.where(rng.random(N_CELLS) < 0.8, labels, rng.integers(3, size=N_CELLS))


def make_numbers(rng: np.random.Generator) -> Any:
    values = rng.normal(5, 2, size=N_CELLS)
    return values, values + rng.normal(size=N_CELLS)


def by_plain_bootstrap(
    score: Callable[[Any, Any], float], true: Any, predicted: Any, groups: Any = None
) -> float:
    """Draw cells, or whole groups of them, one by one."""
    rng = np.random.default_rng(1)
    groups = np.arange(len(true)) if groups is None else groups
    members = [np.flatnonzero(groups == group) for group in np.unique(groups)]
    samples = [
        np.concatenate([members[group] for group in rng.integers(len(members), size=len(members))])
        for _ in range(N_SAMPLES)
    ]
    return float(np.nanstd([score(true[sample], predicted[sample]) for sample in samples]))


# --- scores ---


def test_the_score_of_a_task_is_its_metric(rng: np.random.Generator) -> None:
    labels, predicted = make_classes(rng)
    assert task_score(CLASSES, labels, np.eye(3)[predicted]) == pytest.approx(
        macro_f1(labels, predicted)
    )
    values, predicted = make_numbers(rng)
    assert task_score(NUMBER, values, predicted) == pytest.approx(r2_score(values, predicted))


def test_the_score_of_all_tasks_is_their_mean(rng: np.random.Generator) -> None:
    labels, predicted = make_classes(rng)
    values, guessed = make_numbers(rng)
    tasks, all_labels = [CLASSES, NUMBER], [labels, values]
    expected = (macro_f1(labels, predicted) + r2_score(values, guessed)) / 2
    found = mean_score(tasks, all_labels, [np.eye(3)[predicted], guessed])
    assert found == pytest.approx(expected)


def test_tasks_without_labels_do_not_count(rng: np.random.Generator) -> None:
    labels, predicted = make_classes(rng)
    none = np.full(N_CELLS, np.nan)
    found = mean_score([CLASSES, NUMBER], [labels, none], [np.eye(3)[predicted], none])
    assert found == pytest.approx(macro_f1(labels, predicted))
    assert np.isnan(mean_score([NUMBER], [none], [none]))


# --- standard errors ---


def test_macro_f1(rng: np.random.Generator) -> None:
    labels, predicted = make_classes(rng)
    expected = by_plain_bootstrap(macro_f1, labels, predicted)
    with_missing = np.concatenate([labels, [-1] * 50])
    probabilities = np.eye(3)[np.concatenate([predicted, [0] * 50])]
    samples = Samples(np.arange(N_CELLS + 50), rng)
    found = samples.standard_error(CLASSES, with_missing, probabilities)
    assert found == pytest.approx(expected, rel=0.2)


def test_r2(rng: np.random.Generator) -> None:
    values, predicted = make_numbers(rng)
    expected = by_plain_bootstrap(r2_score, values, predicted)
    samples = Samples(np.arange(N_CELLS + 1), rng)
    found = samples.standard_error(
        NUMBER, np.append(values, np.nan), np.append(predicted, 0.0).astype(np.float32)
    )
    assert found == pytest.approx(expected, rel=0.2)


@pytest.mark.parametrize("n_groups", [4, 20])
def test_groups_are_drawn_whole(rng: np.random.Generator, n_groups: int) -> None:
    """Groups differ in how well they are predicted, so drawing cells would promise too much."""
    groups = rng.permutation(np.arange(N_CELLS) % n_groups)
    labels = rng.integers(3, size=N_CELLS)
    is_right = rng.random(N_CELLS) < (0.2 + 0.8 * (groups % 2))
    predicted = np.where(is_right, labels, (labels + 1) % 3)
    expected = by_plain_bootstrap(macro_f1, labels, predicted, groups)
    proba = np.eye(3)[predicted]
    found = Samples(groups, rng).standard_error(CLASSES, labels, proba)
    assert found == pytest.approx(expected, rel=0.25)
    assert found > 1.5 * Samples(np.arange(N_CELLS), rng).standard_error(CLASSES, labels, proba)


def test_all_scores_are_taken_on_the_same_samples(rng: np.random.Generator) -> None:
    """Two tasks that are alike vary alike; so their mean varies as much as each."""
    labels, predicted = make_classes(rng)
    proba = np.eye(3)[predicted]
    samples = Samples(np.arange(N_CELLS), rng)
    one, other = (samples.scores(CLASSES, labels, proba) for _ in range(2))
    assert one.shape == (N_BOOTSTRAPS,)
    np.testing.assert_array_equal(one, other)
    assert samples.standard_error_of_mean(
        [CLASSES] * 2, [labels] * 2, [proba] * 2
    ) == pytest.approx(samples.standard_error(CLASSES, labels, proba))


def test_standard_error_of_the_mean_over_tasks(rng: np.random.Generator) -> None:
    labels, predicted = make_classes(rng)
    values, guessed = make_numbers(rng)

    def mean(cells: Any, _: Any) -> float:
        return (
            macro_f1(labels[cells], predicted[cells]) + r2_score(values[cells], guessed[cells])
        ) / 2

    expected = by_plain_bootstrap(mean, np.arange(N_CELLS), np.arange(N_CELLS))
    found = Samples(np.arange(N_CELLS), rng).standard_error_of_mean(
        [CLASSES, NUMBER], [labels, values], [np.eye(3)[predicted], guessed]
    )
    assert found == pytest.approx(expected, rel=0.2)


def test_nothing_to_judge_by(rng: np.random.Generator) -> None:
    samples = Samples(np.arange(3), rng)
    assert np.isnan(samples.standard_error(CLASSES, np.full(3, -1), np.eye(3)))
    assert np.isnan(samples.standard_error(NUMBER, np.full(3, np.nan), np.zeros(3)))
    assert np.isnan(samples.standard_error(NUMBER, np.ones(3), np.zeros(3)))
    assert np.isnan(samples.standard_error_of_mean([NUMBER], [np.ones(3)], [np.zeros(3)]))


def test_one_group_tells_nothing_about_the_next(rng: np.random.Generator) -> None:
    labels, predicted = make_classes(rng)
    samples = Samples(np.zeros(N_CELLS, dtype=int), rng)
    proba = np.eye(3)[predicted]
    assert np.isnan(samples.scores(CLASSES, labels, proba)).all()
    assert np.isnan(samples.standard_error(CLASSES, labels, proba))
    assert np.isnan(samples.standard_error_of_mean([CLASSES], [labels], [proba]))


def test_no_cells(rng: np.random.Generator) -> None:
    samples = Samples(np.empty(0, dtype=int), rng)
    assert np.isnan(samples.standard_error(NUMBER, np.empty(0), np.empty(0)))
