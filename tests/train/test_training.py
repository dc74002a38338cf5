"""A training ranks all genes, leaves what it was given as it is, and can be repeated."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import f1_score, r2_score

from yoto_sc.judge import all_cells, path_sizes
from yoto_sc.nn import Annealing
from yoto_sc.teach import Lesson, prepare
from yoto_sc.train._start import screen

if TYPE_CHECKING:
    from collections.abc import Callable

    from yoto_sc._problem import Problem
    from yoto_sc.judge import Selection, Split
    from yoto_sc.train import Trained, Training


def run(training: Training, split: Split, seed: int = 1, **options: Any) -> Trained:
    return training.run(Lesson.of(training.problem, split), np.random.default_rng(seed), **options)


def assert_same_network(one: Trained, other: Trained) -> None:
    np.testing.assert_array_equal(one.ranking, other.ranking)
    ours, theirs = one.module.state_dict(), other.module.state_dict()
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        assert torch.equal(tensor, theirs[name]), name


# --- run ---


def test_the_ranking_covers_all_allowed_genes(trained: Trained) -> None:
    assert sorted(trained.ranking) == list(range(50))
    assert trained.module.n_genes == 6
    assert not trained.module.training


def test_the_network_reads_the_first_genes(problem: Problem, trained: Trained) -> None:
    cells = trained.data.validation.batch(np.arange(3))["X"]
    expected = problem.expression.take(trained.lesson.split.validation[:3], trained.ranking[:6])
    np.testing.assert_array_equal(cells, expected.toarray())
    values = problem.expression.take(trained.lesson.split.train, trained.ranking[:6]).toarray()
    np.testing.assert_allclose(trained.module.encoder.mean, values.mean(axis=0), rtol=1e-4)


@pytest.mark.parametrize("excluded", [5, 40])
def test_forbidden_genes_are_not_ranked(
    problem: Problem, split: Split, make_training: Callable[..., Training], excluded: int
) -> None:
    allowed = np.arange(50) >= excluded
    rules = replace(problem.rules, limits={"exclude": allowed})
    ranked = run(make_training(replace(problem, rules=rules), max_steps=4), split).ranking
    assert sorted(ranked) == np.flatnonzero(allowed).tolist()


def test_a_known_screening_changes_nothing(
    problem: Problem, training: Training, split: Split, trained: Trained
) -> None:
    screening = screen([Lesson.of(problem, one) for one in (split, all_cells(160))])[0]
    assert_same_network(run(training, split, screening=screening), trained)


def test_the_generator_decides(training: Training, split: Split, trained: Trained) -> None:
    assert_same_network(run(training, split), trained)
    other = run(training, split, seed=2)
    assert not torch.equal(other.module.encoder.weight, trained.module.encoder.weight)


def test_the_network_to_start_from_is_left_as_it_is(training: Training, split: Split) -> None:
    before = {name: tensor.clone() for name, tensor in training.module.state_dict().items()}
    found = run(training, split)
    assert found.module is not training.module
    assert training.module.n_genes == 48
    for name, tensor in training.module.state_dict().items():
        assert torch.equal(tensor, before[name]), name


def test_torchs_and_numpys_own_generators_are_left_alone(training: Training, split: Split) -> None:
    torch.manual_seed(5)
    np.random.seed(5)  # noqa: NPY002
    before = torch.random.get_rng_state(), np.random.get_state()[1].tolist()  # noqa: NPY002
    run(training, split)
    assert torch.equal(torch.random.get_rng_state(), before[0])
    assert np.random.get_state()[1].tolist() == before[1]  # noqa: NPY002


def test_more_training_fits_better(
    problem: Problem, split: Split, make_training: Callable[..., Training]
) -> None:
    history = run(make_training(problem, max_steps=200), split).history
    assert history["train_loss"].iloc[-1] < 0.85 * history["train_loss"].iloc[0]
    assert history["validation_score"].iloc[-1] > 0.2


def test_without_held_out_cells_nothing_is_watched(
    problem: Problem, make_training: Callable[..., Training]
) -> None:
    found = run(make_training(problem, max_steps=4), all_cells(160))
    assert found.history[["validation_loss", "validation_score"]].isna().all(axis=None)
    assert np.isfinite(found.history["train_loss"]).all()


def test_held_out_cells_do_not_change_the_network(
    problem: Problem, split: Split, make_training: Callable[..., Training]
) -> None:
    labels = []
    for array in problem.labels:
        changed = array.copy()
        changed[split.validation] = array[split.validation][::-1]
        labels.append(changed)
    other = replace(problem, labels=tuple(labels))
    one, two = (run(make_training(p, max_steps=10), split) for p in (problem, other))
    assert_same_network(one, two)
    assert list(one.history["validation_loss"]) != list(two.history["validation_loss"])


def test_noise_draws_the_same_cells(
    problem: Problem, split: Split, make_training: Callable[..., Training]
) -> None:
    drawn: dict[str | None, list[Any]] = {}
    for robust in ("thin", "technology"):
        found = run(make_training(problem, max_steps=3, robust=robust), split)
        drawn[robust] = [found.data._next_batch()["task_0"].tolist() for _ in range(5)]
    assert drawn["thin"] == drawn["technology"]


# --- answers ---


def test_answers_are_of_the_calibrated_network(problem: Problem, trained: Trained) -> None:
    answers = trained.answers(1)
    assert list(answers.by_size) == path_sizes(6)
    assert answers.n_trained == 6
    np.testing.assert_array_equal(answers.ranking, trained.ranking)
    np.testing.assert_array_equal(answers.on_path, np.arange(len(trained.lesson.split.validation)))
    assert answers.split is trained.lesson.split
    pd.testing.assert_frame_equal(answers.history, trained.history)
    for size, predictions in answers.by_size.items():
        for ours, theirs, task in zip(
            predictions, answers.predict(size), problem.tasks, strict=True
        ):
            np.testing.assert_array_equal(ours, theirs)
            assert len(ours) == len(trained.lesson.split.validation)
            if task.categories:
                np.testing.assert_allclose(ours.sum(axis=1), 1, rtol=1e-4)
    assert (trained.module.heads[0].temperature != 1).any()


# --- fit ---


@pytest.fixture(scope="module")
def fitted(training: Training, split: Split) -> tuple[Trained, Selection]:
    """Trained and judged on the split; not to be changed."""
    outcome = training.fit(split, np.random.default_rng(1), 6, refit=False)
    return outcome.trained, outcome.selection


@pytest.fixture(scope="module")
def refitted(training: Training, split: Split) -> tuple[Trained, Selection]:
    """The same, and trained on all cells in the end."""
    outcome = training.fit(split, np.random.default_rng(1), 6, refit=True)
    return outcome.trained, outcome.selection


def test_the_selection_is_that_of_the_training(
    problem: Problem, fitted: tuple[Trained, Selection]
) -> None:
    found, selection = fitted
    genes = list(problem.var_names[found.ranking])
    assert selection.panel.genes == genes[:6]
    ranks = selection.panel.table["rank"].dropna().sort_values()
    assert list(ranks.index) == genes
    assert (selection.source, selection.is_counts, selection.n_trained) == ("X", True, 6)
    assert list(selection.attribution.index) == genes[:6]
    assert list(selection.held_out.index) == list(problem.obs_names[found.lesson.split.validation])


def test_scores_are_those_of_the_network_on_held_out_cells(
    problem: Problem, fitted: tuple[Trained, Selection]
) -> None:
    found, selection = fitted
    values = problem.expression.take(found.lesson.split.validation, found.ranking[:6]).toarray()
    predictions = found.module.predict(torch.from_numpy(values))[0]
    for position, name in ((0, "task_0"), (2, "score_0")):
        labels = problem.labels[position][found.lesson.split.validation]
        prediction = predictions[position].numpy()
        if position == 0:
            seen = labels >= 0
            expected = f1_score(
                labels[seen],
                prediction[seen].argmax(axis=1),
                labels=np.unique(labels[seen]),
                average="macro",
            )
            assert selection.metrics.loc[name, "macro_f1"] == pytest.approx(expected)
        else:
            seen = ~np.isnan(labels)
            expected = r2_score(labels[seen], prediction[seen])
            assert selection.metrics.loc[name, "r2"] == pytest.approx(expected, rel=1e-4)


def test_losses_without_a_gene_are_falls_of_the_score(
    problem: Problem, fitted: tuple[Trained, Selection]
) -> None:
    found, selection = fitted
    values = problem.expression.take(found.lesson.split.validation, found.ranking[:6]).toarray()
    labels = problem.labels[2][found.lesson.split.validation]
    seen = ~np.isnan(labels)
    genes = list(problem.var_names[found.ranking[:6]])
    losses = selection.without.set_index(["task", "gene"])["loss"]["score_0"]
    whole = selection.metrics.loc["score_0", "r2"]
    for position, gene in enumerate(genes):
        measured = torch.arange(6) != position
        prediction = found.module.predict(torch.from_numpy(values), 6, measured)[0][2].numpy()
        expected = whole - r2_score(labels[seen], prediction[seen])
        assert losses[gene] == pytest.approx(expected, abs=1e-4)


def test_a_refit_is_a_training_on_all_cells_with_the_recipes_seed(
    problem: Problem, make_training: Callable[..., Training], refitted: tuple[Trained, Selection]
) -> None:
    found, selection = refitted
    np.testing.assert_array_equal(found.lesson.split.train, np.arange(160))
    whole = make_training(problem).run(found.lesson, np.random.default_rng(0))
    np.testing.assert_array_equal(found.ranking, whole.ranking)
    assert torch.equal(found.module.encoder.weight, whole.module.encoder.weight)
    assert selection.panel.genes == list(problem.var_names[whole.ranking[:6]])


def test_a_refit_is_scored_and_calibrated_by_the_first_training(
    fitted: tuple[Trained, Selection], refitted: tuple[Trained, Selection]
) -> None:
    for name in ("tasks", "metrics", "path", "history", "confusion", "held_out"):
        pd.testing.assert_frame_equal(getattr(refitted[1], name), getattr(fitted[1], name))
    for ours, theirs in zip(refitted[0].module.heads, fitted[0].module.heads, strict=True):
        if ours.temperature is not None:
            assert torch.equal(ours.temperature, theirs.temperature)


def test_teachers_are_fitted_as_part_of_a_training(
    problem: Problem,
    split: Split,
    make_training: Callable[..., Training],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Scikit-learn puts filters of warnings back: those of a training beside it must be there."""
    asked = []

    def heeding(*args: Any, **kwargs: Any) -> Lesson:
        warnings.warn(
            "`isinstance(treespec, LeafSpec)` is deprecated", FutureWarning, stacklevel=1
        )
        asked.append(kwargs["unlabeled_cells"])
        return prepare(*args, **kwargs)

    monkeypatch.setattr("yoto_sc.train._training.prepare", heeding)
    make_training(problem, max_steps=2).fit(split, np.random.default_rng(1), 6, refit=True)
    assert asked == ["auto", "auto"]


