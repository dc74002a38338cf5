"""Panels that are selected without any label, and what they keep of all other genes.

Every panel is appended to a CSV file as soon as it is scored, and not computed again. All scores
are made here, by scikit-learn and scanpy, and on cells that no selection saw.
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
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anndata as ad
import numpy as np
import pandas as pd
import scanpy as sc
from bench.sets import LABELS, splits
from bench.spread import over_data, spread_table
from methods import Method
from methods.base import Fitted, Training
from methods.external import reconstruct
from run import Results, Run
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.metrics import f1_score, normalized_mutual_info_score, r2_score
from sklearn.neighbors import KNeighborsRegressor, NearestNeighbors
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import yoto_sc as yt

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray
    from scipy import sparse

    Score = tuple[str, str, float]

HERE = Path(__file__).parent
SIZES = (32, 64)
N_VARIABLE, N_COMPONENTS, N_NEIGHBORS, N_IMPUTED = 2000, 30, 15, 500
RESOLUTIONS = (0.5, 1.0, 2.0)
ALPHAS = np.logspace(-2, 4, 13)
NAMES = {
    "transcriptome": "transcriptome=True",
    "loadings": "largest loadings in turn",
    "spapros_pca": "Spapros, by components",
    "scmer": "SCMER",
    "highly_variable": "highly variable",
    "random": "random",
    "labels": "(selected for the label)",
}
OURS: dict[str, Any] = {"transcriptome": {"transcriptome": True}, "labels": {}}
"""Arguments of `tl.select`. That for the label is no rival: it has seen what others have not."""
OTHERS = {
    "loadings": Method("loadings"),
    "spapros_pca": Method("spapros_pca"),
    "scmer": Method("scmer"),
    "highly_variable": Method("highly_variable"),
    "random": Method("random_genes"),
}
SCORES = {
    "r2": "R² of the 30 components, ridge regression on the panel",
    "neighbors": "Share of 15 neighbours that all genes find too",
    "neighbors_ridge": "The same, in the components that ridge regression predicts",
    "nmi": "Mutual information of Leiden clusters, panel and all genes",
    "label_macro_f1": "Macro-F1 of the label, logistic regression on the panel",
    "cpu_seconds": "CPU seconds of the selection",
}
ESTIMATORS = {
    "knn": KNeighborsRegressor(N_NEIGHBORS),
    "ridge": make_pipeline(StandardScaler(), RidgeCV(ALPHAS)),
}
IMPUTERS = {
    "impute": "tl.impute",
    "knn": "nearest neighbours",
    "ridge": "ridge regression",
    "markermap": "MarkerMap (a panel of its own)",
}
OWN_PANEL = "markermap"
"""The imputer that selects its panel itself; beside those of `transcriptome`."""


@dataclass(frozen=True)
class Cells:
    """Cells to select and train on, and cells to judge on; what all genes say of these.

    Parameters
    ----------
    train, test
        Counts in CSR, and the label.
    key
        Column of ``obs`` with the label.
    """

    train: ad.AnnData
    test: ad.AnnData
    key: str

    @cached_property
    def normalized(self) -> tuple[sparse.csr_matrix, sparse.csr_matrix]:
        """Logarithms of counts for each median total of the training cells."""
        target = float(np.median(np.asarray(self.train.X.sum(axis=1))))
        found = []
        for adata in (self.train, self.test):
            part = ad.AnnData(adata.X.copy())
            sc.pp.normalize_total(part, target_sum=target)
            sc.pp.log1p(part)
            found.append(part.X)
        return found[0], found[1]

    @cached_property
    def variable(self) -> NDArray[np.intp]:
        """The most variable genes of the training cells, by normalised dispersion."""
        part = ad.AnnData(self.normalized[0])
        part.uns["log1p"] = {"base": None}
        n_variable = min(N_VARIABLE, part.n_vars)
        table = sc.pp.highly_variable_genes(part, n_top_genes=n_variable, inplace=False)
        return np.flatnonzero(table["highly_variable"])

    @cached_property
    def target(self) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
        """Components of the variable genes."""
        return self._components(self.variable)

    @cached_property
    def whole(self) -> NDArray[np.floating]:
        """Components of all genes, of the cells to judge on."""
        return self._components(np.arange(self.train.n_vars))[1]

    def _components(
        self, genes: NDArray[np.intp]
    ) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
        train, test = (part[:, genes].toarray() for part in self.normalized)
        pca = PCA(N_COMPONENTS, svd_solver="arpack", random_state=0).fit(train)
        return pca.transform(train), pca.transform(test)

    @cached_property
    def neighbors(self) -> NDArray[np.intp]:
        """Neighbours by all genes, among the cells to judge on."""
        return nearest(self.whole)

    @cached_property
    def clusters(self) -> list[NDArray[np.str_]]:
        """Clusters by all genes, of the cells to judge on."""
        return leiden(self.whole)

    def panel(self, genes: Sequence[str]) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
        """Return what the panel measures: log counts, without the totals of all genes."""
        return tuple(np.log1p(a[:, list(genes)].X.toarray()) for a in (self.train, self.test))

    @cached_property
    def imputed(self) -> NDArray[np.intp]:
        """Genes by their variance in the training cells, largest first."""
        matrix = self.normalized[0]
        mean = np.asarray(matrix.mean(axis=0)).ravel()
        variance = np.asarray(matrix.power(2).mean(axis=0)).ravel() - mean**2
        return np.argsort(-variance, kind="stable")


def nearest(points: NDArray[np.floating]) -> NDArray[np.intp]:
    """Return the 15 nearest neighbours of every point."""
    return NearestNeighbors(n_neighbors=N_NEIGHBORS).fit(points).kneighbors(return_distance=False)


def leiden(points: NDArray[np.floating]) -> list[NDArray[np.str_]]:
    """Cluster the graph of 15 neighbours, at three resolutions."""
    adata = ad.AnnData(np.asarray(points, dtype=np.float32))
    sc.pp.neighbors(adata, n_neighbors=N_NEIGHBORS, use_rep="X", random_state=0)
    found = []
    for resolution in RESOLUTIONS:
        sc.tl.leiden(
            adata,
            resolution=resolution,
            flavor="igraph",
            n_iterations=2,
            directed=False,
            random_state=0,
        )
        found.append(adata.obs["leiden"].to_numpy(str))
    return found


def fit(method: str, cells: Cells, size: int, seed: int, folder: Path | None = None) -> Fitted:
    """Select `size` genes."""
    unlabelled = cells.train.copy()
    unlabelled.obs = unlabelled.obs[[]]
    if method in OTHERS:
        return OTHERS[method].fit(Training(unlabelled, (), (), is_counts=True), size, seed)
    selected = yt.tl.select(
        cells.train if method == "labels" else unlabelled,
        size,
        group_key=None,
        random_state=seed,
        model_dir=folder,
        progress_bar=False,
        copy=True,
        **({"categorical_keys": cells.key} if method == "labels" else OURS[method]),
    )
    return Fitted(yt.Panel.from_adata(selected).genes)


def run_panels(results: Results, run: Run, cells: Cells, args: argparse.Namespace) -> None:
    """Select and score what is missing."""
    for method in args.methods:
        for size in args.sizes:
            run = replace(run, method=method, size=size)
            if run in results.done:
                continue
            seconds, cpu_seconds = time.perf_counter(), time.process_time()
            fitted = fit(method, cells, size, run.split)
            cost = {
                "seconds": time.perf_counter() - seconds,
                "cpu_seconds": time.process_time() - cpu_seconds,
                **(fitted.cost or {}),
            }
            scores = {**panel_scores(cells, fitted.genes), **cost, "n_genes": len(fitted.genes)}
            _add(results, run, scores)


def panel_scores(cells: Cells, genes: Sequence[str]) -> dict[str, float]:
    """Return all scores of a panel."""
    measured = cells.panel(genes)
    scaler = StandardScaler().fit(measured[0])
    train, test = (scaler.transform(part) for part in measured)
    predicted = RidgeCV(ALPHAS).fit(train, cells.target[0]).predict(test)
    logistic = LogisticRegression(max_iter=500, tol=1e-3)
    labels = cells.train.obs[cells.key].astype(str)
    truth = cells.test.obs[cells.key].astype(str)
    found = logistic.fit(train, labels).predict(test)
    clusters = zip(cells.clusters, leiden(measured[1]), strict=True)
    return {
        "r2": r2_score(cells.target[1], predicted, multioutput="variance_weighted"),
        "neighbors": shared(cells.neighbors, nearest(measured[1])),
        "neighbors_ridge": shared(cells.neighbors, nearest(predicted)),
        "nmi": float(np.mean([normalized_mutual_info_score(a, b) for a, b in clusters])),
        "label_macro_f1": f1_score(truth, found, average="macro", labels=np.unique(truth)),
    }


def shared(first: NDArray[np.intp], second: NDArray[np.intp]) -> float:
    """Return the share of neighbours that are in both lists of a cell."""
    pairs = zip(first, second, strict=True)
    return float(np.mean([len(np.intersect1d(a, b)) / len(a) for a, b in pairs]))


def run_imputers(results: Results, run: Run, cells: Cells, args: argparse.Namespace) -> None:
    """Score predictions of genes that the panel does not measure; methods share the panel."""
    for size in args.sizes:
        run = replace(run, tasks=f"panel {args.panel}", size=size)
        names = [n for n in args.imputers if n != "impute" or args.panel in OURS]
        names = [n for n in names if replace(run, method=n) not in results.done]
        if OWN_PANEL in names:
            names.remove(OWN_PANEL)
            _run_own_panel(results, replace(run, method=OWN_PANEL), cells)
        if not names:
            continue
        with tempfile.TemporaryDirectory() as folder:
            where = Path(folder) / "model" if args.panel in OURS else None
            genes = fit(args.panel, cells, size, run.split, where).genes
            own = np.isin(cells.imputed, cells.train.var_names.get_indexer(genes))
            wanted = cells.imputed[~own][:N_IMPUTED]
            train, truth = (part[:, wanted].toarray() for part in cells.normalized)
            measured = cells.panel(genes)
            for name in names:
                seconds = time.perf_counter()
                if name == "impute":
                    values = _imputed(cells, genes, wanted, where)
                else:
                    values = ESTIMATORS[name].fit(measured[0], train).predict(measured[1])
                seconds = time.perf_counter() - seconds
                scores = {**imputation_scores(truth, values), "seconds": seconds}
                _add(results, replace(run, method=name), scores)


def _run_own_panel(results: Results, run: Run, cells: Cells) -> None:
    """Score a method that selects its panel and predicts; the panel is normalised, too."""
    train, test = (
        ad.AnnData(matrix, pd.DataFrame(index=part.obs_names), pd.DataFrame(index=part.var_names))
        for matrix, part in zip(cells.normalized, (cells.train, cells.test), strict=True)
    )
    fitted, values = reconstruct(
        train, test, run.size, run.split, name="markermap_impute", environment="markermap"
    )
    own = np.isin(cells.imputed, cells.train.var_names.get_indexer(fitted.genes))
    wanted = cells.imputed[~own][:N_IMPUTED]
    scores = imputation_scores(cells.normalized[1][:, wanted].toarray(), values[:, wanted])
    _add(results, run, {**scores, "seconds": fitted.cost["seconds"]}, note="own panel")


def imputation_scores(
    truth: NDArray[np.floating], values: NDArray[np.floating]
) -> dict[str, float]:
    """Return the middle and the mean of the correlations of genes, and how many there are."""
    r = correlations(truth, values)
    return {"median_r": float(np.median(r)), "mean_r": float(np.mean(r)), "n_judged": len(r)}


def _imputed(
    cells: Cells, genes: Sequence[str], wanted: NDArray[np.intp], model: Path
) -> NDArray[np.floating]:
    """Return what `tl.impute` says of cells of which only the panel is known."""
    names = cells.test.var_names[wanted].tolist()
    measured = cells.test[:, list(genes)].copy()
    measured.obs = measured.obs[[]]
    found = yt.tl.impute(measured, model, genes=names)
    found = found[names] if isinstance(found, pd.DataFrame) else found[:, names].to_df()
    return found.to_numpy()


def correlations(
    truth: NDArray[np.floating], values: NDArray[np.floating]
) -> NDArray[np.floating]:
    """Return Pearson's correlation of every gene that varies; 0 where the prediction does not."""
    truth, values = truth - truth.mean(axis=0), values - values.mean(axis=0)
    lengths = np.linalg.norm(truth, axis=0), np.linalg.norm(values, axis=0)
    varies = lengths[0] > 0
    products = lengths[0] * np.where(lengths[1] > 1e-9, lengths[1], np.inf)
    return (truth * values).sum(axis=0)[varies] / products[varies]


