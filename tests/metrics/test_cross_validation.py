"""Folds are held against their definition, scores against scikit-learn's own cross-validation."""

from __future__ import annotations

import joblib
import numpy as np
import pytest
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.metrics import r2_score
from sklearn.model_selection import GroupKFold, KFold, cross_val_score
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from yoto_sc.metrics import cross_validated_scores, make_folds


def make_data(seed=0, n_obs=200, n_classes=3):
    rng = np.random.default_rng(seed)
    y = rng.integers(n_classes, size=n_obs)
    return rng.normal(size=(n_obs, 4)) + np.eye(n_classes, 4)[y], y


def assert_is_cross_validation(folds, labels, judged):
    """Each judged cell is held out once, every other labelled cell never."""
    observed = np.flatnonzero(labels >= 0 if labels.dtype.kind == "i" else ~np.isnan(labels))
    for train, test in folds:
        assert len(test)
        assert not set(train) & set(test)
        np.testing.assert_array_equal(np.union1d(train, test), observed)
    np.testing.assert_array_equal(np.sort(np.concatenate([t for _, t in folds])), judged)


@pytest.mark.parametrize("n_splits", [2, 5])
def test_labelled_cells_are_held_out_once(n_splits):
    _, y = make_data()
    y[::7] = -1
    folds = make_folds(y, n_splits)
    assert len(folds) == n_splits
    assert_is_cross_validation(folds, y, np.flatnonzero(y >= 0))
    shares = [np.bincount(y[test], minlength=3) for _, test in folds]
    assert np.ptp(shares, axis=0).max() <= 1  # every class gives each fold its share


def test_numbers_are_held_out_once():
    y = np.arange(20.0)
    y[3] = np.nan
    assert_is_cross_validation(make_folds(y, 4), y, np.flatnonzero(~np.isnan(y)))


def test_vectors_are_held_out_once_without_rows_that_lack_a_value():
    y = np.random.default_rng(0).normal(size=(20, 3))
    y[3, 1] = np.nan
    y[7] = np.nan
    folds = make_folds(y, 4)
    whole = np.where(np.isnan(y).any(axis=1), np.nan, y[:, 0])
    assert_is_cross_validation(folds, whole, np.setdiff1d(np.arange(20), [3, 7]))
    for ours, theirs in zip(folds, make_folds(whole, 4), strict=True):
        np.testing.assert_array_equal(ours[1], theirs[1])


def test_small_classes_are_kept():
    y = np.repeat([0, 1, 2, 3], [20, 20, 3, 1])
    folds = make_folds(y, 5)
    assert_is_cross_validation(folds, y, np.flatnonzero(y != 3))
    for train, _ in folds:
        assert set(y[train]) == {0, 1, 2, 3}


@pytest.mark.parametrize("kind", [int, float])
@pytest.mark.parametrize(("n_groups", "expected"), [(3, 3), (5, 5), (12, 5)])
def test_groups_stay_together(kind, n_groups, expected):
    _, y = make_data()
    groups = np.random.default_rng(1).integers(n_groups, size=len(y))
    groups[:9] = -1
    folds = make_folds(y.astype(kind), 5, groups=groups)
    assert len(folds) == expected
    assert_is_cross_validation(folds, y, np.arange(9, len(y)))
    for train, test in folds:
        assert not set(groups[train]) & set(groups[test])
        assert set(range(9)) <= set(train)


def test_groups_of_one_class_each_are_dealt_by_class():
    """As where a label is the donor's: half the donors are ill."""
    groups = np.repeat(np.arange(10), 8)
    folds = make_folds(groups % 2, 5, groups=groups)
    assert [set(groups[test] % 2) for _, test in folds] == [{0, 1}] * 5


def test_seed():
    _, y = make_data()
    same, other = make_folds(y, 3), make_folds(y, 3, random_state=1)
    np.testing.assert_array_equal(make_folds(y, 3)[0][1], same[0][1])
    assert not np.array_equal(same[0][1], other[0][1])


@pytest.mark.parametrize(
    ("labels", "groups", "match"),
    [
        (np.repeat([0, 1, 2], 3), None, r"n_splits=5 exceeds the 3 cells of one class"),
        (np.arange(4.0), None, r"n_splits=5 exceeds the 4 cells with a value"),
        (np.array([0, 1, -1, -1]), np.array([0, 0, 1, 1]), "are of 1 group; .* at least 2"),
        (np.repeat([0, 1], 6), np.repeat([0, 1], 6), "fewer than two classes"),
        (np.repeat([0.0, 1.0], 6), np.repeat([0, 1], 6), "fewer than two classes or values"),
        (np.ones((4, 2)), None, r"n_splits=5 exceeds the 4 cells with a value"),
        (np.repeat([[0, 1.0]], 6, axis=0), None, "fewer than two classes or values"),
    ],
)
def test_what_cannot_be_divided(labels, groups, match):
    with pytest.raises(ValueError, match=match):
        make_folds(labels, 5, groups=groups)


@pytest.mark.parametrize("metric", ["accuracy", "balanced_accuracy", "macro_f1", "log_loss"])
def test_classes_match_sklearn(metric):
    x, y = make_data()
    folds = make_folds(y, 4)
    scoring = {"macro_f1": "f1_macro", "log_loss": "neg_log_loss"}.get(metric, metric)
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    expected = cross_val_score(model, x, y, cv=folds, scoring=scoring)
    scored = cross_validated_scores(x, y, folds, "logistic_regression", n_classes=3)
    values = [r["value"] for _, r in scored if r["metric"] == metric]
    sign = -1 if metric == "log_loss" else 1
    np.testing.assert_allclose(values, sign * expected, atol=1e-12)


