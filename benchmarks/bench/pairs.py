"""Pairs of assays: a reference to select and train on, and a query to label.

Genes are the common ones, by name: all files but `kang8`, which is paired with itself alone, have
symbols.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import permutations
from typing import TYPE_CHECKING

import anndata as ad
import numpy as np
import pandas as pd
from scipy import sparse

from bench.data import SMALLEST_CLASS, path_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

PBMC, SORTED = "pbmc3tech1200.h5ad", "zheng17_sorted.h5ad"
STIM, PLATES, DONORS = "kang18_stim1556.h5ad", "geact_fetal7.h5ad", "kang18_8donors.h5ad"
KINDS = {
    "chemistry": "10x chemistries",
    "condition": "stimulated or not",
    "sorted": "sorted cells and a sample",
    "plates": "droplets and plates",
    "control": "no change of assay",
}
SHIFTS = ("condition", "sorted", "plates")
"""Kinds of the six pairs without chemistries."""

_SORTED_TO_SAMPLE = {
    **dict.fromkeys(("CD4TCM", "CD4TN", "CD4Treg"), "CD4"),
    "CD8TN": "CD8",
    "Monocyte": "Mono",
}
_SAMPLE = {
    "B cells": "B",
    "CD4 T cells": "CD4",
    "CD8 T cells": "CD8",
    **dict.fromkeys(("CD14+ Monocytes", "FCGR3A+ Monocytes"), "Mono"),
}
_SORTED_TO_PLATES = {
    **dict.fromkeys(("CD4TCM", "CD4TN", "CD4Treg", "CD8TN"), "T"),
    "Monocyte": "Mono",
}
_PLATES = {
    **dict.fromkeys(("Pro-B", "Pre-B", "B-Immature", "B-Mature", "B-Prol"), "B"),
    **dict.fromkeys(("Pre-T", "T-DP", "T-Prol", "T-CACNA1A"), "T"),
    "DC/Macro": "Mono",
    "NKT": "NK",
}
"""Labels brought together; those that are not named stay as they are."""
KEY = "label"


@dataclass(frozen=True)
class Pair:
    """Two assays of the same classes.

    Parameters
    ----------
    name
        From the reference to the query.
    kind
        What is between them, of `KINDS`.
    reference
        Counts of the common genes, and labels of all cells, those of classes too that the query
        lacks.
    query
        Counts of the same genes. Cells that are not judged have no label.
    key
        Column of ``obs`` with the labels.
    """

    name: str
    kind: str
    reference: ad.AnnData
    query: ad.AnnData
    key: str = KEY

    @property
    def judged(self) -> NDArray[np.bool_]:
        """Which cells of the query are of a class that both sides have."""
        return self.query.obs[self.key].notna().to_numpy()

    @property
    def classes(self) -> list[str]:
        """Classes that are judged."""
        return self.query.obs[self.key].cat.categories.tolist()


_SIDES = {
    **{tech: ("chemistry", PBMC, "cell_type", "tech", tech) for tech in ("3pv1", "3pv2", "5p")},
    "ctrl": ("condition", STIM, "cell_type", "condition", "ctrl"),
    "stim": ("condition", STIM, "cell_type", "condition", "stim"),
    "sorted": ("", SORTED, "sorted_type", None, None),
    "plates": ("", PLATES, "cell_type", None, None),
}
_BROUGHT_TOGETHER = {
    ("sorted", "ctrl"): ("sorted", _SORTED_TO_SAMPLE, _SAMPLE),
    ("sorted", "plates"): ("plates", _SORTED_TO_PLATES, _PLATES),
}


def _table() -> dict[str, tuple[str, str, str]]:
    """Return, for the name of each pair, its kind and both sides."""
    sides = [(a, b) for a, b in permutations(("3pv1", "3pv2", "5p"), 2)]
    sides += list(permutations(("ctrl", "stim")))
    table = {f"{a}-{b}": (_SIDES[a][0], a, b) for a, b in sides}
    for (a, b), (kind, *_) in _BROUGHT_TOGETHER.items():
        table |= {f"{x}-{y}": (kind, x, y) for x, y in ((a, b), (b, a))}
    for name in ("geact", "kang8"):
        table |= {f"{name} {x}-{y}": ("control", x, y) for x, y in ("ab", "ba")}
    return table


PAIRS = _table()
"""Kind, reference and query by the name of a pair."""


def pairs(names: Sequence[str] = tuple(PAIRS), *, whole: bool = False) -> Iterator[Pair]:
    """Make pairs, one after the other.

    Parameters
    ----------
    names
        Of `PAIRS`.
    whole
        Whether cells of other classes stay in the query, without a label. Else they are left out.
    """
    for name in names:
        kind, a, b = PAIRS[name]
        if kind == "control":
            reference, query = _halves(name.split()[0])
            if a == "b":
                reference, query = query, reference
        else:
            reference, query = _side(a, b), _side(b, a)
        yield _pair(name, kind, reference, query, whole)


def _pair(name: str, kind: str, reference: ad.AnnData, query: ad.AnnData, whole: bool) -> Pair:
    """Take the common genes, and the labels of classes with eight cells on both sides."""
    genes = reference.var_names[reference.var_names.isin(query.var_names)]
    reference, query = reference[:, genes].copy(), query[:, genes].copy()
    counts = pd.concat(
        [part.obs[KEY].value_counts() for part in (reference, query)], axis=1
    ).fillna(0)
    common = counts.index[(counts >= SMALLEST_CLASS).all(axis=1)]
    judged = query.obs[KEY].isin(common).to_numpy()
    query.obs[KEY] = query.obs[KEY].where(judged)
    if not whole:
        query = query[judged].copy()
    for part in (reference, query):
        part.obs[KEY] = part.obs[KEY].astype("category").cat.remove_unused_categories()
    return Pair(name, kind, reference, query)


def _side(name: str, other: str) -> ad.AnnData:
    """Return one side, its labels as the other one's."""
    _, file, key, column, value = _SIDES[name]
    adata = _read(file, key, column)
    if column is not None:
        adata = adata[(adata.obs[column] == value).to_numpy()]
    maps: Mapping[str, str] = {}
    for (a, b), (_, of_a, of_b) in _BROUGHT_TOGETHER.items():
        if {name, other} == {a, b}:
            maps = of_a if name == a else of_b
    return _labelled(adata, adata.obs[key].astype(str).replace(dict(maps)))


