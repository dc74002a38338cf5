"""Ctrl-C stops a training, and leaves everything as it was."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from lightning.pytorch.callbacks import Callback

import yoto_sc as yt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

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
