"""With a dask client, trainings are spread over its workers, and come to the same."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from dask.distributed import Client, LocalCluster

import yoto_sc as yt
from yoto_sc import _workers
from yoto_sc._workers import aside, may_move, shared
from yoto_sc.train import _training

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from anndata import AnnData

FEW = {"max_steps": 15, "accelerator": "cpu"}


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    """Two processes."""
    cluster = LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None)
    with cluster, Client(cluster) as client:
        yield client


@pytest.fixture
def moved(monkeypatch: pytest.MonkeyPatch) -> list[Callable[..., Any]]:
    """What was submitted to workers."""
    submitted: list[Callable[..., Any]] = []
    submit = Client.submit

    def noted(self: Client, function: Any, *args: Any, **kwargs: Any) -> Any:
        submitted.append(args[0])
        return submit(self, function, *args, **kwargs)

    monkeypatch.setattr(Client, "submit", noted)
    return submitted


@pytest.fixture(scope="module")
def cells(make_adata: Callable[..., AnnData]) -> AnnData:
    return make_adata()


@pytest.fixture(scope="module")
def here(cells: AnnData) -> AnnData:
    """A selection without workers, with two tasks, one of them about nothing, and donors."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_workers, "_client", lambda: None)
        return selected(cells)


def selected(cells: AnnData, **more: Any) -> AnnData:
    adata = cells.copy()
    adata.obs["nothing"] = np.random.default_rng(0).choice(["a", "b"], adata.n_obs)
    yt.tl.select(
        adata,
        6,
        categorical_keys=["task_0", "nothing"],
        group_key="donor",
        progress_bar=False,
        **{**FEW, **more},
    )
    return adata


def assert_same(got: AnnData, want: AnnData) -> None:
    pd.testing.assert_frame_equal(got.obs, want.obs, check_exact=True)
    pd.testing.assert_frame_equal(got.var, want.var, check_exact=True)
    for name, table in want.uns["yoto"].items():
        if isinstance(table, pd.DataFrame):
            pd.testing.assert_frame_equal(got.uns["yoto"][name], table, check_exact=True)


def test_a_selection_is_the_same(
    client: Client, moved: list[Any], cells: AnnData, here: AnnData
) -> None:
    assert_same(selected(cells), here)
    assert len(moved) == 2  # the groups, and all cells


def test_what_was_begun_in_vain_is_done_again(
    client: Client, cells: AnnData, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_training, "_predicted", lambda *_: np.array([True, False]))
    keys = {"categorical_keys": ["task_0", "task_1"], "group_key": None, "progress_bar": False}
    found = []
    for has_workers in (True, False):
        if not has_workers:
            monkeypatch.setattr(_workers, "_client", lambda: None)
        found.append(cells.copy())
        yt.tl.select(found[-1], 6, **keys, **FEW)
    assert_same(*found)


def test_stability_is_the_same(cells: AnnData, client: Client, moved: list[Any]) -> None:
    def repeated() -> tuple[pd.DataFrame, dict[str, Any]]:
        adata = cells.copy()
        yt.tl.stability(
            adata,
            5,
            n_runs=3,
            categorical_keys="task_0",
            progress_bar=False,
            select_kwargs=FEW,
        )
        return adata.var, adata.uns["yoto_stability"]

    there = repeated()
    assert len(moved) == 4  # the problem, and each run
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_workers, "_client", lambda: None)
        alone = repeated()
    pd.testing.assert_frame_equal(there[0], alone[0])
    pd.testing.assert_frame_equal(there[1]["panels"], alone[1]["panels"])
    pd.testing.assert_frame_equal(there[1]["runs"], alone[1]["runs"])


def test_a_run_that_fails_on_a_worker_is_left_out(cells: AnnData, client: Client) -> None:
    adata = cells.copy()
    with pytest.raises(RuntimeError, match="2 of 2 runs failed"):
        yt.tl.stability(
            adata,
            5,
            n_runs=2,
            categorical_keys="task_0",
            progress_bar=False,
            select_kwargs={**FEW, "train_kwargs": {"plan_kwargs": {"lr": float("nan")}}},
        )


def test_a_callback_keeps_trainings_here(client: Client, moved: list[Any], cells: AnnData) -> None:
    from lightning.pytorch.callbacks import Callback

    class Counting(Callback):
        n_started = 0

        def on_train_start(self, *_: Any) -> None:
            Counting.n_started += 1

    selected(cells, train_kwargs={"callbacks": [Counting()]})
    assert moved == []
    assert Counting.n_started == 3


def once(path: Path, number: int) -> int:
    """Kill the process at the first call."""
    if not path.exists():
        path.touch()
        os._exit(1)
    return number


def test_a_worker_that_dies_is_survived(client: Client, tmp_path: Path) -> None:
    numbers = shared(7)
    finish = aside(once, tmp_path / "died", numbers)
    assert finish() == 7
    assert (tmp_path / "died").exists()


def test_within_a_task_nothing_is_spread(client: Client) -> None:
    assert may_move("cpu", {})
    assert not client.submit(may_move, "cpu", {}).result()


def test_without_a_client_all_is_done_here() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_workers, "_client", lambda: None)
        assert not may_move("cpu", {})
        assert aside(os.getpid)() == os.getpid()
        assert shared(3) == 3
