"""What several genes for each class cost, and what they save when probes fail.

Panels are selected on training cells with at least so many genes that mark each class, and judged
on held-out cells, with all genes and with a tenth of them lost at random: by linear heads, in
cross-validation within these cells. Writes `redundancy.csv`.
"""

from __future__ import annotations

import argparse
import tempfile
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from bench.data import SOURCES, keep_classes, load
from bench.splits import split

import yoto_sc as yt

if TYPE_CHECKING:
    import anndata as ad

warnings.filterwarnings("ignore")
OUT = Path(__file__).parent / "results" / "redundancy.csv"
N_DRAWS = 10


def judged(
    train: ad.AnnData,
    test: ad.AnnData,
    key: str,
    redundancy: int,
    seed: int,
    asked: argparse.Namespace,
) -> list[dict]:
    """Select a panel, and judge it with all genes and without a tenth of them."""
    n_genes = asked.genes
    with tempfile.TemporaryDirectory() as folder:
        yt.tl.select(
            train,
            n_genes,
            categorical_keys=key,
            redundancy=redundancy or None,
            group_key=None,
            robust=None,
            max_steps=300,
            train_kwargs={"refit": False},
            random_state=seed,
            progress_bar=False,
            model_dir=Path(folder) / "model",
        )
        lost = [0, -(-n_genes // 10), n_genes // 4]
        table = yt.tl.probe_failure(
            test, Path(folder) / "model", n_lost=lost, n_draws=N_DRAWS, progress_bar=False
        )
    if asked.backups:
        return [with_backups(yt.Panel.from_adata(train), test, key, lost[1], seed)]
    return [
        {
            "redundancy": redundancy,
            "n_lost": n_lost,
            "macro_f1": round(draws["score"].mean(), 4),
            "worst_draw": round(draws["score"].min(), 4),
            "worst_f1": round(draws["worst_f1"].mean(), 4),
        }
        for n_lost, draws in table.groupby("n_lost")
    ]


def with_backups(panel: yt.Panel, test: ad.AnnData, key: str, n_lost: int, seed: int) -> dict:
    """Judge a panel without genes that are lost at random, and with as many backups for them."""
    rng, more = np.random.default_rng(seed), panel.backups(n_lost)
    lists = {"whole": panel.genes}
    for draw in range(N_DRAWS):
        lost = set(rng.choice(panel.genes, n_lost, replace=False))
        left = [gene for gene in panel if gene not in lost]
        lists |= {f"left {draw}": left, f"backed {draw}": left + more}
    found = yt.tl.compare(
        test,
        lists,
        categorical_keys=key,
        classifiers="logistic_regression",
        progress_bar=False,
    )
    found = found[found["metric"] == "macro_f1"]
    by = found.groupby(found["panel"].str.split().str[0])["value"].mean()
    return {"n_lost": n_lost, **{name: round(by[name], 4) for name in ("whole", "left", "backed")}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", nargs="+", default=["zheng17", "geact", "kang8"])
    parser.add_argument("--seed", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--genes", type=int, default=32)
    parser.add_argument("--redundancy", nargs="+", type=int, default=[0, 1, 2, 3])
    parser.add_argument("--backups", action="store_true", help="writes backups.csv")
    asked = parser.parse_args()
    rows = []
    for name in asked.data:
        key = SOURCES[name].questions[0].categorical[0]
        adata = keep_classes(load(name), [key])
        for seed in asked.seed:
            train, test = (adata[part] for part in split("cells", adata.obs[key], None, seed))
            for redundancy in [0] if asked.backups else asked.redundancy:
                started = time.process_time()
                try:
                    found = judged(train.copy(), test.copy(), key, redundancy, seed, asked)
                except ValueError as error:
                    found = [{"redundancy": redundancy, "refused": str(error)[:120]}]
                rows += [{"data": name, "seed": seed, **row} for row in found]
                print(found, round(time.process_time() - started), "CPU s", flush=True)
    out = OUT.with_stem("backups") if asked.backups else OUT
    pd.DataFrame(rows).to_csv(out, index=False)


if __name__ == "__main__":
    main()
