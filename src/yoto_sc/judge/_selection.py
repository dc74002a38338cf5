"""What a training came to: one frozen record, all of it plain tables."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from yoto_sc._panel import Panel
from yoto_sc.data import Levels

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from yoto_sc.assay import Robust

_NO_ROWS: dict[str, Any] = {"index_name": "task", "index": [], "columns": {}}


@dataclass(frozen=True)
class Selection:
    """The outcome of one training.

    Parameters
    ----------
    panel
        Ranking of all genes, with the panel cut from its top.
    n_trained
        Number of genes, from rank 1 on, that the network was kept for: it predicts from any
        smaller number of them too.
    is_counts
        Whether the model was trained on counts (and takes ``log1p``) or on normalised values.
    source
        Where expression was read: ``"X"``, ``"raw"`` or ``"layers/<name>"``.
    tasks
        One row for each task: ``kind``, ``n_categories``, ``n_observed``, ``n_train``,
        ``n_validation``, and, if any are levels of one tree, ``level_of``: the task that it lies
        within, or nothing.
    metrics
        One row for each task: scores on the held-out cells, NaN where not applicable.
    columns
        The same scores of each ``column`` of vectors, by ``task``; empty without such tasks.
    teacher
        One row for each task that had cells without a label: the ``metric``, numbers of training
        cells that were ``n_labeled`` and ``n_unlabeled``, the out-of-fold ``teacher_score`` and
        ``panel_score``, and whether the teacher ``is_used``.
    path
        Held-out score by ``n_genes`` and ``task``, with the name of the ``metric``, its
        ``standard_error`` over bootstrap samples of the held-out cells, and the ``predictor``:
        the ``"network"``, or ``"ridge"`` regression for more genes than that reads.
    history
        One row for each epoch: ``step``, ``n_genes``, ``train_loss``, ``validation_loss`` and
        ``validation_score``.
    confusion
        Number of held-out cells by ``task``, ``observed`` and ``predicted`` class.
    held_out
        The predictions that were scored, one column for each task, by obs name.
    attribution
        For each panel gene, the ``task`` whose term in the criterion of the start rises most
        without it, and by how much, ``criterion_increase``; and the ``category`` that owes most
        to it: the gene has the largest share in the rises of this class's confusion over all
        genes.
    without
        By how much the score of every ``task`` falls with one panel ``gene`` unmeasured
        (``loss``), with the name of the ``metric``. Where the network learned from all cells, it
        is measured on these.
    base
        What the genes that had to be in the panel tell alone, and what the chosen ones add, by the
        same network, which reads any first genes of its ranking. One row for each task: the
        ``metric``, ``n_base`` and ``n_chosen`` genes, the held-out ``base_score`` and ``score`` of
        the whole panel, ``gain``, and its ``standard_error`` over the same bootstrap samples.
        Empty without such genes, or held-out cells.
    levels
        Which tasks lie within others, and where their classes do.
    adapted
        Where the model comes from, if another one was adapted to cells of another assay: one row
        for each task, with the ``model``, the numbers of these cells that were ``n_labeled`` and
        ``n_unlabeled``, and of classes that are new, ``n_new``. Scores are those of the other
        model, on cells of its own assay. Empty: it was trained on its own.
    robust
        Which other assays were imitated for a second network on the same genes; `None`: there is
        no such network.
    """

    panel: Panel
    n_trained: int
    is_counts: bool
    source: str
    tasks: pd.DataFrame
    metrics: pd.DataFrame
    path: pd.DataFrame
    history: pd.DataFrame
    confusion: pd.DataFrame
    held_out: pd.DataFrame
    attribution: pd.DataFrame
    without: pd.DataFrame
    columns: pd.DataFrame = field(default_factory=pd.DataFrame)
    teacher: pd.DataFrame = field(default_factory=pd.DataFrame)
    base: pd.DataFrame = field(default_factory=lambda: _frame_from_dict(_NO_ROWS))
    levels: Levels = Levels()
    adapted: pd.DataFrame = field(default_factory=lambda: _frame_from_dict(_NO_ROWS))
    robust: Robust | None = None

    @property
    def trained_genes(self) -> list[str]:
        """Var names of the genes the network reads, by rank."""
        return self.panel.prefix(self.n_trained).genes

    def scores_without(self, genes: Sequence[str]) -> pd.DataFrame:
        """Estimate every task's score where panel genes are not measured.

        What each gene costs when it alone is missing was measured, in part on the very cells the
        network learned from; the costs are added up. So it is rough: genes that can stand in for
        each other cost more together, genes that tell the same cost less.

        Parameters
        ----------
        genes
            Var names of panel genes.

        Returns
        -------
        One row for each task: ``metric``, its ``score`` with the whole panel, and ``expected``.
        """
        without = self.without[self.without["gene"].isin(genes)]
        whole = self.path[self.path["n_genes"] == self.panel.n_genes].set_index("task")
        score = whole["score"]
        cost = without["loss"].clip(lower=0)
        expected = score - cost.groupby(without["task"]).sum(min_count=1).reindex(score.index)
        return whole[["metric", "score"]].assign(expected=expected)

    def to_dict(self) -> dict[str, Any]:
        """Plain types for JSON; `from_dict` is its inverse."""
        record: dict[str, Any] = {"levels": self.levels.to_list()} if self.levels else {}
        for entry in fields(self):
            value = getattr(self, entry.name)
            if isinstance(value, Levels):
                continue
            value = value.table if isinstance(value, Panel) else value
            record[entry.name] = (
                _frame_to_dict(value) if isinstance(value, pd.DataFrame) else value
            )
        return record

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Selection:
        """Rebuild a record from `to_dict`."""
        values: dict[str, Any] = {
            entry.name: _frame_from_dict(record[entry.name])
            if isinstance(record[entry.name], dict)
            else record[entry.name]
            for entry in fields(cls)
            if entry.name in record and entry.name != "levels"  # earlier versions had fewer
        }
        levels = Levels.from_list(record.get("levels", []))
        return cls(**{**values, "panel": Panel(values["panel"]), "levels": levels})


def _frame_to_dict(frame: pd.DataFrame) -> dict[str, Any]:
    columns: dict[str, dict[str, Any]] = {}
    for name, column in frame.items():
        columns[str(name)] = {
            "dtype": str(column.dtype),
            "values": [None if pd.isna(value) else value for value in column.tolist()],
        }
        if isinstance(column.dtype, pd.CategoricalDtype):
            columns[str(name)]["categories"] = column.cat.categories.tolist()
            columns[str(name)]["ordered"] = bool(column.cat.ordered)
    return {"index_name": frame.index.name, "index": frame.index.tolist(), "columns": columns}


def _frame_from_dict(record: Mapping[str, Any]) -> pd.DataFrame:
    index = pd.Index(record["index"], name=record["index_name"])
    columns = {}
    for name, column in record["columns"].items():
        values, dtype = column["values"], column["dtype"]
        if dtype.startswith("float"):
            values = [np.nan if value is None else value for value in values]
        if "categories" in column:
            dtype = pd.CategoricalDtype(column["categories"], column["ordered"])
        columns[name] = pd.Series(values, index=index, dtype=dtype)
    return pd.DataFrame(columns, index=index)
