"""Genes are found by any of their names, and unknown ones are named with what they may mean."""

from __future__ import annotations

import logging

import anndata as ad
import numpy as np
import pandas as pd
import pytest

import yoto_sc as yt
from yoto_sc._genes import find_genes, names_in, resolve_genes, unknown_message
from yoto_sc.rules import Requirements

SYMBOLS = ["CD3D", "CD3E", "MS4A1", "MT-CO1", "LYZ", "TWIN", "TWIN"]
IDS = [f"ENSG{i:011d}" for i in range(7)]


def by_symbol(**columns):
    index = [*SYMBOLS[:-1], "TWIN-1"]
    return pd.DataFrame(columns, index=pd.Index(index))


def by_id(version="", **columns):
    return pd.DataFrame(
        {"feature_name": pd.Categorical(SYMBOLS), **columns},
        index=pd.Index([f"{name}{version}" for name in IDS]),
    )


def test_var_names_are_found_as_they_are():
    assert find_genes(by_symbol(), ["LYZ", "CD3D", "LYZ"]) == ["LYZ", "CD3D", "LYZ"]
    assert find_genes(by_symbol(), []) == []


@pytest.mark.parametrize("column", ["gene_ids", "ensembl_id", "feature_id"])
@pytest.mark.parametrize("in_data", ["", ".3"])
@pytest.mark.parametrize("given", ["", ".12"])
def test_identifiers_are_found_in_a_column_whatever_their_version(column, in_data, given):
    var = by_symbol(**{column: [f"{name}{in_data}" for name in IDS]})
    assert find_genes(var, [f"{IDS[4]}{given}", "CD3E"]) == ["LYZ", "CD3E"]


@pytest.mark.parametrize("in_data", ["", ".3"])
@pytest.mark.parametrize("given", ["", ".12"])
def test_identifiers_are_found_among_var_names_whatever_their_version(in_data, given):
    assert find_genes(by_id(in_data), [f"{IDS[1]}{given}"]) == [f"{IDS[1]}{in_data}"]


def test_symbols_are_found_where_var_names_are_identifiers():
    assert find_genes(by_id(), ["MS4A1", IDS[0]]) == [IDS[2], IDS[0]]


def test_what_stands_for_several_genes_or_none_is_not_found():
    assert find_genes(by_id(), ["TWIN", "nope", "CD3D"]) == [None, None, IDS[0]]
    missing = by_symbol(gene_ids=pd.Series([None, *IDS[1:]], index=by_symbol().index))
    assert find_genes(missing, ["None", "nan", IDS[1]]) == [None, None, "CD3E"]


def test_identifiers_of_other_kinds_are_found_as_written():
    var = by_symbol(gene_ids=[f"PBANKA_{i}.1" for i in range(7)])
    assert find_genes(var, ["PBANKA_0.1", "PBANKA_0"]) == ["CD3D", None]


def test_names_in_var():
    assert {name: list(column) for name, column in names_in(by_id()).items()} == {
        "symbol": SYMBOLS,
        "ensembl_id": IDS,
    }


# --- unknown genes ---


@pytest.mark.parametrize(
    ("unknown", "said"),
    [
        (["CD3F"], "`x` names ['CD3F'], which is not in adata.var_names. Did you mean CD3"),
        (["ms4a1"], "Did you mean MS4A1?"),
        (["Cd3e", "Ms4a1", "qq"], "Did you mean CD3E for 'Cd3e', MS4A1 for 'Ms4a1'?"),
        (["Cd3e", "Ms4a1", "qq"], "differ for 2 of them, such as 'Cd3e', which is 'CD3E'"),
        (["1-Mar"], "'1-Mar' is a date that a spreadsheet"),
        (["Sep-02", "LYS"], "'Sep-02' is a date that a spreadsheet"),
        (IDS, "Ensembl IDs are looked for in columns of adata.var called ('gene_ids', "),
        ([f"q{i}" for i in range(50)], "'q19'] and 30 more, which are not"),
    ],
)
def test_unknown_genes_are_named_with_what_they_may_mean(unknown, said):
    assert said in unknown_message(by_symbol().index, unknown, "x")


def test_nothing_is_guessed_of_what_is_like_nothing():
    said = unknown_message(by_symbol().index, ["qqq"], "x")
    assert said == "`x` names ['qqq'], which is not in adata.var_names."
    assert unknown_message(by_id().index, ["ENSG99999999999"], "x").count("looked for") == 0


def test_some_or_any_genes_may_be_unknown(caplog):
    var = by_symbol()
    given = ["CD3D", "Cd3e", "qq"]
    with pytest.raises(KeyError, match=r"\['Cd3e', 'qq'\]"):
        resolve_genes(var, given, "x")
    assert resolve_genes(var, given, "x", "some") == ["CD3D"]
    assert "`x`: 2 of 3 genes are not in adata, and are passed over: ['Cd3e', 'qq']" in caplog.text
    assert "'Cd3e', which is 'CD3E' in adata" in caplog.text
    with pytest.raises(KeyError, match=r"\['qq'\]"):
        resolve_genes(var, ["qq"], "x", "some")
    assert resolve_genes(var, ["qq"], "x", "any") == []
    with pytest.raises(TypeError, match="`x` must hold var names"):
        resolve_genes(var, [3], "x", "any")


# --- as rules ---


