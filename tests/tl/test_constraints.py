"""Every set of rules is met exactly, or refused before training with the rules named.

Set the environment variable ``YOTO_SC_EXAMPLES`` to try that many new sets instead.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

import anndata
import numpy as np
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from scvi.train import Trainer

import yoto_sc as yt

if TYPE_CHECKING:
    from collections.abc import Callable

    from anndata import AnnData

N_EXAMPLES = int(os.environ.get("YOTO_SC_EXAMPLES", "25"))
N_VARS = 40
KEYS = {"categorical_keys": ["task_0"]}


@pytest.fixture(scope="module")
def planted(make_adata: Callable[..., AnnData]) -> AnnData:
    """Planted counts with costs and preferences; not to be changed."""
    adata = make_adata(n_obs=90, n_vars=N_VARS, n_classes=(3,), n_continuous=0, missing=0.1)
    rng = np.random.default_rng(0)
    adata.var["cost"] = rng.integers(1, 20, N_VARS) / 10
    adata.var["wish"] = rng.choice([0.5, 1, 2, 100, np.nan], N_VARS)
    adata.var["candidate"] = rng.random(N_VARS) < 0.7
    return adata


def statistics(adata: AnnData) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean of the expressing cells, their fraction, and means by type; from the dense matrix."""
    values = adata.X.toarray().astype(float)
    positive = values > 0
    mean = values.sum(0) / np.maximum(positive.sum(0), 1)
    types = adata.obs["task_0"]
    by_type = np.array([values[(types == t).to_numpy()].mean(0) for t in types.cat.categories])
    return mean, positive.mean(0), by_type


def broken(adata: AnnData, rules: dict[str, Any], genes: np.ndarray) -> list[str]:
    """Name the rules that a panel, a mask of the genes, breaks."""
    mean, fraction, by_type = statistics(adata)
    names = adata.var_names[genes]
    low, high = rules.get("mean_range", (None, None))
    smallest, largest = rules.get("fraction_range", (None, None))
    patterns = [re.compile(g.replace("*", ".*") + "$") for g in rules.get("exclude", [])]
    free = ~adata.var_names.isin(rules.get("include", []))
    checks = {
        "n_genes": genes.sum() != rules["n_genes"],
        "include": not set(rules.get("include", [])) <= set(names),
        "exclude": any(p.match(name) for p in patterns for name in names),
        "candidates": "candidates" in rules and (genes & free & ~adata.var["candidate"]).any(),
        "budget": adata.var["cost"][genes].sum() > rules.get("budget", np.inf) + 1e-9,
        "mean_range": (mean[genes] < (low or 0)).any() or (mean[genes] > (high or np.inf)).any(),
        "fraction_range": (fraction[genes] < (smallest or 0)).any()
        or (fraction[genes] > (largest or 1)).any(),
        "max_crowding": by_type[:, genes].sum(1).max() > rules.get("max_crowding", np.inf) + 1e-9,
    }
    return [name for name, is_broken in checks.items() if is_broken]


@st.composite
def rule_sets(draw: st.DrawFn) -> dict[str, Any]:
    """Rules of every kind, about half of the sets possible."""
    genes = [f"gene_{i:04d}" for i in range(N_VARS)]
    rules: dict[str, Any] = {"n_genes": draw(st.integers(1, 12))}
    optional = {
        "include": st.lists(st.sampled_from(genes), max_size=3, unique=True),
        "exclude": st.lists(st.sampled_from(["gene_001*", "gene_0003", "gene_003*"]), max_size=2),
        "candidates": st.just("candidate"),
        "preference": st.just("wish"),
        "budget": st.sampled_from([0.5, 1.5, 3, 6.0, 12.0]),
        "mean_range": st.sampled_from([(None, 2), (1.1, None), (1.05, 3.0), (9, None)]),
        "fraction_range": st.sampled_from([(0.05, None), (None, 0.4), (0.02, 0.6)]),
        "max_crowding": st.sampled_from([0.1, 0.6, 2.0, 6.0, 30]),
    }
    for name in draw(st.lists(st.sampled_from(sorted(optional)), unique=True)):
        rules[name] = draw(optional[name])
    if "budget" in rules:
        rules["cost"] = "cost"
    return rules


