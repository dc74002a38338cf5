"""What does a reference cost that is not in memory? Stores are written chunk by chunk.

Each measurement is a process of its own, so that peaks of memory are those of one thing.
"""

from __future__ import annotations

import argparse
import hashlib
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
N_VARS, N_CLASSES, N_RARE, CHUNK = 10_000, 30, 6, 20_000
RARE = 6e-4
OUT = Path(__file__).parent / "results" / "large.csv"
SETTINGS = ["read", "select", "predict", "sums", "one_thread", "cluster", "killed", "panel"]


def write_store(path: Path, n_obs: int) -> None:
    """Write counts of 30 classes, six of them with six in ten thousand of the cells each."""
    import anndata as ad
    import zarr
    from anndata.io import sparse_dataset, write_elem

    rng = np.random.default_rng(0)
    profiles = np.tile(np.exp(rng.normal(-4.2, 1.3, N_VARS)), (N_CLASSES, 1))
    for profile in profiles:
        markers = rng.choice(N_VARS, 60, replace=False)
        profile[markers] *= np.exp(rng.normal(2.0, 0.7, 60))
    cumulated = np.cumsum(profiles / profiles.sum(axis=1, keepdims=True), axis=1)
    common = rng.dirichlet(np.full(N_CLASSES - N_RARE, 3.0)) * (1 - N_RARE * RARE)
    labels = rng.choice(N_CLASSES, n_obs, p=np.r_[np.full(N_RARE, RARE), common])
    group = zarr.open_group(path, mode="w")
    for start in range(0, n_obs, CHUNK):
        some = labels[start : start + CHUNK]
        rows = np.repeat(np.arange(len(some)), rng.poisson(600, len(some)) + 50)
        drawn, genes = rng.random(len(rows)), np.empty(len(rows), dtype=np.int64)
        for label in np.unique(some):
            of_class = some[rows] == label
            genes[of_class] = np.searchsorted(cumulated[label], drawn[of_class])
        shape = (len(some), N_VARS)
        ones = np.ones(len(rows), dtype=np.float32)
        block = sp.csr_matrix((ones, (rows, np.minimum(genes, N_VARS - 1))), shape=shape)
        if start == 0:
            write_elem(group, "X", block)
        else:
            sparse_dataset(group["X"]).append(block)
    classes = pd.Categorical([f"type_{label:02d}" for label in labels])
    obs = pd.DataFrame({"cell_type": classes}, index=[f"c{i}" for i in range(n_obs)])
    empty = ad.AnnData(obs=obs, var=pd.DataFrame(index=[f"g{i}" for i in range(N_VARS)]))
    for name in ("obs", "var"):
        write_elem(group, name, getattr(empty, name))
    for name in ("uns", "obsm", "varm", "layers", "obsp", "varp"):
        write_elem(group, name, {})
    group.attrs.update({"encoding-type": "anndata", "encoding-version": "0.1.0"})


def opened(path: Path):
    """Open a store lazily, in chunks of 20,000 cells."""
    import zarr
    from anndata.experimental import read_elem_lazy, read_lazy

    adata = read_lazy(path)
    adata.X = read_elem_lazy(zarr.open_group(path, mode="r")["X"], chunks=(CHUNK, N_VARS))
    return adata


def digest(*arrays: np.ndarray) -> str:
    """Fingerprint arrays, bit for bit."""
    found = hashlib.sha256()
    for array in arrays:
        found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()[:12]


def sums_of(adata) -> str:
    """Sum over the classes, as screening does; return the fingerprint of the sums."""
    from yoto_sc.data import ChunkedExpression

    expression = ChunkedExpression("X", True, 1e9, adata.X)
    codes = adata.obs.to_memory()["cell_type"].cat.codes.to_numpy()
    cells = np.arange(len(codes))
    design = sp.csr_matrix((np.ones(len(codes)), (cells, codes)), shape=(len(codes), N_CLASSES))
    return digest(*expression.reduce(design, np.ones((len(codes), 1), dtype=bool)))


