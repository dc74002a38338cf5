"""Training on counts as other assays might give them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

import yoto_sc as yt

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def test_helps_on_sparse_cells() -> None:
    """The class lies in the ratio of two genes, which thinning keeps, and in the counts of one."""
    rng = np.random.default_rng(0)
    labels = rng.permutation(np.repeat([0, 1], 150))
    counts = rng.poisson(np.where(labels[:, None] == 0, [30, 30], [30, 6]), (300, 2))
    sparse = rng.binomial(counts, 0.2)
    full, thinned = (
        AnnData(
            matrix.astype(np.float32),
            obs=pd.DataFrame({"type": labels.astype(str)}, index=[f"c{i}" for i in range(300)]),
        )
        for matrix in (counts, sparse)
    )
    yt.model.YOTO.setup_anndata(full, categorical_keys=["type"])
    right = {}
    for robust in (None, "thin", "technology"):
        model = yt.model.YOTO(full, n_genes=2, n_members=2, n_hidden=16)
        model.train(600, plan_kwargs={"robust": robust}, accelerator="cpu", progress_bar=False)
        found = yt.tl.predict(thinned, model, adapt="none", copy=True)
        right[robust] = (found.obs["yoto_type"] == thinned.obs["type"]).mean()
        assert (model.predict()["type"] == full.obs["type"]).mean() > 0.85
    assert right["thin"] > 0.75
    assert right["thin"] > right[None] + 0.1
    assert right["technology"] > right[None] + 0.05  # of two genes, it is told to trust neither


@pytest.mark.parametrize("robust", [None, "thin", "technology"])
def test_panel_scores_and_predictions_are_the_same(
    selected: AnnData,
    make_adata: Callable[..., AnnData],
    select: Any,
    state_of: Callable[..., dict[tuple[str, ...], str]],
    robust: str | None,
) -> None:
    adata = make_adata()
    select(adata, robust=robust)
    assert adata.uns["yoto"]["params"].get("robust") == robust
    expected = selected.copy()
    for one in (adata, expected):
        one.uns["yoto"]["params"].pop("robust", None)
    assert state_of(adata) == state_of(expected)


@pytest.mark.parametrize("format", ["safetensors", "scvi"])
@pytest.mark.parametrize("robust", [None, "technology"])
def test_saved_models_keep_both_networks(
    make_adata: Callable[..., AnnData], tmp_path: Path, robust: str | None, format: str
) -> None:
    adata = make_adata()
    yt.model.YOTO.setup_anndata(adata, categorical_keys=["task_0"])
    model = yt.model.YOTO(adata, n_genes=4, n_members=2, n_hidden=8)
    model.train(20, plan_kwargs={"robust": robust}, accelerator="cpu", progress_bar=False)
    model.save(tmp_path / "model", format=format)
    loaded = yt.model.YOTO.load(
        tmp_path / "model", adata if format == "scvi" else None, "cpu", format=format
    )
    assert loaded.selection.robust == robust
    assert (loaded.module.robust is None) == (robust is None)
    states = [one.module.state_dict() for one in (model, loaded)]
    assert states[0].keys() == states[1].keys()
    assert any(key.startswith("robust.") for key in states[0]) == (robust is not None)
    for key, weights in states[0].items():
        np.testing.assert_array_equal(weights, states[1][key])


def test_automatic_for_counts_alone(make_adata: Callable[..., AnnData]) -> None:
    adata = make_adata()
    for expected in ("technology", None):
        yt.model.YOTO.setup_anndata(adata, categorical_keys=["task_0"])
        model = yt.model.YOTO(adata, n_genes=4, n_members=2, n_hidden=8)
        model.train(20, accelerator="cpu", progress_bar=False)
        assert model.selection.robust == expected
        adata.X = adata.X * 0.5


def test_same_seed_same_result(adata: AnnData, train: Callable[..., Any]) -> None:
    again = adata.copy()
    found = []
    for one in (adata, again):
        model = train(one)
        found.append(yt.tl.predict(one, model, adapt="none", copy=True).obsm["X_yoto"])
    np.testing.assert_array_equal(*found)


def test_needs_counts(
    adata: AnnData, select: Callable[..., Any], state_of: Callable[..., Any]
) -> None:
    adata.X = adata.X * 0.5
    before = state_of(adata)
    with pytest.raises(ValueError, match=r'robust="thin" draws from counts, but adata\.X'):
        select(adata, robust="thin")
    with pytest.raises(ValueError, match="robust must be None or one of"):
        select(adata, robust="binarize")
    assert state_of(adata) == before


@pytest.mark.parametrize(("n_genes", "n_lacking"), [(32, 0), (30, 0), (40, 2), (32, 3)])
def test_large_panels_are_read_twice_in_another_assay(n_genes: int, n_lacking: int) -> None:
    """Once from their better half, if it has sixteen genes that were measured."""
    adata = yt.datasets.planted(n_obs=300, n_vars=60, random_state=0)
    key = "task_0"
    yt.model.YOTO.setup_anndata(adata, categorical_keys=[key])
    model = yt.model.YOTO(adata, n_genes=n_genes, n_members=2, n_hidden=8)
    model.train(20, accelerator="cpu", progress_bar=False)
    genes = model.panel().genes
    values = np.log1p(adata[:, genes].X.toarray())
    measured = np.ones(n_genes, dtype=bool)
    measured[:n_lacking] = False
    whole, half = (
        model.module.robust.predict_all(300, values.__getitem__, n, measured[:n])[0][0]
        for n in (n_genes, n_genes // 2)
    )
    halved = measured[: n_genes // 2].sum() >= 16
    expected = whole ** (2 / 3) * half ** (1 / 3) if halved else whole
    expected /= expected.sum(axis=1, keepdims=True)
    query = adata[:, ~adata.var_names.isin(genes[:n_lacking])].copy()
    found = model.label(query, adapt="none", missing="zero")[0].predictions[0]
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-6)
    assert halved == ((n_genes, n_lacking) in {(32, 0), (40, 2)})
    assert halved == (np.abs(found - whole).max() > 1e-3)
