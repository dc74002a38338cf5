"""What a floor on detection costs and saves: panels with and without one. Writes `floor.csv`.

Panels are chosen with genes left out that are seen in too small a share of the cells,
of all of them or of the class where they are seen most. A logistic regression on each panel is
judged on held-out cells, with the counts as they are and with a tenth of them, by binomial
thinning of training and held-out cells alike.
"""

from __future__ import annotations

import argparse
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import scipy.sparse as sp
from bench.data import SOURCES, keep_classes, load
from bench.splits import split
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import yoto_sc as yt

if TYPE_CHECKING:
    import anndata as ad

warnings.filterwarnings("ignore")
OUT = Path(__file__).parent / "results" / "floor.csv"
FLOORS = (0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4)
SCOPES = ("cells", "class")
FEW_CELLS = 50
"""Of a class with fewer cells, a share is taken of so many."""
N_DRAWS = 3


def detection(adata: ad.AnnData, key: str, scope: str) -> np.ndarray:
    """Return the share of cells that express each gene, overall or where it is largest."""
    seen = sp.csr_matrix(adata.X > 0, dtype=np.float64)
    if scope == "cells":
        return np.asarray(seen.mean(axis=0)).ravel()
    codes = adata.obs[key].cat.codes.to_numpy()
    design = sp.csr_matrix((np.ones(len(codes)), (codes, np.arange(len(codes)))))
    n_cells = np.maximum(np.bincount(codes), FEW_CELLS)[:, None]
    return ((design @ seen).toarray() / n_cells).max(axis=0)


def chosen(
    adata: ad.AnnData, key: str, may: np.ndarray, seed: int, asked: argparse.Namespace
) -> list[str]:
    """Return the panel from the genes that may be in it."""
    own = adata.copy()
    own.var["may"] = may
    yt.tl.select(
        own,
        asked.genes,
        categorical_keys=key,
        candidates="may",
        group_key=None,
        robust=None,
        max_steps=asked.steps,
        train_kwargs={"refit": False},
        random_state=seed,
        progress_bar=False,
    )
    return yt.Panel.from_adata(own).genes


def thinned(x: sp.csr_matrix, rng: np.random.Generator) -> sp.csr_matrix:
    """Keep a tenth of the counts."""
    counts = rng.binomial(x.data.astype(np.int64), 0.1).astype(np.float64)
    return sp.csr_matrix((counts, x.indices, x.indptr), shape=x.shape)


def macro_f1(train: sp.csr_matrix, test: sp.csr_matrix, labels: tuple) -> float:
    """Judge a logistic regression on the logarithm of counts."""
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500, tol=1e-3))
    model.fit(np.log1p(train.toarray()), labels[0])
    return float(f1_score(labels[1], model.predict(np.log1p(test.toarray())), average="macro"))


def scores(train: ad.AnnData, test: ad.AnnData, key: str, genes: list[str], seed: int) -> dict:
    """Judge a panel on counts as they are, and on a tenth of them, mean over three draws."""
    parts = [sp.csr_matrix(part[:, genes].X) for part in (train, test)]
    labels = train.obs[key].to_numpy(), test.obs[key].to_numpy()
    rng = np.random.default_rng(seed)
    few = [
        macro_f1(thinned(parts[0], rng), thinned(parts[1], rng), labels) for _ in range(N_DRAWS)
    ]
    return {
        "macro_f1": round(macro_f1(*parts, labels), 4),
        "macro_f1_tenth": round(float(np.mean(few)), 4),
    }


def measured(name: str, seed: int, asked: argparse.Namespace) -> list[dict]:
    """Compare all floors on one split of one data set."""
    data, _, key = name.partition(":")
    key = key or SOURCES[data].questions[0].categorical[0]
    adata = keep_classes(load(data), [key])
    train, test = (adata[part].copy() for part in split("cells", adata.obs[key], None, seed))
    train.obs[key] = train.obs[key].cat.remove_unused_categories()
    rows, known = [], {}
    whole = np.ones(adata.n_vars, dtype=bool)
    free = chosen(train, key, whole, seed, asked)
    overall, by_class = (detection(train, key, scope) for scope in SCOPES)
    for scope, floor in [("none", 0.0), *((s, f) for s in SCOPES for f in FLOORS)]:
        started = time.process_time()
        share = by_class if scope == "class" else overall
        may = share >= floor
        positions = train.var_names.get_indexer(free)
        genes = free if may[positions].all() else chosen(train, key, may, seed, asked)
        panel = tuple(genes)
        if panel not in known:
            known[panel] = scores(train, test, key, genes, seed)
        at = train.var_names.get_indexer(genes)
        means = np.sort(np.asarray(train.X[:, at].mean(axis=0)).ravel())[::-1]
        rows.append(
            {
                "data": name,
                "scope": scope,
                "floor": floor,
                "n_genes": asked.genes,
                "seed": seed,
                "n_candidates": int(may.sum()),
                "n_left_out": int((~may[positions]).sum()),
                "least_detection": round(float(overall[at].min()), 4),
                "share_of_eight": round(float(means[:8].sum() / means.sum()), 3),
                **known[panel],
            }
        )
        print(rows[-1], round(time.process_time() - started), "CPU s", flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--data", nargs="+", default=["zheng17", "geact", "malaria"], help="or `name:column`"
    )
    parser.add_argument("--seed", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--genes", type=int, default=32)
    parser.add_argument("--steps", type=int, default=300)
    asked = parser.parse_args()
    for seed in asked.seed:
        for name in asked.data:
            before = pd.read_csv(OUT) if OUT.exists() else pd.DataFrame()
            rows = pd.DataFrame(measured(name, seed, asked))
            table = pd.concat([before, rows], ignore_index=True)
            table = table.drop_duplicates(
                ["data", "n_genes", "scope", "floor", "seed"], keep="last"
            )
            table.to_csv(OUT, index=False)


if __name__ == "__main__":
    main()
