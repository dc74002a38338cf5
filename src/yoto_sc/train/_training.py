"""From a problem and a recipe to a ranked, trained and judged network."""

from __future__ import annotations

import logging
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import partial
from itertools import compress
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch

from yoto_sc._memory import give_back
from yoto_sc._progress import progress
from yoto_sc._workers import aside, may_move
from yoto_sc.assay import Novelty, Reference
from yoto_sc.judge import (
    Answers,
    Selection,
    all_cells,
    at_most,
    attribute,
    beyond_chance,
    judge,
    panel_table,
    path_sizes,
    without_table,
)
from yoto_sc.nn import Annealing
from yoto_sc.teach import Joint, fit_decoder, prepare
from yoto_sc.train._batches import SelectionData
from yoto_sc.train._module import X_KEY
from yoto_sc.train._plan import SelectionTrainingPlan
from yoto_sc.train._progress import SelectionProgress
from yoto_sc.train._run import one_more_training, run
from yoto_sc.train._start import LARGE_PANEL, Start, find_start, screen
from yoto_sc.train._temperature import calibrate, copy_temperatures

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pandas as pd
    from numpy.typing import NDArray
    from scvi.train import Trainer

    from yoto_sc._problem import Problem
    from yoto_sc.assay import Robust
    from yoto_sc.data import Levels
    from yoto_sc.judge import Judgement, Split
    from yoto_sc.select import Screening
    from yoto_sc.teach import Decoder, Lesson
    from yoto_sc.train._module import YOTOModule
    from yoto_sc.train._recipe import Recipe

logger = logging.getLogger(__name__)

_JUDGED_CELLS = 2000
"""Where no cell is held out, losses are taken on at most this many training cells."""
_ASKED_CELLS = 1000
"""What a large panel loses without each gene is told by at most so many."""
_DECODED_CELLS = 20_000
"""All genes are decoded by what at most so many cells tell."""
_COMPARED_CELLS = 5000
"""What is new is told from what at most so many training cells are like."""
_ELSEWHERE_SHARE = 0.35
"""So many steps, beside those of the selection, teach the network for other assays."""
_CELLS_ELSEWHERE, _ASSAYS_ELSEWHERE = 2000, 8
"""It is calibrated on so many held-out cells, drawn with replacement, in so many assays."""


