"""Which cells are held out: seeded, stratified over all tasks, and by groups where asked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from sklearn.model_selection import GroupKFold

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from yoto_sc.data import Task

MAX_CELLS = 100_000
"""More cells teach no more; see the method page."""
MAX_JUDGED = 5000
"""Changed panels are judged on at most this many cells, all of which are held out once."""
N_FOLDS = 5
_SURE_CELLS = 500
"""So many cells of a class are learned from, however rare it is, where others are left out."""


@dataclass(frozen=True)
class Split:
    """Indices of the training and of the held-out cells.

    Parameters
    ----------
    train, validation
        Sorted cell indices; shapes ``(n_train,)`` and ``(n_validation,)``.
    """

    train: NDArray[np.intp]
    validation: NDArray[np.intp]

    @property
    def cells(self) -> NDArray[np.intp]:
        """All of them, sorted, shape ``(n_train + n_validation,)``."""
        return np.union1d(self.train, self.validation)

    def among(self, cells: NDArray[np.intp]) -> Split:
        """Return the positions of these cells among `cells`, which are sorted and hold them."""
        return Split(*(np.searchsorted(cells, part) for part in (self.train, self.validation)))


def default_validation_size(n_obs: int) -> float:
    """Share of cells to hold out: a tenth, and up to a fifth to have 200 cells to judge on."""
    return float(np.clip(200 / n_obs, 0.1, 0.2))


def all_cells(n_obs: int) -> Split:
    """Hold out no cell."""
    return Split(np.arange(n_obs), np.arange(0))


def split_cells(
    tasks: Sequence[Task],
    labels: Sequence[NDArray[Any]],
    groups: pd.Series | None,
    validation_size: float,
    rng: np.random.Generator,
) -> Split:
    """Hold out cells, or whole groups of cells.

    Cells are held out systematically from a random order sorted by the labels of all categorical
    tasks, so that each class gives its share. Groups are held out at random until they hold the
    share asked for; one group at least is held out and one trained on. Held-out cells whose class
    has no training cell are trained on if cells are split (a class of one cell is learned, not
    judged); if groups are split they stay held out, as groups that leaked would be no test.

    Parameters
    ----------
    labels
        One encoded array of shape ``(n_obs,)`` for each task.
    groups
        Group of each cell, shape ``(n_obs,)``, or `None` to split cells. Cells of no group are
        trained on.
    validation_size
        Share of the cells to hold out, in ``[0, 1)``.

    Raises
    ------
    ValueError
        No group can be held out so that every task can still be learned.
    """
    n_obs = len(labels[0])
    if groups is None:
        held_out = _systematic(_strata(tasks, labels), validation_size, rng)
        for task, task_labels in zip(tasks, labels, strict=True):
            held_out &= ~task.only_in(task_labels, held_out)
    else:
        held_out = _whole_groups(tasks, labels, groups, validation_size, rng)
    if held_out.all():
        held_out[rng.integers(n_obs)] = False
    return Split(np.flatnonzero(~held_out), np.flatnonzero(held_out))


def fold_cells(
    tasks: Sequence[Task],
    labels: Sequence[NDArray[Any]],
    n_folds: int,
    rng: np.random.Generator,
) -> NDArray[np.intp]:
    """Deal cells into folds of equal size, stratified over all categorical tasks; ``(n_obs,)``."""
    order = _sorted_by(_strata(tasks, labels), rng)
    folds = np.empty(len(order), dtype=np.intp)
    folds[order] = (np.arange(len(order)) + rng.integers(n_folds)) % n_folds
    return folds


def fold_units(
    tasks: Sequence[Task],
    labels: Sequence[NDArray[Any]],
    groups: NDArray[np.intp] | None,
    rng: np.random.Generator,
) -> NDArray[np.intp]:
    """Deal cells, or whole groups, into folds; shape ``(n_obs,)``."""
    n_obs = len(labels[0])
    if groups is None:
        return fold_cells(tasks, labels, min(N_FOLDS, n_obs), rng)
    n_folds = min(N_FOLDS, len(np.unique(groups)))
    folds = np.empty(n_obs, dtype=np.intp)
    splitter = GroupKFold(n_folds, shuffle=True, random_state=int(rng.integers(2**31)))
    for fold, (_, test) in enumerate(splitter.split(folds, groups=groups)):
        folds[test] = fold
    return folds


def at_most(n_cells: int, cells: NDArray[np.intp], rng: np.random.Generator) -> NDArray[np.intp]:
    """Return `cells`, or a sorted random choice of `n_cells` of them if there are more."""
    if len(cells) <= n_cells:
        return cells
    return np.sort(rng.choice(cells, n_cells, replace=False))


def bounded(
    split: Split,
    tasks: Sequence[Task],
    labels: Sequence[NDArray[Any]],
    max_cells: int,
    rng: np.random.Generator,
) -> Split:
    """Return a split of some of the cells, where there are very many.

    Of the training cells, at most `max_cells` are left. They are drawn at random, but of each
    class of each task at least 500 stay, or all if it has fewer (and no more than half the places
    are given so). Of the held-out cells half as many are left at most, drawn at random, so that
    scores are of classes as frequent as they are.
    """
    train = split.train
    if len(train) > max_cells:
        train = rng.permutation(train)
        strata = _strata(tasks, labels)[:, train]
        n_classes = sum(len(np.unique(codes)) for codes in strata)
        n_sure = min(_SURE_CELLS, max_cells // (2 * max(n_classes, 1)))
        first = np.zeros(len(train), dtype=bool)
        for codes in strata:
            first |= (_occurrence(codes) < n_sure) & (codes >= 0)
        order = np.argsort(~first, kind="stable")
        train = np.sort(train[order[:max_cells]])
    return Split(train, at_most(max_cells // 2, split.validation, rng))


def _occurrence(codes: NDArray[np.int64]) -> NDArray[np.intp]:
    """Return how often each code has occurred before, ``(n_obs,)``."""
    order = np.argsort(codes, kind="stable")
    in_order = codes[order]
    starts = np.flatnonzero(np.diff(in_order, prepend=in_order[:1] - 1))
    lengths = np.diff(np.append(starts, len(codes)))
    before = np.empty(len(codes), dtype=np.intp)
    before[order] = np.arange(len(codes)) - np.repeat(starts, lengths)
    return before


def _strata(tasks: Sequence[Task], labels: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Return the classes in which a split is to be even, shape ``(n_strata, n_obs)``."""
    found = [task.strata(array) for task, array in zip(tasks, labels, strict=True)]
    strata = [codes for codes in found if codes is not None]
    return np.array(strata, dtype=np.int64).reshape(len(strata), len(labels[0]))


