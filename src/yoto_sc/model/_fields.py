"""Registering labels that may be missing with scvi-tools."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import rich.pretty  # noqa: F401 - scvi-tools' view_anndata_setup wants it imported
from scvi.data.fields import BaseAnnDataField

from yoto_sc._tasks import Task

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from anndata import AnnData
    from rich.table import Table

    from yoto_sc._tasks import Kind

logger = logging.getLogger(__name__)

_TASK = "task"


def task_key(position: int) -> str:
    """Registry key of a task. Positions, not names: names may hold dots, which torch refuses."""
    return f"task_{position}"


class TaskField(BaseAnnDataField):
    """Labels of one task, as codes or floats in which missing, absent and unseen look alike.

    Parameters
    ----------
    registry_key
        Key in scvi-tools' data registry.
    obs_key
        Column of ``adata.obs`` that holds the labels.
    kind
        How to read the column.
    unlabeled
        Categories that stand for "no label".
    """

    def __init__(
        self, registry_key: str, obs_key: str, kind: Kind, unlabeled: Collection[object] = ()
    ) -> None:
        super().__init__()
        self._registry_key = registry_key
        self._obs_key = obs_key
        self._kind: Kind = kind
        self._unlabeled = tuple(unlabeled)

    @property
    def registry_key(self) -> str:
        """Key in the data registry."""
        return self._registry_key

    @property
    def attr_name(self) -> str:
        """AnnData attribute that holds the encoded labels."""
        return "obs"

    @property
    def attr_key(self) -> str:
        """Column of ``adata.obs`` that holds the encoded labels."""
        return f"_scvi_{self._registry_key}"

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to register."""
        return False

    def validate_field(self, adata: AnnData) -> None:
        """Accept any column: it is checked where it is read."""

    def register_field(self, adata: AnnData) -> dict[str, Any]:
        """Read the task off the column and encode it."""
        task = Task.from_obs(adata.obs, self._obs_key, self._kind, self._unlabeled)
        adata.obs[self.attr_key] = task.encode(adata.obs[self._obs_key])
        return {_TASK: task.to_dict()}

    def transfer_field(
        self, state_registry: Mapping[str, Any], adata_target: AnnData, **kwargs: Any
    ) -> dict[str, Any]:
        """Encode the labels of other data with the categories that were registered."""
        task = Task.from_dict(state_registry[_TASK])
        if self._obs_key in adata_target.obs:
            column = adata_target.obs[self._obs_key]
        else:
            column = pd.Series(np.nan, index=adata_target.obs_names, dtype=object)
        encoded = task.encode(column)
        if task.kind == "categorical":
            unseen = pd.unique(column[column.notna().to_numpy() & (encoded < 0)])
            if len(unseen):
                logger.info("Task %r: unseen categories count as missing: %s", task.name, unseen)
        adata_target.obs[self.attr_key] = encoded
        return dict(state_registry)

    def get_summary_stats(self, state_registry: Mapping[str, Any]) -> dict[str, int]:
        """Return the number of outputs the task needs."""
        return {f"n_{self.registry_key}": Task.from_dict(state_registry[_TASK]).n_outputs}

    def view_state_registry(self, state_registry: Mapping[str, Any]) -> Table | None:
        """Return nothing to show beyond scvi-tools' own summary."""
        return None


def registered_tasks(registry: Mapping[str, Any]) -> tuple[Task, ...]:
    """Read the tasks back from a scvi-tools registry, in the order of registration."""
    fields = registry["field_registries"]
    n_tasks = sum(key.startswith("task_") for key in fields)
    return tuple(
        Task.from_dict(fields[task_key(position)]["state_registry"][_TASK])
        for position in range(n_tasks)
    )
