"""Categorical tasks: a class for each cell."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from decimal import Decimal
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import pandas as pd
from scipy import linalg, special

from yoto_sc._checks import check_writable
from yoto_sc.data._kinds._no_label import looks_like_no_label
from yoto_sc.data._kinds._task import Category, Task
from yoto_sc.metrics import (
    CLASSIFICATION_SCORES,
    classification_scores,
    confusion_counts,
    mean_of_defined,
    weighted_f1,
)
from yoto_sc.select import Classes

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from anndata import AnnData
    from numpy.typing import NDArray

    from yoto_sc._keys import Keys

MISSING_CODE = -1
"""Code of a label that is missing, unlabeled or unknown to the task."""
_SHRINKAGE = 1e-3
"""Added to the variances of fitted values, in units of their mean."""
_MAX_NUMBERS = 100
"""So many numbers may be classes: of any column without fractions, or categories with them."""
_MAX_FRACTIONS = 20
"""So many may be classes if they have fractions, and nobody said that they are categories."""


@dataclass(frozen=True)
class Categorical(Task):
    """Classification. Labels are encoded as ``int64`` codes, -1 where missing or unknown.

    A prediction holds the probabilities of the classes, of shape ``(n_obs, n_classes)``.

    Parameters
    ----------
    name
        The obs column that holds the labels.
    categories
        The classes that were observed, in the column's own order.
    ordered
        Whether the column says that this order means something.
    weight
        See :class:`Task`.
    class_weights
        What each class counts for beside others, of mean 1; empty: all alike.
    """

    categories: tuple[Category, ...] = ()
    ordered: bool = False
    class_weights: tuple[float, ...] = field(default=(), kw_only=True)

    kind: ClassVar = "categorical"
    argument: ClassVar = "categorical_keys"
    metric: ClassVar = "macro_f1"
    score_names: ClassVar = CLASSIFICATION_SCORES
    head: ClassVar = "cross_entropy"
    linear_head: ClassVar = "logistic"

    @classmethod
    def from_adata(cls, adata: AnnData, name: str, unlabeled: Collection[object] = ()) -> Self:
        """Read the task off a column of labels; see :meth:`Task.from_adata`."""
        column = cls.column(adata, name)
        labels = _as_categorical(column, unlabeled)
        _check(labels, name)
        _check_numbers(labels, name, isinstance(column.dtype, pd.CategoricalDtype))
        categories = labels.remove_unused_categories().categories
        check_writable(categories, f"adata.obs[{name!r}]")
        return cls(name, tuple(_plain(c) for c in categories), bool(labels.ordered))

    @property
    def n_outputs(self) -> int:
        return len(self.categories)

    def on_these(self, encoded: NDArray[Any]) -> tuple[Self, NDArray[Any]]:
        """Leave out the classes that do not occur."""
        seen = self.observed(encoded)
        codes, recoded = np.unique(encoded[seen], return_inverse=True)
        labels = np.full_like(encoded, MISSING_CODE)
        labels[seen] = recoded
        return self._of_classes(codes), labels

    def in_sorted_order(self) -> Self:
        """Sort the classes; where two are as probable, their order decides."""
        try:
            return self._of_classes(sorted(range(self.n_outputs), key=self.categories.__getitem__))
        except TypeError:  # of several types
            return self

    def extended(self, column: pd.Series, unlabeled: Collection[object] = ()) -> Self:
        labels = _as_categorical(column, unlabeled).remove_unused_categories()
        seen = [_plain(category) for category in labels.categories]
        new = tuple(category for category in seen if category not in self.categories)
        weights = self.class_weights and self.class_weights + (1.0,) * len(new)
        return replace(self, categories=self.categories + new, class_weights=weights)

    def weighted(self, weight: float, class_weights: Mapping[Any, float] | None = None) -> Self:
        """Return the task with what it, and each class, counts for; see :meth:`Task.weighted`."""
        given = class_weights or {}
        unknown = [name for name in given if name not in self.categories]
        if unknown:
            raise KeyError(
                f"`class_weights` names classes {unknown} that task {self.name!r} does not show. "
                f"Its classes are {list(self.categories)}."
            )
        factors = np.array([given.get(category, 1.0) for category in self.categories])
        factors /= factors.mean()
        return replace(self, weight=weight, class_weights=tuple(factors.tolist()) if given else ())

    def _of_classes(self, codes: Iterable[int]) -> Self:
        """Return the task with some of its classes, in this order."""
        categories = tuple(self.categories[code] for code in codes)
        weights = tuple(self.class_weights[code] for code in codes) if self.class_weights else ()
        return replace(self, categories=categories, class_weights=weights)

    def encode(self, column: pd.Series) -> NDArray[Any]:
        code_of: dict[object, int] = {c: code for code, c in enumerate(self.categories)}
        labels = _as_categorical(column)
        codes = np.array(
            [code_of.get(_plain(category), MISSING_CODE) for category in labels.categories]
            + [MISSING_CODE],  # the code -1 of a missing label indexes this last entry
            dtype=np.int64,
        )
        encoded: NDArray[np.int64] = codes[labels.codes]
        return encoded

    def decode(self, prediction: NDArray[Any]) -> pd.Categorical:
        return self.from_codes(prediction.argmax(axis=1))

    def from_codes(self, codes: NDArray[np.integer[Any]]) -> pd.Categorical:
        """Turn codes of shape ``(n_obs,)`` into labels with the task's own categories."""
        categories: Any = pd.Index(self.categories)
        return pd.Categorical.from_codes(codes, categories=categories, ordered=self.ordered)

    def observed(self, encoded: NDArray[Any]) -> NDArray[np.bool_]:
        return np.asarray(encoded != MISSING_CODE)

    def blank(self, encoded: NDArray[Any], hidden: NDArray[np.bool_]) -> NDArray[Any]:
        if encoded.ndim == 2:  # probabilities, as a teacher gives them
            return np.where(hidden[:, None], np.array(0, dtype=encoded.dtype), encoded)
        return np.where(hidden, np.array(MISSING_CODE, dtype=encoded.dtype), encoded)

    def taught(
        self, encoded: NDArray[Any], prediction: NDArray[Any], cells: NDArray[np.bool_]
    ) -> NDArray[Any]:
        """Return the probabilities of the classes, of shape ``(n_obs, n_classes)``."""
        table = np.zeros((len(encoded), self.n_outputs), dtype=np.float32)
        seen = np.flatnonzero(self.observed(encoded))
        table[seen, encoded[seen]] = 1
        table[cells] = prediction[cells]
        return table

    def only_in(self, encoded: NDArray[Any], chosen: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Mark the chosen cells of a class that no other cell has."""
        elsewhere = np.isin(encoded, np.unique(encoded[~chosen]))
        return chosen & self.observed(encoded) & ~elsewhere

    def strata(self, encoded: NDArray[Any]) -> NDArray[Any]:
        return encoded

    def like_no_label(self, encoded: NDArray[Any]) -> Mapping[Category, int]:
        """Go by the names alone; see :func:`looks_like_no_label`."""
        counts = np.bincount(encoded[self.observed(encoded)], minlength=self.n_outputs)
        return {
            category: int(count)
            for category, count in zip(self.categories, counts, strict=True)
            if looks_like_no_label(category)
        }

    def target(self, encoded: NDArray[Any]) -> Classes:
        return Classes(encoded, self.weight, self.class_weights)

    def points_told(self, encoded: NDArray[Any]) -> Sequence[str]:
        if encoded.ndim == 2:  # probabilities, as a teacher gives them
            codes = np.flatnonzero(encoded.any(axis=0))
        else:
            codes = np.unique(encoded[self.observed(encoded)])
        return [str(self.categories[code]) for code in codes]

    def regressands(
        self, seen: NDArray[Any], class_weight_power: float
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return an indicator for each class; a cell of n weighs ``n ** -class_weight_power``."""
        counts = np.bincount(seen, minlength=self.n_outputs).astype(np.float64)
        weights = np.maximum(counts, 1) ** -class_weight_power
        return np.eye(self.n_outputs)[seen], weights[seen]

    def from_regression(
        self,
        predicted: NDArray[np.float64],
        left_out: NDArray[np.float64],
        values: NDArray[np.float64],
        share: NDArray[np.float64],
    ) -> NDArray[np.float64]:
        """Tell the classes apart by linear discriminant analysis of the fitted indicators."""
        prior = np.maximum(share @ values, np.finfo(np.float64).tiny)
        centroids = values.T @ (share[:, None] * left_out) / prior[:, None]
        rest = left_out - values @ centroids
        within = rest.T @ (share[:, None] * rest)
        within[np.diag_indices_from(within)] += _SHRINKAGE * np.diagonal(within).mean() + 1e-12
        directions = linalg.solve(within, centroids.T, assume_a="pos")
        offsets = np.log(prior) - 0.5 * (centroids * directions.T).sum(axis=1)
        logits = predicted @ directions + offsets
        probabilities: NDArray[np.float64] = special.softmax(logits, axis=1)
        return probabilities

    def guess(self, n_obs: int) -> NDArray[np.float64]:
        """Return the same probability for every class."""
        return np.full((n_obs, self.n_outputs), 1 / self.n_outputs)

    def scores(self, encoded: NDArray[Any], prediction: NDArray[Any]) -> dict[str, float]:
        """See :func:`yoto_sc.metrics.classification_scores`."""
        return classification_scores(encoded, prediction)

    def weighted_scores(
        self, encoded: NDArray[Any], prediction: NDArray[Any], weights: NDArray[np.float32]
    ) -> NDArray[np.float64]:
        """Return macro-F1 under several weightings of the cells."""
        predicted = prediction.argmax(axis=1)
        return mean_of_defined(weighted_f1(encoded, predicted, self.n_outputs, weights))

    def confusion(
        self, encoded: NDArray[Any], prediction: NDArray[Any]
    ) -> list[tuple[str, str, int]]:
        counts = confusion_counts(encoded, prediction.argmax(axis=1), self.n_outputs)
        return [
            (str(self.categories[i]), str(self.categories[j]), int(counts[i, j]))
            for i, j in zip(*np.nonzero(counts), strict=True)
        ]

    def columns(self, keys: Keys) -> list[str]:
        return [keys.prediction(self.name), keys.confidence(self.name)]

    def written(
        self,
        keys: Keys,
        prediction: NDArray[Any],
        obs_names: pd.Index,
        min_confidence: float | None = None,
    ) -> Mapping[str, Any]:
        """Return the most probable class, missing below `min_confidence`, and its probability."""
        codes, confidence = prediction.argmax(axis=1), prediction.max(axis=1).clip(0, 1)
        if min_confidence is not None:
            codes = np.where(confidence < min_confidence, MISSING_CODE, codes)
        return {
            keys.prediction(self.name): self.from_codes(codes),
            keys.confidence(self.name): confidence,
        }

    def to_dict(self) -> dict[str, Any]:
        return {
            **super().to_dict(),
            "categories": list(self.categories),
            "ordered": self.ordered,
            **({"class_weights": list(self.class_weights)} if self.class_weights else {}),
        }

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Self:
        return cls(
            record["name"],
            tuple(record["categories"]),
            record["ordered"],
            weight=record.get("weight", 1.0),
            class_weights=tuple(record.get("class_weights", ())),
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


def _check(labels: pd.Categorical, name: str) -> None:
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


def _check_numbers(labels: pd.Categorical, name: str, are_categories: bool) -> None:
    """Refuse numbers that are more than classes would be, unless they are said to be classes."""
    seen = labels.codes[labels.codes != MISSING_CODE]
    classes = labels.categories[np.unique(seen)]
    numbers = [c for c in classes if _is_number(c)]
    have_fractions = any(not isinstance(c, Integral) and float(c) % 1 for c in numbers)
    if are_categories and not have_fractions:
        return
    if len(numbers) <= (_MAX_FRACTIONS if have_fractions and not are_categories else _MAX_NUMBERS):
        return
    others = ", ".join([repr(c) for c in classes if not _is_number(c)][:3])
    as_missing = f", with NaN in place of {others}" if others else ""
    as_text = '.astype("string")' if have_fractions and len(numbers) > _MAX_NUMBERS else ""
    raise ValueError(
        f"Task {name!r} would have {len(classes)} classes for {len(seen)} labelled cells, and "
        f"they are numbers: numbers belong in `continuous_keys`{as_missing}. If these are labels "
        f"that happen to be numbers, make them categories: adata.obs[{name!r}] = "
        f'adata.obs[{name!r}]{as_text}.astype("category").'
    )


def _is_number(category: object) -> bool:
    return isinstance(category, Real | Decimal) and not isinstance(category, bool)
