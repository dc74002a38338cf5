"""What cells without a label are worth: panels from data where few cells have one.

Every panel is appended to a CSV file as soon as it is scored, and not computed again. Cells to
judge on are in no selection, and their labels are known to nobody else.
"""

from __future__ import annotations

import argparse
import inspect
import os
import sys
import tempfile
import time
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import scanpy as sc
from bench.data import SMALLEST_CLASS
from bench.scoring import classification_scores
from bench.sets import LABELS, PAIRS, keep_labels, middle_class, only, read, splits
from bench.splits import split
from bench.spread import over_data, spread_table
from run import Results, Run
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.semi_supervised import LabelPropagation, LabelSpreading, SelfTrainingClassifier

import yoto_sc as yt

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import anndata as ad
    from numpy.typing import NDArray

    Score = tuple[str, str, float]

HERE = Path(__file__).parent
SIZES = (16, 32)
SHARES = (0.1, 0.3, 1.0)
METHODS: dict[str, dict[str, Any]] = {
    "first_version": {},
    "ignore": {"unlabeled_cells": "ignore"},
    "auto": {"unlabeled_cells": "auto"},
    "use": {"unlabeled_cells": "use"},
}
"""Arguments of `tl.select`. The first version, chosen by PYTHONPATH, has no such argument."""
NAMES = {
    "first_version": "first version",
    "ignore": 'unlabeled_cells="ignore"',
    "auto": 'unlabeled_cells="auto"',
    "use": 'unlabeled_cells="use"',
}
SETTINGS = ("shares", "class", "halves", "other_set")
SETTING_NAMES = {
    "share": "A share of the cells has a label",
    "class": "A class that nobody labelled, and a share of the others",
    "halves": "Half of the cells have one label, half the other",
    "other_set": "One technology of two has no labels",
}
PBMC, PBMC_LABEL, PBMC_SET = "pbmc3tech1200.h5ad", "cell_type", "tech"
CLASS_SHARES = (0.3, 1.0)
"""Cells of the other classes that have a label, where one class has none."""

TEACHERS = {
    "logistic": "logistic regression",
    "logistic_shrunk": "logistic regression, C = 0.01",
    "self_training": "self-training",
    "label_spreading": "label spreading",
    "label_propagation": "label propagation",
    "logistic_unscaled": "logistic regression, genes not standardised",
    "logistic_shrunk_unscaled": "logistic regression, C = 0.01, not standardised",
    "self_training_unscaled": "self-training, not standardised",
    "label_spreading_unscaled": "label spreading, not standardised",
    "label_propagation_unscaled": "label propagation, not standardised",
}
N_VARIABLE, N_COMPONENTS, N_NEIGHBORS = 2000, 60, 15


@dataclass(frozen=True)
class Case:
    """Cells to select on, and to judge on.

    Parameters
    ----------
    run
        Data set, labels, setting and split.
    train
        Cells to select and train on; missing labels are NaN.
    test
        Cells to judge on, by the name of a part of them.
    truth
        Labels of the cells of `train`, missing ones too.
    """

    run: Run
    train: ad.AnnData
    test: Mapping[str, ad.AnnData]
    truth: pd.DataFrame

    @property
    def keys(self) -> list[str]:
        """Columns with labels."""
        return self.run.tasks.split("+")


def shares(args: argparse.Namespace) -> Iterator[Case]:
    """Give labels to a share of the cells of every class."""
    for name in args.data:
        key = LABELS[name]
        for seed, train, test in splits(name, [key], args.splits):
            for share in args.shares:
                labels = {key: keep_labels(train.obs[key], share, seed)}
                run = Run(name, key, f"share{share:g}", seed, "", 0)
                yield _case(run, train, labels, {"": test})


def unnamed_class(args: argparse.Namespace) -> Iterator[Case]:
    """Take its labels from a class of middling size; its cells stay."""
    for name in args.data:
        key = LABELS[name]
        for seed, train, test in splits(name, [key], args.splits):
            missing = middle_class(train.obs[key])
            named = (train.obs[key] != missing).to_numpy()
            parts = {
                "": test[(test.obs[key] != missing).to_numpy()].copy(),
                "unnamed": test[(test.obs[key] == missing).to_numpy()].copy(),
            }
            for share in CLASS_SHARES:
                labels = {key: keep_labels(only(train.obs[key], named), share, seed)}
                run = Run(name, key, f"class{share:g}", seed, "", 0)
                yield _case(run, train, labels, parts)


