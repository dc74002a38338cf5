"""Categorical tasks are read off columns of any dtype, and turn codes into labels and scores."""

from __future__ import annotations

import dataclasses
import json
import re
from collections import Counter
from decimal import Decimal
from fractions import Fraction

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy.stats import multivariate_normal
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score, log_loss

from yoto_sc._keys import Keys
from yoto_sc.data import Categorical, Continuous, task_from_dict
from yoto_sc.data._kinds._categorical import MISSING_CODE
from yoto_sc.select import Classes

LABELS = ["b", "a", None, "b", "a", "b"]
CODES = [1, 0, -1, 1, 0, 1]
ABC = Categorical("y", ("a", "b", "c"))
NAMES = pd.Index([f"c{i}" for i in range(9)])


def categorical(values, name="y", unlabeled=()):
    """Return the task of a column, and the column."""
    column = values if isinstance(values, pd.Series) else pd.Series(values)
    obs = pd.DataFrame({name: column}).set_axis([f"c{i}" for i in range(len(column))])
    return Categorical.from_adata(ad.AnnData(obs=obs), name, unlabeled), column


MISSING_CATEGORICAL = {
    "object-None": pd.Series(LABELS, dtype=object),
    "object-nan": pd.Series([np.nan if x is None else x for x in LABELS], dtype=object),
    "object-NA": pd.Series([pd.NA if x is None else x for x in LABELS], dtype=object),
    "object-NaT": pd.Series([pd.NaT if x is None else x for x in LABELS], dtype=object),
    "category": pd.Series(LABELS, dtype="category"),
    "category-of-string": pd.Series(pd.Series(LABELS, dtype="string"), dtype="category"),
    "string": pd.Series(LABELS, dtype="string"),
}


@pytest.mark.parametrize("column", MISSING_CATEGORICAL.values(), ids=MISSING_CATEGORICAL)
def test_missing_labels_of_every_text_dtype(column):
    task, _ = categorical(column)
    assert task == Categorical("y", ("a", "b"))
    assert all(type(category) is str for category in task.categories)
    codes = task.encode(column)
    assert codes.dtype == np.int64
    assert codes.tolist() == CODES
    assert task.observed(codes).tolist() == [code >= 0 for code in CODES]


MISSING_NUMBERS = {
    "Int64": pd.Series([2, 1, None, 2, 1, 2], dtype="Int64"),
    "Float64": pd.Series([2, 1, None, 2, 1, 2], dtype="Float64"),
    "float32": pd.Series([2, 1, np.nan, 2, 1, 2], dtype="float32"),
    "object": pd.Series([2, 1, None, 2, 1, 2], dtype=object),
    "object-NA": pd.Series([2, 1, pd.NA, 2, 1, 2], dtype=object),
    "category": pd.Series([2, 1, None, 2, 1, 2], dtype="category"),
    "category-of-Int64": pd.Series(pd.Series([2, 1, None, 2, 1, 2], dtype="Int64")).astype(
        "category"
    ),
}


@pytest.mark.parametrize("column", MISSING_NUMBERS.values(), ids=MISSING_NUMBERS)
def test_missing_labels_of_every_number_dtype(column):
    task, _ = categorical(column)
    assert task.categories == (1, 2)
    assert all(type(category) in (int, float) for category in task.categories)
    assert task.encode(column).tolist() == CODES


@pytest.mark.parametrize("dtype", ["bool", "boolean", object, "category"])
def test_booleans(dtype):
    task, column = categorical(pd.Series([True, False, True, True], dtype=dtype))
    assert task.categories == (False, True)
    assert all(type(category) is bool for category in task.categories)
    assert task.encode(column).tolist() == [1, 0, 1, 1]


def test_booleans_with_missing_values():
    for column in (
        pd.Series([True, None, False, True], dtype="boolean"),
        pd.Series([True, None, False, True], dtype=object),
    ):
        task, _ = categorical(column)
        assert task.categories == (False, True)
        assert task.encode(column).tolist() == [1, -1, 0, 1]


