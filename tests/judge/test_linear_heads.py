"""Linear heads against scikit-learn on each fold, and their derivatives against differences."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import log_softmax
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import f1_score, r2_score

from yoto_sc.judge._linear_heads import LINEAR_HEADS, LogisticHead, RidgeHead

N_OBS, N_GENES, N_CLASSES = 120, 6, 4  # class 3 does not occur


@pytest.fixture(scope="module")
def cells():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(N_OBS, N_GENES))
    codes = (2 * values[:, :3] + rng.gumbel(size=(N_OBS, 3)) + [1, 0, 0]).argmax(axis=1)
    numbers = values @ rng.normal(size=N_GENES) + rng.normal(size=N_OBS)
    return values.astype(np.float32), codes, numbers


def folds_of(seen, n_folds=4):
    fold = np.arange(N_OBS) % n_folds
    return [((fold != f) & seen, (fold == f) & seen) for f in range(n_folds)]


WEIGHTS = np.vstack([np.ones(N_OBS), np.random.default_rng(1).integers(0, 3, (7, N_OBS))]).astype(
    np.float32
)


def cell_weights(codes):
    """A cell of a class of n cells weighs n ** -0.5, and all cells 1 on average."""
    counts = {code: (codes == code).sum() for code in set(codes[codes >= 0])}
    weights = np.array([counts[code] ** -0.5 if code >= 0 else 0.0 for code in codes])
    return weights / weights[codes >= 0].mean()


def cross_validated(values, codes, folds):
    """Probabilities of all classes, for the cells that are judged."""
    proba, weights = np.zeros((N_OBS, N_CLASSES)), cell_weights(codes)
    for train, test in folds:
        model = LogisticRegression(tol=1e-8, max_iter=2000)
        model.fit(values[train], codes[train], weights[train])
        proba[np.ix_(test, model.classes_)] = model.predict_proba(values[test])
    return proba


def error_of(log_proba, codes, seen):
    """Weighted cross-entropy, relative to that of the best constant guess."""
    weights = cell_weights(codes)
    share = np.array([weights[codes == code].sum() for code in range(N_CLASSES)])
    share = share[share > 0] / share.sum()
    loss = -log_proba[np.arange(N_OBS), codes]
    return np.average(loss[seen], weights=weights[seen]) / -(share * np.log(share)).sum()


def test_heads_have_the_names_that_kinds_of_tasks_give():
    assert LINEAR_HEADS["logistic"] is LogisticHead
    assert LINEAR_HEADS["ridge"] is RidgeHead


@pytest.mark.parametrize("missing", [0.0, 0.3])
def test_logistic_head(cells, missing):
    values, codes, _ = cells
    codes = np.where(np.random.default_rng(2).random(N_OBS) < missing, -1, codes)
    seen = codes >= 0
    folds = folds_of(seen)
    judgement = LogisticHead(codes, folds, WEIGHTS, N_CLASSES).fit(values)
    proba = cross_validated(values, codes, folds)
    predicted = proba.argmax(axis=1)
    for score, times in zip(judgement.scores, WEIGHTS.astype(int), strict=True):
        true = codes[seen].repeat(times[seen])
        expected = f1_score(true, predicted[seen].repeat(times[seen]), average="macro")
        assert score == pytest.approx(expected, abs=0.02)
    by_class = f1_score(codes[seen], predicted[seen], labels=[0, 1, 2], average=None)
    np.testing.assert_allclose(judgement.by_class[0][:3], by_class, atol=0.02)
    assert np.isnan(judgement.by_class[0][3])
    log_proba = np.log(np.maximum(proba, 1e-12))
    assert judgement.error == pytest.approx(error_of(log_proba, codes, seen), rel=1e-3)


def test_derivatives_of_the_logistic_error(cells):
    values, codes, _ = cells
    codes = np.where(np.arange(N_OBS) % 7 == 0, -1, codes % 3)
    seen = codes >= 0
    folds = folds_of(seen)
    judgement = LogisticHead(codes, folds, WEIGHTS, 3).fit(values)
    proba = cross_validated(values, codes, folds)[:, :3]
    logits = np.log(np.maximum(proba, 1e-12))

    def error(cell, output, step):
        moved = logits.copy()
        moved[cell, output] += step
        return error_of(log_softmax(moved, axis=1), codes, seen)

    for cell, output in ((1, 0), (5, 1), (17, 2), (30, 0)):
        low, middle, high = (error(cell, output, step) for step in (-0.01, 0, 0.01))
        assert judgement.slopes[cell, output] == pytest.approx((low - high) / 0.02, rel=0.02)
        assert judgement.curvatures[cell, output] == pytest.approx(
            (high - 2 * middle + low) / 1e-4, rel=0.02, abs=1e-6
        )
    for derivative in (judgement.slopes, judgement.curvatures):
        assert derivative.shape == (N_OBS, 3)
        assert derivative.dtype == np.float32
        assert not derivative[~seen].any()


@pytest.mark.parametrize("correlation", [0.0, 0.8, -0.5])
def test_a_refit_finds_what_a_fit_from_scratch_does(cells, correlation):
    """Where the head starts from does not matter."""
    values, codes, _ = cells
    folds = folds_of(codes >= 0)
    changed = values.copy()
    changed[:, 2] = np.random.default_rng(3).normal(size=N_OBS)
    head = LogisticHead(codes, folds, WEIGHTS, N_CLASSES)
    head.fit(values)
    refitted = head.refit(changed, 2, correlation)
    anew = LogisticHead(codes, folds, WEIGHTS, N_CLASSES).fit(changed)
    assert refitted.error == pytest.approx(anew.error, rel=1e-3)
    np.testing.assert_allclose(refitted.scores, anew.scores, atol=0.03)


def test_refits_leave_the_head_as_it_is(cells):
    values, codes, _ = cells
    head = LogisticHead(codes, folds_of(codes >= 0), WEIGHTS, N_CLASSES)
    head.fit(values)
    once = head.refit(values[:, ::-1].copy(), 0, 0.0)
    again = head.refit(values[:, ::-1].copy(), 0, 0.0)
    np.testing.assert_array_equal(once.slopes, again.slopes)


@pytest.mark.parametrize("missing", [0.0, 0.3])
def test_ridge_head(cells, missing):
    values, _, numbers = cells
    numbers = np.where(np.random.default_rng(2).random(N_OBS) < missing, np.nan, numbers)
    seen = ~np.isnan(numbers)
    folds = folds_of(seen)
    head = RidgeHead(numbers, folds, WEIGHTS, 1)
    judgement = head.fit(values)
    predicted = np.zeros(N_OBS)
    for train, test in folds:
        predicted[test] = Ridge().fit(values[train], numbers[train]).predict(values[test])
    for score, times in zip(judgement.scores, WEIGHTS.astype(int), strict=True):
        expected = r2_score(numbers[seen].repeat(times[seen]), predicted[seen].repeat(times[seen]))
        assert score == pytest.approx(expected, rel=1e-4)
    assert judgement.error == pytest.approx(1 - r2_score(numbers[seen], predicted[seen]), rel=1e-4)
    assert len(judgement.by_class[0]) == 0
    total = ((numbers[seen] - numbers[seen].mean()) ** 2).sum()
    slopes = np.where(seen, 2 * (np.nan_to_num(numbers) - predicted) / total, 0)
    np.testing.assert_allclose(judgement.slopes[:, 0], slopes, rtol=1e-3, atol=1e-7)
    np.testing.assert_allclose(judgement.curvatures[:, 0], 2 * seen / total, rtol=1e-4)
    np.testing.assert_array_equal(head.refit(values, 3, 0.5).slopes, judgement.slopes)


def test_a_fold_of_one_class_predicts_that_class(cells):
    values, codes, _ = cells
    train = codes == 1
    judgement = LogisticHead(codes, [(train, ~train)], WEIGHTS, N_CLASSES).fit(values)
    assert judgement.scores[0] == 0  # no other cell is of class 1
    assert np.isfinite(judgement.error)
    head = LogisticHead(codes, [(train, ~train)], WEIGHTS, N_CLASSES)
    head.fit(values)
    assert head.refit(values, 0, 0.0).scores[0] == 0


@pytest.mark.parametrize("empty", ["train", "test"])
def test_nothing_to_learn_from_or_to_judge(cells, empty):
    values, codes, numbers = cells
    none, rest = np.zeros(N_OBS, dtype=bool), np.ones(N_OBS, dtype=bool)
    folds = [(none, rest)] if empty == "train" else [(rest, none)]
    logistic = LogisticHead(codes, folds, WEIGHTS, N_CLASSES).fit(values)
    ridge = RidgeHead(numbers, folds, WEIGHTS, 1).fit(values)
    for judgement, n_outputs, n_classes in ((logistic, N_CLASSES, N_CLASSES), (ridge, 1, 0)):
        assert judgement.scores.shape == (8,)
        assert np.isnan(judgement.scores).all()
        assert judgement.by_class[0].shape == (n_classes,)
        assert np.isnan(judgement.by_class[0]).all()
        assert judgement.error == 0
        assert judgement.slopes.shape == (N_OBS, n_outputs)
        assert not judgement.slopes.any()
        assert not judgement.curvatures.any()


def test_equal_numbers_cannot_be_judged(cells):
    values, codes, _ = cells
    judgement = RidgeHead(np.full(N_OBS, 2.0), folds_of(codes >= 0), WEIGHTS, 1).fit(values)
    assert np.isnan(judgement.scores).all()
    assert judgement.error == 0
