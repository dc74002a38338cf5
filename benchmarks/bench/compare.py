"""Comparisons of methods, each on exactly the same data sets, splits and sizes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from bench.names import METHOD_NAMES, OURS

if TYPE_CHECKING:
    from collections.abc import Iterable

RETRAINED = ("logistic_macro_f1", "ridge_r2")
BUILTIN = ("builtin_macro_f1", "builtin_r2")
CLEAR = 0.01
"""Smaller differences are a draw."""
_CELL = ["setting", "dataset", "tasks", "size", "split"]


def by_method(results: pd.DataFrame, scores: Iterable[str] = RETRAINED) -> pd.DataFrame:
    """Return one row for each panel that was asked for, one column for each method.

    Of several questions, the mean over them.
    """
    rows = results[results["score"].isin(scores)]
    return rows.pivot_table(index=_CELL, columns="method", values="value", aggfunc="mean")


def all_splits(summary: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of methods that were run on as many splits as any: splits differ."""
    keys = [*_CELL[:-1], "task", "score"]
    return summary[summary["n_splits"] == summary.groupby(keys)["n_splits"].transform("max")]


def means(table: pd.DataFrame) -> tuple[pd.DataFrame, pd.Index]:
    """Average over data sets and splits, for the methods that have every panel of the first.

    Returns
    -------
    Methods by sizes, and the rows of `table` that were averaged. The first method is ours or,
    where there are no results of it, the one with the most panels.
    """
    first = OURS[0] if OURS[0] in table else table.notna().sum().idxmax()
    table = table[table[first].notna()].dropna(axis=1)
    return table.groupby(level="size").mean().T, table.index


def best_other(table: pd.DataFrame) -> pd.DataFrame:
    """Compare us with the best other method of each data set, question and size.

    Which method that is, its mean over our splits tells: it is the best in hindsight, and another
    one each time.
    """
    found = []
    keys = ["setting", "dataset", "tasks", "size"]
    for where, part in table.dropna(subset=OURS[0]).groupby(level=keys, sort=False):
        rivals = part.drop(columns=list(OURS), errors="ignore").dropna(axis=1).mean()
        if len(rivals):
            ours = part[OURS[0]].mean()
            row = (ours, rivals.idxmax(), rivals.max(), ours - rivals.max())
            found.append((*where, *row))
    return pd.DataFrame(found, columns=[*keys, "ours", "rival", "theirs", "gap"])


def against_each(table: pd.DataFrame) -> pd.DataFrame:
    """Count data sets, questions and sizes where we are ahead of each other method, or behind."""
    rows = {}
    for name in METHOD_NAMES:
        if name in table and name not in OURS:
            pairs = table[[OURS[0], name]].dropna()
            gaps = (pairs[OURS[0]] - pairs[name]).groupby(level=_CELL[:-1]).mean()
            if len(gaps):
                ahead, behind = (gaps > CLEAR).sum(), (gaps < -CLEAR).sum()
                rows[name] = (ahead, len(gaps) - ahead - behind, behind, gaps.mean())
    return pd.DataFrame.from_dict(
        rows, orient="index", columns=["ahead", "level", "behind", "difference"]
    )


def competitors(results: pd.DataFrame, names: Iterable[str]) -> pd.DataFrame:
    """Return what competitors reach and cost, and ours on the splits that each has done.

    Returns
    -------
    One row for each competitor, data set, question and size; columns end in ``_theirs`` and
    ``_ours``, and are missing where we have not done all of these splits.
    """
    kinds = dict.fromkeys(RETRAINED, "score") | dict.fromkeys(BUILTIN, "builtin")
    kinds |= {cost: cost for cost in ("cpu_seconds", "megabytes", "n_genes")}
    rows = results.assign(kind=results["score"].map(kinds)).dropna(subset=["kind", "value"])
    table = rows.pivot_table(index=_CELL, columns=["method", "kind"], values="value")
    kinds_ours = table.get(OURS[0], pd.DataFrame(index=table.index))
    found = []
    for name in names:
        if name in table:
            theirs = table[name].dropna(how="all").add_suffix("_theirs")
            both = theirs.join(kinds_ours.add_suffix("_ours"))
            panels = both.groupby(level=_CELL[:-1], sort=False)
            part = panels.mean().where(panels.count().eq(panels.size(), axis=0))
            found.append(part.assign(name=name, n_splits=panels.size()))
    return pd.concat(found).reset_index() if found else pd.DataFrame()