def test_categories_keep_the_columns_own_order_and_drop_unused_ones():
    column = pd.Series(
        pd.Categorical(["G1", "S", "G2M", "G1"], categories=["none", "G1", "S", "G2M"])
    )
    assert categorical(column)[0].categories == ("G1", "S", "G2M")


def test_categories_without_an_order_are_sorted():
    assert categorical(["b", "B", "a", "10", "9", "9"])[0].categories == ("10", "9", "B", "a", "b")
    assert categorical([10, 9, 9, -1])[0].categories == (-1, 9, 10)


def test_categories_of_several_types_are_kept_apart():
    task, column = categorical(pd.Series([1, "1", 1, "1", "x"], dtype=object))
    assert sorted(map(repr, task.categories)) == ["'1'", "'x'", "1"]
    decoded = task.from_codes(task.encode(column))
    assert list(decoded) == [1, "1", 1, "1", "x"]


def test_unused_categories_may_outnumber_the_cells():
    column = pd.Series(pd.Categorical(["a", "b", "a", "b"], categories=list("abcdefgh")))
    assert categorical(column)[0].categories == ("a", "b")


@pytest.mark.parametrize("dtype", [object, "category", "string"])
def test_unlabeled_categories_count_as_missing(dtype):
    column = pd.Series(["a", "Unknown", "b", "n/a", "a"], dtype=dtype)
    task, _ = categorical(column, unlabeled=["Unknown", "n/a", "never seen"])
    assert task.categories == ("a", "b")
    assert task.encode(column).tolist() == [0, -1, 1, -1, 0]


def test_unlabeled_categories_leave_the_order_of_the_others():
    column = pd.Series(pd.Categorical(["S", "?", "G1", "S"], categories=["S", "?", "G1"]))
    assert categorical(column, unlabeled=["?"])[0].categories == ("S", "G1")


def test_unlabeled_may_be_a_number():
    task, column = categorical([0, 1, 2, 1, 2, -9], unlabeled=[-9, 0])
    assert task.categories == (1, 2)
    assert task.encode(column).tolist() == [-1, 0, 1, 0, 1, -1]


def test_unlabeled_names_whole_categories_only():
    task, _ = categorical(["Unknown", "Unknown 1", "a", "a"], unlabeled=["Unknown"])
    assert task.categories == ("Unknown 1", "a")


@pytest.mark.parametrize("dtype", [object, "category", "string"])
def test_unseen_labels_of_other_data_are_missing(dtype):
    task, _ = categorical(["a", "b", "a"])
    other = pd.Series(["c", "b", None, "A", "a"], dtype=dtype)
    assert task.encode(other).tolist() == [-1, 1, -1, -1, 0]


def test_numbers_are_recognised_whatever_their_dtype():
    """An integer column with a missing value is read as float from most files."""
    task, _ = categorical([1, 2, 1])
    assert task.encode(pd.Series([2.0, np.nan, 1.0])).tolist() == [1, -1, 0]
    assert task.encode(pd.Series([2, None], dtype="Int64")).tolist() == [1, -1]


def test_encode_does_not_change_its_input():
    column = pd.Series(["a", None, "b", "a"], dtype="category")
    before = column.copy(deep=True)
    task, _ = categorical(column, unlabeled=["nothing"])
    task.encode(column)
    pd.testing.assert_series_equal(column, before)
    assert list(column.cat.categories) == ["a", "b"]


@pytest.mark.parametrize(
    "values",
    [["x", "y", "x"], [3, 1, 3, 7, 7], [True, False, True], [0.5, 0.25, 0.5]],
    ids=["str", "int", "bool", "float"],
)
def test_from_codes_is_the_inverse_of_encode(values):
    task, column = categorical(values)
    decoded = task.from_codes(task.encode(column))
    assert isinstance(decoded, pd.Categorical)
    assert tuple(decoded.categories) == task.categories
    assert list(decoded) == values
    np.testing.assert_array_equal(task.encode(pd.Series(decoded)), task.encode(column))


