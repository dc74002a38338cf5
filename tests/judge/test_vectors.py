"""Vectors among what is judged: one ridge regression for all columns, and a table of these."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from sklearn.linear_model import Ridge
from sklearn.metrics import r2_score

from yoto_sc._problem import Problem
from yoto_sc.data import Categorical, Continuous, Vector
from yoto_sc.judge import attribute, judge, predictions_table, ridge_path
from yoto_sc.judge._linear_heads import RidgeHead
from yoto_sc.judge._tables import columns_table

if TYPE_CHECKING:
    from collections.abc import Callable

    from anndata import AnnData

N_OBS, N_GENES = 120, 6
VECTOR = Vector("v", ("x", "y", "z"), is_table=True)
WEIGHTS = np.vstack([np.ones(N_OBS), np.random.default_rng(1).integers(0, 3, (7, N_OBS))]).astype(
    np.float32
)


@pytest.fixture
def cells() -> tuple[Any, Any]:
    """Expression, and vectors of columns of different variance; some rows are missing."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=(N_OBS, N_GENES))
    vectors = 3 + values @ rng.normal(size=(N_GENES, 3)) + rng.normal(size=(N_OBS, 3))
    vectors *= [1, 5, 0.2]
    vectors[::7] = np.nan
    return values.astype(np.float32), vectors


def folds_of(seen: Any, n_folds: int = 4) -> list[Any]:
    fold = np.arange(N_OBS) % n_folds
    return [((fold != f) & seen, (fold == f) & seen) for f in range(n_folds)]


def weighted(true: Any, predicted: Any) -> float:
    return float(r2_score(true, predicted, multioutput="variance_weighted"))


# --- ridge heads ---


def test_a_ridge_head_predicts_all_columns(cells: Any) -> None:
    values, vectors = cells
    seen = ~np.isnan(vectors).any(axis=1)
    head = RidgeHead(vectors, folds_of(seen), WEIGHTS, 3)
    judgement = head.fit(values)
    predicted = np.zeros((N_OBS, 3))
    for train, test in folds_of(seen):
        predicted[test] = Ridge().fit(values[train], vectors[train]).predict(values[test])
    for score, times in zip(judgement.scores, WEIGHTS.astype(int), strict=True):
        repeated = (a[seen].repeat(times[seen], axis=0) for a in (vectors, predicted))
        assert score == pytest.approx(weighted(*repeated), rel=1e-4)
    assert judgement.error == pytest.approx(1 - weighted(vectors[seen], predicted[seen]), rel=1e-4)
    assert judgement.by_class.shape[1] == 0
    total = seen.sum() * vectors[seen].var(axis=0).sum()
    slopes = np.where(seen[:, None], 2 * (vectors - predicted) / total, 0)
    np.testing.assert_allclose(judgement.slopes, slopes, rtol=1e-3, atol=1e-7)
    curvatures = np.repeat((2 * seen / total)[:, None], 3, axis=1)
    np.testing.assert_allclose(judgement.curvatures, curvatures, rtol=1e-4)
    np.testing.assert_array_equal(head.refit(values, 3, 0.5).slopes, judgement.slopes)


def test_a_ridge_head_of_one_column_is_that_of_a_number(cells: Any) -> None:
    values, vectors = cells
    number = vectors[:, 1]
    folds = folds_of(~np.isnan(number))
    one = RidgeHead(number[:, None], folds, WEIGHTS, 1).fit(values)
    other = RidgeHead(number, folds, WEIGHTS, 1).fit(values)
    np.testing.assert_allclose(one.scores, other.scores)
    np.testing.assert_allclose(one.slopes, other.slopes, rtol=1e-5)
    np.testing.assert_array_equal(one.curvatures, other.curvatures)
    assert one.error == pytest.approx(other.error)


