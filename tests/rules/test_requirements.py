"""What a user asks of a panel, as given, and the rules that follow from it."""

from __future__ import annotations

import json

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from yoto_sc.data import read_expression
from yoto_sc.rules import Requirements, detection_floor, excluded_genes

GENES = ["CD3D", "CD3E", "MS4A1", "MT-CO1", "MT-ND1", "RPS3", "RPL5", "mt-Co1", "A[1]"]


def make_var(names=GENES, **columns):
    return pd.DataFrame(columns, index=pd.Index(names))


def allowed(**rules):
    return set(np.array(GENES)[Requirements(**rules).gene_rules(make_var()).allowed])


# --- which genes ---


def test_all_genes_are_allowed_by_default():
    rules = Requirements().gene_rules(make_var())
    assert rules.allowed.dtype == rules.required.dtype == bool
    assert rules.allowed.all()
    assert not rules.required.any()


def test_included_genes_are_required_and_allowed_even_if_no_candidates():
    rules = Requirements(include=["RPS3"], candidates=["CD3D", "CD3E"]).gene_rules(make_var())
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
    rules = Requirements(candidates="highly_variable").gene_rules(make_var(highly_variable=flags))
    assert np.flatnonzero(rules.allowed).tolist() == [0, 1, 2]


def test_a_missing_flag_is_no_candidate():
    flags = pd.Series([True, None, *[False] * (len(GENES) - 2)], index=GENES, dtype="boolean")
    rules = Requirements(candidates="hv").gene_rules(make_var(hv=flags))
    assert np.flatnonzero(rules.allowed).tolist() == [0]


def test_absent_candidates_column():
    with pytest.raises(KeyError, match=r"candidates='hv' is not a column.*\['highly_variable'\]"):
        Requirements(candidates="hv").gene_rules(make_var(highly_variable=True))


@pytest.mark.parametrize("values", [1, 0.5, "yes"])
def test_candidates_column_that_is_not_boolean(values):
    with pytest.raises(TypeError, match=r"'hv' must be boolean"):
        Requirements(candidates="hv").gene_rules(make_var(hv=values))


@pytest.mark.parametrize("argument", ["include", "exclude", "candidates"])
def test_unknown_genes_are_named_with_the_closest_ones(argument):
    with pytest.raises(KeyError, match=rf"`{argument}` names \['CD3F'\].*Did you mean CD3[DE]"):
        Requirements(**{argument: ["MS4A1", "CD3F"]}).gene_rules(make_var())


@pytest.mark.parametrize("argument", ["include", "exclude", "candidates"])
@pytest.mark.parametrize("gene", [3, None, 1.5])
def test_genes_that_are_no_strings(argument, gene):
    with pytest.raises(TypeError, match=rf"`{argument}` must hold var names"):
        Requirements(**{argument: ["CD3D", gene]}).gene_rules(make_var())


@pytest.mark.parametrize("exclude", [["MT-CO1"], ["MT-*"], ["*"]])
def test_include_against_exclude(exclude):
    with pytest.raises(ValueError, match=r"\['MT-CO1'\] are both in"):
        Requirements(include=["MT-CO1"], exclude=exclude).gene_rules(make_var())


@pytest.mark.parametrize(
    "rules",
    [{"exclude": ["*"]}, {"candidates": []}, {"candidates": ["CD3D"], "exclude": ["CD3D"]}],
)
def test_no_gene_left(rules):
    with pytest.raises(ValueError, match="leave no gene"):
        Requirements(**rules).gene_rules(make_var())


def test_excluded_genes():
    names = pd.Index(GENES)
    assert names[excluded_genes(names, ["MT-*", "A[1]"])].tolist() == ["MT-CO1", "MT-ND1", "A[1]"]
    assert not excluded_genes(names, ["XIST*"]).any()
    assert not excluded_genes(names, []).any()
    with pytest.raises(KeyError, match=r"`exclude` names \['XIST'\]"):
        excluded_genes(names, ["XIST"])


# --- preference, cost ---


def test_preference_weighs_genes_and_0_forbids_them():
    weights = [2, 0, np.nan, 0.5, 1, 1, 1, 1, 1]
    rules = Requirements(preference="w").gene_rules(make_var(w=weights))
    np.testing.assert_array_equal(rules.weights, np.nan_to_num(weights, nan=1.0))
    assert np.flatnonzero(~rules.allowed).tolist() == [1]
    with pytest.raises(ValueError, match=r"`include` names \['CD3E'\], which preference='w'"):
        Requirements(preference="w", include=["CD3E"]).gene_rules(make_var(w=weights))


