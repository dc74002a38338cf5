"""What `batch_key` is worth in groups that no selection has seen: donors, and plates.

Every panel is appended to a CSV file as soon as it is scored, and not computed again.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from bench.data import SOURCES, keep_classes, load
from bench.scoring import classification_scores
from bench.splits import split
from bench.spread import over_data
from run import Results, Run

import yoto_sc as yt

if TYPE_CHECKING:
    from collections.abc import Sequence

    import anndata as ad

HERE = Path(__file__).parent
KEY = "cell_type"
DATA = ("kang8", "geact")
SIZES = (16, 32)
NAMES = {
    "none": "no `batch_key`",
    "batches": "`batch_key`",
    "noise": "`batch_key`, dealt to the cells at random",
}


def scores_of(
    train: ad.AnnData, test: ad.AnnData, run: Run, batch_key: str | None
) -> list[tuple[str, str, float]]:
    """Select on all cells of `train`, and score the package's own prediction of `test`."""
    with tempfile.TemporaryDirectory() as folder:
        seconds = time.process_time()
        yt.tl.select(
            train,
            run.size,
            categorical_keys=KEY,
            group_key=None,
            batch_key=batch_key,
            random_state=run.split,
            model_dir=Path(folder) / "model",
            progress_bar=False,
            train_kwargs={"validation_size": 0},
            copy=True,
        )
        seconds = time.process_time() - seconds
        own = yt.model.YOTO.load(Path(folder) / "model").predict_proba(test)[KEY]
    found = classification_scores(test.obs[KEY], own.to_numpy(), own.columns.to_numpy(str))
    scores = [(KEY, f"builtin_{name}", value) for name, value in found.items()]
    return [*scores, ("", "cpu_seconds", seconds)]


def compute(results: Results, args: argparse.Namespace) -> None:
    """Select and score what is missing."""
    for name in args.data:
        group_key = SOURCES[name].group_key
        adata = keep_classes(load(name), [KEY])
        for seed in args.splits:
            cells, others = split("groups", adata.obs[KEY], adata.obs[group_key], seed)
            train, test = adata[cells].copy(), adata[others].copy()
            train.obs[KEY] = train.obs[KEY].cat.remove_unused_categories()
            order = np.random.default_rng(seed).permutation(train.n_obs)
            train.obs["noise"] = train.obs[group_key].to_numpy()[order]
            keys = {"none": None, "batches": group_key, "noise": "noise"}
            for method in args.method:
                for size in args.sizes:
                    run = Run(name, KEY, "groups", seed, method, size)
                    if run not in results.done:
                        scores = scores_of(train, test, run, keys[method])
                        results.add(run, scores)
                        print(name, seed, method, size, f"{scores[0][2]:.3f}", flush=True)


def table(path: Path) -> str:
    """Write scores, and how far they are from those without batches, split by split."""
    rows = pd.read_csv(path, dtype={"note": str})
    lines = ["| | data | genes | macro-F1 | against none | log loss | against none |"]
    lines.append("| --- | --- | ---: | ---: | ---: | ---: | ---: |")
    scores = {}
    for score in ("builtin_macro_f1", "builtin_log_loss"):
        own = rows[rows["score"] == score]
        mean = over_data(own, ["size"]).assign(dataset="mean")
        both = over_data(own.assign(dataset=own["dataset"] + own["size"].astype(str)), [])
        own = pd.concat([own, mean, both.assign(dataset="mean", size="both")])
        scores[score] = own.pivot_table(
            index=["dataset", "size"], columns=["method", "split"], values="value", sort=False
        )
    for method, title in NAMES.items():
        for dataset, size in scores["builtin_macro_f1"].index:
            line = [title, dataset, str(size)]
            for wide in scores.values():
                values = wide.loc[(dataset, size)].unstack(0)
                difference = (values[method] - values["none"]).dropna()
                line.append(f"{values[method].mean():.3f}")
                error = difference.std() / np.sqrt(len(difference))
                line.append("" if method == "none" else f"{difference.mean():+.3f} ± {error:.3f}")
            lines.append("| " + " | ".join(line) + " |")
    return "\n".join(lines)


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=HERE / "results/batches.csv")
    parser.add_argument("--data", nargs="+", choices=DATA, default=list(DATA))
    parser.add_argument("--method", nargs="+", choices=NAMES, default=list(NAMES))
    parser.add_argument("--sizes", nargs="+", type=int, default=list(SIZES))
    parser.add_argument("--splits", nargs="+", type=int, default=list(range(8)), help="seeds")
    parser.add_argument("--table", action="store_true", help="print a table, compute nothing")
    return parser.parse_args(argv)


def main() -> int:
    """Run; return the exit status."""
    args = parse()
    if "OMP_NUM_THREADS" not in os.environ:  # read when numpy is imported, so start again
        os.environ["OMP_NUM_THREADS"] = "1"
        os.execv(sys.executable, [sys.executable, *sys.argv])
    warnings.filterwarnings("ignore", category=FutureWarning)
    if args.table:
        print(table(args.out))
        return 0
    compute(Results(args.out), args)
    return 0


if __name__ == "__main__":
    sys.exit(main())
