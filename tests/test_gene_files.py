"""Lists of genes are read as vendors, pipelines and spreadsheets lay them out."""

from __future__ import annotations

import datetime
import json
import sys

import anndata as ad
import click
import numpy as np
import pandas as pd
import pytest

import yoto_sc as yt
from yoto_sc import Panel
from yoto_sc._gene_files import read_gene_file, write_gene_file
from yoto_sc.cli._files import genes_in

GENES = ["CD79A", "NKG7", "LYZ", "GNLY", "FCER1A"]


@pytest.fixture(scope="module")
def adata():
    """Real genes, with identifiers made up in the form of Ensembl's."""
    adata = yt.datasets.pbmc68k()
    adata.var["gene_ids"] = [f"ENSG{i:011d}" for i in range(adata.n_vars)]
    return adata


def ids_of(adata, version=""):
    return [f"{entry}{version}" for entry in adata.var.loc[GENES, "gene_ids"]]


def lines(header, *columns, separator=","):
    rows = [header, *(separator.join(row) for row in zip(*columns, strict=True))]
    return "\n".join(rows) + "\n"


def xenium_metadata(adata):
    """A panel's metadata, as published for predesigned Xenium panels."""
    ids = ids_of(adata)
    rest = [["8"] * 5, ["1"] * 5, ["B cell", "NK", "Mono", "NK", "Platelet"]]
    return lines("Genes,Ensembl_ID,Num_Probesets,Codewords,Annotation", GENES, ids, *rest)


def xenium_panel(adata):
    """The panel file beside a Xenium's output."""
    targets = [
        {"codewords": [i], "type": {"descriptor": "gene", "data": {"id": entry, "name": gene}}}
        for i, (gene, entry) in enumerate(zip(GENES, ids_of(adata), strict=True))
    ]
    control = {"type": {"descriptor": "negative_control_probe", "data": {"name": "NegControl_1"}}}
    return json.dumps({"metadata": {}, "payload": {"targets": [*targets, control]}})


def merscope_codebook(adata):
    """A codebook, with transcripts for identifiers, and blanks."""
    transcripts = [f"ENST{i:011d}" for i in range(5)]
    text = lines("name,id,barcodeType,V0001", GENES, transcripts, ["merfish"] * 5, ["1"] * 5)
    return f"# chemistryVersion: 2.0\n{text}Blank-1,-1,merfish,1\nBlank-02,-1,merfish,0\n"


def european_excel(adata):
    return "sep=;\n" + lines(
        "Gene Symbol;ENSEMBL;Mean", GENES, ids_of(adata), ["1,5"] * 5, separator=";"
    )


def gencode(adata):
    return lines(
        "gene_id\tgene_type", ids_of(adata, ".12"), ["protein_coding"] * 5, separator="\t"
    )


def scanpy_var(adata):
    return adata.var.loc[GENES, ["n_counts"]].rename_axis(index=None).to_csv()


def a_gene_a_line(adata):
    return "# our base panel\n\n" + "\n".join(GENES) + "\n# the end\n"


def genes_in_a_line(adata):
    return ", ".join(GENES)


def no_header(adata):
    return lines("", GENES, ids_of(adata), ["x"] * 5)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize(
    "layout",
    [
        xenium_metadata,
        merscope_codebook,
        european_excel,
        gencode,
        scanpy_var,
        a_gene_a_line,
        genes_in_a_line,
        no_header,
    ],
)
def test_lists_are_read_as_they_are_laid_out(layout, encoding, newline, adata, tmp_path):
    path = tmp_path / "list.csv"
    path.write_bytes(layout(adata).replace("\n", newline).encode(encoding))
    assert Panel.read(path, adata).genes == GENES


def test_the_panel_file_of_a_xenium_is_read(adata, tmp_path):
    path = tmp_path / "gene_panel.json"
    path.write_text(xenium_panel(adata), encoding="utf-8")
    panel = Panel.read(path)
    assert panel.genes == GENES
    assert list(panel.table["ensembl_id"]) == ids_of(adata)
    for text in ("{", "[]", '{"payload": {"targets": [{"type": 3}]}}'):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(ValueError, match=r"gene_panel\.json is no gene_panel\.json"):
            Panel.read(path)


@pytest.mark.parametrize("written", ["table", "list", "xenium"])
@pytest.mark.parametrize("suffix", ["csv", "tsv", "xlsx"])
@pytest.mark.parametrize(
    "layout", [xenium_metadata, merscope_codebook, european_excel, gencode, a_gene_a_line]
)
def test_what_is_read_is_written_and_read_again(layout, suffix, written, adata, tmp_path):
    (tmp_path / "given.csv").write_text(layout(adata), encoding="utf-8")
    panel, path = Panel.read(tmp_path / "given.csv", adata), tmp_path / f"order.{suffix}"
    write = panel.to_excel if suffix == "xlsx" else panel.to_csv
    write(path, layout=written)
    assert Panel.read(path, adata) == panel
    if written != "list":
        assert Panel.read(path).table["ensembl_id"].tolist() == ids_of(adata)


