"""`tl.select`: the one call."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from yoto_sc import _keys
from yoto_sc._checks import (
    as_list,
    check_adata,
    check_batch_key,
    check_embedding,
    check_new_directory,
    check_not_foreign,
    check_split_is_no_task,
    check_split_key,
    check_written_keys,
)
from yoto_sc._genes import check_unknown_genes
from yoto_sc._keys import DEFAULT_KEY, Keys
from yoto_sc._problem import Problem
from yoto_sc._progress import shows_progress
from yoto_sc._version import __version__
from yoto_sc.data import (
    KINDS,
    check_task_keys,
    keys_by_kind,
    named_tasks,
    point_out_no_labels,
)
from yoto_sc.judge import MAX_CELLS, assay_tables, warnings_on
from yoto_sc.rules import (
    PLATFORMS,
    Requirements,
    detection_floor,
    excluded_genes,
    with_platform,
)
from yoto_sc.tl._groups import find_group_key, score_on_groups, with_group_scores
from yoto_sc.tl._request import Request
from yoto_sc.tl._write import (
    given_only,
    result_places,
    weights_as_params,
    write_predictions,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import pandas as pd
    from anndata import AnnData

    from yoto_sc._genes import UnknownGenes
    from yoto_sc.judge import AssayTables, Selection

logger = logging.getLogger(__name__)


@shows_progress
def select(
    adata: AnnData,
    n_genes: int | Literal["auto"],
    *,
    categorical_keys: str | Sequence[str] = (),
    continuous_keys: str | Sequence[str] = (),
    obsm_keys: str | Sequence[str] = (),
    transcriptome: bool | int = False,
    task_weights: Mapping[str, float] | None = None,
    class_weights: Mapping[str, Mapping[Any, float]] | None = None,
    layer: str | None = None,
    split_key: str | None = None,
    batch_key: str | None = None,
    group_key: str | None = "auto",
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    candidates: str | Sequence[str] | None = None,
    preference: str | None = None,
    cost: str | None = None,
    budget: float | None = None,
    mean_range: Sequence[float | None] | None = None,
    fraction_range: Sequence[float | None] | None = None,
    max_crowding: float | None = None,
    crowding_key: str | None = None,
    min_detection: float | Literal["auto"] | None = "auto",
    redundancy: int | None = None,
    platform: str | Path | None = None,
    unknown_genes: UnknownGenes = "error",
    unlabeled: str | Sequence[object] = (),
    unlabeled_cells: Literal["auto", "use", "ignore"] = "auto",
    robust: Literal["auto", "thin", "technology"] | None = "auto",
    embedding: bool | Literal["auto"] = "auto",
    key_added: str = DEFAULT_KEY,
    random_state: int = 0,
    max_steps: int | None = None,
    max_cells: int | None = MAX_CELLS,
    accelerator: str = "auto",
    devices: int | list[int] | str = "auto",
    model_dir: str | Path | None = None,
    progress_bar: bool = True,
    model_kwargs: Mapping[str, Any] | None = None,
    train_kwargs: Mapping[str, Any] | None = None,
    copy: bool = False,
) -> AnnData | None:
    """Select the genes to measure, and learn to predict from them, in one training.

    One panel serves all tasks at once. Labels may be missing anywhere: cells without a label learn
    from a teacher that reads all genes, where that helps. The training is run twice with the same
    seed. The first run is without the held-out cells, and all scores are its scores on them. The
    second run is on all cells, and panel, predictions and model are its
    (``train_kwargs={"refit": False}`` keeps those of the first run, in half the time). The idea is
    that of YOTO (Chopard et al., TMLR 2026, arXiv:2512.17678); the documentation's method page
    tells what differs.

    Categorical tasks may be levels of one tree, such as lineages and the cell types within them.
    That is noticed in the cells that have both labels, and logged: at least two coarser classes
    must hold finer ones, at least one of them two or more, and of the cells of a class, one or 1 %
    (and never more than a tenth) may contradict. The predictions of the levels then agree. The
    probability of a coarser class is the sum of those within it (of classes for which that is
    known, and in proportion where some are of unknown parent or hold none), and the predicted
    class lies within the predicted coarser one.

    Parameters
    ----------
    adata
        Annotated data of shape ``(n_obs, n_vars)``, with counts (best) or log-normalised
        expression, in memory, backed on disk, lazy, or as dask arrays.
    n_genes
        Size of the panel: exactly that many genes come back. ``"auto"`` takes the smallest, of
        about 20 sizes up to 64 genes, whose held-out score is within one standard error of the
        best.
    categorical_keys
        Columns of ``adata.obs`` with classes to predict. Numbers may be classes too, up to
        100 of them (20, if they have fractions). More are refused, unless the column's dtype is
        categorical.
    continuous_keys
        Columns of ``adata.obs`` with numbers to predict.
    obsm_keys
        Entries of ``adata.obsm`` with vectors to predict, such as proteins, an embedding or module
        scores: arrays, tables or sparse, of shape ``(n_obs, d)``. A row that holds a missing value
        is a missing label. Columns weigh by their variance, so scale those that are to count
        alike.
    transcriptome
        Predict the transcriptome itself, as a task of this name: the leading principal components
        of the log-normalised variable genes, fitted to the training cells alone. `True` for 30 of
        them, or their number. It needs no labels, and may stand alone or beside other tasks.
    task_weights
        What tasks count for beside others, such as ``{"cd4_subsets": 2}``, in the search and in
        the loss; 1 for those that are not named.
    class_weights
        What classes of a task count for beside its others, such as
        ``{"cell_type": {"Treg": 3}}``.
    layer
        Layer to read expression from; `None`: ``X``. Where ``X`` is scaled and ``adata.raw`` has
        the same genes unscaled, these are read.
    split_key
        Column of ``adata.obs`` (donor, patient, section) whose groups are held out whole, so that
        the scores hold for groups never seen. `None`: cells are held out.
    batch_key
        Column of ``adata.obs`` (donor, plate, chemistry), differences between whose groups count
        for nothing in the selection of genes. Differences between labels are taken within batches,
        which need not hold the same classes, and genes whose differences vary from batch to batch
        count for less. Cells without an entry are a batch of their own. Predictions know of no
        batch, so that they can be made of any cell. It may be `split_key` or `group_key`, too.
    group_key
        Column of ``adata.obs`` whose groups are held out in one more training, with the same
        arguments and seed, so that scores on groups never seen stand beside those on cells. It
        takes half as much time again, and changes neither panel nor predictions. These scores are
        of one group or a few, so they are rough. ``"auto"``: a column that looks like donors by
        its name (donor, patient, subject, individual, participant, mouse, animal, specimen,
        sample; ``"Donor_ID"`` too), if there is one. `None`: no such training, nor is there one
        with `split_key`.
    include
        Genes that must be in the panel: a list, or a :class:`yoto_sc.Panel` such as a base panel
        that others are to be added to. Here and in the next two, genes go by var name, or by the
        identifiers and symbols in usual columns of ``adata.var`` (``gene_ids``, ``feature_name``,
        …); Ensembl IDs with or without their version.
    exclude
        Genes, or patterns such as ``"MT-*"`` and ``"RP[SL]*"``, that must not be. Genes that
        `adata` lacks are passed over with a warning, unless none of those named is known.
    candidates
        Boolean column of ``adata.var`` (``"highly_variable"``), or genes, to choose from; `None`:
        all genes.
    preference
        Column of ``adata.var`` with non-negative weights. They multiply what a gene counts for in
        the search, on the scale of odds: 1 (or missing) is neutral, 0 forbids the gene. As many
        genes are nearly as good as the best, 1.25 is a mild wish, and 2 a strong one.
    cost, budget
        Column of ``adata.var`` with non-negative costs, and what the panel may cost in all.
    mean_range
        Smallest and largest mean expression over the cells that express the gene, such as
        ``(0.5, 20)``; `None` for no bound. This and the next three are judged on all cells, in
        the units of the expression that is read, before any transformation.
    fraction_range
        Smallest and largest share of the cells that express the gene, such as ``(0.01, None)``.
    max_crowding
        Largest sum of mean expression over the panel's genes in any cell type, so that spots do
        not overlap in an image (optical crowding).
    crowding_key
        Column of ``adata.obs`` with the cell types for `max_crowding`; `None`: the first of
        `categorical_keys`. Categories in `unlabeled` are no type.
    min_detection
        Smallest share of the cells that express a gene, of the class where it is seen most, over
        all categorical tasks (of 50 cells, where a class has fewer), or of all cells. Genes in
        `include` are exempt. ``"auto"``: 0.05, or, without categorical tasks, 0.01; no bound
        with `fraction_range`, or in fewer than 1,000 cells. `None`: no bound.
    redundancy
        Number of genes, at least, that mark each class of each categorical task, so that it can be
        told even if a probe fails; a gene may mark several. It marks a class if its mean in it, on
        the model's scale (log counts), exceeds that in the other labelled cells by half a pooled
        standard deviation; of a class that fewer than ``2 * redundancy`` genes mark so, so many
        of its best ones count. Met exactly, with all other rules, but not with
        ``n_genes="auto"``.
    platform
        ``"xenium"``, ``"merscope"``, ``"cosmx"`` or ``"qpcr"``: rules for `min_detection`,
        `mean_range` and `max_crowding` that suit it, for a reference of droplet counts; or a TOML
        file with rules of one's own, under the names of these arguments. Rules that are given
        come before those of the platform.
    unknown_genes
        What to do about genes in `include` and `candidates` that `adata` lacks: ``"error"`` names
        them, with what they may have meant; ``"ignore"`` passes over them with a warning, unless
        none is known.
    unlabeled
        Categories that stand for "no label", such as ``"Unknown"``. Others that are called so
        (``"nan"``, ``"unassigned"``, ``"low_quality"``, empty text) are learned as classes, and a
        warning names them.
    unlabeled_cells
        What cells without a label of a task learn. A teacher (logistic or ridge regression on
        principal components of the variable genes, labelled cells and others) predicts it from all
        genes, with calibrated probabilities. ``"auto"``: they learn from the teacher of each task
        that predicts labelled cells, out of fold, at least as well as a panel that learned from
        labelled cells alone. ``"use"``: in any case. ``"ignore"``: they contribute nothing to the
        task. Held-out scores are on labelled cells, and predictions read the panel alone, as ever.
    robust
        Which assays the cells to come may be of. A second network on the same genes learns from
        imitations of them, new in every minibatch, and :func:`yoto_sc.tl.predict` asks it about
        queries that are unlike `adata`. ``"technology"``: counts rise and fall, by a depth of
        each cell, log-uniform from 0.1 to 3, and an efficiency of each gene, log-normal.
        ``"thin"``: cells keep but a random share of their counts, log-uniform from a tenth to
        all. Both need counts. ``"auto"``: ``"technology"`` if expression is counts. `None`: there
        is no such network, which saves about a tenth of the time. The panel and what is predicted
        of cells like those of `adata` are the same in any case.
    embedding
        Whether to write the representation, which takes 1 KB for each cell: ``"auto"``, where
        expression is in memory.
    key_added
        Prefix of everything that is written.
    random_state
        Seed. The same data, arguments and seed give the same result, bit for bit, on the same
        machine; no global generator is used or changed.
    max_steps
        Number of minibatches to train for; `None`: a default that suits most data. Panels of more
        than 256 genes are found before training, in closed form.
    max_cells
        Number of cells to learn from at most, and half as many held-out cells to judge on; at
        least 1,000. Where there are more, training cells are drawn at random, with at least 500 of
        each class, and held-out cells at random. Rules on expression are judged on all cells, and
        all cells are predicted. `None`: there is no bound.
    accelerator, devices
        Where to train, as in Lightning's trainer.
    model_dir
        Directory to save the model to, for :func:`yoto_sc.tl.predict`; it must not exist.
    progress_bar
        Whether to show progress.
    model_kwargs
        Further arguments of :class:`yoto_sc.model.YOTO`.
    train_kwargs
        Further arguments of :meth:`yoto_sc.model.YOTO.train`.
    copy
        Return a changed copy instead of changing `adata`.

    Returns
    -------
    `None`, or the changed copy if `copy`. Sets the following fields (for the default key):

    adata.var["yoto_selected"] : bool
        The gene is in the panel.
    adata.var["yoto_rank"] : Int64
        1 is the most important gene; NA for genes that no panel may hold. Genes in `include`
        come first, whatever they tell, as they are measured in any case. The panel of any size k
        is ``rank <= k``; up to the size asked for, it meets `budget` and `max_crowding` too.
    adata.var["yoto_score"] : float32
        Falls with the logarithm of the rank, from 1 for the most important gene; 0 for genes
        that were no candidates.
    adata.var["yoto_imposed"] : bool
        The gene was in `include`; only if there are such genes.
    adata.obs["yoto_<key>"] : categorical or float32
        Prediction of the task for every cell, from the panel genes alone. NA where the predicted
        class of a coarser level of the same tree holds none of this one.
    adata.obs["yoto_<key>_confidence"] : float32
        Probability of the predicted class, for categorical tasks.
    adata.obsm["yoto_<key>"] : float32, shape ``(n_obs, n_columns)``
        Prediction of a vector or of the transcriptome; a table if the labels were one.
    adata.obsm["X_yoto"] : float32, shape ``(n_obs, n_latent)``
        Shared representation, from the panel genes alone, if `embedding`.
    adata.uns["yoto"] : dict
        ``params``; tables ``tasks`` (with ``level_of``, the task that each lies within, if any
        does), ``metrics`` (held-out scores), ``path`` (held-out score of each task along panel
        sizes), ``history``, ``confusion`` (held-out cells by class),
        ``attribution`` (the task and class that each gene serves most), ``without`` (by how much
        the score of each task falls with one gene unmeasured, on the cells that were learned from)
        and ``held_out`` (the predictions that were scored, by obs name); for vectors, ``columns``
        (held-out scores of each column); and ``teacher`` (what was decided on cells without a
        label, and the scores behind it), if there are such cells; with `include`, ``base`` (the
        held-out score of each task from these genes alone, and what the chosen ones add). What an
        assay will meet is in ``assay`` (for each gene ``mean`` and ``detection`` over all cells,
        as expression is stored, its ``share`` of the panel's counts, and ``peak_detection`` in
        the ``peak_class`` where it is seen most), ``assay_classes`` (the ``total`` of the means
        in each class), ``assay_copies`` (pairs of genes correlated above 0.8, if any) and
        ``assay_summary``. For the transcriptome,
        ``metrics`` has ``knn_overlap``, too, the share of 15 neighbours that predicted and true
        components agree on. With `group_key`, ``metrics`` has the scores on held-out groups in
        columns ``group_<score>``, and in ``group_difference`` how far macro-F1 or R² is from that
        on cells; ``group_held_out`` holds the predictions behind them.

    Raises
    ------
    KeyError
        A column, layer or gene does not exist.
    TypeError
        An argument is of the wrong type.
    ValueError
        An argument is out of range, rules contradict each other (the smallest set of these is
        named), a task has too few labels, or numbers for classes, or expression is not finite and
        non-negative. All errors come before training, and leave `adata` as it was.
    KeyboardInterrupt
        The training was stopped; `adata` is as it was.

    Examples
    --------
    >>> import yoto_sc as yt
    >>> adata = yt.datasets.pbmc68k()
    >>> yt.tl.select(adata, 16, categorical_keys="bulk_labels", max_steps=40, progress_bar=False)
    >>> int(adata.var["yoto_selected"].sum())
    16
    """
    check_adata(adata, copy=copy)
    check_unknown_genes(unknown_genes)
    keys = keys_by_kind(
        categorical_keys=categorical_keys, continuous_keys=continuous_keys, obsm_keys=obsm_keys
    )
    asked = with_platform(
        platform,
        {
            "exclude": exclude,
            "candidates": candidates,
            "preference": preference,
            "cost": cost,
            "budget": budget,
            "mean_range": mean_range,
            "fraction_range": fraction_range,
            "max_crowding": max_crowding,
            "crowding_key": crowding_key,
            "min_detection": min_detection,
            "redundancy": redundancy,
        },
    )
    asked["min_detection"] = detection_floor(
        asked["min_detection"],
        asked["fraction_range"],
        has_classes=bool(keys["categorical"]),
        n_obs=adata.n_obs,
    )
    requirements = Requirements(include=include, **asked).resolved(adata.var, unknown_genes)
    request = Request(
        n_genes,
        random_state=random_state,
        robust=robust,
        unlabeled_cells=unlabeled_cells,
        max_cells=max_cells,
        max_steps=max_steps,
        accelerator=accelerator,
        devices=devices,
        progress_bar=progress_bar,
        model_kwargs=model_kwargs,
        train_kwargs=train_kwargs,
    )
    names = Keys(key_added)
    embedding = check_embedding(embedding, adata)
    check_task_keys(adata, keys, transcriptome)
    check_split_key(adata.obs, split_key)
    tasks = [key for named in keys.values() for key in named]
    check_batch_key(adata.obs, batch_key, tasks)
    group_key = _resolve_group_key(adata.obs, group_key, split_key, tasks)
    check_split_is_no_task(group_key, tasks, "group_key")
    written = result_places(names, named_tasks(keys, transcriptome))
    check_written_keys(names, written["obs"], [*tasks, split_key, batch_key, group_key])
    check_written_keys(names, written["obsm"], as_list(obsm_keys, "obsm_keys"), "obsm")
    check_not_foreign(adata, names, written, requirements.var_columns)
    if model_dir is not None:
        check_new_directory(model_dir, "model_dir")
    problem = Problem.from_adata(
        adata,
        keys,
        transcriptome=transcriptome,
        task_weights=task_weights,
        class_weights=class_weights,
        layer=layer,
        split_key=split_key,
        batch_key=batch_key,
        unlabeled=unlabeled,
        requirements=requirements,
    )
    request.check(problem)
    _report(problem, layer)
    if platform in PLATFORMS and not problem.expression.is_counts:
        logger.warning(
            "platform=%r has bounds for counts, but adata.%s holds none.",
            platform,
            problem.expression.source,
        )

    scores = None
    if group_key is not None and (train_kwargs or {}).get("validation_size") != 0:
        scores = score_on_groups(request, problem, group_key)
    model = request.train(problem)
    on_groups = None if scores is None else scores()
    predictions, latent = model.predict_all(embedding=embedding)
    panel = model.panel()
    assay = assay_tables(problem, panel.genes, panel.imposed)
    tables = _tables(model.selection) | _of_assay(assay)
    if on_groups is not None:
        tables[_keys.METRICS] = with_group_scores(model, on_groups, group_key)
        tables[_keys.GROUP_HELD_OUT] = on_groups.held_out
    params = {
        "n_genes": panel.n_genes,
        **{KINDS[kind].argument: named for kind, named in keys.items()},
        "transcriptome": problem.n_components or None,
        **weights_as_params(task_weights, class_weights),
        "expression": problem.expression.source,
        "is_counts": problem.expression.is_counts,
        "split_key": split_key,
        "batch_key": batch_key,
        "robust": robust,
        "unlabeled_cells": unlabeled_cells,
        "max_cells": None if max_cells is None else int(max_cells),
        "group_key": None if on_groups is None else group_key,
        "platform": None if platform is None else str(platform),
        **requirements.to_params(),
        "max_steps": None if max_steps is None else int(max_steps),
        "auto": isinstance(n_genes, str),
        "unlabeled": [str(category) for category in problem.unlabeled],
        "random_state": int(random_state),
        "yoto_sc_version": __version__,
    }
    if model_dir is not None:
        model.save(model_dir)
    _report_base(model.selection.base)
    for warning in warnings_on(assay):
        logger.warning(warning)
    adata = adata.copy() if copy else adata  # all is computed: from here on, it is only written
    _drop_previous(adata, names)
    _write_panel(adata, names, panel.table)
    adata.uns[names.uns] = {
        _keys.PARAMS: given_only(params),
        **tables,
    }
    write_predictions(
        adata, names, model.tasks, predictions, latent, levels=model.selection.levels
    )
    return adata if copy else None


def _report(problem: Problem, layer: str | None) -> None:
    """Say once what the user may not expect, though it is handled."""
    problem.levels.report(problem.tasks)
    expression = problem.expression
    if expression.source == "raw" and layer is None:
        logger.warning("adata.X is scaled; expression is read from adata.raw.")
    if not expression.is_counts:
        logger.info("adata.%s holds no counts; it is taken as normalised.", expression.source)
    named = [task for task in problem.tasks if task.categories]
    columns = [problem.tables.obs[task.name] for task in named]
    if problem.requirements.crowding_key is not None:
        columns.append(problem.tables.obs[problem.requirements.crowding_key])
    for category in problem.unlabeled:
        if not any((column == category).any() for column in columns):
            logger.warning("unlabeled=%r occurs in no task.", category)
    for pattern in problem.requirements.exclude:
        if not excluded_genes(problem.var_names, [pattern]).any():
            logger.warning("exclude=%r matches no gene.", pattern)
    point_out_no_labels(problem.tasks, problem.labels, problem.unlabeled)
    for task, labels in zip(problem.tasks, problem.labels, strict=True):
        if not task.categories:
            continue
        counts = np.bincount(labels[task.observed(labels)], minlength=task.n_outputs)
        single = [task.categories[code] for code in np.flatnonzero(counts == 1)]
        if single:
            logger.warning(
                "Task %r: classes of one cell are learned but not judged: %s.", task.name, single
            )


def _report_base(base: pd.DataFrame) -> None:
    """Say what the genes that had to be in the panel tell, and what the chosen ones add."""
    for task, row in base.iterrows():
        logger.info(
            "Task %r: %s on held-out cells is %.3f with the %d genes in `include` alone, and %.3f "
            "with the %d chosen ones too (%+.3f, standard error %.3f).",
            *(task, row["metric"], row["base_score"], row["n_base"]),
            *(row["score"], row["n_chosen"], row["gain"], row["standard_error"]),
        )


def _resolve_group_key(
    obs: pd.DataFrame, group_key: str | None, split_key: str | None, tasks: Sequence[str]
) -> str | None:
    """Return the column of the groups that a second training is to hold out."""
    if group_key == "auto":
        return None if split_key is not None else find_group_key(obs, tasks)
    if group_key is not None and split_key is not None:
        raise ValueError(
            f"With split_key={split_key!r}, groups are held out already: give split_key or "
            f"group_key={group_key!r}, not both."
        )
    check_split_key(obs, group_key, "group_key")
    return group_key


def _tables(selection: Selection) -> dict[str, Any]:
    """Return what a selection came to, by its entry in ``adata.uns``."""
    names = (
        _keys.TASKS,
        _keys.METRICS,
        _keys.PATH,
        _keys.HISTORY,
        _keys.CONFUSION,
        _keys.ATTRIBUTION,
        _keys.WITHOUT,
        _keys.HELD_OUT,
    )
    tables = {name: getattr(selection, name) for name in names}
    optional = (_keys.COLUMNS, _keys.TEACHER, _keys.BASE)
    where_any = {name: getattr(selection, name) for name in optional}
    return tables | {name: table for name, table in where_any.items() if len(table)}


def _of_assay(assay: AssayTables) -> dict[str, Any]:
    """Return what an assay of the panel will meet, by its entry in ``adata.uns``."""
    found = {
        _keys.ASSAY: assay.genes,
        _keys.ASSAY_CLASSES: assay.classes,
        _keys.ASSAY_SUMMARY: assay.summary,
    }
    return found | ({_keys.ASSAY_COPIES: assay.copies} if len(assay.copies) else {})


def _drop_previous(adata: AnnData, names: Keys) -> None:
    """Drop the predictions of an earlier selection under the same key."""
    table = adata.uns.get(names.uns, {}).get(_keys.TASKS)
    if table is not None:
        adata.var = adata.var.drop(columns=names.imposed, errors="ignore")
        tasks = [KINDS[kind](name) for name, kind in table["kind"].items() if kind in KINDS]
        places = result_places(names, tasks)
        adata.obs = adata.obs.drop(columns=places["obs"], errors="ignore")
        for entry in places["obsm"]:
            adata.obsm.pop(entry, None)


def _write_panel(adata: AnnData, names: Keys, table: pd.DataFrame) -> None:
    """Write which genes are selected, their ranks and scores."""
    adata.var[names.selected] = table["selected"].to_numpy()
    adata.var[names.rank] = table["rank"].array
    adata.var[names.score] = table["score"].to_numpy(dtype=np.float32)
    if "imposed" in table.columns:
        adata.var[names.imposed] = table["imposed"].to_numpy()
