"""The day of measurement: panels and models of one assay, labels of another.

Every result is appended to a CSV file as soon as it is there, and not computed again. Models are
kept under `.cache/transfer/`, by the source of the package and by what they were trained on.
"""

from __future__ import annotations

import argparse
import hashlib
import inspect
import json
import os
import shutil
import sys
import time
import warnings
from dataclasses import dataclass
from functools import cache
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from bench.data import SMALLEST_CLASS, SOURCES, missing_file, path_of
from bench.pairs import KINDS, PAIRS, SHIFTS, pairs
from bench.rivals import (
    RIVAL_NAMES,
    RIVALS,
    fit_logistic,
    labels_of,
    log_counts,
    missing_module,
)
from bench.sets import LABELS, splits
from bench.splits import split
from bench.spread import spread_table
from run import Results, Run
from scipy import sparse
from sklearn.metrics import f1_score, roc_auc_score
from sklearn.model_selection import StratifiedKFold

import yoto_sc as yt
from yoto_sc.metrics import expected_calibration_error

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import anndata as ad
    from bench.pairs import Pair
    from numpy.typing import NDArray

    Score = tuple[str, str, float]

HERE = Path(__file__).parent
CACHE = HERE.parent / ".cache/transfer"
SIZES = (16, 32, 64)
MIDDLE = (32,)
"""Sizes of the settings that are not about the size."""
ROBUST: dict[str, dict[str, Any]] = {
    "default": {},
    "none": {"robust": None},
    "thin": {"robust": "thin"},
    "technology": {"robust": "technology"},
}
"""Arguments of `tl.select`."""
ADAPT = ("none", "auto")
FACTORS = (0.1, 0.25, 0.5, 1, 5)
CONFIDENT, MAY_BE_REFUSED = 0.8, 0.05
FEW = (5, 20)
N_DRAWS, N_FEW_CELLS, MAIN_SHARE, MOST_OF_ONE = 10, 30, 0.8, 400
TRAPS = {
    "one": "one class",
    "two": "two classes",
    "eighty": "80 % of one class",
    "thirty": "30 cells",
}
DEPTH_DATA = ("kang8", "zheng17")


@dataclass(frozen=True)
class Fitted:
    """A panel and its model.

    Parameters
    ----------
    folder
        Of the model.
    genes
        The panel.
    scores
        On the held-out cells of the reference, and what the selection took.
    held_out
        Names of these cells.
    """

    folder: Path
    genes: list[str]
    scores: dict[str, float]
    held_out: list[str]

    @property
    def reference_scores(self) -> list[Score]:
        """Rows of the results."""
        return [("", name, value) for name, value in self.scores.items()]


@dataclass(frozen=True)
class Said:
    """What was said of cells; no label is "", and its confidence NaN or anything."""

    labels: NDArray[np.str_]
    confidence: NDArray[np.floating]
    novelty: NDArray[np.floating] | None = None


def of_pairs(results: Results, args: argparse.Namespace) -> None:
    """Label the query with the saved model; know the query's labels, for a ceiling."""
    setting = "pairs whole" if args.whole else "pairs"
    for pair, seed, size in _asked(args):
        for robust in args.robust or ROBUST:
            named = {
                name: Run(pair.name, pair.key, setting, seed, f"{robust} {name}", size)
                for name in (*ADAPT, "ceiling")
            }
            if not can("adapt"):
                _skip("adapt", 'tl.predict has no argument adapt: adapt="auto" is left out')
                del named["auto"]
            wanted = {name: run for name, run in named.items() if run not in results.done}
            if not wanted or (fitted := fit(pair.reference, pair.key, size, seed, robust)) is None:
                continue
            truth = labels_of(pair.query[pair.judged], pair.key)
            for name, run in wanted.items():
                if name == "ceiling":
                    found = _score(pair.key, truth, ceiling(pair, fitted.genes, seed))
                else:
                    seconds = time.process_time()
                    said = predict(pair.query, fitted, pair.key, adapt=name)
                    seconds = time.process_time() - seconds
                    found = _score(pair.key, truth, _part(said, pair.judged))
                    found += [("", "predict_cpu_seconds", seconds), *fitted.reference_scores]
                _add(results, run, found)


