"""Planted genes are found, and used."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

import yoto_sc as yt
from yoto_sc.select import Screening
from yoto_sc.train import _training

if TYPE_CHECKING:
    from anndata import AnnData

TASKS = ["task_0", "task_1"]


def _recovered(adata: AnnData) -> int:
    return int((adata.var["yoto_selected"] & adata.var["informative"]).sum())


@pytest.mark.parametrize(
    "seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (1, 2, 3))]
)
def test_planted_genes_are_recovered(seed: int) -> None:
    adata = yt.datasets.planted(2000, 2000, n_informative=20, missing=0.3, random_state=seed)
    truth = yt.datasets.planted(2000, 2000, n_informative=20, missing=0, random_state=seed)
    yt.tl.select(
        adata,
        20,
        categorical_keys=TASKS,
        random_state=seed,
        max_steps=200,
        accelerator="cpu",
        group_key=None,
        progress_bar=False,
    )
    assert _recovered(adata) >= 18
    # Both tasks are served, and cells that came without a label are told right.
    assert adata.uns["yoto"]["metrics"]["macro_f1"].min() > 0.85
    for task in TASKS:
        hidden = adata.obs[task].isna()
        assert (adata.obs[f"yoto_{task}"] == truth.obs[task])[hidden].mean() > 0.85


@pytest.mark.slow
def test_planted_genes_are_recovered_with_a_number() -> None:
    adata = yt.datasets.planted(n_classes=(5, 4), n_continuous=1)
    yt.tl.select(
        adata,
        20,
        categorical_keys=TASKS,
        continuous_keys=["score_0"],
        accelerator="cpu",
        group_key=None,
        progress_bar=False,
    )
    assert _recovered(adata) >= 18
    assert adata.uns["yoto"]["metrics"].loc["score_0", "r2"] > 0.5


def test_ranks_put_informative_genes_first(adata: AnnData) -> None:
    yt.tl.select(
        adata,
        8,
        categorical_keys=TASKS,
        accelerator="cpu",
        max_steps=80,
        group_key=None,
        progress_bar=False,
    )
    ranks = adata.var["yoto_rank"].astype(int)
    assert ranks[adata.var["informative"]].median() < ranks[adata.var["task"] == ""].median()


def test_a_task_of_noise_takes_no_place(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    adata = yt.datasets.planted(400, 1000, n_informative=12, n_classes=[6], missing=0)
    rng = np.random.default_rng(0)
    adata.obs["noise"] = pd.Categorical(rng.integers(20, size=adata.n_obs).astype(str))

    def recovered() -> int:
        yt.tl.select(
            adata,
            12,
            categorical_keys=["task_0", "noise"],
            max_steps=100,
            accelerator="cpu",
            group_key=None,
            progress_bar=False,
        )
        return _recovered(adata)

    assert recovered() == 12
    assert set(adata.uns["yoto"]["attribution"]["task"]) == {"task_0"}
    messages = [record.message for record in caplog.records if "chance" in record.message]
    assert len(messages) == 1
    assert "'noise'" in messages[0]

    # Where the screening lets it pass, the first training's held-out cells find it out.
    monkeypatch.setattr(Screening, "told", lambda self: np.ones(2, dtype=bool))
    caplog.clear()
    assert recovered() == 12
    assert "tells no more about 'noise' than chance would (macro_f1" in caplog.text

    monkeypatch.setattr(_training, "beyond_chance", lambda tasks, *_: np.ones(2, dtype=bool))
    assert recovered() < 12
