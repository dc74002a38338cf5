"""`tl.evaluate`: score any list of genes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from yoto_sc._checks import check_adata
from yoto_sc._genes import check_unknown_genes
from yoto_sc._progress import shows_progress
from yoto_sc.data import keys_by_kind
from yoto_sc.metrics._cross_validation import CLASSIFIERS
from yoto_sc.tl._panel_scores import Protocol, gene_list, panel_scores

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd
    from anndata import AnnData

    from yoto_sc._genes import UnknownGenes
    from yoto_sc._panel import Panel
    from yoto_sc.metrics._cross_validation import Classifier


@shows_progress
def evaluate(
    adata: AnnData,
    genes: Sequence[str] | Panel,
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
    """Score any list of genes by estimators that know nothing of where it comes from.

    The list may be a selection, a vendor's panel or a published signature. It is scored by how
    well labels are predicted from its genes alone in held-out cells, by how much of the structure
    of the data it keeps, by how much its genes repeat each other, and by the known markers in it.

    .. important::
       If the list was selected on these very cells, the scores are too good: the selection saw
       the labels of the held-out cells. Select on some cells or donors, and evaluate on others, as
       in the example. This holds for each list that is compared.

    Parameters
    ----------
    adata
        Annotated data of shape ``(n_obs, n_vars)``, with counts or log-normalised expression; not
        changed.
    genes
        A list of genes, or a :class:`yoto_sc.Panel`; by any of their names, as in
        :func:`yoto_sc.tl.select`.
    categorical_keys
        Columns of ``adata.obs`` with classes to predict.
    continuous_keys
        Columns of ``adata.obs`` with numbers to predict.
    obsm_keys
        Entries of ``adata.obsm`` with vectors to predict, of shape ``(n_obs, d)``, as in
        :func:`yoto_sc.tl.select`. A row that holds a missing value is a missing label. Columns
        weigh by their variance, so scale those that are to count alike.
    transcriptome
        Predict the transcriptome, as a task of this name: the leading principal components of the
        log-normalised variable genes, found anew in the training cells of each fold. `True` for 30
        of them, or their number. It needs no labels, and is predicted in any
        case if none are named and `classifiers` are. Structure, redundancy and markers need none,
        either.
    layer
        Layer to read expression from, as in :func:`yoto_sc.tl.select`; `None`: ``X``.
    split_key
        Column of ``adata.obs`` (donor, patient, section) whose groups are held out whole. With at
        most `n_splits` groups, each is held out once. `None`: cells are held out.
    unlabeled
        Categories that stand for "no label", such as ``"Unknown"``. Missing labels are left out
        of their task alone.
    classifiers
        Any of ``"logistic_regression"``, ``"random_forest"`` and ``"k_neighbors"``. Numbers and
        vectors get the regressor of the same family: ridge, random forest, k nearest neighbours.
        An empty list leaves out predictions.
    n_splits
        Number of folds of the cross-validation.
    use_rep
        Entry of ``adata.obsm`` that holds the structure to keep, such as ``"X_pca"`` or an
        embedding in which batches are integrated; `None`: the first 50 principal components of all
        genes.
    markers
        Known markers: a mapping from class to genes, or a table with one column for each class.
        They need not be in `adata`.
    unknown_genes
        What to do about genes that `adata` lacks: ``"error"`` names them, ``"ignore"`` scores the
        others, with a warning.
    random_state
        Seed of folds, forests, principal components and clusters. The same data, arguments and
        seed give the same table on the same machine.
    progress_bar
        Whether to show progress; lines in the log tell it otherwise.

    Returns
    -------
    One row for each value, with the columns

    ``task``
        Column of ``adata.obs``, entry of ``adata.obsm`` or ``transcriptome``; empty for what is
        no task.
    ``classifier``
        Estimator that was trained; empty for what needs none.
    ``fold``
        Number of the fold, from 0 (Int64); NA for what uses all cells.
    ``metric``
        Classes: ``macro_f1``, ``balanced_accuracy``, ``accuracy``, ``log_loss``,
        ``calibration_error`` and ``recall``. Numbers: ``r2``, ``rmse`` and ``pearson_r``.
        Vectors and the transcriptome: the same three over all columns (``r2`` by their variance,
        ``pearson_r`` as their mean), and ``column_r2``. Structure: ``knn_overlap``, the mean share
        of a cell's 15 nearest neighbours that are the same by the list as by all genes;
        ``leiden_nmi``, the normalised mutual information of Leiden clusters by the list with those
        by all genes (empty task) or with the labels (named task). Redundancy:
        ``mean_abs_correlation`` and ``max_abs_correlation`` over pairs of genes. Markers:
        ``marker_coverage``, the share of a class's markers in the list, and ``marker_classes``,
        the share of classes with a marker in the list.
    ``category``
        Class of a ``recall`` or ``marker_coverage``; column of a ``column_r2``, by its name in a
        table or its position in an array (``PC1``, ``PC2``, … of the transcriptome); else empty.
    ``value``
        NaN where undefined, such as the recall of a class that has no held-out cell.
    ``n_cells``
        Number of cells behind the value, held-out ones where there is a fold (Int64); NA for
        markers.

    Raises
    ------
    KeyError
        A column, entry, layer or gene does not exist.
    TypeError
        An argument is of the wrong type.
    ValueError
        An argument is out of range, a gene is named twice, a task has too few labels or groups to
        be learned in each fold, or expression is not finite and non-negative. All errors come
        before anything is trained.

    Notes
    -----
    All classes count, small ones too. A class with fewer cells than `n_splits` is judged in some
    folds. A class of one cell is learned, not judged (its recall is NaN, of 0 cells), unless
    groups are held out. A held-out cell whose class has no training cell counts as wrong. Cells of
    no group are only trained on.

    With ``x = np.log1p(adata[:, genes].X.toarray()).astype(float)`` (normalised data as they are)
    a fold of a task is, in scikit-learn::

        estimator = {
            "logistic_regression": LogisticRegression(max_iter=1000),
            "random_forest": RandomForestClassifier(random_state=random_state),
            "k_neighbors": KNeighborsClassifier(),
        }[classifier]
        make_pipeline(StandardScaler(), estimator).fit(x[train], y[train]).predict_proba(x[test])

    where folds of cells are those of
    ``StratifiedKFold(n_splits, shuffle=True, random_state=random_state)`` and folds of groups
    those of ``StratifiedGroupKFold`` with the same arguments, or of ``LeaveOneGroupOut`` if there
    are at most `n_splits` groups. For numbers, vectors and the transcriptome, it is ``KFold`` and
    ``GroupKFold``, with ``RidgeCV(np.logspace(-2, 4, 13))``, ``KNeighborsRegressor()`` and
    ``RandomForestRegressor(max_features=1 / 3, random_state=random_state)``; of vectors, they
    predict all columns at once. Forests grow in as many threads as
    :class:`joblib.parallel_config` says, which does not change the result; all else uses one.

    The components of the transcriptome are those of a principal component analysis of 2,000
    variable genes, chosen as by :func:`scanpy.pp.highly_variable_genes`, not scaled. Held-out
    cells are projected onto them. So they differ a little from fold to fold, and each list is
    judged by the same ones.

    Structure is compared on at most 30,000 cells, drawn at random. For it, counts are normalised
    to the same total in each cell before the logarithm. Lists of more than 50 genes are reduced to
    50 principal components. Clusters are those of :func:`scanpy.tl.leiden` at resolution 1 on the
    graph that joins each cell with its neighbours.

    Examples
    --------
    >>> import numpy as np
    >>> import yoto_sc as yt
    >>> adata = yt.datasets.pbmc68k()
    >>> first = np.arange(adata.n_obs) % 2 == 0
    >>> ours, theirs = adata[first].copy(), adata[~first].copy()
    >>> yt.tl.select(ours, 16, categorical_keys="bulk_labels", max_steps=40, progress_bar=False)
    >>> scores = yt.tl.evaluate(
    ...     theirs,
    ...     yt.Panel.from_adata(ours),
    ...     categorical_keys="bulk_labels",
    ...     classifiers="k_neighbors",
    ... )
    >>> f1 = scores[scores["metric"] == "macro_f1"]
    >>> bool(f1["value"].mean() > 0.3)
    True
    """
    del progress_bar  # the decorator reads it
    check_adata(adata)
    check_unknown_genes(unknown_genes)
    return panel_scores(
        adata,
        {"": gene_list(adata, genes, "genes", unknown_genes)},
        keys_by_kind(
            categorical_keys=categorical_keys, continuous_keys=continuous_keys, obsm_keys=obsm_keys
        ),
        Protocol(classifiers, n_splits, use_rep, markers, random_state),
        transcriptome=transcriptome,
        layer=layer,
        split_key=split_key,
        unlabeled=unlabeled,
    ).drop(columns="panel")