def test_a_blacklist_is_intersected_and_said_once(caplog):
    names = [f"G{i}" for i in range(1000)]
    var = pd.DataFrame(index=pd.Index(names))
    blacklist = [f"G{i}" for i in range(600, 1000)] + [f"UNKNOWN{i}" for i in range(100)]
    requirements = Requirements(exclude=[*blacklist, "G1?"]).resolved(var)
    rules = requirements.gene_rules(var)
    assert rules.allowed.sum() == 1000 - 400 - 10
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "`exclude`: 100 of 500 genes are not in adata" in record.getMessage()
    assert len(record.getMessage()) < 600


def test_a_blacklist_of_which_no_gene_is_known_is_in_other_names():
    with pytest.raises(KeyError, match=r"`exclude` names \['Cd3d', 'Cd3e'\].*CD3D for 'Cd3d'"):
        Requirements(exclude=["Cd3d", "Cd3e", "MT-*"]).resolved(by_symbol())
    kept = Requirements(exclude=["Cd3d", "MT-*"]).resolved(by_symbol(), "ignore")
    assert kept.exclude == ["MT-*"]


@pytest.mark.parametrize("argument", ["include", "candidates"])
def test_genes_that_are_asked_for_are_known_unless_said_otherwise(argument):
    given = Requirements(**{argument: ["LYZ", "qq", "CD3D"]})
    with pytest.raises(KeyError, match=rf"`{argument}` names \['qq'\]"):
        given.resolved(by_symbol())
    assert getattr(given.resolved(by_symbol(), "ignore"), argument) == ["LYZ", "CD3D"]
    with pytest.raises(KeyError, match=rf"`{argument}` names \['qq'\]"):
        Requirements(**{argument: ["qq"]}).resolved(by_symbol(), "ignore")


def test_rules_take_identifiers_and_symbols():
    given = Requirements(include=["CD3D"], exclude=[f"{IDS[4]}.7", "MT-*"], candidates="c")
    found = given.resolved(by_id())
    assert (found.include, found.exclude, found.candidates) == ([IDS[0]], [IDS[4], IDS[3]], "c")
    assert found.resolved(by_id()) == found


def test_patterns_that_match_var_names_or_nothing_stay():
    var = by_symbol(feature_name=["MT-X"] * 7)
    assert Requirements(exclude=["MT-*", "ZZZ*"]).resolved(var).exclude == ["MT-*", "ZZZ*"]


# --- as arguments ---


def make_adata():
    counts = np.random.default_rng(0).poisson(2, (60, 7)).astype(np.float32)
    obs = pd.DataFrame({"type": ["a", "b", "c"] * 20}, index=[f"c{i}" for i in range(60)])
    return ad.AnnData(counts, obs=obs, var=by_symbol(gene_ids=IDS))


def scores(adata, genes, **kwargs):
    return yt.tl.evaluate(
        adata, genes, categorical_keys="type", classifiers="k_neighbors", n_splits=2, **kwargs
    )


def test_lists_are_scored_by_any_names_and_without_unknown_genes():
    adata = make_adata()
    expected = scores(adata, ["CD3D", "LYZ"])
    given = [f"{IDS[0]}.9", "LYZ"]
    pd.testing.assert_frame_equal(scores(adata, yt.Panel.from_genes(given)), expected)
    pd.testing.assert_frame_equal(scores(adata, [*given, "qq"], unknown_genes="ignore"), expected)
    both = yt.tl.compare(
        adata,
        {"a": given, "b": [*given, "qq"]},
        categorical_keys="type",
        classifiers="k_neighbors",
        n_splits=2,
        unknown_genes="ignore",
    )
    pd.testing.assert_frame_equal(
        both[both["panel"] == "b"].drop(columns="panel").reset_index(drop=True), expected
    )
    with pytest.raises(KeyError, match=r"`genes` names \['qq'\]"):
        scores(adata, [*given, "qq"])
    with pytest.raises(ValueError, match=r"`genes` names \['CD3D'\] more than once"):
        scores(adata, ["CD3D", IDS[0]])


@pytest.mark.parametrize("verb", ["select", "evaluate", "compare", "stability"])
def test_what_to_do_about_unknown_genes_is_one_of_two_words(verb):
    given = {"select": 2, "evaluate": ["LYZ"], "compare": {"a": ["LYZ"]}, "stability": 2}[verb]
    how = {"unknown_genes": "maybe"}
    kwargs = {"select_kwargs": how} if verb == "stability" else how
    with pytest.raises(ValueError, match='unknown_genes must be "error" or "ignore"'):
        getattr(yt.tl, verb)(make_adata(), given, categorical_keys="type", **kwargs)


def test_selection_takes_any_names_and_records_var_names(make_adata, select, caplog):
    adata = make_adata()
    adata.var["gene_ids"] = [f"ENSG{i:011d}.2" for i in range(adata.n_vars)]
    third, fourth = adata.var_names[[3, 4]]
    select(
        adata,
        include=["ENSG00000000003", "not_there"],
        exclude=["ENSG00000000004", "nor_this"],
        unknown_genes="ignore",
        max_steps=2,
    )
    assert adata.var.loc[third, "yoto_selected"]
    assert pd.isna(adata.var.loc[fourth, "yoto_rank"])
    params = adata.uns["yoto"]["params"]
    assert (params["include"], params["exclude"]) == ([third], [fourth])
    assert "`include`: 1 of 2 genes are not in adata" in caplog.text
