"""Dropping genes from a network, and from its optimizer, while it is being trained."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import nn


def narrow(
    module: nn.Module, genes: torch.Tensor, optimizer: torch.optim.Optimizer | None = None
) -> None:
    """Keep only some genes in every tensor of `module` that has an axis of genes, in place.

    A submodule names these tensors in its class attribute ``gene_axes``, a dict from the name of a
    parameter or buffer to its axis of genes. Parameters keep their identity, so the optimizer goes
    on with what it knew about the genes that stay. No graph from before may be alive any more: it
    would send back gradients of the old shape.

    Parameters
    ----------
    module
        The network.
    genes
        Indices of the genes to keep, in their new order, of shape ``(n_kept,)``.
    optimizer
        Optimizer of the network's parameters; its state is narrowed too.
    """
    for submodule in module.modules():
        for name, axis in getattr(submodule, "gene_axes", {}).items():
            tensor: torch.Tensor = getattr(submodule, name)
            shape = tensor.shape
            tensor.data = tensor.data.index_select(axis, genes)
            tensor.grad = None
            state = optimizer.state.get(tensor, {}) if optimizer is not None else {}
            for key, value in state.items():
                if getattr(value, "shape", None) == shape:
                    state[key] = value.index_select(axis, genes)
