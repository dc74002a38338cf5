"""What a trained model tells: its panel, its scores, and what it makes of cells."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import pandas as pd
from scvi.model.base import BaseModelClass
from sklearn.exceptions import NotFittedError

from yoto_sc._checks import check_integer, check_panel, missing_genes
from yoto_sc._genes import known_otherwise, listed
from yoto_sc._threads import one_thread
from yoto_sc.assay import Adapt, Network, borne_depths, label_cells
from yoto_sc.data import former_layer, read_expression
from yoto_sc.judge import predictions_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anndata import AnnData
    from numpy.typing import NDArray

    from yoto_sc._panel import Panel
    from yoto_sc._problem import Problem
    from yoto_sc.assay import Novelty, Query, Reference
    from yoto_sc.data import Expression
    from yoto_sc.judge import Selection
    from yoto_sc.teach import Decoder
    from yoto_sc.train import YOTOModule

logger = logging.getLogger(__name__)

Missing = Literal["error", "zero"]
_LARGEST_LOG = 20.0
"""Fractions up to this may be logarithms of counts."""
_SMALLEST_HALF = 16
"""Fewer genes are not read apart from the others, in another assay."""


class PredictionMixin(BaseModelClass):
    """The methods of :class:`~yoto_sc.model.YOTO` that tell what it has learned, and predict."""

    selection_: Selection | None
    decoder_: Decoder | None
    reference_: Reference | None
    novelties_: dict[int, Novelty]
    _problem: Problem | None

    @property
    def selection(self) -> Selection:
        """Everything the training came to, as plain tables."""
        if self.selection_ is None:
            raise NotFittedError("The model is not trained yet. Call train() first.")
        return self.selection_

    @property
    def path(self) -> pd.DataFrame:
        """Held-out ``score`` by ``task`` and ``n_genes``, and ``standard_error``."""
        return self.selection.path

    @property
    def metrics(self) -> pd.DataFrame:
        """Scores on the held-out cells of a training without them, one row for each task."""
        return self.selection.metrics

    @property
    def history(self) -> pd.DataFrame:
        """The ``step``, ``n_genes``, losses and ``validation_score`` at the end of every epoch."""
        return self.selection.history

    @property
    def held_out(self) -> pd.DataFrame:
        """The predictions behind `metrics`: labels and values of the held-out cells, by task."""
        return self.selection.held_out

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
        self,
        adata: AnnData | None = None,
        *,
        layer: str | None = None,
        n_genes: int | None = None,
        missing: Missing = "error",
    ) -> pd.DataFrame:
        """Predict every task for every cell, from the panel genes alone.

        Parameters
        ----------
        adata
            Cells that hold at least the panel's genes, in any order; `None`: the model's own.
        layer
            Layer that holds expression like that in training; `None`: the layer that the model
            was trained on, if `adata` has it, else ``X``.
        n_genes
            Number of best genes to use; `None`: the panel's size.
        missing
            What to do about panel genes that `adata` lacks: ``"error"``, or ``"zero"`` to blank
            them and tell the network that they are unmeasured.

        Returns
        -------
        One column for each task, of shape ``(n_obs, n_tasks)``: categorical with the task's own
        categories, or float32. NA where the predicted class of a coarser level of the same tree
        holds none of this task.

        Raises
        ------
        KeyError
            A panel gene is missing, or all of them are.
        ValueError
            The expression is not of the kind the model was trained on, or `n_genes` is out of
            range.
        """
        predictions, _ = self.predict_all(adata, layer=layer, n_genes=n_genes, missing=missing)
        table = predictions_table(self.tasks, predictions, self._cell_names(adata))
        for position, without in self.selection.levels.without_label(predictions).items():
            name = self.tasks[position].name
            table[name] = table[name].mask(without)
        return table

    def predict_proba(
        self,
        adata: AnnData | None = None,
        *,
        layer: str | None = None,
        n_genes: int | None = None,
        missing: Missing = "error",
    ) -> dict[str, pd.DataFrame]:
        """Return the class probabilities of every categorical task.

        Parameters
        ----------
        adata, layer, n_genes, missing
            As in :meth:`predict`.

        Returns
        -------
        By task, a table of shape ``(n_obs, n_classes)`` whose rows sum to 1.
        """
        predictions, _ = self.predict_all(adata, layer=layer, n_genes=n_genes, missing=missing)
        return {
            task.name: pd.DataFrame(
                values, index=self._cell_names(adata), columns=pd.Index(task.categories)
            )
            for task, values in zip(self.tasks, predictions, strict=True)
            if task.categories
        }

    def get_latent_representation(
        self,
        adata: AnnData | None = None,
        *,
        layer: str | None = None,
        n_genes: int | None = None,
        missing: Missing = "error",
    ) -> NDArray[np.float32]:
        """Return the shared representation, ``(n_obs, n_members * n_hidden)``.

        Parameters
        ----------
        adata, layer, n_genes, missing
            As in :meth:`predict`.
        """
        return self.predict_all(adata, layer=layer, n_genes=n_genes, missing=missing)[1]

    def impute(
        self,
        adata: AnnData | None = None,
        genes: Sequence[str] | None = None,
        *,
        layer: str | None = None,
        n_genes: int | None = None,
        missing: Missing = "error",
    ) -> pd.DataFrame:
        """Tell the expression of genes that need not be measured; see :func:`yoto_sc.tl.impute`.

        Parameters
        ----------
        adata, layer, n_genes, missing
            As in :meth:`predict`.
        genes
            Genes of the training data; `None`: all outside the panel.

        Returns
        -------
        Log-normalised expression, float32 of shape ``(n_obs, n_genes)``.

        Raises
        ------
        KeyError
            The training data had no such gene.
        ValueError
            The model has not learned the transcriptome.
        """
        decoder, names = self.decoder(), self.selection.panel.table.index
        if genes is None:
            genes = list(names[~self.selection.panel.table["selected"].to_numpy()])
        check_panel(names, list(genes), "genes")
        predictions, _ = self.predict_all(adata, layer=layer, n_genes=n_genes, missing=missing)
        found = next(p for p, t in zip(predictions, self.tasks, strict=True) if t.is_derived)
        values = decoder.decode(found, names.get_indexer(pd.Index(genes)))
        return pd.DataFrame(values, index=self._cell_names(adata), columns=list(genes))

    def reference_groups(self) -> list[str]:
        """Name the groups of cells that the reference is remembered by."""
        reference = self.reference_
        if reference is None or reference.task < 0:
            return ["all"]
        return [str(category) for category in self.tasks[reference.task].categories]

    def decoder(self) -> Decoder:
        """Return what tells all genes from the transcriptome that the panel predicts."""
        if self.decoder_ is None:
            raise ValueError(
                "The model has not learned the transcriptome. Select with transcriptome=True, "
                "beside other tasks or alone."
            )
        return self.decoder_

    def predict_all(
        self,
        adata: AnnData | None = None,
        *,
        layer: str | None = None,
        n_genes: int | None = None,
        missing: Missing = "error",
        embedding: bool = True,
    ) -> tuple[list[NDArray[Any]], NDArray[np.float32]]:
        """Return what the other methods cut from, in one pass.

        Parameters
        ----------
        adata, layer, n_genes, missing
            As in :meth:`predict`.
        embedding
            Whether to return the representation; else it has no columns.

        Returns
        -------
        For each task, class probabilities ``(n_obs, n_classes)`` or values ``(n_obs,)``; and the
        shared representation, ``(n_obs, n_members * n_hidden)``.
        """
        with one_thread():
            read = self._read(adata, layer=layer, n_genes=n_genes, missing=missing)
            return self.module.predict_all(
                read.expression.n_obs,
                read.padded,
                len(read.measured),
                read.measured,
                embedding=embedding,
            )

    def label(
        self,
        adata: AnnData | None = None,
        *,
        layer: str | None = None,
        n_genes: int | None = None,
        missing: Missing = "error",
        adapt: Adapt = "auto",
        novelty: bool = False,
        embedding: bool = True,
    ) -> tuple[Query, Sequence[str]]:
        """Predict the cells of another assay, as :func:`yoto_sc.tl.predict` does.

        Parameters
        ----------
        adata, layer, n_genes, missing
            As in :meth:`predict`.
        adapt
            See :func:`yoto_sc.tl.predict`.
        novelty
            Whether to tell how unlike the classes of the reference each cell is.
        embedding
            Whether to keep the representation; else it has no columns.

        Returns
        -------
        The labels with what was done, and the var names of the genes that were read.
        """
        if adapt not in get_args(Adapt):
            raise ValueError(f"adapt must be one of {get_args(Adapt)}, not {adapt!r}.")
        read = self._read(adata, layer=layer, n_genes=n_genes, missing=missing)
        return self._label(read, adapt, novelty=novelty, embedding=embedding), read.genes

    def _label(
        self, read: _Read, adapt: Adapt, *, novelty: bool = False, embedding: bool = True
    ) -> Query:
        """Predict what was read."""
        reference = self.reference_
        if reference is not None:
            reference = reference.of_genes(np.flatnonzero(read.measured))
        elif adapt == "genes":
            raise ValueError(
                "The model remembers nothing of its reference to adapt to. Train it again, or "
                'pass adapt="none".'
            )

        def predict(
            module: YOTOModule, n_genes: int, values: NDArray[np.float32]
        ) -> tuple[list[NDArray[Any]], NDArray[np.float32]]:
            wide, measured = read.wide(values), read.measured[:n_genes]
            return module.predict_all(len(wide), wide.__getitem__, n_genes, measured)

        novelties = self.novelties_ if novelty else {}
        if novelty and not novelties:
            raise ValueError(
                "The model cannot tell what is new: it has no classes, or an earlier version "
                "trained it."
            )
        if novelty and (len(read.genes) != self.selection.panel.n_genes):
            raise ValueError(
                "What is new can be told from the whole panel only, all of its genes."
            )
        is_counts, robust = self.selection.is_counts, self.module.robust
        n_genes, n_half = len(read.measured), len(read.measured) // 2
        halved = robust is not None and read.measured[:n_half].sum() >= _SMALLEST_HALF
        network = Network(
            partial(predict, self.module, n_genes),
            self.tasks,
            self.selection.levels,
            is_counts,
            None if robust is None else partial(predict, robust, n_genes),
            borne_depths(self.selection.robust),
            partial(predict, robust, n_half) if halved else None,
        )
        with one_thread():
            query = label_cells(
                read.expression.n_obs,
                read.values,
                network,
                reference,
                adapt,
                novelties,
                embedding=embedding,
            )
        query.report(read.genes, are_counts=is_counts)
        return query

    def _read(
        self,
        adata: AnnData | None,
        *,
        layer: str | None,
        n_genes: int | None,
        missing: Missing,
    ) -> _Read:
        """Find the genes that the network reads, and check what is asked."""
        selection = self.selection
        n_genes = selection.panel.n_genes if n_genes is None else n_genes
        check_integer(n_genes, "n_genes", minimum=1)
        if n_genes > selection.n_trained:
            raise ValueError(
                f"The model was trained to predict from at most {selection.n_trained} genes, not "
                f"{n_genes}."
            )
        if missing not in get_args(Missing):
            raise ValueError(f"missing must be one of {get_args(Missing)}, not {missing!r}.")
        genes = selection.trained_genes[:n_genes]
        if adata is None and self._problem is not None:
            expression = self._problem.expression_of(genes)
            columns, everything = np.arange(len(genes)), np.ones(len(genes), dtype=bool)
            return _Read(expression, columns, everything, genes, not selection.is_counts)
        if adata is None:
            if self.adata is None:
                raise ValueError("The model was loaded without data. Pass adata.")
            adata, layer = self.adata, self.registry["setup_args"]["layer"]
        measured = _measured(adata, genes, missing)
        if not measured.all():
            _report_missing(selection, genes, measured)
        present = [gene for gene, there in zip(genes, measured, strict=True) if there]
        expression = panel_expression(adata, selection, layer, present)
        columns = np.arange(len(present))
        logs = selection.is_counts and not expression.is_counts
        return _Read(expression, columns, measured, present, not selection.is_counts, logs)

    def _cell_names(self, adata: AnnData | None) -> pd.Index:
        """Return the names of the cells that are predicted."""
        if adata is not None:
            return adata.obs_names
        return self.adata.obs_names if self._problem is None else self._problem.obs_names


@dataclass(frozen=True, eq=False)
class _Read:
    """Expression of the genes that the network reads, as far as they were measured."""

    expression: Expression
    columns: NDArray[np.intp]  # of those that were measured
    measured: NDArray[np.bool_]  # (n_genes,)
    genes: Sequence[str]  # those that were measured
    raw: bool  # as stored
    logs: bool = False  # fractions are read as counts are

    def values(self, cells: NDArray[np.intp] | slice) -> NDArray[np.float32]:
        """Return measured genes of some cells, ``(n_cells, n_measured)``."""
        found = self.expression.take(cells, self.columns, raw=self.raw).toarray()
        return np.log1p(found) if self.logs else found

    def wide(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Put zeros in the place of genes that were not measured, ``(n_cells, n_genes)``."""
        if self.measured.all():
            return values
        block = np.zeros((len(values), len(self.measured)), dtype=np.float32)
        block[:, self.measured] = values
        return block

    def padded(self, cells: NDArray[np.intp] | slice) -> NDArray[np.float32]:
        """Return all genes of some cells, zeros where they were not measured."""
        return self.wide(self.values(cells))


