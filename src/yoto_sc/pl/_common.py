"""Reading what a selection stored, with one clear error where it is not there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from yoto_sc._keys import Keys
from yoto_sc._panel import Panel

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from anndata import AnnData


def read_panel(adata: AnnData, key: str, n_genes: int | None = None) -> Panel:
    """Read the panel that is to be shown.

    Parameters
    ----------
    adata
        Annotated data with the results of a selection.
    key
        The selection's ``key_added``.
    n_genes
        Show the panel of this size from the same ranking; ``None``: the panel as selected.

    Raises
    ------
    KeyError
        `adata` holds no selection under `key`.
    ValueError
        `n_genes` is below 1 or above the number of ranked genes, or no gene is selected.
    """
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
    """Return a copy of one of the tables of ``adata.uns[key]``.

    Parameters
    ----------
    adata
        Annotated data with the results of a selection.
    key
        The selection's ``key_added``.
    name
        Entry of ``adata.uns[key]``.
    columns
        Columns that the caller needs.

    Raises
    ------
    KeyError
        There is no selection under `key`, it holds no such table, or a column is missing.
    """
    table = _results(adata, key).get(name)
    if table is None:
        raise KeyError(
            f"adata.uns[{key!r}] holds no {name!r}: the selection was written by another version "
            f"or stripped of it. Run yoto_sc.tl.select(adata, …, key_added={key!r}) again."
        )
    absent = [column for column in columns if column not in table.columns]
    if absent:
        raise KeyError(
            f"The table adata.uns[{key!r}][{name!r}] has no column {absent[0]!r}, only "
            f"{list(table.columns)}. Run yoto_sc.tl.select(adata, …, key_added={key!r}) again."
        )
    return table.copy()


def read_tasks(adata: AnnData, key: str) -> pd.DataFrame:
    """Read the table of tasks: index the task, column ``kind``."""
    tasks = read_table(adata, key, "tasks", ["kind"])
    tasks.index = tasks.index.astype(str)
    return tasks


def read_params(adata: AnnData, key: str) -> dict[str, Any]:
    """Read the parameters of the selection; empty where none were stored."""
    return dict(adata.uns.get(Keys(key).uns, {}).get("params", {}))


def gene_labels(adata: AnnData, genes: Sequence[str], gene_symbols: str | None) -> list[str]:
    """Return the name under which each gene is shown.

    Parameters
    ----------
    adata
        Annotated data.
    genes
        Var names.
    gene_symbols
        Column of ``adata.var`` with the names to show; ``None``: the var names.

    Returns
    -------
    One name for each gene, all different: a gene whose symbol is missing, or is also another
    gene's, keeps its var name.

    Raises
    ------
    KeyError
        `gene_symbols` is not a column of ``adata.var``.
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
    return [
        gene if is_unusable else str(symbol)
        for gene, symbol, is_unusable in zip(genes, symbols, unusable, strict=True)
    ]


def _results(adata: AnnData, key: str) -> dict[str, Any]:
    results = adata.uns.get(Keys(key).uns)
    if results is None or not hasattr(results, "get"):
        raise KeyError(
            f"adata.uns has no results under {key!r}. Run yoto_sc.tl.select(adata, …, "
            f"key_added={key!r}) first, or pass the key it was run with."
        )
    return dict(results)
