"""Vector tasks are read off whatever obsm holds, and turn it into predictions and scores."""

from __future__ import annotations

import dataclasses
import json

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from sklearn.metrics import r2_score, root_mean_squared_error

from yoto_sc._keys import Keys
from yoto_sc.data import Vector, check_task_keys, keys_by_kind, read_tasks, task_from_dict
from yoto_sc.select import Vectors

N_OBS = 6
NAMES = pd.Index([f"c{i}" for i in range(N_OBS)])
X = np.array([[0.0, 5], [1, 0], [2, 0], [3, 1], [4, 0], [5, 9]])
TASK = Vector("v", ("0", "1"))
TABLE = Vector("v", ("a", "b"), is_table=True)


def make_adata(entry, **obs):
    adata = ad.AnnData(obs=pd.DataFrame(obs, index=NAMES))
    adata.obsm["v"] = entry
    return adata


def table(values=X, columns=("a", "b")):
    return pd.DataFrame(values, index=NAMES, columns=list(columns))


def read(entry):
    """Return the task of an entry, and its labels."""
    adata = make_adata(entry)
    task = Vector.from_adata(adata, "v")
    return task, task.encode(task.column(adata, "v"))


# --- reading ---

ENTRIES = {
    "array": (X, TASK),
    "in F order": (np.asfortranarray(X), TASK),
    "float32": (X.astype(np.float32), TASK),
    "integers": (X.astype(int), TASK),
    "uint8": (X.astype(np.uint8), TASK),
    "objects": (X.astype(object), TASK),
    "csr_matrix": (sp.csr_matrix(X), TASK),
    "csc_matrix": (sp.csc_matrix(X), TASK),
    "csr_array": (sp.csr_array(X), TASK),
    "csc_array": (sp.csc_array(X.astype(np.float32)), TASK),
    "DataFrame": (table(), TABLE),
    "DataFrame of integers": (table(X.astype(int)), TABLE),
    "DataFrame of Int64": (table().astype("Int64"), TABLE),
    "DataFrame of Float32": (table().astype("Float32"), TABLE),
    "DataFrame of objects": (table().astype(object), TABLE),
    "DataFrame of both": (table().astype({"a": int, "b": "float32"}), TABLE),
    "DataFrame with numbers as names": (table(columns=[7, 0]), Vector("v", ("7", "0"), True)),
}


@pytest.mark.parametrize(("entry", "expected"), ENTRIES.values(), ids=ENTRIES)
def test_entries_of_all_formats(entry, expected):
    task, labels = read(entry)
    assert task == expected
    assert task.n_outputs == 2
    assert labels.dtype == np.float32
    np.testing.assert_array_equal(labels, X)
    assert task.observed(labels).all()


@pytest.mark.parametrize("dtype", ["bool", "boolean"])
def test_booleans_are_numbers_too(dtype):
    entry = table(X > 0).astype(dtype)
    np.testing.assert_array_equal(read(entry)[1], X > 0)
    np.testing.assert_array_equal(read(X > 0)[1], X > 0)


@pytest.mark.parametrize("make", [lambda x: x[:, :1], lambda x: x[:, 0]], ids=["2-D", "1-D"])
def test_one_column(make):
    task, labels = read(make(X))
    assert task == Vector("v", ("0",))
    np.testing.assert_array_equal(labels, X[:, :1])


def test_one_column_of_a_table():
    task, labels = read(table()[["b"]])
    assert task == Vector("v", ("b",), is_table=True)
    np.testing.assert_array_equal(labels, X[:, 1:])


MISSING = {
    "a row of an array": np.where(np.arange(N_OBS)[:, None] == 2, np.nan, X),
    "an entry of an array": np.where(X == 2, np.nan, X),
    "a table": table().mask(table() == 2),
    "Int64": table().astype("Int64").mask(table() == 2),
    "boolean": table(X > 2).astype("boolean").mask(table() == 2),
    "objects": table().astype(object).mask(table() == 2, None),
    "sparse": sp.csr_matrix(np.where(X == 2, np.nan, X)),
    "beside an infinite one": np.where(np.arange(N_OBS)[:, None] == 2, [[np.inf, np.nan]], X),
}


@pytest.mark.parametrize("entry", MISSING.values(), ids=MISSING)
def test_a_row_that_holds_a_missing_value_is_missing(entry):
    task, labels = read(entry)
    assert np.isnan(labels[2]).all()
    assert task.observed(labels).tolist() == [True, True, False, True, True, True]
    assert np.isfinite(np.delete(labels, 2, axis=0)).all()


