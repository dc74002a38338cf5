"""What an adapter reads and writes, in the environment of its competitor.

The runner leaves ``train.h5ad`` (log-normalised expression in CSR; ``obs["label"]``;
``var["highly_variable"]``) and ``request.json`` in a folder, and reads ``result.json`` there.
"""

from __future__ import annotations

import gc
import json
import resource
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import anndata as ad

if TYPE_CHECKING:
    from collections.abc import Callable

_EVERY_SECONDS = 0.01


def serve(select: Callable[[ad.AnnData, int, int], list[str]]) -> None:
    """Answer the request in the folder that the command line names.

    Parameters
    ----------
    select
        From data, panel size and seed to genes, best first.
    """
    folder = Path(sys.argv[1])
    request = json.loads((folder / "request.json").read_text())
    adata = ad.read_h5ad(folder / "train.h5ad")
    done = threading.Event()
    before = anonymous_mb()
    peak = [before]

    def watch() -> None:
        while not done.wait(_EVERY_SECONDS):
            peak[0] = max(peak[0], anonymous_mb())

    watcher = threading.Thread(target=watch)
    watcher.start()
    start, cpu_start = time.perf_counter(), _cpu_seconds()
    try:
        genes = select(adata, request["k"], request["seed"])
    finally:
        done.set()
        watcher.join()
    result = {
        "genes": [str(gene) for gene in genes],
        "cost": {
            "seconds": time.perf_counter() - start,
            "cpu_seconds": _cpu_seconds() - cpu_start,
            "megabytes": peak[0] - before,
        },
    }
    (folder / "result.json").write_text(json.dumps(result))


def _cpu_seconds() -> float:
    """Return the CPU time of this process, and of those that it started and that have ended."""
    gc.collect()  # a pool that is closed, but not joined, ends when it is collected
    own, children = (
        resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


def anonymous_mb() -> float:
    """Return this process's resident memory that is not a mapped file, in MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) * 1024 / 1e6