@pytest.mark.parametrize(
    ("header", "read"),
    [
        ("Gene,Ensembl ID,x", ["a", "b"]),
        ("gene_id,gene_name,x", ["ENSG1", "b"]),
        ("Gene Symbol,gene,x", ["ENSG1"]),
        ("GENE_NAME,description,ENSEMBL", ["a", "b"]),
        ("x,Ensembl gene ID,Approved symbol", ["1", "2"]),
        ("ensembl_id,x,y", ["a", "b"]),
        ("gene,gene,gene", ["a", "b"]),
    ],
)
def test_columns_are_known_by_their_names(header, read, tmp_path):
    (tmp_path / "list.csv").write_text(f"{header}\na,ENSG1,1\nb,,2\n", encoding="utf-8")
    assert Panel.read(tmp_path / "list.csv").genes == read


def test_names_and_identifiers_are_both_kept(tmp_path):
    path = tmp_path / "list.csv"
    path.write_text("Gene,Ensembl ID\nCD3D,ENSG1\n,ENSG2\n", encoding="utf-8")
    table = Panel.read(path).table
    assert list(table.index) == ["CD3D", "ENSG2"]
    assert list(table["symbol"]) == ["CD3D", ""]
    assert list(table["ensembl_id"]) == ["ENSG1", "ENSG2"]


def test_a_column_may_be_named(tmp_path):
    path = tmp_path / "list.csv"
    path.write_text("who,gene\nCD3D,x\nLYZ,y\n", encoding="utf-8")
    assert Panel.read(path, column="who").genes == ["CD3D", "LYZ"]
    with pytest.raises(ValueError, match=r"no column 'what', only \['who', 'gene'\]"):
        Panel.read(path, column="what")


@pytest.mark.parametrize("rows", ["a,b\nc,d\n", "a,b\nENSG00000000001,x\nc,d\ne,f\n"])
def test_columns_that_nothing_tells_are_asked_for(rows, tmp_path):
    (tmp_path / "list.csv").write_text(rows, encoding="utf-8")
    with pytest.raises(ValueError, match=r"first line is \['a', 'b'\]\. Name the column in"):
        Panel.read(tmp_path / "list.csv")


def test_identifiers_are_known_by_their_form(tmp_path):
    path = tmp_path / "list.csv"
    path.write_text("who,what\nx,ENSG00000000001.2\ny,ENSMUSG00000000002\nz\n", encoding="utf-8")
    assert Panel.read(path).genes == ["ENSG00000000001.2", "ENSMUSG00000000002"]


def test_what_spreadsheets_write_of_old_is_read(tmp_path):
    (tmp_path / "list.csv").write_bytes("gene,note\nCD3D,naïve\n".encode("cp1252"))
    assert Panel.read(tmp_path / "list.csv").genes == ["CD3D"]


def test_genes_that_are_named_twice_count_once(tmp_path, caplog):
    (tmp_path / "list.csv").write_text("gene,probe\na,1\nb,1\na,2\n", encoding="utf-8")
    assert Panel.from_csv(tmp_path / "list.csv").genes == ["a", "b"]
    assert "list.csv names ['a'] more than once; the first row counts" in caplog.text


@pytest.mark.parametrize(
    "text", ["", "\n,,\n", "# nothing\n", "gene,id\n,\n", "name,id\nBlank-1,-1\n"]
)
def test_files_without_genes(text, tmp_path):
    (tmp_path / "list.csv").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=r"list\.csv holds no gene"):
        Panel.read(tmp_path / "list.csv")


def test_files_that_are_no_text(tmp_path):
    (tmp_path / "list.xls").write_bytes(b"\xd0\xcf\x11\xe0\0\0")
    with pytest.raises(ValueError, match=r"is no text\. Save it as CSV, or as \.xlsx"):
        Panel.read(tmp_path / "list.xls")


# --- in data ---


def test_genes_are_found_in_data_by_var_name_then_identifier_then_symbol(tmp_path):
    path = tmp_path / "list.csv"
    path.write_text("gene,ensembl_id\nA,I2\nold,I2\nx,I3\nB,\nnone,I9\n", encoding="utf-8")
    adata = ad.AnnData(np.ones((2, 3)), var=pd.DataFrame(index=["A", "two", "three"]))
    adata.var["gene_ids"], adata.var["gene_symbols"] = ["I1", "I2", "I3"], ["x", "B", "y"]
    panel = Panel.read(path, adata, unknown_genes="ignore")
    assert panel.genes == ["A", "two", "three"]  # B is a symbol of the second
    assert list(panel.table["symbol"]) == ["x", "B", "y"]  # as the data have it


def test_unknown_genes_are_an_error_or_left_out(adata, tmp_path, caplog):
    path = tmp_path / "list.txt"
    path.write_text("CD79A\nNkg7\nno_gene\n", encoding="utf-8")
    with pytest.raises(KeyError, match=r"\['Nkg7', 'no_gene'\].*NKG7 for 'Nkg7'"):
        Panel.read(path, adata)
    panel = Panel.read(path, adata, unknown_genes="ignore")
    assert panel.genes == ["CD79A"]
    assert panel.table["rank"].tolist() == [1]
    assert "2 of 3 genes are not in adata" in caplog.text
    with pytest.raises(ValueError, match="unknown_genes must be"):
        Panel.read(path, adata, unknown_genes="maybe")


