"""What genes are for, against leaving each out and computing all anew."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression
from sklearn.metrics import f1_score, r2_score

from yoto_sc.data import Categorical, Continuous
from yoto_sc.judge import attribute, panel_table, without_table

TASKS = [Categorical("type", ("a", "b", "c")), Continuous("age"), Categorical("sex", ("f", "m"))]
GENES = ["of a", "of b", "of age", "of sex", "of nothing"]
POWER = 0.5


@pytest.fixture
def cells():
    """Expression of the genes, and the labels that they tell."""
    rng = np.random.default_rng(0)
    types, sexes, age = rng.integers(3, size=400), rng.integers(2, size=400), rng.normal(size=400)
    values = rng.normal(size=(400, 5))
    values[:, 0] += 3 * (types == 0)
    values[:, 1] += 3 * (types == 1)
    values[:, 2] += 2 * age
    values[:, 3] += 3 * sexes
    types[::11], age[::13] = -1, np.nan
    return values.astype(np.float32), [types, age.astype(np.float32), sexes]


def pair_lambdas(values, codes, genes):
    """Wilks' lambda by class, the mean over its pairs with the others, from determinants."""
    x, y = values[codes >= 0].astype(float), codes[codes >= 0]
    weights = np.array([(y == code).sum() ** -POWER for code in y])
    weights /= weights.sum()
    scale = np.sqrt(weights @ (x - weights @ x) ** 2)
    means = {code: x[y == code].mean(axis=0) / scale for code in np.unique(y)}
    rest = x / scale - np.array([means[code] for code in y])
    within = ((rest * weights[:, None]).T @ rest + 0.1 * np.eye(x.shape[1]))[np.ix_(genes, genes)]

    def pair(a, b):
        half = (means[a] - means[b])[genes] / 2
        return np.linalg.det(within) / np.linalg.det(within + np.outer(half, half))

    return np.array([np.mean([pair(a, b) for b in means if b != a]) for a in means])


def number_lambdas(values, numbers, genes):
    """The same for the points one standard deviation below and above the mean of a number."""
    seen = ~np.isnan(numbers)
    x, y = values[seen].astype(float), numbers[seen].astype(float)
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    line = LinearRegression().fit(y[:, None], x)
    rest = x - line.predict(y[:, None])
    within = (rest.T @ rest / len(x) + 0.1 * np.eye(x.shape[1]))[np.ix_(genes, genes)]
    half = (line.coef_[:, 0] * y.std())[genes]
    value = np.linalg.det(within) / np.linalg.det(within + np.outer(half, half))
    return np.array([value, value])


def expected(values, labels, told, by_share=True):
    """The rise of each task's term in the criterion, and of each class's confusion."""
    rows = []
    complete, without = [], []
    for task, array in zip(TASKS, labels, strict=True):
        lambdas = pair_lambdas if task.categories else number_lambdas
        complete.append(lambdas(values, array, list(range(5))))
        others = [[g for g in range(5) if g != gene] for gene in range(5)]
        without.append(np.array([lambdas(values, array, genes) for genes in others]).T)
    for gene in range(5):
        rises = [
            np.sqrt(left[:, gene].mean()) - np.sqrt(whole.mean()) if is_told else -np.inf
            for whole, left, is_told in zip(complete, without, told, strict=True)
        ]
        best = int(np.argmax(rises))
        by_class = without[best] - complete[best][:, None]
        share = by_class[:, gene] / (by_class.sum(axis=1) if by_share else 1)
        names = TASKS[best].categories or ("", "")
        is_tied = np.isclose(share, share.max(), rtol=1e-5).sum() > 1
        rows.append((TASKS[best].name, "" if is_tied else names[share.argmax()], rises[best]))
    return rows


@pytest.mark.parametrize("told", [(1, 1, 1), (1, 0, 1), (0, 1, 0)])
def test_genes_serve_the_task_that_loses_most_without_them(cells, told):
    told = np.array(told, dtype=bool)
    table = attribute(*cells, TASKS, told, GENES, POWER)
    assert list(table.index) == GENES
    assert table.index.name == "gene"
    assert list(table.columns) == ["task", "category", "criterion_increase"]
    for row, (task, category, rise) in zip(
        table.itertuples(), expected(*cells, told), strict=True
    ):
        assert (row.task, row.category) == (task, category)
        assert row.criterion_increase == pytest.approx(rise, rel=1e-2, abs=1e-5)


def test_a_class_owes_a_gene_by_its_share_in_the_classs_rises():
    """Not by the rise itself: a class that is hard to tell loses most from any gene."""
    rng = np.random.default_rng(0)
    n_other = 0
    for _ in range(12):
        codes = rng.integers(3, size=300)
        values = (rng.normal(size=(3, 5))[codes] + rng.normal(size=(300, 5))).astype(np.float32)
        labels = [codes, values[:, 0], codes % 2]
        told = np.array([True, False, False])
        found = attribute(values, labels, TASKS, told, GENES, POWER)["category"].tolist()
        assert found == [row[1] for row in expected(values, labels, told)]
        n_other += found != [row[1] for row in expected(values, labels, told, by_share=False)]
    assert n_other > 1


