"""Vector tasks: several numbers for each cell, such as proteins or an embedding."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import pandas as pd
import scipy.sparse as sp

from yoto_sc._lazy import in_memory
from yoto_sc.data._kinds._task import Task
from yoto_sc.metrics import REGRESSION_SCORES, regression_scores, weighted_r2
from yoto_sc.select import Vectors

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from anndata import AnnData
    from numpy.typing import NDArray

    from yoto_sc._keys import Keys


@dataclass(frozen=True)
class Vector(Task):
    """Regression of vectors. Labels are encoded as ``float32``, rows of NaN where missing.

    Columns weigh by their variance. A prediction holds vectors in the unit of the labels, of shape
    ``(n_obs, n_columns)``.

    Parameters
    ----------
    name
        The obsm entry that holds the labels.
    names
        Of the columns.
    is_table
        Whether the entry is a table, whose columns have names of their own.
    """

    names: tuple[str, ...] = ()
    is_table: bool = False

    kind: ClassVar = "vector"
    argument: ClassVar = "obsm_keys"
    place: ClassVar = "obsm"
    metric: ClassVar = "r2"
    score_names: ClassVar = REGRESSION_SCORES
    head: ClassVar = "vector"
    linear_head: ClassVar = "ridge"

    @classmethod
    def from_adata(cls, adata: AnnData, name: str, unlabeled: Collection[object] = ()) -> Self:
        """Read the task off an entry of numbers; see :meth:`Task.from_adata`."""
        del unlabeled
        entry = cls.column(adata, name)
        _check(_as_float(entry, name), name)
        if isinstance(entry, pd.DataFrame):
            names = tuple(str(column) for column in entry.columns)
            if len(set(names)) < len(names):
                raise ValueError(
                    f"Task {name!r} has columns of the same name: {list(names)}. Rename them."
                )
            return cls(name, names, is_table=True)
        n_columns = 1 if entry.ndim == 1 else entry.shape[1]
        return cls(name, tuple(str(column) for column in range(n_columns)))

    @classmethod
    def column(cls, adata: AnnData, name: str) -> Any:
        """Return the entry as it is stored; see :meth:`Task.column`."""
        if name not in adata.obsm:
            raise KeyError(
                f"`{cls.argument}` names {name!r}, which is not an entry of adata.obsm. The "
                f"entries are {list(adata.obsm)}."
            )
        return in_memory(adata.obsm[name])

    @property
    def n_outputs(self) -> int:
        return len(self.names)

    @property
    def parts(self) -> tuple[str, ...]:
        return self.names

    def encode(self, column: Any) -> NDArray[Any]:
        return self.encode_exactly(column).astype(np.float32)

    def encode_exactly(self, column: Any) -> NDArray[np.float64]:
        if self.is_table and isinstance(column, pd.DataFrame):
            column = column.rename(columns=str).reindex(columns=list(self.names))
        values = _as_float(column, self.name)
        if values.shape[1] != self.n_outputs:  # other data hold something else under this name
            return np.full((len(values), self.n_outputs), np.nan)
        return np.where(np.isnan(values).any(axis=1, keepdims=True), np.nan, values)

    def decode(self, prediction: NDArray[Any]) -> NDArray[Any]:
        return prediction

    def decoded(self, prediction: NDArray[Any]) -> Mapping[str, Any]:
        return {f"{self.name}_{name}": prediction[:, i] for i, name in enumerate(self.names)}

    def observed(self, encoded: NDArray[Any]) -> NDArray[np.bool_]:
        return np.asarray(~np.isnan(encoded).any(axis=1))

    def blank(self, encoded: NDArray[Any], hidden: NDArray[np.bool_]) -> NDArray[Any]:
        return np.where(hidden[:, None], np.array(np.nan, dtype=encoded.dtype), encoded)

    def taught(
        self, encoded: NDArray[Any], prediction: NDArray[Any], cells: NDArray[np.bool_]
    ) -> NDArray[Any]:
        return np.where(cells[:, None], prediction.astype(encoded.dtype), encoded)

    def only_in(self, encoded: NDArray[Any], chosen: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Mark the chosen cells with a vector, if fewer than two are found elsewhere."""
        if self.is_learnable(encoded[~chosen]):
            return np.zeros(len(encoded), dtype=bool)
        return chosen & self.observed(encoded)

    def target(self, encoded: NDArray[Any]) -> Vectors:
        return Vectors(encoded, self.weight)

    def points_told(self, encoded: NDArray[Any]) -> Sequence[str]:
        """Name the columns, where they have names."""
        del encoded
        return self.names if self.is_table else [""] * self.n_outputs

    def regressands(
        self, seen: NDArray[Any], class_weight_power: float
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the vectors themselves, all cells alike."""
        del class_weight_power
        return seen.astype(np.float64), np.ones(len(seen))

    def from_regression(
        self, predicted: NDArray[np.float64], *fits: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        return predicted

    def guess(self, n_obs: int) -> NDArray[np.float64]:
        """Return zeros."""
        return np.zeros((n_obs, self.n_outputs))

    def scores(self, encoded: NDArray[Any], prediction: NDArray[Any]) -> dict[str, float]:
        """See :func:`yoto_sc.metrics.regression_scores`."""
        return regression_scores(encoded, prediction)

    def weighted_scores(
        self, encoded: NDArray[Any], prediction: NDArray[Any], weights: NDArray[np.float32]
    ) -> NDArray[np.float64]:
        """Return R² under several weightings of the cells."""
        return weighted_r2(encoded, prediction, weights)

    def column_scores(
        self, encoded: NDArray[Any], prediction: NDArray[Any]
    ) -> list[dict[str, Any]]:
        return [
            {"column": name, **regression_scores(encoded[:, i], prediction[:, i])}
            for i, name in enumerate(self.names)
        ]

    def columns(self, keys: Keys) -> list[str]:
        return [keys.prediction(self.name)]

    def written(
        self,
        keys: Keys,
        prediction: NDArray[Any],
        obs_names: pd.Index,
        min_confidence: float | None = None,
    ) -> Mapping[str, Any]:
        """Return a table where the labels are one, and an array otherwise."""
        del min_confidence
        values: Any = prediction.astype(np.float32)
        if self.is_table:
            values = pd.DataFrame(values, index=obs_names, columns=list(self.names))
        return {keys.prediction(self.name): values}

    def to_dict(self) -> dict[str, Any]:
        return {**super().to_dict(), "names": list(self.names), "is_table": self.is_table}

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Self:
        return cls(
            record["name"],
            tuple(record["names"]),
            bool(record["is_table"]),
            weight=record.get("weight", 1.0),
        )


def _as_float(entry: Any, name: str) -> NDArray[np.float64]:
    """Read numbers, NaN where missing, of shape ``(n_obs, n_columns)``.

    Raises
    ------
    TypeError
        There is something else.
    ValueError
        There are more than two axes.
    """
    try:
        if isinstance(entry, pd.DataFrame):
            _check_kinds(dtype.kind for dtype in entry.dtypes)
            values = entry.to_numpy(dtype=np.float64, na_value=np.nan)
        else:
            dense: Any = entry
            if isinstance(entry, sp.spmatrix | sp.sparray):
                dense = entry.toarray()  # type: ignore[union-attr]
            _check_kinds([np.asarray(dense).dtype.kind])
            values = np.array(dense, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"Task {name!r} in `obsm_keys` must hold numbers in all columns. Drop the others, or "
            "pass labels in `categorical_keys`."
        ) from error
    if values.ndim == 1:
        values = values[:, None]
    if values.ndim != 2:
        raise ValueError(
            f"Task {name!r} in `obsm_keys` has the shape {values.shape}, but must be "
            "(n_obs, n_columns)."
        )
    return values


def _check_kinds(kinds: Iterable[str]) -> None:
    """Refuse complex numbers, dates and spans of time, which numpy would turn into floats."""
    if any(kind in "cmM" for kind in kinds):
        raise TypeError("no real numbers")


def _check(values: NDArray[np.float64], name: str) -> None:
    if values.shape[1] == 0:
        raise ValueError(f"Task {name!r} has no columns. Remove the key.")
    observed = values[~np.isnan(values).any(axis=1)]
    if len(observed) == 0:
        raise ValueError(
            f"Task {name!r} has no observed vector: every row holds a missing value. Remove the "
            "key, or drop the columns that are missing everywhere."
        )
    if np.abs(observed).max() > np.finfo(np.float32).max:
        raise ValueError(
            f"Task {name!r} holds infinite values, or values too large for float32. Replace them "
            "by finite numbers or by NaN (missing)."
        )
    if not (observed.astype(np.float32) != observed[0].astype(np.float32)).any():
        raise ValueError(
            f"Task {name!r} has the same vector in every cell, so there is nothing to predict. "
            "Remove the key."
        )
