"""Of very many classes, only the closest pairs are told apart."""

from __future__ import annotations

import numpy as np
import pytest

from yoto_sc.select import (
    Classes,
    Screening,
    _pairs,
    _targets,
    confusion_without,
    stepwise_blocks,
    stepwise_order,
    survey,
)
from yoto_sc.select._moments import PairCriterion, mean_lambda, mean_lambda_of
from yoto_sc.select._pairs import closest_pairs, partners, some_pairs, strongest_genes

N_CLASSES, N_VARS, PER_GROUP = 40, 30, 4


@pytest.fixture(scope="module")
def cells():
    """Classes in groups of four: genes 0 to 9 tell groups apart, 10 to 14 classes within them."""
    rng = np.random.default_rng(0)
    codes = np.repeat(np.arange(N_CLASSES), 30)
    means = np.zeros((N_CLASSES, N_VARS))
    means[:, :10] = 4 * rng.normal(size=(N_CLASSES // PER_GROUP, 10)).repeat(PER_GROUP, axis=0)
    means[:, 10:15] = 1.5 * rng.normal(size=(N_CLASSES, 5))
    values = (means[codes] + rng.normal(size=(len(codes), N_VARS))).astype(np.float32)
    return values, codes


@pytest.fixture
def few(monkeypatch):
    """Let 10 classes be very many."""
    monkeypatch.setattr(_targets, "MANY_CLASSES", 10)
    monkeypatch.setattr(_pairs, "_MOST_PAIRS", 4 * N_CLASSES)


def same_group(pairs):
    return (pairs[:, 0] // PER_GROUP == pairs[:, 1] // PER_GROUP).mean()


def test_the_closest_pairs_are_those_of_one_group(cells):
    values, codes = cells
    moments = Classes(codes).moments(values)
    n_cells = np.full(N_CLASSES, 30.0)
    pairs = closest_pairs(moments.means, moments.within, n_cells)
    assert (pairs[:, 0] < pairs[:, 1]).all()
    assert len(np.unique(pairs, axis=0)) == len(pairs)
    # There are more neighbours than classes of a group here: all of the group are among them.
    within = {(a, b) for a in range(40) for b in range(a + 1, 40) if a // 4 == b // 4}
    assert within <= {tuple(pair) for pair in pairs.tolist()}


def test_classes_of_few_cells_are_no_farther(monkeypatch):
    """The mean of one cell lies far from everything, but not farther than it would by chance."""
    monkeypatch.setattr(_pairs, "_MOST_PAIRS", 0)  # three neighbours each
    n_cells = np.append(1.0, np.full(9, 1000.0))
    found, blind = 0, 0
    for seed in range(10):
        rng = np.random.default_rng(seed)
        means = 0.5 * rng.normal(size=(10, 9))
        means[0] += rng.choice([-1, 1], size=9)
        found += len(partners(closest_pairs(means, np.eye(9), n_cells), 10)[0])
        blind += len(partners(closest_pairs(means, np.eye(9), np.full(10, 1e9)), 10)[0])
    assert found > blind >= 30  # the least is that of its own neighbours


def test_all_pairs_are_near_if_there_are_few_classes():
    rng = np.random.default_rng(0)
    pairs = closest_pairs(rng.normal(size=(5, 8)), np.eye(8), np.full(5, 9.0))
    assert len(pairs) == 10
    near = partners(pairs, 5)
    assert [one.tolist() for one in near] == [[b for b in range(5) if b != a] for a in range(5)]


def test_partners_of_some_pairs():
    near = partners(np.array([[0, 3], [2, 3]]), 5)
    assert [one.tolist() for one in near] == [[3], [], [3], [0, 2], []]


def test_strongest_genes_are_those_by_which_classes_differ(monkeypatch):
    monkeypatch.setattr(_pairs, "_N_GENES", 2)
    means = np.array([[0, 1, 0, 5.0], [0, -1, 0.1, 0]])
    assert strongest_genes(means).tolist() == [1, 3]


def test_random_pairs_are_of_two_classes_and_the_same_every_time():
    pairs = some_pairs(300)
    assert (pairs[:, 0] != pairs[:, 1]).all()
    assert 0 <= pairs.min() <= pairs.max() < 300
    np.testing.assert_array_equal(pairs, some_pairs(300))


@pytest.mark.parametrize("weights", [None, np.linspace(0.5, 2, 9)])
def test_all_pairs_in_a_list_are_all_pairs(weights):
    rng = np.random.default_rng(0)
    means = rng.normal(size=(9, 7))
    pairs = np.array([(a, b) for a in range(9) for b in range(a + 1, 9)])
    np.testing.assert_allclose(
        mean_lambda_of(pairs, means, weights=weights), mean_lambda(means, weights=weights)
    )
    listed, every = (PairCriterion(np.ones(9), which) for which in (pairs, None))
    for criterion in (listed, every):
        criterion.note(means[:, 0])
        criterion.note(means[:, 1])
    np.testing.assert_allclose(listed.left(means), every.left(means))


def test_up_to_the_limit_all_pairs_count(cells, monkeypatch):
    values, codes = cells
    exact = stepwise_order(values, [Classes(codes)], 20)
    monkeypatch.setattr(_targets, "MANY_CLASSES", N_CLASSES)
    assert Classes(codes).moments(values).pairs is None
    np.testing.assert_array_equal(stepwise_order(values, [Classes(codes)], 20), exact)
    monkeypatch.setattr(_targets, "MANY_CLASSES", N_CLASSES - 1)
    assert Classes(codes).moments(values).pairs is not None


@pytest.mark.usefixtures("few")
def test_many_classes_are_told_apart_by_the_genes_that_tell_neighbours(cells):
    values, codes = cells
    target = Classes(codes)
    pairs = target.moments(values).pairs
    assert len(pairs) <= 4 * N_CLASSES
    assert same_group(pairs) > 0.3
    order = stepwise_order(values, [target], 15)
    assert set(order[:5]) & set(range(10, 15))
    assert set(order) == set(range(15))
    np.testing.assert_array_equal(stepwise_blocks(values, [target], 15), order)


@pytest.mark.usefixtures("few")
def test_probabilities_of_many_classes_are_taken_likewise(cells):
    values, codes = cells
    soft = Classes(np.eye(N_CLASSES, dtype=np.float32)[codes])
    hard = Classes(codes)
    ours, theirs = soft.moments(values), hard.moments(values)
    np.testing.assert_array_equal(ours.pairs, theirs.pairs)
    np.testing.assert_allclose(ours.means, theirs.means, rtol=1e-4, atol=1e-5)


def test_moments_of_many_classes_are_those_of_few(cells, monkeypatch):
    values, codes = cells
    batches = np.random.default_rng(1).integers(3, size=len(codes))
    for target in (Classes(codes), Classes(codes, batches=batches)):
        dense = target.moments(values)
        monkeypatch.setattr(_targets, "MANY_CLASSES", 10)
        sparse = target.moments(values)
        monkeypatch.undo()
        np.testing.assert_allclose(sparse.means, dense.means, atol=1e-5)
        np.testing.assert_allclose(sparse.within, dense.within, atol=1e-5)


@pytest.mark.usefixtures("few")
def test_what_a_gene_adds_is_told_by_the_pairs_of_a_class(cells):
    values, codes = cells
    complete, without = confusion_without(values, Classes(codes))
    moments = Classes(codes).moments(values)
    near = partners(moments.pairs, N_CLASSES)
    precision = np.linalg.inv(moments.within)
    for a in (0, 7):
        d = moments.means[near[a]] - moments.means[a]
        lambdas = 1 / (1 + np.einsum("ij,jk,ik->i", d, precision, d) / 4)
        assert complete[a] == pytest.approx(lambdas.mean())
    assert (without >= complete[:, None] - 1e-12).all()
    assert without[:, 10:15].mean() > without[:, 20:].mean()


@pytest.mark.usefixtures("few")
def test_single_genes_are_judged_by_random_pairs(cells):
    values, codes = cells
    shuffled = np.random.default_rng(0).permutation(codes)
    screening = Screening([Classes(codes), Classes(shuffled)], against_chance=True)

    def reduce(design, seen):
        x = values.astype(np.float64)
        return design.T @ x, seen.T.astype(float) @ x**2

    survey([screening], reduce)
    assert screening.told().tolist() == [True, False]
    ranks = screening.ranks(np.array([True, False]))
    assert set(np.argsort(ranks)[:10]) <= set(range(15))
