"""Every problem has one error, which says what was given and what is allowed."""

from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
import pytest

from yoto_sc._checks import (
    as_list,
    check_adata,
    check_amount,
    check_fraction,
    check_integer,
    check_new_directory,
    check_no_repeats,
    check_not_foreign,
    check_panel,
    check_split_is_no_task,
    check_split_key,
    check_written_keys,
    is_integer,
    mask_of,
    missing_genes,
)
from yoto_sc._keys import Keys

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
    check_adata(backed)
    with pytest.raises(ValueError, match=r"is a view.*adata\.to_memory\(\)"):
        check_adata(backed[:2])
    with pytest.raises(ValueError, match=r"backed on disk.*copy=False"):
        check_adata(backed, copy=True)
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


# --- check_written_keys, check_not_foreign ---


def test_written_keys_that_will_do():
    check_written_keys(Keys("k"), ["k_a", "k_a_confidence", "k_b"], ["a", "b", "donor", None])
    check_written_keys(Keys("k"), [], [])


@pytest.mark.parametrize(
    ("written", "inputs"),
    [
        (["k_a", "k_a_confidence", "k_k_a"], ["a", "k_a"]),  # a label
        (["k_a", "k_a_confidence"], ["a", "k_a_confidence"]),
        (["k_a", "k_a_confidence", "k_a_confidence"], ["a", "a_confidence"]),  # another result
        (["k_a"], ["a", "k_a"]),  # the groups
    ],
)
def test_results_that_would_overwrite(written, inputs):
    with pytest.raises(ValueError, match=r"obs\['k_\w*'\] would overwrite.*key_added than 'k'"):
        check_written_keys(Keys("k"), written, inputs)
    with pytest.raises(ValueError, match=r"obsm\['k_a\w*'\] would overwrite.*key_added than 'k'"):
        check_written_keys(Keys("k"), written, inputs, "obsm")


@pytest.mark.parametrize("key", [None, 3, "", ["yoto"]])
def test_key_added_that_is_no_name(key):
    with pytest.raises(TypeError, match="key_added must be a non-empty string"):
        check_written_keys(Keys(key), ["yoto_type"], [])


WRITTEN = {"obs": ["k_type", "k_type_confidence"], "obsm": ["X_k", "k_proteins"]}


def store(adata, place):
    """Store something under the name that a result of the key ``k`` would have."""
    if place == "uns":
        adata.uns["k"] = {"mine": 1}
    elif place == "obsm":
        adata.obsm["X_k"] = np.ones((adata.n_obs, 2))
    elif place == "vector":
        adata.obsm["k_proteins"] = np.ones((adata.n_obs, 2))
    elif place == "obs":
        adata.obs["k_type"] = "mine"
    else:
        adata.var[f"k_{place}"] = 1.0


def test_nothing_is_foreign_in_new_data():
    adata = make_adata()
    adata.obs["other_type"] = adata.var["other_rank"] = 1
    check_not_foreign(adata, Keys("k"), WRITTEN, {"cost": "other_rank", "candidates": None})


@pytest.mark.parametrize("place", ["uns", "obsm", "vector", "obs", "selected", "rank", "score"])
def test_what_no_selection_wrote_is_not_overwritten(place):
    adata = make_adata()
    store(adata, place)
    with pytest.raises(ValueError, match=r"key_added='k' would overwrite adata\..*'(X_)?k"):
        check_not_foreign(adata, Keys("k"), WRITTEN, {})


@pytest.mark.parametrize("place", ["obsm", "vector", "obs", "selected", "rank", "score"])
def test_what_a_selection_wrote_is_overwritten(place):
    adata = make_adata()
    store(adata, place)
    adata.uns["k"] = {"params": {"yoto_sc_version": "1"}}
    check_not_foreign(adata, Keys("k"), WRITTEN, {})


@pytest.mark.parametrize("entry", [{}, {"params": {}}, {"params": None}, "mine", [1]])
def test_an_entry_of_another_kind_is_foreign(entry):
    adata = make_adata()
    adata.uns["k"] = entry
    with pytest.raises(ValueError, match=r"adata\.uns\['k'\]"):
        check_not_foreign(adata, Keys("k"), WRITTEN, {})


