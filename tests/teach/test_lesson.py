"""What is learned from: labels as given, a teacher's in the place of missing ones, components."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.metrics import f1_score
from sklearn.model_selection import cross_val_predict

from yoto_sc.judge import all_cells
from yoto_sc.rules import Requirements
from yoto_sc.teach import Lesson, _lesson, _teacher, find_components, prepare, with_components

if TYPE_CHECKING:
    from collections.abc import Callable

    from yoto_sc._problem import Problem
    from yoto_sc.judge import Split

ALL = {"categorical_keys": ["kind"], "continuous_keys": ["score"], "obsm_keys": ["vector"]}


def taught(problem: Problem, split: Split, seed: int = 0, **how: Any) -> Lesson:
    how = {"n_genes": 3, "unlabeled_cells": "use", **how}
    return prepare(problem, split, np.random.default_rng(seed), **how)


def once_more(problem: Problem, first: Lesson, **how: Any) -> Lesson:
    """Prepare a second lesson, on all cells, that keeps what the first one found."""
    return taught(problem, all_cells(problem.expression.n_obs), before=first, **how)


@pytest.fixture(scope="module")
def problem(make_told_together: Any, make_problem: Any) -> Problem:
    """A quarter of the cells has a class, a number and a vector, which many genes tell."""
    return make_problem(make_told_together(), **ALL)


@pytest.fixture(scope="module")
def lesson(problem: Problem, split: Split) -> Lesson:
    """All cells learn from the teacher, asked or not; not to be changed."""
    return taught(problem, split)


def seen_of(problem: Problem, position: int) -> Any:
    return problem.tasks[position].observed(problem.labels[position])


# --- nothing to teach ---


@pytest.fixture
def no_pass(monkeypatch: pytest.MonkeyPatch) -> Callable[[Problem], None]:
    """Refuse to read any expression from now on."""

    def forbid(problem: Problem) -> None:
        def refuse(*args: Any, **kwargs: Any) -> None:
            raise AssertionError("Expression was read.")

        for name in ("take", "blocks", "reduce"):
            monkeypatch.setattr(type(problem.expression), name, refuse)

    return forbid


def assert_nothing_taught(lesson: Lesson, problem: Problem) -> None:
    assert lesson.problem is problem
    assert all(ours is theirs for ours, theirs in zip(lesson.labels, problem.labels, strict=True))
    assert lesson.components is None
    assert lesson.verdicts == {}
    assert lesson.table().empty


@pytest.mark.parametrize("how", ["auto", "use", "ignore"])
def test_where_no_label_is_missing_nothing_is_taught_and_read(
    make_told_together: Any, make_problem: Any, split: Split, no_pass: Any, how: Any
) -> None:
    problem = make_problem(make_told_together(labeled=1.0), **ALL)
    no_pass(problem)
    assert_nothing_taught(taught(problem, split, unlabeled_cells=how), problem)


def test_missing_labels_may_be_ignored(problem: Problem, split: Split, no_pass: Any) -> None:
    no_pass(problem)
    assert_nothing_taught(taught(problem, split, unlabeled_cells="ignore"), problem)


@pytest.mark.parametrize(("n_missing", "expected"), [(3, False), (8, True)])
def test_for_a_few_cells_no_teacher_is_asked(
    make_told_together: Any, make_problem: Any, split: Split, n_missing: int, expected: bool
) -> None:
    """Held-out cells without a label need none."""
    adata = make_told_together(labeled=1.0)
    adata.obs.iloc[split.train[:n_missing], 1] = None
    adata.obs.iloc[split.validation[:20], 1] = None
    problem = make_problem(adata, categorical_keys="kind")
    assert bool(taught(problem, split).verdicts) == expected


# --- labels of a teacher ---


def test_taught_classes_are_probabilities_and_given_ones_are_certain(
    problem: Problem, split: Split, lesson: Lesson
) -> None:
    codes, table = problem.labels[0], lesson.labels[0]
    assert table.shape == (len(codes), 3)
    assert table.dtype == np.float32
    seen = codes >= 0
    np.testing.assert_array_equal(table[seen], np.eye(3)[codes[seen]])
    asked = np.intersect1d(np.flatnonzero(~seen), split.train)
    assert len(asked) > 100
    np.testing.assert_allclose(table[asked].sum(axis=1), 1, rtol=1e-6)
    assert (table >= 0).all()
    assert (table[asked].max(axis=1) < 1).any()
    assert not ((table > 0) & (table < 0.009)).any()  # negligible ones are dropped
    others = np.intersect1d(np.flatnonzero(~seen), split.validation)
    assert not table[others].any()  # cells that are held out are taught nothing


@pytest.mark.parametrize("position", [1, 2], ids=["numbers", "vectors"])
def test_taught_numbers_stand_beside_those_given(
    problem: Problem, split: Split, lesson: Lesson, position: int
) -> None:
    given, found = problem.labels[position], lesson.labels[position]
    seen = seen_of(problem, position)
    assert found.dtype == given.dtype
    np.testing.assert_array_equal(found[seen], given[seen])
    is_train = np.isin(np.arange(len(seen)), split.train)
    assert np.isfinite(found[~seen & is_train]).all()
    assert np.isnan(found[~seen & ~is_train]).all()


def test_a_teacher_knows_the_truth_about_cells_without_a_label(
    make_told_together: Any, problem: Problem, split: Split, lesson: Lesson
) -> None:
    truth = make_told_together().uns
    asked = np.intersect1d(np.flatnonzero(~seen_of(problem, 0)), split.train)
    codes = np.searchsorted(["a", "b", "c"], truth["kind"])
    right = lesson.labels[0][asked].argmax(axis=1) == codes[asked]
    assert right.mean() > 0.65  # by chance, a third or half
    assert lesson.labels[0][asked].max(axis=1).mean() == pytest.approx(right.mean(), abs=0.15)
    shares = np.bincount(codes[asked]) / len(asked)
    np.testing.assert_allclose(lesson.labels[0][asked].mean(axis=0), shares, atol=0.1)
    score = lesson.labels[1][asked]
    assert np.corrcoef(score, truth["score"][asked])[0, 1] > 0.9
    for ours, theirs in zip(lesson.labels[2][asked].T, truth["vector"][asked].T, strict=True):
        assert np.corrcoef(ours, theirs)[0, 1] > 0.9


def test_what_was_given_is_left_as_it_was(
    problem: Problem, make_told_together: Any, make_problem: Any, lesson: Lesson
) -> None:
    """Labels to judge by are those that were given, and nothing was changed in place."""
    fresh = make_problem(make_told_together(), **ALL)
    for ours, theirs in zip(lesson.problem.labels, fresh.labels, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert (lesson.problem.expression.matrix != fresh.expression.matrix).nnz == 0
    assert lesson.problem.tasks == problem.tasks


def two_views(problem: Problem, split: Split) -> list[Any]:
    """Return components of the training cells, and all 60 genes in units of labelled cells."""
    components = find_components(
        problem.expression, split.train, _teacher.N_COMPONENTS, np.random.default_rng(7)
    )
    genes = problem.expression.take(split.train, None).toarray()
    seen = seen_of(problem, 0)[split.train]
    genes = (genes - genes[seen].mean(axis=0)) / genes[seen].std(axis=0)
    return [components.of(problem.expression, split.train), genes.clip(-10, 10)]


def test_classes_are_taught_by_logistic_regressions_on_components_and_genes(
    problem: Problem, split: Split, lesson: Lesson
) -> None:
    """Classes that weigh more to be told are no more probable for that."""
    codes = problem.labels[0][split.train]
    seen = codes >= 0
    of_class = np.bincount(codes[seen]) ** -0.5
    weights = of_class[codes[seen]] / of_class[codes[seen]].mean()
    logs = []
    for view, penalty in zip(two_views(problem, split), (1.0, 0.03), strict=True):
        model = LogisticRegression(C=penalty, max_iter=2000)
        model.fit(view[seen], codes[seen], weights)
        logs.append(model.predict_log_proba(view[~seen]))
    expected = np.exp(np.mean(logs, axis=0)) / of_class
    expected /= expected.sum(axis=1, keepdims=True)
    expected **= 1 / lesson.verdicts[0].temperature
    expected /= expected.sum(axis=1, keepdims=True)
    found = lesson.labels[0][split.train[~seen]]
    np.testing.assert_allclose(found, expected, atol=0.02)  # small ones are dropped


@pytest.mark.parametrize("position", [1, 2], ids=["numbers", "vectors"])
def test_numbers_are_taught_by_ridge_regressions_on_components_and_genes(
    problem: Problem, split: Split, lesson: Lesson, position: int
) -> None:
    labels = problem.labels[position][split.train]
    seen = seen_of(problem, position)[split.train]
    expected = np.mean(
        [
            RidgeCV(np.logspace(-1, 4, 6)).fit(view[seen], labels[seen]).predict(view[~seen])
            for view in two_views(problem, split)
        ],
        axis=0,
    )
    found = lesson.labels[position][split.train[~seen]]
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)


def test_a_vector_of_one_column_is_taught_as_a_number(
    make_told_together: Any, make_problem: Any, split: Split, lesson: Lesson
) -> None:
    adata = make_told_together()
    adata.obsm["vector"] = adata.obs[["score"]].to_numpy()
    problem = make_problem(adata, **ALL)
    one = taught(problem, split)
    assert one.labels[2].shape == (len(adata), 1)
    np.testing.assert_allclose(one.labels[2][:, 0], lesson.labels[1], rtol=1e-4, atol=1e-4)


def test_scores_of_a_teacher_are_out_of_fold(
    problem: Problem, split: Split, lesson: Lesson
) -> None:
    features = lesson.components.of(problem.expression, split.train)
    codes = problem.labels[0][split.train]
    seen = codes >= 0
    model = LogisticRegression(max_iter=1000, class_weight=None)
    predicted = cross_val_predict(model, features[seen], codes[seen], cv=3)
    expected = f1_score(codes[seen], predicted, average="macro")
    assert lesson.verdicts[0].teacher == pytest.approx(expected, abs=0.15)
    in_sample = model.fit(features[seen], codes[seen]).predict(features[seen])
    assert lesson.verdicts[0].teacher < f1_score(codes[seen], in_sample, average="macro") - 0.05


def test_one_task_of_several_may_need_a_teacher(
    make_told_together: Any, make_problem: Any, split: Split
) -> None:
    adata = make_told_together()
    adata.obs["score"] = adata.uns["score"]
    problem = make_problem(adata, **ALL)
    lesson = taught(problem, split)
    assert list(lesson.verdicts) == [0, 2]
    assert lesson.labels[1] is problem.labels[1]
    assert list(lesson.table().index) == ["kind", "vector"]


def test_the_generator_decides(problem: Problem, split: Split, lesson: Lesson) -> None:
    again = taught(problem, split)
    for ours, theirs in zip(again.labels, lesson.labels, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    one, same, other = (
        taught(problem, split, seed, unlabeled_cells="auto").verdicts for seed in (0, 0, 1)
    )
    assert one == same
    assert one[0] != other[0]  # other folds


# --- held-out cells ---


@pytest.mark.parametrize("changed", ["expression", "labels"])
def test_held_out_cells_do_not_teach(
    problem: Problem, split: Split, changed: str, make_problem: Any
) -> None:
    lesson = taught(problem, split, unlabeled_cells="auto")
    if changed == "expression":
        matrix = problem.expression.matrix.tolil()
        matrix[split.validation] = matrix[split.validation][:, ::-1] * 3
        expression = replace(problem.expression, matrix=matrix.tocsr().astype(np.float32))
        other = replace(problem, expression=expression)
    else:
        labels = []
        for array in problem.labels:
            labels.append(array.copy())
            labels[-1][split.validation] = array[split.validation][::-1]
        other = replace(problem, labels=tuple(labels))
    again = taught(other, split, unlabeled_cells="auto")
    assert again.verdicts == lesson.verdicts
    for ours, theirs in zip(again.labels, lesson.labels, strict=True):
        np.testing.assert_array_equal(ours[split.train], theirs[split.train])
    np.testing.assert_array_equal(again.components.axes, lesson.components.axes)


# --- whether a teacher helps ---


def test_a_teacher_is_used_where_many_genes_tell_a_little(problem: Problem, split: Split) -> None:
    lesson = taught(problem, split, unlabeled_cells="auto")
    for position, verdict in lesson.verdicts.items():
        assert verdict.is_used
        assert verdict.teacher > verdict.panel + 0.05
        assert lesson.labels[position] is not problem.labels[position]


@pytest.mark.usefixtures("few_variable_genes")
def test_a_teacher_is_refused_where_a_single_gene_tells_all(
    make_told_alone: Any, make_problem: Any, split: Split
) -> None:
    """Components know nothing of the gene, and among many others it does not count enough."""
    problem = make_problem(make_told_alone(), categorical_keys="kind")
    lesson = taught(problem, split, unlabeled_cells="auto")
    assert 45 not in lesson.components.genes
    verdict = lesson.verdicts[0]
    assert not verdict.is_used
    assert verdict.panel > 0.9
    assert 0.55 < verdict.teacher < 0.8  # more than by chance: it reads genes, too
    assert lesson.labels[0] is problem.labels[0]
    told = taught(problem, split, unlabeled_cells="use")
    assert told.verdicts[0].is_used
    assert np.isnan(told.verdicts[0].panel)  # it was not asked
    assert told.verdicts[0].teacher == verdict.teacher
    assert told.labels[0].ndim == 2


@pytest.mark.usefixtures("few_variable_genes")
def test_a_teacher_reads_the_genes_that_tell_most(
    make_told_alone: Any, make_problem: Any, split: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where it reads one gene alone, it is the one that tells all."""
    monkeypatch.setattr(_teacher, "_N_GENES", 1)
    monkeypatch.setattr(_teacher, "_PENALTIES", (1e-6, 1.0))  # components are silent
    problem = make_problem(make_told_alone(), categorical_keys="kind")
    lesson = taught(problem, split, n_genes=1, unlabeled_cells="auto")
    assert lesson.verdicts[0].teacher > 0.9
    assert lesson.verdicts[0].is_used