def test_from_codes_keeps_all_categories_and_missing_labels():
    decoded = Categorical("y", ("b", "a")).from_codes(np.array([1, MISSING_CODE]))
    assert list(decoded.categories) == ["b", "a"]
    assert decoded[0] == "a"
    assert pd.isna(decoded[1])


def test_n_outputs():
    assert ABC.n_outputs == 3


@pytest.mark.parametrize(
    "values",
    [
        ["x", "y", "x"],
        pd.Series([3, 1, 3], dtype="int8"),
        pd.Series([True, False, True], dtype="boolean"),
        pd.Series([0.5, 0.1, 0.5], dtype="float32"),
        pd.Series(pd.to_datetime(["2020-01-01", "2021-01-01", "2020-01-01"])),
        pd.Series(pd.cut([1, 2, 1], [0, 1, 2])),
    ],
    ids=["str", "int8", "boolean", "float32", "datetime", "interval"],
)
def test_json_round_trip(values):
    task, column = categorical(values)
    again = task_from_dict(json.loads(json.dumps(task.to_dict(), allow_nan=False)))
    assert again == task
    assert list(map(type, again.categories)) == list(map(type, task.categories))
    np.testing.assert_array_equal(again.encode(column), task.encode(column))
    assert (again.encode(column) >= 0).all()


def test_tasks_are_frozen_and_hashable():
    task = Categorical("y", ("a", "b"))
    with pytest.raises(dataclasses.FrozenInstanceError):
        task.name = "z"
    assert len({task, Categorical("y", ("a", "b"))}) == 1


def test_error_absent_column():
    adata = ad.AnnData(obs=pd.DataFrame({"y": ["a", "b"]}, index=["c0", "c1"]))
    with pytest.raises(KeyError, match=r"categorical_keys` names 'z'.*\['y'\]"):
        Categorical.from_adata(adata, "z")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([None, None, None], r"'y' has no observed label"),
        (["Unknown", "Unknown", None], r"'y' has no observed label"),
        (["a", "a", None], r"'y' has one observed class"),
        (["a", "a", "Unknown"], r"'y' has one observed class"),
        (["a", "b", "c"], r"'y' has 3 labelled cells for 3 classes"),
    ],
)
def test_error_too_few_labels(values, message):
    with pytest.raises(ValueError, match=message):
        categorical(pd.Series(values, dtype=object), unlabeled=["Unknown"])


def test_error_infinite_class():
    with pytest.raises(ValueError, match=r"'y' has an infinite class"):
        categorical([1.0, np.inf, 1.0, np.inf])


def many(n_classes, step=1.0, dtype=None, n_obs=400):
    """Return a column of some numbers, each in at least two cells."""
    return pd.Series(np.resize(np.arange(n_classes) * step, n_obs), dtype=dtype)


NUMBERS = {
    "float": (many(150, 0.1), 150),
    "float32": (many(150, 0.1, "float32"), 150),
    "float of whole numbers": (many(101), 101),
    "int": (many(101, dtype="int64"), 101),
    "uint8": (many(101, dtype="uint8"), 101),
    "Int64": (many(101, dtype="Int64"), 101),
    "Float64": (many(150, 0.1, "Float64"), 150),
    "few, with fractions": (many(21, 0.25), 21),
    "object of float": (many(150, 0.1, object), 150),
    "object of int": (many(101, dtype="int64").astype(object), 101),
    "object of Decimal": (many(21, 0.25).map(Decimal), 21),
    "object of Fraction": (many(21, 0.25).map(Fraction), 21),
    "category, with fractions": (many(101, 0.1).astype("category"), 101),
}


