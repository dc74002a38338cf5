"""Every problem has one error, which says what was given and what is allowed."""

from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
import pytest

from yoto_sc._checks import (
    as_list,
    check_adata,
    check_fraction,
    check_integer,
    check_n_genes,
    check_new_directory,
    check_panel,
    check_split_key,
    check_task_keys,
    check_written_keys,
    missing_genes,
    resolve_genes,
)
from yoto_sc._keys import Keys
from yoto_sc._rules import GeneRules

GENES = ["CD3D", "CD3E", "MS4A1", "MT-CO1", "MT-ND1", "RPS3", "RPL5", "mt-Co1", "A[1]"]


def make_adata(n_obs=3, n_vars=2):
    return ad.AnnData(
        np.ones((n_obs, n_vars), dtype=np.float32),
        obs=pd.DataFrame(index=[f"c{i}" for i in range(n_obs)]),
        var=pd.DataFrame(index=[f"g{i}" for i in range(n_vars)]),
    )


def make_obs(**columns):
    columns = columns or {"type": ["a", "b", "a"], "age": [1.0, 2.0, 3.0], "donor": list("xyx")}
    return pd.DataFrame(columns)


def make_var(names=GENES, **columns):
    return pd.DataFrame(columns, index=pd.Index(names))


def make_rules(n_allowed=5, n_required=0, n_vars=8):
    position = np.arange(n_vars)
    return GeneRules(position < n_required, {"candidates": position < n_allowed})


def allowed(**rules):
    return set(np.array(GENES)[resolve_genes(make_var(), **rules).allowed])


# --- check_adata ---


def test_adata_that_will_do():
    check_adata(make_adata())
    check_adata(make_adata(n_obs=1, n_vars=1))


@pytest.mark.parametrize("value", [None, "a.h5ad", np.ones((2, 2)), pd.DataFrame()])
def test_adata_of_another_type(value):
    with pytest.raises(TypeError, match=rf"AnnData object, not {type(value).__name__}"):
        check_adata(value)


def test_adata_view():
    with pytest.raises(ValueError, match=r"is a view.*adata\.copy\(\)"):
        check_adata(make_adata()[:2])


def test_adata_backed(tmp_path):
    make_adata().write_h5ad(tmp_path / "a.h5ad")
    backed = ad.read_h5ad(tmp_path / "a.h5ad", backed="r")
    with pytest.raises(ValueError, match=r"backed on disk.*to_memory\(\)"):
        check_adata(backed)
    backed.file.close()


@pytest.mark.parametrize("shape", [(0, 2), (2, 0), (0, 0)])
def test_adata_empty(shape):
    with pytest.raises(ValueError, match=r"at least one cell and gene"):
        check_adata(make_adata(*shape))


@pytest.mark.parametrize("axis", ["obs", "var"])
def test_adata_with_repeated_names(axis):
    adata = make_adata(3, 3)
    setattr(adata, f"{axis}_names", ["n", "twice", "twice"])
    with pytest.raises(
        ValueError, match=rf"{axis}_names are not unique: 'twice'.*{axis}_names_make_unique"
    ):
        check_adata(adata)


# --- check_task_keys ---


@pytest.mark.parametrize(
    ("categorical", "continuous"), [(["type"], []), ([], ["age"]), (["type", "donor"], ["age"])]
)
def test_task_keys_that_will_do(categorical, continuous):
    check_task_keys(make_obs(), categorical, continuous)


def test_no_task():
    with pytest.raises(ValueError, match=r"No task given.*\['type', 'age', 'donor'\]"):
        check_task_keys(make_obs(), [], [])


@pytest.mark.parametrize("argument", ["categorical_keys", "continuous_keys"])
def test_absent_task(argument):
    keys = {"categorical_keys": ["type"], "continuous_keys": ["age"]}
    keys[argument] = ["typo"]
    with pytest.raises(KeyError, match=rf"`{argument}` names 'typo'.*'donor'"):
        check_task_keys(make_obs(), **keys)


def test_key_of_both_kinds():
    with pytest.raises(ValueError, match=r"\['age'\] are in both"):
        check_task_keys(make_obs(), ["type", "age"], ["age"])


