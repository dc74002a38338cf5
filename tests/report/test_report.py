"""The report: what it says is what was written, and it needs nothing but itself."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest

import yoto_sc as yt
from yoto_sc._report._cautions import cautions
from yoto_sc._report._classes import class_rows
from yoto_sc._report._numbers import number, percent
from yoto_sc._report._tasks import TaskCard

if TYPE_CHECKING:
    from pathlib import Path

    from anndata import AnnData

NASTY = "<script>alert('x')</script> & \"q\""
QUICK = {"max_steps": 40, "progress_bar": False, "accelerator": "cpu"}


class Page(HTMLParser):
    """What a browser would see of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text, self.headings, self.links = [], [], []
        self.tables: dict[str, list[list[str]]] = {}
        self.open: list[str] = []
        self.scripts = 0
        self._table = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.scripts += tag == "script"
        self.links += [value for name, value in given.items() if name in ("src", "href")]
        if given.get("role") == "region":
            self._table = given["aria-label"]
            self.tables.setdefault(self._table, [])
        if tag == "tr":
            self.tables[self._table].append([])
        if tag in ("th", "td"):
            self.tables[self._table][-1].append("")
        if tag not in ("meta", "img", "input"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "script" in self.open or "style" in self.open:
            return
        self.text.append(data)
        if self.open and self.open[-1] in ("h1", "h2"):
            self.headings.append(data)
        if {"th", "td"} & set(self.open):
            self.tables[self._table][-1][-1] += data


def page_of(adata: AnnData, tmp_path: Path, **kwargs: Any) -> tuple[Page, str]:
    path = tmp_path / "report.html"
    yt.report(adata, path, **kwargs)
    text = path.read_text(encoding="utf-8")
    page = Page(text)
    assert page.open == []
    return page, text


@pytest.fixture(scope="module")
def selected() -> AnnData:
    """Return blood cells with a panel for two tasks, one gene asked for, and odd names."""
    adata = yt.datasets.pbmc68k()
    adata.obs["type"] = adata.obs["bulk_labels"].cat.rename_categories({"CD34+": NASTY})
    adata.var["ensembl_id"] = [f"ENSG{number:011d}" for number in range(adata.n_vars)]
    yt.tl.select(
        adata,
        9,
        categorical_keys="type",
        continuous_keys="S_score",
        include=["CD3D"],
        fraction_range=(0.005, 1.0),
        **QUICK,
    )
    return adata


@pytest.fixture(scope="module")
def whole(selected: AnnData, tmp_path_factory: pytest.TempPathFactory) -> tuple[Page, str]:
    return page_of(selected, tmp_path_factory.mktemp("report"))


def test_a_page_needs_nothing_but_itself(whole: tuple[Page, str]) -> None:
    page, text = whole
    assert len(text) < 3_000_000
    assert page.scripts == 1
    assert page.links
    assert all(link.startswith("data:image/png;base64,") for link in page.links)
    assert "@import" not in text
    assert "url(" not in text


def test_names_are_text(whole: tuple[Page, str]) -> None:
    page, text = whole
    assert "<script>alert" not in text
    assert any(NASTY in row[0] for row in page.tables["Classes of type"])


def test_the_table_of_genes_is_the_panel(selected: AnnData, whole: tuple[Page, str]) -> None:
    heading, *rows = whole[0].tables["The genes"]
    table = pd.DataFrame(rows, columns=heading)
    panel = yt.Panel.from_adata(selected)
    assert list(table["gene"]) == panel.genes
    assert list(table["rank"]) == [str(rank) for rank in range(1, 10)]
    assert list(table["Ensembl ID"]) == list(selected.var.loc[panel.genes, "ensembl_id"])
    assert list(table.loc[table["asked for"] == "yes", "gene"]) == ["CD3D"]
    values = selected[:, panel.genes].X.toarray()
    np.testing.assert_allclose(table["mean"].astype(float), values.mean(axis=0), atol=0.005)
    detected = 100 * (values > 0).mean(axis=0)
    np.testing.assert_allclose(table["% of cells"].astype(float), detected, atol=0.05)
    without = selected.uns["yoto"]["without"].set_index(["gene", "task"])["loss"]
    served = yt.Panel.from_adata(selected).table.loc[panel.genes, "task"]
    for gene, shown in zip(table["gene"], table["loss without it"], strict=True):
        assert shown == number(float(without[gene, served[gene]]), 3)


def test_scores_are_those_on_held_out_cells(selected: AnnData, whole: tuple[Page, str]) -> None:
    text = " ".join(" ".join(whole[0].text).split())
    metrics = selected.uns["yoto"]["metrics"]
    assert number(float(metrics.loc["type", "macro_f1"])) in text
    assert percent(float(metrics.loc["type", "accuracy"])) in text
    assert number(float(metrics.loc["S_score", "r2"])) in text
    path = selected.uns["yoto"]["path"]
    everything = path[(path["task"] == "type") & (path["n_genes"] == path["n_genes"].max())]
    assert number(float(everything["score"].iloc[0])) in text


def test_rules_say_how_far_they_are_used(whole: tuple[Page, str]) -> None:
    rules = {row[0]: row[1:] for row in whole[0].tables["Rules"][1:]}
    assert rules["include"] == ["CD3D", "1 genes of the panel"]
    assert rules["fraction_range"][0] == "0.005, 1.0"
    assert rules["fraction_range"][1].endswith("in the panel")
    assert "What the chosen genes add" in whole[0].headings


def test_what_was_not_computed_says_what_would(whole: tuple[Page, str]) -> None:
    text = " ".join(whole[0].text)
    assert "yt.tl.substitutes(adata)" in text
    assert "yt.tl.stability" in text
    assert "Beside other lists" not in whole[0].headings


def test_what_other_functions_found_is_in_it(selected: AnnData, tmp_path: Path) -> None:
    adata, genes = selected.copy(), yt.Panel.from_adata(selected).genes
    yt.tl.stability(
        adata,
        9,
        categorical_keys="type",
        n_runs=2,
        select_kwargs={"max_steps": 10},
        progress_bar=False,
    )
    columns = ["gene", "rank", "substitute", "verdict", "role_task", "role_classes", "role_kept"]
    swaps = pd.DataFrame(
        [
            [genes[0], 1, "X1", "as good", "type", "B", 0.914],
            [genes[0], 2, "X2", "as good", "type", "B", np.nan],
            [genes[1], pd.NA, pd.NA, "no substitute", "type", pd.NA, np.nan],
            [genes[2], 1, "X3", pd.NA, pd.NA, pd.NA, 0.5],
        ],
        columns=columns,
    )
    compared = pd.DataFrame(
        {
            "panel": ["ours", "ours", "other"],
            "task": "type",
            "classifier": "k_neighbors",
            "metric": "macro_f1",
            "category": pd.NA,
            "value": [0.5, 0.7, 0.25],
        }
    )
    transferred = pd.DataFrame(
        {
            "panel": ["ours"],
            "task": ["type"],
            "metric": ["macro_f1"],
            "reference": [0.9],
            "query": [0.7],
            "adapted": [0.8],
            "n_classes": [10],
        }
    )
    page, _ = page_of(
        adata,
        tmp_path,
        substitutes=swaps,
        compared=compared,
        transferred=transferred,
        title="A <title> \ud800",
    )
    assert page.headings.count("A <title> ?") == 1
    assert page.tables["Substitutes"][1:] == [
        [genes[0], "B", "as good", "X1 (91 %), X2"],
        [genes[1], "type", "no substitute", "none"],
        [genes[2], "", "", "X3 (50 %)"],
    ]
    table = page.tables["Comparison"]
    assert table[0] == ["task", "classifier", "metric", "ours", "other"]
    assert table[1] == ["type", "k_neighbors", "macro_f1", "0.600", "0.250"]
    assert page.tables["Scores in another assay"][1][3:] == ["0.900", "0.700", "0.800"]
    heading, *rows = page.tables["The genes"]
    found = pd.DataFrame(rows, columns=heading).set_index("gene")
    assert found.loc[genes[0], "best substitute"] == "X1"
    frequency = 100 * adata.var.loc[genes, "yoto_frequency"]
    np.testing.assert_allclose(found["% of runs"].astype(float), frequency, atol=0.06)


@pytest.mark.parametrize("name", ["substitutes", "compared", "transferred"])
def test_error_a_table_of_another_kind(name: str, selected: AnnData, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"`{name}` lacks the columns"):
        yt.report(
            selected, tmp_path / "no.html", **{name: pd.DataFrame({"gene": ["a"], "rank": 1})}
        )
    assert not list(tmp_path.iterdir())


def test_results_without_expression_are_enough(selected: AnnData, tmp_path: Path) -> None:
    bare = ad.AnnData(obs=selected.obs, var=selected.var, uns={"yoto": selected.uns["yoto"]})
    bare.obs_names, bare.var_names = selected.obs_names, selected.var_names
    bare.obs["type"] = bare.obs["type"].cat.rename_categories({NASTY: "odd"})
    page, _ = page_of(bare, tmp_path)
    assert "mean" not in page.tables["The genes"][0]
    assert "Where they are expressed" not in page.headings
    assert "How many genes are enough" in page.headings


def test_vectors_alone_and_no_cell_held_out(tmp_path: Path) -> None:
    adata = yt.datasets.planted(n_obs=150, n_vars=60)
    yt.tl.select(
        adata, 4, transcriptome=4, train_kwargs={"validation_size": 0}, group_key=None, **QUICK
    )
    page, _ = page_of(adata, tmp_path)
    assert page.headings[0] == "4 genes that tell transcriptome"
    assert any("no cells were held out" in text for text in page.text)
    assert not any(heading.startswith("Which genes tell") for heading in page.headings)


def test_error_without_a_selection(tmp_path: Path) -> None:
    with pytest.raises(KeyError):
        yt.report(yt.datasets.pbmc68k(), tmp_path / "no.html")


# --- parts ---


def test_classes_by_hand() -> None:
    confusion = pd.DataFrame(
        [("a", "a", 6), ("a", "b", 2), ("b", "b", 3), ("b", "a", 1), ("c", "b", 4)],
        columns=["observed", "predicted", "n_cells"],
    )
    attribution = pd.DataFrame(
        {"task": ["t", "t", "u"], "category": ["a", "c", "a"]}, index=["g1", "g2", "g3"]
    )
    first, second, third = class_rows(confusion, attribution, "t")
    assert (first.name, first.n_cells, first.other, first.n_other) == ("a", 8, "b", 2)
    assert first.recall == 6 / 8
    assert first.precision == 6 / 7
    assert first.f1 == pytest.approx(2 * 6 / 15)
    assert list(first.genes) == ["g1"]
    assert second.precision == 3 / 9
    assert (third.recall, third.f1, list(third.genes)) == (0, 0, ["g2"])
    assert np.isnan(third.precision)
    assert class_rows(confusion[:0], attribution, "t") == []


def card(**given: Any) -> TaskCard:
    known = {
        "name": "t",
        "kind": "categorical",
        "metric": "macro-F1",
        "score": 0.8,
        "standard_error": 0.1,
        "everything": 0.9,
        "on_groups": np.nan,
        "n_cells": 100,
        "n_classes": 2,
        "accuracy": 0.9,
        "rows": [],
        "confusion": None,
    }
    return TaskCard(**{**known, **given})


def stored(error: float) -> dict[str, pd.DataFrame]:
    return {"metrics": pd.DataFrame({"calibration_error": [error]}, index=["t"])}


def test_nothing_is_said_where_nothing_is_wrong() -> None:
    expression = pd.DataFrame({"mean": np.ones(20), "detection": 0.5})
    assert cautions([card()], expression, stored(0.05)) == []
    assert cautions([card(on_groups=0.78)], None, stored(np.nan)) == []


def test_cautions_name_what_is_weak() -> None:
    confusion = pd.DataFrame(
        [("a", "b", 6), ("b", "b", 30)], columns=["observed", "predicted", "n_cells"]
    )
    rows = class_rows(confusion, pd.DataFrame({"task": [], "category": []}), "t")
    expression = pd.DataFrame(
        {"mean": [9.0] * 8 + [0.1] * 12, "detection": [0.5] * 19 + [0.002]},
        index=[f"g{number}" for number in range(20)],
    )
    found = cautions([card(rows=rows, on_groups=0.6)], expression, stored(0.2))
    assert [line.split(":")[0] for line in found[:4]] == ["t"] * 4
    assert "not told well: a (F1 0.00)" in found[0]
    assert "fewer than 10 held-out cells are uncertain: a (6)" in found[1]
    assert "off by 0.20" in found[2]
    assert "is 0.60 rather than 0.80" in found[3]
    assert found[4] == "Genes seen in fewer than 1 % of the cells: g19 (0.2 %)."
    assert found[5].startswith("8 genes hold 98 % of the panel's expression: g0, g1")


def test_many_names_are_counted() -> None:
    expression = pd.DataFrame(
        {"mean": np.ones(15), "detection": 0.0}, index=[f"g{number}" for number in range(15)]
    )
    (line,) = cautions([], expression, stored(0))
    assert line.endswith("g11 (0.0 %) and 3 more.")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, "–"),
        (np.nan, "–"),
        (12345, "12,345"),
        ("=1", "=1"),
        (-0.5, "\N{MINUS SIGN}0.50"),
        (1.005, "1.00"),
    ],
)
def test_numbers_as_text(value: Any, expected: str) -> None:
    assert number(value) == expected