@pytest.mark.parametrize(("column", "n_classes"), NUMBERS.values(), ids=NUMBERS)
def test_error_numbers(column, n_classes):
    before = column.copy(deep=True)
    with pytest.raises(ValueError, match="numbers belong in `continuous_keys`") as caught:
        categorical(column, name="depth")
    message = str(caught.value)
    assert "Task 'depth'" in message
    assert f"{n_classes} classes for 400 labelled cells" in message
    pd.testing.assert_series_equal(column, before)
    # What it says works.
    obs = pd.DataFrame({"depth": column})
    (advice,) = re.findall(r"adata\.obs\['depth'\](\.astype.*\))", message)
    told = eval("column" + advice, {"column": obs["depth"]})
    assert categorical(told, name="depth")[0].n_outputs == n_classes
    if not isinstance(column.iloc[0], Decimal | Fraction):
        Continuous.from_adata(ad.AnnData(obs=obs.set_axis(obs.index.astype(str))), "depth")


def test_error_numbers_counts_labelled_cells_and_their_classes():
    column = many(150, 0.1)
    column[:10] = np.nan
    column[column == 149 * 0.1] = np.nan
    with pytest.raises(ValueError, match=r"149 classes for 388 labelled cells"):
        categorical(column)


def test_error_numbers_among_text():
    """What is no number does not make labels of the others, and is named."""
    column = many(150, 0.1, object)
    column[:40:2] = "N/A"
    with pytest.raises(
        ValueError, match=r"151 classes.*continuous_keys`, with NaN in place of 'N/A'\."
    ):
        categorical(column)


CLASSES = {
    "clusters": (many(30, dtype="int64"), 30),
    "many clusters": (many(100, dtype="int64"), 100),
    "clusters beside missing ones": (many(100).where(lambda x: x > 0), 99),
    "doses": (many(20, 0.25), 20),
    "category of int": (many(150, dtype="int64").astype("category"), 150),
    "category of whole numbers": (many(150).astype("category"), 150),
    "category, with fractions": (many(100, 0.25).astype("category"), 100),
    "text": (many(150, 0.1).astype(str), 150),
    "bool": (many(2, dtype="int64").astype(bool), 2),
    "unused categories": (
        pd.Series(pd.Categorical([0.5, 1.5] * 200, categories=np.arange(200) + 0.5)),
        2,
    ),
    "numbers beside many texts": (
        pd.Series([1, 2.5, *map(str, range(198))] * 2, dtype=object),
        200,
    ),
}


@pytest.mark.parametrize(("column", "n_classes"), CLASSES.values(), ids=CLASSES)
def test_numbers_may_be_classes(column, n_classes):
    assert categorical(column)[0].n_outputs == n_classes


def test_unlabeled_numbers_are_no_classes():
    column = many(101, dtype="int64")
    assert categorical(column, unlabeled=[0])[0].n_outputs == 100


NO_LABELS = """
nan,NaN,NA,N/A,n.a.,#N/A,<NA>,None,null,NULL,?,???,missing,unknown,Unknown,UNKNOWN,unassigned
unlabeled,Unlabelled,unannotated,undefined,undetermined,unclassified,unidentified,unspecified
ambiguous,doublet,Doublets,multiplet,Multiplets,Low quality,low_quality,low-quality,LowQuality
Low-Quality Cells, Unknown ,un-known,__unassigned__,not assigned,Not_Available,not applicable
No label,unknown cell,Unknown cell type,unassigned cells, ,
"""
REAL_LABELS = """
other,Others,negative,-,--,+,_,N,A,s,0,false,NK,nano,Nan-like,known,unknown 1,Unknown_B,Naive,NAT
B cell (unknown),singlet,none of these,cell,cells,high quality,quality,ambiguous T
"""


def names_in(table):
    return [name for line in table.strip("\n").split("\n") for name in line.split(",")]


@pytest.mark.parametrize("name", names_in(NO_LABELS))
def test_names_that_look_like_no_label(name):
    task = Categorical("y", ("a", name, "b"))
    assert task.like_no_label(np.array([0, 1, 1, 2, 1, -1])) == {name: 3}


@pytest.mark.parametrize("name", names_in(REAL_LABELS))
def test_names_that_do_not_look_like_no_label(name):
    assert Categorical("y", ("a", name)).like_no_label(np.array([0, 1])) == {}


