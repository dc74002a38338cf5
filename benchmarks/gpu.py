"""Time and memory of `tl.select` on a GPU, beside the CPU; without a GPU it says so, and ends.

Every selection runs in a process of its own, after the imports, the data and a tiny selection that
warms up: none of these is counted.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import torch
from cost import make_large

import yoto_sc as yt

OUT = Path(__file__).parent / "results" / "gpu.csv"
ACCELERATORS = ["gpu", "cpu"]


def measure(accelerator: str, n_obs: int, n_genes: int) -> dict[str, float | str]:
    """Measure one selection in this process."""
    asked = {"categorical_keys": "cell_type", "accelerator": accelerator, "progress_bar": False}
    adata, small = make_large(n_obs), make_large(500, 400)
    yt.tl.select(small, 8, max_steps=40, **asked)
    torch.cuda.reset_peak_memory_stats()
    wall, cpu = time.perf_counter(), time.process_time()
    yt.tl.select(adata, n_genes, **asked)
    return {
        "accelerator": accelerator,
        "device": torch.cuda.get_device_name() if accelerator == "gpu" else "CPU",
        "n_cells": n_obs,
        "n_genes": n_genes,
        "wall_s": round(time.perf_counter() - wall, 1),
        "cpu_s": round(time.process_time() - cpu, 1),
        "device_mb": round(torch.cuda.max_memory_allocated() / 1e6),
        "macro_f1": round(float(adata.uns["yoto"]["metrics"]["macro_f1"].iloc[0]), 4),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=100_000)
    parser.add_argument("--genes", type=int, nargs="+", default=[32, 256])
    parser.add_argument("--measure", choices=ACCELERATORS, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if not torch.cuda.is_available():
        print("There is no CUDA device here: nothing to measure.")
        return
    if asked.measure:
        print(json.dumps(measure(asked.measure, asked.cells, asked.genes[0])))
        return
    rows = []
    for n_genes in asked.genes:
        for accelerator in ACCELERATORS:
            words = [
                "--cells",
                str(asked.cells),
                "--genes",
                str(n_genes),
                "--measure",
                accelerator,
            ]
            done = subprocess.run(
                [sys.executable, __file__, *words], stdout=subprocess.PIPE, text=True, check=True
            )
            rows.append(json.loads(done.stdout.splitlines()[-1]))
            print(rows[-1], flush=True)
    pd.DataFrame(rows).to_csv(OUT, index=False)


if __name__ == "__main__":
    main()