@pytest.mark.parametrize("kind", [0, 1])
def test_repeated_task(kind):
    keys = [[], []]
    keys[kind] = ["age", "age"]
    with pytest.raises(ValueError, match=r"names 'age' more than once"):
        check_task_keys(make_obs(), *keys)


def test_task_that_names_two_columns():
    obs = make_obs()
    obs.columns = ["type", "type", "donor"]
    with pytest.raises(ValueError, match=r"more than one column 'type'"):
        check_task_keys(obs, ["type"], [])


@pytest.mark.parametrize("key", [3, None, ("type",)])
def test_tasks_that_are_no_names(key):
    for keys in ([["type", key], []], [["type"], [key]]):
        with pytest.raises(TypeError, match=r"names of obs columns \(strings\), not"):
            check_task_keys(make_obs(), *keys)


# --- check_split_key ---


def test_split_key_that_will_do():
    check_split_key(make_obs(), None)
    check_split_key(make_obs(), "donor")
    check_split_key(make_obs(donor=["x", None, "y"]), "donor")


@pytest.mark.parametrize(
    "donor",
    [
        ["x", "x", "x"],
        ["x", None, np.nan],
        [None, None, None],
        pd.Categorical(["x", "x", "x"], categories=["x", "y"]),
    ],
)
def test_split_key_of_fewer_than_two_groups(donor):
    with pytest.raises(ValueError, match=r"split_key='donor' has [01] group"):
        check_split_key(make_obs(donor=donor), "donor")


def test_absent_split_key():
    with pytest.raises(KeyError, match=r"`split_key` names 'patient'"):
        check_split_key(make_obs(), "patient")


@pytest.mark.parametrize("key", [3, ["donor"], True])
def test_split_key_that_is_no_name(key):
    with pytest.raises(TypeError, match="split_key must be the name of an obs column"):
        check_split_key(make_obs(), key)


# --- check_written_keys ---


def test_written_keys_that_will_do():
    check_written_keys(Keys(), ["type"], ["age"], "donor")


@pytest.mark.parametrize(
    ("categorical", "continuous", "split_key"),
    [
        (["a", "k_a"], [], None),  # the prediction for a would overwrite the label k_a
        (["a"], ["k_a"], None),
        (["a"], ["k_a_confidence"], None),
        (["a"], ["a_confidence"], None),  # two results under one name
        (["a"], [], "k_a"),
        (["a"], [], "k_a_confidence"),
    ],
)
def test_results_that_would_overwrite(categorical, continuous, split_key):
    with pytest.raises(ValueError, match=r"k_a\w*'\] would overwrite.*key_added than 'k'"):
        check_written_keys(Keys("k"), categorical, continuous, split_key)


@pytest.mark.parametrize("key", [None, 3, "", ["yoto"]])
def test_key_added_that_is_no_name(key):
    with pytest.raises(TypeError, match="key_added must be a non-empty string"):
        check_written_keys(Keys(key), ["type"], [])


# --- resolve_genes ---


def test_all_genes_are_allowed_by_default():
    rules = resolve_genes(make_var())
    assert rules.allowed.dtype == rules.required.dtype == bool
    assert rules.allowed.all()
    assert not rules.required.any()


def test_included_genes_are_required_and_allowed_even_if_no_candidates():
    rules = resolve_genes(make_var(), include=["RPS3"], candidates=["CD3D", "CD3E"])
    assert np.flatnonzero(rules.required).tolist() == [5]
    assert np.flatnonzero(rules.allowed).tolist() == [0, 1, 5]


def test_excluded_names_and_patterns():
    rest = set(GENES)
    assert allowed(exclude=["CD3D"]) == rest - {"CD3D"}
    assert allowed(exclude=["MT-*"]) == rest - {"MT-CO1", "MT-ND1"}  # as the case is written
    assert allowed(exclude=["RP[SL]*"]) == rest - {"RPS3", "RPL5"}
    assert allowed(exclude=["CD3?"]) == rest - {"CD3D", "CD3E"}
    assert allowed(exclude=["XIST*"]) == rest  # a pattern may match nothing
    assert allowed(exclude=["MS4A1", "MT-*"]) == rest - {"MS4A1", "MT-CO1", "MT-ND1"}


