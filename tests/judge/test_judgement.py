"""Tables of held-out cells against scikit-learn, and the choice of a size."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import Ridge
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    confusion_matrix,
    f1_score,
    log_loss,
    r2_score,
    root_mean_squared_error,
)

from yoto_sc._problem import Problem
from yoto_sc.data import Categorical, Continuous
from yoto_sc.judge import judge, path_sizes
from yoto_sc.judge._judgement import choose_size
from yoto_sc.judge._scores import Samples

if TYPE_CHECKING:
    from collections.abc import Callable

    from yoto_sc.judge import Answers, Judgement

POWER = 0.5


@pytest.fixture(scope="session")
def answers(problem: Problem, make_answers: Callable[..., Answers]) -> Answers:
    return make_answers(problem)


def judged(problem: Problem, answers: Answers, n_genes: Any = 4, seed: int = 0) -> Judgement:
    return judge(problem, answers, n_genes, POWER, np.random.default_rng(seed))


@pytest.fixture(scope="session")
def judgement(problem: Problem, answers: Answers) -> Judgement:
    return judged(problem, answers)


def observed_of(
    problem: Problem, answers: Answers, position: int, cells: Any = slice(None)
) -> Any:
    """Labels of the held-out cells, and which of these have one."""
    labels = problem.labels[position][answers.split.validation[cells]]
    seen = labels >= 0 if problem.tasks[position].categories else ~np.isnan(labels)
    return labels, seen


def score_of(problem: Problem, answers: Answers, position: int, prediction: Any) -> float:
    """Macro-F1 or R² of the cells on the path."""
    labels, seen = observed_of(problem, answers, position, answers.on_path)
    true, predicted = labels[seen], prediction[seen]
    if problem.tasks[position].categories:
        present = np.unique(true)
        return f1_score(true, predicted.argmax(axis=1), labels=present, average="macro")
    return r2_score(true, predicted)


# --- path_sizes ---


@pytest.mark.parametrize("largest", [1, 2, 6, 32, 64, 100, 1000])
def test_sizes_on_the_path(largest: int) -> None:
    sizes = path_sizes(largest)
    assert sizes == sorted(set(sizes))
    assert all(type(size) is int for size in sizes)
    assert (sizes[0], sizes[-1]) == (1, largest)
    assert {2**i for i in range(20) if 2**i <= largest} <= set(sizes)
    assert {round(largest ** (i / 19)) for i in range(20)} <= set(sizes)
    assert len(sizes) <= 20 + largest.bit_length()


def test_one_size_is_asked_for_in_any_case() -> None:
    assert 37 not in path_sizes(64)
    assert path_sizes(64, 37) == sorted([*path_sizes(64), 37])
    assert path_sizes(64, 64) == path_sizes(64)


# --- choose_size ---

CLASSES, NUMBER = Categorical("type", ("a", "b")), Continuous("age")


def right(n_right: int, n_cells: int = 200) -> tuple[Any, Any]:
    """Labels, and probabilities that name the right class of so many of the cells."""
    labels = np.arange(n_cells) % 2
    is_right = np.arange(n_cells) % 100 < n_right * 100 // n_cells
    return labels, np.eye(2)[np.where(is_right, labels, 1 - labels)]


def chosen(n_right: dict[int, int], units: Any = None) -> int:
    labels = right(0)[0]
    predictions = {size: [right(n)[1]] for size, n in n_right.items()}
    samples = Samples(np.arange(200) if units is None else units, np.random.default_rng(0))
    return choose_size([CLASSES], [labels], predictions, samples)


@pytest.mark.parametrize(
    ("n_right", "expected"),
    [
        # 160 of 200 have a standard error of 200 * sqrt(0.8 * 0.2 / 200), 5.7 cells.
        ({1: 120, 2: 156, 4: 158, 8: 160}, 2),
        ({1: 120, 2: 150, 4: 158, 8: 160}, 4),
        ({1: 120, 2: 150, 4: 152, 8: 160}, 8),
        ({1: 120, 2: 160, 4: 130, 8: 156}, 2),  # the best is not the largest
        ({1: 160, 2: 160}, 1),
        ({8: 160, 4: 158, 2: 120}, 4),  # in any order
        ({5: 100}, 5),
    ],
)
def test_smallest_size_within_one_standard_error_of_the_best(
    n_right: dict[int, int], expected: int
) -> None:
    assert chosen(n_right) == expected


def test_of_one_group_only_the_best_will_do() -> None:
    one_group = np.zeros(200, dtype=int)
    assert chosen({1: 120, 4: 158, 8: 160}, one_group) == 8
    assert chosen({1: 120, 4: 160, 8: 160}, one_group) == 4


def test_groups_that_differ_have_a_wider_error() -> None:
    """Every second group is predicted well, so the score of a new one may be any."""
    labels, predictions = right(0)[0], {}
    groups = np.arange(200) // 50
    for size, n_right in ((2, 150), (8, 160)):
        proba = right(n_right)[1]
        proba[groups % 2 == 0] = np.eye(2)[labels[groups % 2 == 0]]
        predictions[size] = [proba]
    rng = np.random.default_rng(0)
    by_cell = choose_size([CLASSES], [labels], predictions, Samples(np.arange(200), rng))
    by_group = choose_size([CLASSES], [labels], predictions, Samples(groups, rng))
    assert (by_cell, by_group) == (8, 2)


def test_sizes_are_compared_by_the_mean_over_tasks() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=200)
    labels, proba = right(160)
    worse, better = values + rng.normal(size=200), values + 0.1 * rng.normal(size=200)
    predictions = {2: [proba, worse], 4: [proba, better]}
    samples = Samples(np.arange(200), rng)
    tasks = [CLASSES, NUMBER]
    assert choose_size(tasks, [labels, values], predictions, samples) == 4
    assert choose_size(tasks, [labels, values * np.nan], predictions, samples) == 2


def test_without_labels_the_largest_size_is_taken() -> None:
    none = [np.full(200, -1)]
    samples = Samples(np.arange(200), np.random.default_rng(0))
    predictions = {2: [right(160)[1]], 7: [right(100)[1]]}
    assert choose_size([CLASSES], none, predictions, samples) == 7


# --- judge ---


def test_tasks_say_how_many_cells_have_a_label(
    problem: Problem, answers: Answers, judgement: Judgement
) -> None:
    table = judgement.tasks
    assert list(table.index) == ["task_0", "task_1", "score_0"]
    assert table.index.name == "task"
    assert list(table["kind"]) == ["categorical", "categorical", "continuous"]
    obs = problem.tables.obs[list(table.index)]
    assert list(table["n_categories"]) == [obs[key].nunique() for key in table.index[:2]] + [0]
    assert list(table["n_observed"]) == obs.notna().sum().tolist()
    for column, cells in (
        ("n_train", answers.split.train),
        ("n_validation", answers.split.validation),
    ):
        assert list(table[column]) == obs.iloc[cells].notna().sum().tolist()


def test_metrics_match_sklearns(problem: Problem, answers: Answers, judgement: Judgement) -> None:
    table = judgement.metrics
    assert list(table.index) == ["task_0", "task_1", "score_0"]
    predictions = answers.predict(4)
    for position in (0, 1):
        labels, seen = observed_of(problem, answers, position)
        row, true, proba = table.iloc[position], labels[seen], predictions[position][seen]
        predicted, present = proba.argmax(axis=1), np.unique(true)
        assert row["n_cells"] == seen.sum()
        assert row["macro_f1"] == pytest.approx(
            f1_score(true, predicted, labels=present, average="macro")
        )
        assert row["accuracy"] == pytest.approx(accuracy_score(true, predicted))
        assert row["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(true, predicted))
        assert row["log_loss"] == pytest.approx(
            log_loss(true, proba, labels=np.arange(proba.shape[1]))
        )
        assert np.isnan(row[["r2", "rmse", "pearson_r"]].astype(float)).all()
    labels, seen = observed_of(problem, answers, 2)
    row, true, predicted = table.loc["score_0"], labels[seen], predictions[2][seen]
    assert row["n_cells"] == seen.sum()
    assert row["r2"] == pytest.approx(r2_score(true, predicted))
    assert row["rmse"] == pytest.approx(root_mean_squared_error(true, predicted))
    assert np.isnan(row["macro_f1"])


def test_confusion_matches_sklearns(
    problem: Problem, answers: Answers, judgement: Judgement
) -> None:
    table = judgement.confusion
    assert list(table.columns) == ["task", "observed", "predicted", "n_cells"]
    assert set(table["task"]) == {"task_0", "task_1"}
    assert (table["n_cells"] > 0).all()
    for position, task in enumerate(problem.tasks[:2]):
        labels, seen = observed_of(problem, answers, position)
        predicted = answers.predict(4)[position].argmax(axis=1)
        codes = range(task.n_outputs)
        expected = confusion_matrix(labels[seen], predicted[seen], labels=list(codes))
        found = table[table["task"] == task.name].pivot_table(
            index="observed", columns="predicted", values="n_cells", fill_value=0
        )
        found = found.reindex(index=task.categories, columns=task.categories, fill_value=0)
        np.testing.assert_array_equal(found, expected)


def test_confusion_of_numbers_is_empty(make_adata: Any, make_answers: Any) -> None:
    problem = Problem.from_adata(make_adata(), {"continuous": ["score_0"]})
    table = judged(problem, make_answers(problem)).confusion
    assert len(table) == 0
    assert list(table.columns) == ["task", "observed", "predicted", "n_cells"]


def test_held_out_predictions_are_labels_and_values(
    problem: Problem, answers: Answers, judgement: Judgement
) -> None:
    table = judgement.held_out
    assert list(table.columns) == ["task_0", "task_1", "score_0"]
    assert list(table.index) == list(problem.obs_names[answers.split.validation])
    predictions = answers.predict(4)
    for position, task in enumerate(problem.tasks[:2]):
        names = np.array(task.categories)[predictions[position].argmax(axis=1)]
        assert list(table[task.name]) == list(names)
        assert list(table[task.name].cat.categories) == list(task.categories)
    np.testing.assert_array_equal(table["score_0"], predictions[2])


def test_path_of_the_network_matches_sklearns(
    problem: Problem, answers: Answers, judgement: Judgement
) -> None:
    path = judgement.path[judgement.path["predictor"] == "network"]
    assert list(path["n_genes"].unique()) == path_sizes(6)[::-1]
    assert len(path) == 3 * len(path_sizes(6))
    for row in path.itertuples():
        position = [task.name for task in problem.tasks].index(row.task)
        assert row.metric == ("r2" if row.task == "score_0" else "macro_f1")
        prediction = answers.by_size[row.n_genes][position]
        assert row.score == pytest.approx(score_of(problem, answers, position, prediction))
        assert (row.standard_error > 0) == (row.score < 1)


def test_path_of_larger_sizes_is_ridge_regression(
    problem: Problem, answers: Answers, judgement: Judgement
) -> None:
    path = judgement.path
    assert list(path["predictor"].unique()) == ["ridge", "network"]
    assert path["n_genes"].is_monotonic_decreasing
    larger = path[path["predictor"] == "ridge"]
    sizes = list(larger["n_genes"].unique())
    assert sizes[0] == 50
    assert sizes[-1] > 6
    expected = (6 * (50 / 6) ** (np.arange(1, 7) / 6)).round().astype(int)
    assert sizes == sorted(set(expected.tolist()), reverse=True)

    labels = problem.labels[2]
    train = answers.split.train[~np.isnan(labels[answers.split.train])]
    held_out = answers.split.validation[~np.isnan(labels[answers.split.validation])]
    for size in sizes:
        genes = answers.ranking[:size]
        x = problem.expression.take(None, genes).toarray().astype(float)
        learned = x[answers.split.train]
        x = (x - learned.mean(axis=0)) / np.maximum(learned.std(axis=0), 1e-9)
        x = x.clip(-10, 10)
        centred = x[train] - x[train].mean(axis=0)
        ridge = Ridge(0.3 * (centred**2).sum(axis=1).mean()).fit(x[train], labels[train])
        expected_score = r2_score(labels[held_out], ridge.predict(x[held_out]))
        row = larger[(larger["n_genes"] == size) & (larger["task"] == "score_0")].iloc[0]
        assert row["score"] == pytest.approx(expected_score, abs=1e-3)


def test_a_network_that_reads_all_genes_leaves_nothing_to_ridge(
    problem: Problem, answers: Answers
) -> None:
    path = judged(problem, replace(answers, n_trained=50)).path
    assert set(path["predictor"]) == {"network"}


def test_history_is_handed_on(answers: Answers, judgement: Judgement) -> None:
    pd.testing.assert_frame_equal(judgement.history, answers.history)
    assert judgement.n_genes == 4


def test_held_out_cells_are_predicted_once_if_all_are_on_the_path(
    problem: Problem, answers: Answers
) -> None:
    def never(n_genes: int) -> Any:
        raise AssertionError(f"asked for {n_genes} genes")

    judged(problem, replace(answers, predict=never))


def test_all_held_out_cells_are_scored_though_few_are_on_the_path(
    problem: Problem, make_answers: Callable[..., Answers], judgement: Judgement
) -> None:
    answers = make_answers(problem, share_on_path=0.4)
    few = judged(problem, answers)
    for name in ("tasks", "metrics", "confusion", "held_out"):
        pd.testing.assert_frame_equal(getattr(few, name), getattr(judgement, name))
    path = few.path[few.path["predictor"] == "network"]
    row = path[(path["task"] == "task_0") & (path["n_genes"] == 6)].iloc[0]
    assert row["score"] == pytest.approx(score_of(problem, answers, 0, answers.by_size[6][0]))


def test_the_size_is_chosen_from_the_path(problem: Problem, answers: Answers) -> None:
    found = judged(problem, answers, "auto")
    samples = Samples(np.arange(53), np.random.default_rng(3))
    labels = [labels[answers.split.validation] for labels in problem.labels]
    assert found.n_genes == choose_size(problem.tasks, labels, answers.by_size, samples)
    expected = judged(problem, answers, found.n_genes)
    pd.testing.assert_frame_equal(found.metrics, expected.metrics)
    pd.testing.assert_frame_equal(found.held_out, expected.held_out)


def test_the_chosen_size_holds_all_required_genes(problem: Problem, answers: Answers) -> None:
    required = np.arange(50) < 5
    rules = replace(problem.rules, required=required)
    best = dict.fromkeys(answers.by_size, answers.by_size[6])  # 1 gene would do
    assert judged(problem, replace(answers, by_size=best), "auto").n_genes == 1
    asked = replace(problem, rules=rules)
    assert judged(asked, replace(answers, by_size=best), "auto").n_genes == 5


def test_groups_widen_the_errors(problem: Problem, answers: Answers, judgement: Judgement) -> None:
    grouped = judged(problem.holding_out("donor"), answers)
    pd.testing.assert_series_equal(grouped.path["score"], judgement.path["score"])
    assert (grouped.path["standard_error"] != judgement.path["standard_error"]).any()


def test_of_one_group_the_path_has_no_errors(problem: Problem, answers: Answers) -> None:
    donor = problem.tables.obs["donor"] == "donor_0"
    validation, train = np.flatnonzero(donor), np.flatnonzero(~donor)
    whole = replace(answers, split=type(answers.split)(train, validation))
    n_held_out = len(validation)
    by_size = {size: [p[:n_held_out] for p in shot] for size, shot in answers.by_size.items()}
    whole = replace(whole, by_size=by_size, on_path=np.arange(n_held_out))
    grouped = problem.holding_out("donor")
    assert judged(grouped, whole).path["standard_error"].isna().all()


def test_of_one_group_the_cells_tell_how_large_a_panel_need_be(
    problem: Problem, make_answers: Callable[..., Answers]
) -> None:
    """The largest size is the best by one cell, which is no more than chance."""
    answers = make_answers(problem)
    validation = answers.split.validation
    codes, wrong = problem.labels[0][validation], problem.labels[0][validation].copy()
    seen = np.flatnonzero(codes >= 0)
    wrong[seen[:10]] = (codes[seen[:10]] + 1) % 4
    better = wrong.copy()
    better[seen[0]] = codes[seen[0]]
    alone = replace(
        problem,
        tasks=problem.tasks[:1],
        labels=problem.labels[:1],
        tables=problem.tables[:, :].copy(),
        split_key="all",
    )
    alone.tables.obs["all"] = "one group"
    by_size = {size: [np.eye(4)[wrong]] for size in answers.by_size}
    by_size[6] = [np.eye(4)[better]]
    assert judged(alone, replace(answers, by_size=by_size), "auto").n_genes == 1


def test_the_generator_decides_on_the_samples_only(
    problem: Problem, answers: Answers, judgement: Judgement
) -> None:
    same, other = judged(problem, answers), judged(problem, answers, seed=1)
    pd.testing.assert_frame_equal(same.path, judgement.path)
    pd.testing.assert_frame_equal(other.metrics, judgement.metrics)
    pd.testing.assert_series_equal(other.path["score"], judgement.path["score"])
    assert (other.path["standard_error"] != judgement.path["standard_error"]).any()


def test_without_held_out_cells_nothing_is_judged(
    problem: Problem, make_answers: Callable[..., Answers]
) -> None:
    found = judged(problem, make_answers(problem, share_held_out=0.0))
    assert found.metrics.drop(columns="n_cells").isna().all(axis=None)
    assert (found.metrics["n_cells"] == 0).all()
    assert found.path[["score", "standard_error"]].isna().all(axis=None)
    assert len(found.confusion) == len(found.held_out) == 0
    assert (found.tasks["n_validation"] == 0).all()
