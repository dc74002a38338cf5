"""The progress bar of a selection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lightning.pytorch.callbacks import Callback
from tqdm.auto import tqdm

if TYPE_CHECKING:
    from lightning.pytorch import Trainer

    from yoto_sc.model._plan import SelectionTrainingPlan


class SelectionProgress(Callback):
    """A bar over all steps that shows the panel size, the loss and the held-out loss.

    Parameters
    ----------
    n_total_steps
        Number of steps of the training.
    """

    def __init__(self, n_total_steps: int) -> None:
        self._n_total_steps = n_total_steps
        self._bar: Any = None

    def on_train_start(self, trainer: Trainer, pl_module: SelectionTrainingPlan) -> None:
        """Show the bar."""
        self._bar = tqdm(total=self._n_total_steps, desc="Selecting genes", unit="step")

    def on_train_epoch_end(self, trainer: Trainer, pl_module: SelectionTrainingPlan) -> None:
        """Move the bar by an epoch."""
        shown = {"genes": str(pl_module.size)}
        for name, metric in (("loss", "train_loss"), ("held-out loss", "validation_loss")):
            if metric in trainer.callback_metrics:
                shown[name] = f"{float(trainer.callback_metrics[metric]):.3f}"
        self._bar.set_postfix(shown, refresh=False)
        self._bar.update(pl_module.global_step - self._bar.n)

    def on_train_end(self, trainer: Trainer, pl_module: SelectionTrainingPlan) -> None:
        """Close the bar."""
        self._bar.close()

    def on_exception(
        self, trainer: Trainer, pl_module: SelectionTrainingPlan, exception: BaseException
    ) -> None:
        """Close the bar where it stands."""
        if self._bar is not None:
            self._bar.close()
