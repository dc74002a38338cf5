"""Tasks that are levels of one tree, from `tl.select` to a loaded model."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import anndata
import numpy as np
import pandas as pd
import pytest

import yoto_sc as yt
from yoto_sc.data import Levels
from yoto_sc.metrics import classification_scores
from yoto_sc.model import YOTO
from yoto_sc.model._files import read_model, write_model

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from anndata import AnnData

LINEAGE_OF = {"class_0": "A", "class_1": "A", "class_2": "B", "class_3": "B", "class_4": "C"}
SITE_OF = {"A": "in", "B": "in", "C": "out"}
KEYS = ["type", "site", "lineage", "task_1"]
SIZE = 6


@pytest.fixture(scope="session")
def make_tree(make_adata: Callable[..., AnnData]) -> Callable[..., AnnData]:
    """Make planted data of five types in three lineages at two sites, and an unrelated task."""

    def make(missing: float = 0.3) -> AnnData:
        adata = make_adata(n_obs=300, n_classes=(5, 3), n_continuous=0, missing=0)
        types = adata.obs["task_0"].astype(str)
        columns = {
            "type": types,
            "lineage": types.map(LINEAGE_OF),
            "site": types.map(LINEAGE_OF).map(SITE_OF),
        }
        rng = np.random.default_rng(0)
        for name, column in columns.items():
            adata.obs[name] = pd.Categorical(column.mask(rng.random(300) < missing))
        return adata

    return make


@pytest.fixture(scope="session")
def saved(
    make_tree: Callable[..., AnnData], select: Callable[..., Any], tmp_path_factory: Any
) -> tuple[AnnData, Path, list[str]]:
    """A selection for the levels, its model's directory, and what was logged."""
    adata, messages = make_tree(), []
    handler = logging.Handler()
    handler.emit = lambda record: messages.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("yoto_sc")
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    directory = tmp_path_factory.mktemp("levels") / "model"
    try:
        select(adata, SIZE, categorical_keys=KEYS, model_dir=directory, group_key="donor")
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)
    return adata, directory, messages


@pytest.fixture
def model(saved: Any) -> Any:
    """The model, loaded."""
    return YOTO.load(saved[1], accelerator="cpu")


def assert_agree(proba: dict[str, pd.DataFrame]) -> None:
    for fine, coarse, parent in [("type", "lineage", LINEAGE_OF), ("lineage", "site", SITE_OF)]:
        sums = proba[fine].T.groupby(parent).sum().T[proba[coarse].columns]
        np.testing.assert_allclose(proba[coarse], sums, atol=4e-6)
        labels = proba[fine].idxmax(axis=1).map(parent)
        assert (labels == proba[coarse].idxmax(axis=1)).all()


def test_said_once_in_the_log(saved: Any) -> None:
    lines = [line for line in saved[2] if "lies within" in line]
    assert lines == [
        "'lineage' lies within 'site': their predictions agree.",
        "'type' lies within 'lineage': their predictions agree.",
    ]


def test_tasks_name_the_level_above_and_survive_files(saved: Any, tmp_path: Path) -> None:
    adata = saved[0]
    assert list(adata.uns["yoto"]["tasks"]["level_of"]) == ["lineage", "", "site", ""]
    adata.write_h5ad(tmp_path / "selected.h5ad")
    read = anndata.read_h5ad(tmp_path / "selected.h5ad")
    assert list(read.uns["yoto"]["tasks"]["level_of"]) == ["lineage", "", "site", ""]


def test_labels_of_all_levels_agree(saved: Any) -> None:
    obs = saved[0].obs
    for fine, coarse, parent in [("type", "lineage", LINEAGE_OF), ("lineage", "site", SITE_OF)]:
        assert (obs[f"yoto_{fine}"].astype(str).map(parent) == obs[f"yoto_{coarse}"]).all()
        assert (obs[f"yoto_{fine}_confidence"] <= obs[f"yoto_{coarse}_confidence"] + 1e-6).all()


@pytest.mark.parametrize("n_genes", [1, 3, SIZE])
def test_probabilities_agree_at_every_size(saved: Any, model: Any, n_genes: int) -> None:
    assert_agree(model.predict_proba(saved[0], n_genes=n_genes))


