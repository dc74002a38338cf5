"""Closed forms to which differences between batches count for nothing."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from yoto_sc.select import (
    Classes,
    Numbers,
    Screening,
    Vectors,
    batch_spread,
    stepwise_order,
    survey,
)
from yoto_sc.select._batches import batch_effects, without_batches

N_OBS, N_VARS, N_BATCHES = 600, 8, 4


def make_data(seed=0):
    """Four classes, unlike in every batch; gene 0 tells classes, and all genes are noisy."""
    rng = np.random.default_rng(seed)
    batches = rng.integers(N_BATCHES, size=N_OBS)
    codes = (batches + (rng.random(N_OBS) < 0.5) + 2 * (rng.random(N_OBS) < 0.2)) % 4
    values = rng.normal(size=(N_OBS, N_VARS)).astype(np.float32)
    values[:, 0] += codes
    return values, codes, batches


def targets(values, codes):
    noise = np.random.default_rng(1).normal(size=(len(codes), 3))
    probabilities = 0.9 * np.eye(4)[codes] + 0.025
    return {
        "classes": Classes(codes),
        "soft": Classes(probabilities.astype(np.float32)),
        "numbers": Numbers(codes + noise[:, 0]),
        "vectors": Vectors(noise + values[:, :3]),
    }


def shifted(values, batches, scale=3.0):
    shift = np.random.default_rng(2).normal(size=(N_BATCHES, values.shape[1])) * scale
    return values + shift[batches].astype(np.float32)


def surveyed(values, target):
    screening = Screening([target])

    def reduce(design, cells):
        x = values.astype(np.float64)
        return design.T @ x, cells.T.astype(float) @ x**2

    survey([screening], reduce)
    return screening


def told(values, target):
    return target.told(surveyed(values, target).sums[0][0])


def test_effects_are_those_of_least_squares():
    values, codes, batches = make_data()
    labels, columns = (sp.csr_matrix(np.eye(4)[array]) for array in (codes, batches))
    effects = batch_effects(labels, columns, labels.T @ values, columns.T @ values)
    x = np.hstack([np.eye(4)[codes], np.eye(N_BATCHES)[batches]])
    expected = np.linalg.lstsq(x, values, rcond=None)[0][4:]
    assert np.allclose(effects - effects.mean(0), expected - expected.mean(0), atol=1e-3)


def test_effects_heed_the_weights():
    values, codes, batches = make_data()
    weights = np.random.default_rng(3).uniform(0.1, 3, N_OBS)
    labels = sp.csr_matrix(np.eye(4)[codes])
    cleaned = without_batches(values, labels, batches, weights)
    x = np.hstack([np.eye(4)[codes], np.eye(N_BATCHES)[batches]])
    roots = np.sqrt(weights)[:, None]
    fitted = np.linalg.lstsq(x * roots, values * roots, rcond=None)[0][4:]
    found = (values - cleaned)[[np.flatnonzero(batches == b)[0] for b in range(N_BATCHES)]]
    assert np.allclose(found - found.mean(0), fitted - fitted.mean(0), atol=1e-3)


@pytest.mark.parametrize("kind", ["classes", "soft", "numbers", "vectors"])
def test_what_batches_add_counts_for_nothing(kind):
    values, codes, batches = make_data()
    target = targets(values, codes)[kind].within(batches)
    other = shifted(values, batches)
    assert np.allclose(told(values, target), told(other, target), atol=2e-3)
    complete, without = target.moments(values).without()
    complete_too, without_too = target.moments(other).without()
    assert np.allclose(complete, complete_too, atol=2e-3)
    assert np.allclose(without, without_too, atol=2e-3)
    plain = targets(values, codes)[kind]  # and without batches, it would count
    assert not np.allclose(told(values, plain), told(other, plain), atol=2e-2)


def test_classes_are_compared_given_the_batch():
    """Batch means hold classes, too; to take them off would take off the classes."""
    values, codes, batches = make_data()
    moments = Classes(codes).within(batches).moments(shifted(values, batches), ridge=0)
    means = moments.means[:, 0] / np.sqrt(moments.within[0, 0])
    assert np.diff(means) == pytest.approx(np.ones(3), abs=0.2)


def test_one_hot_probabilities_are_classes():
    values, codes, batches = make_data()
    hard = Classes(codes).within(batches).moments(values)
    soft = Classes(np.eye(4)[codes]).within(batches).moments(values)
    assert np.allclose(hard.means, soft.means, atol=1e-4)
    assert np.allclose(hard.within, soft.within, atol=1e-4)


@pytest.mark.parametrize("kind", ["classes", "soft", "numbers", "vectors"])
def test_of_one_batch_there_are_no_differences(kind):
    values, codes, _ = make_data()
    target = targets(values, codes)[kind]
    assert target.within(np.zeros(N_OBS, dtype=int)) is target
    assert target.within(None) is target


def test_a_class_of_one_batch_alone_is_learned():
    values, codes, batches = make_data()
    batches[codes == 3] = N_BATCHES  # and the batch holds nothing else
    target = Classes(codes).within(batches)
    values[:, 1] += 4.0 * (codes == 3)
    means = target.moments(values).means
    assert np.isfinite(means).all()
    assert abs(means[3, 1] - means[:3, 1].mean()) > 1
    assert told(values, target)[1] > 0.3
    order = stepwise_order(values, [target], 2)
    assert set(order) == {0, 1}


def test_differences_that_vary_between_batches_count_less():
    rng = np.random.default_rng(4)
    codes, batches = rng.integers(2, size=N_OBS), rng.integers(6, size=N_OBS)
    values = rng.normal(size=(N_OBS, 3)).astype(np.float32)
    values[:, 1] = 1.4 * values[:, 1] + 1.5 * codes
    values[:, 2] += 1.5 * codes + np.array([1, -1, 1, -1, 1, -1])[batches] * (codes - 0.5) * 2
    assert stepwise_order(values, [Classes(codes)], 1)[0] == 2
    assert stepwise_order(values, [Classes(codes).within(batches)], 1)[0] == 1


def test_batches_of_noise_change_little():
    values, codes, _ = make_data()
    noise = np.random.default_rng(5).integers(20, size=N_OBS)
    complete, _ = Classes(codes).moments(values).without()
    within, _ = Classes(codes).within(noise).moments(values).without()
    assert np.allclose(complete, within, atol=0.03)


def test_cells_without_a_label_tell_nothing_of_batches():
    values, codes, batches = make_data()
    codes[:200] = -1
    target = Classes(codes).within(batches)
    other = values.copy()
    other[:200] += 100
    assert np.allclose(told(values, target), told(other, target))
    first, second = target.moments(values), target.moments(other)
    assert np.allclose(first.means, second.means)


def test_spread_is_that_of_batches_beyond_chance():
    rng = np.random.default_rng(6)
    codes, batches = rng.integers(4, size=3000), rng.integers(30, size=3000)
    values = rng.normal(size=(3000, 40)) + codes[:, None]
    values[:, 20:] += rng.normal(scale=0.5, size=(30, 20))[batches]
    labels = sp.csr_matrix(np.hstack([np.ones((3000, 1)), np.eye(4)[codes]]))
    spread = batch_spread(sp.csr_matrix(values), labels, batches)
    assert spread[:20].mean() < 0.06  # by chance, effects of 100 cells have 0.1
    assert spread[20:].mean() == pytest.approx(0.5, abs=0.05)


def test_what_classes_explain_is_no_spread():
    """Nor is what classes and batches explain alike."""
    codes = np.repeat(np.arange(4), 200)
    values = 5.0 * codes[:, None] + np.random.default_rng(7).normal(size=(800, 5))
    labels = sp.csr_matrix(np.eye(4)[codes])
    batches = codes // 2 * 2 + np.tile([0, 1], 400)  # two classes in each pair of batches
    assert batch_spread(sp.csr_matrix(values), labels, batches).max() < 0.2