def test_constant_columns_are_fine_beside_others():
    constant = np.column_stack([X, np.full(N_OBS, 0.1)])
    task, labels = read(constant)
    assert task.names == ("0", "1", "2")
    np.testing.assert_array_equal(labels, constant.astype(np.float32))


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (np.empty((N_OBS, 0)), "'v' has no columns"),
        (pd.DataFrame(index=NAMES), "'v' has no columns"),
        (sp.csr_matrix((N_OBS, 0)), "'v' has no columns"),
        (np.full((N_OBS, 2), np.nan), "'v' has no observed vector"),
        (np.column_stack([X, np.full(N_OBS, np.nan)]), "no observed.*drop the columns"),
        (np.where(X == 2, np.inf, X), "'v' holds infinite values"),
        (np.where(X == 2, -np.inf, X), "'v' holds infinite values"),
        (np.where(X == 2, 1e39, X), "too large for float32"),
        (np.ones((N_OBS, 3)), "'v' has the same vector"),
        (sp.csr_matrix((N_OBS, 3)), "'v' has the same vector"),
        (np.where(X == 2, np.nan, 1.0), "'v' has the same vector"),
        (1e8 + np.array([[0.0], [1], [0], [0], [1], [0]]), "'v' has the same"),  # in float32
        (X.reshape(N_OBS, 2, 1), r"shape \(6, 2, 1\), but must be \(n_obs, n_columns\)"),
        (table(columns=["a", "a"]), r"columns of the same name: \['a', 'a'\]"),
        (table(columns=[1, "1"]), r"columns of the same name: \['1', '1'\]"),
    ],
)
def test_useless_vectors(entry, message):
    with pytest.raises(ValueError, match=message):
        Vector.from_adata(make_adata(entry), "v")


@pytest.mark.parametrize(
    "entry",
    [
        np.array([list("ab")] * N_OBS),
        np.array([["a", 1]] * N_OBS, dtype=object),
        table().assign(c=list("abcabc")),
        table().assign(c=pd.Categorical(list("abcabc"))),
        table().assign(c=pd.array(list("abcabc"), dtype="string")),
        table().assign(c=pd.to_datetime("2020-01-01") + pd.to_timedelta(range(N_OBS), "D")),
        table().assign(c=pd.to_timedelta(range(N_OBS), "D")),
        X.astype(complex),
        table(X.astype(complex)),
        sp.csr_matrix(X.astype(complex)),
        np.arange(N_OBS * 2).reshape(N_OBS, 2).astype("datetime64[D]"),
    ],
    ids=[
        *("text", "mixed", "a column of text", "a column of categories", "a column of strings"),
        *("dates", "spans", "complex", "complex table", "complex sparse", "array of dates"),
    ],
)
def test_what_is_no_number(entry):
    with pytest.raises(TypeError, match="'v' in `obsm_keys` must hold numbers in all columns"):
        Vector.from_adata(make_adata(entry), "v")


def test_absent_entry():
    with pytest.raises(KeyError, match=r"`obsm_keys` names 'w'.*not an entry.*\['v'\]"):
        Vector.from_adata(make_adata(X, w=1.0), "w")


def test_reading_changes_nothing():
    entry = np.where(X == 2, np.nan, X)
    before = entry.copy()
    read(entry)
    np.testing.assert_array_equal(entry, before)
    frame = table(entry)
    kept = frame.copy()
    read(frame)
    TASK.encode(frame)  # by position: the names are others
    pd.testing.assert_frame_equal(frame, kept)


# --- encoding other data ---


def test_tables_are_aligned_by_the_names_of_their_columns():
    other = table()[["b", "a"]].assign(more=1.0)
    np.testing.assert_array_equal(TABLE.encode(other), X)
    numbered = Vector("v", ("7", "0"), is_table=True)
    np.testing.assert_array_equal(numbered.encode(table(columns=[0, 7])), X[:, ::-1])


def test_a_table_without_a_column_holds_no_label():
    labels = TABLE.encode(table()[["b"]].assign(c=2.0))
    assert labels.shape == X.shape
    assert np.isnan(labels).all()


def test_arrays_are_read_by_position():
    np.testing.assert_array_equal(TABLE.encode(X), X)
    np.testing.assert_array_equal(TASK.encode(table(columns=["y", "x"])), X)
    np.testing.assert_array_equal(TASK.encode(sp.csr_array(X)), X)


@pytest.mark.parametrize("width", [1, 3])
def test_another_shape_holds_no_label(width):
    for task in (TASK, TABLE):
        labels = task.encode(np.ones((4, width)))
        assert labels.shape == (4, 2)
        assert np.isnan(labels).all()


