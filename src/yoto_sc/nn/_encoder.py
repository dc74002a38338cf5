"""The shared encoder: it sees the genes under the mask, and nothing else."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import nn
from torch.nn import functional as F

_CLIP = 10.0
"""Standardised expression is clipped to this many standard deviations."""


class Encoder(nn.Module):
    r"""An ensemble of one-layer encoders of masked expression.

    With expression x, standardised by each gene's own mean and scale, and the mask m,

    .. math::

        h_e = \operatorname{GELU}(\operatorname{LayerNorm}((m \odot x) W_e + m U_e + b_e))

    for each member e. The term in U lets the network tell an unmeasured gene from one that is not
    expressed, so that one network serves every panel size. Standardisation comes after the choice
    of genes and needs no total over genes: what is not in the mask cannot reach the output.

    Parameters
    ----------
    n_genes
        Number of genes in the input.
    n_hidden
        Units of each member.
    n_members
        Number of encoders, trained side by side.
    generator
        Source of the initial weights; `None`: torch's own.
    """

    gene_axes: ClassVar = {"mean": 0, "scale": 0, "weight": 1, "presence": 1}
    mean: torch.Tensor
    scale: torch.Tensor

    def __init__(
        self,
        n_genes: int,
        n_hidden: int,
        n_members: int,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(n_genes))
        self.register_buffer("scale", torch.ones(n_genes))
        self.weight = nn.Parameter(torch.empty(n_members, n_genes, n_hidden))
        self.presence = nn.Parameter(torch.zeros(n_members, n_genes, n_hidden))
        self.bias = nn.Parameter(torch.zeros(n_members, 1, n_hidden))
        self.gain = nn.Parameter(torch.ones(n_members, 1, n_hidden))
        self.shift = nn.Parameter(torch.zeros(n_members, 1, n_hidden))
        self.reset_weight(generator)

    @torch.no_grad()
    def reset_weight(self, generator: torch.Generator | None = None) -> None:
        """Draw the weight anew, for the number of genes that are left."""
        self.weight.normal_(std=1 / math.sqrt(self.weight.shape[1]), generator=generator)

    def standardize(self, values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Scale expression and blank the genes outside the mask.

        Parameters
        ----------
        values
            Expression on the model's scale, shape ``(…, n_obs, n_genes)``.
        mask
            Shape ``(n_genes,)`` or ``(n_members, 1, n_genes)``.

        Returns
        -------
        Shape of `values` and `mask` broadcast.
        """
        return ((values - self.mean) / self.scale).clamp(-_CLIP, _CLIP) * mask

    def forward(self, inputs: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Encode.

        Parameters
        ----------
        inputs
            What `standardize` returned, shape ``(n_members, n_obs, n_genes)``.
        mask
            Shape ``(n_genes,)`` or ``(n_members, 1, n_genes)``.

        Returns
        -------
        Hidden representation of shape ``(n_members, n_obs, n_hidden)``.
        """
        return self.activate(self.project(inputs, mask))

    def project(self, inputs: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Return what the genes add up to in each hidden unit; arguments as for `forward`."""
        bias = self.bias + torch.matmul(mask.reshape(-1, 1, mask.shape[-1]), self.presence)
        return torch.baddbmm(bias, inputs, self.weight)

    def activate(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return the hidden representation of what `project` returned, of the same shape."""
        hidden = F.layer_norm(hidden, hidden.shape[-1:]) * self.gain + self.shift
        return F.gelu(hidden, approximate="tanh")
