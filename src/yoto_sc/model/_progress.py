"""The progress bar of a selection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lightning.pytorch.callbacks import Callback
from tqdm.auto import tqdm

if TYPE_CHECKING:
    from lightning.pytorch import LightningModule, Trainer

    from yoto_sc.model._plan import SelectionTrainingPlan


class SelectionProgress(Callback):
    """A bar over all steps that shows the panel size, the loss and the held-out score.

    Parameters
    ----------
    plan
        The training to report on.
    """

    def __init__(self, plan: SelectionTrainingPlan) -> None:
        self._plan = plan
        self._bar: Any = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Show the bar."""
        self._bar = tqdm(total=self._plan.n_total_steps, desc="Selecting genes", unit="step")

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Move the bar by an epoch."""
        shown = {"genes": str(self._plan.size)}
        for name, metric in (("loss", "train_loss"), ("held-out score", "validation_score")):
            if metric in trainer.callback_metrics:
                shown[name] = f"{float(trainer.callback_metrics[metric]):.3f}"
        self._bar.set_postfix(shown, refresh=False)
        self._bar.update(pl_module.global_step - self._bar.n)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Close the bar."""
        self._bar.close()

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Close the bar where it stands."""
        if self._bar is not None:
            self._bar.close()
