"""What is to be predicted: one frozen record for each obs column."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from typing import Any

    from numpy.typing import NDArray

Kind = Literal["categorical", "continuous"]
Category = str | int | float | bool

MISSING_CODE = -1
"""Code of a categorical label that is missing, unlabeled or unknown to the task."""


@dataclass(frozen=True)
class Task:
    """One question the panel has to answer.

    Parameters
    ----------
    name
        The obs column that holds the labels.
    kind
        ``"categorical"`` (classification) or ``"continuous"`` (regression).
    categories
        The classes that were observed, in the column's own order. Empty for a continuous task.
    ordered
        Whether the column says that this order means something.
    """

    name: str
    kind: Kind
    categories: tuple[Category, ...] = ()
    ordered: bool = False

    @classmethod
    def from_obs(
        cls, obs: pd.DataFrame, name: str, kind: Kind, unlabeled: Collection[object] = ()
    ) -> Task:
        """Read the task off its column.

        Parameters
        ----------
        obs
            Table of the cells, ``adata.obs``.
        name
            Column that holds the labels; missing values are allowed.
        kind
            How to read the column.
        unlabeled
            Categories that stand for "no label"; they are treated as missing.

        Raises
        ------
        KeyError
            `name` is not a column of `obs`.
        TypeError
            A continuous task holds values that are no numbers.
        ValueError
            There are too few observed values to learn from, or infinite ones.
        """
        if name not in obs.columns:
            raise KeyError(
                f"{kind}_keys names {name!r}, which is not a column of adata.obs. "
                f"The columns are {list(obs.columns)}."
            )
        if kind == "continuous":
            _check_continuous(_as_float(obs[name], name), name)
            return cls(name, kind)
        labels = _as_categorical(obs[name], unlabeled)
        _check_categorical(labels, name)
        categories = labels.remove_unused_categories().categories
        return cls(name, kind, tuple(_plain(c) for c in categories), bool(labels.ordered))

    @property
    def n_outputs(self) -> int:
        """Number of outputs of the task's head: its classes, or 1."""
        return len(self.categories) if self.kind == "categorical" else 1

    def encode(self, column: pd.Series) -> NDArray[Any]:
        """Turn labels into numbers the model can learn from.

        Parameters
        ----------
        column
            Labels of shape ``(n_obs,)``; unknown and missing ones are allowed.

        Returns
        -------
        Categorical: ``int64`` codes, -1 where missing or unknown. Continuous: ``float32``, NaN
        where missing. Shape ``(n_obs,)``.
        """
        if self.kind == "continuous":
            return _as_float(column, self.name).astype(np.float32)
        code_of: dict[object, int] = {c: code for code, c in enumerate(self.categories)}
        labels = _as_categorical(column)
        codes = np.array(
            [code_of.get(_plain(category), MISSING_CODE) for category in labels.categories]
            + [MISSING_CODE],  # the code -1 of a missing label indexes this last entry
            dtype=np.int64,
        )
        encoded: NDArray[np.int64] = codes[labels.codes]
        return encoded

    def decode(self, codes: NDArray[np.integer[Any]]) -> pd.Categorical:
        """Turn codes of shape ``(n_obs,)`` back into labels with the task's own categories."""
        if self.kind != "categorical":
            raise TypeError(f"Task {self.name!r} is continuous and has no categories to decode.")
        categories: Any = pd.Index(self.categories)
        return pd.Categorical.from_codes(codes, categories=categories, ordered=self.ordered)

    def observed(self, encoded: NDArray[Any]) -> NDArray[np.bool_]:
        """Which entries of an encoded column, of shape ``(n_obs,)``, hold a label."""
        if self.kind == "categorical":
            return np.asarray(encoded != MISSING_CODE)
        return np.asarray(~np.isnan(encoded))

    def to_dict(self) -> dict[str, Any]:
        """Plain types for JSON; `from_dict` is its inverse."""
        return {**asdict(self), "categories": list(self.categories)}

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Task:
        """Rebuild a task from `to_dict`."""
        if record["kind"] not in get_args(Kind):
            raise ValueError(
                f"Unknown kind of task {record['kind']!r}; allowed: {get_args(Kind)}."
            )
        return cls(**{**record, "categories": tuple(record["categories"])})


def tasks_from_obs(
    obs: pd.DataFrame,
    categorical_keys: Sequence[str],
    continuous_keys: Sequence[str],
    unlabeled: Collection[object] = (),
) -> tuple[Task, ...]:
    """Read all tasks off `obs`, categorical ones first; see :meth:`Task.from_obs`."""
    return (
        *(Task.from_obs(obs, key, "categorical", unlabeled) for key in categorical_keys),
        *(Task.from_obs(obs, key, "continuous") for key in continuous_keys),
    )


def _plain(category: Any) -> Category:
    """Turn a category into a plain Python value that JSON can hold."""
    value = category.item() if isinstance(category, np.generic) else category
    return value if isinstance(value, str | int | float | bool) else str(value)


def _as_categorical(column: pd.Series, unlabeled: Collection[object] = ()) -> pd.Categorical:
    if isinstance(column.dtype, pd.CategoricalDtype):
        labels = pd.Categorical(column)
    else:
        values = column.astype(object).where(column.notna(), None)
        seen = pd.unique(values.dropna())
        try:
            seen = np.array(sorted(seen), dtype=object)
        except TypeError:  # categories of several types have no order of their own
            seen = np.array(
                sorted(seen, key=lambda value: (type(value).__name__, str(value))), object
            )
        labels = pd.Categorical(values, categories=pd.Index(seen).infer_objects())
    if not any(category in unlabeled for category in labels.categories):
        return labels
    # Not remove_categories: it sorts what is left.
    return labels.set_categories([c for c in labels.categories if c not in unlabeled])


def _check_categorical(labels: pd.Categorical, name: str) -> None:
    n_observed = int((labels.codes != MISSING_CODE).sum())
    n_classes = len(np.unique(labels.codes[labels.codes != MISSING_CODE]))
    if n_observed == 0:
        raise ValueError(
            f"Task {name!r} has no observed label: every value is missing or named in "
            "`unlabeled`. Remove the key, or label some cells."
        )
    if any(isinstance(c, float) and not np.isfinite(c) for c in labels.categories):
        raise ValueError(f"Task {name!r} has an infinite class. Rename it, or make it missing.")
    if n_classes < 2:
        raise ValueError(
            f"Task {name!r} has one observed class only; a panel needs at least two to tell "
            "apart. Remove the key, or add cells of another class."
        )
    if n_observed <= n_classes:
        raise ValueError(
            f"Task {name!r} has {n_observed} labelled cells for {n_classes} classes: there must "
            "be more cells than classes. Is it a column of identifiers or numbers? Numbers belong "
            "in `continuous_keys`."
        )


def _as_float(column: pd.Series, name: str) -> NDArray[np.float64]:
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


def _check_continuous(values: NDArray[np.float64], name: str) -> None:
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
