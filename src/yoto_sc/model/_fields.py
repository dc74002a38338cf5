"""Registering labels that may be missing with scvi-tools."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import rich.pretty  # noqa: F401 - scvi-tools' view_anndata_setup needs it, and does not import it
from scvi.data.fields import BaseAnnDataField

from yoto_sc.data import KINDS, task_from_dict
from yoto_sc.train import task_key

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from anndata import AnnData
    from numpy.typing import NDArray

    from yoto_sc.data import Task

logger = logging.getLogger(__name__)

_TASK = "task"


class TaskField(BaseAnnDataField):
    """Labels of one task, as codes or floats in which missing, absent and unseen look alike."""

    def __init__(
        self,
        registry_key: str,
        name: str,
        kind: str,
        unlabeled: Collection[object] = (),
        known: tuple[Task, NDArray[Any]] | None = None,
    ) -> None:
        super().__init__()
        self._known = known  # the task and its labels, if they were read before
        self._registry_key = registry_key
        self._name = name
        self._kind = KINDS[kind]
        self._unlabeled = tuple(unlabeled)

    @property
    def registry_key(self) -> str:
        """Key in the data registry."""
        return self._registry_key

    @property
    def attr_name(self) -> str:
        """AnnData attribute that holds the encoded labels."""
        return self._kind.place

    @property
    def attr_key(self) -> str:
        """Entry of the attribute that holds the encoded labels."""
        return f"_scvi_{self._registry_key}"

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to register."""
        return False

    def validate_field(self, adata: AnnData) -> None:
        """Accept anything: it is checked where it is read."""

    def register_field(self, adata: AnnData) -> dict[str, Any]:
        """Read the task off its labels and encode them."""
        if self._known is not None:
            task, encoded = self._known
        else:
            task = self._kind.from_adata(adata, self._name, self._unlabeled)
            encoded = task.encode(task.column(adata, self._name))
        getattr(adata, self.attr_name)[self.attr_key] = encoded
        return {_TASK: task.to_dict()}

    def transfer_field(
        self, state_registry: Mapping[str, Any], adata_target: AnnData, **kwargs: Any
    ) -> dict[str, Any]:
        """Encode the labels of other data with the categories that were registered."""
        task = task_from_dict(state_registry[_TASK])
        try:
            labels = task.column(adata_target, self._name)
        except KeyError:
            labels = pd.Series(np.nan, index=adata_target.obs_names, dtype=object)
        encoded = task.encode(labels)
        if task.categories:
            unseen = pd.unique(labels[labels.notna().to_numpy() & ~task.observed(encoded)])
            if len(unseen):
                logger.info("Task %r: unseen categories count as missing: %s", task.name, unseen)
        getattr(adata_target, self.attr_name)[self.attr_key] = encoded
        return dict(state_registry)

    def get_summary_stats(self, state_registry: Mapping[str, Any]) -> dict[str, int]:
        """Return the number of outputs the task needs."""
        return {f"n_{self.registry_key}": task_from_dict(state_registry[_TASK]).n_outputs}

    def view_state_registry(self, state_registry: Mapping[str, Any]) -> None:
        """Return nothing to show beyond scvi-tools' own summary."""
        return


def registered_tasks(registry: Mapping[str, Any]) -> tuple[Task, ...]:
    """Read the tasks back from a scvi-tools registry, in the order of registration."""
    fields = registry["field_registries"]
    n_tasks = sum(key.startswith("task_") for key in fields)
    return tuple(
        task_from_dict(fields[task_key(position)]["state_registry"][_TASK])
        for position in range(n_tasks)
    )