def halves(args: argparse.Namespace) -> Iterator[Case]:
    """Give one label to half of the cells only, another one to the others, and both to all."""
    for name in args.data:
        keys = PAIRS[name]
        for seed, train, test in splits(name, keys, args.splits):
            first = np.random.default_rng([seed, 2]).permutation(train.n_obs) < train.n_obs // 2
            masks = (first, ~first)
            labels = {key: only(train.obs[key], m) for key, m in zip(keys, masks, strict=True)}
            whole = {key: train.obs[key] for key in keys}
            for setting, given in (("halves", labels), ("halves_whole", whole)):
                run = Run(name, "+".join(keys), setting, seed, "", 0)
                yield _case(run, train, given, {"": test})


def other_set(args: argparse.Namespace) -> Iterator[Case]:
    """Give labels to one data set of two, of different technologies."""
    everything = read(PBMC, [PBMC_LABEL, PBMC_SET])
    techs = list(everything.obs[PBMC_SET].cat.categories)
    for here, there in ((a, b) for a in techs for b in techs if a != b):
        adata = everything[everything.obs[PBMC_SET].isin([here, there]).to_numpy()].copy()
        counts = pd.crosstab(adata.obs[PBMC_LABEL], adata.obs[PBMC_SET])
        common = counts.index[(counts[[here, there]] >= SMALLEST_CLASS).all(axis=1)]
        adata = adata[adata.obs[PBMC_LABEL].isin(common).to_numpy()].copy()
        both = adata.obs[PBMC_LABEL].astype(str) + " " + adata.obs[PBMC_SET].astype(str)
        adata.obs[PBMC_LABEL] = adata.obs[PBMC_LABEL].cat.remove_unused_categories()
        for seed in args.splits:
            train, test = split("cells", both.astype("category"), None, seed)
            part = adata[train].copy()
            labelled = (part.obs[PBMC_SET] == here).to_numpy()
            tests = {
                side: adata[test][(adata.obs[PBMC_SET].iloc[test] == tech).to_numpy()].copy()
                for side, tech in (("labelled set", here), ("other set", there))
            }
            labels = {PBMC_LABEL: only(part.obs[PBMC_LABEL], labelled)}
            run = Run(f"pbmc {here} to {there}", PBMC_LABEL, "other_set", seed, "", 0)
            yield _case(run, part, labels, tests)


CASES = dict(zip(SETTINGS, (shares, unnamed_class, halves, other_set), strict=True))


def _case(
    run: Run,
    train: ad.AnnData,
    labels: Mapping[str, pd.Series],
    test: Mapping[str, ad.AnnData],
) -> Case:
    truth = train.obs[list(labels)].copy()
    train = train.copy()
    train.obs = pd.DataFrame(dict(labels), index=train.obs_names)
    return Case(run, train, test, truth)


def run_case(results: Results, case: Case, args: argparse.Namespace) -> None:
    """Select and score what is missing."""
    for method in args.method:
        for size in args.sizes:
            run = replace(case.run, method=method, size=size)
            if run not in results.done:
                scores = panel_scores(case, method, size)
                results.add(run, scores)
                _say(run, scores)


def panel_scores(case: Case, method: str, size: int) -> list[Score]:
    """Select; score the package's own prediction, and logistic regression on the panel."""
    with tempfile.TemporaryDirectory() as folder:
        seconds, cpu_seconds = time.perf_counter(), time.process_time()
        selected = yt.tl.select(
            case.train,
            size,
            categorical_keys=case.keys,
            group_key=None,
            random_state=case.run.split,
            model_dir=Path(folder) / "model",
            progress_bar=False,
            copy=True,
            **METHODS[method],
        )
        seconds, cpu_seconds = time.perf_counter() - seconds, time.process_time() - cpu_seconds
        model = yt.model.YOTO.load(Path(folder) / "model")
    genes = yt.Panel.from_adata(selected).genes
    scores: list[Score] = []
    for part, test in case.test.items():
        own = model.predict_proba(test)
        for key in case.keys:
            found = {"builtin": (own[key].to_numpy(), own[key].columns.to_numpy(str))}
            labels = case.train.obs[key]
            found["logistic"] = _logistic(case.train, labels, test, genes)
            found["logistic_all"] = _logistic(case.train, case.truth[key], test, genes)
            for name, (p, classes) in found.items():
                scores += _scores(key, part, name, test.obs[key], p, classes)
    return [*scores, ("", "seconds", seconds), ("", "cpu_seconds", cpu_seconds)]


def _logistic(
    train: ad.AnnData, labels: pd.Series, test: ad.AnnData, genes: Sequence[str]
) -> tuple[NDArray[np.floating], NDArray[np.str_]]:
    """Return what logistic regression says that knows the labelled cells alone."""
    seen = labels.notna().to_numpy()
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500, tol=1e-3))
    model.fit(_log1p(train[seen], genes), labels[seen].astype(str).to_numpy())
    return model.predict_proba(_log1p(test, genes)), model.classes_


