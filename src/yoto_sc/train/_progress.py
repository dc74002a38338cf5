"""The progress of a training, as a bar or in the log."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import numpy as np
from lightning.pytorch.callbacks import Callback

if TYPE_CHECKING:
    import pandas as pd
    from lightning.pytorch import LightningModule, Trainer

    from yoto_sc.train._plan import SelectionTrainingPlan

logger = logging.getLogger(__name__)

_N_LINES = 10
"""Lines of a training in the log, where there is no bar."""


class SelectionProgress(Callback):
    """Shows panel size, loss and held-out score after each epoch."""

    def __init__(self, plan: SelectionTrainingPlan, description: str, *, bar: bool) -> None:
        self._plan = plan
        self._description = description
        self._has_bar = bar
        self._bar: Any = None
        self._n_lines = 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Show the bar."""
        if self._has_bar:
            from tqdm.auto import tqdm

            n_steps = self._plan.recipe.max_steps
            self._bar = tqdm(total=n_steps, desc=self._description, unit="step")

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Report the epoch that is over."""
        self._report()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Report the end."""
        self._report()
        self._close()

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Close the bar where it stands."""
        self._close()

    def _report(self) -> None:
        if self._plan.history.empty:
            return
        epoch, n_steps = self._plan.history.iloc[-1], self._plan.recipe.max_steps
        step = int(epoch["step"])
        if self._bar is not None:
            self._bar.set_postfix(_shown(epoch), refresh=False)
            self._bar.update(step - self._bar.n)
        elif not self._has_bar and _N_LINES * step // n_steps > self._n_lines:
            self._n_lines = _N_LINES * step // n_steps
            shown = ", ".join(f"{name} {value}" for name, value in _shown(epoch).items())
            logger.info("%s: step %d of %d, %s", self._description, step, n_steps, shown)

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()


def _shown(epoch: pd.Series) -> dict[str, str]:
    shown = {"genes": f"{epoch['n_genes']:.0f}", "loss": f"{epoch['train_loss']:.3f}"}
    if np.isfinite(epoch["validation_score"]):
        shown["held-out score"] = f"{epoch['validation_score']:.3f}"
    return shown