def of_rivals(results: Results, args: argparse.Namespace) -> None:
    """Label the query with what others make of the same panel."""
    setting = "rivals whole" if args.whole else "rivals"
    for pair, seed, size in _asked(args):
        for name in args.rivals:
            run = Run(pair.name, pair.key, setting, seed, name, size)
            if run in results.done:
                continue
            if module := missing_module(name):
                _skip(name, f"{name} is left out: {module} is not installed")
                continue
            fitted = fit(pair.reference, pair.key, size, seed, "default")
            reference, query = (
                part[:, fitted.genes].copy() for part in (pair.reference, pair.query)
            )
            seconds = time.process_time()
            try:
                p, classes = RIVALS[name](reference, query, pair.key, seed)
            except Exception as error:  # noqa: BLE001 - whatever a rival raises is a result
                results.add(run, [("", "failed", np.nan)], note=f"{type(error).__name__}: {error}")
                print(f"{pair.name} {name}: {type(error).__name__}: {error}", flush=True)
                continue
            seconds = time.process_time() - seconds
            said = _part(Said(classes[p.argmax(axis=1)], p.max(axis=1)), pair.judged)
            truth = labels_of(pair.query[pair.judged], pair.key)
            _add(results, run, [*_score(pair.key, truth, said), ("", "cpu_seconds", seconds)])


def of_depth(results: Results, args: argparse.Namespace) -> None:
    """Label held-out cells with fewer counts, or with five times as many."""
    for name in DEPTH_DATA:
        if missing := missing_file(name):
            _skip(name, f"{name}: left out, {missing}")
            continue
        key = LABELS[name]
        for seed, train, test in splits(name, [key], args.seeds):
            queries = {f: with_depth(test, f, seed) for f in FACTORS}
            truth = labels_of(test, key)
            for size in args.sizes or MIDDLE:
                for robust in args.robust or ROBUST:
                    for adapt in ADAPT if can("adapt") else ADAPT[:1]:
                        run = Run(name, key, "depth", seed, f"{robust} {adapt}", size)
                        if run in results.done:
                            continue
                        if (fitted := fit(train, key, size, seed, robust)) is None:
                            continue
                        found: list[Score] = []
                        for factor, query in queries.items():
                            said = predict(query, fitted, key, adapt=adapt)
                            right = said.labels == truth
                            sure = (said.labels != "") & (said.confidence > CONFIDENT)
                            end = f"_x{factor:g}"
                            found += [
                                (key, f"accuracy{end}", right.mean()),
                                (key, f"labelled{end}", sure.mean()),
                                (key, f"labelled_right{end}", (right & sure).mean()),
                                (key, f"accuracy_of_labelled{end}", _mean(right[sure])),
                            ]
                        _add(results, run, found)


def of_traps(results: Results, args: argparse.Namespace) -> None:
    """Label queries that are composed as no sample is; compare aligning them with leaving them."""
    if not can("adapt"):
        _skip("traps", "traps are left out: tl.predict has no argument adapt")
        return
    for pair, seed, size in _asked(args, MIDDLE):
        for robust in args.robust or ["default"]:
            for side in ("query", "reference"):
                run = Run(pair.name, pair.key, f"traps {side}", seed, robust, size)
                if run in results.done:
                    continue
                refit = side == "query"  # else its held-out cells have been learned from
                fitted = fit(pair.reference, pair.key, size, seed, robust, refit=refit)
                if fitted is None:
                    continue
                cells = pair.query[pair.judged] if refit else pair.reference[fitted.held_out]
                _add(results, run, trap_scores(cells.copy(), fitted, pair.key, seed))


