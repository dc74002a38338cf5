"""Peak memory of `tl.select` on 20,000 cells x 20,000 genes with 5 % non-zeros.

Prints the resident memory with the data loaded and at its peak, in GB, and fails above the limit.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time

import numpy as np
import pandas as pd
import scipy.sparse as sp
from anndata import AnnData

import yoto_sc as yt

LIMIT_GB = 3.0


def make_data(n_obs: int, n_vars: int, density: float) -> AnnData:
    """Return random counts in CSR with 20 classes, each with 10 genes of its own."""
    rng = np.random.default_rng(0)
    n_classes, n_markers = 20, 10
    classes = rng.integers(n_classes, size=n_obs)
    per_cell = int(density * n_vars)
    columns = np.concatenate(
        [np.sort(rng.choice(n_vars, per_cell, replace=False)) for _ in range(n_obs)]
    ).astype(np.int32)
    counts = (1 + rng.poisson(1.0, size=len(columns))).astype(np.float32)
    own = columns // n_markers == np.repeat(classes, per_cell)
    counts[own] += 5
    indptr = np.arange(0, len(columns) + 1, per_cell, dtype=np.int32)
    matrix = sp.csr_matrix((counts, columns, indptr), shape=(n_obs, n_vars))
    obs = pd.DataFrame(
        {"cell_type": pd.Categorical([f"type {c}" for c in classes])},
        index=[f"cell_{i}" for i in range(n_obs)],
    )
    return AnnData(matrix, obs=obs, var=pd.DataFrame(index=[f"gene_{j}" for j in range(n_vars)]))


def peak_gb() -> float:
    """Return the peak resident memory of this process so far, in GB (Linux counts in KiB)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def main() -> int:
    """Measure; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n-obs", type=int, default=20_000)
    parser.add_argument("--n-vars", type=int, default=20_000)
    parser.add_argument("--density", type=float, default=0.05)
    args = parser.parse_args()
    adata = make_data(args.n_obs, args.n_vars, args.density)
    before = peak_gb()
    start = time.perf_counter()
    yt.tl.select(adata, 32, categorical_keys="cell_type", progress_bar=False)
    seconds = time.perf_counter() - start
    print(f"shape                {adata.shape}, {adata.X.nnz / np.prod(adata.shape):.1%} non-zero")
    print(f"peak before select   {before:.2f} GB")
    print(f"peak after select    {peak_gb():.2f} GB (limit {LIMIT_GB} GB)")
    print(f"time, imports included {seconds:.1f} s")
    return int(peak_gb() > LIMIT_GB)


if __name__ == "__main__":
    sys.exit(main())
