"""Standard errors of scores, against a plain bootstrap of the cells."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from sklearn.metrics import f1_score, r2_score

from yoto_sc._tasks import Task
from yoto_sc.model._scores import standard_error

if TYPE_CHECKING:
    from collections.abc import Callable

N_CELLS, N_SAMPLES = 400, 2000
CLASSES = Task("type", "categorical", ("a", "b", "c"))
NUMBER = Task("age", "continuous")


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def by_plain_bootstrap(score: Callable[[Any, Any], float], true: Any, predicted: Any) -> float:
    rng = np.random.default_rng(1)
    cells = rng.integers(len(true), size=(N_SAMPLES, len(true)))
    return float(np.std([score(true[sample], predicted[sample]) for sample in cells]))


def test_macro_f1(rng: np.random.Generator) -> None:
    labels = rng.choice(3, size=N_CELLS, p=[0.7, 0.25, 0.05])
    predicted = np.where(rng.random(N_CELLS) < 0.8, labels, rng.integers(3, size=N_CELLS))
    expected = by_plain_bootstrap(
        lambda t, p: f1_score(t, p, average="macro", labels=np.unique(t)), labels, predicted
    )
    with_missing = np.concatenate([labels, [-1] * 50])
    probabilities = np.eye(3)[np.concatenate([predicted, [0] * 50])]
    found = standard_error(CLASSES, with_missing, probabilities, rng)
    assert found == pytest.approx(expected, rel=0.2)


def test_r2(rng: np.random.Generator) -> None:
    values = rng.normal(5, 2, size=N_CELLS)
    predicted = values + rng.normal(size=N_CELLS)
    expected = by_plain_bootstrap(r2_score, values, predicted)
    found = standard_error(
        NUMBER, np.append(values, np.nan), np.append(predicted, 0.0).astype(np.float32), rng
    )
    assert found == pytest.approx(expected, rel=0.2)


def test_nothing_to_judge_by(rng: np.random.Generator) -> None:
    assert np.isnan(standard_error(CLASSES, np.full(3, -1), np.eye(3), rng))
    assert np.isnan(standard_error(NUMBER, np.full(3, np.nan), np.zeros(3), rng))
    assert np.isnan(standard_error(NUMBER, np.ones(3), np.zeros(3), rng))
