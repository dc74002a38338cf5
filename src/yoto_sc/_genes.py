"""What genes are called: finding them by any of their names, and what a name may have meant."""

from __future__ import annotations

import difflib
import logging
import re
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    UnknownGenes = Literal["error", "ignore"]

logger = logging.getLogger(__name__)

SYMBOLS = ("gene_symbols", "gene_symbol", "symbol", "feature_name", "gene_name", "gene_names")
"""What columns of gene symbols are called in ``adata.var``; CELLxGENE says ``feature_name``."""
ENSEMBL_IDS = ("gene_ids", "gene_id", "ensembl_id", "ensembl_ids", "ensembl", "feature_id")
"""What columns of Ensembl IDs are called; 10x says ``gene_ids``."""
_GENE_ID = r"ENS[A-Z]*G\d{11}"
_VERSION = re.compile(rf"({_GENE_ID})\.\d+")
_DATE = re.compile(
    r"\d{1,2}-(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)"
    r"|(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)-\d{2}",
    re.IGNORECASE,
)
_N_NAMED, _N_HINTS = 20, 10
"""A message names so many unknown genes, and says of so many what they may have meant."""


def are_ensembl_ids(column: pd.Series[Any]) -> bool:
    """Whether most entries look like Ensembl IDs of genes."""
    return bool(column.astype(str).str.fullmatch(rf"{_GENE_ID}(\.\d+)?").mean() > 0.5)


def names_in(var: pd.DataFrame) -> dict[str, pd.Series[Any]]:
    """Find symbols and Ensembl IDs of the genes, whichever of them there are."""
    columns = [*(var[c] for c in ENSEMBL_IDS if c in var.columns), var.index.to_series()]
    ids = next((column for column in columns if are_ensembl_ids(column)), None)
    symbols = next((var[c] for c in SYMBOLS if c in var.columns), None)
    if symbols is None and not are_ensembl_ids(var.index.to_series()):
        symbols = var.index.to_series()
    found = {"symbol": symbols, "ensembl_id": ids}
    return {name: column for name, column in found.items() if column is not None}


def find_genes(var: pd.DataFrame, given: Sequence[str]) -> list[str | None]:
    """Find genes by var name, identifier or symbol.

    Var names come first. Identifiers are found with and without a version
    (``ENSG00000139618.12``), in the var names and in columns such as ``gene_ids``; symbols in
    columns such as ``feature_name``.

    Returns
    -------
    The var name of each gene; `None` where there is none, or more than one.
    """
    known = set(var.index)
    if known.issuperset(given):
        return list(given)
    others = _other_names(var)
    return [
        gene if gene in known else others.get(gene) or others.get(without_version(gene))
        for gene in given
    ]


def resolve_genes(
    var: pd.DataFrame,
    given: Sequence[str],
    argument: str,
    unknown: Literal["error", "some", "any"] = "error",
) -> list[str]:
    """Return the var names of genes that are given by any of their names.

    Parameters
    ----------
    unknown
        Whether no gene may be unknown, some may (a list of which none is known is in other
        names), or any. How many are passed over is logged.

    Raises
    ------
    KeyError
        Genes are unknown that may not be.
    TypeError
        A name is no string.
    """
    check_strings(given, argument)
    return accept(var.index, given, find_genes(var, given), argument, unknown)


def accept(
    names: pd.Index,
    given: Sequence[str],
    found: Sequence[str | None],
    argument: str,
    unknown: Literal["error", "some", "any"],
) -> list[str]:
    """Return the genes that were found among `names`; see `resolve_genes`."""
    known = [name for name in found if name is not None]
    lost = [gene for gene, name in zip(given, found, strict=True) if name is None]
    if lost and (unknown == "error" or (unknown == "some" and not known)):
        raise KeyError(unknown_message(names, lost, argument))
    if lost:
        logger.warning(
            "`%s`: %d of %d genes are not in adata, and are passed over: %s.%s",
            argument,
            len(lost),
            len(given),
            listed(lost),
            _other_case(names, lost),
        )
    return known


