"""Relaxations of the top-k mask: scores in, a soft mask of k ones out.

Each function states the hard function that it approximates. All of them work on the last axis,
are permutation-equivariant, and approach :func:`hard_top_k` as the temperature goes to 0.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Callable

Relaxation = Literal["threshold", "plackett_luce"]

_N_BISECTIONS, _N_NEWTON = 20, 3
"""Steps towards the threshold: halvings of its bracket, then a polish to full precision."""
_TINY_SLOPE = 1e-30
"""Where all masks are 0 or 1 already, the mass does not move with the threshold."""


def hard_top_k(scores: torch.Tensor, k: int) -> torch.Tensor:
    """Mask of the k largest scores; of equal ones, those that come first.

    Parameters
    ----------
    scores
        Shape ``(…, n_vars)``.
    k
        Number of ones, from 0 to ``n_vars``.

    Returns
    -------
    Mask of 0 and 1, shape and dtype of `scores`.
    """
    top = torch.sort(scores, dim=-1, descending=True, stable=True).indices[..., :k]
    return torch.zeros_like(scores).scatter(-1, top, 1.0)


class _ThresholdTopK(torch.autograd.Function):
    """Soft top-k by an exact threshold, with its implicit gradient."""

    @staticmethod
    def forward(ctx: Any, scores: torch.Tensor, k: int, temperature: float) -> torch.Tensor:
        z = (scores / temperature).reshape(-1, scores.shape[-1])
        mask = torch.stack([torch.sigmoid(row - _threshold(row, k)) for row in z])
        mask = mask.view_as(scores)
        ctx.save_for_backward(mask)
        ctx.temperature = temperature
        return mask

    @staticmethod
    def backward(ctx: Any, *grad_outputs: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        (grad,) = grad_outputs
        (mask,) = ctx.saved_tensors
        slope = mask * (1 - mask) / ctx.temperature
        total = slope.sum(-1, keepdim=True)
        tiny = torch.finfo(total.dtype).tiny
        mean = (slope * grad).sum(-1, keepdim=True) / total.clamp(min=tiny)
        return slope * (grad - mean), None, None


def _threshold(z: torch.Tensor, k: int) -> float:
    """Return the threshold at which sigmoids of `z`, of shape ``(n_vars,)``, sum to k.

    It is computed with the precision of `z`. One number at a time is half the work of tensors
    that hold one.
    """
    number = np.dtype(str(z.dtype).removeprefix("torch.")).type
    buffer, half = torch.empty_like(z), number(0.5)

    def mask_at(threshold: np.floating[Any]) -> torch.Tensor:
        return torch.sigmoid(torch.sub(z, float(threshold), out=buffer), out=buffer)

    # Were all scores equal, the threshold would be this far below them; so it lies within the
    # same distance of the smallest and of the largest.
    offset = number(math.log(k / (len(z) - k)))
    low, high = number(z.min().item()) - offset, number(z.max().item()) - offset
    for _ in range(_N_BISECTIONS):
        middle = (low + high) * half
        if mask_at(middle).sum().item() > k:
            low = middle
        else:
            high = middle
    threshold = (low + high) * half
    for _ in range(_N_NEWTON):
        mask = mask_at(threshold)
        slope = number((mask * (1 - mask)).sum().item())
        step = (number(mask.sum().item()) - number(k)) / max(slope, number(_TINY_SLOPE))
        threshold = min(max(threshold + step, low), high)
    return float(threshold)


def threshold_top_k(scores: torch.Tensor, k: int, temperature: float) -> torch.Tensor:
    r"""Soft version of :func:`hard_top_k` in memory linear in ``n_vars``.

    .. math::

        p_j = \sigma\left(\frac{z_j - \theta}{\tau}\right), \qquad
        \theta \text{ such that } \sum_j p_j = k

    The threshold is found by bisection; its gradient is implicit: with
    :math:`v = p (1 - p) / \tau` and the incoming gradient :math:`g`,
    :math:`\partial L / \partial z = v \left(g - \langle v, g \rangle / \sum_j v_j\right)`.

    Parameters
    ----------
    scores
        Shape ``(…, n_vars)``, :math:`z` above.
    k
        Sum of the mask, from 1 to ``n_vars``.
    temperature
        Width of the transition, in units of the scores, :math:`\tau` above.

    Returns
    -------
    Mask in ``[0, 1]`` that sums to k on the last axis; shape and dtype of `scores`.
    """
    if k >= scores.shape[-1]:
        return torch.ones_like(scores)
    mask: torch.Tensor = _ThresholdTopK.apply(scores, k, temperature)  # type: ignore[no-untyped-call]
    return mask


def plackett_luce_top_k(scores: torch.Tensor, k: int, temperature: float) -> torch.Tensor:
    r"""Soft version of :func:`hard_top_k` by a relaxed sort, the selector of the YOTO paper.

    .. math::

        P_i = \operatorname{softmax}\left(-\frac{|z_{(i)} - z|}{\tau}\right), \qquad
        p = \min\left(1, \sum_{i=1}^{k} P_i\right)

    where :math:`z_{(i)}` is the i-th largest score (SoftSort, Prillo and Eisenschlos 2020). With
    Gumbel noise on the scores, the sorted order is a sample from a Plackett–Luce distribution.
    Only the first k rows are formed, so memory is ``k * n_vars``.

    Parameters
    ----------
    scores
        Shape ``(…, n_vars)``, :math:`z` above.
    k
        Number of selected entries, from 1 to ``n_vars``.
    temperature
        Width of the softmax, in units of the scores, :math:`\tau` above.

    Returns
    -------
    Mask in ``[0, 1]``, shape and dtype of `scores`. It sums to at most k, and to k as the
    temperature goes to 0.
    """
    if k >= scores.shape[-1]:
        return torch.ones_like(scores)
    largest = torch.sort(scores, dim=-1, descending=True, stable=True).values[..., :k]
    distance = (largest.unsqueeze(-1) - scores.unsqueeze(-2)).abs()
    return torch.softmax(-distance / temperature, dim=-1).sum(-2).clamp(max=1.0)


RELAXATIONS: dict[Relaxation, Callable[[torch.Tensor, int, float], torch.Tensor]] = {
    "threshold": threshold_top_k,
    "plackett_luce": plackett_luce_top_k,
}
