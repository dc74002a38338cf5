"""Reading what a selection stored, with one clear error where it is not there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from yoto_sc._keys import Keys
from yoto_sc._panel import Panel

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anndata import AnnData


def read_panel(adata: AnnData, key: str, n_genes: int | None = None) -> Panel:
    """Read the panel as selected, or the one of `n_genes` from the same ranking."""
    panel = Panel.from_adata(adata, key)
    if n_genes is not None:
        n_ranked = int(panel.table["rank"].notna().sum())
        if not 1 <= n_genes <= n_ranked:
            raise ValueError(
                f"n_genes must be between 1 and the {n_ranked} ranked genes, not {n_genes}."
            )
        panel = panel.prefix(n_genes)
    if panel.n_genes == 0:
        raise ValueError(
            f"No gene of adata is selected in adata.var[{Keys(key).selected!r}]: was adata "
            "reduced to other genes after the selection? Plot the object that was selected on."
        )
    return panel


def read_table(adata: AnnData, key: str, name: str, columns: Sequence[str]) -> pd.DataFrame:
    """Return a copy of the table ``adata.uns[key][name]``, which must have the `columns`."""
    run = f"Run yoto_sc.tl.select(adata, …, key_added={key!r})"
    results = adata.uns.get(Keys(key).uns)
    if results is None or not hasattr(results, "get"):
        raise KeyError(
            f"adata.uns has no results under {key!r}. {run} first, or pass the key it was run "
            "with."
        )
    table = results.get(name)
    if table is None:
        raise KeyError(
            f"adata.uns[{key!r}] holds no {name!r}: the selection was written by another version "
            f"or stripped of it. {run} again."
        )
    absent = [column for column in columns if column not in table.columns]
    if absent:
        raise KeyError(
            f"The table adata.uns[{key!r}][{name!r}] has no column {absent[0]!r}, only "
            f"{list(table.columns)}. {run} again."
        )
    return table.copy()


def check_returned(table: object, verb: str, columns: Sequence[str]) -> None:
    """Refuse what is not the table that a verb returns."""
    if not isinstance(table, pd.DataFrame):
        raise TypeError(f"table must be what {verb} returned, not a {type(table).__name__}.")
    absent = [column for column in columns if column not in table.columns]
    if absent:
        raise KeyError(f"The table has no column {absent[0]!r}. Pass what {verb} returned.")


def read_tasks(adata: AnnData, key: str) -> pd.DataFrame:
    """Read the table of tasks: index the task, column ``kind``."""
    tasks = read_table(adata, key, "tasks", ["kind"])
    tasks.index = tasks.index.astype(str)
    return tasks


def read_results(adata: AnnData, key: str) -> dict[str, Any]:
    """Read all that is stored in ``adata.uns``; empty where nothing is."""
    return dict(adata.uns.get(Keys(key).uns, {}))


def gene_labels(adata: AnnData, genes: Sequence[str], gene_symbols: str | None) -> list[str]:
    """Return the name under which each gene is shown, all different.

    A gene whose symbol is missing, or is also another gene's, keeps its var name.
    """
    if gene_symbols is None:
        return list(genes)
    if gene_symbols not in adata.var.columns:
        raise KeyError(
            f"gene_symbols={gene_symbols!r} is not a column of adata.var. The columns are "
            f"{list(adata.var.columns)}."
        )
    symbols = adata.var[gene_symbols].astype(object).loc[list(genes)]
    unusable = symbols.isna() | (symbols == "") | symbols.duplicated(keep=False)
    unusable |= symbols.isin(genes)  # the var name of another gene, which that one may need
    shown: list[str] = np.where(unusable, list(genes), symbols.astype(str)).tolist()
    return shown