def _add(results: Results, run: Run, scores: dict[str, float], note: str = "") -> None:
    results.add(run, [("", name, value) for name, value in scores.items()], note)
    shown = ", ".join(f"{name} {value:.3f}" for name, value in scores.items())
    print(f"{run.dataset} {run.split} {run.method} {run.size}: {shown}", flush=True)


def experiments(args: argparse.Namespace) -> Iterator[tuple[Run, Cells]]:
    """Yield, for each data set and split, the cells."""
    for name in args.data:
        for seed, train, test in splits(name, [LABELS[name]], args.splits):
            yield Run(name, "none", "cells", seed, "", 0), Cells(train, test, LABELS[name])


def write_tables(results: Path, imputed: Path, to: Path) -> None:
    """Render the results that there are."""
    parts = ["# No labels\n", "Made by `benchmarks/no_labels.py --table`. "]
    parts[-1] += "Mean ± standard deviation over splits, on cells that no selection saw.\n"
    if results.exists():
        rows = pd.read_csv(results, dtype={"note": str})
        for score, title in SCORES.items():
            parts.append(f"## {title}\n")
            parts += _by_size(rows[rows["score"] == score], NAMES, lower=score == "cpu_seconds")
    if imputed.exists():
        rows = pd.read_csv(imputed, dtype={"note": str})
        for panel, own in rows[rows["score"] == "median_r"].groupby("tasks"):
            parts.append(f"## Imputation: median correlation over 500 genes, {panel}\n")
            parts += _by_size(own, IMPUTERS)
    to.write_text("\n".join(parts))


