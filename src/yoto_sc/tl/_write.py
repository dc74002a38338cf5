"""What is written of predictions, and where, in one place for all verbs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from anndata import AnnData
    from numpy.typing import NDArray

    from yoto_sc._keys import Keys
    from yoto_sc.data import Levels, Task


def result_places(names: Keys, tasks: Iterable[Task]) -> dict[str, list[str]]:
    """Return where predictions for some tasks are written to: names in obs and obsm."""
    places: dict[str, list[str]] = {"obs": [], "obsm": [names.latent]}
    for task in tasks:
        places[task.place] += task.columns(names)
    return places


def given_only(params: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out parameters that are `None` or empty, which files cannot hold."""
    return {
        name: value
        for name, value in params.items()
        if value is not None and not (isinstance(value, list | dict) and not value)
    }


def weights_as_params(
    task_weights: Mapping[str, float] | None,
    class_weights: Mapping[str, Mapping[Any, float]] | None,
) -> dict[str, Any]:
    """Return weights as files can hold them: no class is a key, for its name may hold a slash."""
    rows = [
        (name, str(category), float(weight))
        for name, by_class in (class_weights or {}).items()
        for category, weight in by_class.items()
    ]
    return {
        "task_weights": {name: float(weight) for name, weight in (task_weights or {}).items()},
        "class_weights": pd.DataFrame(rows, columns=["task", "category", "weight"])
        if rows
        else None,
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
    untold: NDArray[np.bool_] | None = None,
) -> None:
    """Write predictions, confidences and the representation, if it has columns.

    The cells `untold` get no prediction.
    """
    without = levels.without_label(predictions, min_confidence)
    for position, (task, prediction) in enumerate(zip(tasks, predictions, strict=True)):
        written = task.written(names, prediction, adata.obs_names, min_confidence)
        for column, values in written.items():
            getattr(adata, task.place)[column] = values
        if position in without and without[position].any():
            adata.obs.loc[without[position], names.prediction(task.name)] = None
    if untold is not None and untold.any():
        for task in tasks:
            for column in task.columns(names):
                values = getattr(adata, task.place)[column]
                if isinstance(values, pd.Series):
                    values = values.mask(untold)
                else:
                    rows = values.loc if isinstance(values, pd.DataFrame) else values
                    rows[untold] = np.nan
                getattr(adata, task.place)[column] = values
    if latent.shape[1]:
        adata.obsm[names.latent] = latent
    else:  # that of an earlier call is of other predictions
        adata.obsm.pop(names.latent, None)
