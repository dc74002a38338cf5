"""Select 32 genes on the bundled blood cells, and write what a user would look at.

Three questions are asked of 700 cells at once: the cell type, the phase of the cell cycle and its
S score. A fifth of the cells has its labels hidden from the selection; the scores are taken on
these cells, next to a panel of Wilcoxon markers of the same size that saw the same labels. The
judged cells are in the data, so no teacher may read their other genes (`unlabeled_cells`).
"""

from __future__ import annotations

import argparse
import itertools
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import scanpy as sc
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import f1_score, r2_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import yoto_sc as yt
from yoto_sc.cli import write_results

if TYPE_CHECKING:
    from anndata import AnnData

N_GENES = 32
CATEGORICAL, CONTINUOUS = ["bulk_labels", "phase"], ["S_score"]
HIDDEN_SHARE = 0.2


def hide_labels(adata: AnnData, rng: np.random.Generator) -> pd.DataFrame:
    """Blank all labels of a share of the cells in place; return the true ones."""
    truth = adata.obs[CATEGORICAL + CONTINUOUS].copy()
    hidden = rng.permutation(adata.n_obs) < HIDDEN_SHARE * adata.n_obs
    adata.obs.loc[hidden, truth.columns] = np.nan
    return truth


def wilcoxon_panel(adata: AnnData) -> list[str]:
    """Return the best Wilcoxon markers; the classes of both tasks take turns."""
    rankings = []
    for key in CATEGORICAL:
        labelled = adata[adata.obs[key].notna()].copy()
        sc.tl.rank_genes_groups(labelled, key, method="wilcoxon")
        names = labelled.uns["rank_genes_groups"]["names"]
        rankings += [names[group] for group in names.dtype.names]
    turns = itertools.chain.from_iterable(zip(*rankings, strict=True))
    return list(itertools.islice(dict.fromkeys(turns), N_GENES))


def score_by_key(truth: pd.DataFrame, hidden: pd.DataFrame, predicted: pd.DataFrame) -> pd.Series:
    """Return macro-F1 or R² of the hidden labels, by task."""
    scores = {}
    for key in truth:
        observed, guess = truth.loc[hidden[key], key], predicted.loc[hidden[key], key]
        if key in CONTINUOUS:
            scores[f"{key} (R²)"] = r2_score(observed, guess)
        else:
            classes = observed.unique()
            scores[f"{key} (macro-F1)"] = f1_score(
                observed.astype(str), guess.astype(str), labels=classes, average="macro"
            )
    return pd.Series(scores)


def retrained_predictions(adata: AnnData, genes: list[str]) -> pd.DataFrame:
    """Predict every task by a linear model trained on the labelled cells, from `genes` alone."""
    values = adata[:, genes].X.toarray()
    predicted = {}
    for key in CATEGORICAL + CONTINUOUS:
        labelled = adata.obs[key].notna().to_numpy()
        linear = Ridge() if key in CONTINUOUS else LogisticRegression(max_iter=2000)
        model = make_pipeline(StandardScaler(), linear)
        model.fit(values[labelled], adata.obs.loc[labelled, key].to_numpy())
        predicted[key] = model.predict(values)
    return pd.DataFrame(predicted, index=adata.obs_names)


def main(directory: Path) -> None:
    """Run the demo and write to `directory`."""
    adata = yt.datasets.pbmc68k()
    truth = hide_labels(adata, np.random.default_rng(0))
    hidden = adata.obs[truth.columns].isna()

    directory.mkdir(parents=True, exist_ok=True)
    model_dir = directory / "model"
    shutil.rmtree(model_dir, ignore_errors=True)
    yt.tl.select(
        adata,
        N_GENES,
        categorical_keys=CATEGORICAL,
        continuous_keys=CONTINUOUS,
        unlabeled_cells="ignore",
        model_dir=model_dir,
    )
    panel = yt.Panel.from_adata(adata)
    ours = adata.obs[[f"yoto_{key}" for key in truth]].set_axis(truth.columns, axis=1)
    wilcoxon = wilcoxon_panel(adata)
    scores = pd.DataFrame(
        {
            "yoto_sc, its own prediction": score_by_key(truth, hidden, ours),
            "yoto_sc, retrained": score_by_key(
                truth, hidden, retrained_predictions(adata, panel.genes)
            ),
            "Wilcoxon, retrained": score_by_key(
                truth, hidden, retrained_predictions(adata, wilcoxon)
            ),
        }
    )

    write_results(adata, directory)

    print(f"\nThe panel of {panel.n_genes} genes, most important first:")
    print(", ".join(panel.genes))
    print(f"\nScores on the {HIDDEN_SHARE:.0%} of cells whose labels nobody was shown:")
    print(scores.round(3).to_string())
    print("\nWhat tl.select measured itself, by a training without the cells it is judged on:")
    print(adata.uns["yoto"]["metrics"][["n_cells", "macro_f1", "r2"]].round(3).to_string())
    print(f"\nWritten to {directory}/: the annotated h5ad, the model, the panel and the plots.")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("demo"), help="directory to write to")
    main(parser.parse_args().out)
