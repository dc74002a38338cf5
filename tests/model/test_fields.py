"""Labels registered with scvi-tools: missing, absent and unseen look alike."""

from __future__ import annotations

import json
import logging

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import torch
from scvi.data import AnnDataManager
from scvi.data.fields import LayerField

from yoto_sc.data import Categorical, Continuous, Transcriptome, Vector, task_from_dict
from yoto_sc.model._fields import TaskField, registered_tasks, task_key

LABELS = ["b", None, "a", "Unknown", "b", "a"]


def make_adata(n_obs=None, **obs):
    n_obs = len(next(iter(obs.values()))) if n_obs is None else n_obs
    return ad.AnnData(
        np.ones((n_obs, 2), dtype=np.float32),
        obs=pd.DataFrame(obs, index=[f"c{i}" for i in range(n_obs)]),
        var=pd.DataFrame(index=["g0", "g1"]),
    )


def make_field(kind="categorical", key="type", unlabeled=("Unknown",)):
    return TaskField("task_0", key, kind, unlabeled)


def registered(field, adata):
    """Register, and return the registry as it comes back from a saved model."""
    return json.loads(json.dumps(field.register_field(adata)))


def test_names_in_the_registry():
    field = make_field()
    assert (field.registry_key, field.attr_name, field.attr_key) == (
        "task_0",
        "obs",
        "_scvi_task_0",
    )
    assert not field.is_empty
    assert task_key(3) == "task_3"


def test_register_encodes_and_keeps_the_column():
    adata = make_adata(type=LABELS)
    before = adata.obs["type"].copy()
    state = make_field().register_field(adata)
    assert task_from_dict(state["task"]) == Categorical("type", ("a", "b"))
    codes = adata.obs["_scvi_task_0"]
    assert codes.dtype == np.int64
    assert codes.tolist() == [1, -1, 0, -1, 1, 0]
    pd.testing.assert_series_equal(adata.obs["type"], before)


def test_register_numbers():
    adata = make_adata(age=[1.0, np.nan, 3.0])
    state = make_field("continuous", "age").register_field(adata)
    assert task_from_dict(state["task"]) == Continuous("age")
    np.testing.assert_array_equal(adata.obs["_scvi_task_0"], np.float32([1, np.nan, 3]))
    assert adata.obs["_scvi_task_0"].dtype == np.float32


@pytest.mark.parametrize("dtype", [object, "category", "string"])
def test_transfer_uses_the_registered_categories(dtype):
    field = make_field()
    state = registered(field, make_adata(type=LABELS))
    other = make_adata(type=pd.Series(["c", "b", None, "Unknown", "a"], dtype=dtype).array)
    assert field.transfer_field(state, other) == state
    assert other.obs["_scvi_task_0"].tolist() == [-1, 1, -1, -1, 0]


@pytest.mark.parametrize(
    ("kind", "values", "missing"),
    [("categorical", LABELS, [-1] * 4), ("continuous", [1.0, 2.0], [np.nan] * 4)],
)
def test_transfer_to_data_without_the_column(kind, values, missing):
    field = make_field(kind)
    state = registered(field, make_adata(type=values))
    other = make_adata(n_obs=4)
    field.transfer_field(state, other)
    encoded = other.obs["_scvi_task_0"]
    np.testing.assert_array_equal(encoded, missing)
    assert encoded.dtype == (np.int64 if kind == "categorical" else np.float32)
    assert list(other.obs.columns) == ["_scvi_task_0"]


def test_transfer_to_data_without_any_known_label():
    field = make_field()
    state = registered(field, make_adata(type=LABELS))
    for values in (["x", "y"], [None, None], [np.nan, np.nan], [1, 2]):
        other = make_adata(type=values)
        field.transfer_field(state, other)
        assert other.obs["_scvi_task_0"].tolist() == [-1, -1]


def test_unseen_categories_are_named_once(caplog):
    field = make_field()
    state = registered(field, make_adata(type=LABELS))
    with caplog.at_level(logging.INFO, logger="yoto_sc.model._fields"):
        field.transfer_field(state, make_adata(type=["a", "new", None, "new", "newer"]))
    (record,) = caplog.records
    text = record.getMessage()
    assert "'type'" in text
    assert text.count("'new'") == text.count("'newer'") == 1
    assert "None" not in text
    assert "nan" not in text


def test_known_labels_are_not_worth_a_word(caplog):
    field = make_field()
    state = registered(field, make_adata(type=LABELS))
    with caplog.at_level(logging.INFO, logger="yoto_sc.model._fields"):
        field.transfer_field(state, make_adata(type=["a", None, "b"]))
        field.transfer_field(state, make_adata(n_obs=3))
    assert not caplog.records