@settings(
    max_examples=N_EXAMPLES,
    deadline=None,
    derandomize="YOTO_SC_EXAMPLES" not in os.environ,
    database=None,
    suppress_health_check=list(HealthCheck),
)
@given(rules=rule_sets())
def test_met_exactly_or_refused_by_name(
    rules: dict[str, Any], planted: AnnData, state_of: Callable[..., Any]
) -> None:
    adata, trained = planted.copy(), []
    before = state_of(adata)
    with pytest.MonkeyPatch.context() as patch:
        fit = Trainer.fit
        patch.setattr(Trainer, "fit", lambda *a, **k: (trained.append(True), fit(*a, **k))[1])
        try:
            yt.tl.select(
                adata,
                **rules,
                **KEYS,
                max_steps=4,
                group_key=None,
                accelerator="cpu",
                progress_bar=False,
                model_kwargs={"n_hidden": 4, "n_members": 1},
            )
        except ValueError as error:
            refusal = str(error)
        else:
            refusal = ""
    event("refused" if refusal else "met")
    if not refusal:
        assert broken(planted, rules, adata.var["yoto_selected"].to_numpy()) == []
        return
    assert not trained
    assert state_of(adata) == before
    named = [name for name in rules if re.search(rf"\b{name}\b", refusal)]
    assert len(named) >= 2, refusal
    # what is named cannot be met: none of many panels, the lightest ones among them, meets it
    mean, fraction, by_type = statistics(planted)
    some = {name: rules[name] for name in named}
    rng = np.random.default_rng(0)
    include = planted.var_names.isin(some.get("include", []))
    for amount in (
        planted.var["cost"],
        by_type.sum(0),
        mean,
        -mean,
        fraction,
        *rng.random((99, N_VARS)),
    ):
        order = np.argsort(np.where(include, -np.inf, amount), kind="stable")
        for n_genes in [rules["n_genes"]] if "n_genes" in some else range(N_VARS):
            genes = np.isin(np.arange(N_VARS), order[:n_genes])
            assert broken(planted, {**some, "n_genes": n_genes}, genes)


def chosen(adata: AnnData, select: Callable[..., Any], n_genes: Any = 6, **rules: Any) -> set[str]:
    adata = adata.copy()
    select(adata, n_genes, **KEYS, **{"max_steps": 10, **rules})
    return set(adata.var_names[adata.var["yoto_selected"]])


def test_preference_pulls_and_zero_forbids(planted, select):
    adata = planted.copy()
    free = chosen(adata, select)
    worst = [gene for gene in adata.var_names if gene not in free][-3:]
    adata.var["w"] = 1.0
    assert chosen(adata, select, preference="w") == free
    adata.var["w"] = [1e6 if gene in worst else np.nan for gene in adata.var_names]
    assert set(worst) <= chosen(adata, select, preference="w")
    adata.var["w"] = [0 if gene in free else 1 for gene in adata.var_names]
    assert not free & chosen(adata, select, preference="w")


def test_rules_that_bind_nothing_change_nothing(planted, select):
    free = chosen(planted, select)
    loose = {"cost": "cost", "budget": 1e6, "max_crowding": 1e6, "fraction_range": (0, 1)}
    assert chosen(planted, select, **loose) == free


def test_excluding_the_best_panel_selects_another(planted, select):
    free = chosen(planted, select)
    other = chosen(planted, select, exclude=sorted(free))
    assert len(other) == len(free)
    assert not other & free


def test_prefixes_meet_the_caps(planted, select):
    adata = planted.copy()
    select(adata, 8, **KEYS, max_steps=10, cost="cost", budget=4.0)
    costs = adata.var.loc[adata.var["yoto_rank"].sort_values().index[:8], "cost"]
    assert costs.cumsum().max() <= 4.0 + 1e-9


def test_auto_takes_no_more_than_can_be_had(planted, select):
    genes = chosen(planted, select, "auto", cost="cost", budget=1.0)
    costs = planted.var["cost"]
    assert 1 <= len(genes) <= (np.sort(costs).cumsum() <= 1.0 + 1e-9).sum()
    assert costs[list(genes)].sum() <= 1.0 + 1e-9


def test_crowding_by_another_column_and_unlabeled_types(planted, select):
    adata = planted.copy()
    adata.obs["organ"] = np.where(adata.obs["donor"] == "donor_0", "liver", "other")
    values = adata.X.toarray().astype(float)
    liver = (adata.obs["organ"] == "liver").to_numpy()
    genes = chosen(adata, select, max_crowding=1.0, crowding_key="organ")
    mask = adata.var_names.isin(genes)
    for cells in (liver, ~liver):
        assert values[cells][:, mask].mean(0).sum() <= 1.0 + 1e-9
    with pytest.raises(ValueError, match="two to tell apart"):
        chosen(adata, select, max_crowding=1.0, crowding_key="organ", unlabeled=["liver"])


