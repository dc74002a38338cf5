"""Splits cover all cells, hold out every class, and never tear a group apart."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yoto_sc.data import Categorical, Continuous
from yoto_sc.judge import Split, _splits, all_cells, at_most, default_validation_size, split_cells
from yoto_sc.judge._splits import bounded, fold_cells

quick = settings(deadline=None, max_examples=150, derandomize=True)


def make_codes(*sizes, seed=0):
    """Codes of classes of the given sizes, shuffled; the first size counts missing labels."""
    codes = np.repeat(np.arange(len(sizes)) - 1, sizes)
    return np.random.default_rng(seed).permutation(codes)


def tasks_of(labels):
    """Integers are codes of classes, floats are numbers."""
    return [
        Continuous(f"task {i}")
        if codes.dtype.kind == "f"
        else Categorical(f"task {i}", tuple(range(int(codes.max(initial=0)) + 1)))
        for i, codes in enumerate(labels)
    ]


def split(labels, groups=None, size=0.2, seed=0):
    groups = None if groups is None else pd.Series(groups)
    return split_cells(tasks_of(labels), labels, groups, size, np.random.default_rng(seed))


def assert_partition(parts, n_obs):
    assert isinstance(parts, Split)
    for part in (parts.train, parts.validation):
        assert part.dtype == np.intp
        assert (np.diff(part) > 0).all()  # sorted, no cell twice
    together = np.concatenate([parts.train, parts.validation])
    np.testing.assert_array_equal(np.sort(together), np.arange(n_obs))
    assert len(parts.train) > 0


def classes_of(labels):
    return set(labels[labels >= 0])


# --- cells ---


@pytest.mark.parametrize("size", [0.0, 0.1, 0.2, 0.5, 0.9])
@pytest.mark.parametrize("n_obs", [40, 101])
def test_cells_are_split_in_the_share_asked_for(size, n_obs):
    codes = np.arange(n_obs) % 4
    parts = split([codes], size=size)
    assert_partition(parts, n_obs)
    assert abs(len(parts.validation) - size * n_obs) <= 1


@pytest.mark.parametrize("seed", range(5))
def test_every_class_gives_its_share(seed):
    codes = make_codes(30, 100, 50, 20, 10, seed=seed)
    held_out = codes[split([codes], size=0.2, seed=seed).validation]
    for code, n_cells in zip(range(-1, 4), (30, 100, 50, 20, 10), strict=True):
        assert abs((held_out == code).sum() - 0.2 * n_cells) < 1


def test_combinations_of_two_tasks_give_their_share():
    first, second = np.repeat([0, 1], 100), np.tile([0, 0, 0, 1], 50)
    held_out = split([first, second], size=0.25).validation
    for a in (0, 1):
        for b, n_cells in ((0, 75), (1, 25)):
            n_held_out = ((first == a) & (second == b))[held_out].sum()
            assert abs(n_held_out - 0.25 * n_cells) <= 1


@pytest.mark.parametrize("seed", range(20))
def test_classes_of_one_cell_are_trained_on(seed):
    codes = make_codes(0, 40, 1, 1, 1, seed=seed)
    parts = split([codes], size=0.5, seed=seed)
    assert_partition(parts, len(codes))
    assert classes_of(codes[parts.train]) == {0, 1, 2, 3}
    assert classes_of(codes[parts.validation]) == {0}


def test_labels_of_a_number_are_never_all_held_out():
    for seed in range(20):
        codes = np.arange(60) % 2
        target = np.full(60, np.nan)
        target[:2] = [3.0, 5.0]
        parts = split([codes, target], size=0.5, seed=seed)
        assert set(target[parts.train]) >= {3.0, 5.0}


def test_cells_of_continuous_tasks_alone():
    target = np.random.default_rng(0).normal(size=50)
    parts = split([target], size=0.2)
    assert_partition(parts, 50)
    assert len(parts.validation) == 10


def test_the_seed_decides():
    codes = make_codes(10, 60, 40)
    parts = [split([codes], seed=seed) for seed in (0, 0, 1)]
    np.testing.assert_array_equal(parts[0].validation, parts[1].validation)
    assert list(parts[0].validation) != list(parts[2].validation)


def test_every_cell_may_be_held_out():
    codes = np.arange(30) % 3
    counts = sum(np.isin(np.arange(30), split([codes], seed=s).validation) for s in range(300))
    assert (counts > 20).all()  # 60 are expected
    assert (counts < 110).all()


label_patterns = st.integers(2, 40).flatmap(
    lambda n_obs: st.tuples(
        st.lists(
            st.one_of(
                st.lists(st.integers(-1, 5), min_size=n_obs, max_size=n_obs).map(np.array),
                st.lists(st.sampled_from([0.0, 1.5, np.nan]), min_size=n_obs, max_size=n_obs).map(
                    np.array
                ),
            ),
            min_size=1,
            max_size=3,
        ),
        st.one_of(
            st.none(),
            st.lists(st.sampled_from(["a", "b", "c", None]), min_size=n_obs, max_size=n_obs),
        ),
    )
)


def leaves_all_tasks(labels, groups, held_out):
    """Whether the cells outside one group show two values of every task."""
    rest = np.array([group != held_out for group in groups])
    seen = [set(task[rest & ~np.isnan(task)]) - {-1} for task in labels]
    return all(len(values) >= 2 for values in seen)


@quick
@given(pattern=label_patterns, size=st.floats(0, 0.99), seed=st.integers(0, 9))
def test_any_pattern_of_labels(pattern, size, seed):
    labels, groups = pattern
    if groups is not None and len(set(groups) - {None}) < 2:
        groups = ["a", "b", *groups[2:]]
    try:
        parts = split(labels, groups, size, seed)
    except ValueError:
        assert not any(leaves_all_tasks(labels, groups, out) for out in set(groups) - {None})
        return
    assert_partition(parts, len(labels[0]))
    if size == 0:
        assert len(parts.validation) == 0
    if groups is None:
        for task in labels:
            if task.dtype.kind == "i":
                assert classes_of(task[parts.train]) == classes_of(task)
            else:
                observed = task[~np.isnan(task)]
                trained = task[parts.train][~np.isnan(task[parts.train])]
                assert len(set(trained)) >= min(2, len(set(observed)))
    else:
        of = np.array([str(group) for group in groups])
        assert not set(of[parts.train]) - {"None"} & set(of[parts.validation])
        assert "None" not in of[parts.validation]


# --- groups ---


def make_groups(*sizes):
    return np.repeat([f"donor {i}" for i in range(len(sizes))], sizes)


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("dtype", [object, "category", "string"])
def test_groups_never_leak(seed, dtype):
    groups = np.random.default_rng(seed).permutation(make_groups(10, 20, 30, 40, 5))
    codes = np.arange(105) % 3
    parts = split([codes], pd.Series(groups, dtype=dtype), 0.3, seed)
    assert_partition(parts, 105)
    assert not set(groups[parts.train]) & set(groups[parts.validation])
    assert len(parts.validation) > 0


def test_groups_are_held_out_until_they_hold_the_share():
    groups = make_groups(*[10] * 20)
    codes = np.arange(200) % 2
    for size, expected in ((0.05, 10), (0.1, 20), (0.12, 30), (0.5, 100), (0.99, 190)):
        assert len(split([codes], groups, size).validation) == expected


@pytest.mark.parametrize("size", [0.01, 0.5, 0.99])
def test_of_two_groups_one_is_held_out(size):
    parts = split([np.arange(50) % 2], make_groups(40, 10), size)
    assert sorted([len(parts.train), len(parts.validation)]) == [10, 40]


def test_nothing_is_held_out_if_nothing_is_asked_for():
    assert len(split([np.arange(50) % 2], make_groups(40, 10), 0.0).validation) == 0


@pytest.mark.parametrize("missing", [None, np.nan, pd.NA])
def test_cells_of_no_group_are_trained_on(missing):
    groups = make_groups(30, 30).astype(object)
    groups[:20] = missing
    for seed in range(5):
        parts = split([np.arange(60) % 2], groups, 0.3, seed)
        assert set(range(20)) <= set(parts.train)


def test_unused_categories_are_no_groups():
    groups = pd.Categorical(make_groups(20, 20), categories=[f"donor {i}" for i in range(9)])
    for seed in range(5):
        parts = split([np.arange(40) % 2], groups, 0.2, seed)
        assert len(parts.train) == len(parts.validation) == 20


def test_classes_of_a_held_out_group_stay_held_out():
    groups = make_groups(20, 20, 20, 20)
    codes = np.where(groups == "donor 2", 2, np.arange(80) % 2)
    held_out = [split([codes], groups, 0.2, seed).validation for seed in range(20)]
    assert any(set(codes[cells]) == {2} for cells in held_out)
    assert all(len(cells) == 20 for cells in held_out)


@pytest.mark.parametrize("kind", ["codes", "numbers"])
def test_fewer_groups_are_held_out_where_a_task_could_not_be_learned(kind):
    """All labels are in two of five donors: holding out both would leave nothing to learn."""
    groups = make_groups(*[20] * 5)
    labels = (np.arange(100) % 3).astype("int64" if kind == "codes" else "float64")
    labels[~np.isin(groups, ["donor 0", "donor 1"])] = -1 if kind == "codes" else np.nan
    for seed in range(30):
        parts = split([np.arange(100) % 2, labels], groups, 0.75, seed)
        trained = labels[parts.train]
        assert len(set(trained[trained >= 0])) >= 2
        assert len(parts.validation) > 0


@pytest.mark.parametrize("kind", ["codes", "numbers"])
def test_the_only_group_with_labels_is_trained_on(kind):
    groups = make_groups(20, 20, 20)
    labels = (np.arange(60) % 2).astype("int64" if kind == "codes" else "float64")
    labels[groups != "donor 0"] = -1 if kind == "codes" else np.nan
    for seed in range(10):
        trained = labels[split([np.arange(60) % 2, labels], groups, 0.2, seed).train]
        assert len(set(trained[trained >= 0])) == 2


def test_where_every_group_is_needed_none_can_be_held_out():
    groups = make_groups(30, 30)
    first, second = np.arange(60) % 2, np.arange(60) % 3
    first[:30], second[30:] = -1, -1
    with pytest.raises(ValueError, match="Whichever group.*Label cells of more groups"):
        split([first, second], groups, 0.3)


# --- folds and sizes ---


@pytest.mark.parametrize("n_folds", [1, 2, 4, 7])
def test_folds_are_even_and_stratified(n_folds):
    codes = make_codes(20, 60, 40, 13)
    folds = fold_cells(tasks_of([codes]), [codes], n_folds, np.random.default_rng(0))
    assert folds.shape == codes.shape
    sizes = np.bincount(folds, minlength=n_folds)
    assert len(sizes) == n_folds
    assert np.ptp(sizes) <= 1
    for code in range(-1, 3):
        assert np.ptp(np.bincount(folds[codes == code], minlength=n_folds)) <= 1


def test_folds_of_continuous_tasks_alone():
    numbers = [np.linspace(0, 1, 30)]
    folds = fold_cells(tasks_of(numbers), numbers, 3, np.random.default_rng(0))
    assert np.bincount(folds).tolist() == [10, 10, 10]
    assert list(folds) != sorted(folds)


@pytest.mark.parametrize(
    ("n_obs", "expected"),
    [(10, 0.2), (1000, 0.2), (1600, 0.125), (2000, 0.1), (10**6, 0.1)],
)
def test_default_validation_size(n_obs, expected):
    assert default_validation_size(n_obs) == pytest.approx(expected)


def test_all_cells_are_trained_on():
    parts = all_cells(4)
    assert_partition(parts, 4)
    assert len(parts.validation) == 0
    assert parts.validation.dtype == np.intp


def test_at_most_so_many_cells():
    cells = np.arange(0, 100, 2)
    assert at_most(50, cells, np.random.default_rng(0)) is cells
    some = at_most(20, cells, np.random.default_rng(0))
    assert len(set(some)) == 20
    assert set(some) <= set(cells)
    assert (np.diff(some) > 0).all()
    np.testing.assert_array_equal(some, at_most(20, cells, np.random.default_rng(0)))
    assert list(some) != list(at_most(20, cells, np.random.default_rng(1)))


def test_few_cells_take_no_draw():
    rng = np.random.default_rng(0)
    at_most(50, np.arange(50), rng)
    assert rng.random() == np.random.default_rng(0).random()


def bound(labels, most, seed=0, size=0.2):
    parts = split(labels, size=size, seed=seed)
    rng = np.random.default_rng(seed)
    return parts, bounded(parts, tasks_of(labels), labels, most, rng)


def test_of_very_many_cells_some_are_learned_from_and_rare_classes_whole(monkeypatch):
    monkeypatch.setattr(_splits, "_SURE_CELLS", 20)
    codes = make_codes(0, 1500, 400, 60, 10)
    other = make_codes(1200, 750, 20, seed=1)
    whole, parts = bound([codes, other], 300)
    assert (len(parts.train), len(parts.validation)) == (300, 150)
    for part, before in ((parts.train, whole.train), (parts.validation, whole.validation)):
        assert (np.diff(part) > 0).all()
        assert np.isin(part, before).all()
    for labels in (codes, other):
        counts, before = (
            np.bincount(labels[cells][labels[cells] >= 0]) for cells in (parts.train, whole.train)
        )
        assert (counts >= np.minimum(before, 20)).all()
    # The others are as frequent as they are.
    drawn = (codes[parts.train] == 0).mean()
    assert drawn == pytest.approx((codes[whole.train] == 0).mean(), abs=0.12)


def test_of_very_many_classes_half_the_cells_are_drawn_freely():
    codes = make_codes(0, *[30] * 50, 3000)
    _, parts = bound([codes], 200)
    counts = np.bincount(codes[parts.train])
    assert len(parts.train) == 200
    assert (counts[:50] >= 1).all()
    assert counts[50] > 60


def test_few_cells_are_all_learned_from():
    codes = make_codes(5, 100, 50)
    whole, parts = bound([codes], 1000)
    np.testing.assert_array_equal(parts.train, whole.train)
    np.testing.assert_array_equal(parts.validation, whole.validation)


def test_numbers_alone_are_drawn_at_random():
    _, parts = bound([np.random.default_rng(0).normal(size=500)], 100, size=0.5)
    assert (len(parts.train), len(parts.validation)) == (100, 50)


def test_positions_among_all_cells_of_a_split():
    parts = Split(np.array([2, 7, 9]), np.array([4]))
    np.testing.assert_array_equal(parts.cells, [2, 4, 7, 9])
    among = parts.among(parts.cells)
    np.testing.assert_array_equal(among.train, [0, 2, 3])
    np.testing.assert_array_equal(among.validation, [1])
