"""Learning from some of very many cells: what it costs, and what a stratified choice gains.

Panels from all cells, from a bounded number of them, and from as many drawn uniformly, or for
diversity within the classes, are judged on the same held-out cells, three splits. The data are
planted cells of a store of `large.py`, and donors of blood whose cells are repeated with resampled
counts.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import scipy.sparse as sp
from bench.data import path_of
from large import opened
from sklearn.metrics import accuracy_score, f1_score, recall_score

import yoto_sc as yt
from yoto_sc.judge import _splits
from yoto_sc.model import _model

OUT = Path(__file__).parent / "results" / "bound.csv"
RARE = 1e-3
WAYS = {
    "all": (None, 500),
    "100,000": (100_000, 500),
    "100,000 uniform": (100_000, 0),
    "100,000 diverse": (100_000, 500),
    "20,000": (20_000, 500),
    "20,000 uniform": (20_000, 0),
}
"""Bound, and cells of a class that are sure to be taken."""


def blood(n_obs: int) -> ad.AnnData:
    """Repeat the cells of eight donors, each time with counts drawn anew around those seen."""
    adata, rng = ad.read_h5ad(path_of("kang18_8donors.h5ad")), np.random.default_rng(0)
    repeats, left = divmod(n_obs, adata.n_obs)
    blocks, rows = [], []
    for number in range(repeats + 1):
        cells = np.arange(adata.n_obs) if number < repeats else np.arange(left)
        block = sp.csr_matrix(adata.X[cells]).astype(np.float32)
        block.data = rng.poisson(block.data).astype(np.float32)
        block.eliminate_zeros()
        blocks.append(block)
        rows.append(cells)
    obs = adata.obs.iloc[np.concatenate(rows)].reset_index(drop=True)
    obs.index = [f"c{number}" for number in range(len(obs))]
    return ad.AnnData(sp.vstack(blocks, format="csr"), obs=obs, var=adata.var)


class Diverse:
    """Draws random numbers, but cells far from the middle of their class first.

    Half of a cell's weight is the same for all, and half goes by its squared distance to the mean
    of its class, as in lightweight coresets (Bachem et al., 2018, KDD).
    """

    def __init__(self, rng: np.random.Generator, weights: np.ndarray) -> None:
        self.rng, self.weights = rng, weights
        self.choice = rng.choice

    def permutation(self, cells: np.ndarray) -> np.ndarray:
        self.rng.permutation(cells)  # so that what is drawn later is the same
        waits = np.random.default_rng(0).exponential(size=len(cells)) / self.weights[cells]
        return cells[np.argsort(waits)]


def distances(adata: ad.AnnData) -> np.ndarray:
    """Return the weights of :class:`Diverse`, of log expression; ``(n_obs,)``, mean 1."""
    values, classes = sp.csr_matrix(adata.X, dtype=np.float32).log1p(), adata.obs["cell_type"]
    squares = np.asarray(values.power(2).sum(axis=1)).ravel()
    found = np.empty(adata.n_obs)
    for name in classes.unique():
        cells = np.flatnonzero(classes == name)
        mean = np.asarray(values[cells].mean(axis=0)).ravel()
        distance = squares[cells] - 2 * (values[cells] @ mean) + mean @ mean
        found[cells] = 0.5 + 0.5 * distance / distance.mean()
    return found


def held_out(adata: ad.AnnData, way: str, seed: int) -> pd.DataFrame:
    """Select 32 genes one way, and return what is told of the held-out cells."""
    most, _splits._SURE_CELLS = WAYS[way]
    weights = distances(adata) if way.endswith("diverse") else None

    def bounded(split, tasks, labels, max_cells, rng):
        rng = rng if weights is None else Diverse(rng, weights)
        return _splits.bounded(split, tasks, labels, max_cells, rng)

    _model.bounded = bounded
    yt.tl.select(
        adata,
        32,
        categorical_keys="cell_type",
        group_key=None,
        max_cells=most,
        robust=None,
        train_kwargs={"refit": False},
        random_state=seed,
        progress_bar=False,
    )
    return pd.DataFrame(
        {
            "observed": adata.obs["cell_type"].astype(str),
            "told": adata.obs["yoto_cell_type"].astype(str),
        }
    ).loc[adata.uns["yoto"]["held_out"].index]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", choices=["planted", "blood"], required=True)
    parser.add_argument("--cells", type=int, default=1_000_000)
    parser.add_argument("--stores", type=Path, help="where stores of large.py are")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    asked = parser.parse_args()
    if asked.data == "planted":
        adata = opened(asked.stores / f"cells_{asked.cells}.zarr").to_memory()
    else:
        adata = blood(asked.cells)
    share = adata.obs["cell_type"].value_counts(normalize=True)
    rare = list(share.index[share < RARE].astype(str))
    rows = []
    for seed in range(asked.seeds):
        tables = {}
        for way in asked.ways:
            started = time.process_time()
            tables[way] = held_out(adata, way, seed)
            print(way, seed, round(time.process_time() - started), "CPU s", flush=True)
        cells = sorted(set.intersection(*(set(table.index) for table in tables.values())))
        for way, table in tables.items():
            observed, told = table.loc[cells, "observed"], table.loc[cells, "told"]
            recall = recall_score(observed, told, labels=rare, average=None, zero_division=np.nan)
            rows.append(
                {
                    "data": f"{asked.data}_{asked.cells}",
                    "way": way,
                    "seed": seed,
                    "n_judged": len(cells),
                    "macro_f1": round(f1_score(observed, told, average="macro"), 4),
                    "accuracy": round(accuracy_score(observed, told), 4),
                    "recall_rare": round(float(np.nanmean(recall)), 4) if rare else np.nan,
                }
            )
            print(rows[-1], flush=True)
    before = pd.read_csv(OUT) if OUT.exists() else pd.DataFrame()
    table = pd.concat([before, pd.DataFrame(rows)], ignore_index=True)
    table.drop_duplicates(["data", "way", "seed"], keep="last").to_csv(OUT, index=False)


if __name__ == "__main__":
    main()