def trap_scores(cells: ad.AnnData, fitted: Fitted, key: str, seed: int) -> list[Score]:
    """Return, for each kind of trap, mean and worst gain in accuracy, and the accuracy without."""
    found: list[Score] = []
    drawn = list(traps(labels_of(cells, key), np.random.default_rng([seed, 3])))
    for kind in TRAPS:
        before, gains = [], []
        for own in (index for name, index in drawn if name == kind):
            truth = labels_of(cells[own], key)
            left, aligned = (
                (predict(cells[own], fitted, key, adapt=adapt).labels == truth).mean()
                for adapt in ADAPT
            )
            before.append(left)
            gains.append(aligned - left)
        if gains:
            found += [
                (key, f"{kind}_gain", float(np.mean(gains))),
                (key, f"{kind}_worst", float(np.min(gains))),
                (key, f"{kind}_without", float(np.mean(before))),
                (key, f"{kind}_n", len(gains)),
            ]
    return found


def traps(
    labels: NDArray[np.str_], rng: np.random.Generator
) -> Iterator[tuple[str, NDArray[np.intp]]]:
    """Draw queries: kind of trap, and cells."""
    names, counts = np.unique(labels, return_counts=True)
    of_class = {n: rng.permutation(np.flatnonzero(labels == n))[:MOST_OF_ONE] for n in names}
    large = [name for name, n in zip(names, counts, strict=True) if n >= SMALLEST_CLASS]
    for name in large:
        yield "one", of_class[name]
        others = rng.permutation(np.flatnonzero(labels != name))
        per_other = MAIN_SHARE / (1 - MAIN_SHARE)
        n_others = min(len(others), round(len(of_class[name]) / per_other))
        n_own = min(len(of_class[name]), round(per_other * n_others))
        yield "eighty", np.concatenate([of_class[name][:n_own], others[:n_others]])
    both = list(combinations(large, 2))
    for i in rng.permutation(len(both))[:N_DRAWS]:
        yield "two", np.concatenate([of_class[name] for name in both[i]])
    for _ in range(N_DRAWS):
        yield "thirty", rng.permutation(len(labels))[:N_FEW_CELLS]


def of_few(results: Results, args: argparse.Namespace) -> None:
    """Refit with a few labelled cells of the query, and label its other cells."""
    if not hasattr(yt.tl, "adapt"):
        _skip("few", "a few labelled cells are left out: there is no tl.adapt")
        return
    for pair, seed, size in _asked(args, MIDDLE):
        query = pair.query[pair.judged].copy()
        labels = labels_of(query, pair.key)
        chosen = {n: few_cells(labels, n, seed) for n in FEW}
        test = ~np.isin(np.arange(len(labels)), chosen[max(FEW)])
        for robust in args.robust or ["default"]:
            methods = [f"{kind}{n}" for kind in ("adapt", "logistic") for n in FEW]
            for name in ("unlabelled", *methods):
                run = Run(pair.name, pair.key, "few", seed, f"{robust} {name}", size)
                if run in results.done:
                    continue
                if (fitted := fit(pair.reference, pair.key, size, seed, robust)) is None:
                    break
                if name == "unlabelled":
                    said = predict(query, fitted, pair.key)
                elif name.startswith("adapt"):
                    own = chosen[int(name.removeprefix("adapt"))]
                    said = predict_adapted(query, own, fitted, pair.key)
                else:
                    own = chosen[int(name.removeprefix("logistic"))]
                    x = log_counts(query[:, fitted.genes])
                    p, classes = fit_logistic(x[own], labels[own], x)
                    said = Said(classes[p.argmax(axis=1)], p.max(axis=1))
                _add(results, run, _score(pair.key, labels[test], _part(said, test)))