def test_transfer_of_text_to_a_continuous_task():
    field = make_field("continuous")
    state = registered(field, make_adata(type=[1.0, 2.0]))
    with pytest.raises(TypeError, match="must hold numbers"):
        field.transfer_field(state, make_adata(type=["a", "b"]))


@pytest.mark.parametrize(
    ("kind", "values", "n_outputs"),
    [("categorical", ["a", "b", "c", "a"], 3), ("continuous", [1.0, 2.0], 1)],
)
def test_summary_counts_outputs(kind, values, n_outputs):
    field = make_field(kind)
    state = field.register_field(make_adata(type=values))
    assert field.get_summary_stats(state) == {"n_task_0": n_outputs}
    assert field.view_state_registry(state) is None


def make_manager(adata, n_tasks=12):
    """More than ten tasks, whose keys do not sort like their positions; names with dots."""
    fields = [TaskField(task_key(i), f"cell.type {i}", "categorical") for i in range(n_tasks)]
    manager = AnnDataManager(
        fields=[LayerField("X", None, is_count_data=False), *fields], setup_method_args={}
    )
    manager.register_fields(adata)
    return manager


def test_through_scvi_tools():
    columns = {f"cell.type {i}": [f"x{i}", "y", None, "y"] for i in range(12)}
    adata = make_adata(**columns)
    manager = make_manager(adata)
    tasks = registered_tasks(manager.registry)
    assert [task.name for task in tasks] == [f"cell.type {i}" for i in range(12)]
    assert tasks[11].categories == ("x11", "y")
    assert manager.get_from_registry("task_11").ravel().tolist() == [0, 1, -1, 1]

    other = make_adata(n_obs=3, **{"cell.type 4": ["y", "new", "x4"]})
    moved = manager.transfer_fields(other)
    assert registered_tasks(moved.registry) == tasks
    assert moved.get_from_registry("task_4").ravel().tolist() == [1, -1, 0]
    assert moved.get_from_registry("task_5").ravel().tolist() == [-1, -1, -1]


def test_codes_can_be_given_to_torch():
    adata = make_adata(type=LABELS)
    make_field().register_field(adata)
    assert torch.from_numpy(adata.obs["_scvi_task_0"].to_numpy()).dtype == torch.int64


# --- vectors, and the transcriptome ---

TABLE = pd.DataFrame({"x": [1.0, np.nan, 3.0], "y": [0.0, 1.0, 2.0]}, index=["c0", "c1", "c2"])


def with_vectors(entry, n_obs=3):
    adata = make_adata(n_obs)
    adata.obsm["v"] = entry
    return adata


def test_vectors_are_registered_in_obsm():
    field = make_field("vector", "v")
    assert (field.attr_name, field.attr_key) == ("obsm", "_scvi_task_0")
    adata = with_vectors(TABLE)
    state = registered(field, adata)
    assert task_from_dict(state["task"]) == Vector("v", ("x", "y"), is_table=True)
    expected = np.float32([[1, 0], [np.nan, np.nan], [3, 2]])
    np.testing.assert_array_equal(adata.obsm["_scvi_task_0"], expected)
    assert adata.obsm["_scvi_task_0"].dtype == np.float32
    assert not list(adata.obs)
    assert field.get_summary_stats(state) == {"n_task_0": 2}


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        (TABLE[["y", "x"]], [[1, 0], [np.nan] * 2, [3, 2]]),
        (TABLE.to_numpy(), [[1, 0], [np.nan] * 2, [3, 2]]),
        (np.ones((3, 5)), [[np.nan] * 2] * 3),
        (None, [[np.nan] * 2] * 3),
    ],
    ids=["table", "array", "another shape", "absent"],
)
def test_transfer_of_vectors(entry, expected, caplog):
    field = make_field("vector", "v")
    state = registered(field, with_vectors(TABLE))
    other = make_adata(3) if entry is None else with_vectors(entry)
    with caplog.at_level(logging.INFO, logger="yoto_sc.model._fields"):
        assert field.transfer_field(state, other) == state
    np.testing.assert_array_equal(other.obsm["_scvi_task_0"], expected)
    assert not caplog.records  # vectors have no categories that could be unseen


def test_the_transcriptome_is_registered_without_labels():
    components = Transcriptome.of(2)
    known = components, components.encode(pd.Index(["c0", "c1", "c2"]))
    field = TaskField("task_0", "transcriptome", "transcriptome", known=known)
    adata = make_adata(3)
    state = registered(field, adata)
    assert task_from_dict(state["task"]) == components
    np.testing.assert_array_equal(adata.obsm["_scvi_task_0"], np.zeros((3, 2)))
    other = make_adata(5)
    field.transfer_field(state, other)
    assert other.obsm["_scvi_task_0"].shape == (5, 2)
