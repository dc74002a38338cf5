"""What do large panels and very many classes cost, and how good are they? Writes `wide.csv`.

Each measurement is a process of its own, so that CPU seconds and peaks of memory are those of one
selection. Cells are made: classes lie close together in groups, so that panels differ.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse as sp

warnings.filterwarnings("ignore")
OUT = Path(__file__).parent / "results" / "wide.csv"
SETTINGS = {  # cells, genes, classes, genes of the panel
    "panel_32": (6_000, 20_000, 30, 32),
    "panel_256": (6_000, 20_000, 30, 256),
    "panel_1000": (6_000, 20_000, 30, 1000),
    "panel_5000": (6_000, 20_000, 30, 5000),
    "classes_100": (50_000, 3_000, 100, 32),
    "classes_500": (50_000, 3_000, 500, 32),
    "classes_3000": (20_000, 3_000, 3_000, 32),
}
ASKED = ["panel_1000", "panel_5000", "classes_500", "classes_3000"]
PER_GROUP = 8
"""Classes that resemble each other."""


def make(n_obs: int, n_vars: int, n_classes: int, seed: int = 0):
    """Return counts of classes in groups: groups differ in 3 % of genes, classes in 80."""
    import anndata as ad

    rng = np.random.default_rng(seed)
    profile = np.exp(rng.normal(0, 1.2, n_vars))
    profile *= 5000 / profile.sum()
    n_groups = -(-n_classes // PER_GROUP)
    of_group = np.zeros((n_groups, n_vars), dtype=np.float32)
    for row in of_group:
        genes = rng.choice(n_vars, n_vars * 3 // 100, replace=False)
        row[genes] = rng.normal(0, 1.0, len(genes))
    codes = np.r_[np.repeat(np.arange(n_classes), 5), np.zeros(n_obs - 5 * n_classes, dtype=int)]
    codes[5 * n_classes :] = rng.choice(
        n_classes, n_obs - 5 * n_classes, p=rng.dirichlet(np.full(n_classes, 3.0))
    )
    rng.shuffle(codes)
    order = np.argsort(codes, kind="stable")
    blocks = []
    for code, n_cells in enumerate(np.bincount(codes, minlength=n_classes)):
        effect = of_group[code // PER_GROUP].copy()
        genes = rng.choice(n_vars, 80, replace=False)
        effect[genes] += rng.normal(0, 1.0, len(genes)).astype(np.float32)
        sizes = np.exp(rng.normal(0, 0.3, (n_cells, 1)))
        counts = rng.poisson(profile * np.exp(effect) * sizes)
        blocks.append(sp.csr_matrix(counts.astype(np.float32)))
    x = sp.vstack(blocks, format="csr")[np.argsort(order)]
    names = pd.Categorical([f"type_{code:04d}" for code in codes])
    obs = pd.DataFrame({"cell_type": names}, index=[f"c{i}" for i in range(n_obs)])
    return ad.AnnData(x, obs=obs, var=pd.DataFrame(index=[f"g{i}" for i in range(n_vars)]))


def measure(setting: str, seed: int) -> dict[str, float]:
    """Select once; return what it took, and the held-out macro-F1."""
    import torch  # noqa: F401 - an import of the package, as those below

    import yoto_sc as yt
    import yoto_sc.model

    *sizes, n_genes = SETTINGS[setting]
    adata = make(*sizes, seed=seed)
    base = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    wall, cpu = time.perf_counter(), time.process_time()
    yt.tl.select(
        adata, n_genes, categorical_keys="cell_type", random_state=seed, progress_bar=False
    )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    metrics = adata.uns["yoto"]["metrics"].iloc[0]
    path = adata.uns["yoto"]["path"]
    first = path[(path["n_genes"] == 64) & (path["predictor"] == "network")]["score"]
    return {
        "cpu_s": round(time.process_time() - cpu, 1),
        "wall_s": round(time.perf_counter() - wall, 1),
        "peak_mb": round((peak - base) / 1e6),
        "macro_f1": round(float(metrics["macro_f1"]), 4),
        "macro_f1_first_64": round(float(first.iloc[0]), 4) if len(first) else np.nan,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--setting", nargs="+", choices=SETTINGS, default=ASKED)
    parser.add_argument("--seed", type=int, nargs="+", default=[0])
    parser.add_argument("--baseline", help="a note on the version measured, such as `exact`")
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.measure:
        print(json.dumps(measure(asked.setting[0], asked.seed[0])))
        return
    rows = []
    for setting in asked.setting:
        for seed in asked.seed:
            words = ["--setting", setting, "--seed", str(seed), "--measure"]
            done = subprocess.run(
                [sys.executable, __file__, *words], capture_output=True, text=True, check=False
            )
            found = {"error": done.stderr[-300:]} if done.returncode else {}
            for line in done.stdout.splitlines():
                if line.startswith("{"):
                    found |= json.loads(line)
            note = asked.baseline or "this version"
            rows.append({"setting": setting, "version": note, "seed": seed, **found})
            print(rows[-1], flush=True)
    before = pd.read_csv(OUT) if OUT.exists() else pd.DataFrame()
    table = pd.concat([before, pd.DataFrame(rows)], ignore_index=True)
    table.drop_duplicates(["setting", "version", "seed"], keep="last").to_csv(OUT, index=False)


if __name__ == "__main__":
    main()
