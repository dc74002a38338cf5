"""Calibrating a trained network: temperatures that make its confidences true on held-out cells."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from yoto_sc.model._fields import task_key
from yoto_sc.model._module import X_KEY
from yoto_sc.model._splits import at_most
from yoto_sc.nn import CategoricalHead

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from yoto_sc.model._data import Tensors
    from yoto_sc.model._module import YOTOModule

_PRIOR_SD = 0.5
"""Standard deviation of the logarithm of the temperature, before any cell is seen."""
_LARGEST_LOG = 2.0
_N_CELLS = 5000
"""Temperatures are fitted to at most this many held-out cells."""
_TINY = 1e-12


def set_temperatures(
    module: YOTOModule, held_out: Tensors, sizes: Sequence[int], rng: np.random.Generator
) -> None:
    """Fit the temperatures of all classification heads, in place.

    How sure the network may be depends on how many genes it reads, so each of `sizes` gets a
    temperature of its own; between them, its logarithm is linear in that of the size.

    Parameters
    ----------
    module
        The network, narrowed in rank order.
    held_out
        Cells that it was not trained on. Those of classes that it was not trained on are left
        out: no temperature could make it expect them.
    sizes
        Panel sizes, ascending, from 1 to all genes of the module.
    rng
        Source of randomness, for the choice of cells where there are very many.
    """
    cells = at_most(_N_CELLS, np.arange(len(held_out[X_KEY])), rng)
    values = held_out[X_KEY][torch.from_numpy(cells)]
    found: dict[int, list[float]] = {}
    for size in sizes:
        for position, proba in enumerate(module.predict(values, size)[0]):
            head = module.heads[position]
            if isinstance(head, CategoricalHead):
                labels = held_out[task_key(position)].numpy()[cells]
                known = (labels >= 0) & (head.class_weights.cpu().numpy()[labels] > 0)
                fitted = fit_temperature(proba.cpu().numpy()[known], labels[known])
                found.setdefault(position, []).append(fitted)
    every_size = np.log(np.arange(1, module.n_genes + 1))
    for position, fitted_ones in found.items():
        curve = np.exp(np.interp(every_size, np.log(sizes), np.log(fitted_ones)))
        temperature = module.heads[position].get_buffer("temperature")
        temperature.copy_(torch.from_numpy(curve))


def copy_temperatures(source: YOTOModule, target: YOTOModule) -> None:
    """Give a network the temperatures of another one of the same size and tasks."""
    for theirs, ours in zip(source.heads, target.heads, strict=True):
        if isinstance(theirs, CategoricalHead):
            ours.get_buffer("temperature").copy_(theirs.temperature)


def fit_temperature(proba: NDArray[Any], labels: NDArray[Any]) -> float:
    r"""Return the temperature that makes `labels` most likely.

    Minimises the log loss of :math:`p^{1/T}`, rescaled to sum to 1, summed over the cells, plus
    :math:`\log(T)^2 / 2 \sigma^2`: few cells move it little away from 1.

    Parameters
    ----------
    proba
        Class probabilities, ``(n_obs, n_classes)``.
    labels
        Class codes, ``(n_obs,)``, none of them missing.
    """
    logits = np.log(np.maximum(proba.astype(np.float64), _TINY))
    rows = np.arange(len(labels))

    def cost(log_temperature: float) -> float:
        log_proba = log_softmax(logits / np.exp(log_temperature), axis=1)
        penalty = 0.5 * (log_temperature / _PRIOR_SD) ** 2
        return float(penalty - log_proba[rows, labels].sum())

    best = minimize_scalar(cost, bounds=(-_LARGEST_LOG, _LARGEST_LOG), method="bounded")
    return float(np.exp(best.x))
