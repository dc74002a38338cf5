"""Input that once failed after training, at writing, or not at all: refused before, or taken."""

from __future__ import annotations

import logging

import anndata
import numpy as np
import pandas as pd
import pytest

import yoto_sc as yt

NUL, HALF = "a\x00b", "a\ud800b"


@pytest.fixture
def quick(quick_arguments):
    return {**quick_arguments, "max_steps": 5, "group_key": None, "robust": None}


def refused(adata, error, message, **arguments):
    """Assert that a selection is refused before training, and nothing is written."""
    before = adata.obs.copy(), adata.var.copy(), list(adata.uns)
    with pytest.raises(error, match=message):
        yt.tl.select(adata, 5, **arguments)
    pd.testing.assert_frame_equal(adata.obs, before[0])
    pd.testing.assert_frame_equal(adata.var, before[1])
    assert list(adata.uns) == before[2]


@pytest.mark.parametrize(
    ("key", "message"), [("a/b", "has a slash"), (NUL, "has a NUL"), (HALF, "half of a surrogate")]
)
def test_a_key_that_no_file_can_hold(make_adata, quick, key, message):
    refused(make_adata(), ValueError, message, key_added=key, **quick)


@pytest.mark.parametrize("name", [NUL, HALF])
def test_names_that_no_file_can_hold(make_adata, quick, name):
    adata = make_adata()
    adata.var_names = [name, *adata.var_names[1:]]
    refused(adata, ValueError, "adata.var_names holds .* and cannot be written", **quick)
    adata = make_adata()
    first = adata.obs["task_0"].cat.categories[0]
    adata.obs["task_0"] = adata.obs["task_0"].cat.rename_categories({first: name})
    refused(adata, ValueError, r"adata.obs\['task_0'\] holds", **quick)


@pytest.mark.parametrize(("axis", "name"), [("obs", "yoto_task_0"), ("var", "yoto_rank")])
def test_an_index_called_as_a_result(make_adata, quick, axis, name):
    adata = make_adata()
    getattr(adata, axis).index.name = name
    refused(adata, ValueError, f"adata.{axis}.index is named {name!r}", **quick)


def test_an_index_called_as_a_prediction(make_adata, quick, tmp_path):
    adata = make_adata()
    yt.tl.select(adata, 5, model_dir=tmp_path / "model", **quick)
    query = make_adata()
    query.obs.index.name = "yoto_task_0"
    with pytest.raises(ValueError, match="adata.obs.index is named 'yoto_task_0'"):
        yt.tl.predict(query, tmp_path / "model")


@pytest.mark.parametrize("layout", ["csr", "csc"])
@pytest.mark.parametrize(
    "damage",
    [
        lambda x: x.indices.__setitem__(5, 10_000),
        lambda x: x.indices.__setitem__(5, -3),
        lambda x: x.indptr.__setitem__(5, x.indptr[7] + 3),
        lambda x: x.indptr.__setitem__(-1, len(x.data) + 9),
    ],
    ids=["too large", "negative", "not ascending", "too long"],
)
def test_a_damaged_matrix(make_adata, quick, layout, damage):
    adata = make_adata()
    adata.X = adata.X.tocsc() if layout == "csc" else adata.X
    damage(adata.X)
    refused(adata, ValueError, "adata.X is a damaged sparse matrix", **quick)


def test_whole_numbers_of_numpy_and_very_large_batches(make_adata, quick):
    first, second = make_adata(), make_adata()
    sizes = {"train_kwargs": {"batch_size": 10**9}}
    yt.tl.select(first, 5, **{**quick, "max_steps": np.int64(5)}, **sizes)
    yt.tl.select(second, 5, **quick, train_kwargs={"batch_size": first.n_obs})
    pd.testing.assert_frame_equal(first.var, second.var)


def test_times_that_stand_for_no_label(make_adata, quick, tmp_path):
    adata = make_adata()
    days = pd.to_datetime(["2020-01-01", "2020-01-02", "2020-01-03"])
    adata.obs["day"] = pd.Categorical(days[np.arange(adata.n_obs) % 3])
    quick |= {"categorical_keys": "day", "continuous_keys": (), "unlabeled": [days[0]]}
    yt.tl.select(adata, 5, model_dir=tmp_path / "model", **quick)
    assert adata.obs["yoto_day"].cat.categories.size == 2
    model = yt.model.YOTO.load(tmp_path / "model", accelerator="cpu")
    assert model.registry["setup_args"]["unlabeled"] == ["2020-01-01 00:00:00"]


def test_a_column_of_ones_own_is_not_overwritten_without_a_word(
    make_adata, quick, tmp_path, caplog
):
    adata = make_adata()
    yt.tl.select(adata, 5, model_dir=tmp_path / "model", **quick)
    caplog.clear()
    yt.tl.predict(adata, tmp_path / "model")
    assert "held something else" not in caplog.text
    query = make_adata()
    query.obs["yoto_task_0"] = "mine"
    query.obs["yoto_score_0"] = "too"
    yt.tl.predict(query, tmp_path / "model")
    for column in ("yoto_task_0", "yoto_score_0"):
        assert f"adata.obs['{column}'] held something else than predictions" in caplog.text


def test_what_is_read_in_place_of_counts_is_pointed_out(make_adata, quick, caplog):
    caplog.set_level(logging.INFO, "yoto_sc")
    adata = make_adata()
    adata.layers["counts"] = adata.X.copy()
    adata.X = adata.X.astype(np.float32) * 3.1
    yt.tl.select(adata, 5, **quick)
    assert "adata.X holds no counts; layer='counts' may" in caplog.text
    assert "neither counts nor logarithms" in caplog.text
    caplog.clear()
    adata.X = adata.layers.pop("counts").log1p()
    yt.tl.select(adata, 5, **quick)
    assert "which is better" not in caplog.text
    assert "neither counts nor" not in caplog.text


def test_a_selection_without_its_tables_is_not_overwritten(make_adata, quick):
    adata = make_adata()
    yt.tl.select(adata, 5, **quick)
    adata.uns["yoto"] = {"params": {}}
    refused(adata, ValueError, "which no selection under this key wrote", **quick)


def test_what_is_refused_can_be_written(make_adata, quick, tmp_path):
    adata = make_adata()
    yt.tl.select(adata, 5, key_added="my panel", **quick)
    adata.write_h5ad(tmp_path / "x.h5ad")
    back = anndata.read_h5ad(tmp_path / "x.h5ad")
    assert list(back.obs) == list(adata.obs)
