"""YOTO: the model, on scvi-tools' base class."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
import scipy.sparse as sp
import torch
from anndata import AnnData
from scvi.data import AnnDataManager
from scvi.data.fields import LayerField

from yoto_sc._checks import (
    as_list,
    check_batch_key,
    check_fraction,
    check_integer,
    check_no_repeats,
    check_split_key,
)
from yoto_sc._problem import Problem
from yoto_sc._threads import one_thread
from yoto_sc.data import (
    KINDS,
    Transcriptome,
    check_task_keys,
    keys_by_kind,
    layer_of,
    n_components,
    named_tasks,
    point_out_no_labels,
    read_tasks,
)
from yoto_sc.judge import bounded, default_validation_size, split_cells
from yoto_sc.model._adapting import AdaptationMixin
from yoto_sc.model._fields import TaskField, registered_tasks
from yoto_sc.model._saving import SavingMixin
from yoto_sc.nn import Annealing, Linear
from yoto_sc.rules import Requirements, check_n_genes, detection_floor
from yoto_sc.train import (
    LARGE_PANEL,
    LARGE_PANEL_STEPS,
    X_KEY,
    Recipe,
    Training,
    YOTOModule,
    start_length,
    task_key,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from yoto_sc.data import Task
    from yoto_sc.judge import Split
    from yoto_sc.nn import Relaxation

AUTO_MAX_GENES = 64
"""Largest panel that ``n_genes="auto"`` may choose."""
_RESERVED = {"max_epochs", "limit_val_batches", "reload_dataloaders_every_n_epochs"}
"""Arguments of the trainer that the training sets itself."""


class _Manager(AnnDataManager):
    """A manager that knows the problem behind its data, if that was built before."""

    problem: Problem | None = None


class YOTO(AdaptationMixin, SavingMixin):
    """Selects a panel of exactly k genes for several tasks, and predicts from it.

    Parameters
    ----------
    adata
        Annotated data registered by :meth:`setup_anndata`, of shape ``(n_obs, n_vars)``.
    registry
        A saved registry in place of `adata`, as scvi-tools passes it.
    n_genes
        Size of the panel; ``"auto"`` takes the smallest, of about 20 sizes up to 64 genes, whose
        held-out score is within one standard error of the best.
    include
        Genes that must be in the panel.
    exclude
        Genes or patterns (``"MT-*"``) that must not be.
    candidates
        Boolean column of ``adata.var``, or genes, to choose from; `None`: all genes.
    preference, cost, budget, mean_range, fraction_range, max_crowding, crowding_key
        Further rules on the panel; see :func:`yoto_sc.tl.select`.
    min_detection, redundancy
        Further rules on the panel; see :func:`yoto_sc.tl.select`.
    n_hidden
        Units of each encoder.
    n_members
        Size of the ensemble.
    class_weight_power
        A class of n cells weighs ``n ** -class_weight_power`` for each of its cells.
    relaxation
        ``"threshold"``, or ``"plackett_luce"`` as in the YOTO paper.
    random_state
        Seed of everything random in building and training.

    Raises
    ------
    ValueError, KeyError, TypeError
        A rule on genes cannot be met; see :func:`yoto_sc.tl.select`.

    Examples
    --------
    >>> import yoto_sc as yt
    >>> adata = yt.datasets.pbmc68k()
    >>> yt.model.YOTO.setup_anndata(adata, categorical_keys=["bulk_labels"])
    >>> model = yt.model.YOTO(adata, n_genes=16)
    >>> model.train(max_steps=40, progress_bar=False)
    >>> model.panel().n_genes
    16
    """

    _module_cls = YOTOModule

    def __init__(
        self,
        adata: AnnData | None = None,
        registry: dict[str, Any] | None = None,
        *,
        n_genes: int | Literal["auto"] = 32,
        include: Sequence[str] = (),
        exclude: Sequence[str] = (),
        candidates: str | Sequence[str] | None = None,
        preference: str | None = None,
        cost: str | None = None,
        budget: float | None = None,
        mean_range: Sequence[float | None] | None = None,
        fraction_range: Sequence[float | None] | None = None,
        max_crowding: float | None = None,
        crowding_key: str | None = None,
        min_detection: float | Literal["auto"] | None = "auto",
        redundancy: int | None = None,
        n_hidden: int = 64,
        n_members: int = 4,
        class_weight_power: float = 0.5,
        relaxation: Relaxation = "threshold",
        random_state: int = 0,
    ) -> None:
        super().__init__(adata, registry)
        self.tasks = registered_tasks(self.registry)
        min_detection = detection_floor(
            min_detection,
            fraction_range,
            has_classes=any(task.kind == "categorical" for task in self.tasks),
            n_obs=self.summary_stats.n_cells,
        )
        requirements = Requirements(
            include=include,
            exclude=exclude,
            candidates=candidates,
            preference=preference,
            cost=cost,
            budget=budget,
            mean_range=mean_range,
            fraction_range=fraction_range,
            max_crowding=max_crowding,
            crowding_key=crowding_key,
            min_detection=min_detection,
            redundancy=redundancy,
        )
        if adata is not None:
            requirements = requirements.resolved(adata.var)
        # Lists, whatever was given, and no infinite bounds: they are saved with the model.
        include, exclude = requirements.include, requirements.exclude
        candidates, mean_range = requirements.candidates, requirements.mean_range
        fraction_range = requirements.fraction_range
        check_integer(n_hidden, "n_hidden", minimum=1)
        check_integer(n_members, "n_members", minimum=1)
        check_integer(random_state, "random_state", minimum=0)
        self._problem = None
        n_allowed = self.summary_stats.n_vars
        rules = None
        if adata is not None:
            self._problem = self.adata_manager.problem
            if self._problem is not None:
                rules = self._problem.rules
            else:
                rules = requirements.gene_rules(adata.var)
                if requirements.are_on_expression:
                    rules = _problem_of(adata, self.registry["setup_args"], requirements).rules
                check_n_genes(n_genes, rules)
            n_allowed = int(rules.allowed.sum())
        largest = min(AUTO_MAX_GENES, n_allowed) if n_genes == "auto" else n_genes
        largest = max(largest, len(set(include)))
        if rules is not None and n_genes == "auto":
            largest = rules.largest_size(largest)
        self.n_genes = n_genes
        self.random_state = int(random_state)
        self.selection_ = self.decoder_ = self.reference_ = None
        self.novelties_ = {}
        self._n_trained = largest
        self.module = YOTOModule(
            min(n_allowed, start_length(largest)),
            self.tasks,
            n_hidden=n_hidden,
            n_members=n_members,
            class_weight_power=class_weight_power,
            relaxation=relaxation,
            generator=torch.Generator().manual_seed(self.random_state),
        )
        self._model_summary_string = (
            f"YOTO: {n_genes} of {n_allowed} genes for {', '.join(t.name for t in self.tasks)}"
        )
        self.init_params_ = self._get_init_params(locals())

    @classmethod
    def setup_anndata(
        cls,
        adata: AnnData,
        layer: str | None = None,
        categorical_keys: Sequence[str] = (),
        continuous_keys: Sequence[str] = (),
        obsm_keys: Sequence[str] = (),
        transcriptome: bool | int = False,
        split_key: str | None = None,
        unlabeled: Sequence[object] = (),
        batch_key: str | None = None,
        **kwargs: Any,
    ) -> None:
        """Register expression and labels; writes ``_scvi_*`` columns and entries to `adata`.

        Parameters
        ----------
        adata
            Annotated data of shape ``(n_obs, n_vars)``.
        layer
            Layer that holds expression, counts or log-normalised; `None`: ``X``.
        categorical_keys, continuous_keys
            Columns of ``adata.obs`` to predict; missing values are allowed.
        obsm_keys
            Entries of ``adata.obsm`` to predict; rows that hold a missing value are missing.
        transcriptome
            Predict the leading principal components of all genes: `True`, or their number.
        split_key
            Column of ``adata.obs`` whose groups are held out whole.
        unlabeled
            Categories that stand for "no label".
        batch_key
            Column of ``adata.obs``, differences between whose groups count for nothing; see
            :func:`yoto_sc.tl.select`.
        **kwargs
            Passed to scvi-tools' ``register_fields``.
        """
        setup_method_args = cls._get_setup_method_args(**locals())
        keys = keys_by_kind(
            categorical_keys=categorical_keys,
            continuous_keys=continuous_keys,
            obsm_keys=obsm_keys,
        )
        unlabeled = as_list(unlabeled, "unlabeled")
        named = named_tasks(keys, transcriptome)
        known: list[tuple[Task, NDArray[Any]] | None] = [None] * len(named)
        if "source_registry" not in kwargs:  # new data need not have the labels
            check_task_keys(adata, keys, transcriptome)
            check_split_key(adata.obs, split_key)
            check_batch_key(adata.obs, batch_key, [name for of in keys.values() for name in of])
            read = read_tasks(adata, keys, unlabeled)  # all of them, before anything is written
            labels = [task.encode(task.column(adata, task.name)) for task in read]
            point_out_no_labels(read, labels, unlabeled)
            known[: len(read)] = zip(read, labels, strict=True)
        if transcriptome:
            components = Transcriptome.of(n_components(transcriptome, adata.n_obs, adata.n_vars))
            known[-1] = components, components.encode(adata.obs_names)
        tasks = [
            TaskField(task_key(position), task.name, task.kind, unlabeled, known[position])
            for position, task in enumerate(named)
        ]
        cls._register(adata, layer, tasks, setup_method_args, **kwargs)

    @classmethod
    def _register(
        cls,
        adata: AnnData,
        layer: str | None,
        tasks: Sequence[TaskField],
        setup_method_args: dict[str, Any],
        **kwargs: Any,
    ) -> _Manager:
        """Register `adata` with scvi-tools."""
        expression = LayerField(X_KEY, layer, is_count_data=False, correct_data_format=False)
        manager = _Manager(fields=[expression, *tasks], setup_method_args=setup_method_args)
        manager.register_fields(adata, **kwargs)
        cls.register_manager(manager)
        return manager

    @classmethod
    def from_problem(cls, problem: Problem, **init: Any) -> Self:
        """Make a model for a problem that was built before; nothing is read or checked again."""
        # Where scvi-tools looks for expression, there is none: the problem has it.
        shape = (len(problem.obs_names), len(problem.var_names))
        empty: Any = sp.csr_matrix(shape, dtype=np.float32)  # type: ignore[arg-type]
        adata = AnnData(X=empty, obs=problem.tables.obs[[]], var=problem.tables.var[[]])
        known = enumerate(zip(problem.tasks, problem.labels, strict=True))
        tasks = [
            TaskField(task_key(position), task.name, task.kind, known=(task, labels))
            for position, (task, labels) in known
        ]
        setup = cls._get_setup_method_args(
            cls=cls,
            adata=adata,
            layer=layer_of(problem.expression.source),
            split_key=problem.split_key,
            unlabeled=list(problem.unlabeled),
            batch_key=problem.batch_key,
            transcriptome=problem.n_components,
            **{KINDS[kind].argument: named for kind, named in problem.keys.items()},
        )
        cls._register(adata, None, tasks, setup).problem = problem
        model = cls(adata, **vars(problem.requirements), **init)
        model.deregister_manager(adata)  # or scvi-tools would keep the data alive
        return model

    def train(
        self,
        max_steps: int | None = None,
        *,
        validation_size: float | None = None,
        refit: bool = True,
        batch_size: int = 128,
        annealing: Annealing | None = None,
        accelerator: str = "auto",
        devices: int | list[int] | str = "auto",
        progress_bar: bool = True,
        plan_kwargs: dict[str, Any] | None = None,
        **trainer_kwargs: Any,
    ) -> None:
        """Select the panel and learn to predict from it, in one training.

        The training is run twice: without the held-out cells, to be judged on them, and on all
        cells, so that none is wasted in the end.

        Parameters
        ----------
        max_steps
            Number of minibatches; `None`: 2,000, or 700 for a panel of more than 256 genes, which
            is found before training, in closed form.
        validation_size
            Share of the cells to hold out, in ``[0, 1)``; `None`: a tenth, and up to a fifth to
            have 200 cells to judge on. With 0, nothing is judged.
        refit
            Whether to train once more in the end, with the same seed, on all cells: panel and
            network are then those of this second training, and the scores those of the first
            one. `False` keeps the first one, in half the time.
        batch_size
            Cells in a minibatch, for each member of the ensemble.
        annealing
            Course of panel size, temperature and noise; `None`: shrink from four times the panel.
        accelerator, devices
            As in Lightning's trainer.
        progress_bar
            Whether to show progress as a bar; it is written to the log otherwise, at level INFO.
        plan_kwargs
            For :class:`~yoto_sc.train.Recipe`, such as ``lr`` and ``selection_network``.
        **trainer_kwargs
            For :class:`scvi.train.Trainer`, such as ``callbacks``.

        Raises
        ------
        ValueError
            An argument is out of range.
        KeyboardInterrupt
            The user stopped the training; the model is as it was before.
        """
        if self.adata is None:
            raise ValueError("The model was loaded without data; it can predict, but not train.")
        if self.selection_ is not None:
            raise ValueError("The model is trained. Make a new one to select again.")
        reserved = sorted(_RESERVED & trainer_kwargs.keys())
        if reserved:
            raise TypeError(f"{reserved} cannot be set: the course of the panel decides on them.")
        named: dict[str, Any] = {
            "annealing": self._course() if annealing is None else annealing,
            "seed": self.random_state,
            "max_steps": self._default_steps() if max_steps is None else max_steps,
            "batch_size": batch_size,
            "accelerator": accelerator,
            "devices": devices,
            "progress_bar": progress_bar,
            "trainer_kwargs": trainer_kwargs,
        }
        check_no_repeats("plan_kwargs", plan_kwargs, list(named))
        recipe = Recipe(**named, **(plan_kwargs or {}))
        self._check_course(recipe.annealing)
        problem = self._problem
        if problem is None:
            setup = self.registry["setup_args"]
            requirements = Requirements.from_params(self.init_params_["non_kwargs"])
            problem = _problem_of(self.adata, setup, requirements)
        if recipe.robust not in (None, "auto"):
            problem.expression.require_counts(f'robust="{recipe.robust}"')
        rng = np.random.default_rng(self.random_state)
        with one_thread():
            split = self._split(problem, validation_size, rng)
            most = recipe.max_cells
            if most is not None and max(len(split.train), len(split.validation)) > most:
                split = bounded(split, problem.tasks, problem.labels, most, rng)
                problem = problem.learned_from(split.cells)
            training = Training(problem.held(), recipe, self.module)
            outcome = training.fit(split.among(split.cells), rng, self.n_genes, refit=refit)
        self.module, self.trainer = outcome.trained.module, outcome.trained.trainer
        self.train_indices, self.validation_indices = split.train, split.validation
        self.is_trained_ = True
        self.selection_, self.decoder_ = outcome.selection, outcome.decoder
        self.reference_, self.novelties_ = outcome.reference, outcome.novelties

    def _course(self) -> Annealing:
        """Return the default course of the panel."""
        if self._n_trained > LARGE_PANEL:
            return Annealing.settled(self._n_trained)
        published = self.module.selector.relaxation == "plackett_luce"
        noise = Linear(1.0, 0.1) if published else Linear(0.0, 0.0)
        n_start = min(4 * self._n_trained, self.module.n_genes)
        return Annealing(n_start, self._n_trained, noise=noise)

    def _default_steps(self) -> int:
        """Return how long to train; the genes of large panels are there from the start."""
        return LARGE_PANEL_STEPS if self._n_trained > LARGE_PANEL else Recipe.max_steps

    def _check_course(self, annealing: Annealing) -> None:
        """Refuse a course that begins or ends at another number of genes."""
        n_start = self.module.n_genes
        if annealing.n_genes != self._n_trained or annealing.n_start > n_start:
            raise ValueError(
                f"annealing must end at the panel's {self._n_trained} genes and start from at "
                f"most {n_start}, but goes from {annealing.n_start} to {annealing.n_genes}."
            )

    def _split(
        self, problem: Problem, validation_size: float | None, rng: np.random.Generator
    ) -> Split:
        """Decide which cells are held out."""
        share = validation_size
        if share is None:
            share = default_validation_size(problem.expression.n_obs)
        check_fraction(share, "validation_size")
        is_auto = self.n_genes == "auto"
        if is_auto and share == 0:
            raise ValueError('n_genes="auto" needs held-out cells: validation_size must not be 0.')
        split = split_cells(problem.tasks, problem.labels, problem.groups, share, rng)
        if is_auto and not any(
            task.observed(labels[split.validation]).any()
            for task, labels in zip(problem.tasks, problem.labels, strict=True)
        ):
            raise ValueError(
                'n_genes="auto" compares panel sizes on held-out cells, but none of these has a '
                "label. Give a number, or label more cells."
            )
        return split


def _problem_of(adata: AnnData, setup: Mapping[str, Any], requirements: Requirements) -> Problem:
    """Read the problem that `adata` was set up for."""
    return Problem.from_adata(
        adata,
        {
            name: as_list(setup.get(kind.argument), kind.argument)
            for name, kind in KINDS.items()
            if not kind.is_derived
        },
        transcriptome=setup.get("transcriptome", False),
        layer=setup["layer"],
        split_key=setup["split_key"],
        unlabeled=setup["unlabeled"],
        batch_key=setup.get("batch_key"),
        requirements=requirements,
    )