def _log1p(adata: ad.AnnData, genes: Sequence[str]) -> NDArray[np.float32]:
    return np.log1p(adata[:, list(genes)].X.toarray())


def _scores(
    key: str,
    part: str,
    name: str,
    truth: pd.Series,
    p: NDArray[np.floating],
    classes: NDArray[np.str_],
) -> list[Score]:
    """Score one prediction; of a class that nobody has named, only how sure it is can be told."""
    if part == "unnamed":
        return [(key, f"{name}_unnamed_confidence", float(p.max(axis=1).mean()))]
    end = f"_{part.replace(' ', '_')}" if part else ""
    found = classification_scores(truth, p, classes)
    return [(key, f"{name}_{score}{end}", value) for score, value in found.items()]


def _say(run: Run, scores: Sequence[Score]) -> None:
    shown = [f"{name} {value:.3f}" for _, name, value in scores if "macro_f1" in name]
    print(f"{run.dataset} {run.setting} {run.split} {run.method} {run.size}:", *shown, flush=True)


def teach(results: Results, case: Case) -> None:
    """Score what teachers say of the training cells that have no label."""
    key = case.keys[0]
    labels = case.train.obs[key]
    hidden = labels.isna().to_numpy()
    names = [m for m in TEACHERS if replace(case.run, method=m) not in results.done]
    if not hidden.any() or not names:
        return
    components = {scaled: principal_components(case.train, scaled) for scaled in (True, False)}
    classes = labels.cat.categories.to_numpy(str)
    codes = labels.cat.codes.to_numpy().astype(int)  # -1: no label
    truth = case.truth[key][hidden]
    for name in names:
        run = replace(case.run, method=name)
        seconds = time.process_time()
        scaled = not name.endswith("_unscaled")
        p = _taught(name.removesuffix("_unscaled"), components[scaled], codes)[hidden]
        seconds = time.process_time() - seconds
        scores = [
            (key, "accuracy", accuracy_score(truth.astype(str), classes[p.argmax(axis=1)])),
            *((key, s, v) for s, v in classification_scores(truth, p, classes).items()),
            ("", "cpu_seconds", seconds),
        ]
        results.add(run, scores)
        _say(run, scores)


def _taught(
    name: str, components: NDArray[np.floating], codes: NDArray[np.integer]
) -> NDArray[np.floating]:
    """Return class probabilities for all cells; codes of -1 are to be found."""
    logistic = LogisticRegression(C=0.01 if name == "logistic_shrunk" else 1, max_iter=1000)
    if name.startswith("logistic"):
        return logistic.fit(components[codes >= 0], codes[codes >= 0]).predict_proba(components)
    neighbors = {"kernel": "knn", "n_neighbors": N_NEIGHBORS, "max_iter": 1000}
    model = {
        "self_training": SelfTrainingClassifier(logistic),
        "label_spreading": LabelSpreading(**neighbors),
        "label_propagation": LabelPropagation(**neighbors),
    }[name]
    p = model.fit(components, codes).predict_proba(components)
    return np.nan_to_num(p, nan=1 / p.shape[1])  # cells that no labelled one reaches


def principal_components(adata: ad.AnnData, scaled: bool) -> NDArray[np.floating]:
    """Return 60 components of log-normalised variable genes."""
    adata = adata.copy()
    sc.pp.normalize_total(adata)
    sc.pp.log1p(adata)
    n_variable = min(N_VARIABLE, adata.n_vars)
    sc.pp.highly_variable_genes(adata, n_top_genes=n_variable, subset=True)
    if scaled:
        sc.pp.scale(adata, max_value=10)
    sc.pp.pca(adata, n_comps=N_COMPONENTS, random_state=0)
    return adata.obsm["X_pca"]