def test_cost_and_budget_are_a_cap():
    costs = np.arange(9) / 2
    rules = Requirements(cost="c", budget=3).gene_rules(make_var(c=costs))
    assert list(rules.caps) == ["budget=3"]
    np.testing.assert_array_equal(rules.caps["budget=3"].amounts, costs)
    assert rules.caps["budget=3"].bound == 3


def test_cost_may_be_missing_for_genes_that_cannot_be_chosen():
    var = make_var(c=[np.nan, *np.ones(8)])
    rules = Requirements(cost="c", budget=3, exclude=["CD3D"]).gene_rules(var)
    assert np.isfinite(rules.caps["budget=3"].amounts).all()
    with pytest.raises(ValueError, match=r"cost='c' is missing for 1 genes.*'CD3D'"):
        Requirements(cost="c", budget=3).gene_rules(var)


@pytest.mark.parametrize("column", ["preference", "cost"])
@pytest.mark.parametrize(
    ("values", "error", "match"),
    [
        (-1.0, ValueError, "must be finite and at least 0, but holds -1"),
        (np.inf, ValueError, "must be finite and at least 0"),
        ("much", TypeError, "'w' must hold numbers"),
    ],
)
def test_columns_without_amounts(column, values, error, match):
    var = make_var(w=np.array([values] * 9))
    with pytest.raises(error, match=match):
        Requirements(**{column: "w"}, **({"budget": 1} if column == "cost" else {})).gene_rules(
            var
        )


@pytest.mark.parametrize("column", ["preference", "cost"])
def test_columns_that_do_not_exist_or_occur_twice(column):
    more = {"budget": 1} if column == "cost" else {}
    with pytest.raises(KeyError, match=rf"{column}='w' is not a column of adata.var.*\['v'\]"):
        Requirements(**{column: "w"}, **more).gene_rules(make_var(v=1))
    with pytest.raises(TypeError, match=rf"{column} must be the name of a var column, not 3"):
        Requirements(**{column: 3}, **more).gene_rules(make_var(v=1))
    twice = make_var(v=1, w=2).set_axis(["w", "w"], axis=1)
    with pytest.raises(ValueError, match=r"adata.var has more than one column 'w'"):
        Requirements(**{column: "w"}, **more).gene_rules(twice)


# --- bounds ---


@pytest.mark.parametrize("given", [{"cost": "c"}, {"budget": 3}])
def test_cost_and_budget_come_together(given):
    with pytest.raises(ValueError, match="come together"):
        Requirements(**given)


def test_types_without_a_cap_on_crowding():
    with pytest.raises(ValueError, match="`crowding_key` says nothing"):
        Requirements(crowding_key="type")


@pytest.mark.parametrize(
    ("bounds", "error", "match"),
    [
        ((1, 0.5), ValueError, r"_range=\(1, 0\.5\) is empty"),
        ((-1, None), ValueError, "must be finite and at least 0"),
        ((None, np.nan), ValueError, "must be finite"),
        ((None, "x"), TypeError, "must be a number"),
        ((1,), TypeError, r"must be a pair"),
        (3, TypeError, r"must be a pair"),
        ("01", TypeError, r"must be a pair"),
    ],
)
@pytest.mark.parametrize("name", ["mean_range", "fraction_range"])
def test_ranges_that_are_none(name, bounds, error, match):
    with pytest.raises(error, match=match):
        Requirements(**{name: bounds})


def test_fractions_are_at_most_1():
    Requirements(mean_range=(1, 2), fraction_range=(0.1, np.inf))
    with pytest.raises(ValueError, match="fraction_range must be at most 1, not 2"):
        Requirements(fraction_range=(0.1, 2))


@pytest.mark.parametrize("name", ["budget", "max_crowding"])
def test_caps_that_are_no_amounts(name):
    more = {"cost": "c"} if name == "budget" else {}
    with pytest.raises(ValueError, match=rf"{name} must be finite"):
        Requirements(**{name: -1}, **more)
    with pytest.raises(TypeError, match=rf"{name} must be a number"):
        Requirements(**{name: "1"}, **more)


# --- rules on expression ---


def make_counts():
    """Counts of 30 cells of two types, some unlabelled, and 9 genes."""
    rng = np.random.default_rng(0)
    counts = rng.poisson(rng.uniform(0.2, 3, 9), (30, 9)).astype(np.float32)
    obs = pd.DataFrame({"type": ["a", "b", "none"] * 10, "other": ["x", "y"] * 15})
    obs = obs.set_axis([f"c{i}" for i in range(30)])
    return ad.AnnData(sp.csr_matrix(counts), obs=obs, var=make_var())


def rules_of(adata, **given):
    requirements = Requirements(**given)
    return requirements.rules(adata, read_expression(adata), ["type"], ["none"])


