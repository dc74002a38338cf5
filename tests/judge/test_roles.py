"""Roles of genes: the errors in them, what is left of them, and the words for it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.metrics import log_loss

from yoto_sc.data import Categorical
from yoto_sc.judge._linear_heads import LogisticHead, RidgeHead
from yoto_sc.judge._roles import Role, find_roles, role_losses, still_kept, verdict_on
from yoto_sc.select import Classes, Profile
from yoto_sc.tl._substitutes import _worst_category

RNG = np.random.default_rng(0)
N_OBS = 120
WEIGHTS = np.vstack([np.ones(N_OBS), RNG.poisson(1, (50, N_OBS))]).astype(np.float32)
LABELS = np.arange(N_OBS) % 3
LABELS[::10] = -1
VALUES = (RNG.normal(size=(N_OBS, 3)) + 2 * np.eye(3)[LABELS]).astype(np.float32)
HALF = np.arange(N_OBS) < N_OBS // 2
FOLDS = [((LABELS >= 0) & HALF, (LABELS >= 0) & ~HALF)]


def losses(mean: float, error: float) -> Any:
    """Return a loss and samples around it with a standard error."""
    return np.array([mean, *(mean + error * np.array([-1, 1] * 50))])


def test_errors_in_a_role_are_those_of_its_classes_against_the_others() -> None:
    head = LogisticHead(LABELS, FOLDS, WEIGHTS, 3)
    judgement = head.fit(VALUES)
    judged = FOLDS[0][1]
    proba = judgement.predicted
    assert np.isnan(proba[~judged]).all()
    for marked in ([0], [1, 2]):
        errors, weights = head.role_errors(judgement, np.array(marked))
        true = np.isin(LABELS[judged], marked)
        side = proba[judged][:, marked].sum(axis=1)
        balanced = np.where(true, 1 / true.sum(), 1 / (~true).sum())
        expected = log_loss(true, side, sample_weight=balanced) / np.log(2)
        assert (weights @ errors) / weights.sum() == pytest.approx(expected)
        assert not weights[~judged].any()
    assert 0 < expected < 1


def test_errors_of_all_classes_where_none_is_marked() -> None:
    head = LogisticHead(LABELS, FOLDS, WEIGHTS, 3)
    judgement = head.fit(VALUES)
    for marked in ([], [0, 1, 2]):
        errors, weights = head.role_errors(judgement, np.array(marked, dtype=np.intp))
        assert (weights @ errors) / weights.sum() == pytest.approx(judgement.error)


def test_a_role_whose_classes_are_not_judged_has_no_loss() -> None:
    labels = np.where(HALF, LABELS, np.where(LABELS == 0, -1, LABELS))
    head = LogisticHead(labels, [(HALF & (labels >= 0), ~HALF & (labels >= 0))], WEIGHTS, 3)
    judged = [head.fit(VALUES)]
    role = Role(0, np.array([0]), np.empty(0))
    assert np.isnan(role_losses(role, head, judged, judged, WEIGHTS)).all()


@pytest.mark.parametrize("n_columns", [1, 2])
def test_squared_errors_are_in_parts_of_the_variance(n_columns: int) -> None:
    numbers = VALUES[:, :n_columns] @ np.ones((n_columns, n_columns)) + RNG.normal(
        size=(N_OBS, n_columns)
    )
    labels = numbers[:, 0] if n_columns == 1 else numbers
    head = RidgeHead(labels, [(HALF, ~HALF)], WEIGHTS, n_columns)
    judgement = head.fit(VALUES)
    errors, weights = head.role_errors(judgement, np.empty(0, dtype=np.intp))
    assert (weights @ errors) / weights.sum() == pytest.approx(judgement.error, rel=1e-4)
    unlearned = RidgeHead(labels, [], WEIGHTS, n_columns)
    assert not unlearned.role_errors(unlearned.fit(VALUES), np.empty(0, dtype=np.intp))[1].any()


def test_losses_in_a_role_are_rises_of_the_error_on_all_samples() -> None:
    head = LogisticHead(LABELS, FOLDS, WEIGHTS, 3)
    before, after = head.fit(VALUES), head.refit(VALUES * [0, 1, 1], 0, 0.0)
    role = Role(0, np.array([0]), np.empty(0))
    found = role_losses(role, head, [before], [after], WEIGHTS)
    assert found.shape == (51,)
    assert found[0] > 0.1
    assert found[1:].std() > 0.01
    assert not role_losses(role, head, [before], [before], WEIGHTS).any()


@pytest.mark.parametrize(
    ("dropped", "swapped", "verdict"),
    [
        ((0.01, 0.001), (0.0, 0.1), "not needed"),  # of no size
        ((0.05, 0.04), (0.0, 0.1), "not needed"),  # within noise
        ((-0.3, 0.01), (0.0, 0.1), "not needed"),
        ((0.7, 0.5), (0.0, 0.1), "too few cells"),
        ((0.7, 0.1), (0.05, 0.04), "as good"),
        ((0.7, 0.1), (-0.1, 0.01), "as good"),
        ((0.7, 0.1), (0.3, 0.2), "too few cells"),
        ((0.7, 0.1), (0.3, 0.1), "worse"),
        ((0.7, 0.1), None, "no substitute"),
        ((np.nan, 0.1), None, None),
    ],
)
def test_verdicts(dropped: Any, swapped: Any, verdict: str | None) -> None:
    found = verdict_on(losses(*dropped), None if swapped is None else losses(*swapped))
    assert found == verdict


def test_profiles_decide_alone_where_heads_lose_nothing_measurable() -> None:
    shares = np.array([0.9, 0.8])
    found = still_kept(shares, losses(0.3, 0.2), [losses(0.3, 0.01), losses(0.0, 0.01)])
    np.testing.assert_array_equal(found, shares)


def test_the_surer_of_profiles_and_heads_weighs_more() -> None:
    shares = np.array([0.9, 0.8])
    sure = still_kept(shares, losses(1.0, 0.1), [losses(0.5, 0.001), losses(0.0, 0.001)])
    np.testing.assert_allclose(sure, [0.5, 1.0], atol=0.01)
    unsure = still_kept(shares, losses(1.0, 0.1), [losses(0.5, 0.5), losses(0.0, 0.5)])
    np.testing.assert_allclose(unsure, shares, atol=0.01)
    alike = still_kept(shares, losses(1.0, 0.1), [losses(0.5, 0.05), losses(0.0, 0.05)])
    np.testing.assert_allclose(alike, [0.7, 0.9], atol=0.001)


def test_of_several_tasks_the_role_is_the_one_that_tells_less_without_the_gene() -> None:
    """Gene 0 tells about both, but the second task is told by gene 1 as well."""
    rng = np.random.default_rng(1)
    first, second = rng.integers(2, size=(2, 600))
    values = rng.normal(size=(600, 3))
    values[:, 0] += 2 * first + 2 * second
    values[:, 1] += 6 * second
    targets = [Classes(first), Classes(second)]
    profiles = [
        Profile.of_classes(
            np.bincount(codes).astype(float),
            np.eye(2)[codes].T @ (values + 5),
            ((values + 5) ** 2).sum(axis=0),
        )
        for codes in (first, second)
    ]
    codes = [np.arange(2), np.arange(2)]
    roles = find_roles(profiles, codes, values.astype(np.float32), targets)
    assert [None if role is None else role.task for role in roles] == [0, 1, None]
    assert roles[0] is not None
    assert roles[0].marked.tolist() == [1]


def test_the_class_that_suffers_is_named_if_it_is_clearly_the_one() -> None:
    task = Categorical("type", ("a", "b", "c"))
    head = LogisticHead(LABELS, FOLDS, WEIGHTS, 3)
    before = head.fit(VALUES)

    def worst(falls: Any, errors: Any) -> Any:
        drawn = np.vstack([falls, falls + np.outer([-1, 1] * 25, errors)])
        after = type(before)(**{**vars(before), "by_class": before.by_class - drawn})
        return _worst_category(task, before, after)[0]

    few = [0.01] * 3
    assert worst([0.3, 0.1, 0.0], few) == "a"
    assert worst([0.3, 0.3, 0.0], few) is None
    assert worst([0.0, 0.0, 0.0], few) is None
    assert worst([0.3, 0.1, 0.0], [0.2, 0.01, 0.01]) is None
    assert worst([np.nan, 0.1, 0.0], few) == "b"
    assert worst([np.nan, 0.1, np.nan], few) == "b"
    assert worst([np.nan] * 3, few) is None
