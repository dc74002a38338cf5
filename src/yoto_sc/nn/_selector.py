"""The selector: learnable scores of the genes, and the mask they stand for."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import nn

from yoto_sc.nn._relaxations import RELAXATIONS, Relaxation, hard_top_k


class Selector(nn.Module):
    r"""Scores of the genes and a straight-through mask of exactly k of them.

    Forward, the mask is hard: 1 for the required genes and for the best of the others. Backward,
    it is the relaxation's: :math:`m = h - \operatorname{sg}(p) + p`, with the hard mask h, the
    soft one p, and the stop-gradient sg.

    Parameters
    ----------
    n_genes
        Number of genes to choose from.
    relaxation
        Soft top-k that the gradient flows through.
    """

    gene_axes: ClassVar = {"scores": 0, "required": 0}
    scores: nn.Parameter
    required: torch.Tensor

    def __init__(self, n_genes: int, relaxation: Relaxation = "threshold") -> None:
        super().__init__()
        if relaxation not in RELAXATIONS:
            raise ValueError(f"relaxation must be one of {list(RELAXATIONS)}, not {relaxation!r}.")
        self.relaxation = relaxation
        self.scores = nn.Parameter(torch.zeros(n_genes))
        self.register_buffer("required", torch.zeros(n_genes, dtype=torch.bool))

    def forward(
        self,
        k: int,
        temperature: float,
        noise: float = 0.0,
        generator: torch.Generator | None = None,
    ) -> torch.Tensor:
        """Return a mask with exactly k ones.

        Parameters
        ----------
        k
            Number of genes, from the number of required ones to all.
        temperature
            Width of the relaxation, in units of the scores.
        noise
            Scale of Gumbel noise on the scores.
        generator
            Source of the noise; `None`: torch's own.

        Returns
        -------
        Shape ``(n_genes,)``; hard forward, relaxed backward.
        """
        scores: torch.Tensor = self.scores
        if noise > 0:
            uniform = torch.rand(
                scores.shape, dtype=scores.dtype, device=scores.device, generator=generator
            ).clamp(min=torch.finfo(scores.dtype).tiny)
            scores = scores - noise * torch.log(-torch.log(uniform))
        n_required = int(self.required.sum())
        k_free = min(k, len(scores)) - n_required
        if k_free <= 0:
            return self.required.to(scores.dtype)
        if n_required == 0:
            return self._straight_through(scores, k_free, temperature)
        free = ~self.required
        mask = torch.ones_like(scores)
        mask[free] = self._straight_through(scores[free], k_free, temperature)
        return mask

    def _straight_through(self, scores: torch.Tensor, k: int, temperature: float) -> torch.Tensor:
        soft = RELAXATIONS[self.relaxation](scores, k, temperature)
        hard = hard_top_k(scores.detach(), k)
        return hard - soft.detach() + soft

    @torch.no_grad()
    def order(self) -> torch.Tensor:
        """Return indices of all genes, ``(n_genes,)``: required ones, then the best by score."""
        by_score = torch.sort(self.scores, descending=True, stable=True).indices
        return by_score[torch.sort(~self.required[by_score], stable=True).indices]
