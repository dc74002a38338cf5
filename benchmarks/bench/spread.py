"""Markdown tables of means and their spread over splits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def spread_table(
    rows: pd.DataFrame,
    columns: Sequence[str],
    names: Mapping[str, str],
    *,
    lower: bool = False,
    unranked: Sequence[str] = (),
) -> str:
    """Write a score as methods by whatever `columns` hold: mean ± standard deviation.

    Parameters
    ----------
    rows
        Rows of the results, of one score.
    columns
        Columns of `rows` whose combinations are the columns of the table.
    names
        The methods to show, in order, as they are written.
    lower
        Whether the best is the lowest. It is bold, if there are several.
    unranked
        Methods that cannot be the best.
    """
    groups = rows.groupby(["method", *columns], sort=False)["value"]
    means, spread = (part.unstack(list(columns)) for part in (groups.mean(), groups.std()))
    means = means.loc[[name for name in names if name in means.index]]
    ranked = means.drop(index=list(unranked), errors="ignore")
    best = (ranked.min() if lower else ranked.max()).round(3)
    if len(ranked) == 1:
        best = best * float("nan")
    lines = [["", *map(_head, means)], ["---", *["---:"] * means.shape[1]]]
    for method in means.index:
        cells = [
            _cell(
                means.loc[method, column],
                spread.loc[method, column],
                best[column] if method in ranked.index else float("nan"),
            )
            for column in means
        ]
        lines.append([names[method], *cells])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def over_data(rows: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """Average every split over the data sets; methods that lack one of these are left out."""
    keys = ["dataset", *columns, "split"]
    wide = rows.pivot_table(index=keys, columns="method", values="value").dropna(axis=1)
    means = wide.groupby(level=[*columns, "split"], sort=False).mean()
    return means.stack().rename("value").reset_index()


def _head(column: object) -> str:
    return ", ".join(map(str, column)) if isinstance(column, tuple) else str(column)


def _cell(mean: float, spread: float, best: float) -> str:
    if pd.isna(mean):
        return "–"
    text = f"{mean:.3f}" + ("" if pd.isna(spread) else f" ± {spread:.3f}")
    return f"**{text}**" if round(mean, 3) == best else text