@dataclass(frozen=True)
class Trained:
    """What a training came to."""

    module: YOTOModule  # narrowed to the trained genes in rank order
    data: SelectionData  # likewise
    told: NDArray[np.bool_]  # tasks that genes were selected for, (n_tasks,)
    history: pd.DataFrame  # the course of the training
    lesson: Lesson
    ranking: NDArray[np.intp]  # indices of the ranked genes, best first
    trainer: Trainer | None  # None: it was trained on a worker

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
        if self.module.robust is not None and len(watched) > 0:
            others, own = self.data.elsewhere(_CELLS_ELSEWHERE, _ASSAYS_ELSEWHERE)
            calibrate(self.module.robust, others.to(values.device), own, sizes)

        def predict(n_genes: int) -> list[NDArray[Any]]:
            def values(cells: slice) -> NDArray[np.float32]:
                found = held_out.batch(np.arange(len(held_out))[cells])[X_KEY]
                return found.numpy(force=True)

            return self.module.predict_all(len(held_out), values, n_genes)[0]

        return Answers(
            split=self.lesson.split,
            ranking=self.ranking,
            n_trained=self.module.n_genes,
            on_path=watched,
            by_size=calibrate(self.module, values, labels, sizes),
            predict=predict,
            history=self.history,
        )

    def reference(self) -> Reference:
        """Return what is remembered of the training cells."""
        values = self.data.sample()[0]
        predictions, _ = self.module.predict_all(
            len(values), values.__getitem__, self.module.n_genes
        )
        return Reference.of(values, predictions, self.module.tasks)

    def novelties(self, n_genes: int, judged: Trained | None = None) -> dict[int, Novelty]:
        """Return what tells how unlike its classes a cell is, by the position of the task.

        Parameters
        ----------
        n_genes
            Size of the panel.
        judged
            What did not see the held-out cells, which give the quantiles; `None`: the training
            cells do, which look a little more alike than others.
        """
        everything, labels = self.data.sample()
        n_cells = min(_COMPARED_CELLS, len(everything))
        cells = np.linspace(0, len(everything) - 1, n_cells).round().astype(np.intp)
        values = np.ascontiguousarray(everything[cells, :n_genes])
        predictions, latent = self.module.predict_all(len(values), values.__getitem__, n_genes)
        found = {}
        for position, task in enumerate(self.module.tasks):
            if task.categories:
                given, codes = labels[position][cells], predictions[position].argmax(axis=1)
                if given.ndim == 1:
                    codes = np.where(task.observed(given), given, codes)
                else:  # a teacher's probabilities, or none
                    codes = np.where(given.any(axis=1), given.argmax(axis=1), codes)
                found[position] = Novelty.of(values, latent, codes, task.n_outputs)
        if judged is None or not len(judged.data.watched):
            return found
        unseen = judged.data.validation.batch(judged.data.watched)[X_KEY].numpy(force=True)
        unseen = np.ascontiguousarray(unseen[:, :n_genes])
        predictions, latent = judged.module.predict_all(len(unseen), unseen.__getitem__, n_genes)
        own = found if judged is self else judged.novelties(n_genes)
        return {
            position: novelty.calibrated(
                own[position].distance(unseen, latent, predictions[position])
            )
            for position, novelty in found.items()
        }

    def joint(self, cells: NDArray[np.intp], total: float) -> Joint:
        """Put what the network predicts of the transcriptome beside the expression of all genes.

        Parameters
        ----------
        cells
            Indices of shape ``(n_cells,)``.
        total
            See :class:`~yoto_sc.teach.Decoder`.
        """
        problem, genes = self.lesson.problem, self.ranking[: self.module.n_genes]

        def values(rows: slice) -> NDArray[np.float32]:
            return problem.expression.take(cells[rows], genes).toarray()

        predictions, _ = self.module.predict_all(len(cells), values, len(genes))
        found = next(p for p, t in zip(predictions, problem.tasks, strict=True) if t.is_derived)
        return Joint.of(found, problem.expression, cells, total)


