"""`tl.stability`: how much the panel depends on the seed and on the cells."""

from __future__ import annotations

import logging
from dataclasses import fields, replace
from functools import partial
from inspect import signature
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from yoto_sc._checks import (
    check_adata,
    check_integer,
    check_no_repeats,
    check_split_key,
)
from yoto_sc._genes import check_unknown_genes
from yoto_sc._keys import DEFAULT_KEY, Keys
from yoto_sc._problem import Problem
from yoto_sc._progress import shows_progress
from yoto_sc._version import __version__
from yoto_sc._workers import aside, may_move, shared
from yoto_sc.data import KINDS, check_task_keys, keys_by_kind, point_out_no_labels
from yoto_sc.judge import split_cells
from yoto_sc.metrics import jaccard_index, kuncheva_index, mean_of_defined
from yoto_sc.rules import Requirements, detection_floor, with_platform
from yoto_sc.tl._request import Request
from yoto_sc.tl._write import given_only, weights_as_params

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from anndata import AnnData
    from numpy.typing import NDArray

    from yoto_sc.model import YOTO

logger = logging.getLogger(__name__)


@shows_progress
def stability(
    adata: AnnData,
    n_genes: int,
    *,
    n_runs: int = 10,
    subsample: float = 0.8,
    categorical_keys: str | Sequence[str] = (),
    continuous_keys: str | Sequence[str] = (),
    obsm_keys: str | Sequence[str] = (),
    transcriptome: bool | int = False,
    layer: str | None = None,
    split_key: str | None = None,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    candidates: str | Sequence[str] | None = None,
    unlabeled: str | Sequence[object] = (),
    key_added: str = DEFAULT_KEY,
    random_state: int = 0,
    progress_bar: bool = True,
    select_kwargs: Mapping[str, Any] | None = None,
    copy: bool = False,
) -> AnnData | None:
    """Repeat the selection over seeds and subsamples, and tell which genes come back.

    Every run of :func:`yoto_sc.tl.select` has its own seed and sees its own share of the cells,
    drawn without replacement and stratified over the classes of all tasks; or of the groups of
    `split_key`, drawn whole. A run that fails is logged and left out.

    Parameters
    ----------
    adata
        Annotated data of shape ``(n_obs, n_vars)``, as for :func:`yoto_sc.tl.select`.
    n_genes
        Size of the panels, and of their consensus.
    n_runs
        Number of selections, at least 2.
    subsample
        Share of the cells that a run sees, above 0; with 1, only the seed differs.
    categorical_keys, continuous_keys, obsm_keys, transcriptome, layer
        As in :func:`yoto_sc.tl.select`.
    split_key, include, exclude, candidates, unlabeled
        As in :func:`yoto_sc.tl.select`. With `split_key`, there must be groups enough that each
        run sees at least two.
    key_added
        Prefix of everything that is written.
    random_state
        Seed of the runs' own seeds and subsamples.
    progress_bar
        Whether to show progress.
    select_kwargs
        Further arguments of :func:`yoto_sc.tl.select`. Rules on expression are judged on all
        cells, so that every run has the same ones; `group_key` is of no use, as runs are judged
        on cells.
    copy
        Return a changed copy instead of changing `adata`.

    Returns
    -------
    `None`, or the changed copy if `copy`. Sets the following fields (for the default key):

    adata.var["yoto_frequency"] : float32
        Share of the runs that selected the gene.
    adata.var["yoto_consensus"] : bool
        The gene is in the consensus: the `n_genes` genes that were selected most often, under
        the same rules; of genes as frequent, those with the higher mean score.
    adata.uns["yoto_stability"] : dict
        ``params``; ``panels`` (which run selected which gene); ``jaccard`` and ``kuncheva``
        (agreement of each pair of runs; genes in `include` do not count, as every run has them);
        ``mean_jaccard`` and ``mean_kuncheva``, means over the pairs; ``runs`` (seed, number of
        cells, held-out score as a mean over tasks, and error of each run).

    Raises
    ------
    KeyError
        A column, layer or gene does not exist.
    TypeError
        An argument is of the wrong type.
    ValueError
        An argument is out of range, rules contradict each other, or too few groups are left in a
        subsample. `adata` is as it was.
    RuntimeError
        Fewer than two runs succeeded; `adata` is as it was.

    Examples
    --------
    >>> import yoto_sc as yt
    >>> adata = yt.datasets.pbmc68k()
    >>> yt.tl.stability(
    ...     adata,
    ...     8,
    ...     n_runs=2,
    ...     categorical_keys="bulk_labels",
    ...     progress_bar=False,
    ...     select_kwargs={"max_steps": 20},
    ... )
    >>> int(adata.var["yoto_consensus"].sum()), adata.uns["yoto_stability"]["jaccard"].shape
    (8, (2, 2))
    """
    check_adata(adata, copy=copy)
    keys = keys_by_kind(
        categorical_keys=categorical_keys, continuous_keys=continuous_keys, obsm_keys=obsm_keys
    )
    own = [*signature(stability).parameters, "model_dir"]
    check_no_repeats("select_kwargs", select_kwargs, own)
    given = {**(select_kwargs or {})}
    group_key = given.pop("group_key", "auto")
    if group_key != "auto":
        check_split_key(adata.obs, group_key, "group_key")
    batch_key = given.pop("batch_key", None)
    rules_on: dict[str, Any] = {"include": include, "exclude": exclude, "candidates": candidates}
    rules_on |= {f.name: given.pop(f.name) for f in fields(Requirements) if f.name in given}
    rules_on = with_platform(given.pop("platform", None), rules_on)
    unknown_genes = given.pop("unknown_genes", "error")
    check_unknown_genes(unknown_genes)
    rules_on["min_detection"] = detection_floor(
        rules_on.get("min_detection", "auto"),
        rules_on.get("fraction_range"),
        has_classes=bool(keys["categorical"]),
        n_obs=adata.n_obs,
    )
    requirements = Requirements(**rules_on).resolved(adata.var, unknown_genes)
    weights = {name: given.pop(name, None) for name in ("task_weights", "class_weights")}
    unknown = sorted(given.keys() - {f.name for f in fields(Request)})
    if unknown:
        raise TypeError(f"select_kwargs names {unknown}, which yoto_sc.tl.select does not take.")
    # A network for other assays changes no panel.
    request = Request(n_genes, progress_bar=False, **{"robust": None, **given})
    names = Keys(key_added)
    check_task_keys(adata, keys, transcriptome)
    check_split_key(adata.obs, split_key)
    _check_names(adata, names, requirements.var_columns)
    check_integer(n_genes, "n_genes", minimum=1)
    check_integer(n_runs, "n_runs", minimum=2)
    _check_subsample(subsample)
    check_integer(random_state, "random_state", minimum=0)
    problem = Problem.from_adata(
        adata,
        keys,
        transcriptome=transcriptome,
        **weights,
        layer=layer,
        split_key=split_key,
        batch_key=batch_key,
        unlabeled=unlabeled,
        requirements=requirements,
    )
    request.check(problem)
    point_out_no_labels(problem.tasks, problem.labels, problem.unlabeled)

    is_spread = may_move(request.accelerator, request.train_kwargs or {})
    sent = shared(problem) if is_spread else problem
    seeds = np.random.default_rng(random_state).integers(2**31, size=n_runs)
    samples = _samples(problem, subsample, seeds)
    results: list[pd.DataFrame | None] = []
    runs: list[dict[str, Any]] = []
    begun = [
        (aside if is_spread else partial)(
            _run, replace(request, random_state=int(seed)), sent, cells
        )
        for seed, cells in zip(seeds, samples, strict=True)
    ]
    for seed, cells, finish in _with_progress(
        list(zip(seeds, samples, begun, strict=True)), progress_bar
    ):
        run = {"random_state": int(seed), "n_cells": len(cells), "score": np.nan, "error": ""}
        try:
            score, table = finish()
        except (ValueError, RuntimeError, ArithmeticError) as error:
            logger.warning("run_%d failed and is left out: %s", len(runs), error)
            run["error"] = f"{type(error).__name__}: {error}"
            results.append(None)
        else:
            run["score"] = score
            results.append(table)
        runs.append(run)
    found = {f"run_{number}": table for number, table in enumerate(results) if table is not None}
    if len(found) < 2:
        errors = [run["error"] for run in runs if run["error"]]
        raise RuntimeError(
            f"{len(errors)} of {n_runs} runs failed, but at least two must succeed. The last "
            f"error was {errors[-1]!r}."
        )

    panels = pd.DataFrame(
        {name: table["selected"].to_numpy() for name, table in found.items()},
        index=adata.var_names,
    )
    scores = np.mean([table["score"].to_numpy() for table in found.values()], axis=0)
    frequency = panels.to_numpy().mean(axis=1)
    # A score is from 0 to 1, so that it decides between genes of the same frequency only.
    consensus = np.zeros(adata.n_vars, dtype=bool)
    consensus[problem.rules.best_panel(frequency + scores / (len(found) + 1), n_genes)] = True
    free = panels[problem.rules.allowed & ~problem.rules.required].to_numpy().T
    jaccard, kuncheva = jaccard_index(free), kuncheva_index(free)
    params = {
        "n_genes": int(n_genes),
        "n_runs": int(n_runs),
        "subsample": float(subsample),
        **{KINDS[kind].argument: named for kind, named in keys.items()},
        "transcriptome": problem.n_components or None,
        **weights_as_params(**weights),
        "split_key": split_key,
        "batch_key": batch_key,
        "expression": problem.expression.source,
        **requirements.to_params(),
        "unlabeled": [str(category) for category in problem.unlabeled],
        "random_state": int(random_state),
        "yoto_sc_version": __version__,
    }
    shown = list(found)
    adata = adata.copy() if copy else adata
    adata.var[names.frequency] = frequency.astype(np.float32)
    adata.var[names.consensus] = consensus
    adata.uns[names.stability] = {
        "params": given_only(params),
        "panels": panels[frequency > 0],
        "jaccard": pd.DataFrame(jaccard, index=shown, columns=shown),
        "kuncheva": pd.DataFrame(kuncheva, index=shown, columns=shown),
        "mean_jaccard": _mean_of_pairs(jaccard),
        "mean_kuncheva": _mean_of_pairs(kuncheva),
        "runs": pd.DataFrame(runs, index=[f"run_{number}" for number in range(n_runs)]),
    }
    return adata if copy else None


