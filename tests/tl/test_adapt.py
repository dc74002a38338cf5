"""`tl.predict` on another assay: what is done, what is written, and what is left alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

import yoto_sc as yt

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    MakeAssays = Callable[..., tuple[ad.AnnData, ad.AnnData]]

KEY = "task_0"


@pytest.fixture(scope="module")
def assays(make_assays: MakeAssays) -> tuple[ad.AnnData, ad.AnnData]:
    """A reference and a query whose genes are detected otherwise, with true labels."""
    return make_assays(
        600,
        120,
        n_informative=8,
        n_redundant=8,
        n_query=500,
        efficiency_sd=1.2,
        depth=1.5,
        random_state=1,
    )


@pytest.fixture(scope="module")
def directory(
    assays: tuple[ad.AnnData, ad.AnnData], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    path = tmp_path_factory.mktemp("adapt") / "model"
    yt.tl.select(
        assays[0],
        8,
        categorical_keys=KEY,
        group_key=None,
        max_steps=400,
        accelerator="cpu",
        progress_bar=False,
        model_dir=path,
        copy=True,
    )
    return path


@pytest.fixture
def query(assays: tuple[ad.AnnData, ad.AnnData]) -> ad.AnnData:
    return assays[1].copy()


def right(adata: ad.AnnData) -> float:
    return float((adata.obs[f"yoto_{KEY}"].astype(object) == adata.obs[KEY].astype(object)).mean())


def test_wins_back_labels_that_another_assay_loses(query: ad.AnnData, directory: Path) -> None:
    found = {
        adapt: right(yt.tl.predict(query, directory, adapt=adapt, copy=True))
        for adapt in ("none", "auto", "genes")
    }
    assert found["auto"] > found["none"] + 0.03
    assert found["genes"] == found["auto"]


def test_writes_what_was_done(query: ad.AnnData, directory: Path, tmp_path: Path) -> None:
    yt.tl.predict(query, directory)
    query.write_h5ad(tmp_path / "labelled.h5ad")
    done = ad.read_h5ad(tmp_path / "labelled.h5ad").uns["yoto"]["adaptation"]
    assert done["is_applied"]
    assert done["reason"] == "genes are detected otherwise"
    factors = done["genes"]["factor"]
    true = query.var["efficiency"].loc[factors.index]
    assert np.corrcoef(np.log(factors), np.log(true))[0, 1] > 0.9
    shares = query.obs[KEY].value_counts(normalize=True)
    np.testing.assert_allclose(
        done["composition"]["share"], shares.loc[done["composition"].index], atol=0.12
    )


def test_cells_like_the_reference_are_left_as_they_are(
    assays: tuple[ad.AnnData, ad.AnnData], directory: Path
) -> None:
    found = yt.tl.predict(assays[0], directory, copy=True)
    model = yt.model.YOTO.load(directory)
    expected = model.predict(assays[0])[KEY]
    pd.testing.assert_series_equal(found.obs[f"yoto_{KEY}"], expected, check_names=False)
    np.testing.assert_array_equal(found.obsm["X_yoto"], model.get_latent_representation(assays[0]))
    done = found.uns["yoto"]["adaptation"]
    assert not done["is_other_assay"]
    assert not done["is_applied"]
    assert done["depth"] == pytest.approx(1, abs=0.01)


def test_by_itself_every_cell_is_of_any_assay(query: ad.AnnData, directory: Path) -> None:
    """What is said of a cell does not depend on the others, and comes from the robust network."""
    whole = yt.tl.predict(query, directory, adapt="none", copy=True)
    part = yt.tl.predict(query[50:53].copy(), directory, adapt="none", copy=True)
    for column in part.obs.filter(like="yoto_"):
        pd.testing.assert_series_equal(part.obs[column], whole.obs[column].iloc[50:53])
    assert "yoto" not in whole.uns
    model = yt.model.YOTO.load(directory)
    labels = model.predict(query)[KEY].astype(object)
    assert right(whole) > (labels == query.obs[KEY].astype(object)).mean()


def test_an_earlier_adaptation_is_forgotten_and_other_results_are_kept(
    query: ad.AnnData, directory: Path
) -> None:
    yt.tl.predict(query, directory)
    query.uns["yoto"]["params"] = {"n_genes": 8}
    yt.tl.predict(query, directory, adapt="none")
    assert query.uns["yoto"] == {"params": {"n_genes": 8}}


def test_empty_cells_get_no_label_and_no_confidence(query: ad.AnnData, directory: Path) -> None:
    genes = yt.model.YOTO.load(directory).panel().genes
    panel = query[:, genes].copy()
    counts = panel.X.toarray()
    counts[[4, 9]] = 0
    panel.X = sp.csr_matrix(counts)
    yt.tl.predict(panel, directory)
    labels, confidence = panel.obs[f"yoto_{KEY}"], panel.obs[f"yoto_{KEY}_confidence"]
    assert labels.iloc[[4, 9]].isna().all()
    assert confidence.iloc[[4, 9]].isna().all()
    pd.testing.assert_series_equal(labels.isna(), confidence.isna(), check_names=False)
    assert labels.isna().sum() == panel.uns["yoto"]["adaptation"]["n_untold"]
    assert labels.isna().mean() < 0.1


def test_with_a_missing_gene(query: ad.AnnData, directory: Path) -> None:
    genes = yt.model.YOTO.load(directory).panel().genes
    yt.tl.predict(query, directory)
    fewer = query[:, genes[:-1]].copy()
    del fewer.uns["yoto"]
    yt.tl.predict(fewer, directory, missing="zero")
    done = fewer.uns["yoto"]["adaptation"]
    assert done["is_applied"]
    assert list(done["genes"].index) == genes[:-1]
    assert right(fewer) > right(query) - 0.15


def test_few_genes_of_the_panel(query: ad.AnnData, directory: Path) -> None:
    genes = yt.model.YOTO.load(directory).panel(5).genes
    yt.tl.predict(query, directory, n_genes=5)
    assert list(query.uns["yoto"]["adaptation"]["genes"].index) == genes


def test_models_without_a_reference_predict_as_ever(query: ad.AnnData, directory: Path) -> None:
    model = yt.model.YOTO.load(directory)
    none = yt.tl.predict(query, model, adapt="none", copy=True)
    model.reference_ = None
    former = yt.tl.predict(query, model, copy=True)
    pd.testing.assert_frame_equal(former.obs, none.obs)
    with pytest.raises(ValueError, match="remembers nothing of its reference"):
        yt.tl.predict(query, model, adapt="genes")


def test_loaded_and_fresh_models_agree(
    assays: tuple[ad.AnnData, ad.AnnData], query: ad.AnnData, tmp_path: Path
) -> None:
    reference = assays[0].copy()
    yt.model.YOTO.setup_anndata(reference, categorical_keys=[KEY])
    model = yt.model.YOTO(reference, n_genes=6)
    model.train(40, accelerator="cpu", progress_bar=False)
    for format in ("safetensors", "scvi"):
        model.save(tmp_path / format, format=format)
    loaded = [
        yt.model.YOTO.load(tmp_path / "safetensors"),
        yt.model.YOTO.load(tmp_path / "scvi", reference, format="scvi"),
    ]
    expected = yt.tl.predict(query, model, copy=True)
    for one in loaded:
        found = yt.tl.predict(query, one, copy=True)
        pd.testing.assert_frame_equal(found.obs, expected.obs)


def test_refuses_other_ways(query: ad.AnnData, directory: Path) -> None:
    with pytest.raises(ValueError, match="adapt must be one of"):
        yt.tl.predict(query, directory, adapt="harmony")


def test_one_warning_for_what_is_odd(
    query: ad.AnnData, directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rng = np.random.default_rng(0)
    query.X = sp.csr_matrix(rng.binomial(query.X.toarray().astype(int), 0.05).astype(np.float32))
    yt.tl.predict(query, directory)
    warnings: list[Any] = [r for r in caplog.records if r.levelname == "WARNING"]
    assert len(warnings) == 1
    assert "times the counts of the reference" in warnings[0].getMessage()


def test_corrected_counts_are_taken_with_a_warning(
    query: ad.AnnData, directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    expected = yt.tl.predict(query, directory, copy=True)
    query.X = sp.csr_matrix(query.X.toarray() * np.float32(0.999))
    corrected = yt.tl.predict(query, directory, copy=True)
    assert "taken as corrected counts" in caplog.text
    same = corrected.obs[f"yoto_{KEY}"].astype(object) == expected.obs[f"yoto_{KEY}"].astype(
        object
    )
    assert same.mean() > 0.98
    query.X = query.X.log1p()
    with pytest.raises(ValueError, match="holds fractions"):
        yt.tl.predict(query, directory)