def test_a_column_of_nothing_holds_no_label():
    """As data without the entry are encoded."""
    nothing = pd.Series(np.nan, index=NAMES, dtype=object)
    for task in (TASK, Vector("v", ("0",))):
        labels = task.encode(nothing)
        assert labels.shape == (N_OBS, task.n_outputs)
        assert not task.observed(labels).any()


def test_exact_values_have_double_precision():
    exact = TASK.encode_exactly(X / 3)
    assert exact.dtype == np.float64
    np.testing.assert_array_equal(exact, X / 3)
    assert (exact != TASK.encode(X / 3)).any()


# --- the record ---


def test_what_the_kind_is_called():
    assert (TASK.kind, TASK.argument, TASK.place) == ("vector", "obsm_keys", "obsm")
    assert TASK.metric in TASK.score_names
    assert (TASK.head, TASK.linear_head) == ("vector", "ridge")
    assert not TASK.is_derived


def test_there_are_no_classes():
    assert TASK.categories == ()
    assert TASK.in_sorted_order() == TASK
    assert TASK.strata(X) is None
    assert TASK.confusion(X, X) == []


@pytest.mark.parametrize("task", [TASK, TABLE, Vector("v.w", ("CD4-1", "é"), True)])
def test_json_round_trip(task):
    again = task_from_dict(json.loads(json.dumps(task.to_dict())))
    assert again == task
    assert type(again) is Vector
    assert type(again.is_table) is bool


def test_tasks_are_frozen_and_hashable():
    with pytest.raises(dataclasses.FrozenInstanceError):
        TASK.names = ()
    assert len({TASK, Vector("v", ("0", "1")), TABLE}) == 2


# --- keys ---


def test_keys_of_vectors_are_sorted_by_kind():
    keys = keys_by_kind(categorical_keys="type", obsm_keys="v")
    assert keys == {"categorical": ["type"], "vector": ["v"]}
    adata = make_adata(table(), type=list("ababab"))
    check_task_keys(adata, keys)
    assert read_tasks(adata, keys)[1] == TABLE


def test_a_name_in_obs_and_in_obsm():
    """Names of tasks must be different; what is no task may be called as it likes."""
    adata = make_adata(X, v=[1.0, 2, 3, 4, 5, 6], type=list("ababab"))
    check_task_keys(adata, keys_by_kind(categorical_keys=["type"], obsm_keys=["v"]))
    check_task_keys(adata, keys_by_kind(continuous_keys=["v"], obsm_keys=[]))
    message = r"\['v'\] are in both `continuous_keys` and `obsm_keys`.*different names"
    with pytest.raises(ValueError, match=message):
        check_task_keys(adata, keys_by_kind(continuous_keys=["v"], obsm_keys=["v"]))


def test_two_columns_of_obs_do_not_matter_to_an_entry_of_obsm():
    adata = make_adata(X, a=1.0, b=2.0)
    adata.obs.columns = ["v", "v"]
    check_task_keys(adata, {"vector": ["v"]})


# --- labels ---


def test_blank_hides_rows_and_leaves_the_others():
    labels = X.astype(np.float32)
    hidden = np.arange(N_OBS) < 2
    blanked = TASK.blank(labels, hidden)
    assert np.isnan(blanked[:2]).all()
    np.testing.assert_array_equal(blanked[2:], labels[2:])
    assert blanked.dtype == np.float32
    np.testing.assert_array_equal(labels, X)


def test_taught_rows_hold_the_prediction():
    labels = np.where(np.arange(N_OBS)[:, None] < 2, np.nan, X).astype(np.float32)
    cells = np.arange(N_OBS) == 1
    taught = TASK.taught(labels, np.full((N_OBS, 2), 7.5), cells)
    assert np.isnan(taught[0]).all()
    assert taught[1].tolist() == [7.5, 7.5]
    np.testing.assert_array_equal(taught[2:], X[2:])
    assert taught.dtype == np.float32


@pytest.mark.parametrize(
    ("rows", "chosen", "expected"),
    [
        ([0, 1, 2, None], [1, 0, 0, 1], [0, 0, 0, 0]),  # two vectors are left
        ([0, 1, 1, None], [1, 0, 0, 1], [1, 0, 0, 0]),  # one vector is left
        ([0, 1, None, None], [1, 1, 0, 1], [1, 1, 0, 0]),  # none is left
        ([0, 0, 1, 1], [0, 0, 0, 0], [0, 0, 0, 0]),
    ],
)
def test_only_in_marks_what_the_others_cannot_do_without(rows, chosen, expected):
    labels = np.array([[np.nan] * 2 if row is None else X[row] for row in rows], np.float32)
    marked = TASK.only_in(labels, np.array(chosen, dtype=bool))
    assert marked.tolist() == [bool(flag) for flag in expected]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [([0, 1], True), ([None, 2, 0], True), ([1, 1], False), ([None, 1], False), ([], False)],
)
def test_two_vectors_can_be_learned(rows, expected):
    labels = np.array([[np.nan] * 2 if row is None else X[row] for row in rows], np.float32)
    assert TASK.is_learnable(labels.reshape(-1, 2)) is expected