def _halves(name: str) -> tuple[ad.AnnData, ad.AnnData]:
    """Return alternate plates within each place of sampling, or alternate donors."""
    if name == "geact":
        adata = _read(PLATES, "cell_type", "sampling_site", "plate")
        groups = adata.obs[["sampling_site", "plate"]].astype(str).drop_duplicates()
        groups = groups.sort_values(["sampling_site", "plate"])
        turn = groups.groupby("sampling_site").cumcount().to_numpy() % 2
        first = adata.obs["plate"].isin(groups["plate"][turn == 0]).to_numpy()
    else:
        adata = _read(DONORS, "cell_type", "donor")
        donors = sorted(adata.obs["donor"].astype(str).unique())
        first = adata.obs["donor"].isin(donors[::2]).to_numpy()
    halves = (adata[first], adata[~first])
    one, two = (_labelled(half, half.obs["cell_type"].astype(str)) for half in halves)
    return one, two


def _labelled(adata: ad.AnnData, labels: pd.Series) -> ad.AnnData:
    """Copy counts, and these labels alone."""
    obs = pd.DataFrame({KEY: labels.astype("category")}, index=adata.obs_names)
    return ad.AnnData(adata.X.copy(), obs=obs, var=adata.var[[]].copy())


@cache
def _read(file: str, *columns: str | None) -> ad.AnnData:
    """Read counts in CSR; leave out cells without a label (the first of `columns`)."""
    adata = ad.read_h5ad(path_of(file))
    adata = adata[adata.obs[columns[0]].notna().to_numpy()]
    return ad.AnnData(
        sparse.csr_matrix(adata.X, dtype=np.float32),
        obs=adata.obs[[c for c in columns if c is not None]].copy(),
        var=adata.var[[]].copy(),
    )
