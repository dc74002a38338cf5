"""What the page says, as plain text, numbers and pictures."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from importlib import metadata
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from yoto_sc import _keys, pl
from yoto_sc._keys import Keys
from yoto_sc._panel import Panel
from yoto_sc._report._cautions import cautions
from yoto_sc._report._numbers import percent
from yoto_sc._report._pictures import Picture, dotplot, of_axes
from yoto_sc._report._tasks import TaskCard, task_card
from yoto_sc._version import __version__
from yoto_sc.pl._expression import read_expression

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from anndata import AnnData

_PACKAGES = ("yoto-sc", "scvi-tools", "torch", "anndata", "scanpy", "numpy")
_MOST_DOTS = 200
"""Genes of a panel that are drawn as a dot plot; more of them can't be told apart."""
_RULES = (
    *("include", "exclude", "candidates", "preference", "cost", "budget", "platform"),
    *("mean_range", "fraction_range", "max_crowding", "crowding_key", "redundancy"),
)


@dataclass(frozen=True)
class Table:
    """A table as it is shown: names of columns, and rows of text and numbers."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]

    @classmethod
    def of(cls, frame: pd.DataFrame) -> Table:
        """Show all of a table."""
        rows = frame.astype(object).where(frame.notna(), None).to_numpy()
        return cls([str(name) for name in frame.columns], [list(row) for row in rows])


@dataclass(frozen=True)
class Contents:
    """All that the page says; see the template for where it stands."""

    title: str
    tasks: Sequence[TaskCard]
    n_genes: int
    n_cells: int
    n_vars: int
    genes: Table
    cautions: Sequence[str]
    dots: Picture | None
    path: Picture | None
    redundancy: Picture | None
    group_key: str | None
    base: Table | None
    rules: Table
    assay: Table | None
    substitutes: Table | None
    compared: Table | None
    transferred: Table | None
    stability: Mapping[str, Any] | None
    parameters: Table
    versions: Table


def gather(
    adata: AnnData,
    key: str,
    *,
    substitutes: pd.DataFrame | None,
    compared: pd.DataFrame | None,
    transferred: pd.DataFrame | None,
    title: str | None,
) -> Contents:
    """Read what a selection wrote, and what other functions returned.

    Raises
    ------
    KeyError
        There is no selection under the key.
    ValueError
        A table lacks columns.
    """
    panel, stored = Panel.from_adata(adata, key), adata.uns[key]
    params, metrics = stored[_keys.PARAMS], stored[_keys.METRICS]
    cards = [task_card(adata, key, stored, str(name)) for name in metrics.index]
    expression = _expression(adata, panel.genes, key)
    swaps = None if substitutes is None else _swaps(substitutes)
    named = _listed([card.name for card in cards])
    n_shown = panel.n_genes <= _MOST_DOTS
    classes = next((card.name for card in cards if card.n_classes), None)
    return Contents(
        title=title or f"{panel.n_genes} genes that tell {named}",
        tasks=cards,
        n_genes=panel.n_genes,
        n_cells=adata.n_obs,
        n_vars=adata.n_vars,
        genes=_genes(adata, panel, key, expression, substitutes),
        cautions=cautions(cards, expression, stored),
        dots=dotplot(adata, classes, key=key)
        if expression is not None and classes and n_shown
        else None,
        path=of_axes(
            pl.path, adata, key=key, alt="Score on held-out cells by the number of genes."
        )
        if stored[_keys.PATH]["score"].notna().any()
        else None,
        redundancy=of_axes(
            pl.redundancy, adata, key=key, alt="Correlation of each gene with each other gene."
        )
        if expression is not None and 1 < panel.n_genes <= _MOST_DOTS
        else None,
        group_key=params.get("group_key") or params.get("split_key"),
        base=Table.of(stored[_keys.BASE].reset_index()) if _keys.BASE in stored else None,
        rules=_rules(adata, panel, stored, expression),
        assay=_assay(stored),
        substitutes=swaps,
        compared=None if compared is None else _means(compared),
        transferred=None if transferred is None else _transfers(transferred),
        stability=_stability(adata, key),
        parameters=_parameters(params),
        versions=Table(
            ["", ""],
            [
                ["Python", platform.python_version()],
                *(
                    [name, __version__ if name == "yoto-sc" else metadata.version(name)]
                    for name in _PACKAGES
                ),
            ],
        ),
    )


def _listed(names: Sequence[str]) -> str:
    """Write names as a list in a sentence."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _expression(adata: AnnData, genes: Sequence[str], key: str) -> pd.DataFrame | None:
    """Return ``mean`` and ``detection`` of each gene; `None` if expression is not there."""
    try:
        values, _ = read_expression(adata, genes, key=key, log=False)
    except (KeyError, ValueError):  # results without expression
        return None
    return pd.DataFrame(
        {"mean": values.mean(axis=0), "detection": (values > 0).mean(axis=0)}, index=list(genes)
    )