@dataclass(frozen=True)
class Training:
    """A training as it is to be run, on whatever cells, from `module`, which is left as it is."""

    problem: Problem
    recipe: Recipe
    module: YOTOModule

    @property
    def imitated(self) -> Robust | None:
        """Which other assays a second network learns from; `None`: there is no such network."""
        if self.recipe.robust == "auto":
            return "technology" if self.problem.expression.is_counts else None
        return self.recipe.robust

    def run(
        self,
        lesson: Lesson,
        rng: np.random.Generator,
        *,
        screening: Screening | None = None,
        among: NDArray[np.bool_] | None = None,
        description: str = "Selecting genes",
    ) -> Trained:
        """Train on the training cells of a lesson.

        Parameters
        ----------
        screening
            Of its genes, if that was done before.
        among
            Tasks that genes may be selected for, ``(n_tasks,)``; `None`: all.

        Raises
        ------
        KeyboardInterrupt
            The user stopped the training.
        """
        recipe = self.recipe
        with progress("Finding where to start", 1, "step", at_once=recipe.progress_bar):
            start = find_start(
                lesson,
                screen([lesson])[0] if screening is None else screening,
                recipe.annealing.n_genes,
                self.module.class_weight_power,
                rng.spawn(1)[0],
                among,
            )
        data = SelectionData(lesson, start.genes, recipe, self.module.n_members, rng)
        module = deepcopy(self.module)
        module.levels = lesson.problem.levels
        module.begin(start, data.train.moments(), data.train.labels)
        module.selector.scores.requires_grad_(not start.is_final)
        plan = SelectionTrainingPlan(module, data, start, recipe)
        trainer = self._run(plan, data, description, watched=len(data.validation) > 0)
        if (imitated := self.imitated) is not None:
            module.robust = self._elsewhere(module, data, start, imitated)
        module.eval()
        give_back()  # before another training
        ranking = np.concatenate([start.genes[plan.ranking], start.others])
        return Trained(module, data, start.told, plan.history, lesson, ranking, trainer)

    def refine(self, lesson: Lesson, levels: Levels, rng: np.random.Generator) -> Trained:
        """Train a network on all genes of a lesson, which stay in their order.

        Where assays are imitated, it sees nothing else: of few labels, it then learns less that
        does not hold. There is no other network beside it.

        Parameters
        ----------
        lesson
            Its labels may be probabilities.
        levels
            Which of its tasks lie within others.
        """
        expression = self.problem.expression
        genes = np.arange(expression.n_vars)
        start = Start(
            genes=genes,
            scores=np.linspace(1, 0, len(genes), dtype=np.float32),
            rules=self.problem.rules,
            others=np.arange(0),
            told=np.ones(len(self.problem.tasks), dtype=bool),
        )
        data = SelectionData(lesson, genes, self.recipe, self.module.n_members, rng)
        module = deepcopy(self.module)
        module.levels = levels
        module.reset_weights(torch.Generator().manual_seed(self.recipe.seed))
        module.begin(start, data.train.moments(), data.train.labels)
        module.selector.scores.requires_grad_(False)
        data.imitated = self.imitated
        plan = SelectionTrainingPlan(module, data, start, self.recipe)
        trainer = self._run(plan, data, "Learning to label this assay", watched=False)
        module.eval()
        return Trained(module, data, start.told, plan.history, lesson, genes, trainer)

    def _run(
        self, plan: SelectionTrainingPlan, data: SelectionData, description: str, *, watched: bool
    ) -> Trainer:
        recipe, kwargs = plan.recipe, dict(plan.recipe.trainer_kwargs)
        progress = SelectionProgress(plan, description, bar=recipe.progress_bar)
        return run(
            plan,
            data,
            max_epochs=-(-recipe.max_steps // data.n_steps),
            accelerator=recipe.accelerator,
            devices=1 if recipe.devices == "auto" else recipe.devices,
            callbacks=[*kwargs.pop("callbacks", []), progress],
            limit_val_batches=int(watched),
            **kwargs,
        )

    def _elsewhere(
        self, module: YOTOModule, data: SelectionData, start: Start, imitated: Robust
    ) -> YOTOModule:
        """Train a network on the genes of another one, from the start, on imitated assays."""
        kwargs = {k: v for k, v in self.recipe.trainer_kwargs.items() if k != "callbacks"}
        n_steps = max(1, round(_ELSEWHERE_SHARE * self.recipe.max_steps))
        course = Annealing.settled(module.n_genes)
        recipe = replace(self.recipe, annealing=course, max_steps=n_steps, trainer_kwargs=kwargs)
        robust = deepcopy(module)
        robust.reset_weights(torch.Generator(module.device).manual_seed(recipe.seed))
        data.imitated = imitated
        plan = SelectionTrainingPlan(robust, data, start, recipe)
        self._run(plan, data, "Learning to label other assays", watched=False)
        return robust

    def fit(
        self,
        split: Split,
        rng: np.random.Generator,
        n_genes: int | Literal["auto"],
        *,
        refit: bool,
    ) -> Outcome:
        """Train and judge on `split`; then, if asked, train once more, on all cells."""
        problem, recipe, shown = self.problem, self.recipe, self.recipe.progress_bar
        judge_rng, describe_rng = rng.spawn(2)
        teach_rng = describe_rng.spawn(1)[0]
        how: dict[str, Any] = {
            "n_genes": recipe.annealing.n_genes,
            "unlabeled_cells": recipe.unlabeled_cells,
        }
        with progress("Looking at all genes", 2, "step", at_once=shown) as done:
            with one_more_training():
                lessons = [prepare(problem, split, teach_rng, **how)]
                if refit and len(split.validation) > 0:
                    whole = all_cells(problem.expression.n_obs)
                    lessons.append(prepare(problem, whole, teach_rng, before=lessons[0], **how))
            done()
            screenings = screen(lessons)
            done()
        again = self._again(lessons[1], screenings[1]) if len(lessons) > 1 else None
        judged = trained = self.run(lessons[0], rng, screening=screenings[0])
        with progress("Judging on held-out cells", 2, "step", at_once=shown) as done:
            answers = judged.answers(problem.rules.smallest_size)
            done()
            judgement = judge(
                lessons[0].problem, answers, n_genes, self.module.class_weight_power, judge_rng
            )
            done()
        among = np.ones(len(problem.tasks), dtype=bool)
        if again is not None:
            among = _predicted(lessons[0], answers, judgement, teach_rng)
            trained = again(among)
            copy_temperatures(judged.module, trained.module)
        _report_teachers(lessons[0])
        passed_over = ~trained.told
        for task in compress(problem.tasks, passed_over & among):
            logger.warning(
                "No gene tells more about %r than chance would: genes are selected for the other "
                "tasks.",
                task.name,
            )
        for task in compress(problem.tasks, passed_over & ~among):
            logger.warning(
                "On held-out cells, the panel tells no more about %r than chance would (%s %.2f): "
                "on all cells, genes are selected for the other tasks.",
                task.name,
                task.metric,
                judgement.metrics.loc[task.name, task.metric],
            )
        with progress("Describing the panel", 4, "step", at_once=shown) as done:
            selection = describe(trained, answers, judgement, describe_rng)
            done()
            decoder = _decoder(judged, trained, teach_rng)
            done()
            novelties = trained.novelties(judgement.n_genes, judged)
            done()
            reference = trained.reference()
            done()
        return Outcome(trained, selection, decoder, reference, novelties)

    def on_all_cells(
        self, lesson: Lesson, screening: Screening, among: NDArray[np.bool_] | None = None
    ) -> Trained:
        """Train once more, on the lesson of all cells."""
        return self.run(
            lesson,
            np.random.default_rng(self.recipe.seed),
            screening=screening,
            among=among,
            description="Selecting on all cells",
        )

    def _again(
        self, lesson: Lesson, screening: Screening
    ) -> Callable[[NDArray[np.bool_]], Trained]:
        """Return what trains on all cells, given the tasks that the first training can predict.

        Where there are workers, one begins at once, as if these were all tasks, as they mostly
        are.
        """
        recipe = self.recipe
        if not may_move(recipe.accelerator, recipe.trainer_kwargs):
            return partial(self.on_all_cells, lesson, screening)
        silent = replace(self, recipe=replace(recipe, progress_bar=False))
        ahead = aside(_without_lesson, silent, lesson, screening)

        def checked(among: NDArray[np.bool_]) -> Trained:
            found = ahead()
            if not (found.told <= among).all():
                return self.on_all_cells(lesson, screening, among)
            return replace(found, lesson=lesson)

        return checked


def _without_lesson(training: Training, lesson: Lesson, screening: Screening) -> Trained:
    """Train on all cells; the lesson, which holds all expression, need not be sent back."""
    found = training.on_all_cells(lesson, screening)
    found.data.trainer = None
    empty: Any = None  # whoever sent the lesson has it
    return replace(found, lesson=empty, trainer=None)


@dataclass(frozen=True)
class Outcome:
    """What comes of a whole selection."""

    trained: Trained
    selection: Selection
    decoder: Decoder | None  # where the transcriptome was learned
    reference: Reference  # what is remembered of the cells
    novelties: dict[int, Novelty]  # by the position of the task, how unlike its classes cells are


def _decoder(judged: Trained, trained: Trained, rng: np.random.Generator) -> Decoder | None:
    """Learn to tell all genes from the transcriptome that the final network predicts.

    How well that works is told by the first network, its training cells and the held-out ones.
    """
    components = trained.lesson.components
    if components is None or not any(task.is_derived for task in trained.lesson.problem.tasks):
        return None
    total, split = components.total, judged.lesson.split
    seen, unseen = (
        judged.joint(at_most(_DECODED_CELLS, cells, rng), total)
        for cells in (split.train, split.validation)
    )
    whole = seen
    if trained is not judged:
        whole = trained.joint(at_most(_DECODED_CELLS, trained.lesson.split.train, rng), total)
    return fit_decoder(total, whole, (seen, unseen))


def _report_teachers(lesson: Lesson) -> None:
    """Say what became of cells without a label."""
    table = lesson.table()
    for task, verdict in zip(table.index, lesson.verdicts.values(), strict=True):
        logger.info(
            "%s: %d training cells without a label %s a teacher that reads all genes (out-of-fold "
            "%s %.3f%s).",
            task,
            table.loc[task, "n_unlabeled"],
            "learn from" if verdict.is_used else "stay without",
            table.loc[task, "metric"],
            verdict.teacher,
            "" if np.isnan(verdict.panel) else f"; a panel alone {verdict.panel:.3f}",
        )


def _predicted(
    lesson: Lesson, answers: Answers, judgement: Judgement, rng: np.random.Generator
) -> NDArray[np.bool_]:
    """Tell which tasks the first training could predict better than chance, ``(n_tasks,)``."""
    cells = lesson.split.validation[answers.on_path]
    labels = [array[cells] for array in lesson.problem.labels]
    predictions = answers.by_size[judgement.n_genes]
    return beyond_chance(lesson.problem.tasks, labels, predictions, rng)


def describe(
    trained: Trained,
    answers: Answers,
    judgement: Judgement,
    rng: np.random.Generator,
) -> Selection:
    """Write down the panel of a finished training, and what its genes are for."""
    module, data, n_genes = trained.module, trained.data, judgement.n_genes
    problem, split = trained.lesson.problem, trained.lesson.split
    genes = list(problem.var_names[trained.ranking[:n_genes]])
    values, labels = data.sample()
    attribution = attribute(
        values[:, :n_genes],
        labels,
        problem.tasks,
        trained.told,
        genes,
        module.class_weight_power,
        data.sample_batches(),
    )
    cells, index, original = data.validation, data.watched, split.validation
    if not len(cells):
        cells, index = data.train, at_most(_JUDGED_CELLS, np.arange(len(data.train)), rng)
        original = split.train
    is_known = len(data.validation) > 0
    asked = np.arange(len(index))
    if n_genes > LARGE_PANEL:
        asked = at_most(_ASKED_CELLS, asked, rng)
    index = index[asked]
    judged = cells.batch(index)[X_KEY].to(module.device)
    if is_known:
        whole = [prediction[asked] for prediction in answers.by_size[n_genes]]
    else:
        whole = [p.cpu().numpy() for p in module.predict(judged, n_genes)[0]]
    tables = {name: table for name, table in vars(judgement).items() if name != "n_genes"}
    return Selection(
        panel=panel_table(
            problem.var_names, trained.ranking, n_genes, attribution, problem.rules.required
        ),
        n_trained=module.n_genes,
        is_counts=problem.expression.is_counts,
        source=problem.expression.source,
        attribution=attribution,
        without=without_table(
            problem.tasks,
            [array[original[index]] for array in problem.labels],
            genes,
            whole,
            _without_each(module, judged, n_genes),
        ),
        teacher=trained.lesson.table(),
        levels=problem.levels,
        robust=data.imitated,
        **tables,
    )


def _without_each(
    module: YOTOModule, values: torch.Tensor, n_genes: int
) -> Iterator[list[NDArray[Any]]]:
    """Predict with each gene of a panel unmeasured; yield the predictions."""
    if n_genes > LARGE_PANEL:
        with progress(f"Leaving out each of {n_genes} genes", n_genes, "gene") as done:
            for predictions in module.predict_without(values, n_genes):
                yield [prediction.cpu().numpy() for prediction in predictions]
                done()
        return
    for gene in range(n_genes):
        measured = torch.arange(n_genes, device=module.device) != gene
        yield [p.cpu().numpy() for p in module.predict(values, n_genes, measured)[0]]