@pytest.mark.parametrize("values", [[0, 1, -1], [True, False], [0.5, 1.0]])
def test_numbers_never_look_like_no_label(values):
    assert Categorical("y", tuple(values)).like_no_label(np.arange(len(values))) == {}


def test_several_look_like_no_label_in_the_order_of_the_classes():
    task = Categorical("y", ("Unknown", "a", "nan"))
    found = task.like_no_label(np.array([2, 0, 0, -1, 1]))
    assert list(found.items()) == [("Unknown", 2), ("nan", 1)]


@pytest.mark.parametrize("ordered", [True, False])
def test_order_of_categories_is_kept(ordered):
    column = pd.Series(pd.Categorical(list("cabcab"), categories=list("cab"), ordered=ordered))
    task, _ = categorical(column)
    decoded = task_from_dict(task.to_dict()).from_codes(np.array([0, 2]))
    assert decoded.ordered == ordered
    assert list(decoded.categories) == list("cab")


# --- labels ---


def test_what_the_kind_is_called():
    assert (ABC.kind, ABC.argument) == ("categorical", "categorical_keys")
    assert ABC.metric in ABC.score_names
    assert (ABC.head, ABC.linear_head) == ("cross_entropy", "logistic")


def test_codes_are_exact_already():
    column = pd.Series(["b", None, "a", "z"])
    np.testing.assert_array_equal(ABC.encode_exactly(column), ABC.encode(column))


def test_decode_takes_the_most_probable_class():
    task = Categorical("y", ("c", "a", "b"), ordered=True)
    decoded = task.decode(np.array([[0.2, 0.5, 0.3], [0.4, 0.2, 0.4], [0.1, 0.2, 0.7]]))
    assert list(decoded) == ["a", "c", "b"]  # of equal ones, the first
    assert list(decoded.categories) == ["c", "a", "b"]
    assert decoded.ordered


def test_classes_in_the_order_of_scikit_learn():
    task = Categorical("y", ("b", "c", "a"), ordered=True)
    assert task.in_sorted_order() == Categorical("y", ("a", "b", "c"), ordered=True)
    assert Categorical("y", (2, 10, 1)).in_sorted_order().categories == (1, 2, 10)
    mixed = Categorical("y", (1, "x", 0.5))
    assert mixed.in_sorted_order() == mixed


def test_blank_hides_labels_and_leaves_the_others():
    codes = np.array([0, 2, -1, 1])
    hidden = np.array([True, False, True, False])
    blanked = ABC.blank(codes, hidden)
    assert blanked.tolist() == [-1, 2, -1, 1]
    assert blanked.dtype == codes.dtype
    assert codes.tolist() == [0, 2, -1, 1]
    assert ABC.observed(blanked).tolist() == [False, True, False, True]


def test_only_in_marks_classes_that_no_other_cell_has():
    codes = np.array([0, 0, 1, 1, 2, -1, -1])
    chosen = np.array([True, False, True, True, True, True, False])
    assert ABC.only_in(codes, chosen).tolist() == [False, False, True, True, True, False, False]
    assert not ABC.only_in(codes, np.zeros(7, dtype=bool)).any()


@pytest.mark.parametrize("seed", range(3))
def test_only_in_against_counting(seed):
    rng = np.random.default_rng(seed)
    codes, chosen = rng.integers(-1, 12, size=30), rng.random(30) < 0.5
    elsewhere = Counter(codes[~chosen].tolist())
    expected = [
        bool(c and code >= 0 and not elsewhere[code])
        for code, c in zip(codes, chosen, strict=True)
    ]
    assert ABC.only_in(codes, chosen).tolist() == expected


def test_strata_are_the_classes():
    codes = np.array([0, -1, 2])
    np.testing.assert_array_equal(ABC.strata(codes), codes)


