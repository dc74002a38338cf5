"""All tasks of a selection, of whatever kind."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from yoto_sc._checks import as_list
from yoto_sc.data._kinds import KINDS, Task

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from anndata import AnnData
    from numpy.typing import NDArray

    Keys = Mapping[str, Sequence[str]]
    """By the name of the kind, the keys of the tasks."""

logger = logging.getLogger(__name__)


def keys_by_kind(**arguments: str | Sequence[Any] | None) -> dict[str, list[Any]]:
    """Sort the keys that a public function was given, such as `categorical_keys`, by kind.

    Raises
    ------
    TypeError
        An argument is no list of keys.
    """
    return {
        name: as_list(arguments[kind.argument], kind.argument)
        for name, kind in KINDS.items()
        if kind.argument in arguments
    }


def check_task_keys(adata: AnnData, keys: Keys) -> None:
    """Refuse sets of keys that name no task, or a task twice.

    Raises
    ------
    KeyError
        There are no labels under a key.
    TypeError
        A key is no string.
    ValueError
        No task, a repeated key, or a key that names several columns.
    """
    arguments = {kind: f"`{KINDS[kind].argument}`" for kind in keys}
    for named in keys.values():
        for key in named:
            if not isinstance(key, str):
                raise TypeError(f"Keys must be names of obs columns (strings), not {key!r}.")
    if not any(keys.values()):
        raise ValueError(
            f"No task given: name at least one obs column in {' or '.join(arguments.values())}. "
            f"The columns are {list(adata.obs.columns)}."
        )
    kinds = list(keys)
    for position, kind in enumerate(kinds):
        for other in kinds[position + 1 :]:
            both = sorted(set(keys[kind]) & set(keys[other]))
            if both:
                raise ValueError(
                    f"{both} are in both {arguments[kind]} and {arguments[other]}. Decide for one "
                    "kind."
                )
    for kind, named in keys.items():
        for key in named:
            KINDS[kind].column(adata, key)
            if list(named).count(key) > 1:
                raise ValueError(f"{arguments[kind]} names {key!r} more than once.")


def read_tasks(adata: AnnData, keys: Keys, unlabeled: Collection[object] = ()) -> tuple[Task, ...]:
    """Read all tasks off their labels, kind by kind; see :meth:`Task.from_adata`."""
    return tuple(
        KINDS[kind].from_adata(adata, key, unlabeled) for kind in keys for key in keys[kind]
    )


def point_out_no_labels(
    tasks: Sequence[Task], labels: Sequence[NDArray[Any]], unlabeled: Collection[object]
) -> None:
    """Warn of classes that look as if they meant "no label", once for each task that has some."""
    given = pd.Series(list(unlabeled), dtype=object).dropna()
    for task, encoded in zip(tasks, labels, strict=True):
        found = task.like_no_label(encoded)
        if not found:
            continue
        to_copy = [*(c.item() if isinstance(c, np.generic) else c for c in given), *found]
        counted = [f"{c!r} ({n} cell{'' if n == 1 else 's'})" for c, n in found.items()]
        logger.warning(
            "Task %r has classes that look like missing labels, but count like any other class: "
            '%s. If they mean "no label", pass unlabeled=%r.',
            task.name,
            ", ".join(counted),
            to_copy,
        )


def task_from_dict(record: Mapping[str, Any]) -> Task:
    """Rebuild a task from its `to_dict`.

    Raises
    ------
    ValueError
        It is of no kind that is known here.
    """
    if record["kind"] not in KINDS:
        raise ValueError(f"Unknown kind of task {record['kind']!r}; allowed: {tuple(KINDS)}.")
    return KINDS[record["kind"]].from_dict(record)
