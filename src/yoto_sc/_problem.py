"""What is asked of a selection: built and checked once, and then handed along."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from anndata import AnnData

from yoto_sc._checks import as_list, check_batch_key, check_split_is_no_task, check_split_key
from yoto_sc.data import (
    Transcriptome,
    check_task_keys,
    find_levels,
    n_components,
    read_expression,
    read_tasks,
    with_weights,
)
from yoto_sc.rules import Classes, Requirements

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from yoto_sc.data import Expression, Levels, Task
    from yoto_sc.rules import GeneRules


@dataclass(frozen=True, eq=False)
class Problem:
    """Expression, the questions to be answered from it, and the rules on the answer.

    Parameters
    ----------
    expression
        Expression of all cells and genes, of shape ``(n_obs, n_vars)``.
    tasks
        The questions.
    labels
        For each task, the encoded labels of all cells, of shape ``(n_obs, …)``. Those that are
        made from expression are zero until :func:`yoto_sc.teach.prepare` makes them.
    tables
        The tables of cells and genes, without any matrix.
    split_key
        Obs column whose groups are held out whole; `None`: cells are.
    unlabeled
        Categories that stand for "no label".
    requirements, rules
        What is asked of a panel, as given, and what follows from it.
    batch_key
        Obs column, differences between whose groups count for nothing; `None`: there is none.
    """

    expression: Expression
    tasks: tuple[Task, ...]
    labels: tuple[NDArray[Any], ...]
    tables: AnnData
    split_key: str | None
    unlabeled: tuple[object, ...]
    requirements: Requirements
    rules: GeneRules
    batch_key: str | None = None

    @classmethod
    def from_adata(
        cls,
        adata: AnnData,
        keys: Mapping[str, Sequence[str]],
        *,
        transcriptome: bool | int = False,
        task_weights: Mapping[str, float] | None = None,
        class_weights: Mapping[str, Mapping[Any, float]] | None = None,
        layer: str | None = None,
        split_key: str | None = None,
        batch_key: str | None = None,
        unlabeled: str | Sequence[object] = (),
        requirements: Requirements | None = None,
    ) -> Problem:
        """Read and check all that a selection needs of `adata`, which is left as it is.

        Raises
        ------
        KeyError, TypeError, ValueError
            Something does not exist, is of the wrong type, or contradicts something else.
        """
        check_task_keys(adata, keys, transcriptome)
        components = n_components(transcriptome, adata.n_obs, adata.n_vars)
        check_split_key(adata.obs, split_key)
        named = [key for of_kind in keys.values() for key in of_kind]
        check_split_is_no_task(split_key, named)
        check_batch_key(adata.obs, batch_key, named)
        no_labels = tuple(c for c in as_list(unlabeled, "unlabeled") if not _is_missing(c))
        tasks = read_tasks(adata, keys, no_labels)
        if components:
            tasks = (*tasks, Transcriptome.of(components))
        return cls.from_tasks(
            adata,
            with_weights(tasks, task_weights, class_weights),
            layer=layer,
            split_key=split_key,
            batch_key=batch_key,
            unlabeled=no_labels,
            requirements=requirements,
        )

    @classmethod
    def from_tasks(
        cls,
        adata: AnnData,
        tasks: tuple[Task, ...],
        *,
        layer: str | None = None,
        split_key: str | None = None,
        batch_key: str | None = None,
        unlabeled: tuple[object, ...] = (),
        requirements: Requirements | None = None,
    ) -> Problem:
        """Do as `from_adata` does, for tasks that are known, though not their labels."""
        requirements = Requirements() if requirements is None else requirements
        categorical = [task.name for task in tasks if task.kind == "categorical"]
        expression = read_expression(adata, layer)
        if requirements.are_on_expression:
            expression = expression.held()  # or it would be read once more
        labels = tuple(task.encode(task.column(adata, task.name)) for task in tasks)
        classes = [
            Classes(task.name, task.categories, codes)
            for task, codes in zip(tasks, labels, strict=True)
            if task.kind == "categorical"
        ]
        return cls(
            expression,
            tasks,
            labels,
            AnnData(obs=adata.obs.copy(deep=False), var=adata.var.copy(deep=False)),
            split_key,
            unlabeled,
            requirements,
            requirements.rules(adata, expression, categorical, unlabeled, classes),
            batch_key,
        )

    @property
    def var_names(self) -> pd.Index:
        """Names of the genes, shape ``(n_vars,)``."""
        names: pd.Index = self.tables.var_names
        return names

    @property
    def obs_names(self) -> pd.Index:
        """Names of the cells, shape ``(n_obs,)``."""
        names: pd.Index = self.tables.obs_names
        return names

    @property
    def groups(self) -> pd.Series | None:
        """Group of each cell, shape ``(n_obs,)``; `None` if cells are held out."""
        return None if self.split_key is None else self.tables.obs[self.split_key]

    @cached_property
    def batches(self) -> NDArray[np.intp] | None:
        """Code of each cell's batch, ``(n_obs,)``; cells without one are a batch of their own."""
        if self.batch_key is None:
            return None
        column = self.tables.obs[self.batch_key]
        codes: NDArray[np.intp] = pd.factorize(column, use_na_sentinel=False)[0]
        return codes

    def batches_of(self, cells: NDArray[np.intp]) -> NDArray[np.intp] | None:
        """Return the codes of some cells' batches; `None` if there are no batches."""
        return None if self.batches is None else self.batches[cells]

    @property
    def keys(self) -> dict[str, list[str]]:
        """By the name of the kind, the keys of the tasks whose labels were read."""
        keys: dict[str, list[str]] = {}
        for task in self.tasks:
            if not task.is_derived:
                keys.setdefault(task.kind, []).append(task.name)
        return keys

    @property
    def n_components(self) -> int:
        """Number of components of the transcriptome that are to be predicted; 0 for none."""
        return sum(task.n_outputs for task in self.tasks if task.is_derived)

    @cached_property
    def levels(self) -> Levels:
        """The tasks that lie within others."""
        return find_levels(self.tasks, self.labels)

    @cached_property
    def labelled(self) -> NDArray[np.bool_]:
        """Which cells have a label of any task, shape ``(n_obs,)``."""
        seen = [task.observed(array) for task, array in zip(self.tasks, self.labels, strict=True)]
        found: NDArray[np.bool_] = np.any(seen, axis=0)
        return found

    def expression_of(self, genes: Sequence[str]) -> Expression:
        """Return the expression of a panel's genes, in memory; the same ones are read once."""
        known = vars(self).get("_of_panel")
        if known is None or known[0] != tuple(genes):
            columns = self.var_names.get_indexer(pd.Index(genes))
            known = (tuple(genes), self.expression.of_genes(columns))
            vars(self)["_of_panel"] = known
        panel: Expression = known[1]
        return panel

    def holding_out(self, split_key: str) -> Problem:
        """Return the same problem, in which groups of another column are held out."""
        check_split_key(self.tables.obs, split_key)
        return replace(self, split_key=split_key)

    def held(self) -> Problem:
        """Return the same problem, with expression in memory if it takes little there."""
        expression = self.expression.held()
        if expression is self.expression:
            return self
        near = replace(self, expression=expression)
        vars(near)["levels"] = self.levels  # as found in all cells
        return near

    def learned_from(self, cells: NDArray[np.intp]) -> Problem:
        """Return the same problem, with some of the cells to learn it from.

        Parameters
        ----------
        cells
            Sorted indices of shape ``(n_cells,)``.
        """
        part = replace(
            self,
            expression=self.expression.of_cells(cells),
            labels=tuple(labels[cells] for labels in self.labels),
            tables=AnnData(obs=self.tables.obs.iloc[cells], var=self.tables.var),
        )
        vars(part)["levels"] = self.levels  # all cells show what lies within what
        return part

    def of_cells(self, cells: NDArray[np.intp]) -> Problem:
        """Return a problem of some of the cells alone, their classes too, under the same rules.

        Raises
        ------
        ValueError
            They show fewer than two classes or values of a task.
        """
        parts = [
            task.on_these(labels[cells])
            for task, labels in zip(self.tasks, self.labels, strict=True)
        ]
        for task, labels in parts:
            if not task.is_learnable(labels):
                raise ValueError(
                    f"Task {task.name!r} has fewer than two classes or values in these cells."
                )
        return replace(
            self.learned_from(cells),  # which leaves levels behind: they are of other classes
            tasks=tuple(task for task, _ in parts),
            labels=tuple(labels for _, labels in parts),
        )


def _is_missing(category: Any) -> bool:
    """Whether an entry of `unlabeled` is a missing value, which is missing in any case."""
    return pd.api.types.is_scalar(category) and bool(pd.isna(category))