def test_scores_are_those_of_agreeing_predictions(
    make_tree: Callable[..., AnnData], train: Callable[..., Any]
) -> None:
    """Of the network that was judged: metrics, held-out labels and every size of the path."""
    adata = make_tree()
    model = train(adata, setup={"categorical_keys": KEYS}, train_kwargs={"refit": False})
    cells = adata[model.validation_indices].copy()
    for size in sorted(set(model.path["n_genes"]) & set(range(1, SIZE + 1))):
        proba = model.predict_proba(cells, n_genes=size)
        assert_agree(proba)
        for name, table in proba.items():
            codes = table.columns.get_indexer(cells.obs[name])
            scores = classification_scores(codes, table.to_numpy())
            row = model.path.query("n_genes == @size and task == @name")
            assert row["score"].item() == pytest.approx(scores["macro_f1"], abs=1e-9)
            if size == SIZE:
                assert model.metrics.loc[name, "log_loss"] == pytest.approx(scores["log_loss"])
                assert (model.held_out[name] == table.idxmax(axis=1)).all()


def test_unrelated_tasks_are_left_as_they_are(saved: Any, model: Any) -> None:
    """And so is the representation: the network itself knows nothing of levels."""
    agreed, latent = model.predict_all(saved[0])
    model.module.levels = Levels()
    before, same = model.predict_all(saved[0])
    names = [task.name for task in model.tasks]
    assert not np.array_equal(agreed[names.index("type")], before[names.index("type")])
    np.testing.assert_array_equal(agreed[names.index("task_1")], before[names.index("task_1")])
    np.testing.assert_array_equal(latent, same)


def test_a_loaded_model_predicts_the_same(
    saved: Any, make_tree: Callable[..., AnnData], assert_same_predictions: Callable[..., None]
) -> None:
    adata = make_tree()
    yt.tl.predict(adata, saved[1])
    assert_same_predictions(adata, saved[0])


def test_files_of_scvi_hold_the_levels_too(saved: Any, model: Any, tmp_path: Path) -> None:
    model.save(tmp_path / "scvi", format="scvi")
    loaded = YOTO.load(tmp_path / "scvi", saved[0], "cpu", format="scvi")
    assert loaded.selection.levels == model.selection.levels
    assert_agree(loaded.predict_proba(saved[0]))


def test_a_model_that_was_saved_without_levels_predicts_as_before(
    saved: Any, model: Any, tmp_path: Path
) -> None:
    description, weights = read_model(saved[1])
    del description["selection"]["levels"]
    write_model(tmp_path / "former", description, weights, overwrite=False)
    former = YOTO.load(tmp_path / "former", accelerator="cpu")
    model.module.levels = Levels()
    for one, other in zip(
        former.predict_all(saved[0])[0], model.predict_all(saved[0])[0], strict=True
    ):
        np.testing.assert_array_equal(one, other)


def test_without_levels_nothing_is_said_or_saved(
    adata: AnnData, select: Callable[..., Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "yoto_sc"):
        select(adata, 4, max_steps=2, model_dir=tmp_path / "model")
    assert "lies within" not in caplog.text
    assert "level_of" not in adata.uns["yoto"]["tasks"]
    assert "levels" not in read_model(tmp_path / "model")[0]["selection"]


def test_cells_of_a_lineage_without_types_get_none(
    make_tree: Callable[..., AnnData],
    select: Callable[..., Any],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    adata = make_tree(missing=0)
    adata.obs["type"] = adata.obs["type"].cat.remove_categories(["class_4"])
    arguments = {"categorical_keys": ["lineage", "type"], "max_steps": 200}
    select(adata, SIZE, **arguments, model_dir=tmp_path / "model")
    assert "['C'] of 'lineage': cells predicted as such get no label of 'type'" in caplog.text
    is_c = adata.obs["yoto_lineage"] == "C"
    assert 20 < is_c.sum() < 200
    assert (adata.obs["yoto_type"].isna() == is_c).all()
    parents = adata.obs.loc[~is_c, "yoto_type"].astype(str).map(LINEAGE_OF)
    assert (parents == adata.obs.loc[~is_c, "yoto_lineage"]).all()
    model = YOTO.load(tmp_path / "model", accelerator="cpu")
    pd.testing.assert_series_equal(
        model.predict(adata)["type"], adata.obs["yoto_type"], check_names=False
    )
    np.testing.assert_allclose(model.predict_proba(adata)["type"].sum(axis=1), 1, atol=1e-6)
    yt.tl.predict(adata, model, min_confidence=0.8, key_added="sure")
    unsure = adata.obs["sure_lineage"].isna()
    assert unsure.any()
    assert adata.obs.loc[unsure | is_c, "sure_type"].isna().all()
    assert adata.obs["sure_type"].notna().any()


def test_renamed_labels_stand_side_by_side(
    make_tree: Callable[..., AnnData], select: Callable[..., Any]
) -> None:
    adata = make_tree()
    adata.obs["same"] = adata.obs["type"].cat.rename_categories(lambda name: f"new_{name}")
    select(adata, 4, categorical_keys=["same", "lineage", "type"], max_steps=4)
    assert list(adata.uns["yoto"]["tasks"]["level_of"]) == ["lineage", "", "lineage"]