def test_numbers_match_sklearn():
    x, _ = make_data()
    y = x @ np.arange(4) + np.random.default_rng(2).normal(size=len(x))
    groups = np.arange(len(x)) % 11
    folds = make_folds(y, 4, groups=groups)
    model = make_pipeline(StandardScaler(), RidgeCV(np.logspace(-2, 4, 13)))
    expected = cross_val_score(model, x, y, cv=GroupKFold(4), groups=groups, scoring="r2")
    scored = cross_validated_scores(x, y, folds, "logistic_regression")
    assert {r["classifier"] for _, r in scored} == {"ridge"}
    values = [r["value"] for _, r in scored if r["metric"] == "r2"]
    np.testing.assert_allclose(values, expected, atol=1e-12)


@pytest.mark.parametrize(
    ("classifier", "estimator"),
    [
        ("logistic_regression", RidgeCV(np.logspace(-2, 4, 13))),
        ("random_forest", RandomForestRegressor(max_features=1 / 3, random_state=5)),
        ("k_neighbors", KNeighborsRegressor()),
    ],
)
@pytest.mark.filterwarnings("error")
def test_vectors_match_sklearn(classifier, estimator):
    x, _ = make_data()
    noise = np.random.default_rng(2).normal(size=(len(x), 3))
    y = x @ np.diag([3, 1, 0.2, 0])[:, :3] + noise
    y[::9, 2] = np.nan
    folds = make_folds(y, 4)
    scored = cross_validated_scores(x, y, folds, classifier, random_state=5)
    has_all = np.flatnonzero(~np.isnan(y).any(axis=1))
    for fold, (train, test) in enumerate(KFold(4, shuffle=True, random_state=0).split(has_all)):
        train, test = has_all[train], has_all[test]
        model = make_pipeline(StandardScaler(), estimator).fit(x[train], y[train])
        both = y[test], model.predict(x[test])
        ours = {
            (record["metric"], column): record["value"]
            for column, record in scored
            if record["fold"] == fold
        }
        expected = {("r2", -1): r2_score(*both, multioutput="variance_weighted")}
        expected["rmse", -1] = np.sqrt(np.mean(np.square(both[0] - both[1])))
        by_column = r2_score(*both, multioutput="raw_values")
        expected |= {("column_r2", column): value for column, value in enumerate(by_column)}
        assert ours.keys() == {*expected, ("pearson_r", -1)}
        np.testing.assert_allclose([ours[key] for key in expected], list(expected.values()))
        assert {record["n_cells"] for _, record in scored if record["fold"] == fold} == {len(test)}


@pytest.mark.parametrize("classifier", ["logistic_regression", "random_forest", "k_neighbors"])
@pytest.mark.filterwarnings("error")
def test_a_vector_of_one_column_scores_as_the_numbers(classifier):
    x, _ = make_data()
    y = x @ np.arange(4.0)
    numbers, vectors = (
        cross_validated_scores(x, labels, make_folds(labels, 2), classifier)
        for labels in (y, y[:, None])
    )
    assert [scored for scored in vectors if scored[0] < 0] == numbers
    values = [r["value"] for _, r in vectors if r["metric"] == "column_r2"]
    assert values == [r["value"] for _, r in numbers if r["metric"] == "r2"]


def test_labels_may_differ_from_fold_to_fold():
    x, _ = make_data()
    folds = make_folds(np.arange(len(x)) * 1.0, 2)
    of_folds = [x[:, :2] + fold for fold in range(2)]
    scored = cross_validated_scores(x, of_folds, folds, "k_neighbors")
    for fold in range(2):
        alone = cross_validated_scores(x, of_folds[fold], folds, "k_neighbors")
        ours, theirs = ([s for s in all_ if s[1]["fold"] == fold] for all_ in (scored, alone))
        assert ours == theirs
    with pytest.raises(ValueError, match="zip"):
        cross_validated_scores(x, of_folds[:1], folds, "k_neighbors")


def test_class_without_training_cells_counts_as_wrong():
    x, y = make_data()
    y[:10] = 2
    y[10:] %= 2
    groups = (np.arange(len(y)) >= 10).astype(int) * (1 + np.arange(len(y)) % 2)
    folds = make_folds(y, 3, groups=groups)
    scored = cross_validated_scores(x, y, folds, "k_neighbors", n_classes=3)
    (fold,) = [fold for fold, (_, test) in enumerate(folds) if 0 in test]
    of_fold = [(code, r) for code, r in scored if r["fold"] == fold]
    recalls = {code: r["value"] for code, r in of_fold if r["metric"] == "recall"}
    assert recalls[2] == 0
    assert np.isnan(recalls[0])
    assert [r["value"] for _, r in of_fold if r["metric"] == "accuracy"] == [0]


@pytest.mark.parametrize("kind", [int, float])
def test_threads_do_not_matter(kind):
    x, y = make_data()
    y = y.astype(kind)
    folds = make_folds(y, 2)
    arguments = (x, y, folds, "random_forest")
    one = cross_validated_scores(*arguments, n_classes=3)
    with joblib.parallel_config("threading", n_jobs=3):
        several = cross_validated_scores(*arguments, n_classes=3)
    assert repr(one) == repr(several)


@pytest.mark.parametrize("kind", [int, float])
def test_two_training_cells_are_enough(kind):
    y = np.array([0, 1, 0, 1]).astype(kind)
    x = y[:, None] * 1.0
    scored = cross_validated_scores(x, y, [([0, 1], [2, 3])], "k_neighbors", n_classes=2)
    assert len(scored)