def _by_size(rows: pd.DataFrame, names: dict[str, str], *, lower: bool = False) -> list[str]:
    tables = []
    for size, own in rows.groupby("size"):
        own = own.assign(size=f"{size} genes")
        own = pd.concat([own, over_data(own, ["size"]).assign(dataset="mean")])
        tables.append(spread_table(own, ["size", "dataset"], names, lower=lower))
    return tables


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    results = HERE / "results"
    parser.add_argument("--out", type=Path, default=results / "no_labels.csv")
    parser.add_argument("--impute-out", type=Path, default=results / "no_labels_impute.csv")
    parser.add_argument("--data", nargs="+", choices=LABELS, default=list(LABELS))
    fast = [name for name in NAMES if name != "scmer"]
    parser.add_argument("--methods", nargs="+", choices=NAMES, default=fast)
    parser.add_argument("--sizes", nargs="+", type=int, default=list(SIZES))
    parser.add_argument("--splits", nargs="+", type=int, default=[0, 1, 2], help="seeds")
    parser.add_argument("--impute", action="store_true", help="score imputation, not panels")
    shared_panel = [name for name in IMPUTERS if name != OWN_PANEL]
    parser.add_argument("--imputers", nargs="+", choices=IMPUTERS, default=shared_panel)
    parser.add_argument(
        "--panel", choices=NAMES, default="transcriptome", help="whose panel to impute from"
    )
    parser.add_argument(
        "--table", action="store_true", help="render results/no_labels.md, compute nothing"
    )
    args = parser.parse_args(argv)
    if OWN_PANEL in args.imputers and args.panel != "transcriptome":
        parser.error(f"{OWN_PANEL} has a panel of its own; leave out --panel {args.panel}")
    chosen = [args.panel] if args.impute else args.methods
    known = "transcriptome" in inspect.signature(yt.tl.select).parameters
    if "transcriptome" in chosen and not known and not args.table:
        parser.error(f"tl.select of {yt.__file__} has no transcriptome")
    return args


def main() -> int:
    """Run; return the exit status."""
    args = parse()
    if "OMP_NUM_THREADS" not in os.environ:  # read when numpy is imported, so start again
        os.environ["OMP_NUM_THREADS"] = "1"
        os.execv(sys.executable, [sys.executable, *sys.argv])
    warnings.filterwarnings("ignore", category=FutureWarning)
    if args.table:
        write_tables(args.out, args.impute_out, HERE / "results/no_labels.md")
        return 0
    results = Results(args.impute_out if args.impute else args.out)
    for run, cells in experiments(args):
        (run_imputers if args.impute else run_panels)(results, run, cells, args)
    return 0


if __name__ == "__main__":
    sys.exit(main())
