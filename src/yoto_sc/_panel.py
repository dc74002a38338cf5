"""The panel: which genes were selected, in which order, and what each is for."""

from __future__ import annotations

import html
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args, overload

import numpy as np
import pandas as pd

from yoto_sc._gene_files import is_excel, read_gene_file, write_gene_file
from yoto_sc._genes import accept, check_unknown_genes, find_genes, names_in, without_version
from yoto_sc._keys import DEFAULT_KEY, Keys

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from anndata import AnnData
    from numpy.typing import NDArray

    from yoto_sc._gene_files import GeneFile
    from yoto_sc._genes import UnknownGenes

logger = logging.getLogger(__name__)

Layout = Literal["table", "list", "xenium"]
"""How the genes of a panel are laid out in a file."""

ATTRIBUTION_COLUMNS = ("task", "category")
COLUMNS = ("selected", "rank", "score", *ATTRIBUTION_COLUMNS)
_NAME_COLUMNS = ("symbol", "ensembl_id")
_OPTIONAL_COLUMNS = (*_NAME_COLUMNS, "cost", "imposed")
_DTYPES: dict[str, Any] = {
    "selected": bool,
    "rank": "Int64",
    "score": np.float32,
    "cost": float,
    "imposed": bool,
}
"""All other columns hold text."""
_CSV_COLUMNS = (
    *_NAME_COLUMNS,
    *("rank", "score", "imposed", "role"),
    *ATTRIBUTION_COLUMNS,
    "cost",
)

_SHOWN_ROWS = 30
"""Genes of a panel that a notebook shows; of longer ones, the first and the last."""


