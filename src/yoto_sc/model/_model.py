"""YOTO: the model, on scvi-tools' base class."""

from __future__ import annotations

import logging
from itertools import compress
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from scvi.data import AnnDataManager
from scvi.data.fields import LayerField

from yoto_sc._checks import (
    as_list,
    check_fraction,
    check_integer,
    check_n_genes,
    check_split_key,
    check_task_keys,
)
from yoto_sc._expression import Expression
from yoto_sc._requirements import Requirements
from yoto_sc.model._fields import TaskField, registered_tasks, task_key
from yoto_sc.model._judgement import judge
from yoto_sc.model._module import X_KEY, YOTOModule
from yoto_sc.model._outcome import describe
from yoto_sc.model._predicting import PredictionMixin
from yoto_sc.model._run import seeded
from yoto_sc.model._saving import SavingMixin
from yoto_sc.model._splits import all_cells, default_validation_size, split_cells
from yoto_sc.model._start import start_length
from yoto_sc.model._temperature import copy_temperatures
from yoto_sc.model._training import Training
from yoto_sc.nn import Annealing, Linear
from yoto_sc.select import observed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anndata import AnnData
    from numpy.typing import NDArray

    from yoto_sc._tasks import Kind
    from yoto_sc.model._selection import Selection
    from yoto_sc.nn import Relaxation

logger = logging.getLogger(__name__)

_DEFAULT_STEPS = 2000
AUTO_MAX_GENES = 64
"""Largest panel that ``n_genes="auto"`` may choose."""
_RESERVED = {"max_epochs", "limit_val_batches", "reload_dataloaders_every_n_epochs"}
"""Arguments of the trainer that the training sets itself."""


