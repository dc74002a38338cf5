"""Do panels for a platform meet its rules, and what does that cost? Writes `platforms.csv`.

Rules are checked with dense numpy. A logistic regression on each panel is judged on held-out
cells, beside that on a panel without a platform.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse as sp
from bench.data import SOURCES, keep_classes, load
from bench.splits import split
from floor import macro_f1

import yoto_sc as yt
from yoto_sc.rules import PLATFORMS, platform_rules

warnings.filterwarnings("ignore")
OUT = Path(__file__).parent / "results" / "platforms.csv"


def broken(x: np.ndarray, codes: np.ndarray, rules: dict) -> list[str]:
    """Name the rules that a panel breaks; `x` holds its counts, ``(n_obs, n_genes)``."""
    found, seen = [], x > 0
    groups = [codes == code for code in range(codes.max() + 1)]
    peak = [seen[group].sum(axis=0) / max(group.sum(), 50) for group in groups]
    if (np.max([*peak, seen.mean(axis=0)], axis=0) < rules.get("min_detection", 0)).any():
        found.append("min_detection")
    means = x.sum(axis=0) / np.maximum(seen.sum(axis=0), 1)
    if (means > rules.get("mean_range", (0, np.inf))[1]).any():
        found.append("mean_range")
    crowding = max(x[group].mean(axis=0).sum() for group in groups)
    if crowding > rules.get("max_crowding", np.inf) * (1 + 1e-6):
        found.append("max_crowding")
    return found


def measured(name: str, platform: str, seed: int, asked: argparse.Namespace) -> dict:
    """Select for a platform on the training cells of a split."""
    key = SOURCES[name].questions[0].categorical[0]
    adata = keep_classes(load(name), [key])
    train, test = (adata[part].copy() for part in split("cells", adata.obs[key], None, seed))
    row = {"data": name, "platform": platform, "n_genes": asked.genes, "seed": seed}
    try:
        yt.tl.select(
            train,
            asked.genes,
            categorical_keys=key,
            platform=None if platform == "none" else platform,
            group_key=None,
            robust=None,
            max_steps=asked.steps,
            train_kwargs={"refit": False},
            random_state=seed,
            progress_bar=False,
        )
    except ValueError as error:
        return {**row, "outcome": str(error)}
    panel = yt.Panel.from_adata(train)
    rules = {} if platform == "none" else platform_rules(platform)
    x = train[:, panel.genes].X.toarray()
    breaks = broken(x, train.obs[key].cat.codes.to_numpy(), rules)
    parts = [sp.csr_matrix(part[:, panel.genes].X) for part in (train, test)]
    labels = train.obs[key].to_numpy(), test.obs[key].to_numpy()
    return {
        **row,
        "outcome": f"breaks {breaks}" if breaks else "met",
        "crowding": round(panel.assay_summary["crowding"], 2),
        "share_of_eight": round(panel.assay_summary["share_of_heaviest"], 3),
        "macro_f1": round(macro_f1(*parts, labels), 4),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", nargs="+", default=["zheng17", "geact", "malaria"])
    parser.add_argument("--seed", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--genes", type=int, default=32)
    parser.add_argument("--steps", type=int, default=300)
    asked = parser.parse_args()
    for name in asked.data:
        for seed in asked.seed:
            rows = [measured(name, p, seed, asked) for p in ("none", *PLATFORMS)]
            print(pd.DataFrame(rows).to_string(), flush=True)
            before = pd.read_csv(OUT) if OUT.exists() else pd.DataFrame()
            table = pd.concat([before, pd.DataFrame(rows)], ignore_index=True)
            by = ["data", "platform", "n_genes", "seed"]
            table.drop_duplicates(by, keep="last").to_csv(OUT, index=False)


if __name__ == "__main__":
    main()
