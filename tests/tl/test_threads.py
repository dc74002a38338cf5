"""Selections in several threads are those one after the other, and nobody's generator matters."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
import torch
from lightning.pytorch.callbacks import Callback
from threadpoolctl import threadpool_limits

import yoto_sc as yt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from anndata import AnnData

    Run = Callable[..., AnnData]


class Slow(Callback):
    """Lets other threads go on after every batch, so that trainings overlap.

    After the first batch, it waits for an event; not for long, as trainings may take turns.
    """

    def __init__(self, pause: float = 0.002, until: threading.Event | None = None) -> None:
        self.pause, self.until = pause, until
        self.begun = threading.Event()

    def on_train_batch_end(self, *args: Any) -> None:
        time.sleep(self.pause)
        if not self.begun.is_set():
            self.begun.set()
            if self.until is not None:
                self.until.wait(timeout=1)


@pytest.fixture(scope="module")
def run(make_adata: Callable[..., AnnData], select: Callable[..., Any]) -> Run:
    """Select on fresh data, when the others are there too."""

    def run(
        together: threading.Barrier | None = None, *, data: int = 0, slow: Slow, **kwargs: Any
    ) -> AnnData:
        adata = make_adata(random_state=data)
        if together is not None:
            together.wait(timeout=30)
        train_kwargs = {**kwargs.pop("train_kwargs", {}), "callbacks": [slow]}
        select(adata, train_kwargs=train_kwargs, **kwargs)
        return adata

    return run


def assert_same_selection(one: AnnData, other: AnnData, assert_same_predictions: Any) -> None:
    pd.testing.assert_frame_equal(one.var, other.var, check_exact=True)
    assert_same_predictions(one, other)
    ours, theirs = one.uns["yoto"], other.uns["yoto"]
    assert ours.keys() == theirs.keys()
    assert ours["assay_summary"] == theirs["assay_summary"]
    for name in ours.keys() - {"params", "assay_summary"}:
        pd.testing.assert_frame_equal(ours[name], theirs[name], check_exact=True)


PAIRS = {
    "seeds": [{"random_state": 0}, {"random_state": 1}],
    "data": [{"data": 0}, {"data": 1}],
    "kinds": [{"n_genes": "auto"}, {"n_genes": 3, "robust": "thin", "data": 1}],
    "trainings": [{"group_key": "donor"}, {"train_kwargs": {"refit": False}}],
}


@pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS)
def test_together_as_one_after_the_other(
    run: Run, pair: list[dict[str, Any]], assert_same_predictions: Callable[..., None]
) -> None:
    alone = [run(slow=Slow(0), **arguments) for arguments in pair]
    for _ in range(2):
        together = threading.Barrier(len(pair))
        with ThreadPoolExecutor(len(pair)) as pool:
            started = [pool.submit(run, together, slow=Slow(), **arguments) for arguments in pair]
        for thread, expected in zip(started, alone, strict=True):
            assert_same_selection(thread.result(), expected, assert_same_predictions)


@pytest.fixture
def _two_threads() -> Iterator[None]:
    """As where there are two cores and nothing is set in the environment."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    with threadpool_limits(2):
        yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("own_seeds", "selected", "_two_threads")
def test_global_state_is_untouched(
    run: Run, unchanged_state: Callable[[], AbstractContextManager[None]]
) -> None:
    """The second selection begins in the middle of the first, and ends after it."""
    ended = threading.Event()
    late = Slow(until=ended)
    early = Slow(until=late.begun)
    short = {"max_steps": 5, "train_kwargs": {"refit": False}}
    with unchanged_state(), ThreadPoolExecutor(2) as pool:
        first = pool.submit(run, slow=early, **short)
        first.add_done_callback(lambda _: ended.set())
        early.begun.wait(timeout=30)
        second = pool.submit(run, slow=late, **short)
        first.result()
        second.result()


class Draws(Callback):
    """The caller's own use of torch's generator, between the batches of a training."""

    def __init__(self) -> None:
        self.drawn: list[float] = []

    def on_train_batch_end(self, *args: Any) -> None:
        self.drawn.append(float(torch.rand(())))


@pytest.mark.usefixtures("own_seeds")
def test_draws_of_the_caller_do_not_matter_and_are_the_callers(
    adata: AnnData, selected: AnnData, select: Callable[..., Any], state_of: Callable[..., Any]
) -> None:
    """Not even during the training: another thread may draw at any time."""
    expected = torch.rand(60, generator=torch.Generator().manual_seed(20263)).tolist()
    draws = Draws()
    select(adata, train_kwargs={"callbacks": [draws]})
    assert draws.drawn == expected  # 30 steps, twice
    assert state_of(adata) == state_of(selected)


def test_predictions_beside_a_selection(
    run: Run, adata: AnnData, selected: AnnData, model_dir: Any, assert_same_predictions: Any
) -> None:
    slow = Slow()
    with ThreadPoolExecutor(1) as pool:
        training = pool.submit(run, slow=slow)
        slow.begun.wait(timeout=30)
        yt.tl.predict(adata, model_dir)
    assert_same_predictions(adata, selected)
    assert_same_selection(training.result(), selected, assert_same_predictions)
