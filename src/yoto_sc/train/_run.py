"""Running Lightning without leaving traces: threads, flags, log lines and signal handlers."""

from __future__ import annotations

import logging
import os
import signal
import threading
import warnings
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from scvi.train import Trainer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from yoto_sc.train._batches import SelectionData
    from yoto_sc.train._plan import SelectionTrainingPlan

_WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"
"""Environment variable that Lightning sets to make CUDA deterministic."""


def run(plan: SelectionTrainingPlan, data: SelectionData, **trainer_kwargs: Any) -> Trainer:
    """Train, quietly; an interruption by the user arrives as a `KeyboardInterrupt`.

    Raises
    ------
    ValueError
        Lightning refuses the arguments, such as an accelerator that is not there.
    KeyboardInterrupt
        The user stopped the training. Lightning itself would exit the process.
    """
    defaults = {
        "benchmark": False,
        "deterministic": True,
        "check_val_every_n_epoch": 1,
        "enable_progress_bar": False,
        "log_every_n_steps": 1,
    }
    with _trainings.one_more(), _sigint_restored():
        try:
            trainer = Trainer(**{**defaults, **trainer_kwargs})
        except MisconfigurationException as error:
            raise ValueError(f"Lightning's trainer cannot be set up: {error}") from error
        try:
            trainer.fit(plan, datamodule=data)
        except SystemExit as exit_:
            if isinstance(exit_.__context__, KeyboardInterrupt):
                raise KeyboardInterrupt(
                    "Training was stopped; no panel was selected and nothing was changed."
                ) from None
            raise
    return trainer


class _Trainings:
    """The trainings that are under way, in whatever threads, and what Lightning sets for them.

    It sets flags of the whole process. So what they were is noted by the first training that
    begins, and put back by the last one that ends.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._n_running = 0
        self._restore = ExitStack()

    @contextmanager
    def one_more(self) -> Iterator[None]:
        with self._lock:
            if self._n_running == 0:
                self._restore.enter_context(_flags_restored())
                self._restore.enter_context(_quiet_lightning())
                self._restore.enter_context(warnings.catch_warnings())
                # Lightning's own use of a torch function that torch has deprecated.
                warnings.filterwarnings("ignore", message=r"`isinstance\(treespec, LeafSpec\)`")
            self._n_running += 1
        try:
            yield
        finally:
            with self._lock:
                self._n_running -= 1
                if self._n_running == 0:
                    self._restore.close()


_trainings = _Trainings()
one_more_training = _trainings.one_more
"""Context of what belongs to a training and changes filters of warnings, as scikit-learn does."""


@contextmanager
def _flags_restored() -> Iterator[None]:
    """Put torch's flags, and the environment, back as they were."""
    deterministic = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    benchmark = torch.backends.cudnn.benchmark
    workspace = os.environ.get(_WORKSPACE)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)
        torch.backends.cudnn.benchmark = benchmark
        if workspace is None:
            os.environ.pop(_WORKSPACE, None)
        else:
            os.environ[_WORKSPACE] = workspace


@contextmanager
def _quiet_lightning() -> Iterator[None]:
    """Keep Lightning's notes on hardware and limits, which tell a biologist nothing, away."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@contextmanager
def _sigint_restored() -> Iterator[None]:
    """Put Ctrl-C back to work: Lightning ignores it for good once it has seen one."""
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, handler)
