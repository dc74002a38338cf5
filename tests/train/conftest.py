"""A small problem, and a training for it that is run once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from yoto_sc._problem import Problem
from yoto_sc.judge import Split, split_cells
from yoto_sc.nn import Annealing
from yoto_sc.teach import Lesson
from yoto_sc.train import Recipe, Training, YOTOModule, start_length

if TYPE_CHECKING:
    from collections.abc import Callable

    from anndata import AnnData

    from yoto_sc.train import Trained

KEYS = {"categorical": ["task_0", "task_1"], "continuous": ["score_0"]}
N_GENES = 6


@pytest.fixture(scope="session")
def problem(make_adata: Callable[..., AnnData]) -> Problem:
    """160 cells, 50 genes, and the tasks ``task_0``, ``task_1`` and ``score_0``."""
    return Problem.from_adata(make_adata(), KEYS)


@pytest.fixture(scope="session")
def split(problem: Problem) -> Split:
    """A fifth of the cells is held out."""
    rng = np.random.default_rng(0)
    return split_cells(problem.tasks, problem.labels, None, 0.2, rng)


@pytest.fixture(scope="session")
def make_module() -> Callable[..., YOTOModule]:
    """Make a network of the size that a training of `n_genes` for a problem starts from."""

    def make(problem: Problem, n_genes: int = N_GENES, seed: int = 0) -> YOTOModule:
        return YOTOModule(
            min(int(problem.rules.allowed.sum()), start_length(n_genes)),
            problem.tasks,
            n_hidden=8,
            n_members=2,
            generator=torch.Generator().manual_seed(seed),
        )

    return make


@pytest.fixture(scope="session")
def make_training(make_module: Callable[..., YOTOModule]) -> Callable[..., Training]:
    """Make a short training on the CPU."""

    def make(problem: Problem, n_genes: int = N_GENES, **recipe: Any) -> Training:
        module = make_module(problem, n_genes)
        annealing = Annealing(min(4 * n_genes, module.n_genes), n_genes)
        defaults = {"annealing": annealing, "max_steps": 40, "batch_size": 32}
        options = {**defaults, "accelerator": "cpu", "progress_bar": False, **recipe}
        return Training(problem, Recipe(**options), module)

    return make


@pytest.fixture(scope="session")
def training(problem: Problem, make_training: Callable[..., Training]) -> Training:
    """A training for 6 genes."""
    return make_training(problem)


@pytest.fixture(scope="session")
def trained(training: Training, split: Split) -> Trained:
    """What it came to; not to be changed."""
    return training.run(Lesson.of(training.problem, split), np.random.default_rng(1))