@pytest.mark.parametrize("empty", ["train", "test"])
def test_no_vectors_to_learn_from_or_to_judge(cells: Any, empty: str) -> None:
    values, vectors = cells
    none, rest = np.zeros(N_OBS, dtype=bool), ~np.isnan(vectors).any(axis=1)
    folds = [(none, rest)] if empty == "train" else [(rest, none)]
    judgement = RidgeHead(vectors, folds, WEIGHTS, 3).fit(values)
    assert np.isnan(judgement.scores).all()
    assert judgement.error == 0
    assert judgement.slopes.shape == judgement.curvatures.shape == (N_OBS, 3)
    assert not judgement.slopes.any()


def test_equal_vectors_cannot_be_judged(cells: Any) -> None:
    values, vectors = cells
    everyone = np.ones(N_OBS, dtype=bool)
    judgement = RidgeHead(np.full((N_OBS, 3), 2.0), folds_of(everyone), WEIGHTS, 3).fit(values)
    assert np.isnan(judgement.scores).all()
    assert judgement.error == 0
    vectors[:, :2] = np.where(np.isnan(vectors[:, :2]), np.nan, 2.0)  # one column varies
    seen = ~np.isnan(vectors).any(axis=1)
    assert np.isfinite(RidgeHead(vectors, folds_of(seen), WEIGHTS, 3).fit(values).scores).all()


# --- beyond the panel ---


def test_the_path_predicts_vectors_as_numbers_one_by_one(cells: Any) -> None:
    values, vectors = cells
    train, held_out = (sp.csr_matrix(np.abs(part)) for part in (values[:90], values[90:]))
    columns = [Continuous(name) for name in "xyz"]
    labels = [vectors[:90].astype(np.float32), *vectors[:90].T.astype(np.float32)]
    found = ridge_path(train, labels, held_out, [VECTOR, *columns], [2, 6], 0.5)
    for vector, *numbers in found.values():
        assert vector.shape == (30, 3)
        np.testing.assert_allclose(vector, np.column_stack(numbers), rtol=1e-6)
    nothing = [np.full((90, 3), np.nan, np.float32)]
    np.testing.assert_array_equal(
        ridge_path(train, nothing, held_out, [VECTOR], [2], 0.5)[2][0], np.zeros((30, 3))
    )


# --- tables ---


def test_predictions_have_a_column_for_each_of_a_vector() -> None:
    tasks = [Categorical("type", ("a", "b")), VECTOR, Continuous("age")]
    proba = np.array([[0.2, 0.8], [0.9, 0.1]])
    vectors = np.arange(6.0).reshape(2, 3)
    table = predictions_table(tasks, [proba, vectors, np.ones(2)], pd.Index(["c1", "c2"]))
    assert list(table.columns) == ["type", "v_x", "v_y", "v_z", "age"]
    assert list(table["type"]) == ["b", "a"]
    np.testing.assert_array_equal(table[["v_x", "v_y", "v_z"]], vectors)


def test_each_column_of_a_vector_is_scored(cells: Any) -> None:
    vectors = cells[1]
    rng = np.random.default_rng(2)
    predicted = np.nan_to_num(vectors) + rng.normal(size=vectors.shape)
    number = (Continuous("age"), vectors[:, 0], predicted[:, 0])
    tasks, labels, predictions = zip((VECTOR, vectors, predicted), number, strict=True)
    table = columns_table(tasks, labels, predictions)
    assert list(table["task"]) == ["v"] * 3
    assert list(table["column"]) == ["x", "y", "z"]
    seen = ~np.isnan(vectors).any(axis=1)
    for i, score in enumerate(table["r2"]):
        assert score == pytest.approx(r2_score(vectors[seen, i], predicted[seen, i]))
    none = columns_table(tasks[1:], labels[1:], predictions[1:])
    assert none.empty
    assert list(none.columns) == list(table.columns)


