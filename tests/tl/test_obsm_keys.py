"""Vectors in obsm, from reading them to predicting them for cells that were never seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from sklearn.metrics import r2_score, root_mean_squared_error

import yoto_sc as yt

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from anndata import AnnData

    Select = Callable[..., AnnData | None]
    StateOf = Callable[[AnnData], dict[tuple[str, ...], str]]

KEYS = ["proteins", "embedding", "modules", "one"]
SCORES = ["score_0", "score_1", "score_2"]
QUICK = {"categorical_keys": (), "max_steps": 100, "model_kwargs": {"n_hidden": 64}}


@pytest.fixture(scope="module")
def make_vectors(make_adata: Callable[..., AnnData]) -> Callable[..., AnnData]:
    """Build counts with vectors of all formats, which follow three genes; and three numbers."""

    def make(**kwargs: Any) -> AnnData:
        adata = make_adata(missing=0.0, n_classes=(3,), n_continuous=0, **kwargs)
        values = np.log1p(adata.X.toarray())
        scores = values[:, np.argsort(-values.mean(axis=0))[:3]].astype(float)
        scores += np.random.default_rng(0).normal(0, 0.1, size=scores.shape)
        noise = np.random.default_rng(1).normal(0, 0.1, size=scores.shape)
        adata.obs[SCORES] = scores
        proteins = pd.DataFrame(scores, adata.obs_names, ["CD3", "CD4", "CD8"])
        adata.obsm["proteins"] = proteins.assign(CD4=2 * proteins["CD4"])
        adata.obsm["embedding"] = (scores + noise)[:, :2].astype(np.float32)
        adata.obsm["embedding"][::5, 1] = np.nan
        adata.obsm["modules"] = sp.csr_matrix(np.maximum(scores + noise, 0))
        adata.obsm["one"] = 100 + scores[:, :1]
        return adata

    return make


@dataclass(frozen=True)
class Done:
    """Data before and after a selection for all vectors, and the directory of its model."""

    before: AnnData
    after: AnnData
    model_dir: Path


@pytest.fixture(scope="module")
def done(make_vectors: Any, select: Select, tmp_path_factory: Any) -> Done:
    before, after = make_vectors(), make_vectors()
    model_dir = tmp_path_factory.mktemp("vectors") / "model"
    select(after, obsm_keys=KEYS, model_dir=model_dir, **QUICK)
    return Done(before, after, model_dir)


def labels_of(adata: AnnData, key: str) -> Any:
    entry = adata.obsm[key]
    dense = entry.toarray() if sp.issparse(entry) else np.array(entry, dtype=float)
    return np.where(np.isnan(dense).any(axis=1, keepdims=True), np.nan, dense)


def same_entry(one: Any, other: Any) -> None:
    if isinstance(other, pd.DataFrame):
        pd.testing.assert_frame_equal(one, other)
    else:
        assert type(one) is type(other)
        np.testing.assert_array_equal(one, other)


# --- what is written ---


def test_writes_entries_of_obsm_and_nothing_else(done: Done, state_of: StateOf) -> None:
    before, after = state_of(done.before), state_of(done.after)
    expected = {
        *(("var", "column", f"yoto_{name}") for name in ("selected", "rank", "score")),
        *(("obsm", f"yoto_{key}") for key in KEYS),
        ("obsm", "X_yoto"),
        ("uns", "yoto"),
    }
    assert after.keys() - before.keys() == expected
    assert {at: after[at] for at in before} == before


def test_predictions_look_like_the_labels(done: Done) -> None:
    obsm = done.after.obsm
    table = obsm["yoto_proteins"]
    assert isinstance(table, pd.DataFrame)
    assert list(table.columns) == ["CD3", "CD4", "CD8"]
    assert list(table.index) == list(done.after.obs_names)
    assert set(table.dtypes) == {np.dtype("float32")}
    for key, width in (("embedding", 2), ("modules", 3), ("one", 1)):
        assert type(obsm[f"yoto_{key}"]) is np.ndarray
        assert obsm[f"yoto_{key}"].shape == (160, width)
        assert obsm[f"yoto_{key}"].dtype == np.float32
    for key in KEYS:  # cells without a label, too
        assert np.isfinite(np.asarray(obsm[f"yoto_{key}"])).all()


def test_predictions_tell_something(done: Done) -> None:
    for key in KEYS:
        labels = labels_of(done.after, key)
        seen = ~np.isnan(labels).any(axis=1)
        predicted = np.asarray(done.after.obsm[f"yoto_{key}"], dtype=float)
        score = r2_score(labels[seen], predicted[seen], multioutput="variance_weighted")
        assert score > 0.3, key


def test_scores_are_those_of_held_out_cells(done: Done) -> None:
    record = done.after.uns["yoto"]
    held_out = record["held_out"]
    names = {"proteins": ["CD3", "CD4", "CD8"], "embedding": "01", "modules": "012", "one": "0"}
    assert list(held_out.columns) == [f"{k}_{name}" for k in KEYS for name in names[k]]
    assert list(record["metrics"].index) == list(record["tasks"].index) == KEYS
    assert set(record["tasks"]["kind"]) == {"vector"}
    for key in KEYS:
        labels = labels_of(done.after, key)[done.after.obs_names.get_indexer(held_out.index)]
        predicted = held_out[[f"{key}_{name}" for name in names[key]]].to_numpy(dtype=float)
        seen = ~np.isnan(labels).any(axis=1)
        true, predicted = labels[seen], predicted[seen]
        row = record["metrics"].loc[key]
        assert row["n_cells"] == seen.sum()
        expected = r2_score(true, predicted, multioutput="variance_weighted")
        assert row["r2"] == pytest.approx(expected, rel=1e-4)
        assert row["rmse"] == pytest.approx(np.sqrt(((true - predicted) ** 2).mean()), rel=1e-4)
        assert np.isnan(row["macro_f1"])
        columns = record["columns"].query("task == @key")
        assert list(columns["column"]) == list(names[key])
        for i, (_, of_column) in enumerate(columns.iterrows()):
            pair = true[:, i], predicted[:, i]
            assert of_column["r2"] == pytest.approx(r2_score(*pair), rel=1e-4)
            assert of_column["rmse"] == pytest.approx(root_mean_squared_error(*pair), rel=1e-4)
    path = record["path"]
    assert set(path["task"]) == set(KEYS)
    assert set(path["metric"]) == {"r2"}
    assert record["confusion"].empty
    assert record["params"]["obsm_keys"] == KEYS
    assert "transcriptome" not in record["params"]


def test_without_vectors_there_is_no_table_of_columns(selected: AnnData) -> None:
    assert "columns" not in selected.uns["yoto"]


@pytest.mark.parametrize("format_", ["h5ad", "zarr"])
def test_results_survive_a_file(done: Done, format_: str, tmp_path: Path) -> None:
    path = tmp_path / f"adata.{format_}"
    getattr(done.after.copy(), f"write_{format_}")(path)
    again = getattr(anndata, f"read_{format_}")(path)
    for key in (*(f"yoto_{key}" for key in KEYS), "X_yoto"):
        same_entry(again.obsm[key], done.after.obsm[key])
    for name in ("metrics", "columns", "tasks", "path", "held_out"):
        pd.testing.assert_frame_equal(
            again.uns["yoto"][name], done.after.uns["yoto"][name], check_names=False
        )
    assert yt.Panel.from_adata(again).genes == yt.Panel.from_adata(done.after).genes


def test_the_same_call_does_the_same(
    done: Done, make_vectors: Any, select: Select, state_of: StateOf
) -> None:
    again = make_vectors()
    select(again, obsm_keys=KEYS, **QUICK)
    assert state_of(again) == state_of(done.after)


# --- saved and loaded ---


def test_a_saved_model_predicts_the_same_from_the_panel_alone(done: Done) -> None:
    panel = yt.Panel.from_adata(done.after).genes
    measured = done.before[:, panel].copy()
    for key in KEYS:
        del measured.obsm[key]
    yt.tl.predict(measured, done.model_dir)
    for key in (*(f"yoto_{key}" for key in KEYS), "X_yoto"):
        same_entry(measured.obsm[key], done.after.obsm[key])
    assert not measured.obs.filter(like="yoto").shape[1]


def test_a_loaded_model_knows_its_tasks(done: Done) -> None:
    model = yt.model.YOTO.load(done.model_dir, accelerator="cpu")
    assert [task.name for task in model.tasks] == KEYS
    assert [task.names for task in model.tasks][0] == ("CD3", "CD4", "CD8")
    pd.testing.assert_frame_equal(model.selection.columns, done.after.uns["yoto"]["columns"])
    frame = model.predict(done.before)
    assert list(frame.columns) == list(done.after.uns["yoto"]["held_out"].columns)
    np.testing.assert_array_equal(frame["one_0"], done.after.obsm["yoto_one"][:, 0])


def test_predictions_do_not_overwrite_labels(done: Done, state_of: StateOf) -> None:
    adata = done.before.copy()
    adata.obsm["X_embedding"] = np.ones((160, 2))
    before = state_of(adata)
    yt.tl.predict(adata, done.model_dir, key_added="p")
    assert {at: after for at, after in state_of(adata).items() if at in before} == before
    assert {"p_proteins", "p_embedding", "p_modules", "p_one", "X_p"} <= set(adata.obsm)


# --- several selections ---


def test_a_second_selection_drops_the_vectors_of_the_first(done: Done, select: Select) -> None:
    adata = done.after.copy()
    adata.obsm["yoto_mine"] = np.ones((160, 2))
    select(adata, 3, obsm_keys="one", categorical_keys="task_0", max_steps=4)
    assert {name for name in adata.obsm if "yoto" in name} == {"yoto_one", "X_yoto", "yoto_mine"}
    select(adata, 3, categorical_keys="task_0", max_steps=4)
    assert {name for name in adata.obsm if "yoto" in name} == {"X_yoto", "yoto_mine"}
    assert "columns" not in adata.uns["yoto"]


def test_selections_stand_side_by_side(done: Done, select: Select, state_of: StateOf) -> None:
    adata = done.after.copy()
    before = state_of(adata)
    select(adata, 3, obsm_keys=["proteins"], key_added="other", **{**QUICK, "max_steps": 4})
    assert {at: after for at, after in state_of(adata).items() if at in before} == before
    assert {"other_proteins", "X_other"} <= set(adata.obsm)


# --- what is refused ---


@pytest.mark.parametrize(
    ("change", "arguments", "message"),
    [
        ({"yoto_one": np.ones((160, 1))}, {}, r"would overwrite adata\.obsm\['yoto_one'\]"),
        ({"X_yoto": np.ones((160, 1))}, {}, r"would overwrite adata\.obsm\['X_yoto'\]"),
        (
            {"X_v": np.random.default_rng(0).random((160, 2))},
            {"obsm_keys": ["X_v"], "key_added": "v"},
            r"obsm\['X_v'\] would overwrite a label.*another key_added than 'v'",
        ),
        (
            {"v_one": np.random.default_rng(0).random((160, 2))},
            {"obsm_keys": ["one", "v_one"], "key_added": "v"},
            r"obsm\['v_one'\] would overwrite a label",
        ),
        ({}, {"obsm_keys": ["nope"]}, r"`obsm_keys` names 'nope', which is not an entry"),
        ({}, {"obsm_keys": ["one", "one"]}, "'one' more than once"),
        ({}, {"obsm_keys": [3]}, r"names \(strings\) of adata.obsm, not 3"),
        (
            {"score_0": np.random.default_rng(0).random((160, 2))},
            {"obsm_keys": ["score_0"], "continuous_keys": ["score_0"]},
            "are in both",
        ),
        ({"one": np.ones((160, 2))}, {}, "'one' has the same vector in every cell"),
        ({"one": np.full((160, 2), np.nan)}, {}, "'one' has no observed vector"),
        ({"one": np.full((160, 2), np.inf)}, {}, "'one' holds infinite values"),
        ({"one": np.full((160, 2), "a")}, {}, "'one' in `obsm_keys` must hold numbers"),
        ({"one": np.random.default_rng(0).random((160, 2, 2))}, {}, "'one'.*shape"),
        ({"one": np.empty((160, 0))}, {}, "'one' has no columns"),
    ],
)
def test_bad_vectors_leave_all_as_it_was(
    make_vectors: Any,
    select: Select,
    state_of: StateOf,
    change: Any,
    arguments: Any,
    message: str,
) -> None:
    adata = make_vectors()
    for key, entry in change.items():
        adata.obsm[key] = entry
    before = state_of(adata)
    arguments = {**QUICK, "max_steps": 2, "obsm_keys": ["one"], **arguments}
    with pytest.raises((KeyError, TypeError, ValueError), match=message):
        select(adata, 3, **arguments)
    assert state_of(adata) == before


# --- vectors as tasks beside others ---


def test_a_vector_is_as_good_as_its_columns_one_by_one(make_vectors: Any, select: Select) -> None:
    """In few cells and steps; the panels need not be the same."""
    scores, panels = [], []
    for keys in ({"continuous_keys": SCORES}, {"obsm_keys": ["scores"]}):
        adata = make_vectors()
        columns = adata.obs[SCORES].to_numpy()
        adata.obsm["scores"] = (columns - columns.mean(axis=0)) / columns.std(axis=0)
        select(adata, 5, **{**QUICK, "max_steps": 200}, **keys)
        scores.append(adata.uns["yoto"]["metrics"]["r2"].mean())
        panels.append(set(yt.Panel.from_adata(adata).genes))
    assert scores[1] == pytest.approx(scores[0], abs=0.1)
    assert min(scores) > 0.6
    assert len(panels[0] & panels[1]) >= 3  # the genes that they follow


def test_vectors_beside_labels_groups_and_a_size_to_choose(
    make_vectors: Any, select: Select
) -> None:
    adata = make_vectors(n_donors=4)
    select(
        adata,
        "auto",
        categorical_keys="task_0",
        obsm_keys="proteins",
        group_key="donor",
        max_steps=20,
    )
    record = adata.uns["yoto"]
    assert list(record["tasks"]["kind"]) == ["categorical", "vector"]
    assert np.isfinite(record["metrics"].loc["proteins", ["r2", "group_r2"]].astype(float)).all()
    assert {"proteins_CD3", "task_0"} <= set(record["group_held_out"].columns)
    assert set(record["attribution"]["category"]) <= {
        *("CD3", "CD4", "CD8"),
        *adata.obs["task_0"].cat.categories,
    }
    assert list(record["without"]["task"].unique()) == ["task_0", "proteins"]
    assert np.isfinite(record["without"]["loss"]).all()


def test_missing_vectors_are_taught(make_vectors: Any, select: Select) -> None:
    adata = make_vectors()
    adata.obsm["one"][::2] = np.nan
    select(adata, obsm_keys=["proteins", "one"], unlabeled_cells="use", **QUICK)
    table = adata.uns["yoto"]["teacher"]
    assert list(table.index) == ["one"]
    assert table.loc["one", "n_unlabeled"] == 80
    assert np.isfinite(adata.obsm["yoto_one"]).all()


def test_scvi_tools_registers_vectors(make_vectors: Any, train: Callable[..., Any]) -> None:
    adata = make_vectors()
    model = train(adata, setup={"obsm_keys": KEYS}, train_kwargs={"max_steps": 5})
    assert [task.name for task in model.tasks] == KEYS
    frame = model.predict()
    assert np.isfinite(frame).all(axis=None)
    other = make_vectors(random_state=1)
    other.obsm["proteins"] = other.obsm["proteins"][["CD8", "CD3", "CD4"]]
    del other.obsm["one"]
    other.obsm["modules"] = np.ones((160, 7))
    assert list(model.predict(other).columns) == list(frame.columns)