def write_tables(results: Path, teachers: Path, to: Path) -> None:
    """Render the results that there are."""
    parts = ["# Few labels\n", "Made by `benchmarks/few_labels.py --table`. "]
    parts[-1] += "Mean ± standard deviation over splits, on cells that no selection saw.\n"
    if results.exists():
        rows = pd.read_csv(results, dtype={"note": str})
        kinds = {
            "builtin_macro_f1": "Macro-F1 of the package's own prediction",
            "logistic_macro_f1": "Macro-F1 of logistic regression on the panel, labelled cells",
            "logistic_all_macro_f1": "Macro-F1 of the same with all labels: the panel alone",
            "builtin_log_loss": "Log loss of the package's own prediction (lower is better)",
            "builtin_ece": "Calibration error of the package's own prediction (lower is better)",
            "builtin_unnamed_confidence": "Mean confidence for cells of the class without labels",
            "cpu_seconds": "CPU seconds of the selection",
        }
        family = rows["setting"].str.rstrip("0123456789.").str.removesuffix("_whole")
        for settings, own in rows.groupby(family, sort=False):
            parts.append(f"## {SETTING_NAMES[settings]}\n")
            for score, title in kinds.items():
                named = own[own["score"].str.startswith(score)]
                for found, part in named.groupby("score", sort=False):
                    end = found.removeprefix(score).replace("_", " ").strip()
                    parts.append(f"**{title}{f', {end}' if end else ''}**\n")
                    lower = not score.endswith("f1")
                    parts += [_score_table(p, lower=lower) for _, p in part.groupby("size")]
    if teachers.exists():
        rows = pd.read_csv(teachers, dtype={"note": str})
        parts.append("## Teachers: labels of the training cells without one\n")
        for score in ("accuracy", "macro_f1", "log_loss", "ece", "cpu_seconds"):
            own = rows[rows["score"] == score]
            parts += [f"**{score}**\n"]
            lower = score not in ("accuracy", "macro_f1")
            mean = over_data(own, ["setting"]).assign(dataset="all")
            own = pd.concat([own, mean])
            parts.append(spread_table(own, ["setting", "dataset"], TEACHERS, lower=lower))
    to.write_text("\n".join(parts))


def _score_table(rows: pd.DataFrame, *, lower: bool) -> str:
    """Write a score of one size: shares and methods by data sets (and tasks), and their mean."""
    rows = rows.assign(size=rows["size"].astype(str) + " genes")
    several = rows.groupby("dataset")["task"].nunique().max() > 1
    columns = ["size", "dataset", "task"] if several else ["size", "dataset"]
    lines: list[str] = []
    for setting, own in rows.groupby("setting"):
        own = own.sort_values("dataset", kind="stable")
        mean = over_data(own, ["size"]).assign(dataset="mean", task="")
        names = {method: f"{setting}: {name}" for method, name in NAMES.items()}
        part = spread_table(pd.concat([own, mean]), columns, names, lower=lower)
        lines += part.splitlines()[2 if lines else 0 :]
    return "\n".join(lines) + "\n"


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    results = HERE / "results"
    parser.add_argument("--out", type=Path, default=results / "few_labels.csv")
    parser.add_argument("--teachers-out", type=Path, default=results / "few_labels_teachers.csv")
    parser.add_argument("--data", nargs="+", choices=LABELS, default=list(LABELS))
    parser.add_argument("--setting", nargs="+", choices=SETTINGS, default=["shares"])
    parser.add_argument("--method", nargs="+", choices=METHODS, default=["ignore", "auto", "use"])
    parser.add_argument("--sizes", nargs="+", type=int, default=list(SIZES))
    parser.add_argument("--shares", nargs="+", type=float, default=list(SHARES))
    parser.add_argument("--splits", nargs="+", type=int, default=[0, 1, 2], help="seeds")
    parser.add_argument(
        "--teachers", action="store_true", help="score scikit-learn's teachers, select nothing"
    )
    parser.add_argument(
        "--table", action="store_true", help="render results/few_labels.md, compute nothing"
    )
    args = parser.parse_args(argv)
    known = "unlabeled_cells" in inspect.signature(yt.tl.select).parameters
    if not (args.table or args.teachers):
        if "first_version" in args.method and known:
            parser.error(f"{yt.__file__} is not the first version: say where with PYTHONPATH")
        if set(args.method) - {"first_version"} and not known:
            parser.error(f"tl.select of {yt.__file__} has no unlabeled_cells")
    return args


def main() -> int:
    """Run; return the exit status."""
    args = parse()
    if "OMP_NUM_THREADS" not in os.environ:  # read when numpy is imported, so start again
        os.environ["OMP_NUM_THREADS"] = "1"
        os.execv(sys.executable, [sys.executable, *sys.argv])
    warnings.filterwarnings("ignore", category=FutureWarning)
    warnings.filterwarnings("ignore", message="zero-centering a sparse")
    if args.table:
        write_tables(args.out, args.teachers_out, HERE / "results/few_labels.md")
        return 0
    results = Results(args.teachers_out if args.teachers else args.out)
    for setting in args.setting:
        for case in CASES[setting](args):
            if args.teachers:
                teach(results, case)
            else:
                run_case(results, case, args)
    return 0


if __name__ == "__main__":
    sys.exit(main())
