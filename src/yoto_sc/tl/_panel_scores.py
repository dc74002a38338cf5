"""The work behind `tl.evaluate` and `tl.compare`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from yoto_sc._checks import (
    as_list,
    check_integer,
    check_panel,
    check_split_key,
    check_task_keys,
)
from yoto_sc._expression import Expression
from yoto_sc._panel import Panel
from yoto_sc._tasks import tasks_from_obs
from yoto_sc.metrics import cross_validated_scores, make_folds, redundancy_scores
from yoto_sc.metrics._cross_validation import CLASSIFIERS
from yoto_sc.tl._structure import Structure

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from anndata import AnnData
    from numpy.typing import NDArray

    from yoto_sc._tasks import Task
    from yoto_sc.metrics._cross_validation import Classifier, Fold

COLUMNS = ("panel", "task", "classifier", "fold", "metric", "category", "value", "n_cells")


def gene_list(adata: AnnData, genes: Sequence[str] | Panel, argument: str) -> list[str]:
    """Return the genes of a list or a panel, all of them in `adata`."""
    names = genes.genes if isinstance(genes, Panel) else as_list(genes, argument)
    check_panel(adata.var_names, names, argument)
    return names


def panel_scores(
    adata: AnnData,
    panels: Mapping[str, list[str]],
    *,
    categorical_keys: str | Sequence[str],
    continuous_keys: str | Sequence[str],
    layer: str | None,
    split_key: str | None,
    unlabeled: str | Sequence[object],
    classifiers: Classifier | Sequence[Classifier],
    n_splits: int,
    use_rep: str | None,
    markers: Mapping[str, Sequence[str]] | pd.DataFrame | None,
    random_state: int,
) -> pd.DataFrame:
    """Score lists of genes, all on the same folds; see :func:`yoto_sc.tl.evaluate`."""
    categorical_keys = as_list(categorical_keys, "categorical_keys")
    continuous_keys = as_list(continuous_keys, "continuous_keys")
    check_task_keys(adata.obs, categorical_keys, continuous_keys)
    check_split_key(adata.obs, split_key)
    if split_key in {*categorical_keys, *continuous_keys}:
        raise ValueError(
            f"split_key={split_key!r} is also a task; groups that are held out cannot be learned."
        )
    classifiers = _checked_classifiers(classifiers)
    check_integer(n_splits, "n_splits", minimum=2)
    check_integer(random_state, "random_state", minimum=0, maximum=2**32 - 1)
    coordinates = _coordinates(adata, use_rep)
    known_markers = _marker_sets(markers)
    tasks = [
        _sorted_classes(task)
        for task in tasks_from_obs(
            adata.obs, categorical_keys, continuous_keys, as_list(unlabeled, "unlabeled")
        )
    ]
    labels = {task.name: _labels(adata.obs, task) for task in tasks}
    folds = _folds(adata.obs, labels, split_key, n_splits, random_state)
    expression = Expression.from_adata(adata, layer)

    records: list[dict[str, Any]] = []
    # The matrices are small: more threads cost more than they give, and change the rounding.
    with threadpool_limits(1):
        structure = Structure.of(expression, coordinates, random_state)
        codes = {key: labels[key] for key in categorical_keys}
        for name, genes in panels.items():
            columns = adata.var_names.get_indexer(pd.Index(genes))
            x = expression.on_model_scale(columns).toarray().astype(np.float64)
            scores = [
                {
                    "task": task.name,
                    "category": "" if code < 0 else str(task.categories[code]),
                    **record,
                }
                for task in tasks
                for classifier in classifiers
                for code, record in cross_validated_scores(
                    x,
                    labels[task.name],
                    folds[task.name],
                    classifier,
                    n_classes=len(task.categories),
                    random_state=random_state,
                )
            ]
            scores += structure.scores(columns, codes)
            scores += [
                {"metric": metric, "value": value, "n_cells": len(x)}
                for metric, value in redundancy_scores(x).items()
            ]
            scores += _marker_scores(genes, known_markers)
            records += [{"panel": name, **record} for record in scores]
    table = pd.DataFrame(records, columns=list(COLUMNS))
    texts = ["task", "classifier", "category"]
    table[texts] = table[texts].fillna("")
    return table.astype({"fold": "Int64", "value": np.float64, "n_cells": "Int64"})


def _checked_classifiers(classifiers: Classifier | Sequence[Classifier]) -> list[Classifier]:
    names = as_list(classifiers, "classifiers")
    unknown = [name for name in names if name not in CLASSIFIERS]
    if unknown:
        raise ValueError(f"classifiers={unknown} are unknown; allowed are {list(CLASSIFIERS)}.")
    return list(dict.fromkeys(names))


def _coordinates(adata: AnnData, use_rep: str | None) -> NDArray[np.float64] | None:
    """Read the coordinates that hold the structure to keep; `None`: those of all genes."""
    if use_rep is None:
        return None
    if use_rep not in adata.obsm:
        raise KeyError(
            f"use_rep={use_rep!r} is not in adata.obsm. The entries are {list(adata.obsm)}; None "
            "takes the principal components of all genes."
        )
    values = adata.obsm[use_rep]
    values = values.toarray() if hasattr(values, "toarray") else values
    coordinates: NDArray[np.float64] = np.asarray(values, dtype=np.float64)
    if coordinates.ndim != 2 or not np.isfinite(coordinates).all():
        raise ValueError(
            f"adata.obsm[{use_rep!r}] must be a table of finite numbers with a row for each cell."
        )
    return coordinates


def _marker_sets(markers: object) -> dict[str, set[str]]:
    """Return the markers of each class; a mapping and a table with a column a class read alike."""
    if markers is None:
        return {}
    if not isinstance(markers, Mapping | pd.DataFrame):
        raise TypeError(
            "markers must be a mapping from class to genes, or a DataFrame with one column for "
            f"each class, not {type(markers).__name__}."
        )
    sets: dict[str, set[str]] = {}
    for category, genes in markers.items():
        known = {gene for gene in as_list(genes, "markers") if not pd.isna(gene)}
        if not known or not all(isinstance(gene, str) for gene in known):
            raise ValueError(
                f"The markers of {category!r} must be names of genes, at least one, not "
                f"{sorted(map(str, known))}."
            )
        sets[str(category)] = known
    return sets


def _sorted_classes(task: Task) -> Task:
    """Put classes in the order of scikit-learn, which decides where two are as probable."""
    try:
        return replace(task, categories=tuple(sorted(task.categories)))
    except TypeError:  # of several types
        return task


def _labels(obs: pd.DataFrame, task: Task) -> NDArray[Any]:
    """Return class codes, -1 where missing, or numbers, NaN where missing; ``(n_obs,)``."""
    if task.kind == "categorical":
        return task.encode(obs[task.name])
    numbers: NDArray[np.float64] = pd.to_numeric(obs[task.name].astype(object)).to_numpy(
        dtype=np.float64, na_value=np.nan
    )
    return numbers


def _folds(
    obs: pd.DataFrame,
    labels: Mapping[str, NDArray[Any]],
    split_key: str | None,
    n_splits: int,
    random_state: int,
) -> dict[str, list[Fold]]:
    groups = None
    if split_key is not None:
        groups = pd.factorize(obs[split_key].astype(object), sort=True)[0]
    folds = {}
    for task, task_labels in labels.items():
        try:
            folds[task] = make_folds(
                task_labels, n_splits, groups=groups, random_state=random_state
            )
        except ValueError as error:
            raise ValueError(f"Task {task!r} cannot be cross-validated. {error}") from error
    return folds


def _marker_scores(genes: Collection[str], markers: dict[str, set[str]]) -> list[dict[str, Any]]:
    if not markers:
        return []
    shares = {
        category: len(known & set(genes)) / len(known) for category, known in markers.items()
    }
    covered = sum(share > 0 for share in shares.values()) / len(shares)
    return [
        *(
            {"metric": "marker_coverage", "category": category, "value": share}
            for category, share in shares.items()
        ),
        {"metric": "marker_classes", "value": covered},
    ]