def test_patterns_match_whole_names():
    assert allowed(exclude=["CD3*", "T-*"]) == set(GENES) - {"CD3D", "CD3E"}


def test_a_name_that_looks_like_a_pattern_is_a_name_if_it_exists():
    assert allowed(exclude=["A[1]"]) == set(GENES) - {"A[1]"}


@pytest.mark.parametrize("kind", [list, tuple, set, np.array, pd.Index, iter])
def test_candidates_may_be_any_collection(kind):
    assert allowed(candidates=kind(["CD3D", "RPL5"])) == {"CD3D", "RPL5"}


@pytest.mark.parametrize("dtype", ["bool", "boolean"])
def test_candidates_may_be_a_column(dtype):
    flags = pd.Series([i < 3 for i in range(len(GENES))], index=GENES, dtype=dtype)
    rules = resolve_genes(make_var(highly_variable=flags), candidates="highly_variable")
    assert np.flatnonzero(rules.allowed).tolist() == [0, 1, 2]


def test_a_missing_flag_is_no_candidate():
    flags = pd.Series([True, None, *[False] * (len(GENES) - 2)], index=GENES, dtype="boolean")
    rules = resolve_genes(make_var(hv=flags), candidates="hv")
    assert np.flatnonzero(rules.allowed).tolist() == [0]


def test_absent_candidates_column():
    with pytest.raises(KeyError, match=r"candidates='hv' is not a column.*\['highly_variable'\]"):
        resolve_genes(make_var(highly_variable=True), candidates="hv")


@pytest.mark.parametrize("values", [1, 0.5, "yes"])
def test_candidates_column_that_is_not_boolean(values):
    with pytest.raises(TypeError, match=r"'hv' must be boolean"):
        resolve_genes(make_var(hv=values), candidates="hv")


@pytest.mark.parametrize("argument", ["include", "exclude", "candidates"])
def test_unknown_genes_are_named_with_the_closest_ones(argument):
    with pytest.raises(KeyError, match=rf"`{argument}` names \['CD3F'\].*Did you mean CD3[DE]"):
        resolve_genes(make_var(), **{argument: ["MS4A1", "CD3F"]})


@pytest.mark.parametrize("argument", ["include", "exclude", "candidates"])
@pytest.mark.parametrize("gene", [3, None, 1.5])
def test_genes_that_are_no_strings(argument, gene):
    with pytest.raises(TypeError, match=rf"`{argument}` must hold var names"):
        resolve_genes(make_var(), **{argument: ["CD3D", gene]})


@pytest.mark.parametrize("exclude", [["MT-CO1"], ["MT-*"], ["*"]])
def test_include_against_exclude(exclude):
    with pytest.raises(ValueError, match=r"\['MT-CO1'\] are both in"):
        resolve_genes(make_var(), include=["MT-CO1"], exclude=exclude)


@pytest.mark.parametrize(
    "rules",
    [{"exclude": ["*"]}, {"candidates": []}, {"candidates": ["CD3D"], "exclude": ["CD3D"]}],
)
def test_no_gene_left(rules):
    with pytest.raises(ValueError, match="leave no gene"):
        resolve_genes(make_var(), **rules)


# --- check_n_genes, check_integer ---


@pytest.mark.parametrize("n_genes", [1, 5, np.int64(5), np.uint8(2), "auto"])
def test_n_genes_that_will_do(n_genes):
    check_n_genes(n_genes, make_rules(n_allowed=5, n_required=1))


@pytest.mark.parametrize(
    ("n_genes", "message"),
    [
        (0, "at least 1, not 0"),
        (-3, "at least 1, not -3"),
        (1, "smaller than the 2 genes in `include`"),
        (6, r"together: n_genes=6, candidates\. .* At most 5 genes"),
        (9, "n_genes=9 exceeds the 8 genes that there are"),
    ],
)
def test_n_genes_out_of_range(n_genes, message):
    with pytest.raises(ValueError, match=message):
        check_n_genes(n_genes, make_rules(n_allowed=5, n_required=2))


