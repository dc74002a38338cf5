"""Several genes for each class, so that it can be told even if a probe fails."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import scipy.sparse as sp

from yoto_sc.rules._gene_rules import Cap

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from yoto_sc.data import Expression
    from yoto_sc.rules._gene_rules import GeneRules

LEAST_EFFECT = 0.5
"""Standardised difference of means from which a gene marks a class: a medium effect of Cohen's."""
_CHOICE = 2
"""Of a class that few genes mark so, the best ones count; so many for each that must be there."""


class Classes(NamedTuple):
    """The classes of a task."""

    task: str
    names: Sequence[Any]
    codes: NDArray[np.integer[Any]]
    """Of the cells, -1 for none, shape ``(n_obs,)``."""


def require_markers(
    rules: GeneRules, expression: Expression, classes: Sequence[Classes], redundancy: int
) -> GeneRules:
    """Ask for several genes that mark each class.

    Raises
    ------
    ValueError
        Fewer genes than asked for are expressed more in a class than elsewhere, and may be chosen.
    """
    caps = {}
    for of_task, effects in zip(classes, effect_sizes(expression, classes), strict=True):
        for name, effect in zip(of_task.names, effects, strict=True):
            if np.isnan(effect).all():  # no cell of the class, or none of another
                continue
            what = f"redundancy={redundancy} ({str(name)!r} of {of_task.task!r})"
            marks = marks_class(np.where(rules.allowed, effect, -np.inf), redundancy)
            if marks.sum() < redundancy:
                raise ValueError(
                    f"{what} cannot be met: {marks.sum()} genes that may be chosen are expressed "
                    "more in this class than in the others. Ask for fewer, or allow more genes."
                )
            caps[what] = Cap.quota(marks, redundancy)
    return replace(rules, caps={**rules.caps, **caps})


def marks_class(effect: NDArray[np.float64], redundancy: int) -> NDArray[np.bool_]:
    """Mask the genes that mark a class, ``(n_vars,)``.

    These are the genes of at least a medium effect; where they are few, the best ones.
    """
    n_choice = _CHOICE * redundancy
    marks = effect >= LEAST_EFFECT
    if marks.sum() < n_choice:
        best = np.argsort(-effect, kind="stable")[:n_choice]
        marks[best] = effect[best] > 0
    return marks


def effect_sizes(expression: Expression, classes: Sequence[Classes]) -> list[NDArray[np.float64]]:
    """Return how much more each class expresses each gene than the other cells with a label.

    It is the difference of the means on the model's scale, in units of the pooled standard
    deviation within the two (Cohen's d); NaN where a class has no cells, or all.

    Returns
    -------
    For each task, an array of shape ``(n_classes, n_vars)``.
    """
    starts = np.cumsum([0, *(len(of_task.names) for of_task in classes)])
    members = [np.flatnonzero(of_task.codes >= 0) for of_task in classes]
    columns = [
        start + of_task.codes[cells].astype(np.intp)
        for start, of_task, cells in zip(starts[:-1], classes, members, strict=True)
    ]
    place = np.concatenate(members), np.concatenate(columns)
    design = sp.csr_matrix((np.ones(len(place[0])), place), shape=(expression.n_obs, starts[-1]))
    labelled = np.column_stack([of_task.codes >= 0 for of_task in classes])
    found = expression.reduce(design, labelled)
    effects = []
    for task, (start, stop) in enumerate(zip(starts[:-1], starts[1:], strict=True)):
        sums, n = (
            found.values[start:stop],
            np.bincount(columns[task] - start, minlength=stop - start),
        )
        effects.append(_effects(sums, found.squares[task], n[:, None].astype(np.float64)))
    return effects


def _effects(
    sums: NDArray[np.float64], squares: NDArray[np.float64], n: NDArray[np.float64]
) -> NDArray[np.float64]:
    n_all, rest = n.sum(), n.sum() - n
    with np.errstate(divide="ignore", invalid="ignore"):
        inside, outside = sums / n, (sums.sum(axis=0) - sums) / rest
        variance = (squares - n * inside**2 - rest * outside**2) / max(n_all - 2, 1)
        difference = inside - outside
        scale = np.sqrt(np.maximum(variance, 1e-12))
        effects: NDArray[np.float64] = difference / scale
    return effects
