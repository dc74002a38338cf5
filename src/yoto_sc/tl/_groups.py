"""Scores on donors never seen, beside those on cells never seen."""

from __future__ import annotations

import logging
import re
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import pandas as pd

from yoto_sc._workers import aside, may_move

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from yoto_sc._problem import Problem
    from yoto_sc.model import YOTO
    from yoto_sc.tl._request import Request

logger = logging.getLogger(__name__)

_WORDS = (
    "donor",
    "patient",
    "subject",
    "individual",
    "participant",
    "mouse",
    "animal",
    "specimen",
    "sample",
)
"""What columns of donors are called; the first of these that occurs is taken."""
_METRIC_NAMES = {"macro_f1": "macro-F1", "r2": "R²"}
_WORD_ENDS = re.compile(r"[^A-Za-z]+|(?<=[a-z])(?=[A-Z])")


def find_group_key(obs: pd.DataFrame, tasks: Collection[str]) -> str | None:
    """Return the column of `obs` that looks like donors, or `None`.

    Its name is, or holds as a word, one of `_WORDS` (``"donor"``, ``"Patient_ID"``,
    ``"sampleName"``), and it holds two or more groups, of two cells or more on average.
    """
    found: dict[str, str] = {}
    for position, column in reversed(list(enumerate(obs.columns))):  # the first of a word stays
        values = obs.iloc[:, position]
        words = _WORD_ENDS.split(str(column))
        is_task = any(column == task or str(column).endswith(f"_{task}") for task in tasks)
        is_text = isinstance(values.dtype, pd.CategoricalDtype) or (
            pd.api.types.infer_dtype(values, skipna=True) == "string"
        )
        if is_text and not is_task and 2 <= values.nunique() <= len(obs) / 2:
            found |= {word.lower(): column for word in words}
    return next((found[word] for word in _WORDS if word in found), None)


class GroupScores(NamedTuple):
    """What became of groups that a training has not seen; see :class:`yoto_sc.model.YOTO`."""

    metrics: pd.DataFrame
    held_out: pd.DataFrame


def score_on_groups(
    request: Request, problem: Problem, group_key: str
) -> Callable[[], GroupScores | None]:
    """Return what trains once more, with groups held out.

    It gives `None`, and a line in the log, if that cannot be. Where there are workers, one of
    them begins at once.
    """
    held_out = problem.holding_out(group_key)
    train: Callable[[], GroupScores] = partial(_trained, request, held_out)
    if may_move(request.accelerator, request.train_kwargs or {}):
        train = aside(_trained, replace(request, progress_bar=False), held_out)

    def scores() -> GroupScores | None:
        try:
            return train()
        except ValueError as error:
            logger.warning(
                "No scores on groups of group_key=%r beside those on cells: %s", group_key, error
            )
            return None

    return scores


def _trained(request: Request, problem: Problem) -> GroupScores:
    # Only the scores are of use, so there is no second training on all cells.
    model = request.train(problem, refit=False)
    return GroupScores(model.metrics, model.held_out)


def with_group_scores(model: YOTO, on_groups: GroupScores, group_key: str | None) -> pd.DataFrame:
    """Put the scores on held-out groups beside those on held-out cells, and log both.

    Returns
    -------
    The metrics of `model` with columns ``group_<score>`` and ``group_difference``, by how much
    macro-F1 or R² is higher on held-out groups.
    """
    metrics = model.metrics.join(on_groups.metrics.add_prefix("group_"))
    scores: Any = {  # by task, on cells and on groups
        task.name: metrics.loc[task.name, [task.metric, f"group_{task.metric}"]].to_numpy()
        for task in model.tasks
    }
    metrics["group_difference"] = [scores[name][1] - scores[name][0] for name in metrics.index]
    logger.warning(
        "Score on held-out cells, and on held-out groups of %r: %s.",
        group_key,
        "; ".join(
            "{} of {} {:.3f} and {:.3f}".format(
                _METRIC_NAMES.get(task.metric, task.metric), task.name, *scores[task.name]
            )
            for task in model.tasks
        ),
    )
    return metrics
