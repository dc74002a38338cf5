"""The data sets of `few_labels.py` and `no_labels.py`: one label each, at most 5,000 cells."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anndata as ad
import numpy as np
from scipy import sparse
from sklearn.model_selection import train_test_split

from bench.data import SOURCES, keep_classes, path_of
from bench.splits import split

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pandas as pd
    from numpy.typing import NDArray

LABELS = {
    "geact": "cell_type",
    "zheng17": "sorted_type",
    "kang8": "cell_type",
    "kang_stim": "cell_type_condition",
    "malaria": "cluster",
}
"""The label of each data set."""
PAIRS = {
    "geact": ("cell_type", "tissue"),
    "zheng17": ("sorted_type", "lineage"),
    "kang8": ("cell_type", "donor"),
    "kang_stim": ("cell_type", "condition"),
    "malaria": ("cluster", "bulk_time"),
}
"""Two labels of each data set, for two halves of the cells."""
MOST_CELLS = 5000
LEAST_PER_CLASS = 2
"""Cells of a class that keep their label, however few are to keep theirs."""


def read(file: str, keys: Sequence[str]) -> ad.AnnData:
    """Read counts in CSR and labels; leave out rare classes, and cells beyond 5,000.

    Which cells stay is drawn at random, stratified by the first label, and always the same.
    """
    adata = ad.read_h5ad(path_of(file))
    counts = sparse.csr_matrix(adata.X, dtype=np.float32)
    obs = adata.obs[list(keys)].copy()
    adata = keep_classes(ad.AnnData(counts, obs=obs, var=adata.var[[]].copy()), keys)
    if adata.n_obs > MOST_CELLS:
        cells, _ = train_test_split(
            np.arange(adata.n_obs),
            train_size=MOST_CELLS,
            stratify=adata.obs[keys[0]],
            random_state=0,
        )
        adata = keep_classes(adata[np.sort(cells)], keys)
    return adata


def splits(
    name: str, keys: Sequence[str], seeds: Sequence[int]
) -> Iterator[tuple[int, ad.AnnData, ad.AnnData]]:
    """Yield, for each seed, the cells to select and train on and a quarter to judge on."""
    adata = read(SOURCES[name].file, keys)
    for seed in seeds:
        train, test = split("cells", adata.obs[keys[0]], None, seed)
        yield seed, adata[train].copy(), adata[test].copy()


def keep_labels(labels: pd.Series, share: float, seed: int) -> pd.Series:
    """Return the labels of a share of the cells of every class, at least two; others are NaN.

    Those of a smaller share are among those of a larger one.
    """
    kept = np.zeros(len(labels), dtype=bool)
    order = np.random.default_rng([seed, 1]).permutation(len(labels))
    codes = labels.cat.codes.to_numpy()
    for code in np.unique(codes[codes >= 0]):
        own = order[codes[order] == code]
        kept[own[: max(LEAST_PER_CLASS, round(share * len(own)))]] = True
    return only(labels, kept)


def only(labels: pd.Series, kept: NDArray[np.bool_]) -> pd.Series:
    """Return the labels of these cells; all others are NaN, and classes without cells gone."""
    return labels.where(kept).astype("category").cat.remove_unused_categories()


def middle_class(labels: pd.Series) -> str:
    """Return the class in the middle, by number of cells."""
    counts = labels.value_counts()
    return sorted(counts.index, key=lambda name: (counts[name], name))[len(counts) // 2]
