"""The same call gives the same bits, and leaves no trace on global state."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
import scvi
import torch

import yoto_sc as yt

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from pathlib import Path

    from anndata import AnnData

    Unchanged = Callable[[], AbstractContextManager[None]]


def test_same_seed_twice(
    adata: AnnData,
    selected: AnnData,
    select: Callable[..., Any],
    state_of: Callable[..., Any],
) -> None:
    select(adata, random_state=0)
    assert state_of(adata) == state_of(selected)


def test_another_process(
    selected: AnnData, elsewhere: Any, assert_same_predictions: Callable[..., None]
) -> None:
    ours, theirs = selected.var.filter(like="yoto"), elsewhere.selected.var.filter(like="yoto")
    pd.testing.assert_frame_equal(theirs, ours, check_exact=True)
    assert_same_predictions(elsewhere.selected, selected)
    for name in ("metrics", "history"):
        table = elsewhere.selected.uns["yoto"][name]
        pd.testing.assert_frame_equal(
            table, selected.uns["yoto"][name], check_exact=True, check_dtype=False
        )


def test_seeds_differ(adata: AnnData, selected: AnnData, select: Callable[..., Any]) -> None:
    """Networks and held-out cells do; the panel may be the same."""
    select(adata, random_state=1)
    held_out = [set(data.uns["yoto"]["held_out"].index) for data in (adata, selected)]
    assert held_out[0] != held_out[1]
    assert not np.array_equal(adata.obsm["X_yoto"], selected.obsm["X_yoto"])


@pytest.mark.usefixtures("own_seeds")
def test_callers_seeds_do_not_matter(
    adata: AnnData, selected: AnnData, select: Callable[..., Any]
) -> None:
    select(adata)
    pd.testing.assert_frame_equal(adata.var, selected.var)
    np.testing.assert_array_equal(adata.obsm["X_yoto"], selected.obsm["X_yoto"])


@pytest.mark.usefixtures("own_seeds", "selected")  # what is imported by now is no trace
def test_global_state_is_untouched(
    adata: AnnData, select: Callable[..., Any], unchanged_state: Unchanged
) -> None:
    with unchanged_state():
        select(adata, max_steps=2)


@pytest.mark.usefixtures("own_seeds")
def test_global_state_is_untouched_by_predictions(
    adata: AnnData, model_dir: Path, unchanged_state: Unchanged
) -> None:
    with unchanged_state():
        yt.tl.predict(adata, model_dir)


@pytest.mark.usefixtures("own_seeds")
def test_settings_of_the_caller_are_restored(
    adata: AnnData,
    select: Callable[..., Any],
    unchanged_state: Unchanged,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def handler(*args: object) -> None: ...

    old = signal.signal(signal.SIGINT, handler)
    monkeypatch.setattr(scvi.settings, "_seed", 12)
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        with unchanged_state():
            select(adata, max_steps=2)
    finally:
        signal.signal(signal.SIGINT, old)
        torch.use_deterministic_algorithms(False)


def test_settings_of_the_gpu_libraries_are_restored(
    adata: AnnData, select: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", True)
    select(adata, max_steps=2)
    assert "CUBLAS_WORKSPACE_CONFIG" not in os.environ
    assert torch.backends.cudnn.benchmark
