"""Whether another version selects, predicts and judges the same, bit for bit.

Runs a fixed list of selections and compares a digest of each part of what they write with the one
stored in `results/digests.json`. A part is a table, so that a difference says where it is.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import sys
import time
import warnings
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anndata as ad
import numpy as np
import pandas as pd
import scanpy as sc
from bench.data import DIRECTORY, path_of

import yoto_sc as yt

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    Part = dict[str, NDArray[Any]]

EXPECTED: dict[str, str] = {
    "*/path_ridge": "1,000 cells in place of 1,200, and 6 sizes in place of 10: the path took as "
    "long as a training on 20,000 cells",
    "*/ridge_error": "as path_ridge",
    "*/standard_error": "one set of bootstrap samples for all sizes, from a generator of its own; "
    "of groups where groups are held out",
    "*/without": "the training cells that are looked at come from a generator of their own",
    "*_thin/*": "counts are drawn from a generator of their own, so that batches hold the same "
    "cells with and without",
}
"""Differences that are meant: from a pattern of ``case/part`` (``"pbmc*/path_ridge"``) to why.

The digests are those of commit a120984. Where a fault was mended that changes results, the parts
that changed are named here, until the digests are stored anew.
"""
DIGESTS = Path(__file__).parent / "results" / "digests.json"
LIBRARIES = ("numpy", "scipy", "pandas", "scikit-learn", "torch", "scvi-tools", "lightning")
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_NA = "\x01missing"
"""Stands for missing text. No label is called that."""


@dataclass(frozen=True)
class Case:
    """One selection.

    Parameters
    ----------
    make
        Returns the data.
    n_genes
        Size of the panel.
    arguments
        Further arguments of ``tl.select``.
    file
        The h5ad file that is needed; `None`: none.
    """

    make: Callable[[], ad.AnnData]
    n_genes: int | str
    arguments: Mapping[str, Any]
    file: str | None = None


def of_file(file: str, label: str, n_genes: int) -> Case:
    """Return the selection for one label of a data set, all else by default."""
    return Case(
        lambda: ad.read_h5ad(path_of(file)), n_genes, {"categorical_keys": label}, file=file
    )


def normalised() -> ad.AnnData:
    """Return planted data as many users have them: normalised, in float64, and dense."""
    adata = yt.datasets.planted(800, 500, missing=0.1, random_state=1)
    sc.pp.normalize_total(adata, target_sum=1e4)
    sc.pp.log1p(adata)
    adata.X = adata.X.toarray().astype(np.float64)
    return adata


def in_a_layer() -> ad.AnnData:
    """Return planted data with the counts in a layer, and labels that say "unknown"."""
    adata = yt.datasets.planted(600, 400, missing=0.2, random_state=2)
    adata.layers["counts"] = adata.X.tocsc()
    adata.X = adata.X.multiply(0.5).tocsr()
    adata.obs["task_0"] = adata.obs["task_0"].cat.add_categories("unknown").fillna("unknown")
    return adata


_planted = partial(yt.datasets.planted, 2000, 1000, n_continuous=1)
_PLANTED = {"categorical_keys": ["task_0", "task_1"], "continuous_keys": "score_0"}

CASES = {
    "pbmc": Case(
        yt.datasets.pbmc68k,
        32,
        {"categorical_keys": ["bulk_labels", "phase"], "continuous_keys": "S_score"},
    ),
    "pbmc_auto": Case(yt.datasets.pbmc68k, "auto", {"categorical_keys": "bulk_labels"}),
    "pbmc_rules": Case(
        yt.datasets.pbmc68k,
        16,
        {
            "categorical_keys": "bulk_labels",
            "include": ["CD3D", "FCER1A"],
            "exclude": ["RP[SL]*"],
            "fraction_range": (0.05, 0.9),
            "max_crowding": 9,
        },
    ),
    "pbmc_split": Case(
        yt.datasets.pbmc68k, 32, {"categorical_keys": "bulk_labels", "split_key": "phase"}
    ),
    "pbmc_published": Case(
        yt.datasets.pbmc68k,
        16,
        {
            "categorical_keys": "bulk_labels",
            "max_steps": 400,
            "model_kwargs": {"relaxation": "plackett_luce"},
            "train_kwargs": {"plan_kwargs": {"selection_network": "encoder"}},
        },
    ),
    "normalised": Case(normalised, 16, {"categorical_keys": ["task_0", "task_1"]}),
    "layer": Case(
        in_a_layer,
        16,
        {"categorical_keys": ["task_0"], "layer": "counts", "unlabeled": "unknown"},
    ),
    "planted": Case(_planted, 32, _PLANTED),
    "planted_thin": Case(_planted, 32, {**_PLANTED, "robust": "thin", "group_key": None}),
    "kang8": of_file("kang18_8donors.h5ad", "cell_type", 32),
    "kang_stim": of_file("kang18_stim1556.h5ad", "cell_type_condition", 16),
    "malaria": of_file("malaria_pb.h5ad", "bulk_time", 32),
    "zheng17": of_file("zheng17_sorted.h5ad", "sorted_type", 32),
    "geact": of_file("geact_fetal7.h5ad", "cell_type", 32),
    "pbmc3tech": of_file("pbmc3tech1200.h5ad", "cell_type", 16),
}


def run(case: Case) -> dict[str, Part]:
    """Make the selection, and take apart what it wrote."""
    adata = case.make()
    columns = set(adata.obs.columns)
    yt.tl.select(adata, case.n_genes, **case.arguments, progress_bar=False)
    written = adata.obs[[column for column in adata.obs if column not in columns]]
    record = adata.uns["yoto"]
    metrics, path = record["metrics"], record["path"]
    of_groups = metrics.columns.str.startswith("group_")
    network, ridge = (path[path["predictor"] == name] for name in ("network", "ridge"))
    scores = ["n_genes", "task", "metric", "score"]
    parts = {
        "panel": {"genes": _plain(pd.Series(yt.Panel.from_adata(adata).genes, dtype=object))},
        "ranks": table(adata.var[["yoto_rank"]]),
        "score": table(adata.var[["yoto_score"]]),
        "predictions": table(written),
        "latent": {"X_yoto": np.asarray(adata.obsm["X_yoto"])},
        "tasks": table(record["tasks"]),
        "metrics": table(metrics.loc[:, ~of_groups]),
        "path_network": rows(network[scores]),
        "path_ridge": rows(ridge[scores]),
        "standard_error": rows(network[["standard_error"]]),
        "ridge_error": rows(ridge[["standard_error"]]),
        "history": table(record["history"]),
        "confusion": rows(record["confusion"]),
        "held_out": table(record["held_out"]),
        "attribution": table(record["attribution"]),
        "without": rows(record["without"]),
    }
    if of_groups.any():
        parts["group_metrics"] = table(metrics.loc[:, of_groups])
        parts["group_held_out"] = table(record["group_held_out"])
    return parts


def rows(frame: pd.DataFrame) -> Part:
    """Return the columns of a table whose index says nothing, as plain arrays."""
    return {str(name): _plain(column) for name, column in frame.items()}


def table(frame: pd.DataFrame) -> Part:
    """Return the index and the columns of a table, as plain arrays."""
    index = frame.index.to_series()
    index = index.astype(str) if pd.api.types.is_numeric_dtype(index) else index
    return {"": _plain(index), **rows(frame)}


def _plain(column: pd.Series) -> NDArray[Any]:
    """Return floats as they are, whole numbers as int64 and all else as text.

    How pandas stores a column does not count: text may be of any dtype, and whole numbers
    nullable (missing ones are the smallest number there is).
    """
    if isinstance(column.dtype, pd.CategoricalDtype):
        column = column.astype(object)
    if column.dtype == object:
        inferred = pd.api.types.infer_dtype(column, skipna=True)
        if inferred in ("integer", "floating", "mixed-integer-float", "boolean"):
            column = column.convert_dtypes()
    if pd.api.types.is_bool_dtype(column) or pd.api.types.is_integer_dtype(column):
        smallest = np.iinfo(np.int64).min
        return np.array([smallest if pd.isna(v) else int(v) for v in column], dtype=np.int64)
    if pd.api.types.is_float_dtype(column):
        values = column.to_numpy(dtype=getattr(column.dtype, "numpy_dtype", column.dtype))
        return np.where(np.isnan(values), values.dtype.type(np.nan), values)  # of several NaN one
    return np.array([_NA if pd.isna(value) else str(value) for value in column], dtype=str)


def digest(part: Part) -> str:
    """Return a digest of the names, types, shapes and bits of the arrays."""
    code = hashlib.sha256()
    for name, array in part.items():
        kind = "text" if array.dtype.kind == "U" else array.dtype.str
        code.update(f"{name}\0{kind}\0{array.shape}\0".encode())
        if kind == "text":
            code.update("\0".join(array.ravel().tolist()).encode())
        else:
            code.update(np.ascontiguousarray(array).tobytes())
    return code.hexdigest()[:16]


def dump(directory: Path, case: str, parts: Mapping[str, Part]) -> None:
    """Write the arrays of a case to a file."""
    directory.mkdir(parents=True, exist_ok=True)
    arrays = {f"{p}/{name}": array for p, part in parts.items() for name, array in part.items()}
    np.savez_compressed(directory / f"{case}.npz", **arrays)


def differences(directory: Path, case: str, part_name: str, part: Part) -> list[str]:
    """Return a line for each array of a part that is not as in the dump of another version."""
    path = directory / f"{case}.npz"
    if not path.exists():
        return [f"no {path.name} to compare with"]
    with np.load(path) as file:
        prefix = f"{part_name}/"
        before = {key.removeprefix(prefix): file[key] for key in file if key.startswith(prefix)}
    lines = [f"{name!r} is only {where}" for name, where in _unpaired(before, part)]
    if list(before) != list(part) and sorted(before) == sorted(part):
        lines.append("columns are in another order")
    for name in [name for name in part if name in before]:
        if line := _difference(before[name], part[name]):
            lines.append(f"{name or 'index'}: {line}")
    return lines


def _unpaired(before: Part, after: Part) -> list[tuple[str, str]]:
    gone = [(name, "in the dump") for name in before if name not in after]
    return gone + [(name, "here") for name in after if name not in before]


def _difference(before: NDArray[Any], after: NDArray[Any]) -> str:
    """Say how far two arrays are apart; empty if they are the same."""
    if before.shape != after.shape:
        return f"shape {before.shape} before, {after.shape} now"
    if before.dtype.kind != after.dtype.kind:
        return f"{before.dtype} before, {after.dtype} now"
    both_missing = (before != before) & (after != after)
    n_different = int(((before != after) & ~both_missing).sum())
    counted = f"{n_different} of {before.size} differ"
    if before.dtype.kind == "f":
        apart = np.abs(after.astype(np.float64) - before.astype(np.float64))
        one_missing = int((np.isnan(before) != np.isnan(after)).sum())
        largest = np.nanmax(apart) if np.isfinite(apart).any() else np.nan
        if before.dtype != after.dtype:
            counted = f"{before.dtype} before, {after.dtype} now; {counted}"
        elif not n_different and digest({"": before}) == digest({"": after}):
            return ""
        return f"{counted} (missing in one: {one_missing}), by at most {largest:.3g}"
    return counted if n_different else ""


def environment() -> dict[str, str]:
    """Return what the last bits depend on besides the package."""
    cpu = platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = [line.partition(":") for line in info.read_text().splitlines()]
        found = {name.strip(): value.strip() for name, _, value in reversed(lines)}
        wide = "with" if "avx512f" in found.get("flags", "").split() else "without"
        cpu = f"{found.get('model name', cpu)}, {wide} AVX-512"
    return {
        "cpu": cpu,
        "python": platform.python_version(),
        **{name: version(name) for name in LIBRARIES},
        **{name: os.environ.get(name, "not set") for name in THREADS},
    }


def verdicts(
    case: str, parts: Mapping[str, str], stored: Mapping[str, str] | None
) -> dict[str, str]:
    """Compare the digests of a case with the stored ones, part by part."""
    if stored is None:
        return dict.fromkeys(parts, "new")
    found = {}
    for part in [*parts, *(part for part in stored if part not in parts)]:
        same = parts.get(part) == stored.get(part)
        named = any(fnmatchcase(f"{case}/{part}", pattern) for pattern in EXPECTED)
        found[part] = "same" if same else "expected" if named else "DIFFERS"
    return found


def print_table(found: Mapping[str, Mapping[str, str]]) -> None:
    """Print parts in rows and cases in columns, which keeps lines short."""
    parts = list(dict.fromkeys(part for case in found.values() for part in case))
    wide = max(map(len, parts), default=0)
    widths = [max(len(case), len("expected")) for case in found]
    heads = [f"{case:>{w}}" for case, w in zip(found, widths, strict=True)]
    print("", " " * wide, *heads, sep="  ")
    for part in parts:
        cells = [f"{found[c].get(part, '-'):>{w}}" for c, w in zip(found, widths, strict=True)]
        print("", f"{part:<{wide}}", *cells, sep="  ")


def main() -> int:
    """Run and compare; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=CASES, metavar="CASE", default=list(CASES))
    parser.add_argument("--store", action="store_true", help="write the digests, not compare them")
    parser.add_argument("--dump", type=Path, metavar="DIR", help="write all tables to .npz files")
    parser.add_argument(
        "--against", type=Path, metavar="DIR", help="say how far from these tables what differs is"
    )
    args = parser.parse_args()
    warnings.filterwarnings("ignore")
    record = json.loads(DIGESTS.read_text()) if DIGESTS.exists() else {}
    stored, here = record.get("digests", {}), environment()
    print(f"yoto_sc {yt.__version__} of {Path(yt.__file__).parent}")
    changed = {
        name: f"{before}, here {here.get(name)}"
        for name, before in record.get("environment", {}).items()
        if before != here.get(name)
    }
    if changed and not args.store:
        print("The digests are of another environment; the last bits may differ for that alone:")
        print(*(f"  {name}: {line}" for name, line in changed.items()), sep="\n")
    if changed and args.store and set(args.only) != set(CASES):
        parser.error(f"the stored digests are of another environment ({changed}): store all cases")
    found: dict[str, dict[str, str]] = {}
    for name in args.only:
        case = CASES[name]
        if case.file is not None and not path_of(case.file).exists():
            print(f"{name}: left out, {case.file} is not in the directory of {DIRECTORY}")
            continue
        start = time.process_time()
        parts = run(case)
        digests = {part: digest(arrays) for part, arrays in parts.items()}
        if args.dump:
            dump(args.dump, name, parts)
        if args.store:
            stored[name] = digests
        found[name] = verdicts(name, digests, stored.get(name))
        print(f"{name}: {time.process_time() - start:.1f} CPU seconds", flush=True)
        if args.against:
            for part in [p for p, verdict in found[name].items() if verdict != "same"]:
                lines = differences(args.against, name, part, parts.get(part, {}))
                for line in lines or ["as in the dump"]:
                    print(f"  {part}: {line}", flush=True)
    if args.store:
        in_order = {name: stored[name] for name in CASES if name in stored}
        text = json.dumps({"environment": here, "digests": in_order}, indent=1)
        DIGESTS.write_text(text + "\n")
        print(f"stored {len(found)} of {len(in_order)} cases in {DIGESTS.name}")
        return 0
    print()
    print_table(found)
    unlike = [f"{c}/{p}" for c, v in found.items() for p, x in v.items() if x == "expected"]
    for pattern, reason in EXPECTED.items():
        if any(fnmatchcase(name, pattern) for name in unlike):
            print(f"expected {pattern}: {reason}")
    bad = [f"{c}/{p}" for c, v in found.items() for p, x in v.items() if x in ("DIFFERS", "new")]
    print(f"{len(bad)} parts differ or are not stored" if bad else "Nothing else differs.")
    return int(bool(bad))


if __name__ == "__main__":
    sys.exit(main())