def test_a_gene_is_for_the_column_that_it_serves_most(cells: Any) -> None:
    values, _ = cells
    vectors = values[:, [4, 0, 2]].astype(float)
    table = attribute(
        values, [vectors], [VECTOR], np.ones(1, dtype=bool), [f"g{j}" for j in range(6)], 0.5
    )
    assert set(table["task"]) == {"v"}
    assert table.loc[["g4", "g0", "g2"], "category"].tolist() == ["x", "y", "z"]
    served = table["criterion_increase"]
    assert served[["g4", "g0", "g2"]].min() > 10 * served[["g1", "g3", "g5"]].max()
    as_array = Vector("v", ("0", "1", "2"))
    nameless = attribute(
        values, [vectors], [as_array], np.ones(1, dtype=bool), list("abcdef"), 0.5
    )
    assert set(nameless["category"]) == {""}


def test_taught_classes_are_attributed_as_codes() -> None:
    """A table of zeros and ones tells the same of each gene as codes do."""
    rng = np.random.default_rng(0)
    codes = rng.choice([0, 2, 3], size=N_OBS)
    values = rng.normal(size=(N_OBS, 4)).astype(np.float32)
    values[:, 1] += 2 * (codes == 0)
    values[:, 2] += 2 * (codes == 2)
    task = Categorical("type", ("a", "b", "c", "d"))  # nobody is of class b
    arguments = [task], np.ones(1, dtype=bool), list("wxyz"), 0.5
    hard = attribute(values, [codes], *arguments)
    soft = attribute(values, [np.eye(4, dtype=np.float32)[codes]], *arguments)
    pd.testing.assert_frame_equal(hard, soft, rtol=1e-4)
    assert soft.loc["x", "category"] == "a"
    assert soft.loc["y", "category"] == "c"


def test_a_judgement_of_vectors(make_adata: Callable[..., AnnData], make_answers: Any) -> None:
    adata = make_adata()
    rng = np.random.default_rng(0)
    adata.obsm["v"] = rng.normal(size=(adata.n_obs, 2)) * [1, 10]
    adata.obsm["v"][::9] = np.nan
    problem = Problem.from_adata(adata, {"vector": ["v"], "continuous": ["score_0"]})
    assert [task.kind for task in problem.tasks] == ["vector", "continuous"]
    only = problem.labels[0], problem.tasks[0]
    from dataclasses import replace

    alone = replace(problem, tasks=(only[1],), labels=(only[0],))
    split_of = make_answers(
        replace(problem, tasks=problem.tasks[1:], labels=problem.labels[1:])
    ).split
    truth = np.nan_to_num(only[0][split_of.validation])

    def predict(n_genes: int) -> list[Any]:
        noise = np.random.default_rng(n_genes).normal(size=truth.shape)
        return [truth + noise * 6 / n_genes]

    answers = make_answers(replace(problem, tasks=problem.tasks[1:], labels=problem.labels[1:]))
    answers = replace(
        answers,
        by_size={size: predict(size) for size in answers.by_size},
        on_path=np.arange(len(truth)),
        predict=predict,
    )
    judgement = judge(alone, answers, 6, 0.5, np.random.default_rng(0))
    observed = only[0][split_of.validation]
    seen = ~np.isnan(observed).any(axis=1)
    predicted = predict(6)[0]
    expected = weighted(observed[seen], predicted[seen])
    assert judgement.metrics.loc["v", "r2"] == pytest.approx(expected, rel=1e-4)
    assert judgement.metrics.loc["v", "n_cells"] == seen.sum()
    path = judgement.path.set_index("n_genes")
    assert path.loc[6, "score"] == pytest.approx(expected, rel=1e-4)
    assert set(path["metric"]) == {"r2"}
    assert np.isfinite(path["standard_error"]).all()
    assert list(judgement.columns["column"]) == ["0", "1"]
    assert list(judgement.held_out.columns) == ["v_0", "v_1"]
    assert judgement.confusion.empty
    assert judgement.tasks.loc["v", "kind"] == "vector"