@dataclass(frozen=True, eq=False, repr=False)
class Panel(Sequence[str]):
    """A ranking of genes and the panel cut from its top.

    A panel is also the list of its selected genes, most important first: it has a length, can be
    indexed, sliced (which gives a list) and asked for a gene with ``in``, and goes wherever a list
    of genes does, such as ``include``, :func:`yoto_sc.tl.evaluate` or ``adata[:, panel]``. In a
    notebook it shows itself as a table.

    Parameters
    ----------
    table
        One row for each gene, indexed by var name, with the columns ``selected`` (bool),
        ``rank`` (Int64, 1 = most important, NA for genes that were no candidates), ``score``
        (float32), ``task`` and ``category`` (str: the task a selected gene serves most, and the
        class of that task; empty where unknown). It may have ``symbol``, ``ensembl_id`` (str,
        empty where unknown), ``cost`` (float64) and ``imposed`` (bool: the gene was to be in the
        panel in any case) too.
    assay
        What an assay will meet of each selected gene, by rank: ``mean`` and ``detection`` (share
        of the cells) over the reference, ``share`` of the panel's counts, and ``peak_detection``
        in the ``peak_class`` of ``peak_task`` where it is seen most (of 50 cells, where that has
        fewer). `None`: not known.
    assay_summary
        The same of the whole panel: ``share_of_heaviest``, the share of the eight genes with most
        counts (``heaviest``); ``crowding``, the sum of mean counts in the ``crowded_class`` of
        ``crowded_task``, and ``max_crowding``, if asked for; the ``detection_floor``, and the
        genes ``below_floor``, if any. `None`: not known.

    Examples
    --------
    >>> import yoto_sc as yt
    >>> panel = yt.Panel.from_genes(["CD3D", "MS4A1", "NKG7"])
    >>> panel.prefix(2).genes
    ['CD3D', 'MS4A1']
    >>> len(panel), panel[0], "NKG7" in panel
    (3, 'CD3D', True)
    """

    table: pd.DataFrame
    assay: pd.DataFrame | None = None
    assay_summary: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        missing = [column for column in COLUMNS if column not in self.table.columns]
        if missing:
            raise ValueError(
                f"A panel's table needs the columns {list(COLUMNS)}; {missing} are missing."
            )
        if not self.table.index.is_unique:
            twice = self.table.index[self.table.index.duplicated()][0]
            raise ValueError(f"Every gene may occur once in a panel, but {twice!r} occurs twice.")
        columns = [c for c in (*COLUMNS, *_OPTIONAL_COLUMNS) if c in self.table.columns]
        table = self.table[columns].set_axis(self.table.index.astype(str))
        for column in columns:
            dtype = _DTYPES.get(column, str)
            given = table[column].astype(object).fillna("") if dtype is str else table[column]
            table[column] = given.astype(dtype)
        unranked = table.index[table["selected"] & table["rank"].isna()]
        if len(unranked):
            raise ValueError(f"The selected gene {unranked[0]!r} has no rank.")
        object.__setattr__(self, "table", table)

    @classmethod
    def from_genes(cls, genes: Sequence[str]) -> Panel:
        """Build a panel from a plain list of var names, most important first."""
        n_genes = len(genes)
        return cls(
            pd.DataFrame(
                {
                    "selected": True,
                    "rank": range(1, n_genes + 1),
                    "score": np.linspace(1, 0, n_genes, endpoint=False),
                    "task": "",
                    "category": "",
                },
                index=pd.Index(list(genes), dtype=object),
            )
        )

    @classmethod
    def from_adata(cls, adata: AnnData, key: str = DEFAULT_KEY) -> Panel:
        """Read the panel that :func:`yoto_sc.tl.select` wrote.

        Symbols and Ensembl IDs are taken from ``adata.var`` where it has a column of a usual name
        (``gene_symbols``, ``feature_name``, ``gene_ids``, …), or from the var names; costs from
        the column that the selection was given.

        Parameters
        ----------
        adata
            Annotated data with the results of a selection.
        key
            The selection's ``key_added``.

        Raises
        ------
        KeyError
            `adata` holds no selection under `key`.
        """
        keys = Keys(key)
        columns = {keys.selected: "selected", keys.rank: "rank", keys.score: "score"}
        absent = [column for column in columns if column not in adata.var.columns]
        if absent:
            raise KeyError(
                f"adata.var has no column {absent[0]!r}. Run yoto_sc.tl.select(adata, …, "
                f"key_added={key!r}) first, or pass the key it was run with."
            )
        table = adata.var[[*columns]].rename(columns=columns).assign(task="", category="")
        results = adata.uns.get(keys.uns, {})
        attribution = results.get("attribution")
        if attribution is not None:
            genes = attribution.index.intersection(table.index)
            for column in ATTRIBUTION_COLUMNS:
                table.loc[genes, column] = attribution.loc[genes, column].astype(str)
        cost = results.get("params", {}).get("cost")
        if cost in adata.var.columns:
            table["cost"] = adata.var[cost]
        if keys.imposed in adata.var.columns:
            table["imposed"] = adata.var[keys.imposed]
        return cls(
            table.assign(**names_in(adata.var)),
            results.get("assay"),
            results.get("assay_summary"),
        )

    @property
    def genes(self) -> list[str]:
        """Var names of the selected genes, most important first."""
        return list(self._selected.index)

    @property
    def n_genes(self) -> int:
        """Number of selected genes."""
        return int(self.table["selected"].sum())

    @property
    def imposed(self) -> list[str]:
        """Var names of the selected genes that were to be in the panel in any case, by rank."""
        table = self._selected
        return list(table.index[table["imposed"]]) if "imposed" in table.columns else []

    @property
    def chosen(self) -> list[str]:
        """Var names of the selected genes that were chosen freely, by rank."""
        imposed = set(self.imposed)
        return [gene for gene in self if gene not in imposed]

    @property
    def _selected(self) -> pd.DataFrame:
        return self.table[self.table["selected"]].sort_values("rank", kind="stable")

    def prefix(self, k: int) -> Panel:
        """Return the panel of size `k` from the same ranking.

        Parameters
        ----------
        k
            Number of genes, from 1 to the number of ranked genes.

        Raises
        ------
        ValueError
            `k` is outside that range.
        """
        n_ranked = int(self.table["rank"].notna().sum())
        if not 1 <= k <= n_ranked:
            raise ValueError(f"k must be between 1 and the {n_ranked} ranked genes, not {k}.")
        ranks: NDArray[np.float64] = self.table["rank"].to_numpy(dtype=np.float64, na_value=np.inf)
        return Panel(self.table.assign(selected=ranks <= k))

    def backups(self, n: int) -> list[str]:
        """Return the genes that come next, should probes of the panel fail, best first.

        Parameters
        ----------
        n
            Number of genes, from 1 to the number of ranked genes that are not selected.

        Raises
        ------
        ValueError
            `n` is outside that range.
        """
        ranked = self.table[self.table["rank"].notna() & ~self.table["selected"]]
        if not 1 <= n <= len(ranked):
            raise ValueError(
                f"n must be between 1 and the {len(ranked)} ranked genes that are not selected, "
                f"not {n}."
            )
        return list(ranked.sort_values("rank", kind="stable").index[:n])

    def subset(self, adata: AnnData) -> AnnData:
        """Return a copy of `adata` that holds only the panel's genes, in the panel's order.

        Raises
        ------
        KeyError
            A panel gene is not in `adata`.
        """
        absent = [gene for gene in self.genes if gene not in adata.var_names]
        if absent:
            raise KeyError(f"adata lacks {len(absent)} panel genes: {absent}.")
        return adata[:, self.genes].copy()

    def to_csv(
        self,
        path: str | Path,
        adata: AnnData | None = None,
        *,
        groupby: str | None = None,
        layer: str | None = None,
        layout: Layout = "table",
    ) -> None:
        """Write the selected genes to a CSV file, most important first; :meth:`read` reads it.

        Names that a spreadsheet would take for formulas, as they begin with ``=``, ``+``, ``-`` or
        ``@``, get an apostrophe before them, which is taken off when they are read.

        Parameters
        ----------
        path
            With the ending ``.tsv``, columns are separated by tabs.
        adata
            Data with the panel's genes, for columns that say how much they are expressed, and for
            symbols and Ensembl IDs. `None`: there are no such columns, and names are those known.
        groupby
            Column of ``adata.obs``, such as cell types, to tell the expression in each group.
        layer
            Layer to read expression from, as stored; `None`: ``X``.
        layout
            ``"table"``: the columns ``gene`` (the var name), ``symbol``, ``ensembl_id``, ``rank``,
            ``score``, ``imposed`` (the gene was in ``include``), ``role`` (what it is for, in
            words), ``task``, ``category`` and ``cost``, without those that are not known; and with
            `adata`, ``mean`` over all cells, ``detection``, the share of cells that express the
            gene, and both for each group, such as ``mean (B cell)``. ``"list"``: symbols, or var
            names where there are none, one a line. ``"xenium"``: the columns ``Gene``,
            ``Ensembl ID``, ``Probe sets`` and ``Force`` of 10x's Xenium Panel Designer, in which
            genes that had to be in the panel are forced.

        Raises
        ------
        KeyError
            `adata` lacks a gene, or `groupby` or `layer` does not exist.
        ValueError
            The layout is unknown, or needs Ensembl IDs that are not known; `groupby` or `layer`
            is given without `adata`; or `path` is one for Excel.
        """
        if is_excel(path):
            raise ValueError(f"{path} is a path for Excel: call Panel.to_excel.")
        sheet = self._sheet(adata, groupby, layer, layout)
        write_gene_file(sheet, path, header=layout != "list")

    def to_excel(
        self,
        path: str | Path,
        adata: AnnData | None = None,
        *,
        groupby: str | None = None,
        layer: str | None = None,
        layout: Layout = "table",
    ) -> None:
        """Write the same as :meth:`to_csv` to an Excel file, in which no name becomes a date.

        Parameters
        ----------
        path
            Ends in ``.xlsx``.
        adata, groupby, layer, layout
            As in :meth:`to_csv`.

        Raises
        ------
        ImportError
            Excel files need the extra ``yoto-sc[excel]``.
        KeyError, ValueError
            As for :meth:`to_csv`, or `path` does not end in ``.xlsx``.
        """
        if not is_excel(path):
            raise ValueError(f"{path} must end in .xlsx.")
        sheet = self._sheet(adata, groupby, layer, layout)
        write_gene_file(sheet, path, header=layout != "list")

    def _sheet(
        self, adata: AnnData | None, groupby: str | None, layer: str | None, layout: Layout
    ) -> pd.DataFrame:
        """Lay the selected genes out, with what `adata` says of them."""
        if layout not in get_args(Layout):
            raise ValueError(f"layout must be one of {get_args(Layout)}, not {layout!r}.")
        table = self._selected
        extra = pd.DataFrame(index=table.index)
        if adata is not None:
            from yoto_sc.data import summarize  # heavier than all the rest

            extra = summarize(adata, list(table.index), groupby, layer)
            for name, column in names_in(adata.var.loc[table.index]).items():
                table[name] = column.astype(object).fillna("").astype(str)
        elif groupby is not None or layer is not None:
            raise ValueError("`groupby` and `layer` are of `adata`: pass it too.")
        if layout != "table":
            return _as_order(table, self.imposed, layout)
        table = table.assign(role=list(map(_role, table["task"], table["category"])))
        columns = [column for column in _CSV_COLUMNS if column in table.columns]
        table = table[columns].join(extra.drop(columns=columns, errors="ignore"))
        return table.rename_axis(index="gene").reset_index()

    @classmethod
    def read(
        cls,
        path: str | Path,
        adata: AnnData | None = None,
        *,
        column: str | None = None,
        sheet: str | int = 0,
        unknown_genes: UnknownGenes = "error",
    ) -> Panel:
        """Read a panel from a file, or any list of genes, as vendors lay it out.

        Files of :meth:`to_csv` come back as they were. Text may be a gene a line, or have columns
        with commas, semicolons or tabs between them, and lines of comments (``#``) before them.
        Columns are known by their usual names, such as ``Gene``,
        ``gene_name``, ``Gene Symbol``, ``Ensembl ID`` or ``gene_id``, in any case. A Xenium's
        ``gene_panel.json`` and a MERSCOPE codebook are read too.

        Parameters
        ----------
        path
            Ends in ``.xlsx`` or ``.xlsm`` for Excel, and in ``.json`` for a Xenium's panel.
        adata
            Data to find the genes in, by var name, by Ensembl ID with or without its version, or
            by symbol. The panel then holds var names. `None`: genes go by the names in the file.
        column
            Column that names the genes; `None`: those of usual names.
        sheet
            Name, or number from 0, of the sheet of an Excel file.
        unknown_genes
            What to do about genes that `adata` lacks: ``"error"`` names them, with what they may
            have meant; ``"ignore"`` leaves them out with a warning, unless none is known.

        Returns
        -------
        The panel, ranked in the order of the file. Of a gene that is named twice, the first row
        counts.

        Raises
        ------
        ImportError
            Excel files need the extra ``yoto-sc[excel]``.
        KeyError
            `adata` lacks a gene.
        ValueError
            The file holds no gene, or no column of genes.

        Examples
        --------
        >>> import yoto_sc as yt
        >>> yt.Panel.from_genes(["CD3D", "MS4A1"]).to_csv("my_panel.csv")
        >>> yt.Panel.read("my_panel.csv", yt.datasets.pbmc68k()).genes
        ['CD3D', 'MS4A1']
        """
        check_unknown_genes(unknown_genes)
        file = read_gene_file(path, column=column, sheet=sheet)
        names, ids = file.column(file.names), file.column(file.ids)
        genes: list[str] = [name or entry for name, entry in zip(names, ids, strict=True)]
        table = _as_panel(file) if _is_panel(file) else _as_listed(file)
        if adata is not None:
            known = set(adata.var_names)
            by_id, by_symbol = find_genes(adata.var, ids), find_genes(adata.var, names)
            found = [
                name if name in known else one or other
                for name, one, other in zip(names, by_id, by_symbol, strict=True)
            ]
            lacking: Literal["error", "some"] = "some" if unknown_genes == "ignore" else "error"
            genes = accept(adata.var_names, genes, found, str(path), lacking)
            table = table[[gene is not None for gene in found]]
            called = names_in(adata.var).items()
            table = table.assign(**{name: column[genes].array for name, column in called})
        table = table.set_axis(genes)
        repeated = table.index.duplicated()
        if repeated.any():
            twice = list(table.index[repeated].unique())
            logger.warning("%s names %s more than once; the first row counts.", path, twice)
        return cls(table[~repeated])

    @classmethod
    def from_csv(cls, path: str | Path) -> Panel:
        """Read a panel or a list of genes from a file; see :meth:`read`."""
        return cls.read(path)

    def __len__(self) -> int:
        return self.n_genes

    @overload
    def __getitem__(self, index: int) -> str: ...

    @overload
    def __getitem__(self, index: slice) -> list[str]: ...

    def __getitem__(self, index: int | slice) -> str | list[str]:
        return self.genes[index]

    def __iter__(self) -> Iterator[str]:
        return iter(self.genes)

    def __contains__(self, gene: object) -> bool:
        return gene in self.genes

    def __repr__(self) -> str:
        genes = self.genes
        shown = ", ".join(genes[:8]) + (", …" if len(genes) > 8 else "")
        return f"Panel of {len(genes)} genes (of {len(self.table)}): {shown}"

    def _repr_html_(self) -> str:
        """Return the selected genes as a table, for notebooks."""
        table = self._selected.drop(columns="selected")
        told = [c for c in table.columns if not table[c].isin(["", None]).all()]
        shown = table[[c for c in told if c != "symbol" or (table[c] != table.index).any()]]
        rows = (
            shown.rename_axis(index="gene")
            .reset_index()
            .to_html(index=False, max_rows=_SHOWN_ROWS, float_format="{:.3g}".format, border=0)
        )
        return f"<p>{html.escape(repr(self).partition(':')[0])}</p>{rows}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Panel) and self.table.equals(other.table)

    __hash__ = None  # type: ignore[assignment]


