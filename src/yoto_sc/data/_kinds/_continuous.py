"""Continuous tasks: a number for each cell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import pandas as pd

from yoto_sc.data._kinds._task import Task
from yoto_sc.metrics import REGRESSION_SCORES, regression_scores, weighted_r2
from yoto_sc.select import Numbers

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from anndata import AnnData
    from numpy.typing import NDArray

    from yoto_sc._keys import Keys


@dataclass(frozen=True)
class Continuous(Task):
    """Regression. Labels are encoded as ``float32``, NaN where missing.

    A prediction holds values in the unit of the labels, of shape ``(n_obs,)``.
    """

    kind: ClassVar = "continuous"
    argument: ClassVar = "continuous_keys"
    metric: ClassVar = "r2"
    score_names: ClassVar = REGRESSION_SCORES
    head: ClassVar = "squared_error"
    linear_head: ClassVar = "ridge"

    @classmethod
    def from_adata(cls, adata: AnnData, name: str, unlabeled: Collection[object] = ()) -> Self:
        """Read the task off a column of numbers; see :meth:`Task.from_adata`."""
        del unlabeled
        _check(as_float(cls.column(adata, name), name), name)
        return cls(name)

    @property
    def n_outputs(self) -> int:
        return 1

    def encode(self, column: pd.Series) -> NDArray[Any]:
        return as_float(column, self.name).astype(np.float32)

    def encode_exactly(self, column: pd.Series) -> NDArray[np.float64]:
        return as_float(column, self.name)

    def decode(self, prediction: NDArray[Any]) -> NDArray[Any]:
        return prediction

    def observed(self, encoded: NDArray[Any]) -> NDArray[np.bool_]:
        return np.asarray(~np.isnan(encoded))

    def blank(self, encoded: NDArray[Any], hidden: NDArray[np.bool_]) -> NDArray[Any]:
        return np.where(hidden, np.array(np.nan, dtype=encoded.dtype), encoded)

    def taught(
        self, encoded: NDArray[Any], prediction: NDArray[Any], cells: NDArray[np.bool_]
    ) -> NDArray[Any]:
        return np.where(cells, prediction.astype(encoded.dtype), encoded)

    def only_in(self, encoded: NDArray[Any], chosen: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Mark the chosen cells with a value, if fewer than two values are found elsewhere."""
        observed = self.observed(encoded)
        rest_varies = np.unique(encoded[~chosen & observed]).size > 1
        return np.zeros(len(encoded), dtype=bool) if rest_varies else chosen & observed

    def target(self, encoded: NDArray[Any]) -> Numbers:
        return Numbers(encoded, self.weight)

    def regressands(
        self, seen: NDArray[Any], class_weight_power: float
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the values themselves, all cells alike."""
        del class_weight_power
        return seen[:, None].astype(np.float64), np.ones(len(seen))

    def from_regression(
        self, predicted: NDArray[np.float64], *fits: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        return predicted[:, 0]

    def guess(self, n_obs: int) -> NDArray[np.float64]:
        """Return zeros."""
        return np.zeros(n_obs)

    def scores(self, encoded: NDArray[Any], prediction: NDArray[Any]) -> dict[str, float]:
        """See :func:`yoto_sc.metrics.regression_scores`."""
        return regression_scores(encoded, prediction)

    def weighted_scores(
        self, encoded: NDArray[Any], prediction: NDArray[Any], weights: NDArray[np.float32]
    ) -> NDArray[np.float64]:
        """Return R² under several weightings of the cells."""
        return weighted_r2(encoded, prediction, weights)

    def columns(self, keys: Keys) -> list[str]:
        return [keys.prediction(self.name)]

    def written(
        self,
        keys: Keys,
        prediction: NDArray[Any],
        obs_names: pd.Index,
        min_confidence: float | None = None,
    ) -> Mapping[str, Any]:
        del min_confidence
        return {keys.prediction(self.name): prediction.astype(np.float32)}


def as_float(column: pd.Series, name: str) -> NDArray[np.float64]:
    """Read a column of numbers, NaN where missing, of shape ``(n_obs,)``.

    Raises
    ------
    TypeError
        The column holds something else.
    """
    try:
        values: NDArray[np.float64] = pd.to_numeric(column.astype(object)).to_numpy(
            dtype=np.float64, na_value=np.nan
        )
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"Task {name!r} in `continuous_keys` must hold numbers, but its dtype is "
            f"{column.dtype}. Pass labels in `categorical_keys`."
        ) from error
    return values


def _check(values: NDArray[np.float64], name: str) -> None:
    observed = values[~np.isnan(values)]
    if observed.size == 0:
        raise ValueError(
            f"Task {name!r} has no observed value: every value is missing. Remove the key."
        )
    if np.abs(observed).max() > np.finfo(np.float32).max:
        raise ValueError(
            f"Task {name!r} holds infinite values, or values too large for float32. Replace them "
            "by finite numbers or by NaN (missing)."
        )
    if np.unique(observed.astype(np.float32)).size < 2:
        raise ValueError(
            f"Task {name!r} has the same value in every cell, so there is nothing to predict. "
            "Remove the key."
        )
