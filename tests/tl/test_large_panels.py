"""Panels of more than 256 genes: found in closed form, described without asking anew."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

import yoto_sc as yt
from yoto_sc.model import YOTO
from yoto_sc.train import LARGE_PANEL, LARGE_PANEL_STEPS

if TYPE_CHECKING:
    from collections.abc import Callable

    from anndata import AnnData

N_GENES = LARGE_PANEL + 44


@pytest.fixture(scope="module")
def planted(make_adata: Callable[..., AnnData]) -> AnnData:
    adata = make_adata(n_vars=500, n_informative=60, n_redundant=100, random_state=2)
    cost = np.where(np.arange(500) % 3 == 0, 3.0, 1.0)
    adata.var["cost"] = cost
    adata.var["wish"] = np.where(np.arange(500) < 60, 4.0, 1.0)
    return adata


@pytest.fixture(scope="module")
def selected(planted: AnnData, select: Callable[..., Any]) -> AnnData:
    include = [str(name) for name in planted.var_names[-5:]]
    return select(
        planted,
        N_GENES,
        include=include,
        cost="cost",
        budget=400.0,
        preference="wish",
        mean_range=(0.0, 20.0),
        copy=True,
    )


def test_a_large_panel_has_its_size_and_keeps_the_rules(selected: AnnData) -> None:
    var = selected.var
    chosen = var["yoto_selected"].to_numpy()
    assert chosen.sum() == N_GENES
    assert set(var["yoto_rank"][-5:]) == {1, 2, 3, 4, 5}
    assert var["cost"][chosen].sum() <= 400
    assert sorted(var["yoto_rank"].dropna()) == list(range(1, var["yoto_rank"].notna().sum() + 1))
    means = np.asarray(selected.X.mean(axis=0)).ravel()
    assert means[chosen].max() <= 20


def test_every_gene_is_left_out_once(selected: AnnData) -> None:
    table = selected.uns["yoto"]["without"]
    assert len(table) == 3 * N_GENES
    assert np.isfinite(table["loss"]).all()
    assert len(selected.uns["yoto"]["attribution"]) == N_GENES


@pytest.mark.parametrize("n_genes", [6, 4])
def test_one_left_out_equals_a_prediction_without_it(
    planted: AnnData, select: Callable[..., Any], tmp_path: Any, n_genes: int
) -> None:
    select(planted.copy(), 6, model_dir=tmp_path / f"model_{n_genes}")
    module = YOTO.load(str(tmp_path / f"model_{n_genes}")).module
    values = torch.rand(20, 6) * 3
    found = list(module.predict_without(values, n_genes))
    assert len(found) == n_genes
    for gene, predictions in enumerate(found):
        measured = torch.arange(n_genes) != gene
        expected, _ = module.predict(values, n_genes, measured)
        for one, other in zip(predictions, expected, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
        whole, _ = module.predict(values, n_genes)
        assert not torch.equal(whole[0], predictions[0])


def test_large_panels_are_trained_for_fewer_steps(planted: AnnData) -> None:
    YOTO.setup_anndata(planted, categorical_keys=["task_0"])
    large = YOTO(planted, n_genes=N_GENES)
    assert large._default_steps() == LARGE_PANEL_STEPS
    assert large._course().n_start == N_GENES
    assert YOTO(planted, n_genes=LARGE_PANEL)._default_steps() == 2000


def test_nothing_is_judged_without_held_out_cells(
    planted: AnnData, select: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    found = select(planted, N_GENES, train_kwargs={"validation_size": 0}, copy=True)
    assert found.uns["yoto"]["without"]["loss"].notna().all()
    assert found.var["yoto_selected"].sum() == N_GENES


def test_stability_of_large_panels(planted: AnnData) -> None:
    yt.tl.stability(
        planted,
        N_GENES,
        n_runs=2,
        categorical_keys="task_0",
        progress_bar=False,
        select_kwargs={"max_steps": 4, "model_kwargs": {"n_hidden": 4, "n_members": 2}},
    )
    assert planted.var["yoto_consensus"].sum() == N_GENES
