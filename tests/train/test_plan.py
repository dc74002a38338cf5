"""The panel shrinks along its annealing, and keeps to the rules at every moment."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import Callback

from yoto_sc.nn import Annealing, Linear
from yoto_sc.rules import Cap
from yoto_sc.teach import Lesson
from yoto_sc.train import SelectionTrainingPlan
from yoto_sc.train._start import find_start, screen

if TYPE_CHECKING:
    from collections.abc import Callable

    from yoto_sc._problem import Problem
    from yoto_sc.judge import Split
    from yoto_sc.train import Trained, Training


class Watch(Callback):
    """Notes genes, scores and weights at the end of every epoch."""

    def __init__(self) -> None:
        self.genes: list[Any] = []
        self.sizes: list[int] = []
        self.scores: list[Any] = []
        self.learned: list[bool] = []
        self.linear: list[bool] = []

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        module = pl_module.module
        self.genes.append(pl_module.genes.copy())
        self.sizes.append(pl_module.size)
        self.scores.append(module.selector.scores.detach().clone())
        self.learned.append(bool(module.selector.scores.requires_grad))
        self.linear.append(bool(module.encoder.presence.any()))


def watched(training: Training, split: Split, seed: int = 1) -> tuple[Watch, Trained]:
    watch = Watch()
    recipe = replace(training.recipe, trainer_kwargs={"callbacks": [watch]})
    lesson = Lesson.of(training.problem, split)
    trained = replace(training, recipe=recipe).run(lesson, np.random.default_rng(seed))
    return watch, trained


@pytest.fixture(scope="module")
def seen(training: Training, split: Split) -> tuple[Watch, Trained]:
    """The course of a training; not to be changed."""
    return watched(training, split)


def test_sizes_shrink_along_the_annealing(training: Training, seen: tuple[Watch, Trained]) -> None:
    watch, trained = seen
    annealing, history = training.recipe.annealing, trained.history
    assert (history["n_genes"].diff().dropna() <= 0).all()
    assert history["n_genes"].iloc[-1] == 6
    for step, size in zip(history["step"], history["n_genes"], strict=True):
        assert size == annealing.size(step / 40)
    assert watch.sizes == history["n_genes"].tolist()
    assert history["n_genes"].iloc[0] > 6


def test_genes_are_dropped_for_good(training: Training, seen: tuple[Watch, Trained]) -> None:
    watch, _ = seen
    for before, after, size in zip(watch.genes, watch.genes[1:], watch.sizes, strict=False):
        assert set(after) <= set(before)
        assert len(after) >= min(size, len(before)) or len(after) == 6
    assert len(watch.genes[0]) > len(watch.genes[-1]) == 6
    for size, genes in zip(watch.sizes, watch.genes[1:], strict=False):
        assert len(genes) <= round(2 * size) / 0.75  # but few are not worth the work
    assert len({len(genes) for genes in watch.genes}) > 3
    assert all(len(genes) >= size for genes, size in zip(watch.genes, watch.sizes, strict=True))


def test_the_ranking_is_a_permutation_that_ends_with_the_first_dropped(
    seen: tuple[Watch, Trained],
) -> None:
    watch, trained = seen
    plan = trained.trainer.lightning_module
    assert sorted(plan.ranking) == list(range(48))
    np.testing.assert_array_equal(plan.ranking[:6], plan.genes)
    place = np.argsort(plan.ranking)
    for before, after in zip(watch.genes, watch.genes[1:], strict=False):
        dropped = np.setdiff1d(before, after)
        if len(dropped):
            assert place[dropped].min() > place[after].max()


def test_history_has_a_row_for_each_epoch(seen: tuple[Watch, Trained]) -> None:
    watch, trained = seen
    history = trained.history
    assert list(history.columns) == [
        *("step", "n_genes", "train_loss", "validation_loss", "validation_score")
    ]
    assert len(history) == len(watch.genes) == 40
    assert history["step"].tolist() == list(range(1, 41))
    assert np.isfinite(history).all(axis=None)
    assert (history["validation_score"] <= 1).all()
    assert (history["train_loss"] > 0).all()


@pytest.mark.parametrize("max_steps", [1, 7, 41, 50, 90])
def test_every_number_of_steps(
    problem: Problem, split: Split, make_training: Callable[..., Training], max_steps: int
) -> None:
    history = (
        make_training(problem, max_steps=max_steps)
        .run(Lesson.of(problem, split), np.random.default_rng(1))
        .history
    )
    assert history["step"].iloc[-1] == max_steps
    assert (history["step"].diff().dropna() > 0).all()
    assert np.isfinite(history["train_loss"]).all()
    assert len(history) <= 40


def test_scores_learn_until_the_panel_is_final(
    training: Training, seen: tuple[Watch, Trained]
) -> None:
    watch, _ = seen
    selecting = [training.recipe.annealing.is_selecting(epoch / 40) for epoch in range(40)]
    assert watch.learned == selecting
    first_final = selecting.index(False)
    for before, after in zip(
        watch.scores[first_final:], watch.scores[first_final + 1 :], strict=False
    ):
        assert torch.equal(before, after)
    assert not torch.equal(watch.scores[0], watch.scores[1])


def test_linear_models_select_and_the_whole_network_starts_anew(
    problem: Problem,
    split: Split,
    make_training: Callable[..., Training],
    seen: tuple[Watch, Trained],
) -> None:
    """The presence of genes is of no use to linear models, and starts at zero."""
    assert seen[0].linear == [not learned for learned in seen[0].learned]
    whole, _ = watched(make_training(problem, selection_network="encoder"), split)
    assert all(whole.linear)


def test_required_genes_stay(
    problem: Problem, split: Split, make_training: Callable[..., Training], trained: Trained
) -> None:
    worst = trained.ranking[-3:]
    rules = replace(problem.rules, required=np.isin(np.arange(50), worst))
    watch, found = watched(make_training(replace(problem, rules=rules)), split)
    assert set(worst) <= set(found.ranking[:6])
    assert set(worst) == set(found.ranking[:3])  # required genes come first
    for genes in watch.genes:
        start = np.sort(np.setdiff1d(found.ranking, found.ranking[48:]))
        assert set(worst) <= set(start[genes])


@pytest.mark.parametrize("bound", [9.0, 14.0])
def test_caps_hold(
    problem: Problem, split: Split, make_training: Callable[..., Training], bound: float
) -> None:
    """At the end by the panel, and on the way by some panel of the genes that are left."""
    costs = np.random.default_rng(0).integers(1, 9, 50).astype(float)
    lesson = Lesson.of(problem, split)
    free = make_training(problem).run(lesson, np.random.default_rng(1)).ranking[:6]
    rules = replace(problem.rules, caps={"budget": Cap(costs, bound)})
    watch, found = watched(make_training(replace(problem, rules=rules)), split)
    assert costs[found.ranking[:6]].sum() <= bound
    assert costs[free].sum() > bound
    start = np.sort(found.ranking[:48])
    for genes in watch.genes:
        assert np.sort(costs[start[genes]])[:6].sum() <= bound
    assert sorted(found.ranking) == list(range(50))


def test_preferred_genes_are_selected(
    problem: Problem, split: Split, make_training: Callable[..., Training], trained: Trained
) -> None:
    preference, outside = np.ones(50), trained.ranking[6:8]
    preference[outside] = 1e8
    rules = replace(problem.rules, preference=preference)
    preferring = replace(problem, rules=rules)
    lesson = Lesson.of(preferring, split)
    found = make_training(preferring).run(lesson, np.random.default_rng(1))
    assert set(outside) <= set(found.ranking[:6])


def make_plan(training: Training, split: Split) -> SelectionTrainingPlan:
    """Put a plan together without running it."""
    from copy import deepcopy

    from yoto_sc.train._batches import SelectionData

    lesson, recipe = Lesson.of(training.problem, split), training.recipe
    rng = np.random.default_rng(0)
    screening = screen([lesson])[0]
    start = find_start(lesson, screening, recipe.annealing.n_genes, 0.5, rng)
    data = SelectionData(lesson, start.genes, recipe, 2, rng)
    module = deepcopy(training.module)
    module.begin(start, data.train.moments(), data.train.labels)
    return SelectionTrainingPlan(module, data, start, recipe)


def test_a_plan_begins_with_the_genes_of_the_start(training: Training, split: Split) -> None:
    plan = make_plan(training, split)
    assert plan.genes.tolist() == plan.ranking.tolist() == list(range(48))
    assert plan.size == training.recipe.annealing.size(0)
    assert plan.history.empty
    assert plan.told.all()


def test_parameters_are_learned_in_three_groups(training: Training, split: Split) -> None:
    plan = make_plan(training, split)
    optimizer = plan.configure_optimizers()
    decayed, others, scores = optimizer.param_groups
    assert decayed["weight_decay"] == training.recipe.weight_decay
    assert others["weight_decay"] == scores["weight_decay"] == 0
    assert scores["params"] == [plan.module.selector.scores]
    names = {id(parameter): name for name, parameter in plan.module.named_parameters()}
    assert {names[id(p)].rpartition(".")[2] for p in decayed["params"]} == {
        *("weight", "presence", "skip")
    }
    every = [*decayed["params"], *others["params"], *scores["params"]]
    assert {id(p) for p in every} == names.keys()
    assert len(every) == len(names)
    n_train = len(split.train)
    assert scores["lr"] == pytest.approx(min(5e-3, 3e-6 * n_train / 6))


def test_the_rate_of_the_scores_may_be_given(
    problem: Problem, split: Split, make_training: Callable[..., Training]
) -> None:
    plan = make_plan(make_training(problem, score_lr=0.25), split)
    assert plan.configure_optimizers().param_groups[2]["lr"] == 0.25


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_refining_shows_prefixes_of_the_panel(
    problem: Problem, split: Split, make_training: Callable[..., Training], share: float
) -> None:
    plan = make_plan(make_training(problem, full_panel_share=share), split)
    plan.on_fit_start()
    masks = torch.cat([plan._random_prefixes() for _ in range(200)])
    assert masks.shape == (400, 1, 48)
    sizes = masks.sum(-1).ravel()
    assert (masks.diff(dim=-1) <= 0).all()  # the best genes, without a gap
    if share == 1:
        assert (sizes == 48).all()
    else:
        assert sizes.min() == 1
        assert 0.4 < (sizes < 48**0.5).float().mean() < 0.6  # log-uniform


def test_noise_comes_from_the_seed_of_the_recipe(
    problem: Problem, split: Split, make_training: Callable[..., Training]
) -> None:
    """With all else alike, another seed draws other noise on the scores."""
    annealing = Annealing(24, 6, noise=Linear(2.0, 0.5))
    options = {"annealing": annealing, "max_steps": 20, "score_lr": 0.1}
    one, same, other = (
        watched(make_training(problem, seed=seed, **options), split)[0].scores[4]
        for seed in (0, 0, 1)
    )
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
