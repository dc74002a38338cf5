"""A panel is a frozen ranking; everything else is derived from its one table."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from yoto_sc import Panel
from yoto_sc.pl import redundancy
from yoto_sc.rules import Requirements

ODD_NAMES = [
    "HLA-DRB1",
    "a,b",
    'say "x"',
    "semi;colon",
    "Krt5 (mouse)",
    "RP11-34P13.7",
    "NA",
    "nan",
    "None",
    "1",
    "007",
    "1.50",
    "-inf",
    "True",
    "α-syn",
    "#hash",
    "tab\tname",
    "it's",
]


def make_table(n_genes=6, n_selected=3, **columns):
    """Genes g0, g1, … in an order unlike their ranks; the last one is no candidate."""
    rank = np.arange(n_genes, 0, -1)
    table = {
        "selected": rank - 1 <= n_selected,
        "rank": pd.array(rank - 1, dtype="Int64"),
        "score": np.linspace(0.1, 1, n_genes),
        "task": "cell_type",
        "category": [f"type {i}" for i in range(n_genes)],
    }
    table["rank"][-1] = pd.NA
    table["selected"][-1] = False
    table["score"][-1] = 0
    return pd.DataFrame({**table, **columns}, index=[f"g{i}" for i in range(n_genes)])


def make_adata(n_genes=6, key="yoto", attribution=True, **kwargs):
    table = make_table(n_genes, **kwargs)
    adata = ad.AnnData(
        sp.csr_matrix(np.arange(2 * n_genes, dtype=np.float32).reshape(2, n_genes)),
        obs=pd.DataFrame(index=["c0", "c1"]),
        var=pd.DataFrame(index=table.index),
    )
    for column in ("selected", "rank", "score"):
        adata.var[f"{key}_{column}"] = table[column]
    if attribution:
        adata.uns[key] = {"attribution": table.loc[table["selected"], ["task", "category"]]}
    return adata


def test_table_has_documented_dtypes():
    table = Panel(make_table(score=1, selected=np.array([0, 0, 1, 1, 1, 0]))).table
    assert table.dtypes.astype(str).to_dict() == {
        "selected": "bool",
        "rank": "Int64",
        "score": "float32",
        "task": "object",
        "category": "object",
    }


def test_genes_come_in_the_order_of_their_ranks():
    panel = Panel(make_table(n_genes=6, n_selected=3))
    assert panel.genes == ["g4", "g3", "g2"]
    assert panel.n_genes == 3


def test_the_input_table_is_neither_changed_nor_shared():
    table = make_table()
    before = table.copy(deep=True)
    panel = Panel(table)
    table.loc["g4", "selected"] = False
    assert panel.genes[0] == "g4"
    panel.table.loc["g3", "selected"] = False
    assert bool(table.loc["g3", "selected"]) is bool(before.loc["g3", "selected"]) is True


def test_panel_is_frozen_and_unhashable():
    panel = Panel.from_genes(["a"])
    with pytest.raises(dataclasses.FrozenInstanceError):
        panel.table = make_table()
    with pytest.raises(TypeError, match="unhashable"):
        hash(panel)


def test_equality_is_by_content():
    assert Panel(make_table()) == Panel(make_table())
    assert Panel(make_table()) != Panel(make_table(n_selected=2))
    assert Panel(make_table()) != Panel(make_table(task="donor"))
    assert Panel(make_table()) != "panel"


def test_a_panel_is_a_sequence_of_its_genes():
    panel = Panel(make_table(n_genes=6, n_selected=3))
    assert isinstance(panel, Sequence)
    assert len(panel) == 3
    assert list(panel) == panel.genes
    assert list(reversed(panel)) == ["g2", "g3", "g4"]
    assert (panel[0], panel[-1], panel[1:], panel[::2]) == ("g4", "g2", ["g3", "g2"], ["g4", "g2"])
    assert "g4" in panel
    assert "g0" not in panel  # ranked, not selected
    assert 4 not in panel
    assert panel.index("g3") == 1
    assert np.asarray(panel).tolist() == pd.Index(panel).tolist() == panel.genes
    with pytest.raises(IndexError):
        panel[3]


def test_a_panel_goes_where_a_list_of_genes_does():
    adata = make_adata()
    panel = Panel.from_adata(adata)
    assert adata[:, panel].var_names.tolist() == panel.genes
    assert Panel.from_genes(panel).genes == panel.genes
    rules = Requirements(include=panel, candidates=panel).gene_rules(adata.var)
    assert set(adata.var_names[rules.required]) == set(panel)
    assert not Requirements(exclude=panel).gene_rules(adata.var).allowed[[2, 3, 4]].any()
    ax = redundancy(adata, genes=panel, use_raw=False, show=False)
    assert {label.get_text() for label in ax.get_xticklabels()} == set(panel)


def test_a_notebook_shows_a_table():
    shown = Panel(make_table(task="<script>", cost=1.23456))._repr_html_()
    assert "Panel of 3 genes (of 6)" in shown
    assert shown.index("<td>g4</td>") < shown.index("<td>g3</td>") < shown.index("<td>g2</td>")
    assert "<td>g1</td>" not in shown
    assert "&lt;script&gt;" in shown
    assert "<script>" not in shown
    assert "1.23<" in shown
    names = ["<b>&", *(f"g{i}" for i in range(99))]
    shown = Panel.from_genes(names)._repr_html_()
    assert "&lt;b&gt;&amp;" in shown
    assert "<th>category</th>" not in shown  # nothing is known of it
    assert shown.count("<tr") < 40  # the first and the last


def test_a_notebook_shows_symbols_where_they_are_not_the_names():
    table = make_table()
    assert "<th>symbol</th>" not in Panel(table.assign(symbol=table.index))._repr_html_()
    assert "<td>CD3D</td>" in Panel(table.assign(symbol="CD3D"))._repr_html_()


def test_prefixes_are_nested():
    panel = Panel(make_table(n_genes=9, n_selected=4))
    ranked = ["g7", "g6", "g5", "g4", "g3", "g2", "g1", "g0"]
    for k in range(1, 9):
        prefix = panel.prefix(k)
        assert prefix.genes == ranked[:k]
        assert prefix.n_genes == k
        pd.testing.assert_series_equal(prefix.table["rank"], panel.table["rank"])
    assert panel.n_genes == 4


@pytest.mark.parametrize("k", [-1, 0, 6])
def test_prefix_out_of_range(k):
    with pytest.raises(ValueError, match=rf"between 1 and the 5 ranked genes, not {k}\."):
        Panel(make_table(n_genes=6)).prefix(k)


def test_from_genes_ranks_in_the_given_order():
    panel = Panel.from_genes(["z", "a", "m"])
    assert panel.genes == ["z", "a", "m"]
    assert panel.table["rank"].tolist() == [1, 2, 3]
    assert panel.table["score"].is_monotonic_decreasing
    assert panel.prefix(2).genes == ["z", "a"]


def test_subset_is_a_copy_in_the_panels_order():
    adata = make_adata()
    panel = Panel.from_adata(adata)
    subset = panel.subset(adata)
    assert subset.var_names.tolist() == ["g4", "g3", "g2"]
    np.testing.assert_array_equal(subset.X.toarray(), [[4, 3, 2], [10, 9, 8]])
    assert not subset.is_view
    subset.X.data[:] = 0
    assert adata.X[0, 4] == 4


def test_subset_of_other_data_needs_every_gene():
    adata = make_adata()[:, ["g4", "g0"]].copy()
    with pytest.raises(KeyError, match=r"lacks 2 panel genes: \['g3', 'g2'\]"):
        Panel(make_table()).subset(adata)


def test_csv_round_trip(tmp_path):
    panel = Panel(make_table(score=np.float32([0.1, 1 / 3, 2 / 3, 0.7, 1e-7, 0])))
    panel.to_csv(tmp_path / "panel.csv")
    again = Panel.from_csv(tmp_path / "panel.csv")
    pd.testing.assert_frame_equal(
        again.table, panel.table[panel.table["selected"]].sort_values("rank"), check_names=False
    )
    assert again.genes == panel.genes
    again.to_csv(tmp_path / "again.csv")
    assert (tmp_path / "again.csv").read_bytes() == (tmp_path / "panel.csv").read_bytes()


@pytest.mark.parametrize("suffix", ["", "\n", "\r\n"])
def test_csv_round_trip_of_odd_gene_names(tmp_path, suffix):
    names = [f"{name}{suffix}x" if suffix else name for name in ODD_NAMES]
    panel = Panel.from_genes(names)
    panel.to_csv(str(tmp_path / "panel.csv"))
    assert Panel.from_csv(str(tmp_path / "panel.csv")).genes == names


@pytest.mark.parametrize("column", ["task", "category"])
@pytest.mark.parametrize("label", ["1", "01", "1.50", "TRUE", "1e3", "NA", "a,b", "α"])
def test_csv_round_trip_of_odd_labels(tmp_path, column, label):
    panel = Panel(make_table(**{column: label}))
    panel.to_csv(tmp_path / "panel.csv")
    assert Panel.from_csv(tmp_path / "panel.csv").table[column].tolist() == [label] * 3


@pytest.mark.parametrize("header", ["", "gene\n", "Genes\n"])
def test_from_csv_reads_a_plain_list(tmp_path, header):
    path = tmp_path / "genes.txt"
    path.write_text(f"{header}CD3D\n\n  MS4A1 \r\nNKG7", encoding="utf-8")
    assert Panel.from_csv(path).genes == ["CD3D", "MS4A1", "NKG7"]


def test_from_csv_reads_files_saved_by_excel(tmp_path):
    """Excel puts a byte order mark before text."""
    path = tmp_path / "genes.csv"
    path.write_text("CD3D\nMS4A1\n", encoding="utf-8-sig")
    assert Panel.from_csv(path).genes == ["CD3D", "MS4A1"]
    path.write_text("gene\nCD3D\n", encoding="utf-8-sig")
    assert Panel.from_csv(path).genes == ["CD3D"]


@pytest.mark.parametrize("text", ["", "\n \n"])
def test_from_csv_refuses_empty_files(tmp_path, text):
    (tmp_path / "genes.csv").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=r"genes\.csv holds no gene"):
        Panel.from_csv(tmp_path / "genes.csv")


@pytest.mark.parametrize("header", ["gene", "gene,rank,score,task,category"])
def test_from_csv_refuses_a_header_without_genes(tmp_path, header):
    (tmp_path / "genes.csv").write_text(f"{header}\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"genes\.csv holds no gene"):
        Panel.from_csv(tmp_path / "genes.csv")


def test_from_adata_reads_what_was_stored():
    adata = make_adata(key="mine")
    panel = Panel.from_adata(adata, "mine")
    expected = make_table()
    unselected = ~expected["selected"]
    expected.loc[unselected, ["task", "category"]] = ""
    pd.testing.assert_frame_equal(
        panel.table,
        expected.astype({"score": np.float32}).assign(symbol=expected.index),
        check_names=False,
    )


def test_from_adata_without_attribution():
    panel = Panel.from_adata(make_adata(attribution=False))
    assert panel.genes == ["g4", "g3", "g2"]
    assert set(panel.table["task"]) == {""}


def test_from_adata_after_writing_and_reading(tmp_path):
    adata = make_adata()
    adata.write_h5ad(tmp_path / "a.h5ad")
    assert Panel.from_adata(ad.read_h5ad(tmp_path / "a.h5ad")) == Panel.from_adata(adata)


def test_from_adata_of_reordered_and_missing_genes():
    adata = make_adata()[:, ["g2", "g4"]].copy()
    panel = Panel.from_adata(adata)
    assert panel.genes == ["g4", "g2"]
    assert panel.table.loc["g2", "category"] == "type 2"


@pytest.mark.parametrize("column", ["selected", "rank", "score"])
def test_from_adata_without_a_selection(column):
    adata = make_adata()
    del adata.var[f"yoto_{column}"]
    with pytest.raises(KeyError, match=rf"no column 'yoto_{column}'.*key_added='yoto'"):
        Panel.from_adata(adata)


def test_error_missing_columns():
    with pytest.raises(ValueError, match=r"\['score', 'category'\] are missing"):
        Panel(make_table().drop(columns=["score", "category"]))


def test_error_repeated_gene():
    with pytest.raises(ValueError, match="'g0' occurs twice"):
        Panel(pd.concat([make_table(), make_table().iloc[:1]]))


def test_error_selected_gene_without_rank():
    table = make_table()
    table.loc["g5", "selected"] = True
    with pytest.raises(ValueError, match="'g5' has no rank"):
        Panel(table)


def test_repr_is_short():
    text = repr(Panel.from_genes([f"g{i}" for i in range(500)]))
    assert text.startswith("Panel of 500 genes (of 500): g0, g1")
    assert text.endswith("…")
    assert len(text) < 100


def test_genes_that_had_to_be_in_the_panel_are_told_apart(tmp_path):
    panel = Panel(make_table(imposed=[True, False, False, True, False, True]))
    assert (panel.imposed, panel.chosen) == (["g3"], ["g4", "g2"])
    assert Panel(make_table()).imposed == []
    assert Panel(make_table()).chosen == ["g4", "g3", "g2"]
    assert "<th>imposed</th>" in panel._repr_html_()
    panel.to_csv(tmp_path / "panel.csv")
    assert Panel.from_csv(tmp_path / "panel.csv").imposed == ["g3"]
    shouted = (tmp_path / "panel.csv").read_text().replace("True", "TRUE")
    (tmp_path / "panel.csv").write_text(shouted.replace("False", "FALSE"))
    assert Panel.from_csv(tmp_path / "panel.csv").imposed == ["g3"]


# --- names and costs ---

IDS = [f"ENSG{i:011d}" for i in range(6)]
SYMBOLS = ["CD3D", "MS4A1", "NKG7", "LYZ", "PPBP", "FCER1A"]


def test_from_adata_finds_names_and_costs():
    adata = make_adata()
    adata.var["gene_ids"], adata.var["feature_name"] = IDS, pd.Categorical(SYMBOLS)
    adata.var["price"] = np.arange(6, dtype=np.float32) / 2
    adata.uns["yoto"]["params"] = {"cost": "price"}
    table = Panel.from_adata(adata).table
    assert table["ensembl_id"].tolist() == IDS
    assert table["symbol"].tolist() == SYMBOLS
    assert table["cost"].tolist() == [0, 0.5, 1, 1.5, 2, 2.5]


@pytest.mark.parametrize("column", ["gene_id", "ensembl", "feature_id"])
@pytest.mark.parametrize("suffix", ["", ".12"])
def test_from_adata_knows_columns_of_ensembl_ids(column, suffix):
    adata = make_adata()
    adata.var[column] = [f"{name}{suffix}" for name in IDS]
    table = Panel.from_adata(adata).table
    assert table["ensembl_id"].tolist() == [f"{name}{suffix}" for name in IDS]
    assert table["symbol"].tolist() == adata.var_names.tolist()


def test_from_adata_with_ensembl_ids_as_var_names():
    adata = make_adata(attribution=False)
    adata.var_names = [f"ENSMUSG{i:011d}" for i in range(6)]
    table = Panel.from_adata(adata).table
    assert table["ensembl_id"].tolist() == adata.var_names.tolist()
    assert "symbol" not in table.columns
    adata.var["gene_symbols"] = SYMBOLS
    assert Panel.from_adata(adata).table["symbol"].tolist() == SYMBOLS


def test_other_ids_are_no_ensembl_ids():
    adata = make_adata()
    adata.var["gene_ids"] = [f"PBANKA_{i}" for i in range(6)]
    assert "ensembl_id" not in Panel.from_adata(adata).table.columns


def test_csv_tells_names_role_and_cost(tmp_path):
    table = make_table(symbol=SYMBOLS, ensembl_id=[*IDS[:5], None], cost=[1, 2, 0.1, 4, np.nan, 6])
    table.loc["g3", "category"] = ""
    table.loc["g2", ["task", "category"]] = ""
    panel = Panel(table)
    panel.to_csv(tmp_path / "panel.csv")
    lines = (tmp_path / "panel.csv").read_text(encoding="utf-8").splitlines()
    assert lines[0] == "gene,symbol,ensembl_id,rank,score,role,task,category,cost"
    read = pd.read_csv(tmp_path / "panel.csv", index_col="gene")
    assert read.index.tolist() == panel.genes == ["g4", "g3", "g2"]
    assert read["symbol"].tolist() == ["PPBP", "LYZ", "NKG7"]
    assert read["rank"].tolist() == [1, 2, 3]
    task, category = table.loc["g4", ["task", "category"]]
    assert read["role"].fillna("").tolist() == [
        f"most missed by {category} ({task})",
        f"predicts {table.loc['g3', 'task']}",
        "",
    ]
    again = Panel.from_csv(tmp_path / "panel.csv")
    pd.testing.assert_frame_equal(
        again.table, panel.table[panel.table["selected"]].sort_values("rank"), check_names=False
    )


def test_optional_columns_have_documented_dtypes():
    panel = Panel(make_table(symbol=SYMBOLS, ensembl_id=pd.Categorical([*IDS[:5], None]), cost=1))
    assert panel.table["ensembl_id"].tolist() == [*IDS[:5], ""]
    assert panel.table["cost"].dtype == np.float64
    assert panel.prefix(1).table["symbol"].tolist() == SYMBOLS


# --- as files for others ---


@pytest.fixture
def counted():
    """A selection on four cells: of two types, and one of none."""
    adata = make_adata()
    x = np.array([[0, 0, 1, 2, 3, 0], [0, 0, 0, 2, 1, 0], [0, 0, 4, 0, 0, 0], [0, 0, 0, 0, 4, 0]])
    cells = pd.DataFrame(
        {"type": pd.Categorical(["B", "B", "T", None], categories=["B", "T", "unused"])},
        index=[f"c{i}" for i in range(4)],
    )
    other = ad.AnnData(sp.csr_matrix(x.astype(np.float32)), obs=cells, var=adata.var.copy())
    other.var["gene_ids"] = [f"{entry}.3" for entry in IDS]
    other.var["symbol"] = pd.Categorical([*SYMBOLS[:3], None, *SYMBOLS[4:]])
    return other


def read_rows(path):
    reader = pd.read_excel if path.suffix == ".xlsx" else pd.read_csv
    return reader(path, keep_default_na=False)


@pytest.mark.parametrize("suffix", ["csv", "xlsx"])
def test_expression_is_told_beside_the_genes(counted, tmp_path, suffix):
    panel, path = Panel.from_adata(counted), tmp_path / f"panel.{suffix}"
    write = panel.to_excel if suffix == "xlsx" else panel.to_csv
    write(path, counted, groupby="type")
    rows = read_rows(path)
    assert list(rows.columns) == [
        *("gene", "symbol", "ensembl_id", "rank", "score", "role", "task", "category"),
        *("mean", "detection", "mean (B)", "detection (B)", "mean (T)", "detection (T)"),
    ]
    assert list(rows["gene"]) == ["g4", "g3", "g2"]
    assert list(rows["symbol"]) == ["PPBP", "", "NKG7"]
    np.testing.assert_allclose(rows["mean"], [2, 1, 1.25])
    np.testing.assert_allclose(rows["detection"], [0.75, 0.5, 0.5])
    np.testing.assert_allclose(rows["mean (B)"], [2, 2, 0.5])
    np.testing.assert_allclose(rows["detection (B)"], [1, 1, 0.5])
    np.testing.assert_allclose(rows["mean (T)"], [0, 0, 4])
    np.testing.assert_allclose(rows["detection (T)"], [0, 0, 1])
    assert Panel.read(path).genes == panel.genes


def test_expression_is_read_from_a_layer_as_stored(counted, tmp_path):
    counted.layers["double"] = counted.X * 2
    Panel.from_adata(counted).to_csv(tmp_path / "panel.csv", counted, layer="double")
    rows = read_rows(tmp_path / "panel.csv")
    np.testing.assert_allclose(rows["mean"], [4, 2, 2.5])
    assert list(rows.columns[-2:]) == ["mean", "detection"]


def test_a_list_for_a_form_has_symbols(counted, tmp_path):
    panel = Panel.from_adata(counted)
    panel.to_csv(tmp_path / "list.txt", layout="list")
    assert (tmp_path / "list.txt").read_text().split() == ["PPBP", "g3", "NKG7"]
    Panel.from_genes(["a", "=b"]).to_csv(tmp_path / "list.txt", layout="list")
    assert (tmp_path / "list.txt").read_text() == "a\n'=b\n"
    Panel.from_genes(["g0"]).to_csv(tmp_path / "list.txt", counted, layout="list")
    assert (tmp_path / "list.txt").read_text() == "CD3D\n"


def test_the_layout_of_xeniums_panel_designer(counted, tmp_path):
    table = Panel.from_adata(counted).table.assign(imposed=[False] * 4 + [True, False])
    Panel(table).to_csv(tmp_path / "list.csv", layout="xenium")
    assert (tmp_path / "list.csv").read_text().splitlines() == [
        "Gene,Ensembl ID,Probe sets,Force",
        f"PPBP,{IDS[4]},,forced",
        f"g3,{IDS[3]},,",
        f"NKG7,{IDS[2]},,",
    ]
    with pytest.raises(ValueError, match="layout='xenium' needs Ensembl IDs.* of 1 genes, such"):
        Panel.from_genes(["a"]).to_csv(tmp_path / "none.csv", layout="xenium")


def test_files_that_cannot_be_written(counted, tmp_path):
    panel, path = Panel.from_adata(counted), tmp_path / "new.csv"
    with pytest.raises(ValueError, match="layout must be one of"):
        panel.to_csv(path, layout="cosmx")
    with pytest.raises(ValueError, match="`groupby` and `layer` are of `adata`"):
        panel.to_csv(path, groupby="type")
    with pytest.raises(KeyError, match="`groupby` names 'kind'"):
        panel.to_csv(path, counted, groupby="kind")
    with pytest.raises(KeyError, match=r"`genes` names \['g4'\]"):
        panel.to_csv(path, counted[:, ["g3", "g2"]].copy())
    with pytest.raises(ValueError, match=r"call Panel\.to_excel"):
        panel.to_csv(tmp_path / "new.xlsx")
    with pytest.raises(ValueError, match=r"must end in \.xlsx"):
        panel.to_excel(path)
    many = ad.AnnData(np.ones((201, 6)), var=counted.var)
    many.obs["cell"] = many.obs_names
    with pytest.raises(ValueError, match="groupby='cell' has 201 groups"):
        panel.to_csv(path, many, groupby="cell")
    assert not list(tmp_path.iterdir())


def test_backups_are_the_genes_that_come_next():
    genes = [f"g{number}" for number in range(7)]
    table = pd.DataFrame(
        {
            "selected": [True, False, False, True, False, False, False],
            "rank": pd.array([1, 4, 3, 2, None, 6, 5], dtype="Int64"),
            "score": np.linspace(1, 0, 7),
            "task": "",
            "category": "",
        },
        index=genes,
    )
    panel = Panel(table)
    assert panel.backups(3) == ["g2", "g1", "g6"]
    assert [*panel, *panel.backups(2)] == panel.prefix(4).genes
    for n in (0, 5):
        with pytest.raises(ValueError, match="between 1 and the 4 ranked genes"):
            panel.backups(n)