def test_rules_are_written_and_saved(planted, select, tmp_path):
    adata = planted.copy()
    rules = {
        "cost": "cost",
        "budget": np.float32(9),
        "mean_range": (None, np.float64(50)),
        "preference": "wish",
        "max_crowding": 90,
        "crowding_key": "donor",
    }
    select(adata, 6, **KEYS, max_steps=4, model_dir=tmp_path / "model", **rules)
    adata.write_h5ad(tmp_path / "a.h5ad")
    params = anndata.read_h5ad(tmp_path / "a.h5ad").uns["yoto"]["params"]
    assert {name for name in rules if name in params} == set(rules)
    assert (params["budget"], params["max_crowding"]) == (9, 90)
    np.testing.assert_array_equal(params["mean_range"], [0, 50])
    assert "fraction_range" not in params
    model = yt.model.YOTO.load(tmp_path / "model")
    assert model.panel().n_genes == 6


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"cost": "cost"}, ValueError, "come together"),
        ({"budget": 3}, ValueError, "come together"),
        ({"cost": "costs", "budget": 3}, KeyError, "cost='costs' is not a column of adata.var"),
        ({"cost": "text", "budget": 3}, TypeError, "must hold numbers to be the cost"),
        ({"cost": "negative", "budget": 3}, ValueError, "at least 0, but holds -1"),
        ({"cost": "wish", "budget": 3}, ValueError, "is missing for"),
        ({"cost": "cost", "budget": "3"}, TypeError, "budget must be a number"),
        ({"cost": "cost", "budget": np.nan}, ValueError, "budget must be finite"),
        ({"preference": "negative"}, ValueError, "preference='negative' must be finite"),
        ({"preference": 3}, TypeError, "must be the name of a var column"),
        ({"mean_range": 3}, TypeError, "must be a pair"),
        ({"mean_range": (3, 1)}, ValueError, "is empty"),
        ({"fraction_range": (0, 2)}, ValueError, "at most 1, not 2"),
        ({"fraction_range": ("a", 1)}, TypeError, "must be a number, not 'a'"),
        ({"max_crowding": -1}, ValueError, "max_crowding must be finite and at least 0"),
        ({"max_crowding": 1, "crowding_key": "nope"}, KeyError, "`crowding_key` names 'nope'"),
        ({"crowding_key": "donor"}, ValueError, "says nothing without `max_crowding`"),
        ({"model_kwargs": {"budget": 3}}, TypeError, r"\['budget'\] as arguments of their own"),
        (
            {"include": ["gene_0000"], "preference": "none"},
            ValueError,
            r"\['gene_0000'\], which preference='none' forbids",
        ),
        (
            {"include": ["gene_0000"], "mean_range": (99, None)},
            ValueError,
            r"\['gene_0000'\], which mean_range=\(99, None\) forbids",
        ),
    ],
)
def test_bad_rules(planted, select, state_of, arguments, error, message):
    adata = planted.copy()
    adata.var["text"] = "a"
    adata.var["negative"] = -1.0
    adata.var["none"] = 0.0
    before = state_of(adata)
    with pytest.raises(error, match=message):
        select(adata, 6, **KEYS, **arguments)
    assert state_of(adata) == before


def test_a_range_without_an_end_is_saved_with_the_model(
    adata: AnnData, select: Any, tmp_path: Any
) -> None:
    select(adata, mean_range=(0.0, np.inf), max_steps=2, model_dir=tmp_path / "model")
    assert (tmp_path / "model" / "model.json").exists()
    assert yt.Panel.from_adata(adata).n_genes == 6


@pytest.mark.parametrize("redundancy", [1, 3])
def test_each_class_has_so_many_genes_that_mark_it(make_adata, quick_arguments, redundancy):
    adata = make_adata()
    yt.tl.select(adata, 14, redundancy=redundancy, **quick_arguments)
    values = np.log1p(adata.X.toarray())
    assert adata.uns["yoto"]["params"]["redundancy"] == redundancy
    for task in ("task_0", "task_1"):
        labels = adata.obs[task]
        for category in labels.cat.categories:
            inside, rest = labels == category, (labels != category) & labels.notna()
            a, b = values[inside], values[rest]
            n = len(a) + len(b)
            pooled = np.sqrt((len(a) * a.var(axis=0) + len(b) * b.var(axis=0)) / (n - 2))
            with np.errstate(divide="ignore", invalid="ignore"):
                effect = (a.mean(axis=0) - b.mean(axis=0)) / pooled
            best = np.argsort(-np.nan_to_num(effect))[: 2 * redundancy]
            marks = (effect >= 0.5) | np.isin(np.arange(adata.n_vars), best)
            assert (marks & adata.var["yoto_selected"].to_numpy()).sum() >= redundancy


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"redundancy": 0}, ValueError, "redundancy must be at least 1"),
        ({"redundancy": 1.5}, TypeError, "redundancy must be an integer"),
        ({"redundancy": 8}, ValueError, "n_genes=14, redundancy=8"),
        ({"redundancy": 2, "n_genes": "auto"}, ValueError, 'n_genes="auto" takes'),
        ({"redundancy": 2, "categorical_keys": ()}, ValueError, "`redundancy` needs classes"),
    ],
)
def test_bad_redundancy(make_adata, quick_arguments, arguments, error, message):
    arguments = {"n_genes": 14, **quick_arguments, **arguments}
    adata = make_adata()
    before = adata.copy()
    with pytest.raises(error, match=message):
        yt.tl.select(adata, **arguments)
    assert list(adata.var) == list(before.var)
