"""A panel of which something is asked, and what it was selected for."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yoto_sc._checks import as_list, check_split_key
from yoto_sc._keys import PARAMS, Keys
from yoto_sc._panel import Panel
from yoto_sc._problem import Problem
from yoto_sc.data import KINDS, former_layer, layer_of, named_tasks
from yoto_sc.rules import Requirements

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd
    from anndata import AnnData

    from yoto_sc.data import Task
    from yoto_sc.model import YOTO


def question(adata: AnnData, model_or_key: Any, layer: str | None) -> tuple[list[str], Problem]:
    """Return a panel, most important gene first, and what it was selected for."""
    if isinstance(model_or_key, str) and Keys(model_or_key).selected in adata.var.columns:
        return _from_key(adata, model_or_key, layer)
    from yoto_sc.model import YOTO

    if isinstance(model_or_key, str | PathLike):
        try:
            model_or_key = YOTO.load(Path(model_or_key), accelerator="cpu")
        except FileNotFoundError as error:
            raise FileNotFoundError(
                f"{str(model_or_key)!r} is neither the key of a selection in adata nor the "
                "directory of a saved model. Run yoto_sc.tl.select first, or pass its key_added."
            ) from error
    if not isinstance(model_or_key, YOTO):
        raise TypeError(
            "model_or_key must be the key of a selection in adata, a yoto_sc.model.YOTO or the "
            f"directory of a saved one, not {type(model_or_key).__name__}."
        )
    return _from_model(adata, model_or_key, layer)


def _from_key(adata: AnnData, key: str, layer: str | None) -> tuple[list[str], Problem]:
    params: Mapping[str, Any] = adata.uns.get(Keys(key).uns, {}).get(PARAMS, {})
    keys = {
        name: as_list(params.get(kind.argument), kind.argument)
        for name, kind in KINDS.items()
        if not kind.is_derived
    }
    transcriptome = int(params.get("transcriptome", 0))
    if not any(keys.values()) and not transcriptome:
        raise KeyError(
            f"adata.uns[{key!r}]['params'] does not name the tasks of the selection. Run "
            f"yoto_sc.tl.select(adata, …, key_added={key!r}) again."
        )
    _check_labels(adata, named_tasks(keys))
    as_text = as_list(params.get("unlabeled"), "unlabeled")  # stored as strings, whatever they are
    unlabeled = [
        category
        for name in {*keys["categorical"], params.get("crowding_key")} & {*adata.obs.columns}
        for category in adata.obs[name].dropna().unique()
        if str(category) in as_text
    ]
    problem = Problem.from_adata(
        adata,
        keys,
        transcriptome=transcriptome,
        task_weights=params.get("task_weights"),
        class_weights=_class_weights(adata, params.get("class_weights")),
        layer=layer_of(str(params.get("expression", "X"))) if layer is None else layer,
        split_key=params.get("split_key"),
        unlabeled=unlabeled,
        requirements=Requirements.from_params(params),
    )
    return Panel.from_adata(adata, key).genes, problem


def _class_weights(adata: AnnData, table: pd.DataFrame | None) -> dict[str, dict[Any, float]]:
    """Return the weights of classes that are found; stored as text, whatever they are."""
    weights: dict[str, dict[Any, float]] = {}
    if table is not None:
        for task, of_task in table.groupby("task", sort=False):
            by_text = dict(zip(of_task["category"].astype(str), of_task["weight"], strict=True))
            found = adata.obs[task].dropna().unique()
            weights[str(task)] = {c: by_text[str(c)] for c in found if str(c) in by_text}
    return weights


def _from_model(adata: AnnData, model: YOTO, layer: str | None) -> tuple[list[str], Problem]:
    genes = model.panel().genes
    absent = [gene for gene in genes if gene not in adata.var_names]
    if absent:
        raise KeyError(
            f"adata lacks {len(absent)} panel genes: {absent}. Pass data with all genes."
        )
    _check_labels(adata, model.tasks)
    setup = model.registry["setup_args"]
    check_split_key(adata.obs, setup["split_key"])
    problem = Problem.from_tasks(
        adata,
        model.tasks,
        layer=former_layer(adata, model.selection.source) if layer is None else layer,
        split_key=setup["split_key"],
        unlabeled=tuple(as_list(setup["unlabeled"], "unlabeled")),
        requirements=Requirements.from_params(model.init_params_["non_kwargs"]),
    )
    return genes, problem


def _check_labels(adata: AnnData, tasks: Sequence[Task]) -> None:
    for task in tasks:
        known = list(getattr(adata, task.place).keys())
        if not task.is_derived and task.name not in known:
            raise KeyError(
                f"The panel was selected for {task.name!r}, which is not in adata.{task.place}. "
                f"There are {known}."
            )


def check_labelled(adata: AnnData, problem: Problem) -> None:
    """Refuse cells on which a panel cannot be judged.

    Raises
    ------
    ValueError
        Fewer than two values of a task, or groups to hold out, are there.
    """
    for task, labels in zip(problem.tasks, problem.labels, strict=True):
        if not task.is_learnable(labels):
            raise ValueError(
                f"adata.{task.place}[{task.name!r}] shows fewer than two of the values that the "
                "panel was selected for. Pass labelled data, such as those it was selected on."
            )
    if problem.groups is not None and problem.groups[problem.labelled].nunique() < 2:
        raise ValueError(
            f"All cells with a label are in one group of split_key={problem.split_key!r}; "
            "holding groups out needs at least 2."
        )