class YOTO(PredictionMixin, SavingMixin):
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
        Var names that must be in the panel.
    exclude
        Var names or patterns (``"MT-*"``) that must not be.
    candidates
        Boolean column of ``adata.var``, or var names, to choose from; `None`: all genes.
    preference, cost, budget, mean_range, fraction_range, max_crowding, crowding_key
        Further rules on the panel; see :func:`yoto_sc.tl.select`.
    n_candidates
        Number of genes that univariate screening leaves, or more if the training needs more. It
        starts from the first of these in the order of a stepwise discriminant analysis, eight for
        each gene of the panel (fewer if that makes more than 1,000).
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
        n_candidates: int = 1000,
        n_hidden: int = 64,
        n_members: int = 4,
        class_weight_power: float = 0.5,
        relaxation: Relaxation = "threshold",
        random_state: int = 0,
    ) -> None:
        super().__init__(adata, registry)
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
        )
        # Lists, whatever was given: they are saved with the model.
        include, exclude = requirements.include, requirements.exclude
        candidates = requirements.candidates
        for name, value in (
            ("n_candidates", n_candidates),
            ("n_hidden", n_hidden),
            ("n_members", n_members),
        ):
            check_integer(value, name, minimum=1)
        check_integer(random_state, "random_state", minimum=0)
        self.tasks = registered_tasks(self.registry)
        n_allowed = self.summary_stats.n_vars
        if adata is not None:
            setup = self.registry["setup_args"]
            rules = requirements.rules(
                adata,
                setup["layer"],
                as_list(setup["categorical_keys"], "categorical_keys"),
                as_list(setup["unlabeled"], "unlabeled"),
            )
            check_n_genes(n_genes, rules)
            self._rules = rules
            n_allowed = int(self._rules.allowed.sum())
        largest = min(AUTO_MAX_GENES, n_allowed) if n_genes == "auto" else n_genes
        largest = max(largest, len(set(include)))
        if adata is not None and n_genes == "auto":
            largest = self._rules.largest_size(largest)
        self.n_genes = n_genes
        self.random_state = random_state
        self.selection_: Selection | None = None
        self._n_trained = largest
        self._n_candidates = n_candidates
        with seeded(random_state):
            self.module = YOTOModule(
                min(n_allowed, start_length(self._n_trained)),
                self.tasks,
                n_hidden=n_hidden,
                n_members=n_members,
                class_weight_power=class_weight_power,
                relaxation=relaxation,
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
        split_key: str | None = None,
        unlabeled: Sequence[object] = (),
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
        split_key
            Column of ``adata.obs`` whose groups are held out whole.
        unlabeled
            Categories that stand for "no label".
        **kwargs
            Passed to scvi-tools' ``register_fields``.
        """
        setup_method_args = cls._get_setup_method_args(**locals())
        categorical_keys = as_list(categorical_keys, "categorical_keys")
        continuous_keys = as_list(continuous_keys, "continuous_keys")
        unlabeled = as_list(unlabeled, "unlabeled")
        if "source_registry" not in kwargs:  # new data need not have the labels
            check_task_keys(adata.obs, categorical_keys, continuous_keys)
            check_split_key(adata.obs, split_key)
        kinds: dict[str, Kind] = dict.fromkeys(categorical_keys, "categorical")
        kinds |= dict.fromkeys(continuous_keys, "continuous")
        fields = [
            LayerField(X_KEY, layer, is_count_data=False, correct_data_format=False),
            *(
                TaskField(task_key(position), key, kind, unlabeled)
                for position, (key, kind) in enumerate(kinds.items())
            ),
        ]
        manager = AnnDataManager(fields=fields, setup_method_args=setup_method_args)
        manager.register_fields(adata, **kwargs)
        cls.register_manager(manager)

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
            Number of minibatches; `None`: 2,000.
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
            For :class:`~yoto_sc.model.SelectionTrainingPlan`.
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
        if devices not in ("auto", 1, "1") and not (
            isinstance(devices, list) and len(devices) == 1
        ):
            raise ValueError(f"devices must name one device, not {devices!r}: nothing is sharded.")
        max_steps = _DEFAULT_STEPS if max_steps is None else max_steps
        check_integer(max_steps, "max_steps", minimum=1)
        check_integer(batch_size, "batch_size", minimum=1)
        n_obs = self.adata.n_obs
        held_out = default_validation_size(n_obs) if validation_size is None else validation_size
        check_fraction(held_out, "validation_size")
        n_start = self.module.n_genes
        if annealing is None:
            published = self.module.selector.relaxation == "plackett_luce"
            noise = Linear(1.0, 0.1) if published else Linear(0.0, 0.0)
            annealing = Annealing(min(4 * self._n_trained, n_start), self._n_trained, noise=noise)
        if annealing.n_genes != self._n_trained or annealing.n_start > n_start:
            raise ValueError(
                f"annealing must end at the panel's {self._n_trained} genes and start from at "
                f"most {n_start}, but goes from {annealing.n_start} to "
                f"{annealing.n_genes}."
            )
        if self.n_genes == "auto" and held_out == 0:
            raise ValueError('n_genes="auto" needs held-out cells: validation_size must not be 0.')
        setup = self.registry["setup_args"]
        expression = Expression.from_adata(self.adata, setup["layer"])
        keys = [task_key(position) for position in range(len(self.tasks))]
        labels = {key: self.adata_manager.get_from_registry(key).ravel() for key in keys}
        groups = None if setup["split_key"] is None else self.adata.obs[setup["split_key"]]
        rng = np.random.default_rng(self.random_state)
        split = split_cells(list(labels.values()), groups, held_out, rng)
        if self.n_genes == "auto" and not _any_label(list(labels.values()), split.validation):
            raise ValueError(
                'n_genes="auto" compares panel sizes on held-out cells, but none of these has a '
                "label. Give a number, or label more cells."
            )
        training = Training(
            self.module,
            expression,
            labels,
            self._rules,
            annealing,
            self._n_candidates,
            max_steps,
            batch_size,
            self.random_state,
            accelerator,
            devices,
            progress_bar,
            plan_kwargs or {},
            trainer_kwargs,
        )
        judged = trained = training.run(split, rng, "Selecting genes")
        smallest = max(1, int(self._rules.required.sum()))
        judgement = judge(judged, self.tasks, expression, self.n_genes, smallest, rng)
        if refit and len(split.validation):
            rng = np.random.default_rng(self.random_state)
            trained = training.run(all_cells(n_obs), rng, "Selecting on all cells")
            copy_temperatures(judged.plan.module, trained.plan.module)
        for task in compress(self.tasks, ~trained.plan.told):
            logger.warning(
                "No gene tells more about %r than chance would: genes are selected for the other "
                "tasks.",
                task.name,
            )
        self.module, self.trainer = trained.plan.module, trained.trainer
        self.selection_ = describe(
            trained, judgement, self.tasks, self.adata.var_names, expression, rng
        )
        self.held_out = judgement.predictions_table(
            self.tasks, self.adata.obs_names[split.validation]
        )
        self.train_indices, self.validation_indices = split.train, split.validation
        self.is_trained_ = True


def _any_label(labels: Sequence[NDArray[Any]], cells: NDArray[np.intp]) -> bool:
    """Whether any of the cells has a label of any task."""
    return any(bool(observed(array[cells]).any()) for array in labels)