# --- spreadsheets ---


def excel(path, rows, **kwargs):
    pd.DataFrame(rows).to_excel(path, header=False, index=False, **kwargs)
    return path


def test_excel_files_are_read(adata, tmp_path):
    rows = [
        ["# panel", None],
        [None, None],
        ["Gene", "Ensembl ID"],
        *zip(GENES, ids_of(adata), strict=False),
    ]
    path = excel(tmp_path / "list.xlsx", rows)
    assert Panel.read(path, adata).genes == GENES
    assert Panel.read(path).table["ensembl_id"].tolist() == ids_of(adata)


def test_a_sheet_may_be_named(tmp_path):
    path = tmp_path / "list.xlsx"
    with pd.ExcelWriter(path) as writer:
        excel(writer, [["gene"], ["a"]], sheet_name="first")
        excel(writer, [["gene"], [7]], sheet_name="second")
    assert Panel.read(path).genes == ["a"]
    assert Panel.read(path, sheet="second").genes == Panel.read(path, sheet=1).genes == ["7"]
    with pytest.raises(ValueError, match=r"cannot be read as an Excel file: .*third"):
        Panel.read(path, sheet="third")


def test_genes_that_a_spreadsheet_made_dates_of_are_refused(tmp_path):
    rows = [["gene"], ["CD3D"], [datetime.date(2024, 3, 1)]]
    with pytest.raises(ValueError, match=r"Row 3 of .*list\.xlsx holds a date.*MARCHF1"):
        Panel.read(excel(tmp_path / "list.xlsx", rows))


def test_excel_files_that_are_none_or_empty(tmp_path):
    path = tmp_path / "list.xlsx"
    for data in (b"gene\nCD3D\n", b"PK\x03\x04broken"):
        path.write_bytes(data)
        with pytest.raises(ValueError, match=r"list\.xlsx cannot be read as an Excel file"):
            Panel.read(path)
    with pytest.raises(ValueError, match="holds no gene"):
        Panel.read(excel(path, []))
    with pytest.raises(FileNotFoundError):
        Panel.read(tmp_path / "none.xlsx")


def test_the_extra_is_named_where_excel_is_not_read(tmp_path, monkeypatch):
    path = excel(tmp_path / "list.xlsx", [["gene"], ["a"]])
    for name in ("openpyxl", "openpyxl.workbook"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=r"pip install 'yoto-sc\[excel\]'"):
        Panel.read(path)
    with pytest.raises(ImportError, match=r"pip install 'yoto-sc\[excel\]'"):
        write_gene_file(pd.DataFrame({"gene": ["a"]}), tmp_path / "new.xlsx")


DANGEROUS = [
    "=1+1",
    "+A1",
    "-inf",
    "@SUM(A1)",
    "\ttab",
    "'=x",
    "''-y",
    "'plain",
    "-",
    "a=b",
    "A-1",
]


@pytest.mark.parametrize("suffix", ["csv", "tsv", "xlsx"])
def test_no_name_is_a_formula_and_all_come_back(suffix, tmp_path):
    path = tmp_path / f"list.{suffix}"
    write_gene_file(pd.DataFrame({"gene": DANGEROUS, "=head": "=1", "number": -1.5}), path)
    file = read_gene_file(path)
    assert file.column("gene") == DANGEROUS
    assert file.column("=head") == ["=1"] * len(DANGEROUS)
    assert set(file.column("number")) == {"-1.5"}
    if suffix == "xlsx":
        raw = pd.read_excel(path, header=None, dtype=str).to_numpy().ravel().tolist()
    else:
        raw = path.read_text().replace("\t", ",").replace("\n", ",").split(",")
    texts = [cell for cell in raw if cell and cell != "-1.5"]
    assert not [cell for cell in texts if cell[0] in "=+-@\t\r"]


def test_a_file_may_be_a_list_alone(tmp_path):
    write_gene_file(pd.DataFrame({"gene": ["a", "b"]}), tmp_path / "list.txt", header=False)
    assert (tmp_path / "list.txt").read_text() == "a\nb\n"


def test_the_command_line_reads_the_same_files(tmp_path):
    (tmp_path / "list.tsv").write_text("Gene Symbol\tx\na\t1\nb\t2\n", encoding="utf-8")
    assert genes_in(str(tmp_path / "list.tsv")) == ["a", "b"]
    assert genes_in(str(excel(tmp_path / "list.xlsx", [["gene"], ["a"]]))) == ["a"]
    (tmp_path / "list.csv").write_text("", encoding="utf-8")
    with pytest.raises(click.BadParameter, match=r"list\.csv is no list of genes"):
        genes_in(str(tmp_path / "list.csv"))
