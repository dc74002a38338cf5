"""Genes that are added block by block, against the order in which they come one by one."""

from __future__ import annotations

import numpy as np
import pytest

from yoto_sc.select import Classes, Numbers, Vectors, stepwise_blocks, stepwise_order
from yoto_sc.select._blocks import _apart

N_VARS = 120


def make_values(n_obs=500, n_vars=N_VARS, seed=0):
    """Genes that follow ten programs and themselves."""
    rng = np.random.default_rng(seed)
    programs = rng.normal(size=(n_obs, 10)) @ rng.normal(size=(10, n_vars))
    values = 0.3 * programs + rng.normal(size=(n_obs, n_vars))
    return values.astype(np.float32)


def make_codes(values, n_classes=6, seed=1):
    rng = np.random.default_rng(seed)
    logits = values @ (rng.normal(size=(values.shape[1], n_classes)))
    return (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)


def make_targets(values, kind):
    rng = np.random.default_rng(2)
    codes = make_codes(values)
    batches = rng.integers(3, size=len(values))
    number = values[:, :20].sum(axis=1) + rng.normal(size=len(values))
    probabilities = (0.9 * np.eye(6)[codes] + 0.1 / 6).astype(np.float32)
    return {
        "classes": [Classes(codes)],
        "some without a label": [Classes(np.where(rng.random(len(codes)) < 0.3, -1, codes))],
        "class weights": [Classes(codes, class_weights=(3.0, 1.0, 0.5, 0.5, 0.5, 0.5))],
        "probabilities": [Classes(probabilities)],
        "batches": [Classes(codes, batches=batches)],
        "numbers": [Numbers(number)],
        "vectors": [Vectors(values[:, :8] + rng.normal(size=(len(values), 8)))],
        "tasks": [Classes(codes, 2.0), Numbers(number)],
    }[kind]


def left_open(values, targets, order):
    """The criterion after all genes of an order, by the steps one by one."""
    total = 0.0
    for target in targets:
        stepper = target.moments(values[:, order]).stepper(len(order))
        for position in range(len(order) - 1):
            stepper.add(position)
        total += target.weight * np.sqrt(stepper.left()[-1])
    return total


KINDS = [
    "classes",
    "some without a label",
    "class weights",
    "probabilities",
    "batches",
    "numbers",
    "vectors",
    "tasks",
]


@pytest.mark.parametrize("kind", KINDS)
def test_blocks_leave_open_what_single_steps_do(kind):
    values = make_values()
    targets = make_targets(values, kind)
    exact = stepwise_order(values, targets, 60)
    order = stepwise_blocks(values, targets, 60)
    assert len(set(order)) == 60
    best, found = left_open(values, targets, exact), left_open(values, targets, order)
    assert found <= 1.01 * best
    # Another choice of 60 is told apart from these.
    others = np.random.default_rng(0).permutation(N_VARS)[:60]
    assert left_open(values, targets, others) > 1.05 * best


@pytest.mark.parametrize("kind", KINDS)
def test_the_first_genes_come_one_by_one(kind):
    """The first 32 are in blocks of one."""
    values = make_values()
    targets = make_targets(values, kind)
    np.testing.assert_array_equal(
        stepwise_blocks(values, targets, 32), stepwise_order(values, targets, 32)
    )


def test_known_genes_come_first_in_their_order():
    values = make_values()
    targets = [Classes(make_codes(values))]
    first = np.array([70, 3, 99])
    order = stepwise_blocks(values, targets, 30, first=first)
    assert order[:3].tolist() == [70, 3, 99]
    assert len(set(order)) == 30
    # What follows is what comes after these genes one by one, too.
    required = np.isin(np.arange(N_VARS), first)
    np.testing.assert_array_equal(
        order[3:], stepwise_order(values, targets, 30, required=required)[3:]
    )
    assert stepwise_blocks(values, targets, 2, first=first).tolist() == [70, 3]


def test_all_genes_are_ordered_once_and_told_of():
    values = make_values(n_obs=60)  # fewer cells than genes
    told = []
    order = stepwise_blocks(
        values, [Classes(make_codes(values, 3))], 999, on_step=lambda: told.append(1)
    )
    assert sorted(order) == list(range(N_VARS))
    assert len(told) == N_VARS


def test_required_genes_come_first():
    values = make_values()
    required = np.zeros(N_VARS, dtype=bool)
    required[-40:] = True
    order = stepwise_blocks(values, [Classes(make_codes(values))], 50, required=required)
    assert set(order[:40]) == set(range(N_VARS - 40, N_VARS))
    assert not required[order[40:]].any()


def test_weights_are_factors_of_the_gains():
    values = make_values()
    targets = [Classes(make_codes(values))]
    plain = stepwise_blocks(values, targets, 60)
    np.testing.assert_array_equal(
        stepwise_blocks(values, targets, 60, weights=np.full(N_VARS, 3.0)), plain
    )
    weights = np.ones(N_VARS)
    weights[plain[:10]] = 0
    without = stepwise_blocks(values, targets, N_VARS, weights=weights)
    assert set(without[-10:]) == set(plain[:10])


def test_near_copies_are_not_taken_together():
    """Every gene has two near copies; no block holds two of three."""
    values = make_values(n_vars=100)
    rng = np.random.default_rng(0)
    noise = 0.05 * rng.normal(size=(len(values), 200))
    copied = np.hstack([values, (np.hstack([values, values]) + noise).astype(np.float32)])
    targets = [Classes(make_codes(values))]
    order = stepwise_blocks(copied, targets, 80)
    assert len(set(order % 100)) == 80
    pool = np.array([5, 105, 7, 205, 107, 9])
    tasks = [target.gradual(copied, 10) for target in targets]
    assert _apart(pool, tasks, 3).tolist() == [5, 7, 9]
    assert _apart(pool, tasks, 5).tolist() == [5, 7, 9]
    tasks[0].add(np.array([5]))
    correlations = tasks[0].correlations(np.array([105, 7]))
    np.testing.assert_allclose(np.diagonal(correlations), 1, rtol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_a_block_is_as_its_genes_one_by_one(kind):
    """What is left open does not depend on how genes are taken in."""
    values = make_values()
    genes, rest = np.array([4, 50, 51, 90, 7]), np.array([0, 1, 110])
    for target in make_targets(values, kind):
        together = target.gradual(values, 5)
        together.add(genes)
        stepper = target.moments(values).stepper(5)
        for gene in genes:
            stepper.add(int(gene))
        np.testing.assert_allclose(together.left(rest), stepper.left()[rest], rtol=2e-4)
        assert together.open() > together.left(rest).max()


def test_inputs_are_not_changed():
    values = make_values()
    before = values.copy()
    stepwise_blocks(values, make_targets(values, "tasks"), 40)
    np.testing.assert_array_equal(values, before)
