"""Tasks that are levels of one tree: found in their labels, and predicted in agreement."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from numpy.typing import NDArray

    from yoto_sc.data._kinds import Task

logger = logging.getLogger(__name__)

UNKNOWN = -1
"""Stands for the parent of a class that has none, as far as is known."""
_NOISE, _MOST_NOISE = 0.01, 0.1
"""In a class, one cell or this share of the cells may contradict a tree, but no larger share."""
_CHANCE = 1e-3
"""Labels dealt at random must make as good a tree with a smaller probability than this."""
_TINY = 1e-30
_LEAD = 1e-6
"""By so much a predicted class is ahead of all others: more than float32 may round away."""


@dataclass(frozen=True)
class Level:
    """A task whose classes lie within those of another one."""

    fine: int  # its position among the tasks
    coarse: int  # the position of the other one
    parents: tuple[int, ...]  # for each class, the code of the coarser one; -1: unknown
    share: float  # weight of the finer prediction in the average of the two

    def pool(self, coarse: NDArray[np.float64], fine: NDArray[np.float64]) -> NDArray[np.float64]:
        """Average the coarser prediction with what the finer one says of the same classes."""
        holds, sums = self._sums(fine)
        held = coarse[:, holds]
        said = sums * (held.sum(axis=1) / sums.sum(axis=1))[:, None]
        pooled = coarse.copy()
        pooled[:, holds] = (1 - self.share) * held + self.share * said
        return pooled

    def divide(
        self, coarse: NDArray[np.float64], fine: NDArray[np.float64], label: NDArray[np.intp]
    ) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
        """Divide what each coarser class has among its classes, as the finer prediction does.

        Parameters
        ----------
        coarse, fine
            Predictions; shape ``(n_obs, n_classes)``.
        label
            The predicted classes of the coarser task, ``(n_obs,)``.

        Returns
        -------
        The finer prediction, and the class that is to be the most probable one of it.
        """
        holds, sums = self._sums(fine)
        held = coarse[:, holds]
        wanted = held * (sums.sum(axis=1) / held.sum(axis=1))[:, None]
        divided = fine.copy()
        for parent, factor in zip(holds, (wanted / sums).T, strict=True):
            divided[:, self._parents == parent] *= factor[:, None]
        chosen = divided.argmax(axis=1)
        parent_of_chosen = self._parents[chosen]
        astray = np.isin(label, holds) & (parent_of_chosen >= 0) & (parent_of_chosen != label)
        for parent in np.unique(label[astray]):
            cells = np.flatnonzero(astray & (label == parent))
            within = np.flatnonzero(self._parents == parent)
            rows = divided[np.ix_(cells, within)]
            position, best, total = rows.argmax(axis=1), rows.max(axis=1), rows.sum(axis=1)
            # Its sisters give it what it lacks: as much as the best class elsewhere has.
            lack = np.maximum(np.minimum(divided[cells].max(axis=1), total) - best, 0)
            rows *= (1 - lack / np.maximum(total - best, _TINY))[:, None]
            rows[np.arange(len(cells)), position] = best + lack
            divided[np.ix_(cells, within)] = rows
            chosen[cells] = within[position]
        return divided, chosen

    @property
    def _parents(self) -> NDArray[np.intp]:
        return np.array(self.parents, dtype=np.intp)

    def _sums(self, fine: NDArray[np.float64]) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
        """Return the coarser classes that hold finer ones, and what the latter have in each."""
        parents = self._parents
        holds = np.unique(parents[parents >= 0])
        return holds, np.stack([fine[:, parents == c].sum(axis=1) for c in holds], axis=1)


@dataclass(frozen=True)
class Levels:
    """All tasks that lie within others, those first that others lie within.

    Each lies within one other task at most, so these are trees. Falsy, if there are none.
    """

    levels: tuple[Level, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.levels)

    def among(self, positions: Collection[int]) -> Levels:
        """Return those of some tasks alone."""
        return Levels(
            tuple(e for e in self.levels if e.fine in positions and e.coarse in positions)
        )

    def names(self, tasks: Sequence[Task]) -> list[str]:
        """Return for each task the name of the one that it lies within; empty, if none."""
        within = {level.fine: tasks[level.coarse].name for level in self.levels}
        return [within.get(position, "") for position in range(len(tasks))]

    def reconcile(self, predictions: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
        """Make the predictions of all levels agree; those of other tasks are handed through.

        From the finest level up, a coarser prediction is averaged with the sums of the finer one;
        then, from the coarsest down, each class is divided among those within it. The sum over all
        finer classes of unknown parent stays, as does that over all coarser ones that hold none;
        the others then agree in proportion.
        """
        agreed: dict[int, NDArray[np.float64]] = {}
        for level in self.levels:
            for position in (level.coarse, level.fine):
                given = predictions[position].astype(np.float64)
                agreed[position] = np.maximum(given, _TINY)
        for level in reversed(self.levels):
            agreed[level.coarse] = level.pool(agreed[level.coarse], agreed[level.fine])
        labels: dict[int, NDArray[np.intp]] = {}
        for level in self.levels:
            if level.coarse not in labels:
                labels[level.coarse] = agreed[level.coarse].argmax(axis=1)
                _put_ahead(agreed[level.coarse], labels[level.coarse])
            agreed[level.fine], labels[level.fine] = level.divide(
                agreed[level.coarse], agreed[level.fine], labels[level.coarse]
            )
            _put_ahead(agreed[level.fine], labels[level.fine])
        return [
            agreed[position].astype(given.dtype) if position in agreed else given
            for position, given in enumerate(predictions)
        ]

    def without_label(
        self, predictions: Sequence[NDArray[Any]], min_confidence: float | None = None
    ) -> dict[int, NDArray[np.bool_]]:
        """Tell by task which cells get no label of it, shape ``(n_obs,)``.

        These are the cells whose most probable class does not lie within their label of the
        coarser task, which may hold no class at all, or be missing itself.
        """
        least = 0.0 if min_confidence is None else min_confidence
        without: dict[int, NDArray[np.bool_]] = {}
        for level in self.levels:
            coarse, fine = predictions[level.coarse], predictions[level.fine]
            parent = np.array(level.parents)[fine.argmax(axis=1)]
            unlabelled = without.get(level.coarse, False) | (coarse.max(axis=1) < least)
            without[level.fine] = (parent >= 0) & (unlabelled | (parent != coarse.argmax(axis=1)))
        return without

    def report(self, tasks: Sequence[Task]) -> None:
        """Say in the log which tasks are levels, and which cells get no label for that."""
        for level in self.levels:
            fine, coarse = tasks[level.fine], tasks[level.coarse]
            logger.info("%r lies within %r: their predictions agree.", fine.name, coarse.name)
            barren = [c for code, c in enumerate(coarse.categories) if code not in level.parents]
            if barren:
                logger.warning(
                    "No class of %r is known to lie within %s of %r: cells predicted as such get "
                    "no label of %r.",
                    fine.name,
                    barren,
                    coarse.name,
                    fine.name,
                )

    def to_list(self) -> list[dict[str, Any]]:
        """Plain types for JSON; `from_list` is its inverse."""
        return [{**vars(level), "parents": list(level.parents)} for level in self.levels]

    @classmethod
    def from_list(cls, records: Sequence[Mapping[str, Any]]) -> Levels:
        """Rebuild a record from `to_list`."""
        return cls(tuple(Level(**{**one, "parents": tuple(one["parents"])}) for one in records))


def find_levels(tasks: Sequence[Task], labels: Sequence[NDArray[Any]]) -> Levels:
    """Find the tasks that are levels of one tree, in the cells that have both labels.

    Every class must lie within one coarser class. At least two coarser classes must hold finer
    ones, and at least one of them two: tasks that rename each other are no levels, nor is a task
    whose labels occur in one class of another. One cell in a class may contradict, or 1 % of its
    cells, if nine tenths do not. Of several tasks that a task lies within, the finest is taken.
    """
    classes = [
        position
        for position, (task, codes) in enumerate(zip(tasks, labels, strict=True))
        if task.categories and codes.ndim == 1
    ]
    within: dict[int, dict[int, tuple[int, ...]]] = {
        fine: {
            coarse: parents
            for coarse in classes
            if coarse != fine
            and (parents := _parents(labels[fine], labels[coarse], len(tasks[fine].categories)))
        }
        for fine in classes
    }
    coarse_of: dict[int, int] = {}
    for fine, candidates in within.items():
        for coarse in sorted(candidates, key=lambda c: -len(set(candidates[c]) - {UNKNOWN})):
            if fine not in _line(coarse, coarse_of):
                coarse_of[fine] = coarse
                break
    n_labels = {position: int((labels[position] >= 0).sum()) for position in classes}
    weight = dict(n_labels)  # in the average, each task weighs as many labels as it has
    levels = []
    for fine in sorted(coarse_of, key=lambda fine: -len(_line(fine, coarse_of))):
        coarse = coarse_of[fine]
        weight[coarse] += n_labels[fine]
        share = n_labels[fine] / weight[coarse]
        levels.append(Level(fine, coarse, within[fine][coarse], share))
    return Levels(tuple(levels[::-1]))  # they are averaged in the order in which shares were taken


def _line(position: int, coarse_of: Mapping[int, int]) -> list[int]:
    """Return a task and all that it lies within, from one to the next."""
    line = [position]
    while line[-1] in coarse_of:
        line.append(coarse_of[line[-1]])
    return line


def _parents(
    fine: NDArray[np.integer[Any]], coarse: NDArray[np.integer[Any]], n_classes: int
) -> tuple[int, ...]:
    """Return for each fine class the coarse one that it lies within; empty, if it is no tree."""
    both = (fine >= 0) & (coarse >= 0)
    if not both.any():
        return ()
    counts = np.zeros((n_classes, int(coarse.max()) + 1), dtype=np.int64)
    np.add.at(counts, (fine[both], coarse[both]), 1)
    n_fine, n_coarse = counts.sum(axis=1), counts.sum(axis=0)
    parents = np.where(n_fine > 0, counts.argmax(axis=1), UNKNOWN)
    known = np.flatnonzero(n_fine)
    inside = np.zeros_like(n_coarse)
    np.add.at(inside, parents[known], counts[known, parents[known]])
    n_held = np.bincount(parents[known])
    if (n_held > 0).sum() < 2 or n_held.max() < 2:
        return ()
    is_tree = (
        _few(n_fine - counts.max(axis=1), n_fine)
        and _few(n_coarse - inside, np.bincount(coarse[coarse >= 0]))
        and _few(both.sum() - inside.sum(), both.sum())
        and _log_chance(n_coarse, len(known)) < math.log(_CHANCE)
    )
    return tuple(parents.tolist()) if is_tree else ()


def _few(contradict: NDArray[np.int64] | np.int64, n_cells: NDArray[np.int64] | np.int64) -> bool:
    """Whether so few cells contradict a tree that it may be noise."""
    most = np.minimum(np.maximum(1, _NOISE * n_cells), _MOST_NOISE * n_cells)
    return bool(np.all(contradict <= most))


def _log_chance(n_coarse: NDArray[np.int64], n_fine_classes: int) -> float:
    """Bound the logarithm of the probability that labels dealt at random make a tree.

    There are no more trees than ways to give each fine class a coarse one. Each deals the coarse
    labels to the cells in one way at most, of as many as the multinomial coefficient says.
    """
    ways = math.lgamma(n_coarse.sum() + 1) - sum(math.lgamma(n + 1) for n in n_coarse)
    return n_fine_classes * math.log((n_coarse > 0).sum()) - ways


def _put_ahead(prediction: NDArray[np.float64], label: NDArray[np.intp]) -> None:
    """Make the labels the most probable classes where they hardly are, in place."""
    cells = np.arange(len(label))
    others = prediction.copy()
    others[cells, label] = 0
    lack = others.max(axis=1) + _LEAD - prediction[cells, label]
    share = np.maximum(lack, 0) / (1 + np.maximum(lack, 0))
    prediction *= (1 - share)[:, None]
    prediction[cells, label] += share
