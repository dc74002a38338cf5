"""Vectors, the variance of which is to be explained, against least squares."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.metrics import r2_score

from yoto_sc.select import (
    Classes,
    Numbers,
    Screening,
    Vectors,
    confusion_without,
    stepwise_order,
    survey,
)

TINY = 1e-6
N_OBS, N_VARS = 300, 6


@pytest.fixture
def values():
    """Correlated genes of unit variance."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=(N_OBS, N_VARS)) @ rng.normal(size=(N_VARS, N_VARS))
    return ((values - values.mean(axis=0)) / values.std(axis=0)).astype(np.float32)


def make_vectors(values, n_columns=4, seed=1):
    """Columns of different variance, far from zero, that the genes explain in part."""
    rng = np.random.default_rng(seed)
    vectors = values @ rng.normal(size=(values.shape[1], n_columns))
    vectors += 2 * rng.normal(size=vectors.shape)
    return 50 + vectors * rng.choice([0.3, 1.0, 4.0], size=n_columns)


def unexplained(values, vectors, genes):
    """Share of the variance over all columns that least squares leaves, for a list of genes."""
    if not len(genes):
        return 1.0
    x = values[:, list(genes)].astype(float)
    fitted = LinearRegression().fit(x, vectors).predict(x)
    return 1 - r2_score(vectors, fitted, multioutput="variance_weighted")


def unexplained_by_ridge(values, vectors, genes, ridge):
    """The same, where the variances of genes of unit variance are larger by a ridge."""
    x = values.astype(float)
    x = ((x - x.mean(axis=0)) / x.std(axis=0))[:, list(genes)]
    y = vectors - vectors.mean(axis=0)
    coef = np.atleast_2d(Ridge(alpha=ridge * len(x), fit_intercept=False).fit(x, y).coef_)
    explained = (coef * (y.T @ x)).sum()
    return 1 - explained / (y**2).sum()


def surveyed(target, values):
    screening = Screening([target])
    survey([screening], lambda weights, cells: (weights.T @ values, cells.T @ values**2))
    return screening.sums[0][0]


def squared_correlations(values, vectors):
    """Of each column with each gene, ``(n_columns, n_vars)``."""
    n = vectors.shape[1]
    return np.corrcoef(vectors.T, values.T)[:n, n:] ** 2


# --- moments ---


@pytest.mark.parametrize("n_columns", [1, 3, 60])
def test_steps_leave_what_least_squares_leaves(values, n_columns):
    vectors = make_vectors(values, n_columns)
    stepper = Vectors(vectors).moments(values, TINY).stepper(4)
    added = []
    for gene in (3, 0, 5, 2):
        expected = [unexplained(values, vectors, {*added, j}) for j in range(N_VARS)]
        np.testing.assert_allclose(stepper.left(), expected, atol=1e-4)
        stepper.add(gene)
        added.append(gene)


@pytest.mark.parametrize("ridge", [0.1, 0.5])
def test_steps_leave_what_ridge_regression_leaves(values, ridge):
    vectors = make_vectors(values)
    stepper = Vectors(vectors).moments(values, ridge).stepper(3)
    added = []
    for gene in (1, 4, 2):
        others = [j for j in range(N_VARS) if j not in added]
        expected = [unexplained_by_ridge(values, vectors, [*added, j], ridge) for j in others]
        np.testing.assert_allclose(stepper.left()[others], expected, atol=1e-4)
        stepper.add(gene)
        added.append(gene)


@pytest.mark.parametrize("n_columns", [1, 3, 60])
def test_without_a_gene_is_least_squares_on_the_others(values, n_columns):
    vectors = make_vectors(values, n_columns)
    complete, without = Vectors(vectors).moments(values, TINY).without()
    shares = vectors.var(axis=0) / vectors.var(axis=0).sum() * n_columns

    def by_column(genes):
        return [
            share * unexplained(values, column[:, None], genes)
            for share, column in zip(shares, vectors.T, strict=True)
        ]

    np.testing.assert_allclose(complete, by_column(range(N_VARS)), atol=1e-3)
    assert complete.mean() == pytest.approx(unexplained(values, vectors, range(N_VARS)), abs=1e-4)
    for gene in range(N_VARS):
        others = [j for j in range(N_VARS) if j != gene]
        np.testing.assert_allclose(without[:, gene], by_column(others), atol=1e-3)
        assert without[:, gene].mean() == pytest.approx(
            unexplained(values, vectors, others), abs=1e-4
        )


def test_without_a_gene_by_ridge(values):
    vectors = make_vectors(values)
    complete, without = confusion_without(values, Vectors(vectors), ridge=0.3)
    expected = unexplained_by_ridge(values, vectors, range(N_VARS), 0.3)
    assert complete.mean() == pytest.approx(expected, abs=1e-4)
    for gene in range(N_VARS):
        others = [j for j in range(N_VARS) if j != gene]
        expected = unexplained_by_ridge(values, vectors, others, 0.3)
        assert without[:, gene].mean() == pytest.approx(expected, abs=1e-4)


