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
    for robust in (None, "thin"):
        model = yt.model.YOTO(full, n_genes=2, n_members=2, n_hidden=16)
        model.train(150, plan_kwargs={"robust": robust}, accelerator="cpu", progress_bar=False)
        right[robust] = (model.predict(thinned)["type"] == thinned.obs["type"]).mean()
        assert (model.predict()["type"] == full.obs["type"]).mean() > 0.85
    assert right["thin"] > 0.75
    assert right["thin"] > right[None] + 0.1


@pytest.mark.parametrize("robust", ["thin", "technology"])
def test_select_trains_on_imitated_counts(
    adata: AnnData,
    selected: AnnData,
    make_adata: Callable[..., AnnData],
    select: Any,
    train: Any,
    robust: str,
) -> None:
    select(adata, robust=robust)
    expected = train(make_adata(), train_kwargs={"plan_kwargs": {"robust": robust}})
    pd.testing.assert_series_equal(
        adata.var["yoto_rank"], expected.panel().table["rank"], check_names=False
    )
    np.testing.assert_array_equal(adata.obsm["X_yoto"], expected.get_latent_representation())
    assert adata.uns["yoto"]["params"]["robust"] == robust
    assert not np.array_equal(adata.obsm["X_yoto"], selected.obsm["X_yoto"])


def test_same_seed_same_result(adata: AnnData, select: Callable[..., Any]) -> None:
    again = adata.copy()
    for one in (adata, again):
        select(one, robust="thin", max_steps=10)
    np.testing.assert_array_equal(adata.obsm["X_yoto"], again.obsm["X_yoto"])


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
