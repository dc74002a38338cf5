"""A real data set with the results of a selection, made without the model.

Genes are ranked by their largest F statistic over the tasks; scores come from ridge
classification and regression fitted on half of the cells and applied to the other half.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
from sklearn.feature_selection import f_classif, f_regression
from sklearn.linear_model import Ridge, RidgeClassifier
from sklearn.metrics import f1_score, r2_score

mpl.use("Agg")

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from anndata import AnnData

N_GENES = 32
SIZES = (765, 512, 256, 128, 64, 32, 16, 8, 4, 2, 1)
KINDS = {"bulk_labels": "categorical", "phase": "categorical", "S_score": "continuous"}


def _predict(adata: AnnData, genes: list[str], task: str) -> tuple[np.ndarray, np.ndarray]:
    """Observed and predicted values of the held-out cells: every second one."""
    x, y = adata[:, genes].X.toarray(), adata.obs[task].to_numpy()
    model = RidgeClassifier(alpha=10) if KINDS[task] == "categorical" else Ridge(alpha=10)
    return y[1::2], model.fit(x[::2], y[::2]).predict(x[1::2])


def _score(adata: AnnData, genes: list[str], task: str) -> float:
    observed, predicted = _predict(adata, genes, task)
    if KINDS[task] == "continuous":
        return r2_score(observed, predicted)
    return f1_score(observed, predicted, average="macro", zero_division=0)


def _ranking(adata: AnnData) -> pd.Series:
    x = adata.X.toarray()
    scaled = []
    for task, kind in KINDS.items():
        test = f_classif if kind == "categorical" else f_regression
        statistic = np.nan_to_num(test(x, adata.obs[task])[0])
        scaled.append(statistic / statistic.max())
    return pd.Series(np.max(scaled, axis=0), adata.var_names).sort_values(ascending=False)


def _attribution(adata: AnnData, genes: list[str]) -> pd.DataFrame:
    full = {task: _predict(adata, genes, task) for task in KINDS}
    rows = []
    for gene in genes:
        losses = []
        for task, (observed, predicted) in full.items():
            without = _predict(adata, [other for other in genes if other != gene], task)[1]
            if KINDS[task] == "continuous":
                losses.append(
                    (r2_score(observed, predicted) - r2_score(observed, without), task, "")
                )
                continue
            for category in np.unique(observed):
                of = observed == category
                drop = (predicted[of] == category).mean() - (without[of] == category).mean()
                losses.append((drop, task, category))
        loss, task, category = max(losses, key=lambda row: row[0])
        rows.append({"task": task, "category": category, "criterion_increase": loss})
    return pd.DataFrame(rows, index=pd.Index(genes, name="gene"))


def _write_stability(adata: AnnData, ranking: pd.Series, n_genes: int) -> None:
    """As if of five runs, each had chosen among the best genes at random."""
    rng = np.random.default_rng(0)
    runs = [f"run_{number}" for number in range(5)]
    panels = pd.DataFrame(False, index=ranking.index, columns=runs)
    for run in runs:
        panels.loc[rng.choice(ranking.index[: 2 * n_genes], n_genes, replace=False), run] = True
    frequency = panels.mean(axis=1).sort_values(ascending=False, kind="stable")
    adata.var["yoto_frequency"] = frequency.reindex(adata.var_names).astype(np.float32)
    adata.var["yoto_consensus"] = adata.var_names.isin(frequency.index[:n_genes])
    agreement = pd.DataFrame(0.3, index=runs, columns=runs)
    adata.uns["yoto_stability"] = {
        "panels": panels[panels.any(axis=1)],
        "jaccard": agreement,
        "kuncheva": agreement,
        "mean_jaccard": 0.304,
        "mean_kuncheva": -0.017,
    }


def _write(adata: AnnData, ranking: pd.Series, tasks: dict[str, str], n_genes: int) -> None:
    genes = list(ranking.index[:n_genes])
    rank = pd.Series(range(1, len(ranking) + 1), ranking.index, dtype="Int64")
    rank[ranking.index[700:]] = pd.NA  # as if these had been no candidates
    adata.var["yoto_selected"] = adata.var_names.isin(genes)
    adata.var["yoto_rank"] = rank.reindex(adata.var_names)
    adata.var["yoto_score"] = ranking.reindex(adata.var_names).astype(np.float32)
    confusion = []
    for task, kind in tasks.items():
        if kind == "continuous":
            adata.obs[f"yoto_{task}"] = adata.obs[task].astype(np.float32)
            continue
        adata.obs[f"yoto_{task}"] = adata.obs[task].astype("category")
        adata.obs[f"yoto_{task}_confidence"] = np.float32(0.9)
        observed, predicted = _predict(adata, genes, task)
        pairs = pd.DataFrame({"observed": observed, "predicted": predicted}).astype(str)
        counted = pairs.value_counts().rename("n_cells").reset_index()
        confusion.append(counted.assign(task=task))
    adata.uns["yoto"] = {
        "params": {"n_genes": n_genes, "expression": "X"},
        "tasks": pd.DataFrame({"kind": pd.Series(tasks)}).rename_axis("task"),
        "metrics": pd.DataFrame(
            {
                name: [
                    _score(adata, genes, task) if KINDS[task] == kind else np.nan for task in tasks
                ]
                for name, kind in (("macro_f1", "categorical"), ("r2", "continuous"))
            },
            index=pd.Index(list(tasks), name="task"),
        ),
        "path": pd.DataFrame(
            [
                {
                    "n_genes": size,
                    "task": task,
                    "metric": "macro_f1" if KINDS[task] == "categorical" else "r2",
                    "score": _score(adata, list(ranking.index[:size]), task),
                    "standard_error": 0.02,
                    "predictor": "network" if size <= n_genes else "ridge",
                }
                for size in SIZES
                for task in tasks
            ]
        ),
        "history": pd.DataFrame(
            {
                "step": np.arange(1, len(SIZES) + 1) * 100,
                "n_genes": SIZES,
                "train_loss": np.linspace(2, 0.5, len(SIZES)),
                "validation_loss": np.linspace(2.1, 0.8, len(SIZES)),
            }
        ),
        "attribution": _attribution(adata, genes),
    }
    _write_stability(adata, ranking, n_genes)
    if confusion:
        adata.uns["yoto"]["confusion"] = pd.concat(confusion, ignore_index=True)


def _write_modules(adata: AnnData) -> None:
    """As if another selection, under the key ``modules``, had been for vectors alone."""
    rng, columns = np.random.default_rng(1), []
    for task, names in (
        ("modules", [f"module {number}" for number in range(12)]),
        ("transcriptome", [f"PC{number + 1}" for number in range(30)]),
    ):
        r2 = rng.uniform(-0.2, 1, len(names))
        scores = {"r2": r2, "rmse": np.sqrt(1 - r2), "pearson_r": np.sqrt(r2.clip(0))}
        columns.append(pd.DataFrame({"task": task, "column": names, **scores}))
    stored = adata.uns["yoto"]
    tasks = pd.Index(["modules", "transcriptome"], name="task")
    path = stored["path"][stored["path"]["task"] != "S_score"].assign(metric="r2")
    path["task"] = path["task"].map({"bulk_labels": "modules", "phase": "transcriptome"})
    served = np.resize(["modules", "transcriptome"], N_GENES)
    attribution = stored["attribution"].assign(
        task=served, category=np.where(served == "modules", "module 3", "")
    )
    adata.uns["modules"] = {
        "params": stored["params"],
        "tasks": pd.DataFrame({"kind": ["vector", "transcriptome"]}, index=tasks),
        "metrics": pd.DataFrame({"macro_f1": np.nan, "r2": [0.625, 0.25]}, index=tasks),
        "columns": pd.concat(columns, ignore_index=True),
        "path": path,
        "history": stored["history"],
        "attribution": attribution,
        "confusion": stored["confusion"].iloc[:0],
    }
    for name in ("selected", "rank", "score"):
        adata.var[f"modules_{name}"] = adata.var[f"yoto_{name}"]


@pytest.fixture(scope="session")
def _pbmc() -> tuple[AnnData, pd.Series]:
    reduced = sc.datasets.pbmc68k_reduced()
    adata = reduced.raw.to_adata()  # log-normalised, sparse; X itself is scaled
    return adata, _ranking(adata)


@pytest.fixture(scope="session")
def make_selected(_pbmc: tuple[AnnData, pd.Series]) -> Callable[..., AnnData]:
    """Build the data with a panel of any size for any of the tasks."""

    def make(n_genes: int = N_GENES, tasks: tuple[str, ...] = tuple(KINDS)) -> AnnData:
        adata, ranking = _pbmc[0].copy(), _pbmc[1]
        _write(adata, ranking, {task: KINDS[task] for task in tasks}, n_genes)
        return adata

    return make


@pytest.fixture(scope="session")
def _selected(make_selected: Callable[..., AnnData]) -> AnnData:
    adata = make_selected()
    _write_modules(adata)
    return adata


@pytest.fixture
def adata(_selected: AnnData) -> AnnData:
    """700 blood cells, 765 genes, a panel of 32 for three tasks.

    Under the key ``modules``, the same panel is for two tasks of vectors.
    """
    return _selected.copy()


@pytest.fixture(autouse=True)
def _no_figure_left_open() -> Iterator[None]:
    """Every test also checks that pyplot holds no figure afterwards."""
    import matplotlib.pyplot as plt

    plt.close("all")  # what tests of other files may have left
    yield
    left = plt.get_fignums()
    plt.close("all")
    assert left == []
