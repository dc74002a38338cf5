"""Forward stepwise discriminant analysis for very many genes, block of genes by block."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from yoto_sc.select._moments import RIDGE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from yoto_sc.select._spread import BlockStepper
    from yoto_sc.select._targets import Target

_SHARE = 16
"""A block has one gene for so many that are in."""
_POOL = 3
"""It is drawn from the best so many times as many."""
_COPIES = 0.3
"""Genes of one block correlate no more than this, given the genes that are in."""
_KNOWN = 256
"""Genes that are known to come first are taken in by so many."""


def stepwise_blocks(
    values: NDArray[np.float32],
    targets: Sequence[Target],
    n_steps: int,
    *,
    first: NDArray[np.intp] | None = None,
    ridge: float = RIDGE,
    class_weight_power: float = 0.5,
    required: NDArray[np.bool_] | None = None,
    weights: NDArray[np.float64] | None = None,
    on_step: Callable[[], None] | None = None,
) -> NDArray[np.intp]:
    """Order very many genes by the criterion of :func:`stepwise_order`, nearly.

    A step adds a block of genes, those that lower the criterion most, each alone: one for every 16
    that are in. So there are some hundred steps, however many genes. What a gene brings beside the
    others of its block is not known before it is in, so genes are kept apart that correlate by
    more than 0.3, given those that are in: the lesser one waits for the next block.

    Parameters
    ----------
    values, targets, n_steps
        As in :func:`stepwise_order`.
    first
        Indices of genes that come first, in their order; `None`: there are none.
    ridge, class_weight_power, required, weights
        As in :func:`stepwise_order`. Required genes come next after the first ones.
    on_step
        Called for every gene that is ordered.

    Returns
    -------
    Indices of the genes, best first, of shape ``(n_steps,)``.
    """
    n_vars = values.shape[1]
    n_steps = min(n_steps, n_vars)
    tasks = [target.gradual(values, n_steps, ridge, class_weight_power) for target in targets]
    importance = np.array([[target.weight] for target in targets])
    factors = np.ones(n_vars) if weights is None else weights
    early = np.zeros(n_vars, dtype=bool) if required is None else required
    order: list[int] = []
    left = np.ones(n_vars, dtype=bool)

    def add(block: NDArray[np.intp]) -> None:
        for task in tasks:
            task.add(block)
        order.extend(block.tolist())
        left[block] = False
        if on_step is not None:
            for _ in block:
                on_step()

    known = np.empty(0, dtype=np.intp) if first is None else first[:n_steps]
    for start in range(0, len(known), _KNOWN):
        add(known[start : start + _KNOWN])
    while len(order) < n_steps:
        genes = np.flatnonzero(left & early if (left & early).any() else left)
        size = min(max(1, len(order) // _SHARE), n_steps - len(order), len(genes))
        now = np.array([[task.open()] for task in tasks])
        then = np.array([task.left(genes) for task in tasks])
        gain = (importance * (np.sqrt(now) - np.sqrt(then))).sum(axis=0) * factors[genes]
        add(_apart(genes[np.argsort(-gain, kind="stable")[: _POOL * size]], tasks, size))
    return np.array(order, dtype=np.intp)


def _apart(pool: NDArray[np.intp], tasks: Sequence[BlockStepper], size: int) -> NDArray[np.intp]:
    """Return the first `size` genes of a pool, passing over near copies of those before."""
    if size == 1:
        return pool[:1]
    alike = np.max([np.abs(task.correlations(pool)) for task in tasks], axis=0) > _COPIES
    taken: list[int] = []
    free = np.ones(len(pool), dtype=bool)
    while free.any() and len(taken) < size:
        taken.append(int(free.argmax()))
        free &= ~alike[taken[-1]]
        free[taken[-1]] = False
    return pool[taken]