def _sorted_by(strata: NDArray[Any], rng: np.random.Generator) -> NDArray[np.intp]:
    """Order cells by their classes in all tasks, the first task first; ties in random order."""
    keys = [rng.permutation(strata.shape[1]), *strata[::-1]]  # lexsort: the last key leads
    return np.lexsort(keys)


def _systematic(strata: NDArray[Any], share: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    order = _sorted_by(strata, rng)
    position = np.arange(len(order)) * share + rng.random()
    held_out = np.zeros(len(order), dtype=bool)
    held_out[order] = np.diff(
        np.floor(position), append=np.floor(len(order) * share + position[0])
    )
    return held_out


def _whole_groups(
    tasks: Sequence[Task],
    labels: Sequence[NDArray[Any]],
    groups: pd.Series,
    share: float,
    rng: np.random.Generator,
) -> NDArray[np.bool_]:
    codes, names = pd.factorize(groups)
    if share <= 0:
        return np.zeros(len(codes), dtype=bool)
    order = rng.permutation(len(names))
    sizes = np.bincount(codes[codes >= 0], minlength=len(names))[order]
    n_held_out = 1 + int((np.cumsum(sizes)[:-1] < share * len(codes)).sum())
    choices = (
        np.isin(codes, np.roll(order, -first)[:n_groups])
        for first in range(len(names))
        for n_groups in range(min(n_held_out, len(names) - 1), 0, -1)
    )
    learnable = (
        held_out
        for held_out in choices
        if all(
            task.is_learnable(array[~held_out]) for task, array in zip(tasks, labels, strict=True)
        )
    )
    chosen = next(learnable, None)
    if chosen is None:
        raise ValueError(
            f"Whichever group of split_key={groups.name!r} is held out, some task keeps fewer "
            "than two classes or values to learn from. Label cells of more groups, or pass None "
            "to hold out cells."
        )
    return chosen
