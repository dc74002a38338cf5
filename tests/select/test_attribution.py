"""What a gene adds, against leaving it out and computing all anew."""

from __future__ import annotations

import numpy as np
import pytest

from yoto_sc.select import Classes, Numbers, confusion_without

RIDGE, POWER = 0.1, 0.5


@pytest.fixture
def values():
    """Correlated genes of unit variance."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=(300, 5)) @ rng.normal(size=(5, 5))
    return ((values - values.mean(axis=0)) / values.std(axis=0)).astype(np.float32)


@pytest.fixture
def codes(values):
    """Four classes of different size; code 1 does not occur, and some labels are missing."""
    rng = np.random.default_rng(1)
    logits = 2 * values @ rng.normal(size=(5, 4)) - [0, 0, 1, 2]
    codes = (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)
    codes[codes >= 1] += 1
    codes[::17] = -1
    return codes


def anew(values, codes, genes):
    """Mean of Wilks' lambda over the pairs of each class, from determinants."""
    x, y = values[codes >= 0].astype(float), codes[codes >= 0]
    weights = np.array([(y == code).sum() ** -POWER for code in y])
    weights /= weights.sum()
    centred = x - weights @ x
    scale = np.sqrt(weights @ centred**2)
    means = {code: x[y == code].mean(axis=0) / scale for code in np.unique(y)}
    residuals = x / scale - np.array([means[code] for code in y])
    within = (residuals * weights[:, None]).T @ residuals + RIDGE * np.eye(x.shape[1])
    within = within[np.ix_(genes, genes)]

    def pair(a, b):
        half = (means[a] - means[b])[genes] / 2
        return np.linalg.det(within) / np.linalg.det(within + np.outer(half, half))

    return [np.mean([pair(a, b) for b in means if b != a]) for a in means]


def test_equals_leaving_out_and_computing_anew(values, codes):
    complete, without = confusion_without(
        values, Classes(codes), ridge=RIDGE, class_weight_power=POWER
    )
    genes = list(range(5))
    np.testing.assert_allclose(complete, anew(values, codes, genes), rtol=1e-4)
    for gene in genes:
        others = [other for other in genes if other != gene]
        np.testing.assert_allclose(without[:, gene], anew(values, codes, others), rtol=1e-4)


def test_a_number_is_the_unexplained_share(values):
    rng = np.random.default_rng(2)
    target = values @ np.array([1.0, 0, 0.5, 0, 0]) + rng.normal(size=len(values))
    complete, without = confusion_without(values, Numbers(target), ridge=1e-6)

    def unexplained(genes):
        x = np.column_stack([np.ones(len(values)), values[:, genes]])
        residuals = target - x @ np.linalg.lstsq(x, target, rcond=None)[0]
        return residuals.var() / target.var()

    np.testing.assert_allclose(complete, unexplained(list(range(5))), rtol=1e-3)
    for gene in range(5):
        others = [other for other in range(5) if other != gene]
        np.testing.assert_allclose(without[:, gene], unexplained(others), rtol=1e-3)


def test_one_class_is_told_from_nothing(values):
    complete, without = confusion_without(values, Classes(np.zeros(300, dtype=int)))
    assert complete.tolist() == [1.0]
    assert (without == 1).all()


def test_one_gene_leaves_nothing(values, codes):
    _, without = confusion_without(values[:, :1], Classes(codes))
    np.testing.assert_allclose(without, 1)


@pytest.mark.parametrize("kind", ["classes", "numbers"])
def test_cells_without_a_label_do_not_count(values, codes, kind):
    labels, make = (codes, Classes) if kind == "classes" else (values @ np.arange(5.0), Numbers)
    labels[::3] = -1 if kind == "classes" else np.nan
    seen = make(labels).seen
    strange = np.where(seen[:, None], values, np.float32(99))
    for got, expected in zip(
        confusion_without(strange, make(labels)),
        confusion_without(values[seen], make(labels[seen])),
        strict=True,
    ):
        np.testing.assert_array_equal(got, expected)


def test_a_number_has_two_points_of_equal_values(values):
    complete, without = confusion_without(values, Numbers(values[:, 0].astype(float)))
    assert complete.shape == (2,)
    assert without.shape == (2, 5)
    np.testing.assert_allclose(complete[0], complete[1])
    np.testing.assert_allclose(without[0], without[1])
