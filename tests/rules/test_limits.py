"""Rules on expression against dense numpy."""

from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
import pytest

from yoto_sc.data import read_expression
from yoto_sc.rules import Cap, GeneRules, limit_expression

N_OBS, N_VARS = 40, 12
NAMES = pd.Index([f"g{i}" for i in range(N_VARS)])
types = pd.Categorical(["a", "b", None, "a"] * 10, categories=["a", "b", "unused"])


@pytest.fixture(params=[True, False], ids=["counts", "fractions"])
def values(request):
    """Expression in the units it is read in; a gene is expressed nowhere."""
    rng = np.random.default_rng(0)
    values = rng.poisson(rng.uniform(0.1, 3, N_VARS), (N_OBS, N_VARS)).astype(np.float32)
    values[:, 3] = 0
    return values if request.param else values / 2


def limited(values, rules=None, **given):
    rules = GeneRules(np.zeros(N_VARS, dtype=bool)) if rules is None else rules
    defaults = {"mean_range": None, "fraction_range": None, "max_crowding": None}
    arguments = {**defaults, "cell_types": None, **given}
    expression = read_expression(ad.AnnData(values, var=pd.DataFrame(index=NAMES)))
    return limit_expression(rules, NAMES, expression, **arguments)


@pytest.mark.parametrize("bounds", [(None, 2), (1.5, None), (1, 2.0), (None, None), [0, np.inf]])
def test_mean_over_the_cells_that_express_the_gene(values, bounds):
    means = np.array([gene[gene > 0].mean() if gene.any() else 0 for gene in values.T])
    low, high = (-np.inf if bounds[0] is None else bounds[0], bounds[1] or np.inf)
    rules = limited(values, mean_range=bounds)
    np.testing.assert_array_equal(rules.allowed, (means >= low) & (means <= high))


@pytest.mark.parametrize("bounds", [(None, 0.5), (0.3, None), (0.3, 0.6)])
def test_share_of_the_cells_that_express_the_gene(values, bounds):
    share = (values > 0).mean(axis=0)
    rules = limited(values, fraction_range=bounds)
    np.testing.assert_array_equal(
        rules.allowed, (share >= (bounds[0] or 0)) & (share <= (bounds[1] or 1))
    )


def test_crowding_of_every_type_with_cells(values):
    caps = limited(values, max_crowding=5, cell_types=types).caps
    assert list(caps) == ["max_crowding=5 ('a')", "max_crowding=5 ('b')"]
    for cell_type, cap in zip("ab", caps.values(), strict=True):
        np.testing.assert_allclose(
            cap.amounts, values[np.asarray(types == cell_type)].mean(axis=0), rtol=1e-6
        )
        assert cap.bound == 5


def test_all_at_once_and_other_rules_stay(values):
    required = np.arange(N_VARS) == 5
    rules = GeneRules(
        required,
        {"exclude": np.arange(N_VARS) != 1},
        {"budget=3": Cap(np.ones(N_VARS), 3.0)},
        np.full(N_VARS, 2.0),
    )
    got = limited(
        values,
        rules,
        mean_range=(0.1, None),
        fraction_range=(0.0, 1.0),
        max_crowding=9,
        cell_types=types,
    )
    assert list(got.limits) == ["exclude", "mean_range=(0.1, None)", "fraction_range=(0.0, 1.0)"]
    assert list(got.caps) == ["budget=3", "max_crowding=9 ('a')", "max_crowding=9 ('b')"]
    assert got.required is required
    np.testing.assert_array_equal(got.weights, np.full(N_VARS, 2.0))
    assert np.flatnonzero(~got.allowed).tolist() == [1, 3]


def test_a_range_may_not_forbid_a_required_gene(values):
    rules = GeneRules(np.arange(N_VARS) == 3)
    with pytest.raises(ValueError, match=r"`include` names \['g3'\], which mean_range=\(0.1, 9\)"):
        limited(values, rules, mean_range=(0.1, 9))


def test_detection_is_that_of_the_class_where_a_gene_is_seen_most(values):
    codes = np.where(np.arange(N_OBS) < 3, 0, np.where(np.arange(N_OBS) < 30, 1, -1))
    seen = values > 0
    of_classes = [seen[codes == 0].sum(axis=0) / 50, seen[codes == 1].sum(axis=0) / 50]
    peak = np.max([*of_classes, seen.mean(axis=0)], axis=0)
    for least in (0.04, 0.3, 0.6):
        rules = limited(values, min_detection=least, classes=[(2, codes)])
        np.testing.assert_array_equal(rules.allowed, peak >= least)
        assert list(rules.limits) == [f"min_detection={least:g}"]
    required = np.arange(N_VARS) == 3
    rules = limited(values, GeneRules(required), min_detection=0.3, classes=[(2, codes)])
    np.testing.assert_array_equal(rules.allowed, (peak >= 0.3) | required)


def test_markers_of_a_rare_class_are_above_the_floor():
    values = np.zeros((2000, N_VARS), dtype=np.float32)
    values[:3, 0] = 1  # all cells of a class of three
    values[[5, 1000], 1] = 1  # two cells of two thousand
    codes = np.where(np.arange(2000) < 3, 1, 0)
    rules = limited(values, min_detection=0.05, classes=[(2, codes)])
    assert list(rules.allowed[:2]) == [True, False]
    assert not limited(values, min_detection=0.05).allowed.any()
