"""Where a training starts, against the closed forms themselves on dense expression."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from yoto_sc.judge import Split
from yoto_sc.rules import Cap, GeneRules
from yoto_sc.select import Screening, stepwise_order, survey
from yoto_sc.teach import Lesson
from yoto_sc.train import _start, start_length
from yoto_sc.train._start import find_start, screen

if TYPE_CHECKING:
    from yoto_sc._problem import Problem

POWER = 0.5


def start_of(problem: Problem, train: Any, n_genes: int = 3, seed: int = 0) -> _start.Start:
    train = np.asarray(train)
    split = Split(train, np.setdiff1d(np.arange(problem.expression.n_obs), train))
    screening = screen([Lesson.of(problem, split)])[0]
    return find_start(
        Lesson.of(problem, split), screening, n_genes, POWER, np.random.default_rng(seed)
    )


def free(**rules: Any) -> GeneRules:
    return GeneRules(**{"required": np.zeros(50, dtype=bool), **rules})


# --- start_length ---


@pytest.mark.parametrize(
    ("n_genes", "expected"),
    [(1, 8), (32, 256), (125, 1000), (126, 1000), (256, 1000), (257, 257), (2000, 2000)],
)
def test_start_length(n_genes: int, expected: int) -> None:
    assert start_length(n_genes) == expected


# --- screen ---


def test_screening_sees_training_cells_only(problem: Problem, split: Split) -> None:
    """As if there were no others."""
    found = screen([Lesson.of(problem, split)])[0]
    alone = Screening(
        [
            task.target(labels[split.train])
            for task, labels in zip(problem.tasks, problem.labels, strict=True)
        ]
    )
    x = problem.expression.take(split.train, None).toarray().astype(float)
    survey([alone], lambda design, cells: (design.T @ x, cells.T.astype(float) @ x**2))
    every = np.ones(3, dtype=bool)
    np.testing.assert_array_equal(found.ranks(every), alone.ranks(every))


def test_two_splits_take_one_pass(
    problem: Problem, split: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Split(split.train[10:], np.append(split.validation, split.train[:10]))
    alone = [screen([Lesson.of(problem, one)])[0] for one in (split, other)]
    passes: list[int] = []
    reduce = type(problem.expression).reduce

    def counted(*args: Any, **kwargs: Any) -> Any:
        passes.append(1)
        return reduce(*args, **kwargs)

    monkeypatch.setattr(type(problem.expression), "reduce", counted)
    together = screen([Lesson.of(problem, one) for one in (split, other)])
    assert passes == [1]
    every = np.ones(3, dtype=bool)
    for one, expected in zip(together, alone, strict=True):
        np.testing.assert_array_equal(one.ranks(every), expected.ranks(every))
        np.testing.assert_array_equal(one.told(), expected.told())


# --- find_start ---


def test_starts_with_the_first_genes_of_the_stepwise_order(problem: Problem, split: Split) -> None:
    """There are fewer genes than screening would leave."""
    start = start_of(problem, split.train)
    values = problem.expression.take(split.train, None).toarray()
    targets = [
        task.target(labels[split.train])
        for task, labels in zip(problem.tasks, problem.labels, strict=True)
    ]
    assert start.told.all()
    order = stepwise_order(values, targets, 24, class_weight_power=POWER)
    np.testing.assert_array_equal(start.genes, np.sort(order))
    np.testing.assert_allclose(
        start.scores[np.searchsorted(start.genes, order)], 4 * (1 - np.arange(24) / 24), rtol=1e-6
    )
    assert start.scores.dtype == np.float32
    assert sorted([*start.genes, *start.others]) == list(range(50))


def test_other_genes_come_in_the_order_of_the_screening(problem: Problem, split: Split) -> None:
    start = start_of(problem, split.train)
    ranks = screen([Lesson.of(problem, split)])[0].ranks(np.ones(3, dtype=bool))
    assert (np.diff(ranks[start.others]) >= 0).all()


def test_held_out_cells_are_not_looked_at(problem: Problem, split: Split) -> None:
    start = start_of(problem, split.train)
    labels = []
    for array in problem.labels:
        changed = array.copy()
        changed[split.validation] = array[split.validation][::-1]
        labels.append(changed)
    values = problem.expression.matrix.toarray()
    values[split.validation] = 7
    strange = replace(
        problem,
        labels=tuple(labels),
        expression=replace(problem.expression, matrix=type(problem.expression.matrix)(values)),
    )
    other = start_of(strange, split.train)
    np.testing.assert_array_equal(start.genes, other.genes)
    np.testing.assert_array_equal(start.scores, other.scores)
    np.testing.assert_array_equal(start.others, other.others)


def test_tasks_that_nothing_tells_about_are_passed_over(problem: Problem, split: Split) -> None:
    rng = np.random.default_rng(0)
    noise = tuple(rng.permutation(labels) for labels in problem.labels)
    mixed = replace(problem, labels=(problem.labels[0], noise[1], noise[2]))
    start = start_of(mixed, split.train)
    assert start.told.tolist() == [True, False, False]
    alone = replace(problem, tasks=problem.tasks[:1], labels=problem.labels[:1])
    np.testing.assert_array_equal(start.genes, start_of(alone, split.train).genes)


def test_where_nothing_is_told_all_tasks_count(problem: Problem, split: Split) -> None:
    rng = np.random.default_rng(1)
    noise = tuple(rng.permutation(labels) for labels in problem.labels)
    start = start_of(replace(problem, labels=noise), split.train)
    assert start.told.all()
    assert len(start.genes) == 24


def test_one_task_counts_in_any_case(problem: Problem, split: Split) -> None:
    noise = np.random.default_rng(0).permutation(problem.labels[1])
    alone = replace(problem, tasks=problem.tasks[1:2], labels=(noise,))
    assert start_of(alone, split.train).told.tolist() == [True]


def test_required_genes_take_part_and_forbidden_ones_do_not(
    problem: Problem, split: Split
) -> None:
    worst = start_of(problem, split.train).others[-4:]
    best = start_of(problem, split.train).genes[:5]
    rules = free(
        required=np.isin(np.arange(50), worst), limits={"exclude": ~np.isin(np.arange(50), best)}
    )
    start = start_of(replace(problem, rules=rules), split.train)
    assert set(worst) <= set(start.genes)
    assert start.genes[start.required].tolist() == sorted(worst)
    assert not set(best) & {*start.genes, *start.others}
    assert sorted([*start.genes, *start.others]) == np.flatnonzero(rules.allowed).tolist()


def test_a_preference_moves_genes_and_scores(problem: Problem, split: Split) -> None:
    plain = start_of(problem, split.train)
    last, first = plain.others[3], plain.genes[plain.scores.argmax()]
    preference = np.ones(50)
    preference[last], preference[first] = 1e6, 0.5
    start = start_of(replace(problem, rules=free(preference=preference)), split.train)
    assert last in start.genes
    of_last = start.scores[start.genes == last][0]
    assert of_last == start.scores.max()
    assert of_last > np.log(1e6)
    alike = start_of(replace(problem, rules=free(preference=np.ones(50))), split.train)
    np.testing.assert_array_equal(alike.scores, plain.scores)


@pytest.mark.parametrize("n_genes", [2, 3, 6])
def test_a_panel_of_the_start_meets_the_caps(problem: Problem, split: Split, n_genes: int) -> None:
    """Even if all but a few genes cost too much, the best of all among them."""
    plain = start_of(problem, split.train, 1)
    costs = np.full(50, 10.0)
    cheap = plain.others[-6:]
    costs[cheap] = 1
    rules = free(caps={"budget": Cap(costs, float(n_genes))})
    start = start_of(replace(problem, rules=rules), split.train, n_genes)
    assert start.rules.is_feasible(n_genes)
    panel = start.genes[start.rules.best_panel(start.scores.astype(float), n_genes)]
    assert set(panel) <= set(cheap)
    np.testing.assert_array_equal(start.rules.caps["budget"].amounts, costs[start.genes])


def test_screening_leaves_the_best_genes_to_the_stepwise_order(
    problem: Problem, split: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_start, "_N_CANDIDATES", 10)
    start = start_of(problem, split.train, 1)
    assert len(start.genes) == 8
    ranks = screen([Lesson.of(problem, split)])[0].ranks(np.ones(3, dtype=bool))
    assert set(start.genes) <= set(np.argsort(ranks, kind="stable")[:10])


def test_caps_that_screened_genes_cannot_meet(
    problem: Problem, split: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_start, "_N_CANDIDATES", 10)
    ranks = screen([Lesson.of(problem, split)])[0].ranks(np.ones(3, dtype=bool))
    costs = np.full(50, 10.0)
    costs[np.argsort(ranks)[-3:]] = 1
    rules = free(caps={"budget": Cap(costs, 2.0)})
    start = start_of(replace(problem, rules=rules), split.train, 2)
    assert start.rules.is_feasible(2)


def test_very_many_cells_are_sampled(
    problem: Problem, split: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = start_of(problem, split.train)
    np.testing.assert_array_equal(whole.genes, start_of(problem, split.train, seed=1).genes)
    monkeypatch.setattr(_start, "_STEPWISE_CELLS", 40)
    one, same, other = (start_of(problem, split.train, seed=seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one.scores, same.scores)
    assert list(one.scores) != list(other.scores) or list(one.genes) != list(other.genes)


def test_the_data_stay_as_they_are(problem: Problem, split: Split) -> None:
    copies = [labels.copy() for labels in problem.labels]
    matrix = problem.expression.matrix.copy()
    start_of(problem, split.train)
    for labels, copy in zip(problem.labels, copies, strict=True):
        np.testing.assert_array_equal(labels, copy)
    assert (problem.expression.matrix != matrix).nnz == 0


# --- large panels ---


def test_a_large_panel_is_found_at_once(
    problem: Problem, split: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its first genes are those that come one by one."""
    monkeypatch.setattr(_start, "LARGE_PANEL", 8)
    monkeypatch.setattr(_start, "_LEAST_CELLS", 10)
    start = start_of(problem, split.train, 20)
    assert start.is_final
    values = problem.expression.take(split.train, None).toarray()
    targets = [
        task.target(labels[split.train])
        for task, labels in zip(problem.tasks, problem.labels, strict=True)
    ]
    exact = stepwise_order(values, targets, 20, class_weight_power=POWER)
    np.testing.assert_array_equal(start.genes, exact)
    assert (np.diff(start.scores) < 0).all()
    assert sorted([*start.genes, *start.others]) == list(range(50))
    monkeypatch.setattr(_start, "_STEPWISE_VALUES", 30 * 50 * 3)  # 30 cells for what follows
    fewer = start_of(problem, split.train, 20)
    np.testing.assert_array_equal(fewer.genes[:8], exact[:8])
    assert set(fewer.genes) != set(exact)


def test_a_large_panel_meets_the_rules(
    problem: Problem, split: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_start, "LARGE_PANEL", 8)
    plain = start_of(problem, split.train, 20).genes
    required = np.isin(np.arange(50), np.setdiff1d(np.arange(50), plain)[-3:])
    cost = np.ones(50)
    cost[plain[:4]] = 5.0
    preference = np.ones(50)
    preference[plain[4:6]] = 1e-6
    rules = GeneRules(
        required=required,
        limits={"exclude": np.arange(50) != plain[6]},
        caps={"budget": Cap(cost, 26.0)},
        preference=preference,
    )
    start = start_of(replace(problem, rules=rules), split.train, 20)
    assert start.is_final
    assert len(set(start.genes)) == 20
    assert rules.hold(np.isin(np.arange(50), start.genes))
    assert required[start.genes[:3]].all()
    assert start.required.tolist() == [True] * 3 + [False] * 17
    assert not set(plain[4:7]) & set(start.genes)
    uncapped = start_of(replace(problem, rules=replace(rules, caps={})), split.train, 20)
    assert cost[uncapped.genes].sum() > 26
