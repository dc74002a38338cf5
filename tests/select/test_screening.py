"""Screening against scikit-learn's univariate tests."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.feature_selection import f_classif, f_regression

from yoto_sc.select import screen

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