@pytest.mark.parametrize("n_genes", [2.0, "5", "all", True, None, np.bool_(True), np.float64(3)])
def test_n_genes_of_another_type(n_genes):
    with pytest.raises(TypeError, match=r'must be an integer or "auto"'):
        check_n_genes(n_genes, make_rules())


def test_check_integer():
    check_integer(0, "x", minimum=0)
    check_integer(7, "x", minimum=0, maximum=7)
    with pytest.raises(ValueError, match=r"x must be at most 7, not 8\."):
        check_integer(8, "x", minimum=0, maximum=7)
    check_integer(np.int32(4), "x", minimum=4)
    with pytest.raises(ValueError, match=r"x must be at least 1, not 0\."):
        check_integer(0, "x", minimum=1)
    for value in (1.0, "1", True, None):
        with pytest.raises(TypeError, match=r"x must be an integer"):
            check_integer(value, "x", minimum=0)


@pytest.mark.parametrize("value", [0, 0.0, 0.5, 0.999, np.float32(0.25), np.int64(0)])
def test_fractions_that_will_do(value):
    check_fraction(value, "x")


@pytest.mark.parametrize("value", [-0.1, 1, 1.0, 1.5, np.inf, np.nan])
def test_fractions_out_of_range(value):
    with pytest.raises(ValueError, match="x must be at least 0 and below 1"):
        check_fraction(value, "x")


@pytest.mark.parametrize("value", ["0.5", True, False, None, [0.5]])
def test_fractions_of_another_type(value):
    with pytest.raises(TypeError, match="x must be a number"):
        check_fraction(value, "x")


# --- check_new_directory ---


def test_new_directories_may_have_missing_parents(tmp_path):
    check_new_directory(tmp_path / "new", "x")
    check_new_directory(str(tmp_path / "a" / "b" / "c"), "x")
    assert not list(tmp_path.iterdir())


def test_directories_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("", encoding="utf-8")
    for taken in (tmp_path, tmp_path / "file"):
        with pytest.raises(ValueError, match=r"x=.* already exists"):
            check_new_directory(taken, "x")
    with pytest.raises(ValueError, match=r"x=.* cannot be made"):
        check_new_directory(tmp_path / "file" / "model", "x")


@pytest.mark.parametrize("value", [3, b"model", True, ["model"]])
def test_directories_of_another_type(value):
    with pytest.raises(TypeError, match="x must be a path"):
        check_new_directory(value, "x")


# --- small helpers ---


@pytest.mark.parametrize(
    ("value", "expected"),
    [(None, []), ("abc", ["abc"]), ("", [""]), (("a", "b"), ["a", "b"]), (iter("ab"), ["a", "b"])],
)
def test_as_list(value, expected):
    assert as_list(value, "x") == expected


def test_as_list_copies():
    given = ["a"]
    as_list(given, "x").append("b")
    assert given == ["a"]


@pytest.mark.parametrize("value", [3, 1.5, True])
def test_as_list_of_another_type(value):
    with pytest.raises(TypeError, match=f"include must be a name or a list, not {value}"):
        as_list(value, "include")


def test_missing_genes_keep_their_order():
    assert missing_genes(pd.Index(GENES), ["z", "CD3D", "b", "a"]) == ["z", "b", "a"]


@pytest.mark.parametrize(
    ("genes", "error", "match"),
    [
        ([], ValueError, "`genes` holds no gene"),
        (["CD3D", 1], TypeError, "`genes` must hold var names"),
        (["CD3D", "LYS"], KeyError, r"`genes` names \['LYS'\].*Did you mean LYZ"),
        (["CD3D", "LYZ", "CD3D"], ValueError, r"`genes` names \['CD3D'\] more than once"),
    ],
)
def test_panels_that_are_no_panels(genes, error, match):
    names = pd.Index(["CD3D", "LYZ", "NKG7"])
    check_panel(names, ["LYZ", "CD3D"], "genes")
    with pytest.raises(error, match=match):
        check_panel(names, genes, "genes")
