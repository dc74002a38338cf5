"""Rules on the expression of genes: how much of it an assay can count."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from yoto_sc.data import FEW_CELLS
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
    min_detection: float | None = None,
    classes: Sequence[tuple[int, NDArray[np.integer[Any]]]] = (),
) -> GeneRules:
    """Add the rules that the genes' expression decides on.

    They are judged on all cells, in the units of the expression that is read: they describe the
    assay, and can be checked by anyone who has the data.

    Parameters
    ----------
    min_detection
        Smallest share of the cells that express a gene, of the class where it is seen most, or of
        all; of 50 cells, where a class has fewer. Genes that must be in the panel are exempt.
    classes
        Numbers of classes and codes of the cells, -1 for none, of each task that has classes.

    Raises
    ------
    ValueError
        A range forbids a gene that must be in the panel.
    """
    types = pd.Categorical([]) if cell_types is None else cell_types
    n_types = len(types.categories)
    groups = [*([] if cell_types is None else [(n_types, types.codes)]), *classes]
    sums, expressing, n_cells = _sums(expression, groups)
    n_expressing = expressing[-1]
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
    if min_detection is not None:
        of = np.r_[np.maximum(n_cells[n_types:-1], FEW_CELLS), n_cells[-1]]
        peak = (expressing[n_types:] / of[:, None]).max(axis=0)
        limits[f"min_detection={min_detection:g}"] = (peak >= min_detection) | rules.required
    caps = {}
    if max_crowding is not None:
        caps = {
            f"max_crowding={max_crowding:g} ({cell_type!r})": Cap(total / n, float(max_crowding))
            for cell_type, total, n in zip(types.categories, sums, n_cells, strict=False)
            if n
        }
    return replace(rules, limits={**rules.limits, **limits}, caps={**rules.caps, **caps})


def _sums(
    expression: Expression, groups: Sequence[tuple[int, NDArray[np.integer[Any]]]]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.intp]]:
    """Sum each gene over the cells of each group and, in the last row, over all cells.

    Returns
    -------
    The sums, and the numbers of cells that express each gene, both ``(n_groups + 1, n_vars)``; and
    the number of cells summed over, ``(n_groups + 1,)``.
    """
    n_obs, cells, rows, start = expression.n_obs, [], [], 0
    for n_codes, codes in (*groups, (1, np.zeros(expression.n_obs, dtype=np.intp))):
        members = np.flatnonzero(codes >= 0)
        cells.append(members)
        rows.append(start + codes[members].astype(np.intp))
        start += n_codes
    place = np.concatenate(cells), np.concatenate(rows)
    design = sp.csr_matrix((np.ones(len(place[0])), place), shape=(n_obs, start))
    sums = expression.reduce(design, expressing=True, raw=True)
    return sums.values, sums.expressing, np.bincount(place[1], minlength=start)
