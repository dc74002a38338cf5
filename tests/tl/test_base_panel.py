"""A panel may be an addition to genes that are measured in any case."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest

import yoto_sc as yt

if TYPE_CHECKING:
    from anndata import AnnData

BASE = [f"gene_{i:04d}" for i in (40, 41, 42)]
"""These tell nothing."""


@pytest.fixture(scope="module")
def _added(make_adata: Any, select: Any) -> AnnData:
    adata = make_adata(n_obs=300)
    select(adata, 6, include=yt.Panel.from_genes(BASE), max_steps=60)
    return adata


@pytest.fixture
def added(_added: AnnData) -> AnnData:
    return _added.copy()


def test_imposed_genes_are_marked_and_come_first(added: AnnData) -> None:
    assert added.var["yoto_imposed"].dtype == bool
    assert set(added.var_names[added.var["yoto_imposed"]]) == set(BASE)
    assert set(added.var.loc[BASE, "yoto_rank"]) == {1, 2, 3}
    panel = yt.Panel.from_adata(added)
    assert set(panel.imposed) == set(panel[:3]) == set(BASE)
    assert panel.chosen == panel[3:]
    assert panel.prefix(4).imposed == panel.imposed
    assert panel.prefix(2).imposed == panel[:2]


def test_the_base_is_scored_alone_and_with_what_was_added(added: AnnData) -> None:
    base, path = added.uns["yoto"]["base"], added.uns["yoto"]["path"]
    assert list(base.index) == ["task_0", "task_1", "score_0"]
    assert set(base["n_base"]) == set(base["n_chosen"]) == {3}
    for column, size in (("base_score", 3), ("score", 6)):
        rows = path[path["n_genes"] == size].set_index("task")
        pd.testing.assert_series_equal(
            base[column], rows["score"].reindex(base.index), check_names=False
        )
    np.testing.assert_allclose(base["gain"], base["score"] - base["base_score"])
    assert base["standard_error"].between(0.001, 0.3).all()
    assert base["gain"].max() > 0.1  # of a base that tells nothing
    whole = added.uns["yoto"]["metrics"]
    assert base.loc["task_0", "score"] == pytest.approx(whole.loc["task_0", "macro_f1"])


def test_the_base_survives_files(added: AnnData, tmp_path: Any) -> None:
    added.write_h5ad(tmp_path / "a.h5ad")
    again = ad.read_h5ad(tmp_path / "a.h5ad")
    pd.testing.assert_frame_equal(again.uns["yoto"]["base"], added.uns["yoto"]["base"])
    assert yt.Panel.from_adata(again) == yt.Panel.from_adata(added)


def test_what_was_added_is_said(adata: AnnData, select: Any, caplog: Any) -> None:
    with caplog.at_level(logging.INFO, logger="yoto_sc"):
        select(adata, 4, include=BASE, categorical_keys="task_0", max_steps=4)
    row = adata.uns["yoto"]["base"].loc["task_0"]
    assert (
        f"Task 'task_0': macro_f1 on held-out cells is {row['base_score']:.3f} with the 3 genes "
        f"in `include` alone, and {row['score']:.3f} with the 1 chosen ones too" in caplog.text
    )


def test_without_a_base_there_is_no_trace_of_an_earlier_one(added: AnnData, select: Any) -> None:
    select(added, 4, max_steps=2)
    assert "yoto_imposed" not in added.var
    assert "base" not in added.uns["yoto"]


def test_a_base_that_fills_the_panel_gains_nothing(adata: AnnData, select: Any) -> None:
    select(adata, 3, include=BASE, categorical_keys="task_0", max_steps=4)
    row = adata.uns["yoto"]["base"].loc["task_0"]
    assert (row["n_chosen"], row["gain"], row["standard_error"]) == (0, 0, 0)


def test_without_held_out_cells_no_base_is_judged(adata: AnnData, select: Any) -> None:
    select(adata, 4, include=BASE, max_steps=2, train_kwargs={"validation_size": 0})
    assert "base" not in adata.uns["yoto"]
    assert set(yt.Panel.from_adata(adata).imposed) == set(BASE)


def test_a_saved_model_knows_its_base(adata: AnnData, select: Any, tmp_path: Any) -> None:
    select(adata, 4, include=BASE, max_steps=4, model_dir=tmp_path / "model")
    model = yt.model.YOTO.load(tmp_path / "model")
    pd.testing.assert_frame_equal(model.selection.base, adata.uns["yoto"]["base"])
    assert set(model.panel().imposed) == set(BASE)


def test_a_base_that_the_data_lack_in_part(adata: AnnData, select: Any, caplog: Any) -> None:
    base = yt.Panel.from_genes([*BASE, "GENE_0043", "not_there"])
    with pytest.raises(KeyError, match=r"\['GENE_0043', 'not_there'\].*gene_0043 for"):
        select(adata, 6, include=base)
    select(adata, 6, include=base, unknown_genes="ignore", max_steps=2)
    assert set(yt.Panel.from_adata(adata).imposed) == set(BASE)
    assert "`include`: 2 of 5 genes are not in adata" in caplog.text


def test_a_base_larger_than_the_panel(adata: AnnData, select: Any) -> None:
    with pytest.raises(ValueError, match=r"n_genes=2 is smaller than the 3 genes in `include`"):
        select(adata, 2, include=yt.Panel.from_genes(BASE))


def test_a_column_of_the_user_is_not_overwritten(adata: AnnData, select: Any) -> None:
    adata.var["yoto_imposed"] = "mine"
    with pytest.raises(ValueError, match=r"would overwrite adata\.var\['yoto_imposed'\]"):
        select(adata, include=BASE)
