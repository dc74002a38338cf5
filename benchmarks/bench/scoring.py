"""Scores of a panel on held-out cells, by classifiers that know nothing of its origin."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.metrics import f1_score, r2_score
from sklearn.preprocessing import StandardScaler

if TYPE_CHECKING:
    from collections.abc import Sequence

    import anndata as ad
    import pandas as pd
    from methods.base import Prediction, Training
    from numpy.typing import NDArray

    Score = tuple[str, str, float]

_SMALLEST_PROBABILITY = 1e-6
"""Probabilities are clipped here, so that one confident error does not decide a log loss."""
_N_BINS = 15


def retrained_scores(training: Training, test: ad.AnnData, genes: Sequence[str]) -> list[Score]:
    """Score logistic regression, random forest and ridge, trained on the panel's genes alone.

    Parameters
    ----------
    training
        Cells to train on.
    test
        Cells to judge on.
    genes
        The panel.

    Returns
    -------
    Entries ``(task, score, value)``.
    """
    scaler = StandardScaler().fit(training.panel_values(training.adata, genes))
    x_train, x_test = (
        scaler.transform(training.panel_values(adata, genes)) for adata in (training.adata, test)
    )
    scores: list[Score] = []
    for key in training.categorical:
        labels = training.adata.obs[key]
        seen = labels.notna().to_numpy()
        y = labels[seen].astype(str).to_numpy()
        logistic = LogisticRegression(max_iter=500, tol=1e-3).fit(x_train[seen], y)
        forest = RandomForestClassifier(200, random_state=0).fit(x_train[seen], y)
        for name, model in (("logistic", logistic), ("forest", forest)):
            p = model.predict_proba(x_test)
            found = classification_scores(test.obs[key], p, model.classes_)
            if name == "forest":  # the shares of votes are no calibrated probabilities
                del found["log_loss"], found["ece"]
            scores += [(key, f"{name}_{score}", value) for score, value in found.items()]
    for key in training.continuous:
        seen = training.adata.obs[key].notna().to_numpy()
        ridge = RidgeCV(np.logspace(-2, 4, 13))
        ridge.fit(x_train[seen], training.adata.obs[key].to_numpy()[seen])
        scores.append((key, "ridge_r2", regression_score(test.obs[key], ridge.predict(x_test))))
    return scores


def builtin_scores(
    training: Training, test: ad.AnnData, predictions: dict[str, Prediction]
) -> list[Score]:
    """Score predictions that a method makes itself, from its panel's genes alone."""
    scores: list[Score] = []
    for key in training.categorical:
        p = predictions[key]
        found = classification_scores(test.obs[key], p.to_numpy(), p.columns.to_numpy(str))
        scores += [(key, f"builtin_{score}", value) for score, value in found.items()]
    for key in training.continuous:
        values = np.asarray(predictions[key])
        scores.append((key, "builtin_r2", regression_score(test.obs[key], values)))
    return scores


def classification_scores(
    labels: pd.Series, probabilities: NDArray[np.floating], classes: NDArray[np.str_]
) -> dict[str, float]:
    """Return macro-F1 over the classes present, log loss and expected calibration error.

    Held-out cells without a label do not count, nor do those of a class without training cells
    (possible only where groups are held out).
    """
    truth = labels.astype(object).to_numpy()
    known = np.isin(truth.astype(str), classes) & labels.notna().to_numpy()
    truth, p = truth[known].astype(str), probabilities[known]
    own = p[np.arange(len(p)), [list(classes).index(name) for name in truth]]
    predicted = np.asarray(classes)[p.argmax(axis=1)]
    return {
        "macro_f1": float(
            f1_score(truth, predicted, labels=np.unique(truth), average="macro", zero_division=0)
        ),
        "log_loss": float(-np.log(own.clip(_SMALLEST_PROBABILITY, 1)).mean()),
        "ece": expected_calibration_error(p.max(axis=1), predicted == truth),
    }


def expected_calibration_error(
    confidence: NDArray[np.floating], correct: NDArray[np.bool_]
) -> float:
    """Return how far the share of correct cells is from the mean confidence, in [0, 1].

    Cells are binned by confidence, in 15 bins of equal width, each open on the left; bins count by
    their cells (Guo et al. 2017).
    """
    bins = np.clip(np.ceil(confidence * _N_BINS).astype(int) - 1, 0, _N_BINS - 1)
    gaps = [
        np.sum(bins == b) * abs(correct[bins == b].mean() - confidence[bins == b].mean())
        for b in np.unique(bins)
    ]
    return float(np.sum(gaps) / len(confidence))


def regression_score(truth: pd.Series, predicted: NDArray[np.floating]) -> float:
    """Return R2 over the cells with a value."""
    known = truth.notna().to_numpy()
    return float(r2_score(truth.to_numpy()[known], predicted[known]))