def _measured(adata: AnnData, genes: Sequence[str], missing: Missing) -> NDArray[np.bool_]:
    """Return which of the genes `adata` holds, ``(n_genes,)``."""
    absent = missing_genes(adata.var_names, genes)
    if absent and (missing == "error" or len(absent) == len(genes)):
        hint = known_otherwise(adata.var, absent)
        if len(absent) == len(genes):
            raise KeyError(
                f"adata lacks all {len(genes)} genes that the model reads: {listed(absent)}.{hint}"
            )
        raise KeyError(
            f"adata lacks {len(absent)} of the {len(genes)} genes that the model reads: "
            f"{listed(absent)}.{hint} A smaller n_genes reads fewer; "
            "missing='zero' goes on without them."
        )
    return ~np.isin(genes, absent)


def _report_missing(
    selection: Selection, genes: Sequence[str], measured: NDArray[np.bool_]
) -> None:
    """Say what it costs to go on without genes."""
    absent = [gene for gene, there in zip(genes, measured, strict=True) if not there]
    costs = "What that costs was not measured."
    if len(genes) == selection.panel.n_genes:
        expected = [
            f"{row.metric} of {row.Index} from {row.score:.3f} to {row.expected:.3f}"
            for row in selection.scores_without(absent).dropna().itertuples()
        ]
        if expected:
            costs = f"By the sum of what each costs alone, expect roughly {'; '.join(expected)}."
    logger.warning(
        "adata lacks %d of the %d genes that the model reads: %s. They are taken as unmeasured. "
        "%s",
        len(absent),
        len(genes),
        absent,
        costs,
    )


def panel_expression(
    adata: AnnData, selection: Selection, layer: str | None, genes: Sequence[str]
) -> Expression:
    """Read some genes where the model would read them, and nothing else.

    Raises
    ------
    ValueError
        The expression is not of the kind the model was trained on.
    """
    layer = former_layer(adata, selection.source) if layer is None else layer
    raw: Literal["if_present", "if_scaled"] = (
        "if_present" if selection.source == "raw" else "if_scaled"
    )
    expression = read_expression(adata, layer, genes, raw=raw)
    if selection.is_counts and not expression.is_counts:
        if expression.maximum <= _LARGEST_LOG:
            raise ValueError(
                f"The model was trained on counts, but adata.{expression.source} holds fractions. "
                "Name the layer that holds counts in `layer`."
            )
        logger.warning(
            "The model was trained on counts, but adata.%s holds fractions. They are too large to "
            "be logarithms, and are taken as corrected counts.",
            expression.source,
        )
    if not selection.is_counts and expression.is_counts and expression.maximum > 1:
        raise ValueError(
            f"The model was trained on normalised expression, but adata.{expression.source} holds "
            "counts. Normalise them as the training data were."
        )
    return expression