def _check_names(adata: AnnData, keys: Keys, read: Mapping[str, str]) -> None:
    """Refuse names under which something else is stored, or which the runs read."""
    if not isinstance(keys.key, str) or not keys.key:
        raise TypeError(f"key_added must be a non-empty string, not {keys.key!r}.")
    columns = (keys.frequency, keys.consensus)
    for argument, column in read.items():
        if column in columns:
            raise ValueError(
                f"{argument}={column!r} would be overwritten by the result. Choose another "
                f"key_added than {keys.key!r}."
            )
    if "mean_kuncheva" in adata.uns.get(keys.stability, {}):
        return
    taken = [f"var[{column!r}]" for column in columns if column in adata.var.columns]
    taken += [f"uns[{keys.stability!r}]"] if keys.stability in adata.uns else []
    if taken:
        raise ValueError(
            f"key_added={keys.key!r} would overwrite adata.{', adata.'.join(taken)}, which "
            "yoto_sc.tl.stability did not write. Choose another key_added, or delete it."
        )


def _check_subsample(subsample: object) -> None:
    if not isinstance(subsample, Real) or isinstance(subsample, bool):
        raise TypeError(f"subsample must be a number, not {subsample!r}.")
    if not 0 < float(subsample) <= 1:
        raise ValueError(f"subsample must be above 0 and at most 1, not {subsample}.")


