"""Lists of genes as files hold them: text, spreadsheets, and the panel file of a Xenium."""

from __future__ import annotations

import contextlib
import csv
import datetime
import io
import json
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from yoto_sc._genes import are_ensembl_ids

if TYPE_CHECKING:
    from collections.abc import Iterator

    Rows = list[list[str]]

_NAMES = (
    *("gene", "genes", "varname", "varnames", "genesymbol", "genesymbols", "symbol", "symbols"),
    *("hgncsymbol", "mgisymbol", "approvedsymbol", "genename", "genenames", "externalgenename"),
    *("featurename", "feature", "target", "targetname", "name", "names"),
)
"""Headers of columns of var names or symbols, most telling first; `_plain` form."""
_IDS = (
    *("ensemblid", "ensemblids", "ensembl", "ensemblgeneid", "ensemblgeneidversion", "geneid"),
    *("geneids", "featureid", "ensg", "id"),
)
"""Headers of columns of identifiers."""
_EXCEL = (".xlsx", ".xlsm")
_BLANK = re.compile(r"blank-\d+", re.IGNORECASE)
"""Blank barcodes of a MERSCOPE codebook are no genes."""
_FORMULA = re.compile(r"'*[=+\-@\t\r]")
_QUOTED = re.compile(r"'+[=+\-@\t\r]")
"""A spreadsheet takes text that begins like this for a formula, or shows that it is none."""


@dataclass(frozen=True)
class GeneFile:
    """A list of genes as a file holds it.

    Parameters
    ----------
    table
        One row for each gene, with the file's columns, all of them text.
    names, ids
        The columns of var names or symbols, and of identifiers; `None`: there is none.
    """

    table: pd.DataFrame
    names: str | None
    ids: str | None

    def column(self, name: str | None) -> list[str]:
        """Return the entries of a column; empty ones if there is none."""
        return [""] * len(self.table) if name is None else list(self.table[name])


def read_gene_file(
    path: str | Path, *, column: str | None = None, sheet: str | int = 0
) -> GeneFile:
    """Read a list of genes, however it is laid out.

    Parameters
    ----------
    path
        CSV with commas, semicolons or tabs; a gene a line; an Excel file; or a Xenium's
        ``gene_panel.json``.
    column
        The column that names the genes; `None`: those of usual names.
    sheet
        Name or number of the sheet, in an Excel file.

    Raises
    ------
    ImportError
        A library that reads Excel files is not installed.
    ValueError
        The file holds no gene, no column of genes, or cannot be read.
    """
    path = Path(path)
    if is_excel(path):
        rows = _excel_rows(path, sheet)
    elif path.suffix.lower() == ".json":
        rows = _xenium_rows(path)
    else:
        rows = _text_rows(path)
    rows = [[_unquoted(cell.strip()) for cell in row] for row in rows]
    found = _laid_out(path, [row for row in rows if any(row)], column)
    named = pd.Series(
        [
            bool(name or entry) and _BLANK.fullmatch(name) is None
            for name, entry in zip(found.column(found.names), found.column(found.ids), strict=True)
        ],
        dtype=bool,
    )
    if not named.any():
        raise ValueError(f"{path} holds no gene.")
    return GeneFile(found.table[named].reset_index(drop=True), found.names, found.ids)


def is_excel(path: str | Path) -> bool:
    """Whether a path is one for Excel."""
    return Path(path).suffix.lower() in _EXCEL


def write_gene_file(table: pd.DataFrame, path: str | Path, *, header: bool = True) -> None:
    """Write a table, so that no spreadsheet takes a name for a formula.

    Text that begins with ``=``, ``+``, ``-`` or ``@`` gets an apostrophe before it, which
    `read_gene_file` takes off again.

    Parameters
    ----------
    path
        Ends in ``.xlsx`` for Excel, in ``.tsv`` for tabs; else commas are written.

    Raises
    ------
    ImportError
        A library that writes Excel files is not installed.
    """
    path = Path(path)
    safe = table.copy()
    for name in safe.columns:
        if not pd.api.types.is_numeric_dtype(safe[name].dtype):
            safe[name] = [_quoted(str(entry)) for entry in safe[name]]
    safe.columns = pd.Index([_quoted(str(name)) for name in safe.columns])
    if is_excel(path):
        with _with_openpyxl():
            safe.to_excel(path, index=False, header=header, engine="openpyxl")
    else:
        separator = "\t" if path.suffix.lower() == ".tsv" else ","
        safe.to_csv(path, index=False, header=header, sep=separator)


def _quoted(text: str) -> str:
    return f"'{text}" if _FORMULA.match(text) else text


def _unquoted(text: str) -> str:
    return text[1:] if _QUOTED.match(text) else text


@contextlib.contextmanager
def _with_openpyxl() -> Iterator[None]:
    """Say how to install what reads and writes Excel files, if it is missing."""
    try:
        yield
    except ImportError as error:
        raise ImportError(
            "Excel files need openpyxl: pip install 'yoto-sc[excel]'. CSV needs nothing."
        ) from error


