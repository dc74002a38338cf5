"""From a problem and a recipe to a ranked, trained and judged network."""

from __future__ import annotations

import logging
from copy import deepcopy
from dataclasses import dataclass
from itertools import compress
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch

from yoto_sc.judge import (
    Answers,
    Selection,
    all_cells,
    at_most,
    attribute,
    judge,
    panel_table,
    path_sizes,
    without_table,
)
from yoto_sc.train._batches import SelectionData
from yoto_sc.train._module import X_KEY
from yoto_sc.train._plan import SelectionTrainingPlan
from yoto_sc.train._progress import SelectionProgress
from yoto_sc.train._run import run
from yoto_sc.train._start import find_start, screen
from yoto_sc.train._temperature import calibrate, copy_temperatures

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scvi.train import Trainer

    from yoto_sc._problem import Problem
    from yoto_sc.judge import Judgement, Split
    from yoto_sc.select import Screening
    from yoto_sc.train._module import YOTOModule
    from yoto_sc.train._recipe import Recipe

logger = logging.getLogger(__name__)

_JUDGED_CELLS = 2000
"""Where no cell is held out, losses are taken on at most this many training cells."""


@dataclass(frozen=True)
class Trained:
    """What a training came to."""

    plan: SelectionTrainingPlan  # over, and narrowed to the trained genes in rank order
    data: SelectionData  # narrowed likewise
    split: Split
    ranking: NDArray[np.intp]  # indices of the ranked genes, best first
    trainer: Trainer

    @property
    def module(self) -> YOTOModule:
        """The network."""
        return self.plan.module

    def answers(self, smallest: int) -> Answers:
        """Calibrate the network on the cells it has not seen, and ask it about them.

        Parameters
        ----------
        smallest
            A panel size to ask for in any case.
        """
        held_out, watched = self.data.validation, self.data.watched
        values = held_out.batch(watched)[X_KEY].to(self.module.device)
        labels = [array[watched] for array in held_out.labels]
        sizes = path_sizes(self.module.n_genes, smallest)

        def predict(n_genes: int) -> list[NDArray[Any]]:
            def values(cells: slice) -> NDArray[np.float32]:
                return held_out.batch(np.arange(len(held_out))[cells])[X_KEY].numpy()

            return self.module.predict_all(len(held_out), values, n_genes)[0]

        return Answers(
            split=self.split,
            ranking=self.ranking,
            n_trained=self.module.n_genes,
            on_path=watched,
            by_size=calibrate(self.module, values, labels, sizes),
            predict=predict,
            history=self.plan.history,
        )


@dataclass(frozen=True)
class Training:
    """A training as it is to be run, on whatever cells, from `module`, which is left as it is."""

    problem: Problem
    recipe: Recipe
    module: YOTOModule

    def run(
        self,
        split: Split,
        rng: np.random.Generator,
        *,
        screening: Screening | None = None,
        description: str = "Selecting genes",
    ) -> Trained:
        """Train on the training cells of `split`.

        Raises
        ------
        KeyboardInterrupt
            The user stopped the training.
        """
        problem, recipe = self.problem, self.recipe
        start = find_start(
            problem,
            screen(problem, [split])[0] if screening is None else screening,
            split.train,
            recipe.annealing.n_genes,
            self.module.class_weight_power,
            rng.spawn(1)[0],
        )
        data = SelectionData(problem, start.genes, split, recipe, self.module.n_members, rng)
        module = deepcopy(self.module)
        module.levels = problem.levels
        module.begin(start, data.train.moments(), data.train.labels)
        plan = SelectionTrainingPlan(module, data, start, recipe)
        kwargs = dict(recipe.trainer_kwargs)
        progress = SelectionProgress(plan, description, bar=recipe.progress_bar)
        trainer = run(
            plan,
            data,
            max_epochs=data.n_epochs,
            accelerator=recipe.accelerator,
            devices=1 if recipe.devices == "auto" else recipe.devices,
            callbacks=[*kwargs.pop("callbacks", []), progress],
            limit_val_batches=min(1, len(split.validation)),
            **kwargs,
        )
        module.eval()
        ranking = np.concatenate([start.genes[plan.ranking], start.others])
        return Trained(plan, data, split, ranking, trainer)

    def fit(
        self,
        split: Split,
        rng: np.random.Generator,
        n_genes: int | Literal["auto"],
        *,
        refit: bool,
    ) -> tuple[Trained, Selection]:
        """Train and judge on `split`; then, if asked, train once more, on all cells."""
        problem, recipe = self.problem, self.recipe
        judge_rng, describe_rng = rng.spawn(2)
        refit = refit and len(split.validation) > 0
        splits = [split, *([all_cells(problem.expression.n_obs)] if refit else [])]
        screenings = screen(problem, splits)
        judged = trained = self.run(split, rng, screening=screenings[0])
        answers = judged.answers(problem.rules.smallest_size)
        judgement = judge(problem, answers, n_genes, self.module.class_weight_power, judge_rng)
        if refit:
            trained = self.run(
                splits[1],
                np.random.default_rng(recipe.seed),
                screening=screenings[1],
                description="Selecting on all cells",
            )
            copy_temperatures(judged.module, trained.module)
        for task in compress(problem.tasks, ~trained.plan.told):
            logger.warning(
                "No gene tells more about %r than chance would: genes are selected for the other "
                "tasks.",
                task.name,
            )
        return trained, describe(problem, trained, answers, judgement, describe_rng)


def describe(
    problem: Problem,
    trained: Trained,
    answers: Answers,
    judgement: Judgement,
    rng: np.random.Generator,
) -> Selection:
    """Write down the panel of a finished training, and what its genes are for."""
    module, data, n_genes = trained.module, trained.data, judgement.n_genes
    genes = list(problem.var_names[trained.ranking[:n_genes]])
    values, labels = data.sample()
    attribution = attribute(
        values[:, :n_genes],
        labels,
        problem.tasks,
        trained.plan.told,
        genes,
        module.class_weight_power,
    )
    cells, index = data.validation, data.watched
    if not len(cells):
        cells, index = data.train, at_most(_JUDGED_CELLS, np.arange(len(data.train)), rng)
    judged = cells.batch(index)[X_KEY].to(module.device)

    def predict(measured: NDArray[np.bool_]) -> list[NDArray[Any]]:
        there = torch.from_numpy(measured).to(module.device)
        return [p.cpu().numpy() for p in module.predict(judged, n_genes, there)[0]]

    is_known = len(data.validation) > 0
    whole = answers.by_size[n_genes] if is_known else predict(np.ones(n_genes, dtype=bool))
    tables = {name: table for name, table in vars(judgement).items() if name != "n_genes"}
    return Selection(
        panel=panel_table(problem.var_names, trained.ranking, n_genes, attribution),
        n_trained=module.n_genes,
        is_counts=problem.expression.is_counts,
        source=problem.expression.source,
        attribution=attribution,
        without=without_table(
            problem.tasks, [array[index] for array in cells.labels], genes, whole, predict
        ),
        levels=problem.levels,
        **tables,
    )
