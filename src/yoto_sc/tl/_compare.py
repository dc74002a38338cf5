"""`tl.compare`: score several lists of genes side by side."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from yoto_sc._checks import check_adata
from yoto_sc._genes import check_unknown_genes
from yoto_sc._progress import shows_progress
from yoto_sc.data import keys_by_kind
from yoto_sc.metrics._cross_validation import CLASSIFIERS
from yoto_sc.tl._panel_scores import Protocol, gene_list, panel_scores

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from anndata import AnnData

    from yoto_sc._genes import UnknownGenes
    from yoto_sc._panel import Panel
    from yoto_sc.metrics._cross_validation import Classifier


@shows_progress
def compare(
    adata: AnnData,
    panels: Mapping[str, Sequence[str] | Panel],
    *,
    categorical_keys: str | Sequence[str] = (),
    continuous_keys: str | Sequence[str] = (),
    obsm_keys: str | Sequence[str] = (),
    transcriptome: bool | int = False,
    layer: str | None = None,
    split_key: str | None = None,
    unlabeled: str | Sequence[object] = (),
    classifiers: Classifier | Sequence[Classifier] = CLASSIFIERS,
    n_splits: int = 5,
    use_rep: str | None = None,
    markers: Mapping[str, Sequence[str]] | pd.DataFrame | None = None,
    unknown_genes: UnknownGenes = "error",
    random_state: int = 0,
    progress_bar: bool = True,
) -> pd.DataFrame:
    """Score several lists of genes side by side, as :func:`yoto_sc.tl.evaluate` scores one.

    All lists are judged on the same held-out cells, by the same estimators. A list that was
    selected on cells of `adata` has an advantage over one that was not: compare on cells that no
    list has seen.

    Parameters
    ----------
    adata
        Annotated data of shape ``(n_obs, n_vars)``; not changed. It holds the genes of all lists,
        unless `unknown_genes` says otherwise.
    panels
        Lists of genes, or :class:`yoto_sc.Panel` objects, by the name they are shown under.
    categorical_keys, continuous_keys, obsm_keys, transcriptome
        As in :func:`yoto_sc.tl.evaluate`. All lists are judged by the same components.
    layer, split_key, unlabeled
        As in :func:`yoto_sc.tl.evaluate`.
    classifiers, n_splits, use_rep, markers, unknown_genes, random_state, progress_bar
        As in :func:`yoto_sc.tl.evaluate`.

    Returns
    -------
    The rows of :func:`yoto_sc.tl.evaluate` for each list, with its name in the first column,
    ``panel``. :func:`yoto_sc.pl.compare` draws them.

    Raises
    ------
    KeyError
        A column, entry, layer or gene does not exist.
    TypeError
        `panels` is no mapping from names, or another argument is of the wrong type.
    ValueError
        `panels` is empty; else as for :func:`yoto_sc.tl.evaluate`.

    Examples
    --------
    >>> import yoto_sc as yt
    >>> adata = yt.datasets.pbmc68k()
    >>> panels = {"markers": ["CD3D", "MS4A1", "NKG7", "LYZ"], "ribosomal": ["RPL39", "RPL36AL"]}
    >>> scores = yt.tl.compare(
    ...     adata, panels, categorical_keys="bulk_labels", classifiers="k_neighbors"
    ... )
    >>> f1 = scores[scores["metric"] == "macro_f1"].groupby("panel")["value"].mean()
    >>> f1.idxmax()
    'markers'
    """
    del progress_bar  # the decorator reads it
    check_adata(adata)
    check_unknown_genes(unknown_genes)
    if not isinstance(panels, Mapping):
        raise TypeError(
            f"panels must map names to lists of genes, not be a {type(panels).__name__}. For one "
            "list, call yoto_sc.tl.evaluate."
        )
    if not panels:
        raise ValueError("`panels` is empty. Name at least one list of genes.")
    for name in panels:
        if not isinstance(name, str):
            raise TypeError(f"The names of `panels` must be strings, not {name!r}.")
    return panel_scores(
        adata,
        {
            name: gene_list(adata, genes, f"panels[{name!r}]", unknown_genes)
            for name, genes in panels.items()
        },
        keys_by_kind(
            categorical_keys=categorical_keys, continuous_keys=continuous_keys, obsm_keys=obsm_keys
        ),
        Protocol(classifiers, n_splits, use_rep, markers, random_state),
        transcriptome=transcriptome,
        layer=layer,
        split_key=split_key,
        unlabeled=unlabeled,
    )
