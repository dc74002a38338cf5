"""Rules on the expression of genes: how much of it an assay can count."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from yoto_sc.rules._gene_rules import Cap, check_included

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from yoto_sc.data import Expression
    from yoto_sc.rules._gene_rules import GeneRules

    Range = Sequence[float | None]
    """Smallest and largest value, `None` for no bound."""


def limit_expression(
    rules: GeneRules,
    names: pd.Index,
    expression: Expression,
    *,
    mean_range: Range | None,
    fraction_range: Range | None,
    max_crowding: float | None,
    cell_types: pd.Categorical | None,
) -> GeneRules:
    """Add the rules that the genes' expression decides on.

    They are judged on all cells, in the units of the expression that is read: they describe the
    assay, and can be checked by anyone who has the data.

    Raises
    ------
    ValueError
        A range forbids a gene that must be in the panel.
    """
    types = pd.Categorical([]) if cell_types is None else cell_types
    codes = np.full(expression.n_obs, -1) if cell_types is None else types.codes
    sums, n_expressing, n_cells = _sums(expression, codes, len(types.categories))
    limits = {}
    for name, statistic, bounds in (
        ("mean_range", sums[-1] / np.maximum(n_expressing, 1), mean_range),
        ("fraction_range", n_expressing / n_cells[-1], fraction_range),
    ):
        if bounds is not None:
            low, high = bounds
            limit = statistic >= (0 if low is None else low)
            limit &= statistic <= (np.inf if high is None else high)
            limits[f"{name}=({low}, {high})"] = limit
            check_included(names, rules.required, f"{name}=({low}, {high})", limit)
    caps = {}
    if max_crowding is not None:
        caps = {
            f"max_crowding={max_crowding:g} ({cell_type!r})": Cap(total / n, float(max_crowding))
            for cell_type, total, n in zip(types.categories, sums, n_cells, strict=False)
            if n
        }
    return replace(rules, limits={**rules.limits, **limits}, caps={**rules.caps, **caps})


def _sums(
    expression: Expression, codes: NDArray[np.integer[Any]], n_types: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.intp]]:
    """Sum each gene over the cells of each type and, in the last row, over all cells.

    Returns
    -------
    The sums, ``(n_types + 1, n_vars)``; for each gene the number of cells that express it,
    ``(n_vars,)``; and the number of cells summed over, ``(n_types + 1,)``.
    """
    n_obs = expression.n_obs
    members = np.flatnonzero(codes >= 0)
    cells = np.concatenate([members, np.arange(n_obs)])
    rows = np.concatenate([codes[members], np.full(n_obs, n_types)])
    design = sp.csr_matrix((np.ones(len(cells)), (cells, rows)), shape=(n_obs, n_types + 1))
    sums = expression.reduce(design, expressing=True, raw=True)
    return sums.values, sums.expressing[0], np.bincount(rows, minlength=n_types + 1)
