"""The same call gives the same bits, and leaves no trace on global state."""

from __future__ import annotations

import logging
import os
import random
import signal
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
import scvi
import torch

import yoto_sc as yt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from anndata import AnnData


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


@pytest.fixture
def _own_seeds() -> Iterator[None]:
    """Seed the global generators as nobody else would, and put them back afterwards."""
    state = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    random.seed(20261)
    np.random.seed(20262)  # noqa: NPY002
    torch.manual_seed(20263)
    yield
    random.setstate(state[0])
    np.random.set_state(state[1])  # noqa: NPY002
    torch.set_rng_state(state[2])


@pytest.mark.usefixtures("_own_seeds")
def test_callers_seeds_do_not_matter(
    adata: AnnData, selected: AnnData, select: Callable[..., Any]
) -> None:
    select(adata)
    pd.testing.assert_frame_equal(adata.var, selected.var)
    np.testing.assert_array_equal(adata.obsm["X_yoto"], selected.obsm["X_yoto"])


def _global_state() -> dict[str, Any]:
    kind, keys, *position = np.random.get_state()  # noqa: NPY002
    return {
        "python generator": random.getstate(),
        "numpy generator": (kind, keys.tolist(), position),
        "torch generator": torch.get_rng_state().tolist(),
        "scvi seed": scvi.settings.seed,
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "warn only": torch.is_deterministic_algorithms_warn_only_enabled(),
        "cudnn": (torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic),
        "precision": torch.get_float32_matmul_precision(),
        "threads": torch.get_num_threads(),
        "gradients": torch.is_grad_enabled(),
        "default dtype": torch.get_default_dtype(),
        "SIGINT": signal.getsignal(signal.SIGINT),
        "SIGTERM": signal.getsignal(signal.SIGTERM),
        "environment": dict(os.environ),
        "folder": os.getcwd(),  # noqa: PTH109
        "log levels": {
            name: logging.getLogger(name).level
            for name in ("lightning.pytorch", "lightning.fabric", "scvi", "")
        },
        "warnings": list(warnings.filters),
        "numpy errors": np.geterr(),
    }


@pytest.mark.usefixtures("_own_seeds", "selected")  # what is imported by now is no trace
def test_global_state_is_untouched(adata: AnnData, select: Callable[..., Any]) -> None:
    before = _global_state()
    select(adata, max_steps=2)
    after = _global_state()
    assert {name for name in before if before[name] != after[name]} == set()


@pytest.mark.usefixtures("_own_seeds")
def test_global_state_is_untouched_by_predictions(adata: AnnData, model_dir: Path) -> None:
    before = _global_state()
    yt.tl.predict(adata, model_dir)
    after = _global_state()
    assert {name for name in before if before[name] != after[name]} == set()


@pytest.mark.usefixtures("_own_seeds")
def test_settings_of_the_caller_are_restored(
    adata: AnnData, select: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def handler(*args: object) -> None: ...

    old = signal.signal(signal.SIGINT, handler)
    monkeypatch.setattr(scvi.settings, "_seed", 12)
    torch.use_deterministic_algorithms(True, warn_only=True)
    before = _global_state()
    try:
        select(adata, max_steps=2)
        after = _global_state()
    finally:
        signal.signal(signal.SIGINT, old)
        torch.use_deterministic_algorithms(False)
    assert {name for name in before if before[name] != after[name]} == set()


def test_settings_of_the_gpu_libraries_are_restored(
    adata: AnnData, select: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", True)
    select(adata, max_steps=2)
    assert "CUBLAS_WORKSPACE_CONFIG" not in os.environ
    assert torch.backends.cudnn.benchmark
