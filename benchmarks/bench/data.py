"""The data sets, and the questions asked of each."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import anndata as ad
import numpy as np
from scipy import sparse

import yoto_sc as yt

if TYPE_CHECKING:
    from collections.abc import Sequence

DIRECTORY = "YOTO_BENCHMARK_DATA"
"""Environment variable: where the h5ad files are."""
SMALLEST_CLASS = 8
"""Cells of rarer classes are left out: less than that cannot be split and judged."""


@dataclass(frozen=True)
class Questions:
    """Labels that one panel is to serve.

    Parameters
    ----------
    categorical, continuous
        Columns of ``obs``. Splits are stratified by the first categorical one.
    """

    categorical: tuple[str, ...]
    continuous: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """All columns, joined by plus signs."""
        return "+".join((*self.categorical, *self.continuous))

    @property
    def is_single(self) -> bool:
        """Whether there is only one."""
        return len(self.categorical) + len(self.continuous) == 1


@dataclass(frozen=True)
class Source:
    """A data set of the benchmark.

    Parameters
    ----------
    questions
        One entry for each panel that is asked for.
    file
        Name of the h5ad file; `None`: it comes with the package.
    group_key
        Column of ``obs`` with donors or sections to hold out whole; `None`: there are none.
    is_counts
        Whether ``X`` holds raw counts, not log-normalised expression.
    """

    questions: tuple[Questions, ...]
    file: str | None = None
    group_key: str | None = None
    is_counts: bool = True


SOURCES = {
    "geact": Source(
        (Questions(("cell_type",)), Questions(("cell_type", "tissue"))),
        "geact_fetal7.h5ad",
        group_key="plate",
    ),
    "zheng17": Source((Questions(("sorted_type",)),), "zheng17_sorted.h5ad"),
    "malaria": Source(
        (
            Questions(("cluster",)),
            Questions(("bulk_time",)),
            Questions(("cluster", "sex_stage")),
        ),
        "malaria_pb.h5ad",
    ),
    "kang8": Source(
        (Questions(("cell_type",)), Questions(("cell_type", "donor"))),
        "kang18_8donors.h5ad",
        group_key="donor",
    ),
    "kang_stim": Source(
        (
            Questions(("cell_type_condition",)),
            Questions(("cell_type", "condition", "donor")),
        ),
        "kang18_stim1556.h5ad",
    ),
    "pbmc": Source(
        (Questions(("bulk_labels",)), Questions(("bulk_labels", "phase"), ("S_score",))),
        is_counts=False,
    ),
    "planted": Source((Questions(("task_0", "task_1")),)),
}


def missing_file(name: str) -> str | None:
    """Return why the data set cannot be read here, or `None`."""
    file = SOURCES[name].file
    if file is None or path_of(file).exists():
        return None
    return f"{file} is not in the directory that {DIRECTORY} names"


def load(name: str) -> ad.AnnData:
    """Read a data set: expression in CSR, labels in ``obs``, and nothing else."""
    if name == "pbmc":
        adata = yt.datasets.pbmc68k()
    elif name == "planted":
        adata = yt.datasets.planted()
    else:
        adata = ad.read_h5ad(path_of(SOURCES[name].file))
    columns = {c for q in SOURCES[name].questions for c in (*q.categorical, *q.continuous)}
    columns |= {SOURCES[name].group_key} - {None}
    return ad.AnnData(
        sparse.csr_matrix(adata.X, dtype=np.float32),
        obs=adata.obs[sorted(columns)].copy(),
        var=adata.var[[c for c in ("informative",) if c in adata.var]].copy(),
    )


def keep_classes(adata: ad.AnnData, keys: Sequence[str]) -> ad.AnnData:
    """Return a copy without the cells of classes that are too rare."""
    keep = np.ones(adata.n_obs, dtype=bool)
    for key in keys:
        counts = adata.obs[key].value_counts()
        keep &= ~adata.obs[key].isin(counts.index[counts < SMALLEST_CLASS]).to_numpy()
    kept = adata[keep].copy()
    for key in keys:
        kept.obs[key] = kept.obs[key].astype("category").cat.remove_unused_categories()
    return kept


def path_of(file: str) -> Path:
    """Return where an h5ad file of this name is to be."""
    return Path(os.environ.get(DIRECTORY, ".")) / file
