"""Whether substitutes of classical markers mark the same class, and are always the same ones.

Markers of blood cells are put into panels, one of each class at a time, and replaced. Counted are
the other classical markers of the class among the first ten substitutes, and how often the first
one comes first again when the cells are drawn anew. So it is with planted genes, whose class is
known.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import anndata as ad
import numpy as np
import pandas as pd
from bench.data import path_of
from scipy import sparse

import yoto_sc as yt

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

HERE = Path(__file__).parent
N_GENES, N_PLANTED, N_FIRST = 32, 10, 10
"""Size of the panels, that of planted genes, and number of substitutes."""
N_DRAWS, SHARE = 5, 0.8
"""Cells are drawn so many times, so large a share of them, without replacement."""
LABEL = "class"
MARKERS = {
    "T": {
        "CD3D": "ENSG00000167286",
        "CD3E": "ENSG00000198851",
        "CD3G": "ENSG00000160654",
        "CD2": "ENSG00000116824",
        "TRAC": "ENSG00000277734",
        "IL7R": "ENSG00000168685",
    },
    "B": {
        "CD79A": "ENSG00000105369",
        "CD79B": "ENSG00000007312",
        "MS4A1": "ENSG00000156738",
        "CD19": "ENSG00000177455",
        "BANK1": "ENSG00000153064",
    },
    "NK": {
        "NKG7": "ENSG00000105374",
        "GNLY": "ENSG00000115523",
        "KLRD1": "ENSG00000134539",
        "KLRF1": "ENSG00000150045",
        "PRF1": "ENSG00000180644",
        "GZMB": "ENSG00000100453",
    },
    "monocytes": {
        "LYZ": "ENSG00000090382",
        "CD14": "ENSG00000170458",
        "S100A8": "ENSG00000143546",
        "S100A9": "ENSG00000163220",
        "FCN1": "ENSG00000085265",
        "VCAN": "ENSG00000038427",
    },
    "CD16 monocytes": {"FCGR3A": "ENSG00000203747", "MS4A7": "ENSG00000166927"},
    "dendritic cells": {
        "FCER1A": "ENSG00000179639",
        "CD1C": "ENSG00000158481",
        "CLEC10A": "ENSG00000132514",
    },
    "platelets": {
        "PPBP": "ENSG00000163736",
        "PF4": "ENSG00000163737",
        "GP9": "ENSG00000169704",
        "ITGA2B": "ENSG00000005961",
    },
}
"""Symbols and Ensembl identifiers. Of the classes and their markers in common use, those that are
named for human blood by Zheng et al., Nat Commun 8:14049 (2017), Villani et al., Science
356:eaah4573 (2017), Franzén et al. (PanglaoDB), Database 2019:baz046, and Domínguez Conde et al.,
Science 376:eabl5197 (2022). CD74 is none of them: dendritic cells and monocytes have it, too."""


class Source(NamedTuple):
    """One data set, its label, and those of the classes that are in it."""

    file: str
    label: str
    classes: Sequence[str]


ALL = ("T", "B", "NK", "monocytes", "CD16 monocytes")
SOURCES = {
    "kang8": Source("kang18_8donors.h5ad", "cell_type", (*ALL, "dendritic cells", "platelets")),
    "zheng17": Source("zheng17_sorted.h5ad", "sorted_type", ALL[:4]),
    "pbmc3tech": Source("pbmc3tech1200.h5ad", "cell_type", (*ALL, "dendritic cells", "platelets")),
}


def load(name: str) -> tuple[ad.AnnData, dict[str, list[str]]]:
    """Return cells with their labels, and the markers of each class that are among the genes."""
    if name == "planted":
        return planted()
    source = SOURCES[name]
    read = ad.read_h5ad(path_of(source.file))
    symbols = {number: gene for of_class in MARKERS.values() for gene, number in of_class.items()}
    adata = ad.AnnData(
        sparse.csr_matrix(read.X, dtype=np.float32),
        obs=pd.DataFrame({LABEL: read.obs[source.label].astype("category")}),
        var=pd.DataFrame(index=[symbols.get(gene, gene) for gene in read.var_names]),
    )
    markers = {name: [*MARKERS[name]] for name in source.classes}
    return adata, {
        name: [g for g in genes if g in adata.var_names] for name, genes in markers.items()
    }


def planted() -> tuple[ad.AnnData, dict[str, list[str]]]:
    """Return planted cells; markers of a class are the informative genes that it has most of."""
    adata = yt.datasets.planted(
        2000, 1000, n_informative=25, n_redundant=25, n_classes=(5,), missing=0.0
    )
    adata.obs[LABEL] = adata.obs["task_0"]
    genes = adata.var_names[adata.var["informative"]]
    means = pd.DataFrame(adata[:, genes].X.toarray(), columns=genes)
    classes = means.groupby(adata.obs[LABEL].to_numpy()).mean().idxmax()
    return adata, {str(name): list(group.index) for name, group in classes.groupby(classes)}


def rounds(markers: Mapping[str, list[str]]) -> Iterator[dict[str, str]]:
    """Yield one marker of each class at a time, until all have had their turn."""
    several = {name: genes for name, genes in markers.items() if len(genes) > 1}
    for turn in range(max(map(len, several.values()))):
        yield {name: genes[turn] for name, genes in several.items() if turn < len(genes)}


def judged(
    adata: ad.AnnData, markers: Mapping[str, list[str]], chosen: Mapping[str, str]
) -> Iterator[dict[str, object]]:
    """Select a panel with the chosen markers, and replace them."""
    yt.tl.select(
        adata,
        N_PLANTED if "planted" in adata.uns else N_GENES,
        categorical_keys=LABEL,
        include=list(chosen.values()),
        robust=None,
        group_key=None,
        max_steps=100,
        train_kwargs={"refit": False},
        progress_bar=False,
    )
    panel = set(yt.Panel.from_adata(adata).genes)
    seconds = time.process_time()
    table = yt.tl.substitutes(adata, genes=list(chosen.values()), n=N_FIRST)
    seconds = time.process_time() - seconds
    first: dict[str, Counter[str]] = {gene: Counter() for gene in chosen.values()}
    for seed in range(N_DRAWS):
        rng = np.random.default_rng(seed)
        cells = np.sort(rng.permutation(adata.n_obs)[: int(SHARE * adata.n_obs)])
        drawn = yt.tl.substitutes(
            adata[cells].copy(), genes=list(chosen.values()), n=1, random_state=seed
        )
        for gene, substitute in zip(drawn["gene"], drawn["substitute"], strict=True):
            first[gene][substitute] += 1
    for name, gene in chosen.items():
        rows = table[table["gene"] == gene]
        others = {*markers[name]} - panel
        yield {
            "class": name,
            "gene": gene,
            "role_classes": rows["role_classes"].iloc[0],
            "verdict": rows["verdict"].iloc[0],
            "n_others": len(others),
            "n_found": len(others & {*rows["substitute"]}),
            "share_first": first[gene].most_common(1)[0][1] / N_DRAWS,
            "first_loss": round(rows["role_loss"].iloc[0], 4),
            "first_loss_se": round(rows["role_loss_se"].iloc[0], 4),
            "seconds": round(seconds / len(chosen), 2),
            "substitutes": " ".join(rows["substitute"]),
        }


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """Return, for each data set, how many markers reach what."""
    rows = {}
    for name, of_data in table.groupby("data", sort=False):
        counted = of_data[of_data["n_others"] > 0]
        share = counted["n_found"] / counted["n_others"]
        rows[name] = {
            "markers": len(of_data),
            "with others": len(counted),
            "half of them among the first ten": int((share >= 0.5).sum()),
            "mean share": round(share.mean(), 2),
            "first one in 3 of 5 draws": int((of_data["share_first"] >= 0.6).sum()),
            "mean share of draws": round(of_data["share_first"].mean(), 2),
        }
    return pd.DataFrame(rows).T


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what is asked for, and write it beside what the file holds of other data sets."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", nargs="+", choices=[*SOURCES, "planted"])
    parser.add_argument("--out", type=Path, default=HERE / "results" / "substitutes.csv")
    options = parser.parse_args(arguments)
    warnings.filterwarnings("ignore")
    for name in options.data or [*SOURCES, "planted"]:
        if name in SOURCES and not path_of(SOURCES[name].file).exists():
            print(f"{SOURCES[name].file} is not where YOTO_BENCHMARK_DATA says", file=sys.stderr)
            continue
        adata, markers = load(name)
        found = [
            {"data": name, **row}
            for chosen in rounds(markers)
            for row in judged(adata, markers, chosen)
        ]
        table = pd.DataFrame(found)
        if options.out.exists():
            before = pd.read_csv(options.out)
            table = pd.concat([before[before["data"] != name], table])
        table.to_csv(options.out, index=False)
    print(summary(pd.read_csv(options.out)).to_string())


if __name__ == "__main__":
    main()
