"""What is to be predicted: one frozen record a question, one class for each kind of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from yoto_sc._checks import check_column

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    import numpy as np
    import pandas as pd
    from anndata import AnnData
    from numpy.typing import NDArray

    from yoto_sc._keys import Keys
    from yoto_sc.select import Target

Category = str | int | float | bool


@dataclass(frozen=True)
class Task(ABC):
    """One question the panel has to answer.

    A kind of task is a subclass in a file of its own. It says how labels are read and written,
    and which of the package's heads, closed forms and scores suit them. Encoded labels are an
    array of shape ``(n_obs,)``, or ``(n_obs, n_columns)`` for vectors, in which missing labels are
    marked; a prediction is what the kind's head returns for some cells.

    Parameters
    ----------
    name
        The key that holds the labels.
    weight
        What the task counts for beside others, in the search and in the loss.
    """

    name: str
    weight: float = field(default=1.0, kw_only=True)

    kind: ClassVar[str]
    """What the kind is called in tables and files."""
    argument: ClassVar[str]
    """The argument of the public functions that names tasks of this kind."""
    place: ClassVar[Literal["obs", "obsm"]] = "obs"
    """Where labels are read and predictions are written."""
    is_derived: ClassVar[bool] = False
    """Whether labels are made from the expression of the training cells, rather than read."""
    metric: ClassVar[str]
    """The score that stands for a task where there is room for one."""
    score_names: ClassVar[Sequence[str]]
    """The names of all scores."""
    head: ClassVar[Literal["cross_entropy", "squared_error", "vector"]]
    """Which head of the network predicts it."""
    linear_head: ClassVar[Literal["logistic", "ridge"]]
    """Which linear model judges exchanges of genes."""

    @classmethod
    @abstractmethod
    def from_adata(cls, adata: AnnData, name: str, unlabeled: Collection[object] = ()) -> Self:
        """Read the task off its labels.

        Raises
        ------
        KeyError
            There are no such labels.
        TypeError
            They are of the wrong type.
        ValueError
            There are too few observed ones to learn from, or infinite ones.
        """

    @classmethod
    def column(cls, adata: AnnData, name: str) -> Any:
        """Return the labels as they are stored.

        Raises
        ------
        KeyError
            There are none.
        """
        check_column(adata.obs, name, cls.argument)
        return adata.obs[name]

    @property
    def categories(self) -> tuple[Category, ...]:
        """The classes, in the order of their codes; empty where there are none."""
        return ()

    @property
    def parts(self) -> tuple[str, ...]:
        """Names of the classes, or of the columns of vectors, that have scores of their own."""
        return tuple(str(category) for category in self.categories)

    @property
    def class_weights(self) -> tuple[float, ...]:
        """What each class counts for beside others, of mean 1; empty: all alike."""
        return ()

    @property
    @abstractmethod
    def n_outputs(self) -> int:
        """Number of outputs of the task's head."""

    def weighted(self, weight: float, class_weights: Mapping[Any, float] | None = None) -> Self:
        """Return the task with what it counts for.

        Raises
        ------
        KeyError, ValueError
            `class_weights` names a class that there is not.
        """
        if class_weights:
            raise ValueError(
                f"`class_weights` names {self.name!r}, whose labels are no classes. Name tasks of "
                "`categorical_keys`."
            )
        return replace(self, weight=weight)

    def on_these(self, encoded: NDArray[Any]) -> tuple[Self, NDArray[Any]]:
        """Return the task as these labels alone would show it, and the labels encoded for it."""
        return self, encoded

    def in_sorted_order(self) -> Self:
        """Return the task with its classes in the order that scikit-learn gives them."""
        return self

    def extended(self, column: Any, unlabeled: Collection[object] = ()) -> Self:
        """Return the task with the classes that other labels show, after its own."""
        del column, unlabeled
        return self

    @abstractmethod
    def encode(self, column: Any) -> NDArray[Any]:
        """Turn labels into numbers the model can learn from; unknown ones count as missing."""

    def encode_exactly(self, column: Any) -> NDArray[Any]:
        """Encode numbers in full precision, for estimators that keep it."""
        return self.encode(column)

    @abstractmethod
    def decode(self, prediction: NDArray[Any]) -> Any:
        """Turn a prediction into labels, of shape ``(n_obs,)``."""

    def decoded(self, prediction: NDArray[Any]) -> Mapping[str, Any]:
        """Turn a prediction into columns of a table, by name."""
        return {self.name: self.decode(prediction)}

    @abstractmethod
    def observed(self, encoded: NDArray[Any]) -> NDArray[np.bool_]:
        """Which entries hold a label, shape ``(n_obs,)``."""

    @abstractmethod
    def blank(self, encoded: NDArray[Any], hidden: NDArray[np.bool_]) -> NDArray[Any]:
        """Return the encoded labels with those of the `hidden` cells missing."""

    @abstractmethod
    def taught(
        self, encoded: NDArray[Any], prediction: NDArray[Any], cells: NDArray[np.bool_]
    ) -> NDArray[Any]:
        """Return the encoded labels with what a teacher predicts in the place of some.

        Parameters
        ----------
        encoded
            Labels of all cells.
        prediction
            Of all cells.
        cells
            Those to take the prediction for, ``(n_obs,)``; all of them lack a label.
        """

    @abstractmethod
    def only_in(self, encoded: NDArray[Any], chosen: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Mark the chosen cells without which something could not be learned any more."""

    def strata(self, encoded: NDArray[Any]) -> NDArray[Any] | None:
        """Return classes in which a split is to be even, ``(n_obs,)``; `None`: there are none."""
        del encoded
        return None

    def is_learnable(self, encoded: NDArray[Any]) -> bool:
        """Whether at least two different labels are observed."""
        seen = encoded[self.observed(encoded)]
        return len(seen) > 0 and bool((seen != seen[0]).any())

    def like_no_label(self, encoded: NDArray[Any]) -> Mapping[Category, int]:
        """Count the cells of classes whose names look as if they meant "no label"."""
        del encoded
        return {}

    @abstractmethod
    def target(self, encoded: NDArray[Any]) -> Target:
        """Return the labels as closed forms see them."""

    def points_told(self, encoded: NDArray[Any]) -> Sequence[str]:
        """Name the points that the target tells apart; empty, where they have no name."""
        del encoded
        return ["", ""]

    @abstractmethod
    def regressands(
        self, seen: NDArray[Any], class_weight_power: float
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Turn observed labels into values for a weighted ridge regression.

        Returns
        -------
        Values of shape ``(n_seen, n_outputs)``, and weights of the cells, ``(n_seen,)``.
        """

    @abstractmethod
    def from_regression(
        self,
        predicted: NDArray[np.float64],
        left_out: NDArray[np.float64],
        values: NDArray[np.float64],
        share: NDArray[np.float64],
    ) -> NDArray[np.float64]:
        """Turn what a ridge regression made of :meth:`regressands` into a prediction.

        Parameters
        ----------
        predicted
            Its values for the cells to predict, ``(n_obs, n_outputs)``.
        left_out, values, share
            For the cells that were learned from, fits that leave each one out and the true values,
            ``(n_seen, n_outputs)``, and weights that sum to 1, ``(n_seen,)``.
        """

    @abstractmethod
    def guess(self, n_obs: int) -> NDArray[np.float64]:
        """Return a prediction from no labels at all."""

    @abstractmethod
    def scores(self, encoded: NDArray[Any], prediction: NDArray[Any]) -> dict[str, float]:
        """Score a prediction; missing labels are passed over."""

    @abstractmethod
    def weighted_scores(
        self, encoded: NDArray[Any], prediction: NDArray[Any], weights: NDArray[np.float32]
    ) -> NDArray[np.float64]:
        """Return the kind's :attr:`metric` under several weightings of the cells.

        Parameters
        ----------
        encoded
            Labels, none of them missing.
        prediction
            Of the same cells.
        weights
            Whole numbers, shape ``(n_weightings, n_obs)``.
        """

    def confusion(
        self, encoded: NDArray[Any], prediction: NDArray[Any]
    ) -> list[tuple[str, str, int]]:
        """Count cells by observed and predicted class; there are none for numbers."""
        del encoded, prediction
        return []

    def structure_scores(
        self, encoded: NDArray[Any], prediction: NDArray[Any]
    ) -> dict[str, float]:
        """Score what a prediction keeps of the structure of all genes; labels have none."""
        del encoded, prediction
        return {}

    def column_scores(
        self, encoded: NDArray[Any], prediction: NDArray[Any]
    ) -> list[dict[str, Any]]:
        """Score each column of a vector; there are none for one label a cell."""
        del encoded, prediction
        return []

    @abstractmethod
    def columns(self, keys: Keys) -> list[str]:
        """Names of the entries of :attr:`place` that hold predictions."""

    @abstractmethod
    def written(
        self,
        keys: Keys,
        prediction: NDArray[Any],
        obs_names: pd.Index,
        min_confidence: float | None = None,
    ) -> Mapping[str, Any]:
        """Return what is written of a prediction, by entry of :attr:`place`."""

    def to_dict(self) -> dict[str, Any]:
        """Plain types for JSON; :func:`yoto_sc.data.task_from_dict` is its inverse."""
        weight = {} if self.weight == 1 else {"weight": self.weight}
        return {
            "name": self.name,
            "kind": self.kind,
            "categories": [],
            "ordered": False,
            **weight,
        }

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Self:
        """Rebuild a task of this kind from `to_dict`."""
        return cls(record["name"], weight=record.get("weight", 1.0))
