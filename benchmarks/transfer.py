"""The day of measurement: panels of one assay, labels of another one.

Every panel is appended to a CSV file as soon as it is scored, and not computed again.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from bench.pairs import KEY, KINDS, Pair, pairs
from run import Results, Run
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import yoto_sc as yt
from yoto_sc.metrics import expected_calibration_error

if TYPE_CHECKING:
    from collections.abc import Sequence

    import anndata as ad
    from numpy.typing import NDArray

    Score = tuple[str, str, float]

HERE = Path(__file__).parent
SIZES = (16, 32, 64)
METHODS: dict[str, dict[str, Any]] = {
    "as_it_is": {"robust": None},
    "thin": {"robust": "thin"},
    "technology": {"robust": "technology"},
}
"""Arguments of `tl.select`."""
NAMES = {
    "as_it_is": "robust=None",
    "thin": 'robust="thin"',
    "technology": 'robust="technology"',
}
SCORES = {
    "own": "held-out cells of the reference",
    "none": 'adapt="none"',
    "auto": 'adapt="auto"',
    "logistic": "logistic regression, counts",
    "logistic_normalised": "logistic regression, panel-normalised",
    "ceiling": "trained within the query",
}
DEPTHS = (1.0, 0.5, 0.25, 0.1, 5.0)


def run_pair(results: Results, pair: Pair, args: argparse.Namespace) -> None:
    """Select, label and score what is missing."""
    for size in args.sizes:
        for seed in args.seeds:
            for method in args.method:
                run = Run(pair.name, KEY, pair.kind, seed, method, size)
                if run not in results.done:
                    scores = pair_scores(pair, run)
                    results.add(run, scores)
                    shown = [f"{n} {v:.3f}" for _, n, v in scores if n.endswith("macro_f1")]
                    print(*vars(run).values(), *shown, flush=True)


def pair_scores(pair: Pair, run: Run) -> list[Score]:
    """Score one panel and its model on both assays."""
    with tempfile.TemporaryDirectory() as folder:
        selected = yt.tl.select(
            pair.reference,
            run.size,
            categorical_keys=KEY,
            group_key=None,
            random_state=run.split,
            model_dir=Path(folder) / "model",
            progress_bar=False,
            copy=True,
            **METHODS[run.method],
        )
        model = yt.model.YOTO.load(Path(folder) / "model", accelerator="cpu")
    scores: list[Score] = [(KEY, "own_macro_f1", selected.uns["yoto"]["metrics"].macro_f1[KEY])]
    for adapt in ("none", "auto"):
        labelled = yt.tl.predict(pair.query, model, adapt=adapt, copy=True)
        scores += _scores(adapt, pair.query, labelled)
        if adapt == "auto":
            done = labelled.uns["yoto"]["adaptation"]
            names = ("is_applied", "depth", "difference", "composition_distance")
            scores += [(KEY, f"adaptation_{name}", float(done[name])) for name in names]
    if pair.kind == "control" and run.method == "technology":
        for depth in DEPTHS:
            other = _at_depth(pair.query, depth)
            labelled = yt.tl.predict(other, model, copy=True)
            scores += _scores(f"depth{depth:g}", other, labelled)
    if run.method == "technology":
        scores += _traps(pair, model)
        scores += _baselines(pair, yt.Panel.from_adata(selected).genes)
    return scores


def _scores(name: str, query: ad.AnnData, labelled: ad.AnnData) -> list[Score]:
    truth = query.obs[KEY].astype(str).to_numpy()
    found = labelled.obs[f"yoto_{KEY}"].astype(object).fillna("").astype(str).to_numpy()
    confidence = labelled.obs[f"yoto_{KEY}_confidence"].to_numpy()
    right, told = found == truth, ~np.isnan(confidence)
    sure = told & (np.nan_to_num(confidence) > 0.8)
    values = {
        "macro_f1": f1_score(truth, found, labels=np.unique(truth), average="macro"),
        "accuracy": right.mean(),
        "ece": expected_calibration_error(right[told], confidence[told].clip(0, 1)),
        "missing": 1 - told.mean(),
        "sure": sure.mean(),
        "right_if_sure": right[sure].mean() if sure.any() else np.nan,
    }
    return [(KEY, f"{name}_{score}", float(value)) for score, value in values.items()]


def _at_depth(adata: ad.AnnData, depth: float) -> ad.AnnData:
    """Return the cells with a share of their counts, or with a multiple of them."""
    other = adata.copy()
    if depth > 1:
        other.X.data *= depth
    elif depth < 1:
        rng = np.random.default_rng(0)
        other.X.data = rng.binomial(np.rint(other.X.data).astype(int), depth).astype(np.float32)
        other.X.eliminate_zeros()
    return other


def _traps(pair: Pair, model: yt.model.YOTO) -> list[Score]:
    """Compare accuracies with and without adaptation, on queries of another composition."""
    codes = pair.query.obs[KEY].cat.codes.to_numpy()
    rng = np.random.default_rng(0)
    counts = np.bincount(codes)
    classes = np.flatnonzero(counts >= 20)
    first, second = np.argsort(-counts)[:2]
    n_others = counts[first] // 4
    others = np.flatnonzero(codes != first)
    queries = {f"one_{c}": np.flatnonzero(codes == c) for c in classes}
    queries["two"] = np.flatnonzero(np.isin(codes, [first, second]))
    queries["most"] = np.concatenate(
        [
            np.flatnonzero(codes == first),
            rng.choice(others, min(len(others), n_others), replace=False),
        ]
    )
    queries["few"] = rng.choice(len(codes), 30, replace=False)
    scores = []
    for name, cells in queries.items():
        query = pair.query[np.sort(cells)].copy()
        truth = query.obs[KEY].astype(str).to_numpy()
        right = [
            (
                yt.tl.predict(query, model, adapt=adapt, copy=True).obs[f"yoto_{KEY}"] == truth
            ).mean()
            for adapt in ("auto", "none")
        ]
        scores.append((KEY, f"trap_{name.partition('_')[0]}_gain", float(right[0] - right[1])))
    return scores


def _baselines(pair: Pair, genes: Sequence[str]) -> list[Score]:
    """Score logistic regression from one assay to the other, and within the query."""
    parts = [pair.reference[:, genes].X.toarray(), pair.query[:, genes].X.toarray()]
    labels = [part.obs[KEY].astype(str).to_numpy() for part in (pair.reference, pair.query)]
    scores = []
    for name, change in (("logistic", np.log1p), ("logistic_normalised", _normalised)):
        model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500, tol=1e-3))
        found = model.fit(change(parts[0]), labels[0]).predict(change(parts[1]))
        scores.append((KEY, f"{name}_macro_f1", _macro_f1(labels[1], found)))
    halves = train_test_split(
        np.arange(len(labels[1])), test_size=0.5, stratify=labels[1], random_state=0
    )
    values, found = np.log1p(parts[1]), labels[1].copy()
    for here, there in (halves, halves[::-1]):
        model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500, tol=1e-3))
        found[there] = model.fit(values[here], labels[1][here]).predict(values[there])
    return [*scores, (KEY, "ceiling_macro_f1", _macro_f1(labels[1], found))]


def _macro_f1(truth: NDArray[np.str_], found: NDArray[np.str_]) -> float:
    return float(f1_score(truth, found, labels=np.unique(truth), average="macro"))


def _normalised(counts: NDArray[np.float32]) -> NDArray[np.float32]:
    totals = counts.sum(axis=1, keepdims=True)
    return np.log1p(counts / np.maximum(totals, 1) * np.median(totals))


def write_tables(results: Path, to: Path) -> None:
    """Render the results that there are."""
    rows = pd.read_csv(results)
    parts = [
        "# Another assay\n",
        "Made by `benchmarks/transfer.py --table`. Mean ± standard deviation over seeds; the last "
        "row of each kind is its mean.\n",
    ]
    for score, title in (("macro_f1", "Macro-F1"), ("ece", "Calibration error")):
        for (method, size), own in rows.groupby(["method", "size"], sort=False):
            part = own[own["score"].isin([f"{name}_{score}" for name in SCORES])]
            parts.append(f"## {title}, {size} genes, {NAMES[method]}\n")
            parts.append(_pair_table(part, score))
    traps = rows[rows["score"].str.startswith("trap_")]
    if len(traps):
        parts.append('## Queries of another composition: accuracy of "auto" less that of "none"\n')
        parts.append("| query | n | mean | worst |\n| --- | ---: | ---: | ---: |")
        for score, own in traps.groupby("score", sort=False):
            value = own["value"]
            name = score.removeprefix("trap_").removesuffix("_gain")
            parts.append(f"| {name} | {len(own)} | {value.mean():.3f} | {value.min():.3f} |")
    deep = rows[rows["score"].str.startswith("depth")]
    if len(deep):
        parts.append("\n## Depth: controls with a share or a multiple of their counts\n")
        parts.append("| counts | accuracy | confidence above 0.8 | right among these | missing |")
        parts.append("| --- | ---: | ---: | ---: | ---: |")
        for depth in DEPTHS:
            names = ("accuracy", "sure", "right_if_sure", "missing")
            means = [deep.loc[deep.score == f"depth{depth:g}_{n}", "value"].mean() for n in names]
            parts.append(f"| {depth:g} | {' | '.join(f'{mean:.3f}' for mean in means)} |")
    to.write_text("\n".join(parts) + "\n")


def _pair_table(rows: pd.DataFrame, score: str) -> str:
    names = [n for n in SCORES if f"{n}_{score}" in set(rows["score"])]
    lines = [["pair", *(SCORES[n] for n in names)], ["---", *["---:"] * len(names)]]
    for kind in KINDS:
        own = rows[rows["setting"] == kind]
        if own.empty:
            continue
        for pair, part in [*own.groupby("dataset", sort=False), (f"**{kind}**", own)]:
            values = [part.loc[part["score"] == f"{n}_{score}"] for n in names]
            if pair.startswith("**"):
                values = [v.groupby("split")["value"].mean() for v in values]
            else:
                values = [v["value"] for v in values]
            lines.append([pair, *(_cell(v) for v in values)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def _cell(values: pd.Series) -> str:
    spread = "" if len(values) < 2 else f" ± {values.std():.3f}"
    return f"{values.mean():.3f}{spread}"


def main() -> int:
    """Run; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=HERE / "results/transfer.csv")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--method", nargs="+", choices=METHODS, default=["as_it_is", "technology"])
    parser.add_argument("--sizes", nargs="+", type=int, default=list(SIZES))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1])
    parser.add_argument("--table", action="store_true", help="render, compute nothing")
    args = parser.parse_args()
    if "OMP_NUM_THREADS" not in os.environ:  # read when numpy is imported, so start again
        os.environ["OMP_NUM_THREADS"] = "1"
        os.execv(sys.executable, [sys.executable, *sys.argv])
    warnings.filterwarnings("ignore", category=FutureWarning)
    if args.table:
        write_tables(args.out, HERE / "results/transfer.md")
        return 0
    results = Results(args.out)
    for pair in pairs():
        if pair.kind in args.kinds:
            run_pair(results, pair, args)
    return 0


if __name__ == "__main__":
    sys.exit(main())