def _genes(
    adata: AnnData,
    panel: Panel,
    key: str,
    expression: pd.DataFrame | None,
    substitutes: pd.DataFrame | None,
) -> Table:
    """Put together what is known of each gene, best first."""
    table, stored = panel.table.loc[panel.genes], adata.uns[key]
    without = stored[_keys.WITHOUT].set_index(["gene", "task"])["loss"]
    columns: dict[str, Any] = {"rank": np.arange(1, panel.n_genes + 1), "gene": panel.genes}
    if "ensembl_id" in table:
        columns["Ensembl ID"] = table["ensembl_id"].fillna("").to_numpy()
    task = [str(name) if pd.notna(name) else "" for name in table["task"]]
    category = [str(name) if pd.notna(name) else "" for name in table["category"]]
    columns["serves"] = [f"{c} ({t})" if c else t for t, c in zip(task, category, strict=True)]
    columns["loss without it"] = [
        float(without.get((gene, name), np.nan))
        for gene, name in zip(panel.genes, task, strict=True)
    ]
    if expression is not None:
        columns["mean"] = expression["mean"].to_numpy(dtype=float)
        columns["% of cells"] = 100 * expression["detection"].to_numpy(dtype=float)
    if substitutes is not None:
        first = substitutes[substitutes["rank"] == 1].drop_duplicates("gene").set_index("gene")
        columns["best substitute"] = [
            str(first["substitute"].get(gene, "")) for gene in panel.genes
        ]
    frequency = Keys(key).frequency
    if frequency in adata.var:
        columns["% of runs"] = 100 * adata.var.loc[panel.genes, frequency].to_numpy(dtype=float)
    if "imposed" in table and table["imposed"].any():
        columns["asked for"] = np.where(table["imposed"], "yes", "")
    return Table.of(pd.DataFrame(columns))


def _rules(
    adata: AnnData, panel: Panel, stored: Mapping[str, Any], expression: pd.DataFrame | None
) -> Table:
    """Say which rules the panel meets, and how far they are used."""
    params, used = stored[_keys.PARAMS], dict[str, str]()
    if "budget" in params:
        spent = float(adata.var.loc[panel.genes, params["cost"]].sum())
        used["budget"] = f"{spent:.4g} spent"
    if expression is not None and "fraction_range" in params:
        low, high = expression["detection"].min(), expression["detection"].max()
        used["fraction_range"] = f"{low:.3g} to {high:.3g} in the panel"
    summary = stored.get(_keys.ASSAY_SUMMARY, {})
    if "max_crowding" in params and summary:
        used["max_crowding"] = f"{summary['crowding']:.4g} in {summary['crowded_class']}"
    if "include" in params:
        used["include"] = f"{len(panel.imposed)} genes of the panel"
    rows = [
        [name, _written(params[name]), used.get(name, "met")] for name in _RULES if name in params
    ]
    return Table(["rule", "asked", "panel"], rows)


