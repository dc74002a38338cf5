"""Turn the results of `run.py` into a summary, a page of tables and a figure."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import pandas as pd
from bench.figure import draw
from bench.tables import page

HERE = Path(__file__).parent
PANEL = ["dataset", "tasks", "setting", "split", "method", "size"]


def read(paths: list[Path]) -> pd.DataFrame:
    """Return the rows of all files; of panels that were run more than once, the last."""
    table = pd.concat([pd.read_csv(path, dtype={"note": str}) for path in paths])
    table = table.fillna({"task": "", "note": ""})
    return table.drop_duplicates([*PANEL, "task", "score"], keep="last")


def summarize(results: pd.DataFrame) -> pd.DataFrame:
    """Return the mean and standard deviation over splits, and their number."""
    keys = ["dataset", "tasks", "setting", "method", "size", "task", "score"]
    scored = results[results["score"] != "failed"]
    table = scored.groupby(keys, sort=False)["value"].agg(["mean", "std", "count"])
    return table.rename(columns={"std": "sd", "count": "n_splits"}).reset_index()


def main() -> int:
    """Write; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", nargs="*", type=Path, default=[HERE / "results/results.csv"])
    parser.add_argument("--ablation", type=Path, default=HERE / "results/ablation.csv")
    parser.add_argument("--summary", type=Path, default=HERE / "results/summary.csv")
    parser.add_argument("--docs", type=Path, default=HERE.parent / "docs")
    args = parser.parse_args()
    results = read(args.results)
    summary = summarize(results)
    summary.to_csv(args.summary, index=False, float_format="%.4g")
    (args.docs / "benchmark_table.md").write_text(page(results, summary, read([args.ablation])))
    (args.docs / "_static").mkdir(exist_ok=True)
    draw(summary, args.docs / "_static/benchmark.png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
