"""`batch_key`: differences between batches count for nothing."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import yoto_sc as yt

N_BATCHES = 4


def confounded(make_adata, seed=0):
    """Batches hold unlike shares of the classes, and each has marker genes of its own."""
    adata = make_adata(n_obs=400, missing=0.0)
    rng = np.random.default_rng(seed)
    codes = adata.obs["task_0"].astype("category").cat.codes.to_numpy()
    alike = rng.random(adata.n_obs) < 0.75
    batches = np.where(alike, codes % N_BATCHES, rng.integers(N_BATCHES, size=adata.n_obs))
    counts = adata.X.toarray()
    free = np.flatnonzero(adata.var["task"] == "")
    markers = free[: 3 * N_BATCHES]
    for position, gene in enumerate(markers):
        counts[:, gene] = rng.poisson(np.where(batches == position % N_BATCHES, 12, 1))
    adata.X = counts.astype(np.float32)
    adata.obs["plate"] = pd.Categorical([f"plate {b}" for b in batches])
    return adata, adata.var_names[markers]


def test_genes_of_batches_are_not_selected(make_adata, select):
    adata, markers = confounded(make_adata)
    how = {"categorical_keys": "task_0", "max_steps": 200, "train_kwargs": {"refit": False}}
    select(adata, 8, **how, key_added="plain")
    select(adata, 8, **how, batch_key="plate", key_added="within")
    assert adata.var.loc[markers, "plain_selected"].sum() >= 2
    assert adata.var.loc[markers, "within_selected"].sum() == 0


def test_it_is_written_down(adata, select):
    select(adata, batch_key="donor")
    assert adata.uns["yoto"]["params"]["batch_key"] == "donor"
    select(adata, key_added="other")
    assert "batch_key" not in adata.uns["other"]["params"]


def test_it_may_be_held_out_too(adata, select):
    select(adata, batch_key="donor", split_key="donor")
    assert adata.uns["yoto"]["metrics"]["macro_f1"].notna().any()


def test_group_scores_with_it(adata, select):
    select(adata, batch_key="donor", group_key="donor")
    assert "group_macro_f1" in adata.uns["yoto"]["metrics"]


def test_numbers_vectors_and_the_transcriptome(adata, select):
    adata.obsm["proteins"] = np.random.default_rng(0).normal(size=(adata.n_obs, 3))
    tasks = {"continuous_keys": "score_0", "obsm_keys": "proteins", "transcriptome": 3}
    select(adata, categorical_keys="task_0", **tasks, batch_key="donor")
    assert np.isfinite(adata.obsm["yoto_transcriptome"]).all()


def test_cells_without_a_batch_are_one(adata, select):
    adata.obs["plate"] = adata.obs["donor"].astype(object)
    adata.obs.loc[adata.obs_names[::3], "plate"] = None
    adata.obs["named"] = adata.obs["plate"].fillna("none")
    select(adata, batch_key="plate")
    select(adata, batch_key="named", key_added="named")
    pd.testing.assert_series_equal(
        adata.var["yoto_rank"], adata.var["named_rank"], check_names=False
    )


def test_names_and_order_of_batches_do_not_matter(adata, select):
    adata.obs["number"] = adata.obs["donor"].astype("category").cat.codes
    select(adata, batch_key="donor")
    select(adata, batch_key="number", key_added="number")
    pd.testing.assert_series_equal(
        adata.var["yoto_rank"], adata.var["number_rank"], check_names=False
    )


def test_a_class_of_one_batch_alone_is_learned(adata, select):
    adata.obs["plate"] = (adata.obs["task_0"] == "class_0").map({True: "a", False: "b"})
    how = {"max_steps": 200, "train_kwargs": {"refit": False}}
    select(adata, 8, categorical_keys="task_0", batch_key="plate", **how)
    confusion = adata.uns["yoto"]["confusion"]
    own = confusion[confusion["observed"] == "class_0"]
    right = own.loc[own["predicted"] == "class_0", "n_cells"].sum()
    assert right > 0.5 * own["n_cells"].sum()


def test_a_registered_model_selects_the_same(make_adata, select, train):
    adata = make_adata()
    select(adata, batch_key="donor")
    keys = {"categorical_keys": ["task_0", "task_1"], "continuous_keys": ["score_0"]}
    model = train(make_adata(), setup={**keys, "batch_key": "donor"})
    assert model.panel().genes == yt.Panel.from_adata(adata).genes
    assert model.registry["setup_args"]["batch_key"] == "donor"


def test_saved_models_know_it_and_predict_without_it(adata, select, tmp_path):
    select(adata, batch_key="donor", model_dir=tmp_path / "model")
    model = yt.model.YOTO.load(tmp_path / "model")
    assert model.registry["setup_args"]["batch_key"] == "donor"
    new = adata[:50].copy()
    del new.obs["donor"]
    yt.tl.predict(new, tmp_path / "model")
    pd.testing.assert_series_equal(
        new.obs["yoto_task_0_confidence"], adata.obs["yoto_task_0_confidence"][:50]
    )


def test_stability_takes_it(adata):
    quick = {"max_steps": 10, "model_kwargs": {"n_hidden": 8, "n_members": 2}}
    yt.tl.stability(
        adata,
        4,
        n_runs=2,
        categorical_keys="task_0",
        progress_bar=False,
        select_kwargs={**quick, "batch_key": "donor"},
    )
    assert adata.uns["yoto_stability"]["params"]["batch_key"] == "donor"
    wrong = {**quick, "batch_key": "nope"}
    with pytest.raises(KeyError, match="`batch_key` names 'nope'"):
        yt.tl.stability(adata, 4, n_runs=2, categorical_keys="task_0", select_kwargs=wrong)


@pytest.mark.parametrize(
    ("batch_key", "error", "message"),
    [
        ("nope", KeyError, "`batch_key` names 'nope'"),
        (["donor"], TypeError, "batch_key must be the name of an obs column"),
        ("one", ValueError, "batch_key='one' has 1 group"),
        ("empty", ValueError, "batch_key='empty' has 1 group"),
        ("score_0", ValueError, r"batch_key='score_0' has \d+ groups for 160 cells"),
        ("task_0", ValueError, "batch_key='task_0' is also a task"),
    ],
)
def test_what_is_no_batch_is_refused(adata, select, batch_key, error, message):
    adata.obs["one"], adata.obs["empty"] = "b", None
    columns = [*adata.obs.columns]
    with pytest.raises(error, match=message):
        select(adata, batch_key=batch_key)
    with pytest.raises(error, match=message):
        yt.model.YOTO.setup_anndata(adata, categorical_keys=["task_0"], batch_key=batch_key)
    assert [*adata.obs.columns] == columns


def test_a_result_may_not_overwrite_it(adata, select):
    adata.obs["yoto_task_0"] = adata.obs["donor"]
    with pytest.raises(ValueError, match=r"yoto_task_0.*key_added"):
        select(adata, batch_key="yoto_task_0")
