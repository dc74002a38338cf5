"""Ctrl-C stops a training, and leaves everything as it was."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from lightning.pytorch.callbacks import Callback

import yoto_sc as yt
from yoto_sc.nn import Encoder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from anndata import AnnData


@pytest.fixture(autouse=True)
def listening() -> Iterator[None]:
    """A process started in the background of a shell ignores SIGINT; a notebook does not."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def _raise() -> None:
    raise KeyboardInterrupt


def _signal() -> None:
    signal.raise_signal(signal.SIGINT)


class Stop(Callback):
    """Stops the training somewhere in its middle."""

    def __init__(self, how: Callable[[], None], after: int = 12) -> None:
        self.how = how
        self.left = after

    def on_train_batch_end(self, *args: Any) -> None:
        self.left -= 1
        if self.left == 0:
            self.how()


stops = pytest.mark.parametrize("how", [_raise, _signal], ids=["raised", "signal"])


@stops
@pytest.mark.parametrize("progress_bar", [False, True])
def test_adata_is_unchanged(
    adata: AnnData,
    select: Callable[..., Any],
    state_of: Callable[..., Any],
    how: Callable[[], None],
    progress_bar: bool,
    tmp_path: Any,
) -> None:
    before, handler = state_of(adata), signal.getsignal(signal.SIGINT)
    stop = {"callbacks": [Stop(how)]}
    with pytest.raises(KeyboardInterrupt):
        select(adata, train_kwargs=stop, progress_bar=progress_bar, model_dir=tmp_path / "model")
    assert signal.getsignal(signal.SIGINT) is handler
    assert state_of(adata) == before
    assert not (tmp_path / "model").exists()


@stops
def test_model_can_be_trained_again(
    adata: AnnData, model: Any, how: Callable[[], None], quick_arguments: dict[str, Any]
) -> None:
    tasks = {key: quick_arguments[key] for key in ("categorical_keys", "continuous_keys")}
    quick = {key: quick_arguments[key] for key in ("max_steps", "accelerator", "progress_bar")}
    quick["refit"] = False  # as the model of the fixture
    yt.model.YOTO.setup_anndata(adata, **tasks)
    again = yt.model.YOTO(adata, n_genes=6, **quick_arguments["model_kwargs"])
    with pytest.raises(KeyboardInterrupt):
        again.train(**quick, callbacks=[Stop(how)])
    assert not again.is_trained_
    with pytest.raises(ValueError, match="not trained"):
        again.panel()
    again.train(**quick)
    # As if nothing had been.
    assert again.panel() == model.panel()
    np.testing.assert_array_equal(
        again.get_latent_representation(), model.get_latent_representation()
    )


def test_handler_of_the_caller_is_restored(adata: AnnData, select: Callable[..., Any]) -> None:
    class Halt(Exception):
        pass

    def handler(*args: object) -> None:
        raise Halt

    old = signal.signal(signal.SIGINT, handler)
    try:
        with pytest.raises(Halt):
            select(adata, train_kwargs={"callbacks": [Stop(_signal)]})
        assert signal.getsignal(signal.SIGINT) is handler
    finally:
        signal.signal(signal.SIGINT, old)


def test_other_errors_pass(
    adata: AnnData, select: Callable[..., Any], state_of: Callable[..., Any]
) -> None:
    def fail() -> None:
        raise OSError("no space left")

    before = state_of(adata)
    with pytest.raises(OSError, match="no space left"):
        select(adata, train_kwargs={"callbacks": [Stop(fail)]})
    assert state_of(adata) == before


def test_exit_passes(adata: AnnData, select: Callable[..., Any]) -> None:
    def leave() -> None:
        raise SystemExit(3)

    with pytest.raises(SystemExit) as caught:
        select(adata, train_kwargs={"callbacks": [Stop(leave)]})
    assert caught.value.code == 3


class Passes:
    """Counts the passes through the network, and raises an error in one of them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.n = 0
        self.fatal: int | None = None
        self.error: type[BaseException] = KeyboardInterrupt
        real = Encoder.forward

        def forward(*args: Any) -> Any:
            self.n += 1
            if self.n == self.fatal:
                raise self.error
            return real(*args)

        monkeypatch.setattr(Encoder, "forward", forward)


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> Passes:
    return Passes(monkeypatch)


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
@pytest.mark.parametrize("train_kwargs", [{}, {"refit": False}], ids=["refit", "once"])
def test_adata_is_unchanged_wherever_it_stops_after_the_training(
    make_adata: Callable[..., AnnData],
    selected: AnnData,
    select: Callable[..., Any],
    state_of: Callable[..., Any],
    passes: Passes,
    error: type[BaseException],
    train_kwargs: dict[str, Any],
    tmp_path: Path,
) -> None:
    """Fresh data have no result in part, and earlier results stay."""
    arguments = {"max_steps": 2, "random_state": 1, "train_kwargs": train_kwargs}
    select(make_adata(), **arguments)
    n_passes = passes.n
    passes.error = error
    for last in range(3):
        for adata in (make_adata(), selected):
            before = state_of(adata)
            passes.n, passes.fatal = 0, n_passes - last
            with pytest.raises(error):
                select(adata, model_dir=tmp_path / "model", **arguments)
            assert state_of(adata) == before
            assert not (tmp_path / "model").exists()


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_adata_is_unchanged_if_new_cells_are_not_predicted(
    adata: AnnData,
    model_dir: Path,
    state_of: Callable[..., Any],
    passes: Passes,
    error: type[BaseException],
) -> None:
    before = state_of(adata)
    passes.fatal, passes.error = 1, error
    with pytest.raises(error):
        yt.tl.predict(adata, model_dir)
    assert state_of(adata) == before


def test_adata_is_unchanged_if_the_last_run_of_many_stops(
    make_adata: Callable[..., AnnData],
    quick_arguments: dict[str, Any],
    state_of: Callable[..., Any],
    passes: Passes,
) -> None:
    names = ("accelerator", "model_kwargs", "group_key")
    repeats = {
        "n_runs": 2,
        "categorical_keys": "task_0",
        "progress_bar": False,
        "select_kwargs": {"max_steps": 2, **{name: quick_arguments[name] for name in names}},
    }
    yt.tl.stability(make_adata(), 6, **repeats)
    adata = make_adata()
    before = state_of(adata)
    passes.n, passes.fatal = 0, passes.n
    with pytest.raises(KeyboardInterrupt):
        yt.tl.stability(adata, 6, **repeats)
    assert state_of(adata) == before
