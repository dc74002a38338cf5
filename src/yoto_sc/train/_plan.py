"""The training plan: shrinking the panel while the network learns."""

from __future__ import annotations

from itertools import compress
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pandas as pd
import torch
from lightning.pytorch import LightningModule

from yoto_sc.judge import mean_score
from yoto_sc.nn import narrow
from yoto_sc.select import MANY_CLASSES, stepwise_order
from yoto_sc.train._module import X_KEY

if TYPE_CHECKING:
    from collections.abc import Callable

    from lightning.pytorch.core.optimizer import LightningOptimizer
    from numpy.typing import NDArray

    from yoto_sc.train._batches import SelectionData, Tensors
    from yoto_sc.train._module import YOTOModule
    from yoto_sc.train._recipe import Network, Recipe
    from yoto_sc.train._start import Start

_WARMUP_STEPS = 20
"""Steps over which the learning rate of the weights rises to its value."""
_MAX_SCORE_LR, _SCORE_LR_SLOPE = 5e-3, 3e-6
_DECAYED = (".weight", ".presence", ".skip")
"""Parameters that multiply expression or the representation, and so get weight decay."""


class SelectionTrainingPlan(LightningModule):
    """Trains a :class:`YOTOModule` along an :class:`~yoto_sc.nn.Annealing` of its panel.

    While genes are selected, their scores learn together with the weights, and those that fall far
    behind are dropped for good.

    Where sums over the panel are capped, the scores bear what the caps make a gene cost (Lagrange
    multipliers, renewed in every epoch), the genes that are kept always hold a panel that meets
    the rules, and the panel is the best one by the scores without these costs.

    Parameters
    ----------
    module
        The network, with the genes to start from. One whose scores learn no more has its panel,
        and is refined from the first step on.
    data
        Its batches.
    start
        These genes, the rules on them, which a panel of them can meet, and which tasks they are
        selected for; the network learns them all.
    recipe
        How to train.
    """

    def __init__(
        self, module: YOTOModule, data: SelectionData, start: Start, recipe: Recipe
    ) -> None:
        super().__init__()
        self.automatic_optimization = False  # its bookkeeping is a tenth of steps this short
        self.module = module
        self.recipe = recipe
        self.annealing = recipe.annealing
        self.told = start.told
        self._is_wide = start.is_final or any(
            len(task.categories) > MANY_CLASSES for task in module.tasks
        )
        self.genes = np.arange(module.n_genes)
        self.dropped: list[int] = []
        self._data = data
        # In the space of the start, as are `genes`; module and data are narrowed on the way.
        self._rules = start.rules
        self._penalty = np.zeros(module.n_genes)
        self._generator: torch.Generator | None = None
        self._step = 0
        self._epoch_loss = torch.zeros(())
        self._validation = (np.nan, np.nan)  # loss and score
        self._history: list[tuple[int, int, float, float, float]] = []

    @property
    def history(self) -> pd.DataFrame:
        """One row for each epoch: step, n_genes, and losses and score at its end."""
        columns = ["step", "n_genes", "train_loss", "validation_loss", "validation_score"]
        return pd.DataFrame(self._history, columns=columns)

    @property
    def ranking(self) -> NDArray[np.intp]:
        """All genes of a finished training, best first: the panel, then the last dropped ones."""
        return np.concatenate([self.genes, np.array(self.dropped[::-1], dtype=np.intp)])

    @property
    def size(self) -> int:
        """Number of genes in the mask now."""
        size = self.annealing.size(self._progress)
        return min(size, self.module.n_genes)

    @property
    def _optimizer(self) -> torch.optim.Optimizer:
        return self.trainer.optimizers[0]

    @property
    def _is_selecting(self) -> bool:
        return self.module.selector.scores.requires_grad

    @property
    def _score_lr(self) -> float:
        if self.recipe.score_lr is not None:
            return self.recipe.score_lr
        return min(_MAX_SCORE_LR, _SCORE_LR_SLOPE * len(self._data.train) / self.annealing.n_genes)

    @property
    def _network(self) -> Network:
        return self.recipe.selection_network if self._is_selecting else "encoder"

    @property
    def _progress(self) -> float:
        return self._step / self.recipe.max_steps

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return one optimizer: weights with decay, other parameters and scores without."""
        scores = self.module.selector.scores
        weights = {name: p for name, p in self.module.named_parameters() if p is not scores}
        decayed = [p for name, p in weights.items() if name.endswith(_DECAYED)]
        others = [p for name, p in weights.items() if not name.endswith(_DECAYED)]
        groups: list[dict[str, Any]] = [
            {"params": decayed, "weight_decay": self.recipe.weight_decay},
            {"params": others},
            {
                "params": [scores],
                "lr": self._score_lr,
                "betas": (0.98, 0.99),  # their gradients are noisy: average over more steps
            },
        ]
        return torch.optim.AdamW(
            groups,
            lr=self.recipe.lr,
            betas=(0.9, 0.99),
            eps=1e-8,
            weight_decay=0.0,
            # In one pass; of fewer genes and classes, the same bits are worth more than the time.
            fused=self._is_wide and self.module.device.type == "cpu",
        )

    def on_fit_start(self) -> None:
        """Make a generator of our own where the network is, and bring the cells there."""
        self._generator = torch.Generator(self.device).manual_seed(self.recipe.seed)
        self._data.to(self.device)

    def on_train_epoch_start(self) -> None:
        """Drop the genes that have fallen behind; when the panel is final, begin to refine."""
        if self._is_selecting and self.annealing.is_selecting(self._progress):
            self._reprice()
            n_kept = round(self.recipe.keep_factor * self.size)
            if n_kept < 0.75 * self.module.n_genes:
                self._narrow(n_kept)
        else:
            self._finish_selection()
        self._epoch_loss = torch.zeros((), device=self.device)
        self._validation = (np.nan, np.nan)

    def training_step(self, batch: Callable[[], Tensors], batch_idx: int) -> None:
        """Take the steps of an epoch, of the weights and, while genes are selected, their scores.

        Lightning gets them as one: its bookkeeping takes as long as half a step.
        """
        optimizer = cast("LightningOptimizer", self.optimizers())
        for _ in range(min(self._data.n_steps, self.recipe.max_steps - self._step)):
            factor = min(1.0, (self._step + 1) / _WARMUP_STEPS)
            factor *= self.annealing.lr_factor(self._progress)
            for group in self._optimizer.param_groups[:2]:
                group["lr"] = self.recipe.lr * factor
            loss = self._loss(self._on_device(batch()), self._training_mask())
            self._epoch_loss += loss.detach()
            self._step += 1
            optimizer.zero_grad()
            loss.backward()  # full precision: there is nothing for Lightning to scale
            optimizer.step()

    def on_train_end(self) -> None:
        """Leave the panel, in the order of its ranks, however short the training was."""
        self._finish_selection()

    def on_train_epoch_end(self) -> None:
        """Log the epoch's mean loss and the panel size it ended with."""
        n_steps = self._step - (self._history[-1][0] if self._history else 0)
        train_loss = self._epoch_loss / n_steps
        self.log("train_loss", train_loss)
        self.log("n_genes", float(self.size))
        self._history.append((self._step, self.size, float(train_loss), *self._validation))

    def validation_step(self, batch: Callable[[], Tensors], batch_idx: int) -> None:
        """Log held-out loss and score at the current panel size."""
        tensors = self._on_device(batch())
        encoded = self.module.inference(tensors[X_KEY], self._validation_mask(), self._network)
        outputs = self.module.generative(**encoded)
        loss = self.module.loss(tensors, encoded, outputs).loss
        predictions = [
            head.predict(output).cpu().numpy()
            for head, output in zip(self.module.heads, outputs.values(), strict=True)
        ]
        labels = [tensors[key].cpu().numpy() for key in outputs]
        score = mean_score(self.module.tasks, labels, predictions)
        self._validation = (float(loss), score)
        self.log("validation_loss", loss, batch_size=len(tensors[X_KEY]))
        self.log("validation_score", score, batch_size=len(tensors[X_KEY]))

    def _on_device(self, tensors: Tensors) -> Tensors:
        return {key: values.to(self.device) for key, values in tensors.items()}

    def _training_mask(self) -> torch.Tensor:
        if not self._is_selecting:
            return self._random_prefixes()
        mask: torch.Tensor = self.module.selector(
            self.size,
            self.annealing.temperature_at(self._progress),
            self.annealing.noise_at(self._progress),
            self._generator,
        )
        return mask

    def _validation_mask(self) -> torch.Tensor:
        if self._is_selecting:
            return self.module.selector(self.size, self.annealing.temperature.end)
        return self.module.prefix_mask(self.size)

    def _loss(self, tensors: Tensors, mask: torch.Tensor) -> torch.Tensor:
        encoded = self.module.inference(tensors[X_KEY], mask, self._network)
        outputs = self.module.generative(**encoded)
        losses = list(self.module.losses(tensors, outputs).values())
        if self._is_selecting:
            losses = list(compress(losses, self.told))
        return torch.stack(losses).sum()

    def _random_prefixes(self) -> torch.Tensor:
        """For each member, a mask of the best genes: all, or log-uniformly many."""
        n_members, n_genes = self.module.n_members, self.module.n_genes
        draws: dict[str, Any] = {"device": self.device, "generator": self._generator}
        sizes = torch.rand(n_members, **draws).mul(np.log(n_genes)).exp().round()
        whole = torch.rand(n_members, **draws) < self.recipe.full_panel_share
        sizes = torch.where(whole, float(n_genes), sizes)
        ranks = torch.arange(n_genes, device=self.device)
        return (ranks < sizes[:, None, None]).float()

    def _reprice(self) -> None:
        """Let the scores bear what the caps make each gene cost now."""
        if not self._rules.caps:
            return
        rules = self._rules.subset(self.genes)
        penalty = rules.penalties(self._free_scores(), self.annealing.n_genes)
        change = torch.from_numpy(self._penalty[self.genes] - penalty)
        with torch.no_grad():
            self.module.selector.scores.add_(change.to(self.module.selector.scores))
        self._penalty[self.genes] = penalty

    def _free_scores(self) -> NDArray[np.float64]:
        """Return the scores without what the caps make the genes cost, ``(n_genes,)``."""
        scores = self.module.selector.scores.detach().cpu().numpy().astype(np.float64)
        return scores + self._penalty[self.genes]

    def _narrow(self, n_genes: int) -> None:
        """Keep the best genes; remember the others in the order of their scores."""
        if n_genes >= self.module.n_genes:
            return
        order = self.module.selector.order()
        if self._rules.caps:
            size, rules = self.annealing.n_genes, self._rules.subset(self.genes)
            find = rules.best_panel if n_genes == size else rules.good_panel
            panel = find(self._free_scores(), size)
            first = torch.isin(order, torch.from_numpy(panel).to(order))
            order = torch.cat([order[first], order[~first]])
        self.dropped += self.genes[order[n_genes:].flip(0).cpu().numpy()].tolist()
        self._keep(order[:n_genes])

    def _finish_selection(self) -> None:
        """Cut the panel, put its genes in their final order, and start on the whole network."""
        if not self._is_selecting:
            return
        self._narrow(self.annealing.n_genes)
        values, labels = self._data.sample()
        batches = self._data.sample_batches()
        rules = self._rules.subset(self.genes)
        order = stepwise_order(
            values,
            [
                task.target(observed).within(batches)
                for task, observed in compress(
                    zip(self.module.tasks, labels, strict=True), self.told
                )
            ],
            self.module.n_genes,
            class_weight_power=self.module.class_weight_power,
            required=rules.required,
            weights=rules.weights,
        )
        self._keep(torch.from_numpy(order).to(self.device))
        self.module.selector.scores.requires_grad_(False)
        if self.recipe.selection_network == "linear":
            self.module.reset_weights(self._generator)
            self._optimizer.state.clear()

    def _keep(self, order: torch.Tensor) -> None:
        index = order.cpu().numpy()
        narrow(self.module, order, self._optimizer)
        self._data.narrow(index)
        self.genes = self.genes[index]
