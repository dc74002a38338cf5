"""Self-training on a query, with the labels of some cells and without."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from yoto_sc.assay import learn_labels
from yoto_sc.assay._student import Student

if TYPE_CHECKING:
    from numpy.typing import NDArray

N_CLASSES = 4


@pytest.fixture
def query() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """400 cells of four classes that overlap a little, in eight genes."""
    rng = np.random.default_rng(0)
    codes = np.arange(400) % N_CLASSES
    centres = 1.6 * rng.standard_normal((N_CLASSES, 8))
    return (centres[codes] + rng.standard_normal((400, 8))).astype(np.float32), codes


def believed(codes: NDArray[np.int64], n_classes: int = N_CLASSES) -> NDArray[np.float64]:
    return 0.1 / n_classes + 0.9 * np.eye(n_classes)[codes]


def some_known(codes: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    known = np.full(len(codes), -1)
    known[: n * N_CLASSES] = codes[: n * N_CLASSES]
    return known


def accuracy(found: NDArray[np.float32], codes: NDArray[np.int64]) -> float:
    return float((found.argmax(axis=1) == codes)[200:].mean())


def test_a_student_corrects_what_is_not_as_its_neighbours(query: tuple) -> None:
    values, codes = query
    rng = np.random.default_rng(1)
    wrong = np.where(rng.random(400) < 0.25, rng.integers(0, N_CLASSES, 400), codes)
    student = Student.of(values, believed(wrong))
    assert accuracy(student.predict(values), codes) > (wrong == codes)[200:].mean() + 0.05
    assert Student.of(values, believed(np.zeros(400, dtype=int))) is None


def test_known_cells_keep_their_class(query: tuple) -> None:
    values, codes = query
    known = some_known(codes, 5)
    found = learn_labels(values, believed(np.roll(codes, 1)), known, N_CLASSES)
    np.testing.assert_array_equal(found[:20], np.eye(N_CLASSES, dtype=np.float32)[codes[:20]])
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-5)


def test_predictions_that_are_wrong_give_way_to_labels(query: tuple) -> None:
    values, codes = query
    wrong = believed((codes + 1) % N_CLASSES)
    assert accuracy(learn_labels(values, wrong, some_known(codes, 10), N_CLASSES), codes) > 0.8
    few = learn_labels(values, wrong, some_known(codes, 2), N_CLASSES)  # too few to tell
    assert accuracy(few, codes) < 0.5


def test_predictions_that_are_right_stay_beside_few_labels(query: tuple) -> None:
    values, codes = query
    alone = Student.of(values[:12], np.eye(N_CLASSES)[codes[:12]], codes[:12]).predict(values)
    found = learn_labels(values, believed(codes), some_known(codes, 3), N_CLASSES)
    assert accuracy(found, codes) > max(0.93, accuracy(alone, codes))


def test_a_class_that_was_not_known_is_learned_from_its_cells(query: tuple) -> None:
    values, codes = query
    others = np.where(codes == 3, 0, codes)
    found = learn_labels(values, believed(others, 3), some_known(codes, 10), N_CLASSES)
    new = codes[200:] == 3
    assert (found.argmax(axis=1)[200:] == 3)[new].mean() > 0.6
    assert (found.argmax(axis=1)[200:] == 3)[~new].mean() < 0.1
