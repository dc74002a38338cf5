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
    from numpy.typing import NDArray

HERE = Path(__file__).parent
KEY = "cell_type"
DATA = ("kang8", "geact")
SIZES = (16, 32)
SETTINGS = ("groups", "unlike")
"""Groups as they are, or such that they hold unlike shares of the classes."""
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
            if args.setting == "unlike":
                cells = unlike(adata.obs[KEY], adata.obs[group_key], cells, seed)
            train, test = adata[cells].copy(), adata[others].copy()
            train.obs[KEY] = train.obs[KEY].cat.remove_unused_categories()
            order = np.random.default_rng(seed).permutation(train.n_obs)
            train.obs["noise"] = train.obs[group_key].to_numpy()[order]
            keys = {"none": None, "batches": group_key, "noise": "noise"}
            for method in args.method:
                for size in args.sizes:
                    run = Run(name, KEY, args.setting, seed, method, size)
                    if run not in results.done:
                        scores = scores_of(train, test, run, keys[method])
                        results.add(run, scores)
                        print(name, seed, method, size, f"{scores[0][2]:.3f}", flush=True)


def unlike(
    labels: pd.Series, groups: pd.Series, cells: NDArray[np.intp], seed: int
) -> NDArray[np.intp]:
    """Keep a twentieth of the cells in half of the pairs of a class and a group, drawn at random.

    Two cells of every pair stay, if it has as many.
    """
    rng = np.random.default_rng([seed, 3])
    cells = rng.permutation(cells)
    frame = pd.DataFrame({"class": labels.iloc[cells].array, "group": groups.iloc[cells].array})
    pairs = frame.groupby(["class", "group"], observed=True)
    halved = rng.random(pairs.ngroups) < 0.5
    pair, position, size = pairs.ngroup(), pairs.cumcount(), pairs["class"].transform("size")
    kept = ~halved[pair] | (position < np.maximum(2, size * 0.05)).to_numpy()
    return np.sort(cells[kept])


def table(path: Path, setting: str) -> str:
    """Write scores, and how far they are from those without batches, split by split."""
    rows = pd.read_csv(path, dtype={"note": str})
    rows = rows[rows["setting"] == setting]
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
    shown = [method for method in NAMES if method in rows["method"].unique()]
    for method, title in ((method, NAMES[method]) for method in shown):
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
    parser.add_argument("--setting", choices=SETTINGS, default="groups")
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
        print(table(args.out, args.setting))
        return 0
    compute(Results(args.out), args)
    return 0


if __name__ == "__main__":
    sys.exit(main())