def _as_order(table: pd.DataFrame, imposed: list[str], layout: str) -> pd.DataFrame:
    """Lay genes out as a vendor's form has them, by their symbols where these are known."""
    blank = pd.DataFrame("", index=table.index, columns=list(_NAME_COLUMNS))
    symbols, known = (table.get(name, blank[name]) for name in _NAME_COLUMNS)
    genes = symbols.where(symbols != "", table.index.to_series())
    if layout == "list":
        return genes.to_frame("gene")
    absent = list(table.index[known == ""])
    if absent:
        raise ValueError(
            f"layout={layout!r} needs Ensembl IDs, which are not known of {len(absent)} genes, "
            f"such as {absent[0]!r}. Pass `adata` with a column `gene_ids` in its var."
        )
    return pd.DataFrame(
        {
            "Gene": genes,
            "Ensembl ID": [without_version(entry) for entry in known],
            "Probe sets": "",
            "Force": np.where(table.index.isin(imposed), "forced", ""),
        }
    )


def _is_panel(file: GeneFile) -> bool:
    """Whether a file has the columns of a panel, and more than names."""
    return {"rank", "score", *ATTRIBUTION_COLUMNS} <= set(file.table.columns)


def _as_panel(file: GeneFile) -> pd.DataFrame:
    """Return the table of a panel that was written to a file."""
    columns = [c for c in (*COLUMNS, *_OPTIONAL_COLUMNS) if c in file.table.columns]
    table = file.table[columns].assign(selected=True)
    for column in {"rank", "score", "cost"} & set(columns):
        table[column] = [float(entry) if entry else np.nan for entry in table[column]]
    if "imposed" in columns:
        table["imposed"] = table["imposed"].str.lower() == "true"  # a spreadsheet writes TRUE
    return table


def _as_listed(file: GeneFile) -> pd.DataFrame:
    """Return the table of genes in the order of a file."""
    places = [str(place) for place in range(len(file.table))]
    table = Panel.from_genes(places).table
    if file.names is not None and file.ids is not None:
        table["symbol"] = file.column(file.names)
    if file.ids is not None:
        table["ensembl_id"] = file.column(file.ids)
    return table


def _role(task: str, category: str) -> str:
    """Say what a gene is for."""
    if category:
        return f"most missed by {category} ({task})"
    return f"predicts {task}" if task else ""
