"""Selections for more classes than pairs of them are looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from yoto_sc.select import MANY_CLASSES

if TYPE_CHECKING:
    from collections.abc import Callable

    from anndata import AnnData


def test_a_panel_for_very_many_classes(
    make_adata: Callable[..., AnnData], select: Callable[..., Any]
) -> None:
    n_classes = MANY_CLASSES + 12
    adata = make_adata(n_obs=700, n_informative=20, n_classes=(n_classes, 3), missing=0.0)
    select(adata, 8, categorical_keys=["task_0", "task_1"])
    chosen = adata.var["yoto_selected"].to_numpy()
    assert chosen.sum() == 8
    assert (adata.var["informative"].to_numpy() & chosen).sum() >= 6
    assert adata.obs["yoto_task_0"].notna().all()
    results = adata.uns["yoto"]
    assert np.isfinite(results["metrics"].loc["task_0", "macro_f1"])
    assert results["attribution"]["category"].notna().all()
