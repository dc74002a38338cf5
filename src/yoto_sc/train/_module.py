"""The module: selector, encoder and heads as one scvi-tools module."""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, Any, cast

import torch
from scvi.module.base import BaseModuleClass, LossOutput
from torch import nn

from yoto_sc._progress import progress
from yoto_sc.data import Levels, joined
from yoto_sc.nn import HEADS, Encoder, Head, Selector, narrow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from yoto_sc.data import Task
    from yoto_sc.nn import Relaxation
    from yoto_sc.train._recipe import Network
    from yoto_sc.train._start import Start

X_KEY = "X"
_BLOCK_CELLS = 4096
"""Cells that are predicted at once."""


def task_key(position: int) -> str:
    """Registry key of a task. Positions, not names: names may hold dots, which torch refuses."""
    return f"task_{position}"


class YOTOModule(BaseModuleClass):
    """Selector, shared encoder, and one head for each task.

    The module only ever narrows: to fewer genes as the panel
    shrinks, and in the end to the panel itself, in the order of its ranks.

    Parameters
    ----------
    n_genes
        Number of genes to start with.
    tasks
        What to predict.
    n_hidden
        Units of each encoder.
    n_members
        Size of the ensemble of encoders.
    class_weight_power
        See :class:`~yoto_sc.nn.CrossEntropyHead`.
    relaxation
        See :class:`~yoto_sc.nn.Selector`.
    generator
        Source of the initial weights; `None`: torch's own.
    """

    def __init__(
        self,
        n_genes: int,
        tasks: Sequence[Task],
        n_hidden: int = 64,
        n_members: int = 4,
        class_weight_power: float = 0.5,
        relaxation: Relaxation = "threshold",
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.tasks = tuple(tasks)
        self.levels = Levels()
        self.robust: YOTOModule | None = None
        self.n_members = n_members
        self.class_weight_power = class_weight_power
        self.selector = Selector(n_genes, relaxation)
        self.encoder = Encoder(n_genes, n_hidden, n_members, generator)
        self._heads = nn.ModuleList(
            HEADS[task.head](
                n_genes,
                n_hidden,
                n_members,
                task.n_outputs,
                class_weight_power=class_weight_power,
                generator=generator,
            )
            for task in tasks
        )

    @property
    def heads(self) -> list[Head]:
        """One head for each task, in their order."""
        return cast("list[Head]", list(self._heads))

    @property
    def n_genes(self) -> int:
        """Number of genes the module still has."""
        return len(self.selector.scores)

    def on_load(self, model: Any, **kwargs: Any) -> None:
        """Narrow to the genes of the saved :class:`~yoto_sc.model.YOTO`, so that weights fit."""
        if model.selection_ is not None:
            narrow(self, torch.arange(model.selection_.n_trained))
            self.levels = model.selection_.levels
            if model.selection_.robust is not None:
                self.robust = deepcopy(self)

    @torch.no_grad()
    def begin(
        self,
        start: Start,
        moments: tuple[NDArray[np.float32], NDArray[np.float32]],
        labels: Sequence[NDArray[Any]],
    ) -> None:
        """Take over what is known before training.

        Parameters
        ----------
        start
            The genes of the module, with their initial scores.
        moments
            Mean and standard deviation of expression over the training cells, ``(n_genes,)``.
        labels
            For each task, the encoded labels of the training cells, ``(n_train,)``.
        """
        self.selector.scores.copy_(torch.from_numpy(start.scores))
        self.selector.required.copy_(torch.from_numpy(start.required))
        self.encoder.mean.copy_(torch.from_numpy(moments[0]))
        self.encoder.scale.copy_(torch.from_numpy(moments[1]))
        for task, head, task_labels in zip(self.tasks, self.heads, labels, strict=True):
            head.calibrate(torch.from_numpy(task_labels), task.class_weights)

    def reset_weights(self, generator: torch.Generator | None = None) -> None:
        """Forget what the network has learned, but not the genes; new weights are drawn."""
        self.encoder.reset_weight(generator)
        for head in self.heads:
            head.reset_linear()

    def prefix_mask(self, n_genes: int) -> torch.Tensor:
        """Return the mask of the first genes, ``(n_genes,)``; genes are in the order of ranks."""
        return (torch.arange(self.n_genes, device=self.device) < n_genes).float()

    def _get_inference_input(
        self,
        tensors: dict[str, torch.Tensor],
        mask: torch.Tensor | None = None,
        network: Network = "encoder",
    ) -> dict[str, Any]:
        mask = self.prefix_mask(self.n_genes) if mask is None else mask
        return {"values": tensors[X_KEY], "mask": mask, "network": network}

    def inference(
        self, values: torch.Tensor, mask: torch.Tensor, network: Network = "encoder"
    ) -> dict[str, Any]:
        """Encode the genes under the mask.

        Parameters
        ----------
        values
            Expression of shape ``(n_members, n_obs, n_genes)``, or ``(n_obs, n_genes)`` if all
            members see the same cells.
        mask
            Shape ``(n_genes,)`` or ``(n_members, 1, n_genes)``.
        network
            ``"encoder"``: the whole network. ``"linear"``: the heads read the genes alone.
        """
        inputs = self.encoder.standardize(values, mask)
        if inputs.dim() == 2:
            inputs = inputs.expand(self.n_members, -1, -1)
        hidden = self.encoder(inputs, mask) if network == "encoder" else None
        return {"hidden": hidden, "inputs": inputs}

    def _get_generative_input(
        self, tensors: dict[str, torch.Tensor], inference_outputs: dict[str, Any]
    ) -> dict[str, Any]:
        return inference_outputs

    def generative(
        self, hidden: torch.Tensor | None, inputs: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """Return every head's outputs, each ``(n_members, n_obs, n_outputs)``, by task key."""
        return {task_key(i): head(hidden, inputs) for i, head in enumerate(self.heads)}

    def loss(
        self,
        tensors: dict[str, torch.Tensor],
        inference_outputs: dict[str, Any],
        generative_outputs: dict[str, torch.Tensor],
    ) -> LossOutput:
        """Sum the tasks' losses by their weights, each averaged over the members."""
        losses = self.losses(tensors, generative_outputs)
        total = torch.stack(list(losses.values())).sum()
        n_obs = inference_outputs["inputs"].shape[1]
        return LossOutput(loss=total, n_obs_minibatch=n_obs, extra_metrics=losses)

    def losses(
        self, tensors: dict[str, torch.Tensor], outputs: dict[str, torch.Tensor]
    ) -> dict[str, torch.Tensor]:
        """Return the tasks' losses by task key, relative to a constant guess, times the weight."""
        losses = {}
        for task, key, head in zip(self.tasks, outputs, self.heads, strict=True):
            labels = tensors[key]
            if tensors[X_KEY].dim() == 2:  # all members see the same cells
                labels = labels.expand(self.n_members, *labels.shape)
            losses[key] = task.weight * head.loss(outputs[key], labels).mean()
        return losses

    @torch.inference_mode()
    def predict(
        self,
        values: torch.Tensor,
        n_genes: int | None = None,
        measured: torch.Tensor | None = None,
        *,
        calibrated: bool = True,
    ) -> tuple[list[torch.Tensor], torch.Tensor]:
        """Predict from the first genes of a module narrowed in rank order.

        Parameters
        ----------
        values
            Expression on the model's scale, shape ``(n_obs, n_genes)``; columns past `n_genes`
            are not read.
        n_genes
            Number of genes to use; `None`: all.
        measured
            Which of these were measured, bool of shape ``(n_genes,)``; `None`: all of them.
            Values of the others do not matter.
        calibrated
            Whether to calibrate the predictions for the number of genes, and to make those of
            levels of one tree agree.

        Returns
        -------
        For each task its prediction, of shape ``(n_obs, n_outputs)`` for classes and vectors and
        ``(n_obs,)`` for numbers, and the representation, ``(n_obs, n_members * n_hidden)``.
        """
        n_genes = self.n_genes if n_genes is None else n_genes
        mask = self.prefix_mask(n_genes)
        if measured is not None:
            mask[:n_genes] *= measured
        encoded = self.inference(self._padded(values, n_genes), mask)
        outputs = self.generative(**encoded).values()
        n_read = int(mask.sum()) if calibrated else None
        hidden = encoded["hidden"].transpose(0, 1).flatten(1)
        return self._predictions(list(outputs), n_read), hidden

    @torch.inference_mode()
    def predict_without(self, values: torch.Tensor, n_genes: int) -> Iterator[list[torch.Tensor]]:
        """Predict with each of the first genes unmeasured, one after the other.

        A gene is taken off what all of them add up to, so that the others are not read again.

        Parameters
        ----------
        values, n_genes
            As for `predict`.

        Yields
        ------
        The predictions that `predict` would return with this one gene not `measured`.
        """
        mask = self.prefix_mask(n_genes)
        inputs = self.encoder.standardize(self._padded(values, n_genes), mask)
        inputs = inputs.expand(self.n_members, -1, -1)
        hidden = self.encoder.project(inputs, mask)
        linear = [torch.baddbmm(head.bias, inputs, head.skip) for head in self.heads]
        for gene in range(n_genes):
            column, one = inputs[:, :, gene, None], slice(gene, gene + 1)
            rest = hidden - column * self.encoder.weight[:, one] - self.encoder.presence[:, one]
            activated = self.encoder.activate(rest)
            outputs = [
                head.joined(activated, whole - column * head.skip[:, one])
                for head, whole in zip(self.heads, linear, strict=True)
            ]
            yield self._predictions(outputs, n_genes - 1)

    def _padded(self, values: torch.Tensor, n_genes: int) -> torch.Tensor:
        """Return values of the first genes, and zeros for the others of the module."""
        padded = values.new_zeros(len(values), self.n_genes)
        padded[:, :n_genes] = values[:, :n_genes]
        return padded

    def _predictions(self, outputs: list[torch.Tensor], n_read: int | None) -> list[torch.Tensor]:
        """Turn outputs into predictions, calibrated for the number of genes that were read."""
        predictions = [
            head.predict(output) for head, output in zip(self.heads, outputs, strict=True)
        ]
        if n_read is None:
            return predictions
        predictions = [
            head.calibrated(prediction, n_read)
            for head, prediction in zip(self.heads, predictions, strict=True)
        ]
        if self.levels:
            agreed = self.levels.reconcile([p.cpu().numpy() for p in predictions])
            predictions = [torch.from_numpy(p).to(self.device) for p in agreed]
        return predictions

    def predict_all(
        self,
        n_obs: int,
        values: Callable[[slice], NDArray[np.float32]],
        n_genes: int,
        measured: NDArray[np.bool_] | None = None,
        *,
        embedding: bool = True,
    ) -> tuple[list[NDArray[Any]], NDArray[np.float32]]:
        """Do as `predict` does, for any number of cells, block by block.

        Parameters
        ----------
        n_obs
            Number of cells.
        values
            Returns the expression of a slice of them, ``(n_cells, n_genes)``.
        n_genes, measured
            As for `predict`.
        embedding
            Whether to return the representation; else it has no columns.
        """
        there = None if measured is None else torch.from_numpy(measured).to(self.device)
        starts = range(0, max(n_obs, 1), _BLOCK_CELLS)

        def blocks() -> Iterator[list[NDArray[Any]]]:
            for start in starts:
                part = torch.from_numpy(values(slice(start, start + _BLOCK_CELLS)))
                told, latent = self.predict(part.to(self.device), n_genes, there)
                kept = latent if embedding else latent[:, :0]
                yield [tensor.cpu().numpy() for tensor in (*told, kept)]
                done()

        with progress("Predicting cells", len(starts), "block") as done:
            *predictions, embedded = joined(n_obs, blocks())
        return predictions, embedded

    def sample(self, *args: Any, **kwargs: Any) -> None:
        """Refuse: the model is discriminative."""
        raise NotImplementedError("YOTO predicts labels from expression; it cannot sample data.")