def check_strings(genes: Collection[object], argument: str) -> None:
    """Refuse names of genes that are no strings."""
    for gene in genes:
        if not isinstance(gene, str):
            raise TypeError(f"`{argument}` must hold var names (strings), not {gene!r}.")


def check_unknown_genes(value: object) -> None:
    """Refuse what is neither ``"error"`` nor ``"ignore"``."""
    if value not in ("error", "ignore"):
        raise ValueError(f'unknown_genes must be "error" or "ignore", not {value!r}.')


def unknown_message(names: pd.Index, unknown: Sequence[str], argument: str) -> str:
    """Say that genes are unknown, and what each may have meant."""
    close = {gene: _close(names, gene) for gene in unknown[:_N_HINTS]}
    hints = {gene: " or ".join(found) for gene, found in close.items() if found}
    if len(unknown) == 1:
        hint = f" Did you mean {hints[unknown[0]]}?" if hints else ""
    else:
        each = ", ".join(f"{meant} for {gene!r}" for gene, meant in hints.items())
        hint = (f" Did you mean {each}?" if hints else "") + _other_case(names, unknown)
    dates = [gene for gene in unknown if _DATE.fullmatch(gene)]
    if dates:
        hint += (
            f" {dates[0]!r} is a date that a spreadsheet has made of a gene's name, such as "
            "MARCHF1, SEPTIN2 or DEC1: format the column as text, and write the names again."
        )
    if are_ensembl_ids(pd.Series(unknown)) and not are_ensembl_ids(names.to_series()):
        hint += f" Ensembl IDs are looked for in columns of adata.var called {ENSEMBL_IDS}."
    return (
        f"`{argument}` names {listed(unknown)}, which {'is' if len(unknown) == 1 else 'are'} not "
        f"in adata.var_names.{hint}"
    )


def known_otherwise(var: pd.DataFrame, genes: Sequence[str]) -> str:
    """Say so if genes are known by another name, or in other letters; else nothing."""
    found = zip(genes, find_genes(var, genes), strict=True)
    pairs = [(gene, name) for gene, name in found if name is not None]
    if not pairs:
        return _other_case(var.index, genes)
    return (
        f" {len(pairs)} of them go by another name, such as {pairs[0][0]!r}, which is "
        f"{pairs[0][1]!r} in adata.var_names."
    )


def listed(genes: Sequence[str]) -> str:
    """Write genes out, the first of many."""
    more = f" and {len(genes) - _N_NAMED} more" if len(genes) > _N_NAMED else ""
    return f"{list(genes[:_N_NAMED])}{more}"


def _close(names: pd.Index, gene: str) -> list[str]:
    """Return the names that are most like `gene`: but for the case, or else in spelling."""
    texts = names.astype(str)
    same = texts[texts.str.casefold() == gene.casefold()]
    return list(same[:3]) or difflib.get_close_matches(gene, texts, n=3)


def _other_case(names: pd.Index, unknown: Collection[str]) -> str:
    """Say so if some names are known in other letters."""
    folded = {str(name).casefold(): str(name) for name in names}
    pairs = [(gene, folded[gene.casefold()]) for gene in unknown if gene.casefold() in folded]
    if not pairs:
        return ""
    return (
        f" Upper and lower case differ for {len(pairs)} of them, such as {pairs[0][0]!r}, which "
        f"is {pairs[0][1]!r} in adata (human symbols are written like CD3E, mouse ones like Cd3e)."
    )


def _other_names(var: pd.DataFrame) -> dict[str, str | None]:
    """Return var names by identifier and symbol; `None` for those that several genes have."""
    named: dict[str, str | None] = {}
    columns = [var.index.to_series(), *(var[c] for c in ENSEMBL_IDS if c in var.columns)]
    for column in [*columns, *(var[c] for c in SYMBOLS if c in var.columns)]:
        entries = {
            (without_version(str(other)), str(gene)) for gene, other in column.dropna().items()
        }
        for other, gene in entries:
            named[other] = str(gene) if named.get(other, gene) == gene else None
    return named


def without_version(gene: str) -> str:
    """Return an Ensembl ID without its version, and any other name as it is."""
    match = _VERSION.fullmatch(gene)
    return gene if match is None else match[1]
