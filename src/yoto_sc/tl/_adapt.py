"""`tl.adapt`: a model for another assay, from a few labelled cells of it."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from yoto_sc._checks import as_list, check_adata, check_new_directory
from yoto_sc._progress import shows_progress
from yoto_sc.tl._models import as_model

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anndata import AnnData

    from yoto_sc.model import YOTO


@shows_progress
def adapt(
    adata: AnnData,
    model: str | Path | YOTO,
    *,
    categorical_keys: str | Sequence[str] | None = None,
    continuous_keys: str | Sequence[str] | None = None,
    layer: str | None = None,
    unlabeled: str | Sequence[object] = (),
    random_state: int = 0,
    accelerator: str = "auto",
    model_dir: str | Path | None = None,
    progress_bar: bool = True,
) -> YOTO:
    """Make a model for another assay, from a trained one and a few labelled cells.

    The panel stays. All cells of the other assay are labelled by the model, as
    :func:`yoto_sc.tl.predict` does, and these labels are corrected by the cells whose label is
    known: by logistic regression for classes, in which such a cell counts for twenty others, and
    by ridge regression of what is left for numbers. Then a network on the same genes is trained
    from the start on all these cells. Five labelled cells of each class are of use, twenty are
    better. The cells without a label are of use too: give all that there are.

    Parameters
    ----------
    adata
        Annotated data of the other assay, with the panel's genes; not changed. Labels are missing
        for most cells.
    model
        A :class:`yoto_sc.model.YOTO`, or the directory it was saved to; not changed.
    categorical_keys
        Tasks of the model whose labels are in ``adata.obs``, under the same name. Classes that the
        model does not know are learned from their labelled cells. `None`: all that are there.
    continuous_keys
        Likewise, for numbers.
    layer
        Layer to read expression from; `None`: as :func:`yoto_sc.tl.predict` does.
    unlabeled
        Categories that stand for "no label", such as ``"Unknown"``.
    random_state
        Seed of the training.
    accelerator
        Where to train, as in Lightning's trainer.
    model_dir
        Directory to save the new model to; it must not exist.
    progress_bar
        Whether to show progress.

    Returns
    -------
    A model for :func:`yoto_sc.tl.predict`, to which `adata` is the reference now. Its
    ``selection.adapted`` tells where it comes from: one row for each task with the ``model``, and
    how many cells were ``n_labeled`` and ``n_unlabeled``, and how many classes are new, ``n_new``.
    Its held-out scores are still those of `model`, on cells of its own assay.

    Raises
    ------
    FileNotFoundError
        There is no model in the directory.
    KeyError
        The model has no such task, or `adata` lacks labels, a panel gene or the layer.
    ValueError
        No cell has a label, expression is not of the kind the model was trained on, or `model_dir`
        exists.

    Examples
    --------
    >>> import yoto_sc as yt
    >>> cells = yt.datasets.planted(300, 100, n_query=300, missing=0.0, random_state=0)
    >>> is_query = (cells.obs["assay"] == "query").to_numpy()
    >>> reference, query = cells[~is_query].copy(), cells[is_query].copy()
    >>> yt.model.YOTO.setup_anndata(reference, categorical_keys=["task_0"])
    >>> model = yt.model.YOTO(reference, n_genes=8)
    >>> model.train(max_steps=40, progress_bar=False)
    >>> query.obs["task_0"] = query.obs["task_0"].where(query.obs["task_0"].index < "query_0040")
    >>> adapted = yt.tl.adapt(query, model, progress_bar=False)
    >>> yt.tl.predict(query, adapted)
    """
    check_adata(adata)
    if model_dir is not None:
        check_new_directory(model_dir, "model_dir")
    name = str(model) if isinstance(model, str | PathLike) else ""
    model = as_model(model)
    keys = []
    for kind, given in (("categorical", categorical_keys), ("continuous", continuous_keys)):
        own = [task.name for task in model.tasks if task.kind == kind]
        if given is None:
            keys += [name for name in own if name in adata.obs]
        else:
            keys += as_list(given, f"{kind}_keys")
    adapted = model.adapt(
        adata,
        keys,
        layer=layer,
        unlabeled=as_list(unlabeled, "unlabeled"),
        accelerator=accelerator,
        progress_bar=progress_bar,
        random_state=random_state,
        name=Path(name).name,
    )
    if model_dir is not None:
        adapted.save(model_dir)
    return adapted