@pytest.mark.parametrize(
    ("share", "expected"), [(np.nan, "–"), (0.0, "0 %"), (0.002, "<1 %"), (0.914, "91 %")]
)
def test_shares_as_text(share: float, expected: str) -> None:
    assert percent(share) == expected


def test_the_page_says_what_an_assay_will_meet(
    selected: AnnData, whole: tuple[Page, str], tmp_path: Path
) -> None:
    summary = selected.uns["yoto"]["assay_summary"]
    shown = {row[0]: row[1] for row in whole[0].tables["Assay"]}
    assert shown["least detected gene"] == summary["least_detected"]
    share = shown["their share of the panel's counts"]
    assert share == percent(float(summary["share_of_heaviest"]))
    other = selected.copy()
    stored = other.uns["yoto"]
    stored["assay_summary"] = {
        **summary,
        "below_floor": ["NKG7"],
        "crowding": 30.0,
        "max_crowding": 20.0,
    }
    stored["assay_copies"] = pd.DataFrame({"gene": ["A"], "copy": ["B"], "correlation": [0.93]})
    stored["params"]["max_crowding"] = 20.0
    page, _ = page_of(other, tmp_path)
    said = " ".join(" ".join(page.text).split())
    assert "Seen in fewer than 1.0 % of the cells of any class: NKG7." in said
    assert "counts sum to 30, above max_crowding=20." in said
    assert "by their correlation: A and B (0.93)." in said
    rules = {row[0]: row[1:] for row in page.tables["Rules"][1:]}
    assert rules["max_crowding"] == ["20", f"30 in {summary['crowded_class']}"]
    for name in ("assay", "assay_summary"):
        del stored[name]
    page, _ = page_of(other, tmp_path)
    assert "Assay" not in page.tables
