"""`tl.adapt`: a model for another assay, from a few labelled cells of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

import yoto_sc as yt

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import anndata as ad

    MakeAssays = Callable[..., tuple[ad.AnnData, ad.AnnData]]

KEY, SCORE, NEW = "task_0", "score_0", "class_3"


@pytest.fixture(scope="module")
def assays(make_assays: MakeAssays) -> tuple[ad.AnnData, ad.AnnData]:
    """A reference without the last class, and a query with it, whose genes are detected badly."""
    reference, query = make_assays(
        700,
        120,
        n_informative=12,
        n_redundant=4,
        n_continuous=1,
        n_query=600,
        efficiency_sd=1.5,
        depth=0.5,
        random_state=3,
    )
    reference = reference[(reference.obs[KEY] != NEW).to_numpy()].copy()
    reference.obs[KEY] = reference.obs[KEY].cat.remove_unused_categories()
    return reference, query


@pytest.fixture(scope="module")
def directory(
    assays: tuple[ad.AnnData, ad.AnnData], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    path = tmp_path_factory.mktemp("labels") / "model"
    yt.tl.select(
        assays[0],
        12,
        categorical_keys=KEY,
        continuous_keys=SCORE,
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


def few(query: ad.AnnData, n: int, classes: tuple[str, ...] | None = None) -> ad.AnnData:
    """Leave the labels of `n` cells of each class."""
    query = query.copy()
    labels = query.obs[KEY].astype(object)
    kept = query.obs.groupby(KEY, observed=True).head(n).index
    labels[~labels.index.isin(kept)] = np.nan
    if classes is not None:
        labels[~labels.isin(classes)] = np.nan
    query.obs[KEY] = pd.Categorical(labels)
    del query.obs[SCORE]
    return query


def right(query: ad.AnnData, model: object, of: np.ndarray | None = None) -> float:
    fresh = query.copy()
    yt.tl.predict(fresh, model)
    hits = (fresh.obs[f"yoto_{KEY}"].astype(object) == query.obs[KEY].astype(object)).to_numpy()
    return float(hits.mean() if of is None else hits[of].mean())


def test_few_labels_help_and_new_classes_are_learned(
    query: ad.AnnData, directory: Path, tmp_path: Path
) -> None:
    given = few(query, 15)
    before = given.copy()
    adapted = yt.tl.adapt(given, directory, model_dir=tmp_path / "adapted", progress_bar=False)
    new = (query.obs[KEY] == NEW).to_numpy()
    assert right(query, adapted, ~new) > right(query, directory, ~new) - 0.02
    assert right(query, adapted, new) > 0.3
    pd.testing.assert_frame_equal(given.obs, before.obs)
    assert adapted.panel().genes == yt.model.YOTO.load(directory).panel().genes
    loaded = yt.model.YOTO.load(tmp_path / "adapted")
    assert right(query, loaded) == right(query, adapted)
    pd.testing.assert_frame_equal(loaded.selection.adapted, adapted.selection.adapted)


def test_it_says_where_it_comes_from(query: ad.AnnData, directory: Path) -> None:
    adapted = yt.tl.adapt(few(query, 6), directory, progress_bar=False)
    origin = adapted.selection.adapted
    assert origin.index.tolist() == [KEY, SCORE]
    assert (origin["model"] == "model").all()
    assert origin.loc[KEY].tolist()[1:] == [24, 576, 1]
    assert origin.loc[SCORE].tolist()[1:] == [0, 600, 0]
    assert yt.model.YOTO.load(directory).selection.adapted.empty


def test_the_query_is_the_reference_then(query: ad.AnnData, directory: Path) -> None:
    adapted = yt.tl.adapt(few(query, 10), directory, progress_bar=False)
    yt.tl.predict(query, adapted, unknown=0.1)
    done = query.uns["yoto"]["adaptation"]
    assert not done["is_other_assay"]
    assert done["depth"] == pytest.approx(1, abs=0.02)
    assert query.obs[f"yoto_{KEY}"].isna().mean() == pytest.approx(0.1, abs=0.05)


def test_numbers(query: ad.AnnData, directory: Path) -> None:
    truth = query.obs[SCORE].to_numpy() + 1.5  # it is measured otherwise there
    given = few(query, 10)
    given.obs[SCORE] = np.where(np.arange(600) < 60, truth, np.nan)
    adapted = yt.tl.adapt(given, directory, categorical_keys=(), progress_bar=False)
    assert adapted.selection.adapted.loc[KEY, "n_labeled"] == 0
    errors = {}
    for name, model in (("before", directory), ("after", adapted)):
        fresh = query.copy()
        yt.tl.predict(fresh, model)
        errors[name] = np.nanmean((fresh.obs[f"yoto_{SCORE}"].to_numpy() - truth)[60:] ** 2)
    assert errors["after"] < 0.4 * errors["before"]


def test_same_seed_same_model(query: ad.AnnData, directory: Path) -> None:
    given = few(query, 5)
    states = [
        yt.tl.adapt(given, directory, random_state=seed, progress_bar=False).module.state_dict()
        for seed in (1, 1, 2)
    ]
    for key, weights in states[0].items():
        np.testing.assert_array_equal(weights, states[1][key])
    assert any(not np.array_equal(w, states[2][key]) for key, w in states[0].items())


def test_classes_with_few_cells_are_pointed_out(
    query: ad.AnnData, directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    yt.tl.adapt(few(query, 2, ("class_0", "class_1")), directory, progress_bar=False)
    assert "fewer than 5 cells have the label ['class_0', 'class_1']" in caplog.text


def test_refuses_what_it_cannot_learn_from(
    query: ad.AnnData, directory: Path, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="No cell has a label"):
        yt.tl.adapt(few(query, 0), directory)
    with pytest.raises(KeyError, match="has no task"):
        yt.tl.adapt(query, directory, categorical_keys="donor")
    bare = query.copy()
    del bare.obs[KEY]
    with pytest.raises(KeyError, match=KEY):
        yt.tl.adapt(bare, directory, categorical_keys=KEY)
    with pytest.raises(KeyError, match="lacks"):
        yt.tl.adapt(few(query, 5)[:, :40].copy(), directory)
    with pytest.raises(ValueError, match="already exists"):
        yt.tl.adapt(few(query, 5), directory, model_dir=tmp_path)
