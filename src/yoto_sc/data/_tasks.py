"""All tasks of a selection, of whatever kind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from yoto_sc._checks import as_list, check_integer
from yoto_sc.data._kinds import KINDS, TRANSCRIPTOME, Task, Transcriptome

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from anndata import AnnData

    Keys = Mapping[str, Sequence[str]]
    """By the name of the kind, the keys of the tasks."""


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
