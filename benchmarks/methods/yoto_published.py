"""The method as published, as far as it can be had from the options of this package.

The mask has k genes from the first step to the last; scores get Gumbel noise of scale 1 and the
relaxed Plackett-Luce ranking; one network selects and predicts, without cross-fitting; no gene is
dropped early. The screening to 1000 candidates, the start from the stepwise order and the last,
noiseless phase have no switch, and are those of this package.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from methods import yoto
from yoto_sc.nn import Annealing, Linear

if TYPE_CHECKING:
    from methods.base import Fitted, Training


def fit(training: Training, k: int, seed: int) -> Fitted:
    """Select `k` genes."""
    return yoto.fit(
        training,
        k,
        seed,
        model_kwargs={"relaxation": "plackett_luce", "n_members": 1},
        train_kwargs={
            "annealing": Annealing(n_start=k, n_genes=k, noise=Linear(1.0, 1.0)),
            "plan_kwargs": {"selection_network": "encoder", "keep_factor": 1e9},
        },
    )