def test_all_that_is_foreign_is_named():
    adata = make_adata()
    for place in ("uns", "obsm", "obs", "rank"):
        store(adata, place)
    with pytest.raises(
        ValueError,
        match=r"adata\.uns\['k'\], adata\.obsm\['X_k'\], adata\.var\['k_rank'\], "
        r"adata\.obs\['k_type'\]",
    ):
        check_not_foreign(adata, Keys("k"), WRITTEN, {})


def test_columns_that_are_read_are_not_overwritten():
    adata = make_adata()
    adata.uns["k"] = {"params": {"yoto_sc_version": "1"}}
    with pytest.raises(ValueError, match=r"cost='k_score' would be overwritten.*than 'k'"):
        check_not_foreign(adata, Keys("k"), WRITTEN, {"preference": "w", "cost": "k_score"})


# --- check_split_is_no_task, check_no_repeats ---


def test_groups_that_are_no_task():
    check_split_is_no_task(None, ["type"])
    check_split_is_no_task("donor", ["type", "age"])
    with pytest.raises(ValueError, match=r"split_key='type' is also a task"):
        check_split_is_no_task("type", ["age", "type"])


def test_arguments_may_not_be_repeated():
    check_no_repeats("model_kwargs", None, ["n_genes"])
    check_no_repeats("model_kwargs", {"n_hidden": 3}, ["n_genes"])
    with pytest.raises(TypeError, match=r"\['include', 'n_genes'\].*not in `model_kwargs`"):
        check_no_repeats("model_kwargs", {"n_genes": 3, "include": []}, ["n_genes", "include"])


# --- numbers ---


@pytest.mark.parametrize("value", [0, -3, np.int8(1), np.uint64(5), 2**70])
def test_whole_numbers(value):
    assert is_integer(value)


@pytest.mark.parametrize("value", [True, np.bool_(False), 1.0, np.float64(2), "1", None, [1]])
def test_what_is_no_whole_number(value):
    assert not is_integer(value)


@pytest.mark.parametrize("value", [0, 3, 0.5, np.float32(2), np.int64(7)])
def test_amounts_that_will_do(value):
    check_amount(value, "x")


@pytest.mark.parametrize(
    ("value", "error", "match"),
    [
        (-1, ValueError, "x must be finite and at least 0, not -1"),
        (np.inf, ValueError, "x must be finite"),
        (np.nan, ValueError, "x must be finite"),
        ("3", TypeError, "x must be a number, not '3'"),
        (True, TypeError, "x must be a number"),
        (np.bool_(True), TypeError, "x must be a number"),
        (None, TypeError, "x must be a number"),
    ],
)
def test_amounts_that_will_not_do(value, error, match):
    with pytest.raises(error, match=match):
        check_amount(value, "x")


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


def test_masks_of_genes():
    names = pd.Index(GENES)
    mask = mask_of(names, ["RPL5", "CD3D"], "x")
    assert mask.dtype == bool
    assert np.flatnonzero(mask).tolist() == [0, 6]
    assert not mask_of(names, [], "x").any()


@pytest.mark.parametrize(
    ("genes", "error", "match"),
    [
        (["CD3D", 3], TypeError, r"`x` must hold var names \(strings\), not 3"),
        (["CD3F", "MS4A1"], KeyError, r"`x` names \['CD3F'\], which is not in.*mean CD3[DE]"),
        (["qq", "ww"], KeyError, r"`x` names \['qq', 'ww'\], which are not in adata.var_names\."),
    ],
)
def test_masks_of_what_are_no_genes(genes, error, match):
    with pytest.raises(error, match=match):
        mask_of(pd.Index(GENES), genes, "x")


@pytest.mark.parametrize(
    ("name", "way"),
    [("MuData", r"adata\.mod\['rna'\]"), ("SpatialData", r"adata\.tables\['table'\]")],
)
def test_the_error_for_what_holds_tables_names_the_way_to_them(name, way):
    with pytest.raises(TypeError, match=f"not {name}. Pass one of its .*, such as {way}"):
        check_adata(type(name, (), {})())