def few_cells(labels: NDArray[np.str_], n: int, seed: int) -> NDArray[np.intp]:
    """Draw `n` cells of each class, but no more than half of it; 5 are among 20."""
    order = np.random.default_rng([seed, 4]).permutation(len(labels))
    own = [order[labels[order] == name] for name in np.unique(labels)]
    return np.concatenate([cells[: min(n, len(cells) // 2)] for cells in own])


def predict_adapted(query: ad.AnnData, own: NDArray[np.intp], fitted: Fitted, key: str) -> Said:
    """Refit the model with the labels of these cells; label all cells."""
    given = _unlabelled(query, fitted.genes)
    known = np.isin(np.arange(query.n_obs), own)
    labels = query.obs[key].where(known)
    given.obs[key] = labels.astype("category").cat.remove_unused_categories()
    model = yt.tl.adapt(given, fitted.folder, categorical_keys=[key], progress_bar=False)
    return predict(query, fitted, key, model=model)


def of_unknown(results: Results, args: argparse.Namespace) -> None:
    """Hide one class from the reference; see whether its cells are told from the others."""
    if not can("unknown"):
        _skip("unknown", "unknown types are left out: tl.predict has no argument unknown")
        return
    for pair, seed, size in _asked(args, MIDDLE):
        labels = pair.reference.obs[pair.key]
        frequent = labels.where(labels.map(labels.value_counts()).astype(int) >= SMALLEST_CLASS)
        cells = pair.reference[frequent.notna().to_numpy()].copy()
        cells.obs[pair.key] = cells.obs[pair.key].cat.remove_unused_categories()
        train, test = split("cells", cells.obs[pair.key], None, seed)
        sides = {"reference": cells[test].copy(), "query": pair.query[pair.judged].copy()}
        for hidden in pair.classes:
            seen = cells[train][(cells.obs[pair.key].iloc[train] != hidden).to_numpy()].copy()
            seen.obs[pair.key] = seen.obs[pair.key].cat.remove_unused_categories()
            if seen.obs[pair.key].nunique() < 2:
                continue
            for robust in args.robust or ["default"]:
                run = Run(pair.name, pair.key, f"unknown {hidden}", seed, robust, size)
                if run in results.done:
                    continue
                if (fitted := fit(seen, pair.key, size, seed, robust)) is None:
                    continue
                found: list[Score] = []
                for side, part in sides.items():
                    said = predict(part, fitted, pair.key, unknown=MAY_BE_REFUSED)
                    new, refused = labels_of(part, pair.key) == hidden, said.labels == ""
                    found += [
                        (pair.key, f"auc_{side}", float(roc_auc_score(new, said.novelty))),
                        (pair.key, f"refused_known_{side}", refused[~new].mean()),
                        (pair.key, f"refused_new_{side}", refused[new].mean()),
                    ]
                _add(results, run, found)


SETTINGS = {
    "pairs": of_pairs,
    "rivals": of_rivals,
    "depth": of_depth,
    "traps": of_traps,
    "few": of_few,
    "unknown": of_unknown,
}


def _asked(
    args: argparse.Namespace, sizes: Sequence[int] = SIZES
) -> Iterator[tuple[Pair, int, int]]:
    names = []
    for name in args.pairs:
        if missing := _missing(name):
            _skip(name, f"{name}: left out, {missing}")
        else:
            names.append(name)
    for pair in pairs(names, whole=args.whole):
        for seed in args.seeds:
            for size in args.sizes or sizes:
                yield pair, seed, size


def _missing(name: str) -> str | None:
    """Return why a pair cannot be read here, or `None`."""
    files = {
        "chemistry": ("pbmc3tech1200.h5ad",),
        "condition": ("kang18_stim1556.h5ad",),
        "sorted": ("zheng17_sorted.h5ad", "kang18_stim1556.h5ad"),
        "plates": ("zheng17_sorted.h5ad", "geact_fetal7.h5ad"),
    }
    kind = PAIRS[name][0]
    wanted = files.get(kind) or (SOURCES[name.split()[0]].file,)
    absent = [file for file in wanted if not path_of(file).exists()]
    return f"{', '.join(absent)} is not where YOTO_BENCHMARK_DATA says" if absent else None


@cache
def _skip(what: str, line: str) -> None:
    """Say once what is left out."""
    print(line, flush=True)


@cache
def can(argument: str) -> bool:
    """Return whether `tl.predict` has this argument."""
    return argument in inspect.signature(yt.tl.predict).parameters


def fit(
    adata: ad.AnnData, key: str, size: int, seed: int, robust: str, *, refit: bool = True
) -> Fitted | None:
    """Select and train, or read what was trained; `None` if there is no such `robust`."""
    default = inspect.signature(yt.tl.select).parameters["robust"].default
    value = ROBUST[robust].get("robust", default)
    folder = CACHE / _source() / f"{_digest(adata, key)}_{size}_{seed}_{value}_{refit}"
    record = folder / "fitted.json"
    if not record.exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.parent.mkdir(parents=True, exist_ok=True)
        seconds = time.process_time()
        try:
            selected = yt.tl.select(
                adata,
                size,
                categorical_keys=key,
                group_key=None,
                random_state=seed,
                model_dir=folder,
                progress_bar=False,
                train_kwargs={} if refit else {"refit": False},
                copy=True,
                **ROBUST[robust],
            )
        except ValueError as error:
            if not str(error).startswith("robust must be"):
                raise
            _skip(robust, f'robust="{robust}" is left out: {error}')
            return None
        seconds = time.process_time() - seconds
        found = selected.uns["yoto"]
        own = found["metrics"].loc[key]
        scores = {
            f"reference_{name}": float(own[column])
            for name, column in (
                ("macro_f1", "macro_f1"),
                ("accuracy", "accuracy"),
                ("ece", "calibration_error"),
            )
        }
        content = {
            "genes": yt.Panel.from_adata(selected).genes,
            "scores": {**scores, "cpu_seconds": seconds},
            "held_out": found["held_out"].index.astype(str).unique().tolist(),
        }
        record.write_text(json.dumps(content))
    content = json.loads(record.read_text())
    return Fitted(folder, list(content["genes"]), content["scores"], content["held_out"])


def _digest(adata: ad.AnnData, key: str) -> str:
    """Return a digest of counts, genes and labels."""
    counts = sparse.csr_matrix(adata.X)
    digest = hashlib.sha256()
    for part in (counts.data, counts.indices, counts.indptr):
        digest.update(np.ascontiguousarray(part).tobytes())
    for names in (adata.var_names, adata.obs_names, labels_of(adata, key)):
        digest.update("\n".join(names).encode())
    return digest.hexdigest()[:16]


@cache
def _source() -> str:
    """Return a digest of the package's source."""
    digest = hashlib.sha256()
    root = Path(yt.__file__).parent
    for file in sorted(root.rglob("*.py")):
        digest.update(str(file.relative_to(root)).encode() + file.read_bytes())
    return digest.hexdigest()[:12]


def predict(
    cells: ad.AnnData,
    fitted: Fitted,
    key: str,
    *,
    adapt: str | None = None,
    unknown: float | None = None,
    model: yt.model.YOTO | None = None,
) -> Said:
    """Label cells by `tl.predict`, from the panel's genes alone; `None`: by its default."""
    measured = _unlabelled(cells, fitted.genes)
    arguments: dict[str, Any] = {}
    if adapt is not None and can("adapt"):
        arguments["adapt"] = adapt
    if unknown is not None:
        arguments["unknown"] = unknown
    yt.tl.predict(measured, fitted.folder if model is None else model, **arguments)
    labels = measured.obs[f"yoto_{key}"].astype(object)
    novelty = measured.obs.get(f"yoto_{key}_novelty")
    return Said(
        labels.where(labels.notna(), "").astype(str).to_numpy(),
        measured.obs[f"yoto_{key}_confidence"].to_numpy(float),
        None if novelty is None else novelty.to_numpy(float),
    )


def _unlabelled(cells: ad.AnnData, genes: Sequence[str]) -> ad.AnnData:
    """Copy the panel's counts, and nothing else."""
    measured = cells[:, list(genes)].copy()
    measured.obs = pd.DataFrame(index=measured.obs_names)
    return measured


def ceiling(pair: Pair, genes: Sequence[str], seed: int) -> Said:
    """Label each half of the query by logistic regression on the other half."""
    query = pair.query[pair.judged]
    x, labels = log_counts(query[:, list(genes)]), labels_of(query, pair.key)
    said = Said(np.empty(len(labels), dtype=object), np.empty(len(labels)))
    for train, test in StratifiedKFold(2, shuffle=True, random_state=seed).split(x, labels):
        p, classes = fit_logistic(x[train], labels[train], x[test])
        said.labels[test], said.confidence[test] = classes[p.argmax(axis=1)], p.max(axis=1)
    return Said(said.labels.astype(str), said.confidence)


def with_depth(adata: ad.AnnData, factor: float, seed: int) -> ad.AnnData:
    """Return a copy with a share of the counts, drawn one by one, or with a multiple of them."""
    adata = adata.copy()
    if factor < 1:
        rng = np.random.default_rng([seed, 5])
        adata.X.data = rng.binomial(adata.X.data.astype(np.int64), factor).astype(np.float32)
        adata.X.eliminate_zeros()
    else:
        adata.X.data = adata.X.data * np.float32(factor)
    return adata


def _score(key: str, truth: NDArray[np.str_], said: Said) -> list[Score]:
    """Score labels; a cell without one is wrong, but has no confidence to be judged."""
    right, labelled = said.labels == truth, said.labels != ""
    macro_f1 = f1_score(
        truth, said.labels, labels=np.unique(truth), average="macro", zero_division=0
    )
    confidence = said.confidence[labelled].clip(0, 1)
    return [
        (key, "macro_f1", float(macro_f1)),
        (key, "accuracy", float(right.mean())),
        (key, "ece", expected_calibration_error(right[labelled], confidence)),
        (key, "na", float(1 - labelled.mean())),
    ]


def _part(said: Said, cells: NDArray[np.bool_]) -> Said:
    novelty = None if said.novelty is None else said.novelty[cells]
    return Said(said.labels[cells], said.confidence[cells], novelty)


def _mean(values: NDArray[np.bool_]) -> float:
    return float(values.mean()) if len(values) else float("nan")


def _add(results: Results, run: Run, scores: Sequence[Score]) -> None:
    results.add(run, scores)
    shown = [f"{name} {value:.3f}" for _, name, value in scores[:4]]
    print(f"{run.dataset} {run.setting} {run.split} {run.method} {run.size}:", *shown, flush=True)


def write_tables(path: Path, to: Path) -> None:
    """Render the results that there are."""
    rows = pd.read_csv(path, dtype={"note": str})
    rows["group"] = rows["dataset"].map(lambda name: PAIRS.get(name, ("",))[0])
    parts = [
        "# Another assay\n",
        "Made by `benchmarks/transfer.py --table`. Panels are selected and models trained on one "
        "assay, and label all cells of another. Means over pairs, ± standard deviation over "
        "seeds; `worst` is the worst of the twelve pairs of assays, by its mean over seeds. "
        "A method is shown where it has all pairs of a kind. The ceiling knows the labels of half "
        "of the query, and is judged on the other half.\n",
    ]
    for whole, title in (("", ""), (" whole", ", cells of other classes in it")):
        own = rows[rows["setting"].isin([f"pairs{whole}", f"rivals{whole}"])]
        if len(own):
            parts += [f"## The query{title}\n", *_pair_tables(own)]
    parts += _depth_tables(rows[rows["setting"] == "depth"])
    parts += _trap_tables(rows[rows["setting"].str.startswith("traps")])
    few = rows[rows["setting"] == "few"]
    if len(few):
        parts.append("## A few labelled cells of the query\n")
        parts += _score_tables(few, {"macro_f1": "Macro-F1", "accuracy": "Accuracy"}, _few_names())
    parts += _unknown_tables(rows[rows["setting"].str.startswith("unknown")])
    failed = rows[rows["score"] == "failed"]
    if len(failed):
        parts.append("## What did not run\n")
        named = failed.groupby(["method", "note"], sort=False)["dataset"].agg(", ".join)
        parts += [f"- {method}, on {on}: {note}" for (method, note), on in named.items()]
    to.write_text("\n".join(parts).rstrip("\n") + "\n")


def _names() -> dict[str, str]:
    """Return how methods of pairs are written, in order."""
    said = {"none": 'adapt="none"', "auto": 'adapt="auto"', "ceiling": "ceiling: half the labels"}
    names = {}
    for robust in ROBUST:
        title = "default" if robust == "default" else f'robust="{robust}"'
        title = "robust=None" if robust == "none" else title
        names |= {f"{robust} {name}": f"{title}, {text}" for name, text in said.items()}
    return {**names, **RIVAL_NAMES}


def _few_names() -> dict[str, str]:
    names = {}
    for robust in ROBUST:
        start = "" if robust == "default" else f"{robust}: "
        names[f"{robust} unlabelled"] = f"{start}no label"
        for n in FEW:
            names[f"{robust} adapt{n}"] = f"{start}tl.adapt, {n} cells of each class"
            names[f"{robust} logistic{n}"] = f"{start}logistic regression on {n} cells alone"
    return names


def _pair_tables(rows: pd.DataFrame) -> Iterator[str]:
    scores = {
        "macro_f1": "Macro-F1",
        "accuracy": "Accuracy",
        "ece": "Expected calibration error (lower is better)",
        "na": "Share of cells without a label (lower is better)",
        "reference_macro_f1": "Macro-F1 on held-out cells of the reference",
        "cpu_seconds": "CPU seconds: of a selection, of a rival",
    }
    yield from _score_tables(rows, scores, _names())
    yield "**Macro-F1, every pair**\n"
    own = rows[rows["score"] == "macro_f1"]
    for size, part in own.groupby("size"):
        yield f"{size} genes:\n"
        yield _by_pair(part)


def _by_pair(rows: pd.DataFrame) -> str:
    """Write pairs by methods."""
    names = _names()
    wide = rows.pivot_table(index="dataset", columns="method", values="value")
    wide = wide.loc[[n for n in PAIRS if n in wide.index], [n for n in names if n in wide]]
    lines = [["pair", *(names[n] for n in wide)], ["---", *["---:"] * wide.shape[1]]]
    for pair, values in wide.iterrows():
        lines.append([str(pair), *("–" if pd.isna(v) else f"{v:.3f}" for v in values)])
    return _markdown(lines)


def _score_tables(
    rows: pd.DataFrame, scores: dict[str, str], names: dict[str, str]
) -> Iterator[str]:
    """Write methods by kinds of pairs, for each size."""
    for score, title in scores.items():
        own = rows[rows["score"] == score]
        if own.empty or (score == "na" and not own["value"].any()):
            continue
        lower = "f1" not in score and score != "accuracy"
        averaged = {size: _over_pairs(part, lower=lower) for size, part in own.groupby("size")}
        averaged = {size: part for size, part in averaged.items() if len(part)}
        if averaged:
            yield f"**{title}**\n"
        for size, part in averaged.items():
            yield f"{size} genes:\n"
            ceilings = [f"{robust} ceiling" for robust in ROBUST]
            yield spread_table(part, ["over"], names, lower=lower, unranked=ceilings)


def _over_pairs(rows: pd.DataFrame, *, lower: bool) -> pd.DataFrame:
    """Average over the pairs of each kind, where a method has them all; find the worst."""
    kinds = {
        "chemistries": ("chemistry",),
        "other assays": SHIFTS,
        "both": ("chemistry", *SHIFTS),
        "no change": ("control",),
    }
    parts = []
    for title, own in kinds.items():
        part = rows[rows["group"].isin(own)]
        n_pairs = sum(kind in own for kind, *_ in PAIRS.values())
        means = part.groupby(["method", "split"], sort=False)["value"].agg(["mean", "count"])
        means = means[means["count"] == n_pairs]["mean"].rename("value").reset_index()
        parts.append(means.assign(over=f"{title} ({n_pairs})"))
        if title == "both":
            complete = part[part["method"].isin(means["method"])]
            by_pair = complete.groupby(["method", "dataset"], sort=False)["value"].mean()
            worst = by_pair.groupby("method").agg("max" if lower else "min")
            parts.append(worst.reset_index().assign(over="worst", split=0))
    return pd.concat(parts)


def _depth_tables(rows: pd.DataFrame) -> Iterator[str]:
    if rows.empty:
        return
    yield "## Other depths, on held-out cells of the same assay\n"
    titles = {
        "accuracy": "Accuracy of all cells",
        "labelled": f"Share of cells with more confidence than {CONFIDENT}",
        "labelled_right": f"Share of cells with more confidence than {CONFIDENT}, and right",
        "accuracy_of_labelled": f"Accuracy of the cells with more confidence than {CONFIDENT}",
    }
    found = rows["score"].str.extract(r"^(?P<what>\w+)_x(?P<depth>[\d.]+)$")
    rows = rows.assign(what=found["what"], depth="x " + found["depth"])
    for what, title in titles.items():
        yield f"**{title}**\n"
        for size, part in rows[rows["what"] == what].groupby("size"):
            yield f"{size} genes:\n"
            yield spread_table(part, ["dataset", "depth"], _names())


def _trap_tables(rows: pd.DataFrame) -> Iterator[str]:
    if rows.empty:
        return
    yield "## Queries that are composed as no sample is\n"
    yield 'Accuracy with `adapt="auto"` less that with `adapt="none"`, over pairs and seeds.\n'
    lines = [["", "size", "mean", "worst", 'accuracy, `"none"`'], ["---", *["---:"] * 4]]
    keys = ["setting", "method", "size"]
    for (setting, method, size), part in rows.groupby(keys, sort=False):
        for kind, title in TRAPS.items():
            own = {
                name: part[part["score"] == f"{kind}_{name}"]["value"]
                for name in ("gain", "worst", "without")
            }
            if own["gain"].empty:
                continue
            where = setting.removeprefix("traps ")
            figures = own["gain"].mean(), own["worst"].min(), own["without"].mean()
            text = f"{title}, cells of the {where}{'' if method == 'default' else f', {method}'}"
            signed = [f"{figures[0]:+.3f}", f"{figures[1]:+.3f}", f"{figures[2]:.3f}"]
            lines.append([text, str(size), *signed])
    yield _markdown(lines)


def _unknown_tables(rows: pd.DataFrame) -> Iterator[str]:
    if rows.empty:
        return
    yield "## A class that the reference lacks\n"
    yield (
        f"Each class was hidden once; `unknown={MAY_BE_REFUSED}`. AUC of the novelty, and shares "
        "of cells refused. Means over classes and pairs.\n"
    )
    names = {name: "default" if name == "default" else name for name in ROBUST}
    for side in ("reference", "query"):
        own = rows[rows["score"].str.endswith(f"_{side}")]
        own = own.assign(score=own["score"].str.removesuffix(f"_{side}").str.replace("_", " "))
        yield f"**Cells of the {side}**\n"
        for size, part in own.groupby("size"):
            yield f"{size} genes:\n"
            means = part.groupby(["method", "group", "score", "split"], sort=False)["value"]
            yield spread_table(means.mean().reset_index(), ["group", "score"], names)


def _markdown(lines: list[list[str]]) -> str:
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    known = (*ROBUST, *RIVALS)
    parser.add_argument("--out", type=Path, default=HERE / "results/transfer.csv")
    parser.add_argument("--setting", nargs="+", choices=SETTINGS, default=["pairs"])
    parser.add_argument("--pairs", nargs="+", choices=PAIRS, default=list(PAIRS), metavar="PAIR")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, help="all pairs of these kinds")
    parser.add_argument("--sizes", nargs="+", type=int, help="default: as the setting has it")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1])
    parser.add_argument(
        "--methods", nargs="+", choices=known, default=[], help="values of robust, and rivals"
    )
    parser.add_argument(
        "--whole", action="store_true", help="leave cells of other classes in the query"
    )
    parser.add_argument(
        "--table", action="store_true", help="render results/transfer.md, compute nothing"
    )
    args = parser.parse_args(argv)
    args.robust = [name for name in args.methods if name in ROBUST]
    args.rivals = [name for name in args.methods if name in RIVALS] or list(RIVALS)
    if args.kinds:
        args.pairs = [name for name in args.pairs if PAIRS[name][0] in args.kinds]
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
        write_tables(args.out, HERE / "results/transfer.md")
        return 0
    results = Results(args.out)
    for setting in args.setting:
        SETTINGS[setting](results, args)
    return 0


if __name__ == "__main__":
    sys.exit(main())
