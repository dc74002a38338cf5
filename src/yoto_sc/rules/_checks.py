"""Validation of panel sizes and genes against the rules."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from yoto_sc._checks import is_integer

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from yoto_sc.rules._gene_rules import GeneRules


def check_n_genes(n_genes: int | Literal["auto"], rules: GeneRules) -> None:
    """Refuse panel sizes that the rules cannot meet.

    Raises
    ------
    TypeError
        Neither an integer nor ``"auto"``.
    ValueError
        Below 1, below the number of required genes, above the number of allowed ones, or in
        conflict with other rules, the smallest set of which is named.
    """
    n_required = int(rules.required.sum())
    if n_genes == "auto":
        size = max(1, n_required)
    elif not is_integer(n_genes):
        raise TypeError(f'n_genes must be an integer or "auto", not {n_genes!r}.')
    else:
        size = int(n_genes)
    if size < 1:
        raise ValueError(f"n_genes must be at least 1, not {n_genes}.")
    if size < n_required:
        raise ValueError(
            f"n_genes={n_genes} is smaller than the {n_required} genes in `include`. Ask for more "
            "genes, or include fewer."
        )
    if rules.is_feasible(size):
        return
    conflict = rules.conflict(size)
    if len(conflict) == 1:
        raise ValueError(
            f"n_genes={n_genes} exceeds the {len(rules.required)} genes that there are. Ask for "
            "fewer."
        )
    largest = rules.largest_size(size - 1)
    at_most = f" At most {largest} genes meet all rules." if largest else ""
    raise ValueError(
        f"No panel meets these rules together: {', '.join(conflict)}. Loosen one of them.{at_most}"
    )


def check_included(
    names: pd.Index, required: NDArray[np.bool_], rule: str, limit: NDArray[np.bool_]
) -> None:
    """Refuse a rule that forbids genes which must be in the panel.

    Parameters
    ----------
    names
        Var names, shape ``(n_vars,)``.
    required
        Mask of the genes in `include`, shape ``(n_vars,)``.
    limit
        Mask of the genes that it allows, shape ``(n_vars,)``.

    Raises
    ------
    ValueError
        It forbids a gene in `include`.
    """
    forbidden = list(names[required & ~limit])
    if forbidden:
        raise ValueError(
            f"`include` names {forbidden}, which {rule} forbids. Include other genes, or loosen "
            "the rule."
        )
