"""Probabilities of classes, against codes, and against cells that are repeated by hand."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from yoto_sc.select import Classes, Screening, confusion_without, stepwise_order, survey

N_CLASSES = 6
CODES = np.array([2, -1, 0, 2, 5, 5, 0, -1, 5, 2] * 12)  # codes 1, 3 and 4 do not occur


def one_hot(codes):
    """Return a table of zeros and ones, rows of zeros where the code is missing."""
    return (codes[:, None] == np.arange(N_CLASSES)).astype(np.float32)


def quarters(seed=0):
    """Return probabilities that are multiples of a quarter; class 4 has none, some cells too."""
    rng = np.random.default_rng(seed)
    classes = np.array([0, 1, 2, 3, 5])
    drawn = classes[rng.integers(5, size=(len(CODES), 4)) * rng.integers(2, size=(len(CODES), 1))]
    table = (drawn[:, :, None] == np.arange(N_CLASSES)).mean(axis=1).astype(np.float32)
    table[::7] = 0
    return table


def repeated(values, table):
    """Repeat each cell four times, with one class each: what the quarters stand for."""
    times = np.rint(4 * table).astype(int)
    cells, classes = np.nonzero(times)
    return values[cells].repeat(times[cells, classes], axis=0), classes.repeat(
        times[cells, classes]
    )


def surveyed(target, values):
    screening = Screening([target])
    survey([screening], lambda weights, cells: (weights.T @ values, cells.T @ values**2))
    return screening


@pytest.fixture
def values():
    rng = np.random.default_rng(0)
    values = (rng.normal(size=(len(CODES), 6)) @ rng.normal(size=(6, 6))).astype(np.float32)
    values[:, 1] += CODES
    return values


# --- zeros and ones ---


def test_tables_of_zeros_and_ones_are_codes(values):
    soft, hard = Classes(one_hot(CODES)), Classes(CODES)
    np.testing.assert_array_equal(soft.seen, hard.seen)
    assert sp.issparse(soft.design())
    np.testing.assert_array_equal(soft.design().toarray(), hard.design().toarray())
    one, other = surveyed(soft, values), surveyed(hard, values)
    np.testing.assert_array_equal(one.sums[0][0].by_column, other.sums[0][0].by_column)
    np.testing.assert_array_equal(one.sums[0][0].squares, other.sums[0][0].squares)
    for ours, theirs in zip(
        soft.rankings(one.sums[0][0]), hard.rankings(other.sums[0][0]), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_allclose(soft.told(one.sums[0][0]), hard.told(other.sums[0][0]))
    assert soft.told(one.sums[0][0])[1] > 0.1  # something is told


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("ridge", [0.0, 0.2])
def test_tables_of_zeros_and_ones_have_the_moments_of_codes(values, power, ridge):
    soft = Classes(one_hot(CODES)).moments(values, ridge, power)
    hard = Classes(CODES).moments(values, ridge, power)
    np.testing.assert_allclose(soft.means, hard.means, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(soft.within, hard.within, rtol=1e-6, atol=1e-7)


def test_tables_of_zeros_and_ones_are_selected_for_as_codes(values):
    soft, hard = Classes(one_hot(CODES)), Classes(CODES)
    np.testing.assert_array_equal(
        stepwise_order(values, [soft], 6), stepwise_order(values, [hard], 6)
    )
    for ours, theirs in zip(
        confusion_without(values, soft), confusion_without(values, hard), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5)


# --- probabilities ---


def test_seen_are_cells_with_any_probability():
    table = quarters()
    np.testing.assert_array_equal(Classes(table).seen, np.arange(len(CODES)) % 7 != 0)


def test_design_of_probabilities_leaves_out_classes_that_do_not_occur():
    table = quarters()
    expected = np.delete(table, 4, axis=1)
    np.testing.assert_array_equal(Classes(table).design().toarray(), expected)


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
def test_moments_of_probabilities_are_those_of_repeated_cells(values, power):
    """A quarter of a cell is a cell, where there are four times as many."""
    table = quarters()
    soft = Classes(table).moments(values, 0.1, power)
    hard = Classes(repeated(values, table)[1]).moments(repeated(values, table)[0], 0.1, power)
    assert soft.means.shape == (5, 6)
    np.testing.assert_allclose(soft.means, hard.means, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(soft.within, hard.within, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
def test_moments_of_any_probabilities(values, power):
    """Each cell counts in each class, for as much as it is of it."""
    table = np.random.default_rng(1).dirichlet([0.5] * 3, size=len(CODES))
    n_of_class = table.sum(axis=0)
    weights = table * n_of_class**-power  # of each pair of a cell and a class
    weights /= weights.sum()
    x = values.astype(float)
    centre = weights.sum(axis=1) @ x
    scale = np.sqrt(weights.sum(axis=1) @ (x - centre) ** 2)
    means = weights.T @ x / weights.sum(axis=0)[:, None]
    within = 0.1 * np.eye(6)
    for c in range(3):
        rest = (x - means[c]) / scale
        within += (rest * weights[:, [c]]).T @ rest
    moments = Classes(table).moments(values, 0.1, power)
    np.testing.assert_allclose(moments.means, (means - centre) / scale, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(moments.within, within, rtol=1e-4, atol=1e-5)


def test_what_single_genes_tell_of_probabilities_is_that_of_repeated_cells(values):
    table = quarters()
    cells, codes = repeated(values.astype(float), table)
    soft, hard = Classes(table), Classes(codes)
    ours, theirs = surveyed(soft, values.astype(float)), surveyed(hard, cells)
    np.testing.assert_allclose(soft.told(ours.sums[0][0]), hard.told(theirs.sums[0][0]))
    for one, other in zip(
        soft.rankings(ours.sums[0][0]), hard.rankings(theirs.sums[0][0]), strict=True
    ):
        np.testing.assert_array_equal(one, other)


def test_probabilities_are_selected_for_as_repeated_cells(values):
    table = quarters()
    cells, codes = repeated(values, table)
    np.testing.assert_array_equal(
        stepwise_order(values, [Classes(table)], 6), stepwise_order(cells, [Classes(codes)], 6)
    )
    for ours, theirs in zip(
        confusion_without(values, Classes(table)),
        confusion_without(cells, Classes(codes)),
        strict=True,
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4)


def test_cells_without_probabilities_do_not_count(values):
    table = quarters()
    seen = table.any(axis=1)
    strange = np.where(seen[:, None], values, np.float32(99))
    ours = Classes(table).moments(strange)
    theirs = Classes(table[seen]).moments(values[seen])
    np.testing.assert_array_equal(ours.means, theirs.means)
    np.testing.assert_array_equal(ours.within, theirs.within)


def test_probabilities_in_random_order_stay_whole():
    table = quarters()
    target = Classes(table.copy())
    shuffled = target.shuffled(np.random.default_rng(0))
    np.testing.assert_array_equal(target.labels, table)
    np.testing.assert_array_equal(shuffled.seen, target.seen)
    assert (shuffled.labels != table).any()
    rows = [sorted(map(tuple, labels)) for labels in (shuffled.labels, table)]
    assert rows[0] == rows[1]


def test_one_class_of_probabilities_is_told_from_nothing(values):
    table = np.zeros((len(CODES), 3), dtype=np.float32)
    table[::2, 1] = 1
    target = Classes(table)
    assert (target.told(surveyed(target, values).sums[0][0]) == 0).all()
    assert (confusion_without(values, target)[1] == 1).all()
