"""What each gene of a panel is for: a task, and the classes that the gene marks in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from yoto_sc.metrics import standard_deviation
from yoto_sc.select import confusion_without

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from yoto_sc.judge._linear_heads import HeadJudgement, LogisticHead, RidgeHead
    from yoto_sc.select import Profile, Target

_BY_CHANCE = 1e-3
"""A gene has a role in a task if it tells about it alone, at this level of significance."""
_PROFILE_ERROR = 0.05
"""Standard error of what profiles say of the share of a role that is kept."""
_SURE = 2.0
"""A loss is measurable if it is beyond so many standard errors."""
_SMALLEST = 0.02
"""Less of a guess's error is no loss in a role: penalised heads lose it without a copy, too."""


_UNSURE = "too few cells"
_LARGEST = 0.1
"""A loss above this that is within noise is no loss of nothing: cells are too few to tell."""


@dataclass(frozen=True)
class Role:
    """What a gene is for."""

    task: int  # position of the task
    marked: NDArray[np.intp]  # codes of the classes that it marks; empty if there are none
    kept: NDArray[np.float64]  # how much of it the profiles of other genes keep, (n_vars,)


def find_roles(
    profiles: Sequence[Profile],
    codes: Sequence[NDArray[np.intp]],
    values: NDArray[np.float32],
    targets: Sequence[Target],
) -> list[Role | None]:
    """Find the role of each gene of a panel; `None` where it tells about no task.

    It is the task of which the panel tells most less without the gene, by the criterion that the
    selection starts from, of those that the gene tells about alone.

    Parameters
    ----------
    profiles
        One for each task, the panel's genes first.
    codes
        Of each task's classes, in the order of the profile; empty where it has none.
    values
        Expression of the panel, ``(n_obs, n_panel)``.
    targets
        The tasks, on these cells.
    """
    rises = np.zeros((len(targets), values.shape[1]))
    if len(targets) > 1:
        for position, target in enumerate(targets):
            complete, without = confusion_without(values, target)
            rises[position] = np.sqrt(without.mean(axis=0)) - np.sqrt(complete.mean())
    roles: list[Role | None] = []
    for gene in range(values.shape[1]):
        told = np.array([profile.by_chance[gene] < _BY_CHANCE for profile in profiles])
        if not told.any():
            roles.append(None)
            continue
        task = int(np.where(told, rises[:, gene], -np.inf).argmax())
        profile, of_task = profiles[task], codes[task]
        marked = of_task[profile.marked(gene)] if len(of_task) else of_task
        roles.append(Role(task, marked, profile.kept(gene)))
    return roles


def role_losses(
    role: Role,
    head: LogisticHead | RidgeHead,
    before: Sequence[HeadJudgement],
    after: Sequence[HeadJudgement],
    weights: NDArray[np.float32],
) -> NDArray[np.float64]:
    """Return by how much the error in a role rises: on the cells, then on samples of them.

    Parameters
    ----------
    head
        That of the role's task, which both judgements are of.
    before, after
        One judgement for each task.
    weights
        Of the cells, in each sample, ``(n_samples, n_obs)``.
    """
    errors, of_cells = head.role_errors(before[role.task], role.marked)
    changed, _ = head.role_errors(after[role.task], role.marked)
    total = weights @ of_cells
    with np.errstate(invalid="ignore", divide="ignore"):
        losses: NDArray[np.float64] = weights @ (of_cells * (changed - errors)) / total
    return losses


def is_measurable(losses: NDArray[Any], smallest: float = _SMALLEST) -> bool:
    """Whether a loss, followed by losses on samples of the cells, is beyond noise."""
    return bool(losses[0] > max(_SURE * standard_deviation(losses[1:]), smallest))


def verdict_on(dropped: NDArray[np.float64], swapped: NDArray[np.float64] | None) -> str | None:
    """Say in words what becomes of a role without its gene, and with a substitute.

    Parameters
    ----------
    dropped, swapped
        Losses, as :func:`role_losses` returns them; `None`: there is no substitute.

    Returns
    -------
    `None` if it was not judged.
    """
    if np.isnan(dropped[0]):
        return None
    if not is_measurable(dropped):
        return "not needed" if dropped[0] <= _LARGEST else _UNSURE
    if swapped is None:
        return "no substitute"
    if is_measurable(swapped):
        return "worse"
    return "as good" if swapped[0] <= _LARGEST else _UNSURE


def still_kept(
    shares: NDArray[np.float64],
    dropped: NDArray[np.float64],
    losses: Sequence[NDArray[np.float64]],
) -> NDArray[np.float64]:
    """Tell how much of a role each substitute keeps, from profiles and from refitted heads.

    Heads say it by the part of the loss that is left, where there is a measurable one. Both words
    are averaged, weighted by their precision.

    Parameters
    ----------
    shares
        What the profiles say, ``(n_substitutes,)``.
    dropped
        Losses without any gene in the place, as :func:`role_losses` returns them.
    losses
        Of each substitute, likewise.
    """
    if not is_measurable(dropped):
        return shares
    kept = np.array([1 - loss[0] / dropped[0] for loss in losses])
    errors = np.array([standard_deviation(loss[1:]) / dropped[0] for loss in losses])
    own, theirs = _PROFILE_ERROR**-2, np.maximum(errors, 1e-6) ** -2
    joined: NDArray[np.float64] = (own * shares + theirs * kept) / (own + theirs)
    return joined