def test_crowding_is_of_the_first_task_or_of_the_column_named():
    adata = make_counts()
    counts = adata.X.toarray()
    caps = rules_of(adata, max_crowding=4).caps
    assert list(caps) == ["max_crowding=4 ('a')", "max_crowding=4 ('b')"]  # "none" is no type
    for name, cap in zip("ab", caps.values(), strict=True):
        expected = counts[adata.obs["type"] == name].mean(axis=0)
        np.testing.assert_allclose(cap.amounts, expected, rtol=1e-6)
        assert cap.bound == 4
    caps = rules_of(adata, max_crowding=4, crowding_key="other").caps
    assert list(caps) == ["max_crowding=4 ('x')", "max_crowding=4 ('y')"]


def test_expression_is_read_only_if_it_matters():
    adata = make_counts()
    rules = Requirements(exclude=["CD3D"]).rules(adata, None, ["type"], [])
    assert rules.allowed.sum() == 8


def test_ranges_limit_genes():
    adata = make_counts()
    fraction = (adata.X.toarray() > 0).mean(axis=0)
    rules = rules_of(adata, fraction_range=(0.5, 0.9))
    np.testing.assert_array_equal(rules.allowed, (fraction >= 0.5) & (fraction <= 0.9))
    assert list(rules.limits) == ["fraction_range=(0.5, 0.9)"]


def test_crowding_needs_types():
    obs = pd.DataFrame({"type": ["a", "b"]})
    Requirements(max_crowding=3).check_types(obs, ["type"])
    Requirements(max_crowding=3, crowding_key="type").check_types(obs, [])
    Requirements().check_types(obs, [])
    with pytest.raises(ValueError, match="`max_crowding` needs cell types"):
        Requirements(max_crowding=3).check_types(obs, [])
    with pytest.raises(KeyError, match="`crowding_key` names 'kind'"):
        Requirements(max_crowding=3, crowding_key="kind").check_types(obs, ["type"])


# --- as files hold them ---

EVERYTHING = {
    "include": ["RPS3"],
    "exclude": ["MT-*"],
    "candidates": "hv",
    "preference": "w",
    "cost": "c",
    "budget": 3,
    "mean_range": (None, 4),
    "fraction_range": [0.1, None],
    "max_crowding": 7,
    "crowding_key": "type",
}


@pytest.mark.parametrize("given", [{}, {"candidates": ["CD3D"]}, EVERYTHING], ids=len)
def test_params_round_trip(given):
    requirements = Requirements(**given)
    params = requirements.to_params()
    assert params.keys() == given.keys()
    again = Requirements.from_params({**json.loads(json.dumps(params)), "n_genes": 3})
    assert again.to_params() == params


def test_params_hold_no_open_bounds():
    """Files of AnnData hold no `None`."""
    params = Requirements(mean_range=(None, 4), fraction_range=(0.1, None)).to_params()
    assert params == {"mean_range": [0.0, 4.0], "fraction_range": [0.1, np.inf]}


def test_columns_that_are_read():
    assert Requirements(**EVERYTHING).var_columns == {
        "candidates": "hv",
        "preference": "w",
        "cost": "c",
    }
    assert Requirements(candidates=["CD3D"]).var_columns == {}


@pytest.mark.parametrize("argument", ["include", "exclude", "candidates"])
def test_lists_are_copied_and_one_name_is_a_list(argument):
    given = ["CD3D"]
    requirements = Requirements(**{argument: given})
    getattr(requirements, argument).append("x")
    assert given == ["CD3D"]
    if argument != "candidates":  # one name is a column there
        assert getattr(Requirements(**{argument: "CD3D"}), argument) == ["CD3D"]


@pytest.mark.parametrize(
    ("given", "fraction_range", "has_classes", "n_obs", "expected"),
    [
        ("auto", None, True, 1000, 0.05),
        ("auto", None, False, 1000, 0.01),
        ("auto", None, True, 999, None),
        ("auto", (0.001, None), True, 1000, None),
        (0.2, (0.001, None), True, 100, 0.2),
        (None, None, True, 1000, None),
    ],
)
def test_the_floor_is_what_is_given_or_a_default(
    given, fraction_range, has_classes, n_obs, expected
):
    floor = detection_floor(given, fraction_range, has_classes=has_classes, n_obs=n_obs)
    assert floor == expected


def test_a_floor_is_a_share():
    with pytest.raises(ValueError, match="min_detection must be a number, .auto. or None"):
        detection_floor("some", None, has_classes=True, n_obs=1000)
    with pytest.raises(ValueError, match="min_detection must be at most 1, not 2"):
        Requirements(min_detection=2)
    with pytest.raises(ValueError, match="min_detection"):
        Requirements(min_detection=-0.1)
    assert Requirements(min_detection=np.float32(0.5)).to_params() == {"min_detection": 0.5}
