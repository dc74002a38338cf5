"""Levels of one tree: found in labels, and predictions of them that agree."""

from __future__ import annotations

import json
import logging
from typing import Any

import numpy as np
import pytest

from yoto_sc.data import Categorical, Continuous, Levels, find_levels
from yoto_sc.data._levels import Level, _log_chance

LINEAGE_OF = np.array([0, 0, 1, 1, 1, 2])  # the lineage of each type


def task(name: str, n_classes: int) -> Categorical:
    return Categorical(name, tuple(f"{name}_{code}" for code in range(n_classes)))


LINEAGE, TYPE = task("lineage", 3), task("type", 6)


def make_types(n_obs: int = 600, n_classes: int = 6, seed: int = 0) -> Any:
    return np.random.default_rng(seed).integers(n_classes, size=n_obs)


def find(fine: Any, coarse: Any) -> Levels:
    return find_levels(
        [task("coarse", coarse.max() + 1), task("fine", fine.max() + 1)], [coarse, fine]
    )


def parents_of(levels: Levels) -> Any:
    return [(level.fine, level.coarse, list(level.parents)) for level in levels.levels]


# --- finding ---


def test_nested_classes_are_levels_whatever_their_order():
    types = make_types()
    labels = [types, LINEAGE_OF[types]]
    assert parents_of(find_levels([TYPE, LINEAGE], labels)) == [(0, 1, list(LINEAGE_OF))]
    assert parents_of(find_levels([LINEAGE, TYPE], labels[::-1])) == [(1, 0, list(LINEAGE_OF))]
    assert find_levels([LINEAGE, TYPE], labels[::-1]).names([LINEAGE, TYPE]) == ["", "lineage"]


def test_only_cells_with_both_labels_count():
    types = make_types()
    rng = np.random.default_rng(1)
    coarse = np.where(rng.random(600) < 0.7, -1, LINEAGE_OF[types])
    fine = np.where(rng.random(600) < 0.7, -1, types)
    assert parents_of(find(fine, coarse)) == [(1, 0, list(LINEAGE_OF))]


def test_a_class_without_a_cell_of_both_labels_has_no_known_parent():
    types = make_types()
    coarse = np.where(np.isin(types, [2, 5]), -1, LINEAGE_OF[types])
    assert parents_of(find(types, coarse)) == [(1, 0, [0, 0, -1, 1, 1, -1])]


def test_a_coarser_class_may_hold_none():
    types = make_types()
    fine = np.where(types == 5, -1, types)
    assert parents_of(find(fine, LINEAGE_OF[types])) == [(1, 0, [0, 0, 1, 1, 1])]


@pytest.mark.parametrize(("n_noisy", "is_level"), [(1, True), (2, False)])
def test_one_noisy_cell_breaks_no_tree(n_noisy, is_level):
    """A class of about 100 cells may have one."""
    types = make_types()
    coarse = LINEAGE_OF[types]
    coarse[np.flatnonzero(types == 3)[:n_noisy]] = 0
    found = find(types, coarse)
    assert parents_of(found) == ([(1, 0, list(LINEAGE_OF))] if is_level else [])


def test_a_hundredth_of_a_large_class_may_be_noise():
    types = make_types(12000)
    for share, is_level in [(0.008, True), (0.012, False)]:
        coarse = LINEAGE_OF[types]
        noisy = np.flatnonzero(types == 3)
        coarse[noisy[: int(share * len(noisy))]] = 0
        assert bool(find(types, coarse)) == is_level


def test_a_noisy_cell_is_much_of_a_small_class():
    types = np.concatenate([make_types(), np.full(5, 6)])
    coarse = np.append(LINEAGE_OF, 2)[types]
    assert find(types, coarse)
    coarse[-1] = 0
    assert not find(types, coarse)


def test_many_classes_with_a_noisy_cell_each_are_no_tree():
    types = np.repeat(np.arange(12), 20)
    coarse = types // 4
    coarse[::20] = (coarse[::20] + 1) % 3
    assert not find(types, coarse)
    more = np.arange(6000) % 3  # these cells have no type
    assert not find(np.append(types, np.full(6000, -1)), np.append(coarse, more))


