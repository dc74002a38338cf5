"""Which cells select and train, and which judge."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
from sklearn.model_selection import StratifiedShuffleSplit

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    Cells = NDArray[np.intp]

Setting = Literal["cells", "groups", "cells400"]
SETTINGS: tuple[Setting, ...] = get_args(Setting)
_HELD_OUT = 0.25
_FEW = 400
_LEAST_PER_CLASS = 3


def split(
    setting: Setting, labels: pd.Series, groups: pd.Series | None, seed: int
) -> tuple[Cells, Cells]:
    """Return the indices of training and of held-out cells.

    Parameters
    ----------
    setting
        ``"cells"``: a quarter of the cells is held out, stratified by class. ``"cells400"``: the
        same held-out cells, but only 400 of the others to train on, at least 3 of each class
        where there are as many. ``"groups"``: a quarter of the groups is held out.
    labels
        Classes to stratify by; missing labels count as a class.
    groups
        Donor or section of every cell.
    seed
        Another split for every seed.
    """
    rng = np.random.default_rng(seed)
    if setting == "groups":
        if groups is None:
            raise ValueError("The data have no groups.")
        names = groups.unique()
        n_held_out = max(1, round(_HELD_OUT * len(names)))
        held_out = groups.isin(rng.permutation(np.asarray(names))[:n_held_out]).to_numpy()
        return np.flatnonzero(~held_out), np.flatnonzero(held_out)
    codes = labels.cat.codes.to_numpy()
    splitter = StratifiedShuffleSplit(1, test_size=_HELD_OUT, random_state=seed)
    train, test = next(splitter.split(np.zeros((len(codes), 1)), codes))
    if setting == "cells400":
        train = _subsample(train, codes[train], rng)
    return np.sort(train), np.sort(test)


def _subsample(cells: Cells, codes: NDArray[np.integer], rng: np.random.Generator) -> Cells:
    """Draw 400 cells at random, after the first few of every class."""
    order = rng.permutation(len(cells))
    first = np.concatenate(
        [order[codes[order] == code][:_LEAST_PER_CLASS] for code in np.unique(codes)]
    )
    rest = order[~np.isin(order, first)]
    return cells[np.concatenate([first, rest])[:_FEW]]
