"""`tl.impute`: what is decoded is what was stated, and every gene says how far to trust it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
import scanpy as sc

import yoto_sc as yt

if TYPE_CHECKING:
    from pathlib import Path

    from anndata import AnnData


@dataclass(frozen=True)
class Learned:
    """A model, the cells it learned from, and others."""

    seen: AnnData
    unseen: AnnData
    model_dir: Path

    @property
    def panel(self) -> list[str]:
        return yt.Panel.from_adata(self.seen).genes


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> Learned:
    adata = yt.datasets.planted(700, 120, n_informative=30, n_classes=[6], missing=0)
    seen, unseen = adata[:500].copy(), adata[500:].copy()
    model_dir = tmp_path_factory.mktemp("impute") / "model"
    yt.tl.select(
        seen,
        12,
        transcriptome=8,
        max_steps=200,
        accelerator="cpu",
        progress_bar=False,
        model_dir=model_dir,
    )
    return Learned(seen, unseen, model_dir)


def normalised(learned: Learned) -> AnnData:
    """The unseen cells as scanpy normalises them, to the total of the seen ones."""
    found = learned.unseen.copy()
    total = np.median(np.asarray(learned.seen.X.sum(axis=1)))
    sc.pp.normalize_total(found, target_sum=float(total))
    sc.pp.log1p(found)
    return found


def correlations(one: Any, other: Any) -> np.ndarray:
    return np.array([np.corrcoef(one[:, j], other[:, j])[0, 1] for j in range(one.shape[1])])


def test_genes_that_were_not_measured_come_from_the_panel_alone(learned: Learned) -> None:
    measured = learned.unseen[:, learned.panel].copy()
    imputed = yt.tl.impute(measured, learned.model_dir)
    assert imputed.shape == (200, 120 - 12)
    assert not set(imputed.var_names) & set(learned.panel)
    assert imputed.X.dtype == np.float32
    assert imputed.X.min() >= 0
    pd.testing.assert_index_equal(imputed.obs_names, measured.obs_names)
    from_all = yt.tl.impute(learned.unseen, learned.model_dir)
    np.testing.assert_array_equal(imputed.X, from_all.X)


def test_the_stated_correlation_is_that_of_cells_not_seen(learned: Learned) -> None:
    imputed = yt.tl.impute(learned.unseen, learned.model_dir)
    truth = normalised(learned)[:, imputed.var_names].X.toarray()
    stated = imputed.var["yoto_correlation"].to_numpy()
    found = correlations(truth, imputed.X)
    assert stated.dtype == np.float32
    informative = learned.seen.var["informative"][imputed.var_names].to_numpy()
    assert np.nanmean(stated[informative]) > np.nanmean(stated[~informative]) + 0.2
    defined = np.isfinite(stated) & np.isfinite(found)
    assert defined.mean() > 0.9
    assert np.corrcoef(stated[defined], found[defined])[0, 1] > 0.8
    assert abs(np.median(stated[defined]) - np.median(found[defined])) < 0.1


def test_a_layer_holds_the_genes_that_the_model_knows(learned: Learned) -> None:
    query = learned.unseen.copy()
    query.var_names = [*query.var_names[:-1], "foreign"]
    known = query.var_names[:-1]
    assert "foreign" not in learned.panel
    result = yt.tl.impute(query, learned.model_dir, layer_added="imputed", copy=True)
    assert "imputed" not in query.layers
    assert np.isnan(result.layers["imputed"][:, -1]).all()
    assert np.isnan(result.var["yoto_correlation"]["foreign"])
    expected = yt.tl.impute(query, learned.model_dir, genes=list(known))
    np.testing.assert_array_equal(result[:, known].layers["imputed"], expected.X)
    assert yt.tl.impute(query, learned.model_dir, layer_added="imputed", genes=[known[0]]) is None
    assert np.isfinite(query.layers["imputed"]).sum() == query.n_obs


def test_models_in_memory_and_on_disk_agree(learned: Learned, tmp_path: Path) -> None:
    adata = learned.seen[:, :60].copy()
    del adata.uns["yoto"]
    yt.model.YOTO.setup_anndata(adata, transcriptome=4)
    model = yt.model.YOTO(adata, n_genes=6)
    model.train(max_steps=20, accelerator="cpu", progress_bar=False)
    before = yt.tl.impute(learned.unseen, model)
    for file_format in ("safetensors", "scvi"):
        directory = tmp_path / file_format
        model.save(directory, format=file_format)
        data = adata if file_format == "scvi" else None
        again = yt.model.YOTO.load(directory, data, accelerator="cpu", format=file_format)
        after = yt.tl.impute(learned.unseen, again)
        np.testing.assert_array_equal(before.X, after.X)
        pd.testing.assert_frame_equal(before.var, after.var)


def test_without_held_out_cells_no_correlation_is_stated(learned: Learned) -> None:
    adata = learned.seen[:, :60].copy()
    yt.model.YOTO.setup_anndata(adata, transcriptome=4)
    model = yt.model.YOTO(adata, n_genes=6)
    model.train(max_steps=20, validation_size=0, accelerator="cpu", progress_bar=False)
    assert yt.tl.impute(learned.unseen, model).var["yoto_correlation"].isna().all()


def test_neighbours_are_scored_beside_components(learned: Learned) -> None:
    metrics = learned.seen.uns["yoto"]["metrics"]
    assert 0.1 < metrics.loc["transcriptome", "knn_overlap"] < 1
    assert "knn_overlap" not in yt.model.YOTO.load(learned.model_dir).selection.columns.columns


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"genes": ["gene_0", "nope"]}, KeyError, "nope"),
        ({"genes": []}, ValueError, "holds no gene"),
        ({"layer_added": 3}, TypeError, "layer_added must be the name of a layer"),
        ({"model": 3}, TypeError, "model must be a yoto_sc.model.YOTO"),
        ({"model": "nowhere"}, FileNotFoundError, "holds no model"),
    ],
)
def test_bad_input(
    learned: Learned, change: dict[str, Any], error: type[Exception], message: str
) -> None:
    query = learned.unseen.copy()
    with pytest.raises(error, match=message):
        yt.tl.impute(query, **{"model": learned.model_dir, **change})
    assert not query.layers
    assert "yoto_correlation" not in query.var


def test_a_model_that_has_not_learned_the_transcriptome(learned: Learned) -> None:
    adata = learned.unseen.copy()
    yt.model.YOTO.setup_anndata(adata, categorical_keys=["task_0"])
    model = yt.model.YOTO(adata, n_genes=4)
    model.train(max_steps=4, accelerator="cpu", progress_bar=False)
    with pytest.raises(ValueError, match="has not learned the transcriptome"):
        yt.tl.impute(learned.unseen, model)
