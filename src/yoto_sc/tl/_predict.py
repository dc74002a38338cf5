"""`tl.predict`: label new cells from the panel alone."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Literal

import pandas as pd

from yoto_sc._checks import (
    check_adata,
    check_embedding,
    check_fraction,
    check_index_names,
    check_written_keys,
)
from yoto_sc._keys import ADAPTATION, DEFAULT_KEY, Keys
from yoto_sc._progress import shows_progress
from yoto_sc.tl._models import as_model
from yoto_sc.tl._write import result_places, write_predictions

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from anndata import AnnData

    from yoto_sc.data import Task
    from yoto_sc.model import YOTO

logger = logging.getLogger(__name__)


@shows_progress
def predict(
    adata: AnnData,
    model: str | Path | YOTO,
    *,
    n_genes: int | None = None,
    layer: str | None = None,
    missing: Literal["error", "zero"] = "error",
    adapt: Literal["auto", "none", "genes"] = "auto",
    min_confidence: float | None = None,
    unknown: float | None = None,
    embedding: bool | Literal["auto"] = "auto",
    key_added: str = DEFAULT_KEY,
    copy: bool = False,
) -> AnnData | None:
    """Label new cells with a trained model, from the panel genes alone.

    A query is compared with what the model remembers of its reference. One that is like it is
    labelled by the network that was trained, and judged, on the reference as it is; one of another
    assay by the network that learned from imitated assays, after aligning its genes with the
    reference where that is safe (`adapt`).

    Confidences are calibrated on held-out cells (temperature scaling, Guo et al. 2017,
    arXiv:1706.04599), those of the second network on imitated assays: of the cells labelled with
    0.9, about nine of ten are right. Of types never seen, they may be too high (`unknown`). Cells
    with no count of the panel, or one or two, get no label, where the reference has hardly any
    such cell (0.5 % at most).

    Parameters
    ----------
    adata
        Annotated data that holds at least the panel's genes, in any order, as counts if the model
        was trained on counts. Fractions are taken as corrected counts, with a warning, if they are
        too large to be logarithms. Other genes are not read.
    model
        A :class:`yoto_sc.model.YOTO`, or the directory it was saved to (``model_dir`` of
        :func:`yoto_sc.tl.select`).
    n_genes
        Number of best genes to use; `None`: the size of the panel.
    layer
        Layer to read expression from; `None`: the layer that the model was trained on, if `adata`
        has it, else ``X``.
    missing
        What to do about panel genes that `adata` lacks. ``"error"``, or ``"zero"``: blank them,
        tell the network that they are unmeasured, and log a warning with the scores to expect.
        These are rough: they add up what each gene costs when it alone is missing, which was
        measured on the cells that were learned from.
    adapt
        What to do about another assay. ``"auto"``: a query of 20 cells and more whose depth or
        genes differ from the reference's is for the second network, counts far below or above
        what that has learned are scaled, and genes are aligned if they are detected otherwise,
        unless the composition is another one of few classes (such as a sample of one cell type).
        Predictions then depend on the whole query. ``"genes"``: genes are aligned in any case.
        ``"none"``: each cell is labelled by itself, by the second network, as streams of cells of
        any assay need it. See the method page for the equations. What was done is logged at level
        INFO; a warning names what is odd about a query.
    min_confidence
        Cells with less confidence than this get no label (NA); `None`: every cell gets one.
    unknown
        Share of the reference's cells that may be refused, such as 0.05, to name cells of types
        that it lacks: cells that are more unlike every class than all but this share of the
        held-out cells of the reference get no label (NA). The distance is on
        the method page. Those of another assay are compared once they are aligned, and moved so
        that a typical one is as far away as one of the reference; so they must not be new for the
        most part. `None`: every cell is taken for one of the classes.
    embedding
        Whether to write the representation, which takes 1 KB for each cell: ``"auto"``, where
        expression is in memory.
    key_added
        Prefix of everything that is written.
    copy
        Return a changed copy instead of changing `adata`.

    Returns
    -------
    `None`, or the changed copy if `copy`. Sets the following fields (for the default key):

    adata.obs["yoto_<key>"] : categorical or float32
        Prediction of the task; NA below `min_confidence`, for cells that `unknown` refuses, and
        where a coarser level of the same tree has no label, or one that no class of the task lies
        within.
    adata.obs["yoto_<key>_confidence"] : float32
        Probability of the most probable class, for categorical tasks.
    adata.obs["yoto_<key>_novelty"] : float32
        With `unknown`, for categorical tasks, how unlike every class a cell is: 0 for a typical
        cell of the reference, above 1 for a twentieth of its cells.
    adata.obsm["yoto_<key>"] : float32, shape ``(n_obs, n_columns)``
        Prediction of a vector, as an array or as a table, as the labels were.
    adata.obsm["X_yoto"] : float32, shape ``(n_obs, n_latent)``
        Shared representation, if `embedding`.

    adata.uns["yoto"]["adaptation"] : dict
        What was found and done, unless ``adapt="none"``: ``is_other_assay``; whether genes were
        aligned, ``is_applied``, and the ``reason``; ``depth`` (counts in a cell, relative to a
        reference of the same composition), ``scaled_by``, ``difference`` (standard deviation of
        the logarithms of the factors beyond chance), ``composition_distance`` (total variation),
        ``n_untold`` (cells with too few counts), and tables ``genes`` (how well each is
        detected beside the others, its ``factor``) and ``composition`` (``share`` of each class).

    Raises
    ------
    FileNotFoundError
        There is no model in the directory.
    KeyError
        A panel gene, or the layer, is missing; with ``missing="zero"``, all panel genes are.
    TypeError
        An argument is of the wrong type.
    ValueError
        The model's files are damaged or from another version, expression is not of the kind the
        model was trained on, an argument is out of range, or `unknown` is asked of less than the
        whole panel, or of a model without classes.

    Examples
    --------
    >>> import yoto_sc as yt
    >>> adata = yt.datasets.pbmc68k()
    >>> yt.model.YOTO.setup_anndata(adata, categorical_keys=["bulk_labels"])
    >>> model = yt.model.YOTO(adata, n_genes=8)
    >>> model.train(max_steps=40, progress_bar=False)
    >>> measured = model.panel().subset(yt.datasets.pbmc68k())  # 8 genes, nothing else
    >>> yt.tl.predict(measured, model)
    >>> measured.obs["yoto_bulk_labels"].cat.categories.size
    10
    """
    check_adata(adata, copy=copy)
    if min_confidence is not None:
        check_fraction(min_confidence, "min_confidence")
    if unknown is not None:
        check_fraction(unknown, "unknown")
    embedding = check_embedding(embedding, adata)
    model = as_model(model)
    names = Keys(key_added)
    for place, written in result_places(names, model.tasks).items():
        labels = [task.name for task in model.tasks if task.place == place]
        check_written_keys(names, written, labels, place)
        if place == "obs":
            check_index_names(adata, written)
    query, genes = model.label(
        adata,
        layer=layer,
        n_genes=n_genes,
        missing=missing,
        adapt=adapt,
        novelty=unknown is not None,
        embedding=embedding,
    )
    adata = adata.copy() if copy else adata
    _point_out_foreign(adata, names, model.tasks)
    write_predictions(
        adata,
        names,
        model.tasks,
        query.predictions,
        query.latent,
        levels=model.selection.levels,
        min_confidence=min_confidence,
        untold=query.untold,
    )
    for position, task in enumerate(model.tasks):
        column = names.novelty(task.name)
        if unknown is not None and position in query.distances:
            distance, novelty = query.distances[position], model.novelties_[position]
            adata.obs[column] = novelty.score(distance)
            adata.obs.loc[novelty.is_new(distance, unknown), names.prediction(task.name)] = None
        elif column in adata.obs:  # of an earlier call
            del adata.obs[column]
    stored = dict(adata.uns.get(names.uns, {}))
    stored.pop(ADAPTATION, None)
    done = query.to_uns(genes, model.reference_groups())
    if done is not None:
        stored[ADAPTATION] = done
    if stored or names.uns in adata.uns:
        adata.uns[names.uns] = stored
    return adata if copy else None


def _point_out_foreign(adata: AnnData, names: Keys, tasks: Sequence[Task]) -> None:
    """Say so where labels take the place of something that no prediction of the model is."""
    for task in tasks:
        column = names.prediction(task.name)
        if task.place != "obs" or column not in adata.obs.columns:
            continue
        there = adata.obs[column]
        known = {str(category) for category in task.categories}
        if (
            not {str(value) for value in there.dropna().unique()} <= known
            if known
            else not pd.api.types.is_numeric_dtype(there.dtype)
        ):
            logger.warning(
                "adata.obs[%r] held something else than predictions of this model, and is "
                "overwritten. Another key_added than %r would have kept it.",
                column,
                names.key,
            )
