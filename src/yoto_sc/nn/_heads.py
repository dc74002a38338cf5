"""Heads: what a task makes of the shared representation, and how wrong it is."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import nn
from torch.nn import functional as F

if TYPE_CHECKING:
    from collections.abc import Sequence


class Head(nn.Module, ABC):
    r"""Linear read-out of the shared representation and, by a skip, of the panel itself.

    :math:`o_e = h_e V_e + (m \odot x) S_e + c_e` for each member e of the ensemble. The skip
    starts at zero; with it the network contains the linear classifiers that do well on few cells.

    Losses are means over the observed labels, in units of the loss of a constant guess: a task of
    40 classes, a rarely labelled one and a regression weigh the same.

    Parameters
    ----------
    n_genes, n_hidden, n_members, n_outputs
        Sizes of the panel, of the representation, of the ensemble, and of the output.
    generator
        Source of the initial weights; `None`: torch's own.
    """

    gene_axes: ClassVar = {"skip": 1}
    temperature: torch.Tensor | None
    """What calibrates predictions from each number of genes, ``(n_genes,)``, if anything does."""

    def __init__(
        self,
        n_genes: int,
        n_hidden: int,
        n_members: int,
        n_outputs: int,
        *,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.register_buffer("temperature", None)
        scale = 0.5 / math.sqrt(n_hidden)
        weight = torch.randn(n_members, n_hidden, n_outputs, generator=generator)
        self.weight = nn.Parameter(scale * weight)
        self.skip = nn.Parameter(torch.zeros(n_members, n_genes, n_outputs))
        self.bias = nn.Parameter(torch.zeros(n_members, 1, n_outputs))

    @torch.no_grad()
    def reset_linear(self) -> None:
        """Forget what the linear part has learned."""
        self.skip.zero_()
        self.bias.zero_()

    def forward(self, hidden: torch.Tensor | None, inputs: torch.Tensor) -> torch.Tensor:
        """Return outputs of shape ``(n_members, n_obs, n_outputs)``.

        Parameters
        ----------
        hidden
            Shape ``(n_members, n_obs, n_hidden)``; `None` leaves the skip alone, a linear model.
        inputs
            Standardised, masked expression of shape ``(n_members, n_obs, n_genes)``.
        """
        return self.joined(hidden, torch.baddbmm(self.bias, inputs, self.skip))

    def joined(self, hidden: torch.Tensor | None, linear: torch.Tensor) -> torch.Tensor:
        """Add the read-out of the representation to that of the panel; as `forward` returns it."""
        return linear if hidden is None else torch.baddbmm(linear, hidden, self.weight)

    @abstractmethod
    def calibrate(self, labels: torch.Tensor, importance: Sequence[float] = ()) -> None:
        """Learn from the training labels, ``(n_obs, …)``, what a constant guess costs.

        Parameters
        ----------
        labels
            Of the training cells; missing ones are allowed.
        importance
            What each class counts for; empty: all alike.
        """

    @abstractmethod
    def loss(self, outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Loss relative to a constant guess; 0 where no label is observed.

        Parameters
        ----------
        outputs
            Shape ``(n_members, n_obs, n_outputs)``.
        labels
            Shape ``(n_members, n_obs)``, or with a last axis of columns or of the probabilities of
            classes; missing ones are allowed.

        Returns
        -------
        Shape ``(n_members,)``.
        """

    @abstractmethod
    def is_known(self, labels: torch.Tensor) -> torch.Tensor:
        """Tell which labels the head can be calibrated to, shape ``(n_obs,)``."""

    @abstractmethod
    def predict(self, outputs: torch.Tensor) -> torch.Tensor:
        """Turn outputs, ``(n_members, n_obs, n_outputs)``, into the ensemble's prediction."""

    def calibrated(self, prediction: torch.Tensor, n_genes: int) -> torch.Tensor:
        """Calibrate what `predict` returned, for the number of genes behind it."""
        del n_genes
        return prediction


