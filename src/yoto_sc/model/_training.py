"""One training: from a split of the cells to a ranked, trained and narrowed network."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from yoto_sc.model._data import SelectionData
from yoto_sc.model._plan import SelectionTrainingPlan
from yoto_sc.model._progress import SelectionLog, SelectionProgress
from yoto_sc.model._run import run, seeded
from yoto_sc.model._start import find_start

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray
    from scvi.train import Trainer

    from yoto_sc._expression import Expression
    from yoto_sc._rules import GeneRules
    from yoto_sc.model._module import YOTOModule
    from yoto_sc.model._splits import Split
    from yoto_sc.nn import Annealing

_N_EPOCHS = 40
"""Epochs of a training; the held-out cells are looked at after each."""


@dataclass(frozen=True)
class Trained:
    """What a training came to.

    Parameters
    ----------
    plan, data
        The training, over, and its cells; both narrowed to the trained genes in rank order.
    split
        Training and held-out cells.
    ranking
        Indices of the ranked genes, best first.
    trainer
        What ran it.
    """

    plan: SelectionTrainingPlan
    data: SelectionData
    split: Split
    ranking: NDArray[np.intp]
    trainer: Trainer


@dataclass(frozen=True)
class Training:
    """A training as it is to be run, on whatever cells.

    Parameters
    ----------
    module
        The network to start from; it is left as it is.
    expression
        Expression of all cells and genes.
    labels
        Encoded labels by registry key, each of shape ``(n_obs,)``.
    rules
        What the panel must be like.
    annealing
        Course of the panel.
    n_candidates
        Number of genes that screening leaves.
    max_steps, batch_size
        Number of batches, and of cells in each of them.
    random_state
        Seed.
    accelerator, devices, progress_bar
        As in `YOTO.train`.
    plan_kwargs, trainer_kwargs
        For the plan and for scvi-tools' trainer.
    """

    module: YOTOModule
    expression: Expression
    labels: dict[str, NDArray[Any]]
    rules: GeneRules
    annealing: Annealing
    n_candidates: int
    max_steps: int
    batch_size: int
    random_state: int
    accelerator: str
    devices: int | list[int] | str
    progress_bar: bool
    plan_kwargs: Mapping[str, Any]
    trainer_kwargs: Mapping[str, Any]

    def run(self, split: Split, rng: np.random.Generator, description: str) -> Trained:
        """Train on the training cells of `split`.

        Parameters
        ----------
        split
            Training and held-out cells.
        rng
            Source of randomness.
        description
            What the progress is called.

        Raises
        ------
        KeyboardInterrupt
            The user stopped the training.
        """
        labels = list(self.labels.values())
        start = find_start(
            self.expression,
            labels,
            split.train,
            self.rules,
            self.annealing.n_genes,
            self.n_candidates,
            self.module.class_weight_power,
            rng,
        )
        n_epochs = min(_N_EPOCHS, self.max_steps)
        data = SelectionData(
            self.expression.on_model_scale(start.genes),
            self.labels,
            split,
            n_members=self.module.n_members,
            batch_size=self.batch_size,
            n_steps=-(-self.max_steps // n_epochs),
            rng=rng,
        )
        module = deepcopy(self.module)
        module.begin(start, data.train.moments(), [array[split.train] for array in labels])
        with seeded(self.random_state):
            plan = SelectionTrainingPlan(
                module,
                data,
                start.rules,
                start.told,
                self.annealing,
                max_steps=self.max_steps,
                **self.plan_kwargs,
            )
            progress = SelectionProgress if self.progress_bar else SelectionLog
            kwargs = dict(self.trainer_kwargs)
            trainer = run(
                plan,
                data,
                max_epochs=n_epochs,
                max_steps=self.max_steps,
                accelerator=self.accelerator,
                devices=1 if self.devices == "auto" else self.devices,
                callbacks=[*kwargs.pop("callbacks", []), progress(plan, description)],
                limit_val_batches=min(1, len(split.validation)),
                **kwargs,
            )
        module.eval()
        ranking = np.concatenate([start.genes[plan.ranking], start.others])
        return Trained(plan, data, split, ranking, trainer)
