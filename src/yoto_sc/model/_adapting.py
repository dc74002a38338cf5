"""Another model from a trained one: adapted to an assay of which a few cells are labelled."""

from __future__ import annotations

import logging
from copy import deepcopy
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd
import torch
from anndata import AnnData
from sklearn.linear_model import RidgeCV

from yoto_sc._checks import check_integer
from yoto_sc._problem import Problem
from yoto_sc._threads import one_thread
from yoto_sc.assay import Reference, learn_labels
from yoto_sc.judge import Split
from yoto_sc.model._predicting import PredictionMixin
from yoto_sc.nn import Annealing, narrow
from yoto_sc.rules import Requirements
from yoto_sc.teach import Lesson
from yoto_sc.train import Recipe, Training, task_key

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from yoto_sc.data import Task

logger = logging.getLogger(__name__)

_FEW = 5
"""Classes with fewer labelled cells than this are pointed out."""
_KNOWN = 10
"""Labelled cells come so many times in training."""
_N_STEPS = 500
_PENALTIES = tuple(10.0**power for power in range(6))
"""Of what is added to numbers, on genes of unit variance; known cells, left out, tell which."""
_ARCHITECTURE = ("n_hidden", "n_members", "class_weight_power", "relaxation")
"""Arguments of a model that an adapted one shares."""


class AdaptationMixin(PredictionMixin):
    """The method of :class:`~yoto_sc.model.YOTO` that makes a model for another assay."""

    def adapt(
        self,
        adata: AnnData,
        keys: Sequence[str],
        *,
        layer: str | None = None,
        unlabeled: Sequence[object] = (),
        max_steps: int = _N_STEPS,
        accelerator: str = "auto",
        progress_bar: bool = True,
        random_state: int = 0,
        name: str = "",
    ) -> Self:
        """Return a model that has learned from cells of another assay.

        See :func:`yoto_sc.tl.adapt`.

        Parameters
        ----------
        adata
            Cells of one assay, as :func:`yoto_sc.tl.predict` takes them.
        keys
            Tasks of which ``adata.obs`` holds labels, missing for most cells.
        layer
            As in :meth:`predict`.
        unlabeled
            Categories that stand for "no label".
        max_steps
            Number of minibatches.
        accelerator, progress_bar
            As in :meth:`train`.
        random_state
            Seed of the training.
        name
            What the new model calls this one.

        Raises
        ------
        KeyError
            There is no such task, column or gene.
        ValueError
            No cell has a label, or expression is of another kind.
        """
        check_integer(random_state, "random_state", minimum=0)
        check_integer(max_steps, "max_steps", minimum=1)
        tasks, labels = self._read_labels(adata, keys, unlabeled)
        read = self._read(adata, layer=layer, n_genes=None, missing="error")
        query, genes = self._label(read, "auto"), read.genes
        table = pd.DataFrame(index=list(genes))
        problem = Problem(
            read.expression,
            tasks,
            labels,
            AnnData(obs=adata.obs[[]], var=table),
            None,
            (),
            Requirements(),
            Requirements().gene_rules(table),
        )
        with one_thread():
            values = read.values(slice(None))
            believed = [
                _believed(task, values, said, given)
                for task, said, given in zip(tasks, query.predictions, labels, strict=True)
            ]
            known = np.flatnonzero(_any_observed(tasks, labels))
            cells = np.concatenate([np.arange(adata.n_obs), np.tile(known, _KNOWN - 1)])
            lesson = Lesson(problem, Split(cells, np.arange(0)), tuple(believed), None, {})
            unchanged = {p for p, task in enumerate(tasks) if task == self.tasks[p]}
            levels = self.selection.levels.among(unchanged)
            recipe = Recipe(
                Annealing.settled(len(genes)),
                seed=random_state,
                max_steps=max_steps,
                robust=self.selection.robust,
                accelerator=accelerator,
                progress_bar=progress_bar,
            )
            model = self._for_tasks(tasks, len(genes), random_state)
            rng = np.random.default_rng(random_state)
            trained = Training(problem, recipe, model.module).refine(lesson, levels, rng)
            said, latent = trained.module.predict_all(len(values), values.__getitem__, len(genes))
            model.reference_ = Reference.of(values, said, tasks)
            model.novelties_ = {
                position: novelty.calibrated(novelty.distance(values, latent, said[position]))
                for position, novelty in trained.novelties(len(genes)).items()
            }
        model.module, model.trainer = trained.module, trained.trainer
        model.decoder_ = self.decoder_
        model.selection_ = replace(
            self.selection,
            panel=self.selection.panel.prefix(len(genes)),
            n_trained=len(genes),
            levels=levels,
            robust=None,
            adapted=_origin(name, self.tasks, tasks, labels),
        )
        model.is_trained_ = True
        return model

    def _read_labels(
        self, adata: AnnData, keys: Sequence[str], unlabeled: Sequence[object]
    ) -> tuple[tuple[Task, ...], tuple[NDArray[Any], ...]]:
        """Return the tasks, with new classes, and for each the encoded labels."""
        names = [task.name for task in self.tasks]
        unknown = [key for key in keys if key not in names]
        if unknown:
            raise KeyError(f"The model has no task {unknown}. Its tasks are {names}.")
        tasks, labels = [], []
        for task in self.tasks:
            if task.name in keys:
                column = task.column(adata, task.name)
                task = task.extended(column, unlabeled)
                given = task.encode(column)
            else:
                given = task.encode(pd.Series(np.nan, index=adata.obs_names, dtype=object))
            tasks.append(task)
            labels.append(given)
        _check_labels(tasks, labels)
        return tuple(tasks), tuple(labels)

    def _for_tasks(self, tasks: Sequence[Task], n_genes: int, random_state: int) -> Self:
        """Return an untrained model like this one, for these tasks and so many genes."""
        registry = deepcopy(self.registry)
        for position, task in enumerate(tasks):
            key = task_key(position)
            field = registry["field_registries"][key]
            field["state_registry"]["task"] = task.to_dict()
            field["summary_stats"] = {f"n_{key}": task.n_outputs}
        given = self.init_params_["non_kwargs"]
        init = {name: given[name] for name in _ARCHITECTURE}
        model = type(self)(None, registry, n_genes=n_genes, random_state=random_state, **init)
        narrow(model.module, torch.arange(n_genes))
        return model