class CrossEntropyHead(Head):
    r"""Classification: cross-entropy with class weights, probabilities averaged over members.

    A temperature T for each number of genes calibrates the average p: :math:`p^{1/T}`, rescaled
    to sum to 1 (Guo et al. 2017, arXiv:1706.04599). It is 1 until it is fitted to held-out cells,
    and leaves the order of the classes as it is.

    Parameters
    ----------
    n_genes, n_hidden, n_members, n_outputs
        As in :class:`Head`; one output for each class.
    class_weight_power
        A class of n cells weighs ``n ** -class_weight_power`` for each of its cells: 0 makes cells
        count alike, 1 makes classes count alike.
    generator
        As in :class:`Head`.
    """

    gene_axes: ClassVar = {**Head.gene_axes, "temperature": 0}
    class_weights: torch.Tensor
    guess_loss: torch.Tensor
    temperature: torch.Tensor

    def __init__(
        self,
        n_genes: int,
        n_hidden: int,
        n_members: int,
        n_outputs: int,
        *,
        class_weight_power: float = 0.5,
        generator: torch.Generator | None = None,
    ) -> None:
        if not 0 <= class_weight_power <= 1:
            raise ValueError(f"class_weight_power must be from 0 to 1, not {class_weight_power}.")
        super().__init__(n_genes, n_hidden, n_members, n_outputs, generator=generator)
        self.class_weight_power = class_weight_power
        self.register_buffer("class_weights", torch.ones(n_outputs))
        self.register_buffer("guess_loss", torch.tensor(math.log(max(n_outputs, 2))))
        self.temperature = torch.ones(n_genes)

    def calibrate(self, labels: torch.Tensor, importance: Sequence[float] = ()) -> None:
        """Set class weights, and the entropy of the weighted labels as the unit of the loss."""
        if labels.dim() == 1:
            n_classes = len(self.class_weights)
            counts = torch.bincount(labels[labels >= 0], minlength=n_classes).float()
        else:
            counts = labels.double().sum(0).float()
        weights = torch.where(counts > 0, counts.clamp(min=1) ** -self.class_weight_power, 0.0)
        if importance:
            weights = weights * torch.tensor(importance)
        share = counts * weights / (counts * weights).sum()
        self.class_weights.copy_(weights * counts.sum() / (counts * weights).sum())
        self.guess_loss.copy_(torch.special.entr(share).sum().clamp(min=1e-3))

    def loss(self, outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Weighted mean cross-entropy over the observed labels.

        Of codes, -1 is missing; of probabilities, a row of zeros is.
        """
        if labels.dim() == outputs.dim():
            weighted = labels * self.class_weights
            total = -(weighted * F.log_softmax(outputs, dim=-1)).sum((1, 2))
            return total / weighted.sum((1, 2)).clamp(min=1e-6) / self.guess_loss
        observed = labels.clamp(min=0)
        weights = self.class_weights[observed] * (labels >= 0)
        losses = F.cross_entropy(outputs.flatten(0, 1), observed.flatten(), reduction="none")
        total = (losses.view_as(weights) * weights).sum(1)
        return total / weights.sum(1).clamp(min=1e-6) / self.guess_loss

    def predict(self, outputs: torch.Tensor) -> torch.Tensor:
        """Return class probabilities of shape ``(n_obs, n_outputs)``."""
        return torch.softmax(outputs, dim=-1).mean(0)

    def is_known(self, labels: torch.Tensor) -> torch.Tensor:
        """Tell which labels are of classes that the head has learned, shape ``(n_obs,)``."""
        return (labels >= 0) & (self.class_weights.to(labels.device)[labels] > 0)

    def calibrated(self, prediction: torch.Tensor, n_genes: int) -> torch.Tensor:
        """Return the probabilities at the temperature of this number of genes."""
        logits = prediction.clamp(min=torch.finfo(prediction.dtype).tiny).log()
        return torch.softmax(logits / self.temperature[n_genes - 1], dim=-1)


class VectorHead(Head):
    """Regression of vectors: squared error over the columns by their variance, mean over members.

    Parameters
    ----------
    n_genes, n_hidden, n_members, n_outputs
        As in :class:`Head`; each column of the vector is an output.
    class_weight_power
        Of no use here.
    generator
        As in :class:`Head`.
    """

    center: torch.Tensor
    spread: torch.Tensor

    def __init__(
        self,
        n_genes: int,
        n_hidden: int,
        n_members: int,
        n_outputs: int,
        *,
        class_weight_power: float = 0.5,
        generator: torch.Generator | None = None,
    ) -> None:
        del class_weight_power
        super().__init__(n_genes, n_hidden, n_members, n_outputs, generator=generator)
        self.register_buffer("center", torch.zeros(n_outputs))
        self.register_buffer("spread", torch.tensor(1.0))

    def calibrate(self, labels: torch.Tensor, importance: Sequence[float] = ()) -> None:
        """Set the centre, and one spread for all columns, from the observed values."""
        del importance
        observed = labels[~labels.isnan().any(1)].double()
        spread = observed.var(dim=0, correction=0).mean().sqrt()
        self.center.copy_(observed.mean(0).view_as(self.center))
        self.spread.copy_(spread if spread > 0 else torch.ones_like(spread))

    def loss(self, outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Mean squared error over the observed vectors, in units of their variance."""
        observed = ~labels.isnan().any(-1, keepdim=True)
        target = torch.where(observed, (labels - self.center) / self.spread, 0.0)
        errors = ((outputs - target).square() * observed).mean(-1)
        return errors.sum(1) / observed.sum((1, 2)).clamp(min=1)

    def is_known(self, labels: torch.Tensor) -> torch.Tensor:
        """Tell which labels the head can be calibrated to, shape ``(n_obs,)``."""
        return ~labels.isnan().any(-1)

    def predict(self, outputs: torch.Tensor) -> torch.Tensor:
        """Return vectors in the units of the target, of shape ``(n_obs, n_outputs)``."""
        return outputs.mean(0) * self.spread + self.center


class SquaredErrorHead(VectorHead):
    """Regression of one number: a vector of one column, whose labels have no axis of columns.

    Parameters
    ----------
    n_genes, n_hidden, n_members, n_outputs
        As in :class:`Head`; there is one output.
    class_weight_power
        Of no use here.
    generator
        As in :class:`Head`.
    """

    def __init__(
        self,
        n_genes: int,
        n_hidden: int,
        n_members: int,
        n_outputs: int = 1,
        *,
        class_weight_power: float = 0.5,
        generator: torch.Generator | None = None,
    ) -> None:
        del class_weight_power
        super().__init__(n_genes, n_hidden, n_members, n_outputs, generator=generator)
        self.center = torch.tensor(0.0)

    def calibrate(self, labels: torch.Tensor, importance: Sequence[float] = ()) -> None:
        """Set centre and spread of the target from its observed values."""
        super().calibrate(labels[:, None])

    def loss(self, outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Mean squared error over the observed values, in units of their variance."""
        return super().loss(outputs, labels[..., None])

    def is_known(self, labels: torch.Tensor) -> torch.Tensor:
        """Tell which labels the head can be calibrated to, shape ``(n_obs,)``."""
        return ~labels.isnan()

    def predict(self, outputs: torch.Tensor) -> torch.Tensor:
        """Return values in the units of the target, of shape ``(n_obs,)``."""
        return super().predict(outputs).squeeze(-1)


HEADS: dict[str, type[CrossEntropyHead | SquaredErrorHead | VectorHead]] = {
    "cross_entropy": CrossEntropyHead,
    "squared_error": SquaredErrorHead,
    "vector": VectorHead,
}
"""By the name that a kind of task gives."""