@pytest.mark.parametrize(
    ("codes", "expected"),
    [([0, 1], True), ([-1, 2, -1, 0], True), ([1, 1, 1], False), ([-1, 1], False), ([], False)],
)
def test_two_classes_can_be_learned(codes, expected):
    assert ABC.is_learnable(np.array(codes, dtype=np.int64)) is expected


# --- closed forms ---


def test_target_holds_the_codes():
    codes = np.array([0, -1, 2])
    target = ABC.target(codes)
    assert isinstance(target, Classes)
    np.testing.assert_array_equal(target.labels, codes)
    np.testing.assert_array_equal(target.seen, ABC.observed(codes))


def test_points_told_are_the_classes_that_occur():
    codes = np.array([2, 0, 2, -1])
    assert list(ABC.points_told(codes)) == ["a", "c"]
    assert list(Categorical("y", (3, 7)).points_told(np.array([1, 0]))) == ["3", "7"]
    assert len(ABC.points_told(codes)) == len(
        ABC.target(codes).moments(np.eye(4, 2, dtype=np.float32)).means
    )


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
def test_regressands_are_indicators_with_class_weights(power):
    codes = np.array([0, 2, 2, 2, 0, 2])  # class 1 does not occur
    values, weights = ABC.regressands(codes, power)
    np.testing.assert_array_equal(values, pd.get_dummies(pd.Categorical(codes, range(3))))
    counts = Counter(codes.tolist())
    np.testing.assert_allclose(weights, [counts[code] ** -power for code in codes.tolist()])
    assert values.dtype == weights.dtype == np.float64


@pytest.fixture
def fitted():
    """Fitted values of three classes, and how often each cell counts."""
    rng = np.random.default_rng(0)
    codes = rng.integers(3, size=90)
    left_out = np.eye(3)[codes] + rng.normal(size=(90, 3)) @ rng.normal(size=(3, 3))
    predicted = rng.normal(size=(20, 3))
    return codes, left_out, predicted, rng.integers(1, 5, size=90)


def test_regression_is_told_apart_by_sklearns_discriminant_analysis(fitted):
    codes, left_out, predicted, times = fitted
    got = ABC.from_regression(predicted, left_out, np.eye(3)[codes], times / sum(times))
    analysis = LinearDiscriminantAnalysis(solver="lsqr")
    analysis.fit(left_out.repeat(times, axis=0), codes.repeat(times))
    np.testing.assert_allclose(got, analysis.predict_proba(predicted), atol=0.01)
    np.testing.assert_allclose(got.sum(axis=1), 1)


def test_regression_is_told_apart_by_normal_densities(fitted):
    codes, left_out, predicted, times = fitted
    share = times / times.sum()
    got = ABC.from_regression(predicted, left_out, np.eye(3)[codes], share)
    means = [np.average(left_out[codes == c], axis=0, weights=times[codes == c]) for c in range(3)]
    rest = left_out - np.array(means)[codes]
    within = rest.T @ (share[:, None] * rest)
    within += 1e-3 * np.diag(within).mean() * np.eye(3)
    density = [
        share[codes == c].sum() * multivariate_normal(means[c], within).pdf(predicted)
        for c in range(3)
    ]
    np.testing.assert_allclose(got, (density / np.sum(density, axis=0)).T, rtol=1e-6)


def test_a_class_without_cells_is_never_predicted():
    rng = np.random.default_rng(0)
    codes = rng.integers(2, size=40)
    values = np.eye(3)[codes]
    left_out = values + 0.1 * rng.normal(size=values.shape)
    got = ABC.from_regression(left_out, left_out, values, np.full(40, 1 / 40))
    assert np.isfinite(got).all()
    assert got[:, 2].max() < 1e-6
    assert (got.argmax(axis=1) == codes).mean() > 0.9


def test_guess_is_the_same_for_every_class():
    np.testing.assert_allclose(ABC.guess(5), np.full((5, 3), 1 / 3))


# --- scores ---


def make_predictions(n_obs=60, seed=0):
    rng = np.random.default_rng(seed)
    codes = rng.integers(3, size=n_obs)
    return codes, rng.dirichlet(np.ones(3), size=n_obs) * 0.6 + 0.4 * np.eye(3)[codes]


