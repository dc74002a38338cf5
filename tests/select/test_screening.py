"""Screening against scikit-learn's univariate tests."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.feature_selection import f_classif, f_regression

from yoto_sc.select import beyond_chance, screen
from yoto_sc.select._screening import _Moments

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


def blocks_of(values, size=64):
    for start in range(0, len(values), size):
        rows = slice(start, min(start + size, len(values)))
        yield rows, sp.csr_matrix(values[rows])


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
    np.testing.assert_array_equal(
        screen(blocks_of(values), [codes]), ranks(f_classif(values, codes)[0])
    )


@pytest.mark.parametrize("n_classes", [3, 5])
@pytest.mark.parametrize("seed", [0, 1])
def test_classes_rank_as_the_f_tests_of_all_and_of_each(n_classes, seed):
    values = make_values(seed=seed)
    codes = make_codes(values, n_classes, seed)
    np.testing.assert_array_equal(
        screen(blocks_of(values), [codes]), expected_ranks(values, codes)
    )


@pytest.mark.parametrize("scale", [1.0, 1e-3, 1e6])
def test_a_number_ranks_as_the_f_test_of_its_regression(scale):
    values = make_values()
    target = make_target(values) * scale
    np.testing.assert_array_equal(
        screen(blocks_of(values), [target]), ranks(f_regression(values, target)[0])
    )


def test_a_target_with_a_large_offset():
    values = make_values()
    target = make_target(values)
    np.testing.assert_array_equal(
        screen(blocks_of(values), [target + 1e6]), ranks(f_regression(values, target)[0])
    )


def test_a_gene_has_the_best_rank_of_all_tasks():
    values = make_values()
    tasks = [make_codes(values, 3), make_target(values, 2), make_codes(values, 2, 3)]
    alone = [screen(blocks_of(values), [task]) for task in tasks]
    np.testing.assert_array_equal(screen(blocks_of(values), tasks), np.minimum.reduce(alone))
    np.testing.assert_array_equal(
        screen(blocks_of(values), tasks), screen(blocks_of(values), tasks[::-1])
    )


@pytest.mark.parametrize("kind", ["codes", "numbers"])
def test_cells_without_a_label_do_not_count(kind):
    values = make_values()
    labels = make_codes(values) if kind == "codes" else make_target(values)
    missing = np.random.default_rng(5).random(len(values)) < 0.4
    missing[:70] = True  # a whole block without a label
    labels[missing] = -1 if kind == "codes" else np.nan
    strange = np.where(missing[:, None], np.float32(99), values)
    np.testing.assert_array_equal(
        screen(blocks_of(strange), [labels]),
        screen(blocks_of(values[~missing]), [labels[~missing]]),
    )


def test_missing_labels_of_one_task_leave_the_others_alone():
    values = make_values()
    codes, target = make_codes(values), make_target(values)
    codes[::2] = -1
    expected = np.minimum(
        screen(blocks_of(values[1::2]), [codes[1::2]]), screen(blocks_of(values), [target])
    )
    np.testing.assert_array_equal(screen(blocks_of(values), [codes, target]), expected)


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_blocks_of_any_size(size):
    values = make_values()
    labels = [make_codes(values), make_target(values)]
    np.testing.assert_array_equal(
        screen(blocks_of(values, size), labels), screen(blocks_of(values), labels)
    )


def test_blocks_are_passed_over_once():
    values = make_values()
    seen = []

    def once():
        for rows, block in blocks_of(values):
            seen.append(rows.start)
            yield rows, block

    screen(once(), [make_codes(values), make_target(values)])
    assert seen == sorted(set(seen)) == [0, 64, 128, 192]


def test_gaps_in_the_codes_do_not_matter():
    values = make_values()
    codes = make_codes(values)
    np.testing.assert_array_equal(
        screen(blocks_of(values), [codes * 5 + 2]), screen(blocks_of(values), [codes])
    )


def test_rare_classes_keep_their_genes():
    """A marker of 3 cells among 400 ranks among the first, though its F over all is small."""
    rng = np.random.default_rng(0)
    codes = np.repeat([0, 1, 2], [200, 197, 3])
    values = rng.normal(2, 1, (400, 40)).astype(np.float32).clip(0)
    values[:, :30] += 1.5 * (codes == 1)[:, None]
    values[:, 35] += 2.5 * (codes == 2)
    assert ranks(f_classif(values, codes)[0])[35] > 30
    assert screen(blocks_of(values), [codes])[35] == 3  # the first of its class's list


def test_genes_that_never_vary_come_last():
    values = make_values()
    codes = make_codes(values)
    values[:, 3], values[:, 11] = 0, 2.5
    got = screen(blocks_of(values), [codes])
    assert set(np.argsort(got, kind="stable")[-2:]) == {3, 11}
    target = screen(blocks_of(values), [make_target(make_values())])
    assert set(np.argsort(target, kind="stable")[-2:]) == {3, 11}
    assert np.isfinite(got).all()


def test_inputs_are_not_changed():
    values = make_values()
    labels = [make_codes(values), make_target(values)]
    copies = [values.copy(), *(task.copy() for task in labels)]
    screen(blocks_of(values), labels)
    for array, copy in zip([values, *labels], copies, strict=True):
        np.testing.assert_array_equal(array, copy)


def make_groups(values, n_classes=4):
    """Classes of equal size, by the order of a number that depends on a few genes."""
    return np.argsort(np.argsort(make_target(values))) * n_classes // len(values)


def moments_of(values, labels):
    moments = _Moments(labels)
    for rows, matrix in blocks_of(values):
        moments.add(rows, matrix)
    return moments


def test_what_genes_tell_is_the_mean_wilks_lambda_of_the_pairs():
    values = make_values(n_vars=6)
    codes = make_groups(values)
    told = []
    for x in values.astype(float).T:
        parts = [x[codes == c] for c in np.unique(codes)]
        within = sum(len(part) * part.var() for part in parts) / len(x) + 0.1 * x.var()
        pairs = [(a.mean() - b.mean()) ** 2 / within for a, b in combinations(parts, 2)]
        told.append(1 - np.mean([1 / (1 + d / 4) for d in pairs]))
    # With fewer genes than ten, the mean is over all.
    assert moments_of(values, codes).most_told() == pytest.approx(np.mean(told), rel=1e-4)


def test_what_genes_tell_of_a_number_is_r2():
    values = make_values()
    target = make_target(values)
    r2 = [np.corrcoef(gene, target)[0, 1] ** 2 for gene in values.T]
    expected = np.mean(sorted(r2)[-10:])
    assert moments_of(values, target).most_told() == pytest.approx(expected, rel=1e-4)


def test_tasks_that_expression_tells_about_are_told():
    values = make_values()
    missing = make_groups(values)
    missing[::2] = -1
    tasks = [make_groups(values), make_groups(values, 2), make_target(values), missing]
    assert beyond_chance(blocks_of(values), tasks).all()


@pytest.mark.parametrize("n_classes", [2, 5, 40])
def test_labels_at_random_are_not_told(n_classes):
    values = make_values(n_vars=300)
    rng = np.random.default_rng(0)
    noise = [rng.integers(n_classes, size=200), rng.normal(size=200), np.repeat([0, 1], [198, 2])]
    rng.shuffle(noise[2])
    found = beyond_chance(blocks_of(values), [*noise, make_groups(values)])
    assert found.tolist() == [False, False, False, True]


def test_a_single_class_is_not_told():
    values = make_values()
    assert not beyond_chance(blocks_of(values), [np.zeros(200, dtype=int)])[0]