def on_cluster(adata, *, kill: bool) -> str:
    """Sum on two processes, of which one may be killed while it works."""
    import os
    import signal
    import threading

    from dask.distributed import Client, LocalCluster

    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        client.run(lambda: __import__("yoto_sc.data"))
        pid = next(iter(client.run(os.getpid).values()))
        if kill:
            threading.Timer(3, os.kill, (pid, signal.SIGKILL)).start()
        started = time.perf_counter()
        found = sums_of(adata)
        print(json.dumps({"inner_wall_s": round(time.perf_counter() - started, 1)}))
        return found


def measure(setting: str, path: Path) -> None:
    """Do one thing, and print what it took as JSON."""
    import torch  # noqa: F401 - an import of the package, as those below

    import yoto_sc as yt
    import yoto_sc.model

    adata, record = opened(path), {}
    base = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    wall, cpu = time.perf_counter(), time.process_time()
    if setting == "read":
        for number in range(adata.X.numblocks[0]):
            adata.X.blocks[number].compute(scheduler="synchronous")
    elif setting == "sums":
        record["digest"] = sums_of(adata)
    elif setting == "one_thread":
        import dask
        import zarr

        zarr.config.set({"threading.max_workers": 1})  # which decompresses on its own
        with dask.config.set(scheduler="synchronous"):
            record["digest"] = sums_of(adata)
    elif setting in ("cluster", "killed"):
        record["digest"] = on_cluster(adata, kill=setting == "killed")
    elif setting == "predict":
        yt.tl.predict(adata, path.with_suffix(".model"))
    else:
        if setting == "panel":  # the same from memory
            adata = adata.to_memory()
        directory = path.with_suffix(".model")
        save = None if directory.exists() else directory
        yt.tl.select(adata, 32, categorical_keys="cell_type", model_dir=save, progress_bar=False)
        record["macro_f1"] = round(float(adata.uns["yoto"]["metrics"]["macro_f1"].iloc[0]), 4)
        record["digest"] = digest(
            adata.var["yoto_score"].to_numpy(),
            adata.obs["yoto_cell_type_confidence"].to_numpy(),
            adata.uns["yoto"]["path"].score,
        )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    record |= {
        "cpu_s": round(time.process_time() - cpu, 1),
        "wall_s": round(time.perf_counter() - wall, 1),
        "peak_mb": round((peak - base) / 1e6),
    }
    print(json.dumps(record))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, nargs="+", default=[300_000, 1_000_000])
    parser.add_argument("--setting", nargs="+", choices=SETTINGS, default=SETTINGS)
    parser.add_argument("--stores", type=Path, required=True, help="where stores are, or go")
    parser.add_argument("--measure", choices=SETTINGS, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    rows = []
    for n_obs in asked.cells:
        path = asked.stores / f"cells_{n_obs}.zarr"
        if asked.measure:
            measure(asked.measure, path)
            return
        if not path.exists():
            write_store(path, n_obs)
        for setting in asked.setting:
            words = ["--cells", str(n_obs), "--stores", str(asked.stores), "--measure", setting]
            done = subprocess.run(
                [sys.executable, __file__, *words], capture_output=True, text=True, check=False
            )
            found = {"error": done.stderr.splitlines()[-1][:100]} if done.returncode else {}
            for line in done.stdout.splitlines():
                if line.startswith("{"):
                    found |= json.loads(line)
            rows.append({"n_cells": n_obs, "setting": setting, **found})
            print(rows[-1], flush=True)
    before = pd.read_csv(OUT) if OUT.exists() else pd.DataFrame()
    table = pd.concat([before, pd.DataFrame(rows)], ignore_index=True)
    table.drop_duplicates(["n_cells", "setting"], keep="last").to_csv(OUT, index=False)


if __name__ == "__main__":
    main()
