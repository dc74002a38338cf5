"""CPU time, time and memory of `tl.select`, in one version of the package or in two in turn.

Every selection runs in a process of its own, after the imports, the data and a tiny selection that
warms up: none of these is counted. CPU time is that of the process with all its threads. With
`--threads`, that many are allowed to OpenMP and BLAS; else the environment says nothing of them.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import os
import pstats
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple

import anndata as ad
import numpy as np
import pandas as pd
import scipy.sparse as sp
from bench.data import DIRECTORY, path_of

import yoto_sc as yt

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

N_GENES = 32
CASES: dict[str, dict[str, Any]] = {
    "pbmc": {"categorical_keys": ["bulk_labels", "phase"], "continuous_keys": "S_score"},
    "kang8": {"categorical_keys": "cell_type"},
    "large": {"categorical_keys": "cell_type"},
}
"""What is asked, by the name of the data."""
KANG8 = "kang18_8donors.h5ad"
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
MEASURES = {"cpu": "CPU s", "wall": "wall s", "peak": "peak GB", "above": "above data GB"}
_N_PROFILED = 40

_N_CLASSES, _N_MARKERS, _OWN, _OTHER = 20, 10, 0.5, 0.03
"""Classes, markers of each, and the share of cells in and outside the class that express one."""
_COUNTS = np.repeat([1, 2, 3, 5, 8], [150, 60, 26, 12, 8]).astype(np.float32)
_CHUNK = 10_000


def load(case: str, n_obs: int) -> ad.AnnData:
    """Return the data of a case; `n_obs` cells of it if it is made."""
    if case == "pbmc":
        return yt.datasets.pbmc68k()
    return ad.read_h5ad(path_of(KANG8)) if case == "kang8" else make_large(n_obs)


def make_large(n_obs: int, n_vars: int = 20_000, density: float = 0.05) -> ad.AnnData:
    """Return counts in CSR, 5 % of them not zero, with classes from 28 % to 0.06 % of the cells.

    They are made chunk by chunk into arrays of the final size: 300,000 cells take 2.4 GB, and
    little more on the way.
    """
    rng = np.random.default_rng(0)
    shares = np.geomspace(1, 0.002, _N_CLASSES)
    classes = rng.choice(_N_CLASSES, n_obs, p=shares / shares.sum())
    n_marking = _N_CLASSES * _N_MARKERS
    n_most = int(1.05 * n_obs * (density * (n_vars - n_marking) + 0.06 * n_marking)) + 100_000
    counts, columns = np.empty(n_most, np.float32), np.empty(n_most, np.int32)
    ends = np.zeros(n_obs + 1, np.int32)
    filled = 0
    for start in range(0, n_obs, _CHUNK):
        own = classes[start : start + _CHUNK, None] == np.arange(n_marking) // _N_MARKERS
        marking = rng.random(own.shape, np.float32) < np.where(own, _OWN, _OTHER)
        others = _scattered(len(own), n_vars - n_marking, density, rng)
        chunk = sp.hstack([sp.csr_matrix(marking), others], format="csr")
        stop = filled + chunk.nnz
        columns[filled:stop] = chunk.indices
        counts[filled:stop] = _COUNTS[rng.integers(len(_COUNTS), size=chunk.nnz, dtype=np.uint16)]
        ends[start + 1 : start + 1 + len(own)] = filled + chunk.indptr[1:]
        filled = stop
    matrix = sp.csr_matrix((counts[:filled], columns[:filled], ends), shape=(n_obs, n_vars))
    names = [f"type {c}" for c in range(_N_CLASSES)]
    obs = pd.DataFrame(
        {"cell_type": pd.Categorical.from_codes(classes, names)},
        index=[f"cell_{i}" for i in range(n_obs)],
    )
    return ad.AnnData(
        matrix, obs=obs, var=pd.DataFrame(index=[f"gene_{j}" for j in range(n_vars)])
    )


def _scattered(
    n_rows: int, n_columns: int, density: float, rng: np.random.Generator
) -> sp.csr_matrix:
    """Return entries that are there with the same chance each: the gaps between are geometric."""
    expected = n_rows * n_columns * density
    gaps = rng.geometric(density, size=int(expected + 8 * np.sqrt(expected)) + 10)
    places: NDArray[np.int64] = gaps.cumsum() - 1
    places = places[: np.searchsorted(places, n_rows * n_columns)]
    rows = np.searchsorted(places, np.arange(n_rows + 1) * n_columns)
    present = np.ones(len(places), dtype=bool)
    return sp.csr_matrix((present, places % n_columns, rows), shape=(n_rows, n_columns))


def select(adata: ad.AnnData, case: str) -> None:
    """Run what is measured."""
    yt.tl.select(adata, N_GENES, **CASES[case], progress_bar=False)


def measure(case: str, n_obs: int, profile: str | None) -> dict[str, float]:
    """Measure one selection in this process.

    Parameters
    ----------
    case
        Name of the case.
    n_obs
        Number of cells of ``large``.
    profile
        File to write a profile to, which itself costs time; `None`: no profile is made.
    """
    warnings.filterwarnings("ignore")
    adata = load(case, n_obs)
    tiny = yt.datasets.planted(200, 100, n_redundant=20)
    yt.tl.select(tiny, 8, categorical_keys="task_0", max_steps=20, progress_bar=False)
    before = _resident_gb()
    profiler = cProfile.Profile(time.process_time)
    wall, cpu = time.perf_counter(), time.process_time()
    if profile is None:
        select(adata, case)
    else:
        profiler.runcall(select, adata, case)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    if profile is not None:
        profiler.dump_stats(profile)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9  # Linux counts in KiB
    return {"cpu": cpu, "wall": wall, "peak": peak, "above": peak - before}


def _resident_gb() -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) * 1024 / 1e9


def in_fresh_process(
    source: Path, case: str, args: argparse.Namespace, profile: Path | None = None
) -> dict[str, float]:
    """Measure one selection with the package of a source tree."""
    environment = {name: value for name, value in os.environ.items() if name not in THREADS}
    if args.threads is not None:
        environment |= dict.fromkeys(THREADS, str(args.threads))
    environment["PYTHONPATH"] = str(source.resolve())
    command = [sys.executable, __file__, "--source", str(source), "--measure", case]
    command += ["--cells", str(args.cells)]
    command += [] if profile is None else ["--profile-to", str(profile)]
    child = subprocess.run(command, env=environment, capture_output=True, text=True)
    if child.returncode:
        raise SystemExit(f"{case} with {source} failed.\n{child.stdout}{child.stderr}")
    result: dict[str, float] = json.loads(child.stdout.splitlines()[-1])
    return result


def compare(case: str, args: argparse.Namespace) -> None:
    """Run the versions in turn; print each run, the medians, the smallest, and their ratios."""
    sources = {"source": args.source}
    if args.against:
        sources = {"new": args.source, "old": args.against}
    results: dict[str, list[dict[str, float]]] = {name: [] for name in sources}
    print(f"{case}", *(f"{title:>14}" for title in MEASURES.values()))
    for _ in range(args.runs):
        for name, source in sources.items():
            results[name].append(in_fresh_process(source, case, args))
            _print_row(name, [results[name][-1][key] for key in MEASURES], case)
    for title, summary in {"median": median, "fastest": min}.items():
        whole = {
            name: [summary(run[key] for run in runs) for key in MEASURES]
            for name, runs in results.items()
        }
        if args.runs > 1:
            for name, values in whole.items():
                _print_row(f"{name}, {title}", values, case)
        if args.against and (args.runs > 1 or title == "median"):
            ratios = [a / b for a, b in zip(whole["new"], whole["old"], strict=True)]
            _print_row("new / old", ratios, case)


def _print_row(name: str, values: Sequence[float], case: str) -> None:
    print(f"{'':{len(case)}}", *(f"{value:14.2f}" for value in values), f"  {name}", flush=True)


def print_profile(path: Path, named: Sequence[str]) -> None:
    """Print where the CPU seconds went, by function.

    Parameters
    ----------
    path
        A profile of `select`.
    named
        Functions of the package to print, each beside the last of them; none: the functions of the
        package that take most with all they call, then those of any package that take most
        themselves.
    """
    stats = pstats.Stats(str(path))
    functions = [
        Profiled(Path(file), function, *numbers)
        for (file, _, function), (_, *numbers, _) in stats.stats.items()
    ]
    ours = [f for f in functions if "yoto_sc" in f.file.parts]
    if named:
        rows = [f for name in named for f in ours if name in (f.function, f.name)]
        _print_functions(rows, stats.total_tt, per_last=True)
        return
    with_calls = sorted(ours, key=lambda f: -f.seconds)[:_N_PROFILED]
    _print_functions(with_calls, stats.total_tt)
    print("\nby what they take themselves, of any package")
    alone = sorted(functions, key=lambda f: -f.own_seconds)[: _N_PROFILED // 2]
    _print_functions(alone, stats.total_tt)


class Profiled(NamedTuple):
    """What a function took."""

    file: Path
    function: str
    calls: int
    own_seconds: float
    seconds: float

    @property
    def name(self) -> str:
        """File and function."""
        return f"{self.file.name}:{self.function}"


def _print_functions(rows: Sequence[Profiled], total: float, *, per_last: bool = False) -> None:
    heads = f"{'calls':>8} {'CPU s':>8} {'of all':>7} {'itself':>8} {'a call':>8}"
    print(heads + (f" {'/ last':>7}" if per_last else ""))
    for f in rows:
        each, last = f.seconds / f.calls, rows[-1].seconds / rows[-1].calls
        ratio = f" {each / last:7.2f}" if per_last and last else ""
        print(
            f"{f.calls:8} {f.seconds:8.2f} {f.seconds / total:7.1%} {f.own_seconds:8.2f} "
            f"{each:8.3f}{ratio}  {f.name}"
        )


def main() -> int:
    """Measure; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--source", type=Path, required=True, help="the folder with yoto_sc in it")
    parser.add_argument("--against", type=Path, help="that of another version, to compare with")
    parser.add_argument("--case", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--threads", type=int, help="for OpenMP and BLAS")
    parser.add_argument("--cells", type=int, default=300_000, help="of the case large")
    parser.add_argument(
        "--profile", action="store_true", help="print where the CPU time goes, for --source"
    )
    parser.add_argument(
        "--time-of",
        action="append",
        default=[],
        metavar="[FILE.py:]FUNCTION",
        help="profile, but print these functions of the package only, beside the last named",
    )
    parser.add_argument("--measure", choices=CASES, help=argparse.SUPPRESS)
    parser.add_argument("--profile-to", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        if not Path(yt.__file__).resolve().is_relative_to(args.source.resolve()):
            parser.error(f"yoto_sc was imported from {yt.__file__}")
        print(json.dumps(measure(args.measure, args.cells, args.profile_to)))
        return 0
    for case in args.case:
        if case == "kang8" and not path_of(KANG8).exists():
            print(f"{case}: left out, {KANG8} is not in the directory of {DIRECTORY}")
        elif args.profile or args.time_of:
            with tempfile.TemporaryDirectory() as directory:
                path = Path(directory) / "profile"
                found = in_fresh_process(args.source, case, args, path)
                print(f"{case}: {found['cpu']:.1f} CPU seconds, profiler included")
                print_profile(path, args.time_of)
        else:
            compare(case, args)
    return 0


if __name__ == "__main__":
    sys.exit(main())
