"""Batches hold every cell as often as any other; counts are thinned in some of them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from scipy.stats import kstest

from yoto_sc.assay import imitate
from yoto_sc.judge import all_cells
from yoto_sc.nn import Annealing
from yoto_sc.teach import Lesson
from yoto_sc.train import X_KEY, Recipe, _batches, task_key
from yoto_sc.train._batches import Cells, SelectionData, _Shuffled

if TYPE_CHECKING:
    from yoto_sc._problem import Problem
    from yoto_sc.judge import Split

GENES = np.array([7, 3, 20])


def make_data(
    problem: Problem,
    split: Split,
    seed: int = 0,
    n_members: int = 2,
    imitated: Any = None,
    **recipe: Any,
) -> SelectionData:
    recipe = {"max_steps": 80, "batch_size": 16, **recipe}
    data = SelectionData(
        Lesson.of(problem, split),
        GENES,
        Recipe(Annealing(3, 2), **recipe),
        n_members,
        np.random.default_rng(seed),
    )
    data.imitated = imitated
    return data


# --- cells ---


@pytest.fixture(params=[True, False], ids=["dense", "sparse"])
def cells(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, Any]:
    """Expression of ten cells, held densely or not."""
    if not request.param:
        monkeypatch.setattr(_batches, "_DENSE_BYTES", 0)
    values = np.random.default_rng(0).poisson(1, (10, 5)).astype(np.float32)
    values[:, 4] = 2
    labels = [np.arange(10), np.linspace(0, 1, 10, dtype=np.float32)]
    return Cells(sp.csr_matrix(values), labels), values


@pytest.mark.parametrize("index", [np.array([[3, 1], [0, 9]]), np.arange(4)])
def test_what_was_sent_to_a_device_is_handed_out_there(cells, index):
    cells, _ = cells
    cells.to(torch.device("meta"))  # a device that everybody has, and that holds no numbers
    cells.narrow(np.array([4, 0]))
    batch = cells.batch(index)
    assert {tensor.device.type for tensor in batch.values()} == {"meta"}
    assert batch[X_KEY].shape == (*index.shape, 2)


def test_cells_too_large_to_be_dense_here_are_dense_on_a_device(cells, monkeypatch):
    cells, _ = cells
    monkeypatch.setattr(_batches, "_DENSE_BYTES", 0)
    cells.to(torch.device("meta"))
    assert cells._dense.shape == (10, 5)
    monkeypatch.setattr(_batches, "_DEVICE_BYTES", 0)
    assert Cells(cells._sparse, [])._dense is None


@pytest.mark.parametrize("index", [np.array([3, 3, 0]), np.array([[1, 9], [0, 4], [2, 2]])])
def test_batches_hold_the_cells_asked_for(cells: Any, index: Any) -> None:
    of, values = cells
    batch = of.batch(index)
    assert set(batch) == {X_KEY, task_key(0), task_key(1)}
    np.testing.assert_array_equal(batch[X_KEY], values[index])
    assert batch[X_KEY].dtype == torch.float32
    np.testing.assert_array_equal(batch[task_key(0)], index)
    np.testing.assert_allclose(batch[task_key(1)], index / 9, rtol=1e-6)


def test_narrowing_keeps_genes_in_the_order_asked_for(cells: Any) -> None:
    of, values = cells
    of.narrow(np.array([4, 0, 2]))
    of.narrow(np.array([2, 0]))
    np.testing.assert_array_equal(of.batch(np.arange(10))[X_KEY], values[:, [2, 4]])
    assert len(of) == 10


def test_moments_match_numpys(cells: Any) -> None:
    of, values = cells
    mean, scale = of.moments()
    np.testing.assert_allclose(mean, values.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(scale[:4], values[:, :4].std(axis=0), rtol=1e-5)
    assert scale[4] == 1  # a constant gene
    assert mean.dtype == scale.dtype == np.float32


def test_what_batches_do_not_change_the_cells(cells: Any) -> None:
    of, values = cells
    of.batch(np.array([1, 2]))[X_KEY].fill_(-1)
    np.testing.assert_array_equal(of.batch(np.arange(10))[X_KEY], values)


# --- order ---


def test_every_cell_is_drawn_once_in_each_pass() -> None:
    shuffled = _Shuffled(10, 3, np.random.default_rng(0))
    draws = np.concatenate([shuffled.draw(4) for _ in range(10)], axis=1)
    assert draws.shape == (3, 40)
    for member in draws:
        for start in range(0, 40, 10):
            assert sorted(member[start : start + 10]) == list(range(10))
    assert (draws[0] != draws[1]).any()


def test_batches_may_be_larger_than_the_data() -> None:
    draw = _Shuffled(3, 1, np.random.default_rng(0)).draw(8)
    counts = np.bincount(draw[0], minlength=3)
    assert np.ptp(counts) <= 1


# --- data ---


def test_training_batches_hold_cells_of_the_training(problem: Problem, split: Split) -> None:
    data = make_data(problem, split)
    batch = data._next_batch()
    assert batch[X_KEY].shape == (2, 16, 3)
    rows = problem.expression.take(split.train, GENES).toarray()
    labels = [labels[split.train] for labels in problem.labels]
    known = {str(cell) for cell in np.float32(np.column_stack([rows, *labels]))}
    drawn = [batch[X_KEY], *(batch[task_key(i)][..., None] for i in range(3))]
    found = np.concatenate(drawn, axis=-1, dtype=np.float32).reshape(32, 6)
    assert {str(cell) for cell in found} <= known


def test_held_out_cells_stay_apart(problem: Problem, split: Split) -> None:
    data = make_data(problem, split)
    for cells, index in ((data.train, split.train), (data.validation, split.validation)):
        values = cells.batch(np.arange(len(cells)))[X_KEY]
        np.testing.assert_array_equal(values, problem.expression.take(index, GENES).toarray())
        for ours, theirs in zip(cells.labels, problem.labels, strict=True):
            np.testing.assert_array_equal(ours, theirs[index])


@pytest.mark.parametrize("max_steps", [1, 7, 40, 41, 80, 2000])
def test_epochs_and_steps(problem: Problem, split: Split, max_steps: int) -> None:
    data = make_data(problem, split, max_steps=max_steps)
    n_epochs = -(-max_steps // data.n_steps)
    assert 1 <= n_epochs <= 40
    assert n_epochs * (data.n_steps - 1) < max_steps


def test_few_held_out_cells_are_all_watched(
    problem: Problem, split: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = make_data(problem, split)
    np.testing.assert_array_equal(data.watched, np.arange(len(split.validation)))
    assert len(data.val_dataloader()) == 1
    monkeypatch.setattr(_batches, "_WATCHED_CELLS", 5)
    watched = make_data(problem, split).watched
    assert len(set(watched)) == 5
    assert watched.max() < len(split.validation)


def test_without_held_out_cells_there_is_no_batch_of_them(problem: Problem) -> None:
    data = make_data(problem, all_cells(160))
    assert len(data.val_dataloader()) == len(data.validation) == len(data.watched) == 0
    assert list(data.val_dataloader()) == []


def test_the_sample_is_the_same_each_time(
    problem: Problem, split: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_batches, "_SAMPLE_CELLS", 20)
    data = make_data(problem, split)
    values, labels = data.sample()
    assert values.shape == (20, 3)
    data._next_batch()
    again, others = data.sample()
    np.testing.assert_array_equal(again, values)
    for one, other in zip(labels, others, strict=True):
        np.testing.assert_array_equal(one, other)


def test_narrowed_data_go_on_with_the_same_cells(problem: Problem, split: Split) -> None:
    data, whole = make_data(problem, split), make_data(problem, split)
    data.narrow(np.array([2, 0]))
    batch, expected = data._next_batch(), whole._next_batch()
    assert torch.equal(batch[X_KEY], expected[X_KEY][..., [2, 0]])
    assert torch.equal(batch[task_key(0)], expected[task_key(0)])
    assert data.validation.batch(np.arange(3))[X_KEY].shape == (3, 2)


# --- thinning ---


def test_thinned_batches_hold_the_same_cells(problem: Problem, split: Split) -> None:
    """Thinning has a generator of its own."""
    plain, thin = make_data(problem, split), make_data(problem, split, imitated="thin")
    n_thinned = 0
    for _ in range(12):
        one, other = plain._next_batch(), thin._next_batch()
        for key in (task_key(0), task_key(1), task_key(2)):
            np.testing.assert_array_equal(one[key], other[key])
        assert (other[X_KEY] <= one[X_KEY] + 1e-6).all()
        n_thinned += int((other[X_KEY] < one[X_KEY]).sum())
    assert n_thinned > 50
    np.testing.assert_array_equal(plain.sample()[0], thin.sample()[0])  # which is not thinned


def test_held_out_cells_are_not_thinned(problem: Problem, split: Split) -> None:
    plain, thin = make_data(problem, split), make_data(problem, split, imitated="thin")
    index = np.arange(len(split.validation))
    assert torch.equal(plain.validation.batch(index)[X_KEY], thin.validation.batch(index)[X_KEY])


def test_thinning_does_not_wear_the_cells_out(problem: Problem, split: Split) -> None:
    data = make_data(problem, split, imitated="thin")
    index = np.arange(len(split.train))
    before = data.train.batch(index)[X_KEY].clone()
    for _ in range(20):
        data._next_batch()
    assert torch.equal(data.train.batch(index)[X_KEY], before)


def test_cells_keep_a_log_uniform_share_of_their_counts() -> None:
    """With counts so large that the binomial draw says what its probability was."""
    values = np.full((4, 500, 3), np.log1p(50_000), dtype=np.float32)
    values = imitate(values, "thin", np.random.default_rng(0))
    shares = np.expm1(values.astype(np.float64)) / 50_000
    np.testing.assert_allclose(shares[..., 0], shares[..., 1], atol=0.02)  # one share a cell
    exponents = np.log(shares[..., 0].ravel())
    assert kstest(exponents, "uniform", args=(np.log(0.1), -np.log(0.1))).pvalue > 0.01


def test_mean_and_variance_are_binomial() -> None:
    values = np.full((1, 20_000, 1), np.log1p(8), dtype=np.float32)
    values = imitate(values, "thin", np.random.default_rng(1))
    counts = np.expm1(values.astype(np.float64)).ravel()
    np.testing.assert_allclose(counts, counts.round(), atol=1e-5)
    width = -np.log(0.1)
    mean, square = 0.9 / width, (1 - 0.01) / (2 * width)  # of the share
    assert counts.mean() == pytest.approx(8 * mean, rel=0.03)
    variance = 8 * (mean - square) + 64 * (square - mean**2)
    assert counts.var() == pytest.approx(variance, rel=0.05)


def test_zeros_stay_and_nothing_grows() -> None:
    rng = np.random.default_rng(2)
    before = np.log1p(rng.poisson(1.0, (2, 50, 20))).astype(np.float32)
    after = imitate(before, "thin", rng)
    assert (after <= before + 1e-6).all()
    assert (after[before == 0] == 0).all()
    assert (after < before - 1e-3).any()


def test_the_generator_decides(problem: Problem, split: Split) -> None:
    one, same, other = (make_data(problem, split, seed)._next_batch() for seed in (0, 0, 1))
    assert torch.equal(one[X_KEY], same[X_KEY])
    assert not torch.equal(one[X_KEY], other[X_KEY])


def test_expression_that_is_no_count_is_trained_on_as_it_is(
    problem: Problem, split: Split
) -> None:
    normalised = replace(problem.expression, is_counts=False)
    data = make_data(replace(problem, expression=normalised), split)
    values = data.train.batch(np.arange(4))[X_KEY]
    expected = problem.expression.take(split.train[:4], GENES, raw=True).toarray()
    np.testing.assert_array_equal(values, expected)