def _samples(
    problem: Problem, subsample: float, seeds: NDArray[np.int64]
) -> list[NDArray[np.intp]]:
    """Draw the cells of every run, ascending."""
    groups = problem.groups
    if subsample == 1:
        return [np.arange(problem.expression.n_obs)] * len(seeds)
    samples = [
        split_cells(
            problem.tasks, problem.labels, groups, 1 - subsample, np.random.default_rng(seed)
        ).train
        for seed in seeds
    ]
    n_groups = 2 if groups is None else min(groups.iloc[cells].nunique() for cells in samples)
    if n_groups < 2:
        raise ValueError(
            f"subsample={subsample} leaves a run {n_groups} group of "
            f"split_key={problem.split_key!r}; holding groups out needs at least 2. Take a larger "
            "subsample, or 1 to vary the seed alone."
        )
    return samples


def _run(
    request: Request, problem: Problem, cells: NDArray[np.intp]
) -> tuple[float, pd.DataFrame]:
    """Select once, on some cells; return the held-out score and the table of the panel."""
    model = request.train(problem.of_cells(cells))
    return _mean_score(model), model.panel().table


def _with_progress(runs: list[Any], progress_bar: bool) -> Iterable[Any]:
    if not progress_bar:
        return runs
    from tqdm.auto import tqdm

    return tqdm(runs, desc="Repeating the selection", unit="run")


def _mean_score(model: YOTO) -> float:
    """Mean over tasks of the held-out macro-F1 or R²; NaN if there is none."""
    scores = np.array([model.metrics.loc[task.name, task.metric] for task in model.tasks])
    return float(mean_of_defined(scores))


def _mean_of_pairs(index: NDArray[np.float64]) -> float:
    """Mean over the pairs of different runs."""
    return float(index[np.triu_indices_from(index, k=1)].mean())