def _excel_rows(path: Path, sheet: str | int) -> Rows:
    """Read the cells of a sheet."""
    try:
        with _with_openpyxl(), path.open("rb") as file:
            table = pd.read_excel(
                file, sheet_name=sheet, header=None, dtype=object, na_filter=False
            )
    except (ValueError, KeyError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} cannot be read as an Excel file: {error}") from error
    rows: Rows = []
    for number, row in enumerate(table.itertuples(index=False), start=1):
        if any(isinstance(cell, datetime.date | datetime.time) for cell in row):
            raise ValueError(
                f"Row {number} of {path} holds a date. If it was a gene's name, such as MARCHF1 "
                "or SEPTIN2, format the column as text and write the name again; else delete "
                "the column."
            )
        rows.append([str(cell) for cell in row])
    while rows and (not any(rows[0]) or rows[0][0].startswith("#")):
        del rows[0]
    return rows


def _xenium_rows(path: Path) -> Rows:
    """Read the genes of a ``gene_panel.json``, as a Xenium writes it beside the data."""
    try:
        targets = json.loads(path.read_text(encoding="utf-8"))["payload"]["targets"]
        genes = [t["type"]["data"] for t in targets if t["type"]["descriptor"] == "gene"]
        return [["gene", "ensembl_id"], *([gene["name"], gene.get("id", "")] for gene in genes)]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is no gene_panel.json of a Xenium: {error!r}.") from error


def _text_rows(path: Path) -> Rows:
    """Read the cells of a text file, whichever separator it has."""
    lines = _decoded(path).splitlines(keepends=True)
    while lines and (not lines[0].strip(' \t\r\n,;"') or lines[0].startswith("#")):
        del lines[0]
    if not lines:
        return []
    declared = re.fullmatch(r"sep=(.)\s*", lines[0], re.IGNORECASE)  # Excel's own convention
    if declared:
        separator = declared[1]
        del lines[0]
    else:
        separator = max(",;\t", key=lambda character: len(_cells(lines[:1], character)[0]))
    rows = _cells(lines, separator)
    if len(rows[0]) == 1:
        rows = [row for row in rows if not row or not row[0].startswith("#")]
    return rows


def _cells(lines: list[str], separator: str) -> Rows:
    text = io.StringIO("".join(lines), newline="")
    return list(csv.reader(text, delimiter=separator, skipinitialspace=separator != "\t"))


def _decoded(path: Path) -> str:
    """Return the text of a file, in the encodings that spreadsheets write."""
    data = path.read_bytes()
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16")
    if b"\0" in data:
        raise ValueError(f"{path} is no text. Save it as CSV, or as .xlsx.")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252", errors="replace")


def _laid_out(path: Path, rows: Rows, column: str | None) -> GeneFile:
    """Tell the header from the genes, and which columns name them."""
    if not rows:
        raise ValueError(f"{path} holds no gene.")
    header, width = rows[0], max(map(len, rows))
    names = ids = None
    if column is not None:
        if column not in header:
            raise ValueError(f"{path} has no column {column!r}, only {header}.")
        names = header.index(column)
    else:
        names, ids = _first(header, _NAMES), _first(header, _IDS)
        if names is None and not header[0] and width > 1:
            names = 0  # the index of a table, as pandas writes it
    if names is None and ids is None:
        if len(rows) == 1 or width == 1:  # genes alone, in a line or in a column
            genes = [cell for row in rows for cell in row if cell]
            return GeneFile(pd.DataFrame({"gene": genes}, dtype=object), "gene", None)
        cells = [[row[i] if i < len(row) else "" for row in rows] for i in range(width)]
        looks = [are_ensembl_ids(pd.Series(entries[1:])) for entries in cells]
        if not any(looks):
            raise ValueError(
                f"{path} has several columns, but none of them has a usual name, such as 'gene' "
                f"or 'Ensembl ID'. Its first line is {header}. Name the column in `column`."
            )
        ids = looks.index(True)
        if are_ensembl_ids(pd.Series(cells[ids][:1])):
            rows = [[str(position) for position in range(width)], *rows]
    return _as_table(rows, width, names, ids)


def _as_table(rows: Rows, width: int, names: int | None, ids: int | None) -> GeneFile:
    """Put the rows below the first under its names; of equal ones, the later get a number."""
    header: list[str] = []
    for position in range(width):
        name = rows[0][position] if position < len(rows[0]) else ""
        header.append(f"{name}.{position}" if name in header else name)
    body = [[*row, *[""] * (width - len(row))] for row in rows[1:]]
    return GeneFile(
        pd.DataFrame(body, columns=header, dtype=object),
        None if names is None else header[names],
        None if ids is None else header[ids],
    )


def _first(header: list[str], known: tuple[str, ...]) -> int | None:
    """Return the position of the column whose name is known and most telling."""
    plain = [re.sub(r"[^a-z0-9]", "", name.lower()) for name in header]
    return next((plain.index(name) for name in known if name in plain), None)
