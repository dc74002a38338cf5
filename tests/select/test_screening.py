"""Screening against scikit-learn's univariate tests."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from sklearn.feature_selection import f_classif, f_regression

from yoto_sc.select import Classes, Numbers, Screening, survey
from yoto_sc.select._screening import _most
from yoto_sc.select._targets import Sums

N_VARS = 30


def make_values(n_obs=200, n_vars=N_VARS, seed=0):
    rng = np.random.default_rng(seed)
    return np.log1p(rng.poisson(rng.uniform(0.3, 4, n_vars), (n_obs, n_vars))).astype(np.float32)


def make_codes(values, n_classes=4, seed=1):
    """Classes that depend on a few genes."""
    rng = np.random.default_rng(seed)
    logits = 3 * values[:, :5] @ rng.normal(size=(5, n_classes))
    return (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)


def make_target(values, seed=1):
    rng = np.random.default_rng(seed)
    return 50 + 7 * (values[:, :5] @ rng.normal(size=5) + rng.normal(size=len(values)))


def target_of(labels):
    """Integers are codes of classes, floats are numbers."""
    return Numbers(labels) if labels.dtype.kind == "f" else Classes(labels)


def sums_over(values, passes=None):
    """Sum dense expression over its cells, and note each pass over them."""

    def reduce(design, cells):
        if passes is not None:
            passes.append((design.shape, cells.shape))
        x = values.astype(np.float64)
        return design.T @ x, cells.T.astype(float) @ x**2, "anything else"

    return reduce


def surveyed(values, tasks, **options):
    screening = Screening([target_of(labels) for labels in tasks], **options)
    survey([screening], sums_over(values))
    return screening


def screen(values, tasks):
    """Rank all genes by all tasks."""
    return surveyed(values, tasks).ranks(np.ones(len(tasks), dtype=bool))


def told(values, tasks):
    return surveyed(values, tasks, against_chance=True).told()


def ranks(statistic):
    """Rank from 1, the largest statistic first."""
    out = np.empty(len(statistic))
    out[np.argsort(-statistic, kind="stable")] = np.arange(1, len(statistic) + 1)
    return out


def expected_ranks(values, codes):
    """Best of the rank by all classes and the ranks by each class, which take turns."""
    classes = np.unique(codes)
    single = [ranks(f_classif(values, codes == c)[0]) * len(classes) for c in classes]
    return np.minimum.reduce([ranks(f_classif(values, codes)[0]), *single])


def test_two_classes_rank_as_the_f_test():
    values = make_values()
    codes = make_codes(values, 2)
    np.testing.assert_array_equal(screen(values, [codes]), ranks(f_classif(values, codes)[0]))


@pytest.mark.parametrize("n_classes", [3, 5])
@pytest.mark.parametrize("seed", [0, 1])
def test_classes_rank_as_the_f_tests_of_all_and_of_each(n_classes, seed):
    values = make_values(seed=seed)
    codes = make_codes(values, n_classes, seed)
    np.testing.assert_array_equal(screen(values, [codes]), expected_ranks(values, codes))


@pytest.mark.parametrize("scale", [1.0, 1e-3, 1e6])
def test_a_number_ranks_as_the_f_test_of_its_regression(scale):
    values = make_values()
    target = make_target(values) * scale
    np.testing.assert_array_equal(screen(values, [target]), ranks(f_regression(values, target)[0]))


def test_a_target_with_a_large_offset():
    values = make_values()
    target = make_target(values)
    np.testing.assert_array_equal(
        screen(values, [target + 1e6]), ranks(f_regression(values, target)[0])
    )


def test_a_gene_has_the_best_rank_of_all_tasks():
    values = make_values()
    tasks = [make_codes(values, 3), make_target(values, 2), make_codes(values, 2, 3)]
    alone = [screen(values, [task]) for task in tasks]
    np.testing.assert_array_equal(screen(values, tasks), np.minimum.reduce(alone))
    np.testing.assert_array_equal(screen(values, tasks), screen(values, tasks[::-1]))


@pytest.mark.parametrize("kind", ["codes", "numbers"])
def test_cells_without_a_label_do_not_count(kind):
    values = make_values()
    labels = make_codes(values) if kind == "codes" else make_target(values)
    missing = np.random.default_rng(5).random(len(values)) < 0.4
    missing[:70] = True  # a whole block without a label
    labels[missing] = -1 if kind == "codes" else np.nan
    strange = np.where(missing[:, None], np.float32(99), values)
    np.testing.assert_array_equal(
        screen(strange, [labels]),
        screen(values[~missing], [labels[~missing]]),
    )


def test_missing_labels_of_one_task_leave_the_others_alone():
    values = make_values()
    codes, target = make_codes(values), make_target(values)
    codes[::2] = -1
    expected = np.minimum(screen(values[1::2], [codes[1::2]]), screen(values, [target]))
    np.testing.assert_array_equal(screen(values, [codes, target]), expected)


def received(screening):
    """All sums that a screening has got, one after the other."""
    flat = [sums for of_task in screening.sums for sums in of_task]
    return [
        *(sums.by_column for sums in flat),
        *(of_task[0].squares for of_task in screening.sums),
    ]


def test_two_screenings_take_one_pass_and_get_what_each_would_alone():
    values = make_values()
    tasks = [make_groups(values), make_target(values)]
    unseen = np.arange(200) >= 150
    others = [np.where(unseen, -1, make_groups(values, 3)), np.where(unseen, np.nan, tasks[1])]

    def make(labels):
        return Screening([target_of(task) for task in labels], against_chance=True)

    together, passes = [make(tasks), make(others)], []
    survey(together, sums_over(values, passes))
    # Three shuffled versions of each design come with it; squares are the same for all four.
    assert passes == [((200, 4 * (4 + 2) + 4 * (3 + 2)), (200, 4))]
    for screening, labels in zip(together, (tasks, others), strict=True):
        alone = make(labels)
        survey([alone], sums_over(values))
        assert len(received(screening)) == len(received(alone)) == 2 * 4 + 2
        for one, other in zip(received(screening), received(alone), strict=True):
            np.testing.assert_array_equal(one, other)
        every = np.ones(2, dtype=bool)
        np.testing.assert_array_equal(screening.ranks(every), alone.ranks(every))
        np.testing.assert_array_equal(screening.told(), alone.told())
    assert (together[0].ranks(every) != together[1].ranks(every)).any()


def test_without_a_question_about_chance_there_is_nothing_to_shuffle():
    values = make_values()
    passes = []
    screening = Screening([Classes(make_groups(values)), Numbers(make_target(values))])
    survey([screening], sums_over(values, passes))
    assert passes == [((200, 4 + 2), (200, 2))]


def test_ranks_are_the_same_whether_chance_is_asked_about_or_not():
    values = make_values()
    tasks = [make_codes(values), make_target(values)]
    every = np.ones(2, dtype=bool)
    np.testing.assert_array_equal(
        surveyed(values, tasks, against_chance=True).ranks(every), screen(values, tasks)
    )


def test_sums_may_come_from_blocks_of_any_size():
    """By the interface to expression, in as many pieces as it likes."""
    values = make_values()
    tasks = [make_codes(values), make_target(values)]

    def in_pieces(design, cells):
        parts = [slice(start, start + 7) for start in range(0, 200, 7)]
        sums = [sums_over(values[part])(design[part], cells[part])[:2] for part in parts]
        return tuple(np.sum(part, axis=0) for part in zip(*sums, strict=True))

    screening = Screening([target_of(labels) for labels in tasks])
    survey([screening], in_pieces)
    np.testing.assert_array_equal(screening.ranks(np.array([True, True])), screen(values, tasks))


def test_ranks_of_some_tasks_only():
    values = make_values()
    tasks = [make_codes(values, 3), make_target(values, 2)]
    screening = surveyed(values, tasks)
    for position, task in enumerate(tasks):
        np.testing.assert_array_equal(
            screening.ranks(np.arange(2) == position), screen(values, [task])
        )


def test_gaps_in_the_codes_do_not_matter():
    values = make_values()
    codes = make_codes(values)
    np.testing.assert_array_equal(screen(values, [codes * 5 + 2]), screen(values, [codes]))


def test_rare_classes_keep_their_genes():
    """A marker of 3 cells among 400 ranks among the first, though its F over all is small."""
    rng = np.random.default_rng(0)
    codes = np.repeat([0, 1, 2], [200, 197, 3])
    values = rng.normal(2, 1, (400, 40)).astype(np.float32).clip(0)
    values[:, :30] += 1.5 * (codes == 1)[:, None]
    values[:, 35] += 2.5 * (codes == 2)
    assert ranks(f_classif(values, codes)[0])[35] > 30
    assert screen(values, [codes])[35] == 3  # the first of its class's list


def test_genes_that_never_vary_come_last():
    values = make_values()
    codes = make_codes(values)
    values[:, 3], values[:, 11] = 0, 2.5
    got = screen(values, [codes])
    assert set(np.argsort(got, kind="stable")[-2:]) == {3, 11}
    target = screen(values, [make_target(make_values())])
    assert set(np.argsort(target, kind="stable")[-2:]) == {3, 11}
    assert np.isfinite(got).all()


def test_inputs_are_not_changed():
    values = make_values()
    labels = [make_codes(values), make_target(values)]
    copies = [values.copy(), *(task.copy() for task in labels)]
    screen(values, labels)
    for array, copy in zip([values, *labels], copies, strict=True):
        np.testing.assert_array_equal(array, copy)


def make_groups(values, n_classes=4):
    """Classes of equal size, by the order of a number that depends on a few genes."""
    return np.argsort(np.argsort(make_target(values))) * n_classes // len(values)


def told_by_each(values, labels):
    """How much each gene alone tells about a task."""
    target = target_of(labels)
    x = values.astype(np.float64)
    return target.told(Sums(target.design().T @ x, target.seen @ x**2))


def test_what_genes_tell_is_the_mean_wilks_lambda_of_the_pairs():
    values = make_values(n_vars=6)
    codes = make_groups(values)
    expected = []
    for x in values.astype(float).T:
        parts = [x[codes == c] for c in np.unique(codes)]
        within = sum(len(part) * part.var() for part in parts) / len(x) + 0.1 * x.var()
        pairs = [(a.mean() - b.mean()) ** 2 / within for a, b in combinations(parts, 2)]
        expected.append(1 - np.mean([1 / (1 + d / 4) for d in pairs]))
    np.testing.assert_allclose(told_by_each(values, codes), expected, rtol=1e-4)


def test_what_genes_tell_of_a_number_is_r2():
    values = make_values()
    target = make_target(values)
    r2 = [np.corrcoef(gene, target)[0, 1] ** 2 for gene in values.T]
    np.testing.assert_allclose(told_by_each(values, target), r2, rtol=1e-4)


@pytest.mark.parametrize("n_vars", [4, 10, 30])
def test_a_task_is_judged_by_its_ten_best_genes(n_vars):
    values = np.random.default_rng(0).random(n_vars)
    assert _most(values) == pytest.approx(np.mean(sorted(values)[-10:]))


def test_tasks_that_expression_tells_about_are_told():
    values = make_values()
    missing = make_groups(values)
    missing[::2] = -1
    tasks = [make_groups(values), make_groups(values, 2), make_target(values), missing]
    assert told(values, tasks).all()


@pytest.mark.parametrize("n_classes", [2, 5, 40])
def test_labels_at_random_are_not_told(n_classes):
    values = make_values(n_vars=300)
    rng = np.random.default_rng(0)
    noise = [rng.integers(n_classes, size=200), rng.normal(size=200), np.repeat([0, 1], [198, 2])]
    rng.shuffle(noise[2])
    found = told(values, [*noise, make_groups(values)])
    assert found.tolist() == [False, False, False, True]


def test_a_single_class_is_not_told():
    values = make_values()
    assert not told(values, [np.zeros(200, dtype=int)])[0]