def test_vectors_that_differ_in_one_column_can_be_learned():
    assert TASK.is_learnable(np.float32([[0, 1], [0, 2]])) is True


# --- closed forms ---


def test_target_holds_the_vectors():
    labels = np.where(X == 2, np.nan, X).astype(np.float32)
    target = TASK.target(labels)
    assert isinstance(target, Vectors)
    np.testing.assert_array_equal(target.labels, labels)
    np.testing.assert_array_equal(target.seen, ~np.isnan(labels).any(axis=1))


def test_points_told_are_the_names_of_a_tables_columns():
    labels = X.astype(np.float32)
    assert list(TABLE.points_told(labels)) == ["a", "b"]
    assert list(TASK.points_told(labels)) == ["", ""]
    complete, _ = TABLE.target(labels).moments(np.eye(6, 3, dtype=np.float32)).without()
    assert len(complete) == 2


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
def test_regressands_are_the_vectors_of_cells_that_count_alike(power):
    values, weights = TASK.regressands(X.astype(np.float32), power)
    np.testing.assert_array_equal(values, X)
    np.testing.assert_array_equal(weights, np.ones(N_OBS))
    assert values.dtype == weights.dtype == np.float64
    rest = np.zeros((N_OBS, 2)), values, np.full(N_OBS, 1 / N_OBS)
    np.testing.assert_array_equal(TASK.from_regression(X, *rest), X)


def test_guess_is_finite():
    assert TASK.guess(3).tolist() == [[0, 0]] * 3


# --- scores ---


def make_predictions(n_obs=60, seed=0):
    rng = np.random.default_rng(seed)
    values = rng.normal([5, -3], [2, 0.5], size=(n_obs, 2))
    return values.astype(np.float32), (values + rng.normal(size=(n_obs, 2))).astype(np.float32)


def test_scores_match_sklearns():
    values, predicted = make_predictions()
    missing = np.full((1, 2), np.nan, np.float32)
    scores = TASK.scores(np.vstack([values, missing]), np.vstack([predicted, missing]))
    assert tuple(scores) == tuple(TASK.score_names)
    true, predicted = values.astype(float), predicted.astype(float)
    expected = r2_score(true, predicted, multioutput="variance_weighted")
    assert scores["r2"] == pytest.approx(expected)


def test_each_column_is_scored_alone():
    values, predicted = make_predictions()
    values[3] = np.nan
    rows = TABLE.column_scores(values, predicted)
    assert [row["column"] for row in rows] == ["a", "b"]
    for i, row in enumerate(rows):
        true, ours = (np.delete(array[:, i], 3).astype(float) for array in (values, predicted))
        assert row["r2"] == pytest.approx(r2_score(true, ours))
        assert row["rmse"] == pytest.approx(root_mean_squared_error(true, ours))
        assert row["pearson_r"] == pytest.approx(np.corrcoef(true, ours)[0, 1])


def test_weighted_scores_are_those_of_repeated_cells():
    values, predicted = make_predictions()
    weights = np.random.default_rng(1).integers(0, 4, size=(6, 60))
    found = TASK.weighted_scores(values, predicted, weights.astype(np.float32))
    for score, times in zip(found, weights, strict=True):
        y, p = values.repeat(times, axis=0), predicted.repeat(times, axis=0)
        expected = r2_score(y, p, multioutput="variance_weighted")
        assert score == pytest.approx(expected, rel=1e-4)


# --- what is written ---


def test_predictions_are_written_as_the_labels_were():
    assert TASK.columns(Keys("k")) == ["k_v"]
    written = TASK.written(Keys("k"), X / 3, NAMES, 0.9)  # vectors have no confidence
    assert list(written) == ["k_v"]
    assert type(written["k_v"]) is np.ndarray
    assert written["k_v"].dtype == np.float32
    np.testing.assert_array_equal(written["k_v"], (X / 3).astype(np.float32))
    as_table = TABLE.written(Keys("k"), X / 3, NAMES)["k_v"]
    pd.testing.assert_frame_equal(as_table, table((X / 3).astype(np.float32)))


def test_predictions_have_a_column_for_each_of_the_vectors():
    decoded = TABLE.decoded(X)
    assert list(decoded) == ["v_a", "v_b"]
    np.testing.assert_array_equal(decoded["v_b"], X[:, 1])
    np.testing.assert_array_equal(TASK.decode(X), X)
