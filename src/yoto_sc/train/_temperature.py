"""Calibrating a trained network: temperatures that make its confidences true on held-out cells."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from yoto_sc.metrics import fit_temperature

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from yoto_sc.train._module import YOTOModule


def calibrate(
    module: YOTOModule,
    values: torch.Tensor,
    labels: Sequence[NDArray[Any]],
    sizes: Sequence[int],
) -> dict[int, list[NDArray[Any]]]:
    """Fit the temperatures of all heads that have any, in place, and predict.

    How sure the network may be depends on how many genes it reads, so each of `sizes` gets a
    temperature of its own; between them, its logarithm is linear in that of the size.

    Returns
    -------
    By size, for each task the calibrated prediction of these cells; those of levels agree.
    """
    raw = {size: module.predict(values, size, calibrated=False)[0] for size in sizes}
    every_size = np.log(np.arange(1, module.n_genes + 1))
    for position, (head, observed) in enumerate(zip(module.heads, labels, strict=True)):
        if head.temperature is None:
            continue
        head.temperature.fill_(1)
        known = head.is_known(torch.from_numpy(observed)).numpy()
        fitted = [
            fit_temperature(
                head.calibrated(raw[size][position], size).cpu().numpy()[known], observed[known]
            )
            for size in sizes
        ]
        curve = np.exp(np.interp(every_size, np.log(sizes), np.log(fitted)))
        head.temperature.copy_(torch.from_numpy(curve))
    return {
        size: module.levels.reconcile(
            [
                head.calibrated(prediction, size).cpu().numpy()
                for head, prediction in zip(module.heads, predictions, strict=True)
            ]
        )
        for size, predictions in raw.items()
    }


def copy_temperatures(source: YOTOModule, target: YOTOModule) -> None:
    """Give a network the temperatures of another one of the same size and tasks."""
    for theirs, ours in zip(source.heads, target.heads, strict=True):
        if theirs.temperature is not None and ours.temperature is not None:
            ours.temperature.copy_(theirs.temperature)
    if source.robust is not None and target.robust is not None:
        copy_temperatures(source.robust, target.robust)
