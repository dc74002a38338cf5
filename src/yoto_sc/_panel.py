"""The panel: which genes were selected, in which order, and what each is for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from yoto_sc._keys import DEFAULT_KEY, Keys

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anndata import AnnData
    from numpy.typing import NDArray

ATTRIBUTION_COLUMNS = ("task", "category")
COLUMNS = ("selected", "rank", "score", *ATTRIBUTION_COLUMNS)


@dataclass(frozen=True, eq=False, repr=False)
class Panel:
    """A ranking of genes and the panel cut from its top.

    Parameters
    ----------
    table
        One row for each gene, indexed by var name, with the columns ``selected`` (bool),
        ``rank`` (Int64, 1 = most important, NA for genes that were no candidates), ``score``
        (float32), ``task`` and ``category`` (str: the task a selected gene serves most, and the
        class of that task; empty where unknown).

    Examples
    --------
    >>> import yoto_sc as yt
    >>> panel = yt.Panel.from_genes(["CD3D", "MS4A1", "NKG7"])
    >>> panel.prefix(2).genes
    ['CD3D', 'MS4A1']
    """

    table: pd.DataFrame

    def __post_init__(self) -> None:
        missing = [column for column in COLUMNS if column not in self.table.columns]
        if missing:
            raise ValueError(
                f"A panel's table needs the columns {list(COLUMNS)}; {missing} are missing."
            )
        if not self.table.index.is_unique:
            twice = self.table.index[self.table.index.duplicated()][0]
            raise ValueError(f"Every gene may occur once in a panel, but {twice!r} occurs twice.")
        table = pd.DataFrame(
            {
                "selected": self.table["selected"].astype(bool),
                "rank": self.table["rank"].astype("Int64"),
                "score": self.table["score"].astype(np.float32),
                **{c: self.table[c].fillna("").astype(str) for c in ATTRIBUTION_COLUMNS},
            },
            index=self.table.index.astype(str),
        )
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
        absent = [c for c in (keys.selected, keys.rank, keys.score) if c not in adata.var.columns]
        if absent:
            raise KeyError(
                f"adata.var has no column {absent[0]!r}. Run yoto_sc.tl.select(adata, …, "
                f"key_added={key!r}) first, or pass the key it was run with."
            )
        table = pd.DataFrame(
            {
                "selected": adata.var[keys.selected],
                "rank": adata.var[keys.rank],
                "score": adata.var[keys.score],
                "task": "",
                "category": "",
            },
            index=adata.var_names,
        )
        attribution = adata.uns.get(keys.uns, {}).get("attribution")
        if attribution is not None:
            genes = attribution.index.intersection(table.index)
            for column in ATTRIBUTION_COLUMNS:
                table.loc[genes, column] = attribution.loc[genes, column].astype(str)
        return cls(table)

    @property
    def genes(self) -> list[str]:
        """Var names of the selected genes, most important first."""
        return list(self._selected.index)

    @property
    def n_genes(self) -> int:
        """Number of selected genes."""
        return int(self.table["selected"].sum())

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

    def to_csv(self, path: str | Path) -> None:
        """Write the selected genes to a CSV file, most important first."""
        self._selected.drop(columns="selected").to_csv(path, index_label="gene")

    @classmethod
    def from_csv(cls, path: str | Path) -> Panel:
        """Read a panel from a file that `to_csv` wrote, or from a list of one gene a line.

        Raises
        ------
        ValueError
            The file holds no gene, or a gene twice.
        """
        text = Path(path).read_text(encoding="utf-8-sig")  # Excel marks its files
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        has_columns = bool(lines) and "," in lines[0]
        has_header = has_columns or (bool(lines) and lines[0].lower() in {"gene", "genes"})
        if len(lines) <= has_header:
            raise ValueError(f"{path} holds no gene.")
        if not has_columns:
            return cls.from_genes(lines[has_header:])
        table = pd.read_csv(
            path,
            encoding="utf-8-sig",
            index_col="gene",
            dtype=dict.fromkeys(("gene", *ATTRIBUTION_COLUMNS), str),
            keep_default_na=False,
            na_values={"rank": [""], "score": [""]},
        )
        return cls(table.assign(selected=True))

    def __repr__(self) -> str:
        genes = self.genes
        shown = ", ".join(genes[:8]) + (", …" if len(genes) > 8 else "")
        return f"Panel of {len(genes)} genes (of {len(self.table)}): {shown}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Panel) and self.table.equals(other.table)

    __hash__ = None  # type: ignore[assignment]
