"""Run methods on data sets, and append their scores to a CSV file; what is done is not repeated.

See README.md for what it costs. `report.py` makes the table and the figure.
"""

from __future__ import annotations

import argparse
import csv
import os
import sys
import warnings
from dataclasses import astuple, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from bench.data import SOURCES, Questions, keep_classes, load, missing_file
from bench.measure import SelectionError, measured, warm_up
from bench.scoring import builtin_scores, retrained_scores
from bench.splits import SETTINGS, split
from methods import COMPETITORS, METHODS, VARIANTS
from methods.base import Training

import yoto_sc as yt

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import anndata as ad
    from methods import Method
    from methods.base import Fitted

SIZES = (8, 16, 32, 64)
DEFAULT_METHODS = tuple(name for name in METHODS if name not in COMPETITORS + VARIANTS)
COLUMNS = ["dataset", "tasks", "setting", "split", "method", "size", "task", "score", "value"]
COLUMNS += ["note"]


@dataclass(frozen=True)
class Run:
    """What identifies a panel; the first columns of the results."""

    dataset: str
    tasks: str
    setting: str
    split: int
    method: str
    size: int


class Results:
    """The results so far, in a CSV file that only grows."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.done: set[Run] = set()
        if path.exists():
            table = pd.read_csv(path)
            keys = table[COLUMNS[:6]].drop_duplicates().itertuples(index=False)
            self.done = {Run(*row) for row in keys}
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._write([COLUMNS])

    def add(self, run: Run, scores: Sequence[tuple[str, str, float]], note: str = "") -> None:
        """Append the rows of one panel."""
        self._write([[*astuple(run), task, name, f"{v:.6g}", note] for task, name, v in scores])
        self.done.add(run)

    def _write(self, rows: list[list[object]]) -> None:
        with self.path.open("a", newline="") as file:
            csv.writer(file).writerows(rows)


def experiments(args: argparse.Namespace) -> Iterator[tuple[Run, Training, ad.AnnData]]:
    """Yield, for each data set, questions, setting and split, the cells to train and judge on."""
    for name in args.data:
        source = SOURCES[name]
        if missing := missing_file(name):
            print(f"{name}: left out, {missing}", flush=True)
            continue
        everything = load(name)
        for questions in filter(args.tasks_wanted, source.questions):
            adata = keep_classes(everything, questions.categorical)
            groups = None if source.group_key is None else adata.obs[source.group_key]
            grouped = groups is not None and source.group_key not in questions.categorical
            for setting in args.setting:
                if setting == "groups" and not grouped:
                    continue
                for seed in args.splits:
                    first = adata.obs[questions.categorical[0]]
                    train, test = split(setting, first, groups, seed)
                    training = Training(
                        _cells(adata, train, questions),
                        questions.categorical,
                        questions.continuous,
                        source.is_counts,
                        source.group_key if setting == "groups" else None,
                    )
                    run = Run(name, questions.name, setting, seed, "", 0)
                    yield run, training, adata[test].copy()


def _cells(adata: ad.AnnData, cells: np.ndarray, questions: Questions) -> ad.AnnData:
    """Copy cells; categories that none of them has are dropped."""
    part = adata[cells].copy()
    for key in questions.categorical:
        part.obs[key] = part.obs[key].cat.remove_unused_categories()
    return part


def run_method(
    results: Results,
    method: Method,
    run: Run,
    sizes: Sequence[int],
    training: Training,
    test: ad.AnnData,
    timeout: float,
) -> None:
    """Select and score what is missing."""
    wanted = [replace(run, size=k) for k in sizes if replace(run, size=k) not in results.done]
    if not wanted:
        return
    for together in [wanted] if method.nested else [[run] for run in wanted]:
        largest = method.size or max(run.size for run in together)

        def score(fitted: Fitted, together: Sequence[Run] = together) -> list[list]:
            return [panel_scores(fitted, run.size, training, test) for run in together]

        fit = partial(method.fit, training, largest, run.split)
        try:
            found, cost = measured(fit, score, timeout)
        except SelectionError as error:
            for run in together:
                results.add(run, [("", "failed", np.nan)], note=str(error))
            print(f"{together[0]}: {error}", flush=True)
            continue
        for run, scores in zip(together, found, strict=True):
            results.add(run, [*scores, *(("", name, value) for name, value in cost.items())])
            first = ", ".join(f"{name} {value:.3f}" for _, name, value in scores[:3])
            print(
                f"{' '.join(map(str, astuple(run)))}: {first}, {cost['cpu_seconds']:.1f} s",
                flush=True,
            )


def panel_scores(
    fitted: Fitted, size: int, training: Training, test: ad.AnnData
) -> list[tuple[str, str, float]]:
    """Return all scores of the best `size` genes."""
    genes = fitted.genes[:size]
    scores = retrained_scores(training, test, genes)
    if fitted.predict is not None:
        scores += builtin_scores(training, test, fitted.predict(test, len(genes)))
    scores.append(("", "n_genes", float(len(genes))))
    if "informative" in training.adata.var:
        informative = training.adata.var["informative"]
        best = min(size, int(informative.sum()))
        scores.append(("", "informative", informative[genes].sum() / best))
    return scores


def prepare(method: Method) -> None:
    """Import everything that the method needs, so that no selection pays for it."""
    adata = yt.datasets.planted(120, 60, n_informative=6, n_redundant=0, n_classes=[3], missing=0)
    warm_up(partial(method.fit, Training(adata, ("task_0",), (), is_counts=True), 4, 0))


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results/results.csv")
    parser.add_argument("--data", nargs="+", choices=SOURCES, default=list(SOURCES))
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(DEFAULT_METHODS))
    parser.add_argument("--sizes", nargs="+", type=int, default=list(SIZES))
    parser.add_argument("--splits", nargs="+", type=int, default=[0, 1, 2], help="seeds")
    parser.add_argument("--setting", nargs="+", choices=SETTINGS, default=["cells"])
    parser.add_argument("--tasks", choices=["single", "multi", "all"], default="all")
    parser.add_argument("--timeout", type=float, default=1800, help="CPU seconds for a panel")
    args = parser.parse_args(argv)
    wanted = {"single": (True,), "multi": (False,), "all": (True, False)}[args.tasks]
    args.tasks_wanted = lambda questions: questions.is_single in wanted
    return args


def main() -> int:
    """Run; return the exit status."""
    args = parse()
    if "OMP_NUM_THREADS" not in os.environ:  # read when numpy is imported, so start again
        os.environ["OMP_NUM_THREADS"] = "1"
        os.execv(sys.executable, [sys.executable, *sys.argv])
    warnings.filterwarnings("ignore", category=FutureWarning)
    results = Results(args.out)
    for name in set(args.methods) - set(COMPETITORS):  # which measure themselves
        prepare(METHODS[name])
    for run, training, test in experiments(args):
        for name in args.methods:
            run_method(
                results,
                METHODS[name],
                replace(run, method=name),
                args.sizes,
                training,
                test,
                args.timeout,
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