def test_without_held_out_cells_there_is_nothing_to_refit(
    problem: Problem, make_training: Callable[..., Training]
) -> None:
    training = make_training(problem, max_steps=4)
    outcome = training.fit(all_cells(160), np.random.default_rng(1), 6, refit=True)
    found, selection = outcome.trained, outcome.selection
    np.testing.assert_array_equal(found.lesson.split.train, np.arange(160))
    once = training.run(found.lesson, np.random.default_rng(1))
    np.testing.assert_array_equal(found.ranking, once.ranking)
    assert selection.metrics.drop(columns="n_cells").isna().all(axis=None)
    assert len(selection.without) == 6 * 3  # on the cells that it learned from
    assert np.isfinite(selection.without["loss"]).all()


def test_the_size_may_be_chosen(
    problem: Problem, split: Split, make_training: Callable[..., Training]
) -> None:
    outcome = make_training(problem).fit(split, np.random.default_rng(1), "auto", refit=False)
    found, selection = outcome.trained, outcome.selection
    assert selection.n_trained == found.module.n_genes == 6
    n_genes = selection.panel.n_genes
    assert n_genes in path_sizes(6)
    network = selection.path[selection.path["predictor"] == "network"]
    score = network.pivot_table(index="n_genes", values="score")["score"]
    assert score[n_genes] <= score.max()
    assert list(selection.attribution.index) == selection.panel.genes


def test_tasks_that_nothing_tells_about_are_named(
    problem: Problem,
    split: Split,
    make_training: Callable[..., Training],
    caplog: pytest.LogCaptureFixture,
) -> None:
    noise = np.random.default_rng(0).permutation(problem.labels[1])
    mixed = replace(problem, labels=(problem.labels[0], noise, problem.labels[2]))
    training = make_training(mixed, max_steps=4)
    selection = training.fit(split, np.random.default_rng(1), 6, refit=False).selection
    assert "No gene tells more about 'task_1' than chance" in caplog.text
    assert "'task_0'" not in caplog.text
    assert "task_1" not in set(selection.attribution["task"])


def test_a_mask_of_fixed_size(
    problem: Problem, split: Split, make_training: Callable[..., Training]
) -> None:
    """As in the YOTO paper."""
    training = make_training(
        problem, annealing=Annealing(6, 6), selection_network="encoder", max_steps=10
    )
    found = run(training, split)
    assert (found.history["n_genes"] == 6).all()
    assert sorted(found.ranking) == list(range(50))
