"""YOTO: the model, on scvi-tools' base class."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
import torch
from scvi.data import AnnDataManager
from scvi.data.fields import LayerField
from scvi.model._utils import parse_device_args
from scvi.model.base import BaseModelClass
from sklearn.exceptions import NotFittedError

from yoto_sc._checks import (
    as_list,
    check_fraction,
    check_integer,
    check_n_genes,
    check_split_key,
    check_task_keys,
    missing_genes,
    resolve_genes,
)
from yoto_sc._expression import Expression
from yoto_sc.model._data import SelectionData
from yoto_sc.model._fields import TaskField, registered_tasks, task_key
from yoto_sc.model._files import damaged, read_model, write_model
from yoto_sc.model._module import X_KEY, YOTOModule
from yoto_sc.model._outcome import summarize
from yoto_sc.model._plan import SelectionTrainingPlan
from yoto_sc.model._progress import SelectionProgress
from yoto_sc.model._run import run, seeded
from yoto_sc.model._selection import Selection
from yoto_sc.model._splits import default_validation_size, split_cells
from yoto_sc.model._start import find_start, start_length
from yoto_sc.nn import Annealing, Linear
from yoto_sc.select import observed

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import scipy.sparse as sp
    from anndata import AnnData
    from numpy.typing import NDArray

    from yoto_sc._panel import Panel
    from yoto_sc._tasks import Kind
    from yoto_sc.nn import Relaxation

_DEFAULT_STEPS = 2000
AUTO_MAX_GENES = 64
"""Largest panel that ``n_genes="auto"`` may choose."""
_RESERVED = {"max_epochs", "limit_val_batches", "reload_dataloaders_every_n_epochs"}
"""Arguments of the trainer that the training sets itself."""
_N_EPOCHS = 40
"""Epochs of a training; the held-out cells are looked at after each."""
_PREDICTION_CELLS = 4096
"""Cells that are predicted at once."""


class YOTO(BaseModelClass):
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
    n_candidates
        Number of genes that univariate screening leaves, or more if the training needs more. It
        starts from the first of these in the order of a stepwise discriminant analysis, eight for
        each gene of the panel (fewer if that makes more than 1,000).
    n_hidden
        Units of each encoder.
    n_members
        Size of the ensemble of encoders. With more than one, selection is cross-fitted.
    dropout
        Share of hidden units dropped in training.
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
        n_candidates: int = 1000,
        n_hidden: int = 64,
        n_members: int = 4,
        dropout: float = 0.2,
        class_weight_power: float = 0.5,
        relaxation: Relaxation = "threshold",
        random_state: int = 0,
    ) -> None:
        super().__init__(adata, registry)
        include, exclude = as_list(include, "include"), as_list(exclude, "exclude")
        candidates = candidates if isinstance(candidates, str | None) else list(candidates)
        for name, value in (
            ("n_candidates", n_candidates),
            ("n_hidden", n_hidden),
            ("n_members", n_members),
        ):
            check_integer(value, name, minimum=1)
        check_fraction(dropout, "dropout")
        check_integer(random_state, "random_state", minimum=0)
        self.tasks = registered_tasks(self.registry)
        n_allowed = self.summary_stats.n_vars
        if adata is not None:
            self._rules = resolve_genes(adata.var, include, exclude, candidates)
            check_n_genes(n_genes, self._rules)
            n_allowed = int(self._rules.allowed.sum())
        self.n_genes = n_genes
        self.random_state = random_state
        self.selection_: Selection | None = None
        largest = min(AUTO_MAX_GENES, n_allowed) if n_genes == "auto" else n_genes
        self._n_trained = max(largest, len(set(include)))
        self._n_candidates = n_candidates
        with seeded(random_state):
            self.module = YOTOModule(
                min(n_allowed, start_length(self._n_trained)),
                self.tasks,
                n_hidden=n_hidden,
                n_members=n_members,
                dropout=dropout,
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
        batch_size: int = 128,
        annealing: Annealing | None = None,
        accelerator: str = "auto",
        devices: int | list[int] | str = "auto",
        progress_bar: bool = True,
        plan_kwargs: dict[str, Any] | None = None,
        **trainer_kwargs: Any,
    ) -> None:
        """Select the panel and learn to predict from it, in one training.

        Parameters
        ----------
        max_steps
            Number of minibatches; `None`: 2,000.
        validation_size
            Share of the cells to hold out, in ``[0, 1)``; `None`: a tenth, and up to a fifth to
            have 200 cells to judge on. With 0, nothing is judged.
        batch_size
            Cells in a minibatch, for each member of the ensemble.
        annealing
            Course of panel size, temperature and noise; `None`: shrink from four times the panel.
        accelerator, devices
            As in Lightning's trainer.
        progress_bar
            Whether to show progress.
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
        n_epochs = min(_N_EPOCHS, max_steps)

        rng = np.random.default_rng(self.random_state)
        setup = self.registry["setup_args"]
        expression = Expression.from_adata(self.adata, setup["layer"])
        keys = [task_key(position) for position in range(len(self.tasks))]
        labels = {key: self.adata_manager.get_from_registry(key).ravel() for key in keys}
        groups = None if setup["split_key"] is None else self.adata.obs[setup["split_key"]]
        split = split_cells(list(labels.values()), groups, held_out, rng)
        if self.n_genes == "auto" and not _any_label(list(labels.values()), split.validation):
            raise ValueError(
                'n_genes="auto" compares panel sizes on held-out cells, but none of these has a '
                "label. Give a number, or label more cells."
            )
        start = find_start(
            expression,
            list(labels.values()),
            split.train,
            self._rules,
            self._n_trained,
            self._n_candidates,
            self.module.class_weight_power,
            rng,
        )
        data = SelectionData(
            expression.on_model_scale(start.genes),
            labels,
            split,
            n_members=self.module.n_members,
            batch_size=batch_size,
            n_steps=-(-max_steps // n_epochs),
            rng=rng,
        )
        module = deepcopy(self.module)  # an interrupted training leaves the model as it was
        train_labels = [array[split.train] for array in labels.values()]
        module.begin(start, data.train.moments(), train_labels)
        with seeded(self.random_state):
            plan = SelectionTrainingPlan(
                module,
                data,
                annealing,
                max_steps=max_steps,
                **(plan_kwargs or {}),
            )
            callbacks = [*trainer_kwargs.pop("callbacks", [])]
            if progress_bar:
                callbacks.append(SelectionProgress(plan))
            self.trainer = run(
                plan,
                data,
                max_epochs=n_epochs,
                max_steps=max_steps,
                accelerator=accelerator,
                devices=1 if devices == "auto" else devices,
                callbacks=callbacks,
                limit_val_batches=min(1, len(split.validation)),
                **trainer_kwargs,
            )
        self.module = module.eval()
        self.selection_ = summarize(
            plan,
            data,
            self.tasks,
            self.adata.var_names,
            np.concatenate([start.genes[plan.ranking], start.others]),
            expression,
            split,
            n_genes=self.n_genes,
            smallest=max(1, int(start.required.sum())),
            rng=rng,
        )
        self.train_indices, self.validation_indices = split.train, split.validation
        self.is_trained_ = True

    @property
    def selection(self) -> Selection:
        """Everything the training came to, as plain tables."""
        if self.selection_ is None:
            raise NotFittedError("The model is not trained yet. Call train() first.")
        return self.selection_

    @property
    def path(self) -> pd.DataFrame:
        """Held-out scores along panel sizes: n_genes, task, metric, score, predictor."""
        return self.selection.path

    @property
    def metrics(self) -> pd.DataFrame:
        """Scores on the held-out cells, one row for each task."""
        return self.selection.metrics

    @property
    def history(self) -> pd.DataFrame:
        """After every epoch: step, n_genes, train_loss, validation_loss, validation_score."""
        return self.selection.history

    def panel(self, k: int | None = None) -> Panel:
        """Return the panel, or the panel of another size from the same ranking.

        Parameters
        ----------
        k
            Number of genes, up to the number of ranked ones; `None`: the size asked for.
        """
        panel = self.selection.panel
        return panel if k is None else panel.prefix(k)

    def predict(
        self, adata: AnnData | None = None, *, layer: str | None = None, n_genes: int | None = None
    ) -> pd.DataFrame:
        """Predict every task for every cell, from the panel genes alone.

        Parameters
        ----------
        adata
            Cells that hold at least the panel's genes, in any order; `None`: the model's own.
        layer
            Layer that holds expression like that in training; `None`: ``X``. For the model's own
            data, the layer it was set up with.
        n_genes
            Number of best genes to use; `None`: the panel's size.

        Returns
        -------
        One column for each task, of shape ``(n_obs, n_tasks)``: categorical with the task's own
        categories, or float32.

        Raises
        ------
        KeyError
            A panel gene is missing.
        ValueError
            The expression is not of the kind the model was trained on, or `n_genes` is out of
            range.
        """
        predictions, _ = self.predict_all(adata, layer=layer, n_genes=n_genes)
        return pd.DataFrame(
            {
                task.name: task.decode(values.argmax(1)) if task.kind == "categorical" else values
                for task, values in zip(self.tasks, predictions, strict=True)
            },
            index=(self.adata if adata is None else adata).obs_names,
        )

    def predict_proba(
        self, adata: AnnData | None = None, *, layer: str | None = None, n_genes: int | None = None
    ) -> dict[str, pd.DataFrame]:
        """Return the class probabilities of every categorical task.

        Parameters
        ----------
        adata, layer, n_genes
            As in :meth:`predict`.

        Returns
        -------
        By task, a table of shape ``(n_obs, n_classes)`` whose rows sum to 1.
        """
        predictions, _ = self.predict_all(adata, layer=layer, n_genes=n_genes)
        names = (self.adata if adata is None else adata).obs_names
        return {
            task.name: pd.DataFrame(values, index=names, columns=pd.Index(task.categories))
            for task, values in zip(self.tasks, predictions, strict=True)
            if task.kind == "categorical"
        }

    def get_latent_representation(
        self, adata: AnnData | None = None, *, layer: str | None = None, n_genes: int | None = None
    ) -> NDArray[np.float32]:
        """Return the shared representation, ``(n_obs, n_members * n_hidden)``.

        Parameters
        ----------
        adata, layer, n_genes
            As in :meth:`predict`.
        """
        return self.predict_all(adata, layer=layer, n_genes=n_genes)[1]

    def predict_all(
        self, adata: AnnData | None = None, *, layer: str | None = None, n_genes: int | None = None
    ) -> tuple[list[NDArray[Any]], NDArray[np.float32]]:
        """Return what the other methods cut from, in one pass.

        Parameters
        ----------
        adata, layer, n_genes
            As in :meth:`predict`.

        Returns
        -------
        For each task, class probabilities ``(n_obs, n_classes)`` or values ``(n_obs,)``; and the
        shared representation, ``(n_obs, n_members * n_hidden)``.
        """
        selection = self.selection
        n_genes = selection.panel.n_genes if n_genes is None else n_genes
        check_integer(n_genes, "n_genes", minimum=1)
        if n_genes > selection.n_trained:
            raise ValueError(
                f"The model was trained to predict from at most {selection.n_trained} genes, not "
                f"{n_genes}."
            )
        if adata is None:
            if self.adata is None:
                raise ValueError("The model was loaded without data. Pass adata.")
            adata, layer = self.adata, self.registry["setup_args"]["layer"]
        values = panel_values(adata, selection, layer, n_genes)
        blocks = [
            self.module.predict(
                torch.from_numpy(values[start : start + _PREDICTION_CELLS].toarray()).to(
                    self.device
                ),
                n_genes,
            )
            for start in range(0, max(values.shape[0], 1), _PREDICTION_CELLS)
        ]
        latent = torch.cat([latent for _, latent in blocks]).cpu().numpy()
        predictions = [
            torch.cat([block[position] for block, _ in blocks]).cpu().numpy()
            for position in range(len(self.tasks))
        ]
        return predictions, latent

    def save(
        self,
        dir_path: str | Path,
        prefix: str | None = None,
        overwrite: bool = False,
        save_anndata: bool = False,
        *,
        format: Literal["safetensors", "scvi"] = "safetensors",
        **kwargs: Any,
    ) -> None:
        """Save the trained model to a directory.

        Parameters
        ----------
        dir_path
            Directory; made if absent.
        prefix
            Put before the file names; for ``format="scvi"`` only.
        overwrite
            Whether to write into a directory that exists.
        save_anndata
            Whether to write the data too; for ``format="scvi"`` only.
        format
            ``"safetensors"``: the panel's weights and plain JSON, to share with anybody.
            ``"scvi"``: scvi-tools' own format, a pickle.
        **kwargs
            For scvi-tools' ``save``.

        Raises
        ------
        FileExistsError
            The directory exists and `overwrite` is not set.
        """
        if format == "scvi":
            super().save(str(dir_path), prefix, overwrite, save_anndata, **kwargs)
            return
        _refuse_scvi_arguments(format, prefix=prefix, save_anndata=save_anndata, **kwargs)
        description = {
            "registry": self.registry,
            "init": self.init_params_["non_kwargs"],
            "selection": self.selection.to_dict(),
        }
        write_model(dir_path, description, self.module.state_dict(), overwrite=overwrite)

    @classmethod
    def load(
        cls,
        dir_path: str | Path,
        adata: AnnData | None = None,
        accelerator: str = "auto",
        device: int | str = "auto",
        prefix: str | None = None,
        *,
        format: Literal["safetensors", "scvi"] = "safetensors",
        **kwargs: Any,
    ) -> YOTO:
        """Load a trained model.

        Parameters
        ----------
        dir_path
            Directory that `save` wrote.
        adata
            Data to attach, with all genes of the training data in their order. It is not needed
            to predict.
        accelerator, device
            Where to put the model, as in scvi-tools.
        prefix
            Prefix of the file names; for ``format="scvi"`` only.
        format
            ``"safetensors"`` runs no code from the files. ``"scvi"`` unpickles: load such files
            from people you trust only.
        **kwargs
            For scvi-tools' ``load``.

        Raises
        ------
        FileNotFoundError
            There is no model in the directory.
        ValueError
            The files are damaged, or written by a newer version.
        """
        if format == "scvi":
            return super().load(str(dir_path), adata, accelerator, device, prefix, **kwargs)
        _refuse_scvi_arguments(format, prefix=prefix, **kwargs)
        description, weights = read_model(dir_path)
        try:
            registry = description["registry"]
            selection = Selection.from_dict(description["selection"])
            model = cls(None, registry, **description["init"])
            model.selection_ = selection
            model.module.on_load(model)
            model.module.load_state_dict(weights)
        except (KeyError, TypeError, ValueError, RuntimeError, AttributeError) as error:
            raise damaged(dir_path, "its parts do not fit together") from error
        if adata is not None:
            cls.setup_anndata(adata, source_registry=registry, **registry["setup_args"])
            model.adata = adata
        _, _, target = parse_device_args(
            accelerator, device, return_device="torch", validate_single_device=True
        )
        model.to_device(target)
        model.module.eval()
        model.is_trained_ = True
        return model


def panel_values(
    adata: AnnData, selection: Selection, layer: str | None, n_genes: int
) -> sp.csr_matrix:
    """Read the `n_genes` best genes, by rank, of shape ``(n_obs, n_genes)``, and nothing else."""
    genes = selection.trained_genes[:n_genes]
    absent = missing_genes(adata.var_names, genes)
    if absent:
        raise KeyError(
            f"adata lacks {len(absent)} of the {n_genes} genes that the model reads: {absent}. "
            "All of them must be measured; a smaller n_genes reads fewer."
        )
    raw: Literal["if_present", "if_scaled"] = "if_present" if selection.from_raw else "if_scaled"
    expression = Expression.from_adata(adata, layer, genes, raw=raw)
    if selection.is_counts and not expression.is_counts:
        raise ValueError(
            f"The model was trained on counts, but adata.{expression.source} holds fractions. "
            "Name the layer that holds counts in `layer`."
        )
    if not selection.is_counts:
        if expression.is_counts and expression.matrix.nnz and expression.matrix.data.max() > 1:
            raise ValueError(
                f"The model was trained on normalised expression, but adata.{expression.source} "
                "holds counts. Normalise them as the training data were."
            )
        expression = replace(expression, is_counts=False)
    return expression.on_model_scale()


def _any_label(labels: Sequence[NDArray[Any]], cells: NDArray[np.intp]) -> bool:
    """Whether any of the cells has a label of any task."""
    return any(bool(observed(array[cells]).any()) for array in labels)


def _refuse_scvi_arguments(format: str, **arguments: Any) -> None:
    """Refuse unknown formats, and arguments that only scvi-tools' own format knows."""
    if format != "safetensors":
        raise ValueError(f'format must be "safetensors" or "scvi", not {format!r}.')
    given = [name for name, value in arguments.items() if value]
    if given:
        raise TypeError(f'{given} can be used with format="scvi" only.')
