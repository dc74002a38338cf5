"""Observed against predicted classes of held-out cells."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from yoto_sc._keys import DEFAULT_KEY, Keys
from yoto_sc.pl._common import read_table, read_tasks
from yoto_sc.pl._docs import fill
from yoto_sc.pl._figure import axes_for, figure_of, finish, literal

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

MAX_WRITTEN = 30
"""With more classes the numbers in the cells would be too small to read."""


@literal
@fill()
def confusion(
    adata: AnnData,
    task: str | None = None,
    *,
    key: str = DEFAULT_KEY,
    normalize: Literal["observed"] | None = "observed",
    ax: Axes | None = None,
    show: bool | None = None,
) -> Axes | None:
    """Show which classes of held-out cells are taken for which.

    Parameters
    ----------
    {adata}
    task
        A categorical task; ``None``: the first one.
    {key}
    normalize
        ``"observed"``: fractions of each observed class, so rows add up to 1. ``None``: numbers
        of cells.
    {ax}

    Returns
    -------
    The axes, rows observed and columns predicted; ``None`` if `show`.

    Raises
    ------
    KeyError
        `adata` holds no selection under `key`, or `task` was not part of it.
    ValueError
        `task` has no classes, no task is categorical, or `normalize` is not one of the above.

    Examples
    --------
    {select}
    >>> yt.pl.confusion(adata, "cell_type")  # doctest: +SKIP
    """
    if normalize not in ("observed", None):
        raise ValueError(f"normalize must be 'observed' or None, not {normalize!r}.")
    task = _categorical_task(adata, key, task)
    counts = _counts(adata, key, task)
    written = len(counts) <= MAX_WRITTEN
    n_cells = counts.sum(axis=1).to_numpy()
    values = counts.to_numpy(dtype=np.float64)
    if normalize == "observed":
        with np.errstate(invalid="ignore"):  # a class without held-out cells has no fractions
            values = values / n_cells[:, None]
    side = 1.2 + len(counts) * (0.42 if len(counts) <= 15 else 0.34 if written else 0.2)
    ax = axes_for(given := ax, (side + 2.6, side + 1.2), show)
    vmax = 1.0 if normalize else max(float(values.max()), 1.0)
    image = ax.imshow(np.ma.masked_invalid(values), cmap="Blues", vmin=0, vmax=vmax)
    ax.set_facecolor("0.93")
    if written:
        _write_values(ax, values, "{:.2f}" if normalize else "{:.0f}", vmax)
    names = list(counts.index)
    rows = [f"{name} (n={n:,})" for name, n in zip(names, n_cells, strict=True)]
    ax.set_yticks(range(len(rows)), rows, fontsize="small")
    rotation = 90 if max(map(len, names)) > 4 else 0
    ax.set_xticks(range(len(names)), names, fontsize="small", rotation=rotation)
    ax.set_ylabel("observed")
    ax.set_xlabel("predicted")
    ax.set_title(_title(adata, key, task), fontsize="medium")
    ax.set_xticks(np.arange(len(names) - 1) + 0.5, minor=True)
    ax.set_yticks(np.arange(len(names) - 1) + 0.5, minor=True)
    ax.grid(which="minor", color="0.9", linewidth=0.8)
    ax.tick_params(which="both", length=0)
    ax.spines[:].set_visible(False)
    label = "fraction of the observed class" if normalize else "cells"
    figure_of(ax).colorbar(image, ax=ax, shrink=0.7, label=label)
    return finish(ax, given=given, show=show)


def _categorical_task(adata: AnnData, key: str, task: str | None) -> str:
    kinds = read_tasks(adata, key)["kind"].astype(str)
    categorical = list(kinds.index[kinds == "categorical"])
    if task is None:
        if not categorical:
            raise ValueError(
                "This selection has no categorical task, so there is nothing to confuse. "
                f"Its tasks are {list(kinds.index)}; see yoto_sc.pl.path for their scores."
            )
        return str(categorical[0])
    if task not in kinds.index:
        raise KeyError(
            f"The task {task!r} was not part of this selection. Its categorical tasks are "
            f"{categorical}."
        )
    if task not in categorical:
        raise ValueError(
            f"The task {task!r} has no classes: its kind is {kinds[task]!r}. The categorical "
            f"tasks are {categorical}."
        )
    return task


def _counts(adata: AnnData, key: str, task: str) -> pd.DataFrame:
    """Held-out cells by observed (rows) and predicted class, in the task's own order."""
    tidy = read_table(adata, key, "confusion", ["task", "observed", "predicted", "n_cells"])
    tidy = tidy[tidy["task"].astype(str) == task]
    tidy = tidy.astype({"observed": str, "predicted": str})
    predictions = adata.obs.get(Keys(key).prediction(task))
    dtype = getattr(predictions, "dtype", None)
    known = map(str, dtype.categories) if isinstance(dtype, pd.CategoricalDtype) else ()
    names = list(dict.fromkeys([*known, *sorted({*tidy["observed"], *tidy["predicted"]})]))
    counts = tidy.pivot_table(
        index="observed", columns="predicted", values="n_cells", aggfunc="sum", fill_value=0
    )
    return counts.reindex(index=names, columns=names, fill_value=0).astype(int)


def _write_values(ax: Axes, values: NDArray[np.float64], form: str, vmax: float) -> None:
    """Write what is not zero into the cells, white where the cell is dark."""
    centred: dict[str, Any] = {"ha": "center", "va": "center"}
    for (row, column), value in np.ndenumerate(values):
        if np.isfinite(value) and value != 0:
            color = "white" if value > 0.55 * vmax else "black"
            size = 8 if len(values) <= 15 else 6
            ax.text(column, row, form.format(value), color=color, fontsize=size, **centred)


def _title(adata: AnnData, key: str, task: str) -> str:
    title = f"{task}, held-out cells"
    metrics = read_table(adata, key, "metrics", [])
    metrics.index = metrics.index.astype(str)
    if "macro_f1" not in metrics.columns or pd.isna(metrics["macro_f1"].get(task)):
        return title
    return f"{title}: macro-F1 {metrics['macro_f1'].astype(float)[task]:.2f}"
