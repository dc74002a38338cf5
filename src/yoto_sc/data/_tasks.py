"""All tasks of a selection, of whatever kind."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from yoto_sc._checks import as_list, check_integer, check_positive
from yoto_sc.data._kinds import KINDS, TRANSCRIPTOME, Task, Transcriptome

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from anndata import AnnData
    from numpy.typing import NDArray

    Keys = Mapping[str, Sequence[str]]
    """By the name of the kind, the keys of the tasks."""

logger = logging.getLogger(__name__)


N_COMPONENTS = 30
"""What ``transcriptome=True`` stands for."""


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


def named_tasks(keys: Keys, transcriptome: bool | int = False) -> list[Task]:
    """Return tasks that are known by their names alone, in the order of their kinds."""
    tasks = [KINDS[kind](key) for kind, named in keys.items() for key in named]
    return [*tasks, Transcriptome(TRANSCRIPTOME)] if transcriptome else tasks


def n_components(transcriptome: bool | int, n_obs: int, n_vars: int) -> int:
    """Return the number of components to predict; 0, as `False`, for none.

    Raises
    ------
    TypeError, ValueError
        `transcriptome` is neither a truth value nor a number of components.
    """
    if isinstance(transcriptome, bool | np.bool_):
        return min(N_COMPONENTS, n_obs - 1, n_vars) if transcriptome else 0
    check_integer(transcriptome, "transcriptome", minimum=0, maximum=min(n_obs - 1, n_vars))
    return int(transcriptome)


def check_task_keys(adata: AnnData, keys: Keys, transcriptome: bool | int = False) -> None:
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
    for kind, named in keys.items():
        for key in named:
            if not isinstance(key, str):
                raise TypeError(
                    f"Keys must be names (strings) of adata.{KINDS[kind].place}, not {key!r}."
                )
    if not any(keys.values()) and not transcriptome:
        raise ValueError(
            f"No task given: name at least one obs column in "
            f"{' or '.join(arguments[kind] for kind in keys if KINDS[kind].place == 'obs')}. The "
            f"columns are {list(adata.obs.columns)}. Without labels, entries of adata.obsm in "
            "`obsm_keys`, or transcriptome=True, make a task, too."
        )
    if transcriptome and any(TRANSCRIPTOME in named for named in keys.values()):
        raise ValueError(
            f"With `transcriptome`, the name {TRANSCRIPTOME!r} is taken. Rename the label."
        )
    kinds = list(keys)
    for position, kind in enumerate(kinds):
        for other in kinds[position + 1 :]:
            both = sorted(set(keys[kind]) & set(keys[other]))
            if both:
                raise ValueError(
                    f"{both} are in both {arguments[kind]} and {arguments[other]}. Tasks need "
                    "different names: decide for one kind, or rename one."
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


def with_weights(
    tasks: Sequence[Task],
    task_weights: Mapping[str, float] | None,
    class_weights: Mapping[str, Mapping[Any, float]] | None,
) -> tuple[Task, ...]:
    """Return tasks with what they, and their classes, count for.

    Raises
    ------
    KeyError
        There is no such task or class.
    TypeError, ValueError
        A weight is no positive number.
    """
    of_tasks, of_classes = dict(task_weights or {}), dict(class_weights or {})
    names = [task.name for task in tasks]
    for argument, given in (("task_weights", of_tasks), ("class_weights", of_classes)):
        unknown = [name for name in given if name not in names]
        if unknown:
            raise KeyError(f"`{argument}` names {unknown}, no tasks here. The tasks are {names}.")
    for name, weight in of_tasks.items():
        check_positive(weight, f"task_weights[{name!r}]")
    for name, by_class in of_classes.items():
        if not isinstance(by_class, Mapping):
            raise TypeError(
                f"class_weights[{name!r}] must map classes to weights, not be {by_class!r}."
            )
        for category, weight in by_class.items():
            check_positive(weight, f"class_weights[{name!r}][{category!r}]")
    return tuple(
        task.weighted(float(of_tasks.get(task.name, 1.0)), of_classes.get(task.name))
        for task in tasks
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