def _assay(stored: Mapping[str, Any]) -> Table | None:
    """Say what an assay of the panel will meet; `None` where it is not known."""
    if _keys.ASSAY_SUMMARY not in stored:
        return None
    summary, genes = stored[_keys.ASSAY_SUMMARY], stored[_keys.ASSAY]
    least, where = summary["least_detected"], summary["crowded_class"]
    share = percent(float(summary["share_of_heaviest"]))
    return Table(
        ["", ""],
        [
            ["most counted genes", ", ".join(summary["heaviest"])],
            ["their share of the panel's counts", share],
            ["counts a cell, on average", f"{genes['mean'].sum():.4g}"],
            [f"counts a cell where there are most ({where})", f"{summary['crowding']:.4g}"],
            ["least detected gene", str(least)],
            [
                "cells that show it, where it is seen most",
                percent(float(genes.loc[least, "peak_detection"]), 1),
            ],
        ],
    )


def _written(value: Any) -> str:
    """Write an argument in one line."""
    if isinstance(value, dict):
        return ", ".join(f"{name}: {_written(entry)}" for name, entry in value.items())
    if isinstance(value, pd.DataFrame):
        return "; ".join(" ".join(map(str, row)) for row in value.to_numpy())
    if isinstance(value, list | tuple | np.ndarray):
        return ", ".join(map(str, value))
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _swaps(table: pd.DataFrame) -> Table:
    """Show the first three substitutes of each gene, and what they keep of its role."""
    _check(table, "substitutes", ["gene", "rank", "substitute", "verdict", "role_kept"])
    rows = []
    for gene, of_gene in table.drop_duplicates(["gene", "rank"]).groupby("gene", sort=False):
        found = of_gene.dropna(subset=["rank"]).sort_values("rank")[:3]
        others = [
            f"{name} ({percent(kept)})" if pd.notna(kept) else str(name)
            for name, kept in zip(found["substitute"], found["role_kept"], strict=True)
        ]
        first = of_gene.iloc[0]
        role = first.get("role_classes")
        role = first.get("role_task") if pd.isna(role) else role
        verdict = first["verdict"]
        rows.append(
            [
                gene,
                "" if pd.isna(role) else role,
                "" if pd.isna(verdict) else verdict,
                ", ".join(others) or "none",
            ]
        )
    return Table(["gene", "role", "verdict", "substitutes (share of the role kept)"], rows)


def _means(table: pd.DataFrame) -> Table:
    """Show the mean over folds of what lists were compared by."""
    _check(table, "compared", ["panel", "task", "classifier", "metric", "value"])
    table = table[table["category"].isna()] if "category" in table else table
    names = ["task", "classifier", "metric"]
    table = table.assign(**{name: table[name].astype(object).fillna("") for name in names})
    means = table.groupby([*names, "panel"], sort=False)["value"].mean().unstack("panel")
    return Table.of(means.reset_index())


def _transfers(table: pd.DataFrame) -> Table:
    _check(table, "transferred", ["panel", "task", "metric", "reference", "query", "adapted"])
    return Table.of(table.drop(columns=["n_classes"], errors="ignore"))


def _check(table: pd.DataFrame, name: str, columns: Sequence[str]) -> None:
    absent = [column for column in columns if column not in table]
    if absent:
        raise ValueError(f"`{name}` lacks the columns {absent}: pass what the function returned.")


def _stability(adata: AnnData, key: str) -> dict[str, Any] | None:
    """Return how much repeated selections agree; `None` if there are none."""
    stored = adata.uns.get(Keys(key).stability)
    if stored is None:
        return None
    return {
        "n_runs": int(stored["params"]["n_runs"]),
        "jaccard": float(stored["mean_jaccard"]),
        "picture": of_axes(
            pl.stability, adata, key=key, alt="Share of the repeated selections with each gene."
        ),
    }


def _parameters(params: Mapping[str, Any]) -> Table:
    return Table(
        ["argument", "value"], [[name, _written(value)] for name, value in params.items()]
    )