def test_a_mislabelled_cell_of_a_class_that_holds_none():
    """One B cell that is said to be a kind of T cell."""
    types = make_types()
    coarse, fine = LINEAGE_OF[types], np.where(types == 5, -1, types)
    fine[np.flatnonzero(types == 5)[0]] = 1
    assert parents_of(find(fine, coarse)) == [(1, 0, [0, 0, 1, 1, 1])]


def test_unrelated_tasks_are_no_levels():
    types = make_types()
    for disease in [make_types(600, 2, 1), (make_types(600, 100, 1) == 0).astype(int)]:
        assert not find(types, disease)
        assert not find(disease, types)


def test_a_rare_class_within_noise_of_all_others_is_no_tree():
    """Less than a hundredth of the cells of each type are doublets: none of them is a type."""
    types = np.repeat(np.arange(4), 1000)
    doublet = np.zeros(4000, dtype=int)
    doublet[::125] = 1
    assert not find(types, doublet)
    assert not find(types, np.where(doublet, 2, types // 2))
    assert find(types, types // 2)


def test_one_class_that_holds_all_is_no_tree():
    """Cell types of healthy donors only do not lie within health."""
    types = make_types()
    disease = make_types(600, 2, 1)
    assert not find(np.where(disease == 0, types, -1), disease)
    types, disease = types.repeat(10), disease.repeat(10)
    sick = np.flatnonzero(disease == 1)
    types[np.delete(sick, slice(None, None, 300))] = -1  # a few have a type by mistake
    assert not find(types, disease)


def test_a_few_cells_are_no_evidence():
    """Every class of so few cells lies within one coarser class soon."""
    types = np.array([0, 0, 1, 1, 2, 2, 3])
    assert not find(types, np.array([0, 0, 0, 0, 1, 1, 1]))
    assert find(types.repeat(5), np.array([0, 0, 0, 0, 1, 1, 1]).repeat(5))


def test_the_bound_on_chance_holds():
    """Of all ways to deal the labels, no larger share makes a tree."""
    rng = np.random.default_rng(0)
    fine, coarse = np.array([0, 0, 0, 1, 1, 1, 2, 2]), np.array([0, 0, 0, 0, 0, 0, 1, 1])
    dealt = (rng.permutation(coarse) for _ in range(20000))
    trees = np.mean([all(len(set(c[fine == f])) == 1 for f in range(3)) for c in dealt])
    bound = np.exp(_log_chance(np.bincount(coarse), 3))
    assert bound == pytest.approx(2**3 / 28)
    assert trees < bound


def test_renamed_classes_are_no_levels():
    types = make_types()
    renamed = np.random.default_rng(0).permutation(6)[types]
    assert not find(types, renamed)
    tasks = [task("renamed", 6), TYPE, LINEAGE, task("again", 3)]
    lineage = LINEAGE_OF[types]
    levels = find_levels(tasks, [renamed, types, lineage, 2 - lineage])
    assert levels.names(tasks) == ["lineage", "lineage", "", ""]


def test_three_levels_hang_in_one_line():
    types, middle_of = make_types(), np.array([0, 0, 1, 1, 2, 3])
    middle, coarse_of = middle_of[types], np.array([0, 1, 1, 1])
    tasks = [task("coarse", 2), TYPE, task("middle", 4)]
    levels = find_levels(tasks, [coarse_of[middle], types, middle])
    assert parents_of(levels) == [(2, 0, list(coarse_of)), (1, 2, list(middle_of))]
    assert levels.names(tasks) == ["", "middle", "coarse"]


def test_several_trees_and_other_tasks():
    types, plates = make_types(), make_types(600, 8, 1)
    tasks = [LINEAGE, Continuous("age"), task("plate", 8), TYPE, task("batch", 3)]
    batches = np.array([0, 0, 0, 1, 1, 2, 2, 2])
    labels = [LINEAGE_OF[types], np.zeros(600, np.float32), plates, types, batches[plates]]
    levels = find_levels(tasks, labels)
    assert levels.names(tasks) == ["", "", "batch", "lineage", ""]


def test_labels_of_several_columns_are_no_codes():
    types = make_types()
    soft = np.eye(3)[LINEAGE_OF[types]]
    assert not find_levels([LINEAGE, TYPE], [soft, types])


def test_no_labels_are_no_tree():
    none = np.full(10, -1)
    assert not find_levels([LINEAGE, TYPE], [none, make_types(10)])
    assert not find_levels([LINEAGE], [make_types(10, 3)])


def test_the_share_of_the_finer_task_grows_with_its_labels():
    types = make_types()
    coarse = LINEAGE_OF[types]
    rare = np.where(np.arange(600) % 4 == 0, types, -1)
    assert find(types, coarse).levels[0].share == pytest.approx(1 / 2)
    assert find(rare, coarse).levels[0].share == pytest.approx(150 / (600 + 150))


def test_two_finer_tasks_of_one_are_averaged_with_their_weights():
    types = make_types(600, 8)
    other = (types // 4) * 2 + make_types(600, 2, 1)
    few = np.where(np.arange(600) % 2 == 0, other, -1)
    tasks = [task("coarse", 2), task("one", 8), task("other", 4)]
    levels = find_levels(tasks, [types // 4, types, few])
    assert levels.names(tasks) == ["", "coarse", "coarse"]
    proba = [random_proba(50, n, seed) for seed, n in enumerate([2, 8, 4])]
    sums = [proba[1].reshape(-1, 2, 4).sum(2), proba[2].reshape(-1, 2, 2).sum(2)]
    expected = (600 * proba[0] + 600 * sums[0] + 300 * sums[1]) / 1500
    np.testing.assert_allclose(levels.reconcile(proba)[0], expected, atol=2e-6)


# --- predictions ---

THREE = Levels((Level(2, 0, (0, 1, 1, 1), 0.6), Level(1, 2, (0, 0, 1, 1, 2, 3), 0.3)))
TWO = Levels((Level(1, 0, tuple(LINEAGE_OF.tolist()), 0.5),))
PARTLY = Levels((Level(1, 0, (0, 0, 1, 1, -1, 1, -1), 0.5),))
"""Of four lineages, the last two hold no type; two types are of unknown lineage."""


def random_proba(n_obs: int, n_classes: int, seed: int = 0, scale: float = 1.5) -> Any:
    logits = scale * np.random.default_rng(seed).standard_normal((n_obs, n_classes))
    proba = np.exp(logits)
    return (proba / proba.sum(axis=1, keepdims=True)).astype(np.float32)


def sums_of(level: Level, fine: Any, n_classes: int) -> Any:
    members = np.eye(n_classes)[np.array(level.parents)] * (np.array(level.parents) >= 0)[:, None]
    return fine.astype(float) @ members


@pytest.fixture(params=["two", "three", "partly"])
def case(request: Any) -> Any:
    """Levels, and predictions that know nothing of each other; another task comes last."""
    levels, sizes = {
        "two": (TWO, [3, 6]),
        "three": (THREE, [2, 6, 4]),
        "partly": (PARTLY, [4, 7]),
    }[request.param]
    proba = [random_proba(3000, n, seed) for seed, n in enumerate(sizes)]
    return levels, [*proba, random_proba(3000, 5, 9), np.arange(3000, dtype=np.float32)]


def test_rows_sum_to_one_in_the_given_precision(case):
    levels, proba = case
    for given, agreed in zip(proba, levels.reconcile(proba), strict=True):
        assert agreed.dtype == given.dtype
        assert agreed.shape == given.shape
        if agreed.ndim == 2:
            assert (agreed >= 0).all()
            np.testing.assert_allclose(agreed.sum(axis=1), 1, atol=1e-6)


def test_other_tasks_and_the_given_arrays_stay(case):
    levels, proba = case
    before = [array.copy() for array in proba]
    agreed = levels.reconcile(proba)
    assert agreed[-1] is proba[-1]
    assert agreed[-2] is proba[-2]
    for array, copy in zip(proba, before, strict=True):
        np.testing.assert_array_equal(array, copy)
    assert Levels().reconcile(proba)[0] is proba[0]


@pytest.mark.parametrize("case", ["two", "three"], indirect=True)
def test_a_coarser_class_has_the_sum_of_its_classes(case):
    levels, proba = case
    agreed = levels.reconcile(proba)
    for level in levels.levels:
        sums = sums_of(level, agreed[level.fine], agreed[level.coarse].shape[1])
        np.testing.assert_allclose(agreed[level.coarse], sums, atol=2e-6)


def test_classes_without_parent_or_children_leave_the_others_in_proportion():
    proba = [random_proba(3000, 4, 0), random_proba(3000, 7, 1)]
    agreed = PARTLY.reconcile(proba)
    sums = sums_of(PARTLY.levels[0], agreed[1], 4)[:, :2]
    held = agreed[0][:, :2].astype(float)
    np.testing.assert_allclose(
        sums / sums.sum(1, keepdims=True), held / held.sum(1, keepdims=True), atol=1e-4
    )
    np.testing.assert_allclose(agreed[0][:, 2:], proba[0][:, 2:], atol=2e-6)  # they hold none
    np.testing.assert_allclose(agreed[1][:, [4, 6]], proba[1][:, [4, 6]], atol=2e-6)


def test_labels_agree(case):
    levels, proba = case
    agreed = levels.reconcile(proba)
    n_changed = 0
    for level in levels.levels:
        parents = np.array(level.parents)
        coarse = agreed[level.coarse].argmax(axis=1)
        parent = parents[agreed[level.fine].argmax(axis=1)]
        can = np.isin(coarse, parents) & (parent >= 0)
        assert can.mean() > 0.3
        np.testing.assert_array_equal(parent[can], coarse[can])
        before = parents[proba[level.fine].argmax(axis=1)]
        n_changed += (before != proba[level.coarse].argmax(axis=1)).sum()
    assert n_changed > 500


def test_the_order_of_the_classes_within_one_parent_stays():
    for seed in range(5):
        proba = [random_proba(500, 3, seed), random_proba(500, 6, seed + 50)]
        agreed = TWO.reconcile(proba)[1]
        for parent in range(3):
            within = parent == LINEAGE_OF
            np.testing.assert_array_equal(
                agreed[:, within].argsort(axis=1), proba[1][:, within].argsort(axis=1)
            )


def test_where_labels_agree_anyway_it_is_an_average_and_a_division():
    proba = [random_proba(3000, 3, 0), random_proba(3000, 6, 1)]
    coarse, fine = TWO.reconcile(proba)
    for cell in range(3000):
        sums = np.bincount(LINEAGE_OF, proba[1][cell])
        expected = (proba[0][cell] + sums) / 2
        np.testing.assert_allclose(coarse[cell], expected, atol=2e-6)
        expected = proba[1][cell] * (expected / sums)[LINEAGE_OF]
        if LINEAGE_OF[expected.argmax()] == coarse[cell].argmax():
            np.testing.assert_allclose(fine[cell], expected, atol=2e-6)


def test_the_label_within_is_raised_to_the_best_one_elsewhere_by_its_sisters():
    levels = Levels((Level(1, 0, (0, 1, 1, 1), 0.5),))
    proba = [np.array([[0.4, 0.6]]), np.array([[0.4, 0.3, 0.2, 0.1]])]
    coarse, fine = levels.reconcile(proba)
    np.testing.assert_allclose(coarse, [[0.4, 0.6]], atol=2e-6)
    np.testing.assert_allclose(fine, [[0.4, 0.4, 0.2 * 2 / 3, 0.1 * 2 / 3]], atol=4e-6)
    assert fine.argmax() == 1


def test_agreeing_predictions_stay_what_they_are():
    fine = random_proba(200, 6, 0)
    agreed = TWO.reconcile([np.stack([np.bincount(LINEAGE_OF, row) for row in fine]), fine])
    same = LINEAGE_OF[fine.argmax(1)] == agreed[0].argmax(1)
    assert same.sum() > 100
    np.testing.assert_allclose(agreed[1][same], fine[same], atol=4e-6)


def test_certain_and_tied_predictions():
    """Nothing is divided by nothing, and ties are broken alike on all levels."""
    lineages = np.array([[0, 0, 1], [1, 0, 0], [0.5, 0, 0.5], [0.5, 0.5, 0]], dtype=np.float32)
    types = np.eye(6, dtype=np.float32)[[0, 1, 2, 3, 4, 5]]
    types = np.vstack([types, np.full((1, 6), 1 / 6), [[0.25, 0.25, 0, 0, 0, 0.5]]])
    pairs = [(a, b) for a in lineages for b in types.astype(np.float32)]
    proba = [np.stack(arrays) for arrays in zip(*pairs, strict=True)]
    for share in (0.0, 0.5, 1.0):
        coarse, fine = Levels((Level(1, 0, tuple(LINEAGE_OF), share),)).reconcile(proba)
        assert np.isfinite(coarse).all()
        np.testing.assert_allclose(fine.sum(axis=1), 1, atol=1e-6)
        np.testing.assert_allclose(
            coarse, sums_of(Level(1, 0, tuple(LINEAGE_OF), 0), fine, 3), atol=4e-6
        )
        np.testing.assert_array_equal(LINEAGE_OF[fine.argmax(axis=1)], coarse.argmax(axis=1))


def test_each_cell_is_on_its_own(case):
    levels, proba = case
    whole = levels.reconcile(proba)
    part = levels.reconcile([array[1000:1300] for array in proba])
    for one, other in zip(whole, part, strict=True):
        np.testing.assert_array_equal(one[1000:1300], other)
    for array in levels.reconcile([array[:0] for array in proba]):
        assert len(array) == 0


# --- labels ---


def test_cells_of_a_class_that_holds_none_get_no_label():
    coarse = np.array([[0.9, 0, 0.1, 0], [0.1, 0, 0.9, 0], [0.1, 0, 0.9, 0]])
    fine = np.zeros((3, 7))
    fine[[0, 1, 2], [0, 0, 4]] = 1  # class 4 may lie within any
    without = PARTLY.without_label([coarse, fine])
    assert {position: list(mask) for position, mask in without.items()} == {
        1: [False, True, False]
    }


def test_without_a_coarser_label_there_is_no_finer_one():
    levels = Levels((Level(1, 0, (0, 0, 1), 0.5), Level(2, 1, (0, 1, 2, 2), 0.5)))
    coarse = np.array([[0.6, 0.4], [0.95, 0.05], [0.95, 0.05]])
    middle = np.array([[0.95, 0.05, 0], [0.95, 0.05, 0], [0.85, 0.15, 0]])
    fine = np.array([[0.95, 0.05, 0, 0]] * 3)
    without = levels.without_label([coarse, middle, fine], 0.9)
    assert list(without[1]) == [True, False, False]
    assert list(without[2]) == [True, False, True]
    assert not any(mask.any() for mask in levels.without_label([coarse, middle, fine]).values())


def test_what_is_said_in_the_log(caplog):
    types = make_types()
    levels = find_levels([LINEAGE, TYPE], [LINEAGE_OF[types], types])
    with caplog.at_level(logging.INFO, "yoto_sc"):
        levels.report([LINEAGE, TYPE])
    assert caplog.messages == ["'type' lies within 'lineage': their predictions agree."]
    caplog.clear()
    fine = np.where(types == 5, -1, types)
    find_levels([LINEAGE, TYPE], [LINEAGE_OF[types], fine]).report([LINEAGE, TYPE])
    assert "['lineage_2'] of 'lineage'" in caplog.text


def test_plain_types_and_back():
    assert Levels.from_list(json.loads(json.dumps(THREE.to_list()))) == THREE
    assert Levels().to_list() == []
    assert Levels.from_list([]) == Levels()
