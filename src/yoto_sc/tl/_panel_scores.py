"""The work behind `tl.evaluate` and `tl.compare`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from yoto_sc._checks import (
    as_list,
    check_integer,
    check_panel,
    check_split_is_no_task,
    check_split_key,
)
from yoto_sc._genes import resolve_genes
from yoto_sc._lazy import in_memory
from yoto_sc._progress import progress
from yoto_sc._threads import one_thread
from yoto_sc.data import (
    Transcriptome,
    check_task_keys,
    n_components,
    point_out_no_labels,
    read_expression,
    read_tasks,
)
from yoto_sc.metrics import cross_validated_scores, make_folds, redundancy_scores
from yoto_sc.metrics._cross_validation import CLASSIFIERS
from yoto_sc.teach import find_components
from yoto_sc.tl._structure import Structure

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from anndata import AnnData
    from numpy.typing import NDArray

    from yoto_sc._genes import UnknownGenes
    from yoto_sc.data import Expression, Task
    from yoto_sc.metrics._cross_validation import Classifier, Fold

COLUMNS = ("panel", "task", "classifier", "fold", "metric", "category", "value", "n_cells")


def gene_list(
    adata: AnnData, genes: Sequence[str], argument: str, unknown_genes: UnknownGenes = "error"
) -> list[str]:
    """Return the var names of a list or a panel, which holds a gene, and each once."""
    unknown: Literal["error", "some"] = "some" if unknown_genes == "ignore" else "error"
    names = resolve_genes(adata.var, as_list(genes, argument), argument, unknown)
    check_panel(adata.var_names, names, argument)
    return names


@dataclass(frozen=True)
class Protocol:
    """How lists of genes are scored; the fields are arguments of `tl.evaluate`."""

    classifiers: Classifier | Sequence[Classifier]
    n_splits: int
    use_rep: str | None
    markers: Mapping[str, Sequence[str]] | pd.DataFrame | None
    random_state: int


def panel_scores(
    adata: AnnData,
    panels: Mapping[str, list[str]],
    keys: Mapping[str, Sequence[str]],
    protocol: Protocol,
    *,
    transcriptome: bool | int,
    layer: str | None,
    split_key: str | None,
    unlabeled: str | Sequence[object],
) -> pd.DataFrame:
    """Score lists of genes, all on the same folds; see :func:`yoto_sc.tl.evaluate`."""
    classifiers = _checked_classifiers(protocol.classifiers)
    if not any(keys.values()) and not transcriptome:  # all that needs no labels
        transcriptome = len(classifiers) > 0
    if transcriptome or any(keys.values()):
        check_task_keys(adata, keys, transcriptome)
    components = n_components(transcriptome, adata.n_obs, adata.n_vars)
    check_split_key(adata.obs, split_key)
    check_split_is_no_task(split_key, [key for named in keys.values() for key in named])
    check_integer(protocol.n_splits, "n_splits", minimum=2)
    random_state = protocol.random_state
    check_integer(random_state, "random_state", minimum=0, maximum=2**32 - 1)
    coordinates = _coordinates(adata, protocol.use_rep)
    known_markers = _marker_sets(protocol.markers)
    unlabeled = as_list(unlabeled, "unlabeled")
    tasks: list[Task] = [task.in_sorted_order() for task in read_tasks(adata, keys, unlabeled)]
    labels: dict[str, Any] = {
        task.name: task.encode_exactly(task.column(adata, task.name)) for task in tasks
    }
    if components:
        tasks.append(Transcriptome.of(components))
        labels[tasks[-1].name] = np.arange(adata.n_obs, dtype=np.float64)  # until there are folds
    folds = _folds(adata.obs, labels, split_key, protocol.n_splits, random_state)
    expression = read_expression(adata, layer)
    point_out_no_labels(tasks, list(labels.values()), unlabeled)

    records: list[dict[str, Any]] = []
    n_steps = 2 + len(panels) * (len(tasks) * len(classifiers) + 1)
    with one_thread(), progress("Scoring lists", n_steps, "step", at_once=True) as done:
        for task in tasks:
            if task.is_derived:
                found = _components(expression, folds[task.name], components, random_state)
                labels[task.name] = found
        done()
        structure = Structure.of(expression, coordinates, random_state)
        done()
        codes = {task.name: labels[task.name] for task in tasks if task.categories}
        for name, genes in panels.items():
            columns = adata.var_names.get_indexer(pd.Index(genes))
            x = expression.take(None, columns).toarray().astype(np.float64)
            scores: list[dict[str, Any]] = []
            for task in tasks:
                for classifier in classifiers:
                    scores += [
                        {
                            "task": task.name,
                            "category": "" if part < 0 else task.parts[part],
                            **record,
                        }
                        for part, record in cross_validated_scores(
                            x,
                            labels[task.name],
                            folds[task.name],
                            classifier,
                            n_classes=len(task.categories),
                            random_state=random_state,
                        )
                    ]
                    done()
            scores += structure.scores(columns, codes)
            scores += [
                {"metric": metric, "value": value, "n_cells": len(x)}
                for metric, value in redundancy_scores(x).items()
            ]
            scores += _marker_scores(genes, known_markers)
            records += [{"panel": name, **record} for record in scores]
            done()
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
    values = in_memory(adata.obsm[use_rep])
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


def _components(
    expression: Expression, folds: Sequence[Fold], n_components: int, random_state: int
) -> list[NDArray[np.float64]]:
    """Return, for each fold, the components of all cells that its training cells show."""
    cells = np.arange(expression.n_obs)
    rngs = np.random.default_rng(random_state).spawn(len(folds))
    return [
        find_components(expression, train, n_components, rng)
        .of(expression, cells)
        .astype(np.float64)
        for (train, _), rng in zip(folds, rngs, strict=True)
    ]


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
