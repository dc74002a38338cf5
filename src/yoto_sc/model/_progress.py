"""The progress of a selection, as a bar or in the log."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import numpy as np
from lightning.pytorch.callbacks import Callback
from tqdm.auto import tqdm

if TYPE_CHECKING:
    import pandas as pd
    from lightning.pytorch import LightningModule, Trainer

    from yoto_sc.model._plan import SelectionTrainingPlan

logger = logging.getLogger(__name__)

_N_LINES = 10
"""Lines of a training in the log."""


class SelectionProgress(Callback):
    """A bar over all steps that shows the panel size, the loss and the held-out score.

    Parameters
    ----------
    plan
        The training to report on.
    description
        What it is called.
    """

    def __init__(self, plan: SelectionTrainingPlan, description: str) -> None:
        self._plan = plan
        self._description = description
        self._bar: Any = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Show the bar."""
        self._bar = tqdm(total=self._plan.n_total_steps, desc=self._description, unit="step")

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Move the bar by the epoch that is over."""
        self._update()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Move the bar to its end and close it."""
        self._update()
        self._bar.close()

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Close the bar where it stands."""
        if self._bar is not None:
            self._bar.close()

    def _update(self) -> None:
        if self._plan.history.empty:
            return
        epoch = self._plan.history.iloc[-1]
        self._bar.set_postfix(_shown(epoch), refresh=False)
        self._bar.update(int(epoch["step"]) - self._bar.n)


class SelectionLog(Callback):
    """A line in the log for each tenth of the training, where there is no bar.

    Parameters
    ----------
    plan
        The training to report on.
    description
        What it is called.
    """

    def __init__(self, plan: SelectionTrainingPlan, description: str) -> None:
        self._plan = plan
        self._description = description
        self._n_lines = 0

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Report the epoch that is over."""
        self._update()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Report the end."""
        self._update()

    def _update(self) -> None:
        if self._plan.history.empty:
            return
        epoch, n_steps = self._plan.history.iloc[-1], self._plan.n_total_steps
        n_lines = _N_LINES * int(epoch["step"]) // n_steps
        if n_lines > self._n_lines:
            self._n_lines = n_lines
            shown = ", ".join(f"{name} {value}" for name, value in _shown(epoch).items())
            logger.info("%s: step %d of %d, %s", self._description, epoch["step"], n_steps, shown)


def _shown(epoch: pd.Series) -> dict[str, str]:
    shown = {"genes": f"{epoch['n_genes']:.0f}", "loss": f"{epoch['train_loss']:.3f}"}
    if np.isfinite(epoch["validation_score"]):
        shown["held-out score"] = f"{epoch['validation_score']:.3f}"
    return shown
