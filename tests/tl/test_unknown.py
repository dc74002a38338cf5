"""`tl.predict(unknown=…)`: cells of types that the reference lacks are named as such."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

import yoto_sc as yt

if TYPE_CHECKING:
    from pathlib import Path

    import anndata as ad

KEY, NEW = "task_0", "class_3"


@pytest.fixture(scope="module")
def cells() -> ad.AnnData:
    """Cells of four classes; two thirds are for the reference, which lacks the last class."""
    return yt.datasets.planted(
        1500, 120, n_informative=12, n_redundant=4, n_classes=(4,), missing=0.0, random_state=2
    )


@pytest.fixture(scope="module")
def directory(cells: ad.AnnData, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("unknown") / "model"
    reference = cells[:1000].copy()
    reference = reference[(reference.obs[KEY] != NEW).to_numpy()].copy()
    reference.obs[KEY] = reference.obs[KEY].cat.remove_unused_categories()
    yt.tl.select(
        reference,
        12,
        categorical_keys=KEY,
        group_key=None,
        max_steps=400,
        accelerator="cpu",
        progress_bar=False,
        model_dir=path,
    )
    return path


@pytest.fixture
def query(cells: ad.AnnData) -> ad.AnnData:
    return cells[1000:].copy()


def test_new_cells_are_further_away_and_get_no_label(query: ad.AnnData, directory: Path) -> None:
    yt.tl.predict(query, directory, unknown=0.05)
    novelty, refused = query.obs[f"yoto_{KEY}_novelty"], query.obs[f"yoto_{KEY}"].isna()
    new = (query.obs[KEY] == NEW).to_numpy()
    assert novelty.dtype == np.float32
    assert roc_auc_score(new, novelty) > 0.7
    assert refused[new].mean() > 2 * refused[~new].mean()
    assert refused[~new].mean() < 0.1


def test_the_more_may_be_refused_the_more_are(query: ad.AnnData, directory: Path) -> None:
    shares = [0.0, 0.02, 0.1, 0.5, 0.95]
    refused = []
    for share in shares:
        yt.tl.predict(query, directory, unknown=share)
        refused.append(query.obs[f"yoto_{KEY}"].isna().mean())
    assert refused == sorted(refused)
    assert refused[0] < refused[2] < refused[3]
    assert refused[-1] > 0.9


def test_cells_of_another_depth_are_not_all_new(query: ad.AnnData, directory: Path) -> None:
    known = query[(query.obs[KEY] != NEW).to_numpy()].copy()
    rng = np.random.default_rng(0)
    known.X = rng.binomial(known.X.toarray().astype(int), 0.4).astype(np.float32)
    yt.tl.predict(known, directory, unknown=0.05)
    assert known.obs[f"yoto_{KEY}"].isna().mean() < 0.15


def test_without_it_nothing_is_refused_and_nothing_is_left(
    query: ad.AnnData, directory: Path
) -> None:
    yt.tl.predict(query, directory, unknown=0.5)
    yt.tl.predict(query, directory)
    assert f"yoto_{KEY}_novelty" not in query.obs
    assert query.obs[f"yoto_{KEY}"].isna().mean() < 0.02  # but cells of hardly any count


def test_loaded_models_tell_the_same(cells: ad.AnnData, query: ad.AnnData, tmp_path: Path) -> None:
    reference = cells[:1000].copy()
    yt.model.YOTO.setup_anndata(reference, categorical_keys=[KEY])
    model = yt.model.YOTO(reference, n_genes=6, n_members=2, n_hidden=8)
    model.train(40, accelerator="cpu", progress_bar=False)
    model.save(tmp_path / "model")
    found = yt.tl.predict(query, model, unknown=0.1, copy=True)
    again = yt.tl.predict(query, tmp_path / "model", unknown=0.1, copy=True)
    pd.testing.assert_frame_equal(found.obs, again.obs)


def test_refuses_what_cannot_be_told(
    cells: ad.AnnData, query: ad.AnnData, directory: Path
) -> None:
    with pytest.raises(ValueError, match="unknown must be"):
        yt.tl.predict(query, directory, unknown=1.5)
    with pytest.raises(ValueError, match="whole panel"):
        yt.tl.predict(query, directory, unknown=0.1, n_genes=5)
    genes = yt.model.YOTO.load(directory).panel().genes
    with pytest.raises(ValueError, match="whole panel"):
        yt.tl.predict(query[:, genes[1:]].copy(), directory, unknown=0.1, missing="zero")
    numbers = cells[:300].copy()
    numbers.obs["score"] = np.arange(300.0)
    yt.model.YOTO.setup_anndata(numbers, continuous_keys=["score"])
    model = yt.model.YOTO(numbers, n_genes=4, n_members=2, n_hidden=8)
    model.train(20, accelerator="cpu", progress_bar=False)
    with pytest.raises(ValueError, match="no classes"):
        yt.tl.predict(query, model, unknown=0.1)