def test_scores_match_sklearns():
    codes, proba = make_predictions()
    with_missing = np.append(codes, [-1, -1])
    scores = ABC.scores(with_missing, np.vstack([proba, np.eye(3)[:2]]))
    predicted = proba.argmax(axis=1)
    assert tuple(scores) == tuple(ABC.score_names)
    assert scores["macro_f1"] == pytest.approx(f1_score(codes, predicted, average="macro"))
    assert scores["accuracy"] == pytest.approx(accuracy_score(codes, predicted))
    assert scores["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(codes, predicted))
    assert scores["log_loss"] == pytest.approx(log_loss(codes, proba))


def test_scores_of_no_label_are_missing():
    scores = ABC.scores(np.full(3, -1), np.eye(3))
    assert np.isnan(list(scores.values())).all()


def test_weighted_scores_are_those_of_repeated_cells():
    codes, proba = make_predictions()
    weights = np.random.default_rng(1).integers(0, 4, size=(6, 60))
    weights[5, codes == 1] = 0  # a weighting without one of the classes
    found = ABC.weighted_scores(codes, proba, weights.astype(np.float32))
    predicted = proba.argmax(axis=1)
    for score, times in zip(found, weights, strict=True):
        true = codes.repeat(times)
        expected = f1_score(true, predicted.repeat(times), labels=np.unique(true), average="macro")
        assert score == pytest.approx(expected)


def test_confusion_counts_pairs_that_occur():
    codes = np.array([0, 0, 1, 2, 2, 2, -1])
    proba = np.eye(3)[[0, 1, 1, 0, 2, 2, 1]]
    assert ABC.confusion(codes, proba) == [
        ("a", "a", 1),
        ("a", "b", 1),
        ("b", "b", 1),
        ("c", "a", 1),
        ("c", "c", 2),
    ]
    assert Categorical("y", (1, 2)).confusion(np.array([0]), np.eye(2)[[1]]) == [("1", "2", 1)]


# --- what is written ---


def test_columns_are_a_prediction_and_its_confidence():
    assert ABC.columns(Keys("k")) == ["k_y", "k_y_confidence"]


def test_written_are_classes_and_their_probability():
    task = Categorical("y", ("c", "a", "b"), ordered=True)
    proba = np.array([[0.2, 0.5, 0.3], [0.1, 0.2, 0.7], [0.4, 0.3, 0.3]], dtype=np.float32)
    written = task.written(Keys("k"), proba, NAMES[: len(proba)])
    assert list(written) == task.columns(Keys("k"))
    assert list(written["k_y"]) == ["a", "b", "c"]
    assert list(written["k_y"].categories) == ["c", "a", "b"]
    assert written["k_y"].ordered
    np.testing.assert_array_equal(written["k_y_confidence"], np.float32([0.5, 0.7, 0.4]))
    assert written["k_y_confidence"].dtype == np.float32


def test_written_classes_below_the_confidence_are_missing():
    proba = np.array([[0.2, 0.5, 0.3], [0.1, 0.2, 0.7], [0.4, 0.3, 0.3]])
    written = ABC.written(Keys("k"), proba, NAMES[: len(proba)], 0.5)
    assert pd.isna(written["k_y"]).tolist() == [False, False, True]
    np.testing.assert_array_equal(written["k_y_confidence"], [0.5, 0.7, 0.4])
    assert list(written["k_y"].categories) == ["a", "b", "c"]


def test_written_confidence_is_a_probability_in_spite_of_rounding():
    proba = np.array([[1 + 1e-6, -1e-6, 0]])
    assert ABC.written(Keys("k"), proba, NAMES[:1])["k_y_confidence"].tolist() == [1.0]


def test_to_dict_holds_plain_types():
    assert Categorical("y", ("b", "a"), ordered=True).to_dict() == {
        "name": "y",
        "kind": "categorical",
        "categories": ["b", "a"],
        "ordered": True,
    }
