"""What closed forms are to tell apart, against numpy, cell by cell."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression

from yoto_sc.select import Classes, Numbers

CODES = np.array([2, -1, 0, 2, 5, 5, 0, -1, 5, 2] * 4)  # codes 1, 3 and 4 do not occur
TARGETS = {
    "classes": Classes(CODES),
    "numbers": Numbers(np.where(CODES < 0, np.nan, CODES * 3.0 + np.arange(40))),
}
both = pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)


@pytest.fixture
def values():
    rng = np.random.default_rng(0)
    return (rng.normal(size=(40, 5)) @ rng.normal(size=(5, 5))).astype(np.float32)


@both
def test_seen_are_the_cells_with_a_label(target):
    np.testing.assert_array_equal(target.seen, CODES >= 0)


def test_design_of_classes_has_a_column_for_each_that_occurs():
    design = TARGETS["classes"].design().toarray()
    np.testing.assert_array_equal(design, CODES[:, None] == [0, 2, 5])


def test_design_of_numbers_counts_and_standardises():
    target = TARGETS["numbers"]
    design = target.design().toarray()
    np.testing.assert_array_equal(design[:, 0], target.seen)
    observed = target.labels[target.seen]
    expected = (observed - observed.mean()) / observed.std()
    np.testing.assert_allclose(design[target.seen, 1], expected, atol=1e-12)
    assert not design[~target.seen].any()


def test_equal_numbers_stay_finite(values):
    target = Numbers(np.full(40, 3.0))
    assert np.isfinite(target.design().toarray()).all()
    assert np.isfinite(target.moments(values).means).all()


@both
def test_labels_in_random_order(target):
    before = target.labels.copy()
    shuffled = target.shuffled(np.random.default_rng(0))
    assert type(shuffled) is type(target)
    np.testing.assert_array_equal(target.labels, before)
    np.testing.assert_array_equal(shuffled.seen, target.seen)
    seen = target.seen
    np.testing.assert_array_equal(np.sort(shuffled.labels[seen]), np.sort(before[seen]))
    assert (shuffled.labels[seen] != before[seen]).any()
    again = target.shuffled(np.random.default_rng(0))
    np.testing.assert_array_equal(again.labels, shuffled.labels)


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("ridge", [0.0, 0.2])
def test_moments_of_classes(values, power, ridge):
    seen = CODES >= 0
    x, y = values[seen].astype(float), CODES[seen]
    weights = np.array([float((y == code).sum()) ** -power for code in y])
    weights /= weights.sum()
    centre = weights @ x
    scale = np.sqrt(weights @ (x - centre) ** 2)
    means = np.array([x[y == code].mean(axis=0) for code in (0, 2, 5)])
    rest = (x - means[np.searchsorted([0, 2, 5], y)]) / scale
    within = (rest * weights[:, None]).T @ rest + ridge * np.eye(5)
    moments = TARGETS["classes"].moments(values, ridge, power)
    np.testing.assert_allclose(moments.means, (means - centre) / scale, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(moments.within, within, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("power", [0.0, 0.5])
def test_moments_of_numbers_are_on_the_regression_line(values, power):
    """Each gene on the target; a standard deviation below and above its mean."""
    target = TARGETS["numbers"]
    x, y = values[target.seen].astype(float), target.labels[target.seen]
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    line = LinearRegression().fit(y[:, None], x)
    points = line.predict([[y.mean() - y.std()], [y.mean() + y.std()]])
    rest = x - line.predict(y[:, None])
    moments = target.moments(values, 0.1, power)
    np.testing.assert_allclose(moments.means, points, rtol=1e-4, atol=1e-5)
    expected = rest.T @ rest / len(rest) + 0.1 * np.eye(5)
    np.testing.assert_allclose(moments.within, expected, rtol=1e-4, atol=1e-5)
