"""Bars and lines in the log for what takes long."""

from __future__ import annotations

import inspect
import logging
from typing import TYPE_CHECKING, Any

import dask.array as da

import yoto_sc as yt
from yoto_sc import _progress
from yoto_sc._progress import progress, shows_progress
from yoto_sc.data import _chunked

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest
    from anndata import AnnData


@shows_progress
def work(n: int, *, progress_bar: bool = True) -> int:
    """Do nothing, n times."""
    del progress_bar
    with progress("Working", n, "thing") as done:
        for _ in range(n):
            done()
    return n


def test_a_bar_is_shown_where_it_is_wanted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert work(3) == 3
    assert capsys.readouterr().err == ""  # soon done
    monkeypatch.setattr(_progress, "_DELAY", 0)
    assert work(3) == 3
    assert "Working: " in capsys.readouterr().err
    assert work(3, progress_bar=False) == 3
    assert capsys.readouterr().err == ""
    assert list(inspect.signature(work).parameters) == ["n", "progress_bar"]


def test_lines_in_the_log_tell_the_time_that_is_left(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    times = iter([0.0, 4.0, 12.0, 21.0, 40.0])
    monkeypatch.setattr(_progress.time, "monotonic", lambda: next(times))
    with caplog.at_level(logging.INFO, "yoto_sc"):
        work(4, progress_bar=False)
    assert [record.getMessage() for record in caplog.records] == [
        "Working: thing 2 of 4, about 12 s left"
    ]


def test_every_pass_over_a_store_has_a_bar(
    make_adata: Callable[..., AnnData],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(_progress, "_DELAY", 0)
    monkeypatch.setattr(_chunked, "_HELD_BYTES", 0)  # or it would be read into memory
    adata = make_adata()
    adata.X = da.from_array(adata.X.toarray(), chunks=(50, -1))
    few: dict[str, Any] = {"max_steps": 3, "accelerator": "cpu", "group_key": None}
    yt.tl.select(adata, 4, categorical_keys="task_0", fraction_range=(0, 1), **few)
    shown = capsys.readouterr().err
    for what in ("Checking expression", "Summing over", "Reading cells", "Predicting cells"):
        assert f"{what}" in shown
    yt.tl.select(adata, 4, categorical_keys="task_0", progress_bar=False, **few)
    assert capsys.readouterr().err == ""


def test_a_bar_of_few_long_parts_is_there_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    @shows_progress
    def slow(*, progress_bar: bool = True) -> None:
        del progress_bar
        with progress("Thinking", 1, at_once=True):
            assert "Thinking: " in capsys.readouterr().err

    slow()


def test_every_phase_of_a_selection_has_a_bar(
    make_adata: Callable[..., AnnData], capsys: pytest.CaptureFixture[str]
) -> None:
    adata = make_adata()
    few: dict[str, Any] = {"max_steps": 3, "accelerator": "cpu", "group_key": None}
    yt.tl.select(adata, 4, categorical_keys="task_0", **few)
    shown = capsys.readouterr().err
    phases = ["Looking at all genes", "Finding where to start", "Selecting genes"]
    phases += ["Judging on held-out cells", "Selecting on all cells", "Describing the panel"]
    places = [shown.find(f"{phase}: ") for phase in phases]
    assert min(places) >= 0
    assert places == sorted(places)
    yt.tl.substitutes(adata, n=1)
    shown = capsys.readouterr().err
    assert 0 <= shown.find("Finding roles: ") < shown.find("Trying substitutes: ")
    yt.tl.substitutes(adata, n=1, progress_bar=False)
    assert capsys.readouterr().err == ""
