"""A small problem with three tasks, and predictions made by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from yoto_sc._problem import Problem
from yoto_sc.judge import Answers, Split, path_sizes

if TYPE_CHECKING:
    from collections.abc import Callable

    from anndata import AnnData

KEYS = {"categorical": ["task_0", "task_1"], "continuous": ["score_0"]}
N_TRAINED = 6


@pytest.fixture(scope="session")
def problem(make_adata: Callable[..., AnnData]) -> Problem:
    """160 cells, 50 genes, and the tasks ``task_0``, ``task_1`` and ``score_0``."""
    return Problem.from_adata(make_adata(), KEYS)


@pytest.fixture(scope="session")
def make_answers() -> Callable[..., Answers]:
    """Answers that are the better, the more genes there are; every third cell is held out."""

    def make(
        problem: Problem, share_on_path: float = 1.0, share_held_out: float = 1 / 3
    ) -> Answers:
        n_obs, n_vars = problem.expression.n_obs, problem.expression.n_vars
        n_held_out = int(n_obs * share_held_out)
        order = np.random.default_rng(0).permutation(n_obs)
        split = Split(np.sort(order[n_held_out:]), np.sort(order[:n_held_out]))
        on_path = np.arange(int(n_held_out * share_on_path))

        def predict(n_genes: int) -> list[Any]:
            rng = np.random.default_rng(n_genes)
            predictions = []
            for task, labels in zip(problem.tasks, problem.labels, strict=True):
                noise = rng.normal(size=(n_held_out, task.n_outputs)) * 6 / n_genes
                observed = labels[split.validation]
                if task.kind == "continuous":
                    predictions.append(np.nan_to_num(observed) + noise[:, 0])
                    continue
                truth = np.eye(task.n_outputs)[np.maximum(observed, 0)]
                proba = np.exp(2 * truth + noise)
                predictions.append(proba / proba.sum(axis=1, keepdims=True))
            return predictions

        return Answers(
            split=split,
            ranking=np.random.default_rng(1).permutation(n_vars),
            n_trained=N_TRAINED,
            on_path=on_path,
            by_size={
                size: [prediction[on_path] for prediction in predict(size)]
                for size in path_sizes(N_TRAINED)
            },
            predict=predict,
            history=pd.DataFrame({"step": [1, 2], "train_loss": [2.0, 1.0]}),
        )

    return make
