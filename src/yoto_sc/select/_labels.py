"""What closed forms need of a task's labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def is_continuous(labels: NDArray[Any]) -> bool:
    """Whether encoded labels are numbers (NaN is missing) rather than codes (-1 is missing)."""
    return labels.dtype.kind == "f"


def observed(labels: NDArray[Any]) -> NDArray[np.bool_]:
    """Return a mask of the cells with a label, shape ``(n_obs,)``."""
    return ~np.isnan(labels) if is_continuous(labels) else labels >= 0


def standardized_target(labels: NDArray[Any]) -> NDArray[np.float64]:
    """Centre and scale the observed values of a continuous task; shape ``(n_observed,)``."""
    target = labels[observed(labels)].astype(np.float64)
    target -= target.mean()
    spread = target.std()
    return target / spread if spread > 0 else target
