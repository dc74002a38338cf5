"""Training cells are shifted by as much as batches differ, gene by gene."""

from __future__ import annotations

import numpy as np
import pytest

from yoto_sc._problem import Problem
from yoto_sc.judge import all_cells
from yoto_sc.nn import Annealing
from yoto_sc.teach import Lesson
from yoto_sc.train import X_KEY, Recipe
from yoto_sc.train._batches import SelectionData

GENES = np.arange(12)


def make_data(make_adata, *, batch_key, of_plates=0.0):
    """Batches of a training; in the first genes, plates differ."""
    adata = make_adata(n_obs=600)
    plates = np.arange(600) % 6
    adata.obs["plate"] = plates
    values = np.log1p(adata.X.toarray())
    values[:, :4] += of_plates * np.array([1, 0, 1, 0, 1, 0])[plates, None]
    adata.X = values
    problem = Problem.from_adata(adata, {"categorical": ["task_0"]}, batch_key=batch_key)
    recipe = Recipe(Annealing(3, 2), batch_size=50)
    lesson = Lesson.of(problem, all_cells(600))
    return SelectionData(lesson, GENES, recipe, 4, np.random.default_rng(0))


def drawn(data, n=20):
    return np.concatenate([data._next_batch()[X_KEY].numpy() for _ in range(n)], axis=1)


@pytest.fixture(params=["wide", "narrowed"])
def genes(request):
    return GENES if request.param == "wide" else np.array([9, 2, 5])


def test_cells_are_shifted_where_batches_differ(make_adata, genes):
    shifted, plain = (make_data(make_adata, batch_key=k, of_plates=3) for k in ("plate", None))
    stored = shifted.train.batch(np.arange(600))[X_KEY].numpy().copy()
    if genes is not GENES:
        shifted.narrow(genes)
        plain.narrow(genes)
    difference = drawn(shifted) - drawn(plain)  # the same cells, in the same order
    spread = difference.std(axis=(0, 1))
    assert spread[genes < 4] == pytest.approx(1.5, abs=0.15)  # of 0 and 3
    assert spread[genes >= 4].max() < 0.25
    assert np.abs(difference.mean(axis=(0, 1))).max() < 0.1
    assert not np.allclose(difference[0], difference[1])
    after = shifted.train.batch(np.arange(600))[X_KEY].numpy()
    assert np.array_equal(after, stored[:, genes])  # the cells themselves stay


def test_batches_that_do_not_differ_shift_next_to_nothing(make_adata):
    shifted, plain = (make_data(make_adata, batch_key=key) for key in ("plate", None))
    assert np.median((drawn(shifted) - drawn(plain)).std(axis=(0, 1))) < 0.05


def test_without_batches_nothing_is_shifted(make_adata):
    data = make_data(make_adata, batch_key=None)
    stored = data.train.batch(np.arange(600))[X_KEY].numpy()
    rows = {row.tobytes() for row in stored}
    assert all(row.tobytes() in rows for row in drawn(data, 2).reshape(-1, len(GENES)))
    assert data.sample_batches() is None


def test_the_sample_has_its_batches(make_adata):
    data = make_data(make_adata, batch_key="plate")
    np.testing.assert_array_equal(data.sample_batches(), np.arange(600) % 6)
