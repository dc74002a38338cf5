"""What is written of predictions, and where, in one place for all verbs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from yoto_sc.data import KINDS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from anndata import AnnData
    from numpy.typing import NDArray

    from yoto_sc._keys import Keys
    from yoto_sc.data import Levels, Task


def result_columns(names: Keys, keys: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the obs columns that predictions for some tasks are written to."""
    return [
        column
        for kind, named in keys.items()
        for key in named
        for column in KINDS[kind](key).columns(names)
    ]


def given_only(params: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out parameters that are `None` or empty, which files cannot hold."""
    return {
        name: value
        for name, value in params.items()
        if value is not None and not (isinstance(value, list) and not value)
    }


def write_predictions(
    adata: AnnData,
    names: Keys,
    tasks: Sequence[Task],
    predictions: Sequence[NDArray[Any]],
    latent: NDArray[Any],
    *,
    levels: Levels,
    min_confidence: float | None = None,
) -> None:
    """Write predictions, confidences and the representation of all cells."""
    without = levels.without_label(predictions, min_confidence)
    for position, (task, prediction) in enumerate(zip(tasks, predictions, strict=True)):
        for column, values in task.written(names, prediction, min_confidence).items():
            adata.obs[column] = values
        if position in without and without[position].any():
            adata.obs.loc[without[position], names.prediction(task.name)] = None
    adata.obsm[names.latent] = latent