def test_planted_genes_serve_what_they_were_planted_for(cells):
    table = attribute(*cells, TASKS, np.ones(3, dtype=bool), GENES, POWER)
    assert table["task"].tolist()[:4] == ["type", "type", "age", "sex"]
    assert table["category"].tolist()[:3] == ["a", "b", ""]
    assert table["criterion_increase"].idxmin() == "of nothing"


def test_in_a_tie_no_class_is_named(cells):
    """Two classes are confused with each other; a gene that never varies adds nothing."""
    values, labels = cells
    values[:, 4] = 1
    table = attribute(values, labels[2:], TASKS[2:], np.ones(1, dtype=bool), GENES, POWER)
    assert (table["category"] == "").all()
    table = attribute(values, labels[:1], TASKS[:1], np.ones(1, dtype=bool), GENES, POWER)
    assert table.loc["of nothing", "category"] == ""
    assert table.loc[["of a", "of b"], "category"].tolist() == ["a", "b"]


def test_categories_are_those_that_occur(cells):
    """Codes have gaps where a class has no cell left; names must not shift."""
    values, labels = cells
    whole = attribute(values, labels[:1], TASKS[:1], np.ones(1, dtype=bool), GENES, POWER)
    gap = Categorical("type", ("none", "a", "b", "c"))
    codes = np.where(labels[0] >= 0, labels[0] + 1, labels[0])
    table = attribute(values, [codes], [gap], np.ones(1, dtype=bool), GENES, POWER)
    pd.testing.assert_frame_equal(table, whole)
    assert set(table["category"]) >= {"a", "b"}


def predict_from(values, labels):
    """Predict classes and numbers from the sum of what is measured, and note what was asked."""
    asked = []

    def predict(measured):
        asked.append(measured.copy())
        types, age, sexes = labels
        seen = values * measured
        proba = np.full((len(values), 3), 0.1)
        proba[:, 2] += 1
        proba[:, 0] += seen[:, 0].clip(0)
        proba[:, 1] += seen[:, 1].clip(0)
        sex = np.column_stack([np.ones(len(values)) * 1.5, seen[:, 3].clip(0)])
        return [
            proba / proba.sum(axis=1, keepdims=True),
            seen[:, 2] / 2,
            sex / sex.sum(axis=1, keepdims=True),
        ]

    return predict, asked


def test_losses_are_falls_of_the_score(cells):
    values, labels = cells
    predict, _ = predict_from(*cells)
    without = (predict(np.arange(5) != gene) for gene in range(5))
    table = without_table(TASKS, labels, GENES, predict(np.ones(5, dtype=bool)), without)
    assert list(table.columns) == ["gene", "task", "metric", "loss"]
    assert list(table["gene"]) == np.repeat(GENES, 3).tolist()
    assert list(table["task"]) == ["type", "age", "sex"] * 5
    assert list(table["metric"]) == ["macro_f1", "r2", "macro_f1"] * 5

    def score(position, measured):
        prediction, array = predict(measured)[position], labels[position]
        if position == 1:
            seen = ~np.isnan(array)
            return r2_score(array[seen], prediction[seen])
        seen = array >= 0
        return f1_score(array[seen], prediction[seen].argmax(axis=1), average="macro")

    for row in table.itertuples():
        position = ["type", "age", "sex"].index(row.task)
        measured = np.array(GENES) != row.gene
        whole = score(position, np.ones(5, dtype=bool))
        assert row.loss == pytest.approx(whole - score(position, measured), abs=1e-6)
    assert table.set_index(["gene", "task"])["loss"]["of age", "age"] > 0.3


def test_panel_table_marks_genes_that_had_to_be_in_it():
    names = pd.Index([f"g{i}" for i in range(4)])
    told = pd.DataFrame({"task": [], "category": []})
    required = np.array([False, True, False, True])
    panel = panel_table(names, np.array([1, 3, 0, 2]), 3, told, required)
    assert (panel.imposed, panel.chosen) == (["g1", "g3"], ["g0"])


def test_panel_table_ranks_genes_and_cuts_the_panel():
    names = pd.Index([f"g{i}" for i in range(8)])
    ranking = np.array([5, 2, 7, 0, 1])
    attribution = pd.DataFrame(
        {"task": ["type", "age"], "category": ["a", ""]}, index=pd.Index(["g5", "g2"])
    )
    table = panel_table(names, ranking, 2, attribution, np.zeros(8, dtype=bool)).table
    assert "imposed" not in table
    assert list(table.index) == list(names)
    ranks = table["rank"]
    assert ranks[names[ranking]].tolist() == [1, 2, 3, 4, 5]
    assert ranks[["g3", "g4", "g6"]].isna().all()
    assert table.index[table["selected"]].tolist() == ["g2", "g5"]
    scores = table["score"]
    expected = [1 - np.log(rank) / np.log(6) for rank in range(1, 6)]
    np.testing.assert_allclose(scores[names[ranking]], expected, rtol=1e-6)
    assert scores["g5"] == 1
    assert (scores[["g3", "g4", "g6"]] == 0).all()
    assert table.loc["g5", ["task", "category"]].tolist() == ["type", "a"]
    assert table.loc["g2", ["task", "category"]].tolist() == ["age", ""]
    assert (table.loc[["g0", "g1", "g7"], ["task", "category"]] == "").all(axis=None)
