"""Pairs of assays: panels are chosen and learned on one, cells of the other are labelled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import anndata as ad
import numpy as np
import pandas as pd
from scipy import sparse

from bench.data import SMALLEST_CLASS, path_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

KEY = "label"
KINDS = ("chemistry", "stimulation", "sorted", "plates", "control")


@dataclass(frozen=True)
class Pair:
    """Two assays with labels brought together, on their common genes.

    Parameters
    ----------
    name
        Reference and query.
    kind
        One of `KINDS`; of a control, both are of one assay.
    reference, query
        Counts, with labels in ``obs["label"]``. Classes of fewer than eight cells on either side
        are not in the query.
    """

    name: str
    kind: str
    reference: ad.AnnData
    query: ad.AnnData


def pairs() -> Iterator[Pair]:
    """Yield all pairs, in both directions."""
    pbmc = _read("pbmc3tech1200.h5ad")
    techs = {
        t: _labelled(pbmc[(pbmc.obs["tech"] == t).to_numpy()]) for t in pbmc.obs.tech.unique()
    }
    yield from _directions("chemistry", techs)
    kang = _read("kang18_stim1556.h5ad")
    sides = {
        c: _labelled(kang[(kang.obs["condition"] == c).to_numpy()])
        for c in kang.obs["condition"].cat.categories
    }
    yield from _directions("stimulation", sides)
    sorted_ = _read("zheng17_sorted.h5ad")
    yield from _directions(
        "sorted",
        {
            "sorted": _labelled(sorted_, "sorted_type", _SORTED),
            "ctrl": _labelled(kang[(kang.obs["condition"] == "ctrl").to_numpy()], rename=_CTRL),
        },
    )
    geact = _read("geact_fetal7.h5ad")
    blood = _labelled(geact, rename=_PLATES)
    blood = blood[blood.obs[KEY].isin(["B", "T", "Mono", "NK"]).to_numpy()].copy()
    coarse = {**_SORTED, **dict.fromkeys(("CD4TCM", "CD4TN", "CD4Treg", "CD8TN"), "T")}
    yield from _directions(
        "plates", {"sorted": _labelled(sorted_, "sorted_type", coarse), "plates": blood}
    )
    by_plate = geact.obs.groupby("sampling_site", observed=True)["plate"]
    even = {plate for _, plates in by_plate for plate in sorted(plates.unique())[::2]}
    half = geact.obs["plate"].isin(even).to_numpy()
    yield from _directions(
        "control", {"geact A": _labelled(geact[half]), "geact B": _labelled(geact[~half])}
    )
    donors = _read("kang18_8donors.h5ad")
    half = donors.obs["donor"].isin(sorted(donors.obs["donor"].unique())[::2]).to_numpy()
    yield from _directions(
        "control", {"donors A": _labelled(donors[half]), "donors B": _labelled(donors[~half])}
    )


_SORTED = {
    **dict.fromkeys(("CD4TCM", "CD4TN", "CD4Treg"), "CD4"),
    "CD8TN": "CD8",
    "Monocyte": "Mono",
}
_CTRL = {
    "CD4 T cells": "CD4",
    "CD8 T cells": "CD8",
    "B cells": "B",
    "NK cells": "NK",
    "CD14+ Monocytes": "Mono",
    "FCGR3A+ Monocytes": "Mono",
}
_PLATES = {
    **dict.fromkeys(("B-Immature", "B-Mature", "B-Prol"), "B"),
    **dict.fromkeys(("T", "T-CACNA1A", "T-DP", "T-Prol"), "T"),
    "DC/Macro": "Mono",
    "NKT": "NK",
}


def _read(file: str) -> ad.AnnData:
    adata = ad.read_h5ad(path_of(file))
    counts = sparse.csr_matrix(adata.X, dtype=np.float32)
    return ad.AnnData(counts, obs=adata.obs.copy(), var=adata.var[[]].copy())


def _labelled(
    adata: ad.AnnData, key: str = "cell_type", rename: Mapping[str, str] | None = None
) -> ad.AnnData:
    """Return a copy with labels alone, called by other names where there are some."""
    labels = adata.obs[key].astype(object).replace(dict(rename or {}))
    obs = pd.DataFrame({KEY: labels}, index=adata.obs_names)
    return ad.AnnData(adata.X.copy(), obs=obs, var=adata.var)


def _directions(kind: str, assays: Mapping[str, ad.AnnData]) -> Iterator[Pair]:
    for one, reference in assays.items():
        for other, query in assays.items():
            if one == other:
                continue
            genes = reference.var_names.intersection(query.var_names)
            left = reference[reference.obs[KEY].notna().to_numpy(), genes].copy()
            counts = (left.obs[KEY].value_counts(), query.obs[KEY].value_counts())
            common = [
                c for c in counts[0].index if min(n.get(c, 0) for n in counts) >= SMALLEST_CLASS
            ]
            right = query[query.obs[KEY].isin(common).to_numpy(), genes].copy()
            for part in (left, right):
                part.obs[KEY] = part.obs[KEY].astype("category")
            yield Pair(f"{one} to {other}", kind, left, right)