def test_units_of_genes_do_not_matter_and_those_of_columns_do(values):
    vectors = make_vectors(values)
    target = Vectors(vectors)
    other = values * np.float32([1, 10, 0.1, 3, 7, 0.5]) + 2
    np.testing.assert_allclose(
        target.moments(other).without()[1], target.moments(values).without()[1], rtol=1e-3
    )
    larger = Vectors(vectors * [1, 1, 100, 1])
    alone = Vectors(vectors[:, 2:3])
    np.testing.assert_allclose(
        larger.moments(values).without()[1].mean(axis=0),
        alone.moments(values).without()[1].mean(axis=0),
        rtol=1e-2,
    )


# --- the order of genes ---


@pytest.mark.parametrize("ridge", [TINY, 0.1])
@pytest.mark.parametrize("n_columns", [2, 5, 60])
def test_order_is_greedy(values, n_columns, ridge):
    vectors = make_vectors(values, n_columns)
    order = stepwise_order(values, [Vectors(vectors)], 4, ridge=ridge).tolist()
    assert len(set(order)) == 4
    for step, chosen in enumerate(order):
        after = {
            j: unexplained_by_ridge(values, vectors, [*order[:step], j], ridge)
            for j in range(N_VARS)
            if j not in order[:step]
        }
        assert after[chosen] <= min(after.values()) + 1e-5, f"step {step}"


def test_tasks_of_all_kinds_count_alike(values):
    """Vectors that repeat a number are this number, beside classes, too."""
    number = make_vectors(values, 1, seed=5)
    codes = (values @ np.arange(N_VARS) > 0).astype(int) + (values[:, 3] > 1)
    np.testing.assert_array_equal(
        stepwise_order(values, [Classes(codes), Vectors(number.repeat(3, axis=1))], N_VARS),
        stepwise_order(values, [Classes(codes), Numbers(number[:, 0])], N_VARS),
    )


@pytest.mark.parametrize("ridge", [TINY, 0.1, 0.5])
def test_one_column_is_a_number(values, ridge):
    rng = np.random.default_rng(3)
    for seed in range(3):
        number = make_vectors(values, 1, seed)[:, 0]
        number[rng.random(N_OBS) < 0.2] = np.nan
        one, other = Vectors(number[:, None]), Numbers(number)
        np.testing.assert_array_equal(one.seen, other.seen)
        np.testing.assert_array_equal(
            stepwise_order(values, [one], N_VARS, ridge=ridge),
            stepwise_order(values, [other], N_VARS, ridge=ridge),
        )
        for ours, theirs in zip(
            confusion_without(values, one, ridge=ridge),
            confusion_without(values, other, ridge=ridge),
            strict=True,
        ):
            np.testing.assert_allclose(ours[0], theirs[0], rtol=1e-4)
        sums = surveyed(one, values), surveyed(other, values)
        np.testing.assert_allclose(one.told(sums[0]), other.told(sums[1]))
        for ranking in one.rankings(sums[0]):
            np.testing.assert_array_equal(ranking, other.rankings(sums[1])[0])


# --- screening ---


def test_design_counts_and_standardises(values):
    vectors = make_vectors(values)
    vectors[::5, 1] = np.nan
    target = Vectors(vectors)
    design = target.design().toarray()
    seen = np.arange(N_OBS) % 5 != 0
    np.testing.assert_array_equal(target.seen, seen)
    np.testing.assert_array_equal(design[:, 0], seen)
    assert not design[~seen].any()
    observed = vectors[seen]
    expected = (observed - observed.mean(axis=0)) / observed.std(axis=0)
    np.testing.assert_allclose(design[seen, 1:], expected, atol=1e-12)


def test_single_genes_tell_r2(values):
    vectors = make_vectors(values)
    target = Vectors(vectors)
    sums = surveyed(target, values.astype(float))
    expected = [1 - unexplained(values, vectors, [j]) for j in range(N_VARS)]
    np.testing.assert_allclose(target.told(sums), expected, atol=1e-6)
    overall, *by_column = target.rankings(sums)
    np.testing.assert_array_equal(np.argsort(overall), np.argsort(expected)[::-1])
    squares = squared_correlations(values, vectors)
    assert len(by_column) == 4
    for ranking, square in zip(by_column, squares, strict=True):
        assert ranking.min() == 4  # the lists take turns
        np.testing.assert_array_equal(np.argsort(ranking), np.argsort(-square))