@pytest.fixture
def told_by_nothing(make_problem: Any) -> Problem:
    """A class of one cell in seven, for half of the cells, and 400 genes of noise."""
    rng = np.random.default_rng(0)
    kind = np.where(rng.random(240) < 1 / 7, "rare", "common")
    adata = AnnData(
        rng.poisson(1.0, (240, 400)).astype(np.float32),
        obs=pd.DataFrame({"kind": pd.Series(kind).mask(rng.random(240) < 0.5)}).rename(str),
    )
    return make_problem(adata, categorical_keys="kind")


def test_genes_are_found_in_the_cells_that_are_learned_from(
    told_by_nothing: Problem, split: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The best of many genes would tell all cells that they were found in, by chance."""
    monkeypatch.setattr(_teacher, "_N_GENES", 10)
    monkeypatch.setattr(_teacher, "_PENALTIES", (1e-6, 1.0))  # components are silent
    assert taught(told_by_nothing, split).verdicts[0].teacher < 0.65


def test_what_nothing_tells_is_taught_by_its_share(
    told_by_nothing: Problem, split: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rare classes weigh more when it is decided, and no more when it is believed."""
    monkeypatch.setattr(_teacher, "_PENALTIES", (1e-6, 1e-6))
    seen: list[Any] = []

    def noted(proba: Any, labels: Any) -> float:
        seen.append((proba, labels))
        return 1.0

    monkeypatch.setattr(_teacher, "fit_temperature", noted)
    lesson = taught(told_by_nothing, split)
    codes = told_by_nothing.labels[0][split.train]
    share = (codes[codes >= 0] == 1).mean()
    assert share == pytest.approx(1 / 7, abs=0.05)
    (proba, labels) = seen[0]
    assert len(labels) == (codes >= 0).sum()
    np.testing.assert_allclose(proba[:, 1], share, atol=0.04)
    np.testing.assert_allclose(lesson.labels[0][split.train[codes < 0], 1], share, atol=0.04)


@pytest.mark.usefixtures("few_variable_genes")
def test_panels_keep_to_the_rules(make_told_alone: Any, make_problem: Any, split: Split) -> None:
    """Where the gene is not allowed, no panel is better than the teacher by it."""
    without = Requirements(exclude=["g45"])
    problem = make_problem(make_told_alone(), categorical_keys="kind", requirements=without)
    lesson = taught(problem, split, unlabeled_cells="auto")
    assert lesson.verdicts[0].panel < 0.7


@pytest.mark.parametrize("labels", [[0, 1], [0, 1, 1], [0, 0, 1, 1, 2]])
@pytest.mark.parametrize("how", ["auto", "use"])
def test_very_few_labels(problem: Problem, split: Split, labels: list[int], how: Any) -> None:
    """A fold may lack a class, or all of them."""
    codes = np.full_like(problem.labels[0], -1)
    codes[split.train[: len(labels)]] = labels
    few = replace(problem, tasks=problem.tasks[:1], labels=(codes,))
    lesson = taught(few, split, unlabeled_cells=how)
    assert list(lesson.verdicts) == [0]
    if labels == [0, 1] and how == "auto":  # no fold can be told from the others
        assert np.isnan(lesson.verdicts[0].panel)
        assert not lesson.verdicts[0].is_used
    if how == "use":
        asked = np.setdiff1d(split.train, split.train[: len(labels)])
        np.testing.assert_allclose(lesson.labels[0][asked].sum(axis=1), 1, rtol=1e-6)


# --- the second lesson ---


def test_verdicts_are_carried_over(
    problem: Problem, split: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = taught(problem, split, unlabeled_cells="auto")

    def refuse(*args: Any) -> None:
        raise AssertionError("A teacher was examined again.")

    monkeypatch.setattr(_lesson, "examine", refuse)
    second = once_more(problem, first, unlabeled_cells="auto")
    assert second.verdicts == first.verdicts
    assert second.components is first.components
    np.testing.assert_allclose(second.labels[0].sum(axis=1), 1, rtol=1e-6)
    assert np.isfinite(second.labels[1]).all()
    with pytest.raises(AssertionError, match="examined again"):
        taught(problem, second.split, unlabeled_cells="auto")


@pytest.mark.usefixtures("few_variable_genes")
def test_a_teacher_that_was_refused_stays_away(
    make_told_alone: Any, make_problem: Any, split: Split
) -> None:
    problem = make_problem(make_told_alone(), categorical_keys="kind")
    first = taught(problem, split, unlabeled_cells="auto")
    second = once_more(problem, first, unlabeled_cells="auto")
    assert second.labels[0] is problem.labels[0]
    assert not second.table()["is_used"].any()


# --- the table ---


def test_the_table_tells_what_became_of_cells_without_a_label(
    problem: Problem, split: Split
) -> None:
    lesson = taught(problem, split, unlabeled_cells="auto")
    table = lesson.table()
    assert list(table.index) == ["kind", "score", "vector"]
    assert table.index.name == "task"
    assert list(table["metric"]) == ["macro_f1", "r2", "r2"]
    n_labeled = [int(seen_of(problem, i)[split.train].sum()) for i in range(3)]
    assert list(table["n_labeled"]) == n_labeled
    assert list(table["n_unlabeled"]) == [len(split.train) - n for n in n_labeled]
    assert table["is_used"].dtype == bool
    for position, verdict in lesson.verdicts.items():
        row = table.iloc[position]
        assert (row["teacher_score"], row["panel_score"]) == (verdict.teacher, verdict.panel)
    assert list(Lesson.of(problem, split).table().columns) == list(table.columns)


# --- components ---


def test_the_transcriptome_is_that_of_the_training_cells(
    make_told_together: Any, make_problem: Any, split: Split
) -> None:
    adata = make_told_together(labeled=1.0)
    problem = make_problem(adata, transcriptome=4, categorical_keys="kind")
    lesson = taught(problem, split, unlabeled_cells="auto")
    assert lesson.verdicts == {}  # it needs no labels
    assert lesson.labels[0] is problem.labels[0]
    components = find_components(problem.expression, split.train, 4, np.random.default_rng(3))
    expected = components.of(problem.expression, np.arange(len(adata)))
    for labels in (lesson.labels[1], lesson.problem.labels[1]):  # to learn from, and to judge by
        assert labels.dtype == np.float32
        np.testing.assert_allclose(labels, expected, atol=1e-5)
    assert not problem.labels[1].any()  # the problem itself is as it was


def test_the_transcriptome_and_a_teacher_share_components(
    make_told_together: Any, make_problem: Any, split: Split, lesson: Lesson
) -> None:
    problem = make_problem(make_told_together(), transcriptome=4, **ALL)
    both = taught(problem, split)
    assert list(both.verdicts) == [0, 1, 2]
    assert both.components.axes.shape[1] == _teacher.N_COMPONENTS
    np.testing.assert_allclose(both.labels[1], lesson.labels[1], atol=1e-5)
    alone = taught(make_problem(make_told_together(), transcriptome=4), split)
    np.testing.assert_allclose(both.labels[3], alone.labels[0], atol=1e-5)
    ignored = taught(problem, split, unlabeled_cells="ignore")
    np.testing.assert_allclose(ignored.labels[3], alone.labels[0], atol=1e-5)


def test_more_components_than_a_teacher_reads(
    make_told_together: Any, make_problem: Any, split: Split
) -> None:
    """Of 60 genes, 60 components; fewer variable ones leave the last components zero."""
    problem = make_problem(make_told_together(), transcriptome=60, categorical_keys="kind")
    lesson = taught(problem, split)
    assert lesson.labels[1].shape == (len(problem.labels[0]), 60)
    assert lesson.labels[1][:, 0].std() > 0.5


def test_all_labels_of_all_cells(make_told_together: Any, make_problem: Any) -> None:
    problem = make_problem(make_told_together(), transcriptome=4, **ALL)
    whole = with_components(problem, np.random.default_rng(0))
    for ours, theirs in zip(whole.labels[:3], problem.labels[:3], strict=True):
        assert ours is theirs  # nothing is taught
    cells = np.arange(len(problem.labels[0]))
    components = find_components(problem.expression, cells, 4, np.random.default_rng(1))
    expected = components.of(problem.expression, cells)
    np.testing.assert_allclose(whole.labels[3], expected, atol=1e-5)
    without = make_problem(make_told_together(), **ALL)
    assert with_components(without, np.random.default_rng(0)) is without


# --- calibrated probabilities ---


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_probabilities_are_raised_to_a_power_and_small_ones_dropped(temperature: float) -> None:
    rng = np.random.default_rng(0)
    proba = rng.dirichlet([0.3] * 5, size=200)
    proba[:20, 2] = 0
    proba /= proba.sum(axis=1, keepdims=True)
    found = _teacher._sharpened(proba, temperature)
    np.testing.assert_allclose(found.sum(axis=1), 1)
    assert not found[:20, 2].any()  # what is impossible stays impossible
    power = proba ** (1 / temperature)
    power /= power.sum(axis=1, keepdims=True)
    assert (found[power > 0.01] > 0).all()
    assert not found[power < 0.01].any()
    np.testing.assert_array_equal(found.argmax(axis=1), proba.argmax(axis=1))


def test_of_very_many_classes_the_best_one_is_kept() -> None:
    """Where all of them are negligible, not all are dropped."""
    proba = np.full((3, 400), 1 / 400)
    proba[1, 7] = 1.5 / 400
    proba[1] /= proba[1].sum()
    found = _teacher._sharpened(proba, 1.0)
    np.testing.assert_allclose(found.sum(axis=1), 1)
    assert found[1, 7] == 1