def _check_labels(tasks: Sequence[Task], labels: Sequence[NDArray[Any]]) -> None:
    """Refuse cells without a label, and point out classes with few."""
    if not _any_observed(tasks, labels).any():
        raise ValueError(
            "No cell has a label to adapt to. Label some, or let yoto_sc.tl.predict align the "
            "cells without labels."
        )
    for task, given in zip(tasks, labels, strict=True):
        if task.categories:
            codes, counts = np.unique(given[task.observed(given)], return_counts=True)
            few = [task.categories[code] for code in codes[counts < _FEW]]
            if few:
                logger.warning(
                    "Task %r: fewer than %d cells have the label %s. More would be safer.",
                    task.name,
                    _FEW,
                    few,
                )


def _any_observed(tasks: Sequence[Task], labels: Sequence[NDArray[Any]]) -> NDArray[np.bool_]:
    """Tell which cells have a label of any task, ``(n_obs,)``."""
    pairs = zip(tasks, labels, strict=True)
    return np.any([task.observed(given) for task, given in pairs], axis=0)


def _believed(
    task: Task, values: NDArray[np.float32], said: NDArray[Any], given: NDArray[Any]
) -> NDArray[Any]:
    """Return what a network is to learn: labels where they are known, else what is likely.

    Parameters
    ----------
    values
        Expression on the model's scale, ``(n_obs, n_genes)``.
    said
        What the model predicts, ``(n_obs, …)``.
    given
        Encoded labels.
    """
    known = task.observed(given)
    if not known.any():
        return said
    if task.categories:
        return learn_labels(values, said, given, task.n_outputs)
    scaled = (values - values.mean(axis=0)) / (values.std(axis=0) + 1e-3)
    ridge = RidgeCV(_PENALTIES).fit(scaled[known], given[known] - said[known])
    likely = said + ridge.predict(scaled)
    likely[known] = given[known]
    return likely.astype(np.float32)


def _origin(
    name: str,
    before: Sequence[Task],
    tasks: Sequence[Task],
    labels: Sequence[NDArray[Any]],
) -> pd.DataFrame:
    """Write down where an adapted model comes from."""
    n_labeled = [int(task.observed(of).sum()) for task, of in zip(tasks, labels, strict=True)]
    return pd.DataFrame(
        {
            "model": name,
            "n_labeled": n_labeled,
            "n_unlabeled": [len(of) - n for of, n in zip(labels, n_labeled, strict=True)],
            "n_new": [
                len(task.categories) - len(former.categories)
                for task, former in zip(tasks, before, strict=True)
            ],
        },
        index=pd.Index([task.name for task in tasks], name="task", dtype=object),
    )