def test_very_many_columns_are_screened_for_by_components(values):
    """60 columns that 8 directions span: nothing is lost, and there are at most 50 lists."""
    rng = np.random.default_rng(2)
    latent = np.hstack([make_vectors(values, 4), rng.normal(size=(N_OBS, 4))])
    vectors = latent @ rng.normal(size=(8, 60))
    target = Vectors(vectors)
    design = target.design()
    assert design.shape == (N_OBS, 51)
    components = PCA(8).fit_transform(vectors)
    found = design.toarray()[:, 1:9]
    np.testing.assert_allclose(found.std(axis=0), 1)
    correlation = (found * components).mean(axis=0) / components.std(axis=0)
    np.testing.assert_allclose(np.abs(correlation), 1, atol=1e-6)
    sums = surveyed(target, values.astype(float))
    shares = vectors.var(axis=0) / vectors.var(axis=0).sum()
    expected = shares @ squared_correlations(values, vectors)
    np.testing.assert_allclose(target.told(sums), expected, atol=1e-6)
    rankings = target.rankings(sums)
    assert len(rankings) == 51
    np.testing.assert_array_equal(np.argsort(rankings[0]), np.argsort(-expected))


def test_50_columns_are_screened_for_as_they_are(values):
    vectors = make_vectors(values, 50)
    design = Vectors(vectors).design().toarray()[:, 1:]
    np.testing.assert_allclose(
        design, (vectors - vectors.mean(axis=0)) / vectors.std(axis=0), atol=1e-9
    )


# --- what is missing, or does not vary ---


def test_missing_rows_do_not_count(values):
    vectors = make_vectors(values)
    vectors[::3, 0] = np.nan  # one column is enough
    seen = np.arange(N_OBS) % 3 != 0
    strange = np.where(seen[:, None], values, np.float32(99))
    for got, expected in zip(
        confusion_without(strange, Vectors(vectors)),
        confusion_without(values[seen], Vectors(vectors[seen])),
        strict=True,
    ):
        np.testing.assert_array_equal(got, expected)
    np.testing.assert_array_equal(
        stepwise_order(strange, [Vectors(vectors)], 4),
        stepwise_order(values[seen], [Vectors(vectors[seen])], 4),
    )


def test_a_constant_column_changes_nothing(values):
    vectors = make_vectors(values, 3)
    target, other = Vectors(vectors), Vectors(np.insert(vectors, 1, 0.1, axis=1))
    np.testing.assert_array_equal(
        stepwise_order(values, [other], N_VARS), stepwise_order(values, [target], N_VARS)
    )
    without = other.moments(values).without()[1]
    assert not without[1].any()
    np.testing.assert_allclose(
        without.mean(axis=0), target.moments(values).without()[1].mean(axis=0), rtol=1e-6
    )
    sums = surveyed(target, values), surveyed(other, values)
    np.testing.assert_allclose(other.told(sums[1]), target.told(sums[0]))


@pytest.mark.parametrize("n_columns", [1, 2, 60])
def test_vectors_that_do_not_vary_stay_finite(values, n_columns):
    target = Vectors(np.full((N_OBS, n_columns), 3.0))
    assert np.isfinite(target.design().toarray()).all()
    sums = surveyed(target, values)
    assert (target.told(sums) == 0).all()
    np.testing.assert_array_equal(target.moments(values).stepper(2).left(), np.ones(N_VARS))
    assert sorted(stepwise_order(values, [target], N_VARS)) == list(range(N_VARS))


def test_a_constant_gene_comes_last(values):
    with_constant = np.insert(values, 2, 0, axis=1)
    order = stepwise_order(with_constant, [Vectors(make_vectors(values))], N_VARS)
    assert 2 not in order


def test_more_genes_than_cells(values):
    few = np.hstack([values[:5], values[5:10], values[10:15]])
    vectors = make_vectors(values)[:5]
    assert sorted(stepwise_order(few, [Vectors(vectors)], 18)) == list(range(18))


def test_vectors_in_random_order_stay_whole(values):
    vectors = make_vectors(values)
    vectors[::5] = np.nan
    target = Vectors(vectors.copy())
    shuffled = target.shuffled(np.random.default_rng(0))
    assert type(shuffled) is Vectors
    np.testing.assert_array_equal(target.labels, vectors)
    np.testing.assert_array_equal(shuffled.seen, target.seen)
    seen = target.seen
    assert (shuffled.labels[seen] != vectors[seen]).any()
    rows = [sorted(map(tuple, labels[seen])) for labels in (shuffled.labels, vectors)]
    assert rows[0] == rows[1]


def test_inputs_are_not_changed(values):
    vectors = make_vectors(values, 60)
    before = vectors.copy(), values.copy()
    target = Vectors(vectors)
    target.rankings(surveyed(target, values))
    stepwise_order(values, [target], 3)
    np.testing.assert_array_equal(vectors, before[0])
    np.testing.assert_array_equal(values, before[1])
