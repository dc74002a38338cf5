"""What `tl.select` writes about the assay of a panel."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import anndata
import numpy as np
import pandas as pd
import pytest

import yoto_sc as yt

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from anndata import AnnData

SELDOM = "gene_0040"


class Heard(logging.Handler):
    """Keeps what is said."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


@pytest.fixture(scope="module")
def crowded(
    make_adata: Callable[..., AnnData], select: Callable[..., Any]
) -> tuple[AnnData, list[str]]:
    """Return cells with a panel that had to hold a gene of one count, and what was said."""
    adata = make_adata()
    x = adata.X.toarray()
    x[:, adata.var_names.get_loc(SELDOM)] = 0
    x[3, adata.var_names.get_loc(SELDOM)] = 1
    adata.X = x
    logging.getLogger("yoto_sc").addHandler(heard := Heard())
    tasks = {"continuous_keys": "score_0"}
    select(adata, 6, include=[SELDOM], **tasks, max_steps=4)
    logging.getLogger("yoto_sc").removeHandler(heard)
    return adata, heard.lines


def test_the_table_is_of_the_panel_by_rank(crowded: tuple[AnnData, list[str]]) -> None:
    adata, _ = crowded
    table, panel = adata.uns["yoto"]["assay"], yt.Panel.from_adata(adata)
    assert list(table.index) == panel.genes
    values = adata[:, panel.genes].X
    np.testing.assert_allclose(table["mean"], values.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(table["detection"], (values > 0).mean(axis=0))
    assert table["share"].sum() == pytest.approx(1)
    assert panel.assay is table
    assert panel.assay_summary is not None
    assert panel.assay_summary["share_of_heaviest"] == pytest.approx(1)


def test_an_included_gene_that_nobody_sees_is_named(crowded: tuple[AnnData, list[str]]) -> None:
    adata, said = crowded
    assert adata.uns["yoto"]["assay_summary"]["below_floor_imposed"] == [SELDOM]
    assert any("are easily missed" in line and SELDOM in line for line in said)


def test_it_comes_back_from_a_file(crowded: tuple[AnnData, list[str]], tmp_path: Path) -> None:
    adata, _ = crowded
    adata.write_h5ad(tmp_path / "a.h5ad")
    panel = yt.Panel.from_adata(anndata.read_h5ad(tmp_path / "a.h5ad"))
    loose = {"check_dtype": False, "check_index_type": False}
    pd.testing.assert_frame_equal(panel.assay, adata.uns["yoto"]["assay"], **loose)
    assert list(panel.assay_summary["below_floor"]) == [SELDOM]


def test_copies_are_written_where_there_are_any(
    adata: AnnData, select: Callable[..., Any]
) -> None:
    x = adata.X.toarray()
    x[:, 41] = x[:, 40]
    adata.X = x
    pair = list(adata.var_names[[40, 41]])
    select(adata, 4, include=pair, categorical_keys="task_0", max_steps=4)
    table = adata.uns["yoto"]["assay_copies"]
    assert set(table.loc[0, ["gene", "copy"]]) == set(pair)


def test_no_gene_is_chosen_below_the_floor_unless_that_is_lifted(
    make_adata: Callable[..., AnnData], select: Callable[..., Any]
) -> None:
    adata = make_adata(n_obs=1000)
    x = adata.X.toarray()
    x[:, :20] += 1
    x[:, 20:] = 0
    x[:2, 20:] = 1
    adata.X = x
    select(adata, 5, categorical_keys="task_0", max_steps=2)
    assert adata.uns["yoto"]["params"]["min_detection"] == 0.05
    ranked = adata.var["yoto_rank"].notna().to_numpy()
    assert ranked[:20].all()
    assert not ranked[20:].any()
    select(adata, 25, categorical_keys="task_0", max_steps=2, min_detection=None)
    assert "min_detection" not in adata.uns["yoto"]["params"]
    assert adata.var["yoto_rank"].notna().all()
    with pytest.raises(ValueError, match="n_genes=25, min_detection=0.05. Loosen one of them"):
        select(adata, 25, categorical_keys="task_0")


def test_lists_of_genes_know_nothing_of_an_assay() -> None:
    panel = yt.Panel.from_genes(["A", "B"])
    assert panel.assay is None
    assert panel.assay_summary is None
