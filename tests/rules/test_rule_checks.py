"""Panel sizes and genes that the rules cannot meet are refused, and the rules are named."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from yoto_sc.rules import Cap, GeneRules, check_n_genes
from yoto_sc.rules._gene_rules import check_included


def make_rules(n_allowed=5, n_required=0, n_vars=8):
    position = np.arange(n_vars)
    return GeneRules(position < n_required, {"candidates": position < n_allowed})


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


@pytest.mark.parametrize(("n_genes", "n_required"), [(2, 0), (1, 0), (2, 2)])
def test_sizes_that_caps_allow(n_genes, n_required):
    rules = make_rules(n_required=n_required)
    rules = GeneRules(rules.required, rules.limits, {"budget=2": Cap(np.ones(8), 2.0)})
    check_n_genes(n_genes, rules)
    check_n_genes("auto", rules)


def test_caps_in_conflict_are_named_with_the_largest_size():
    rules = GeneRules(np.zeros(8, dtype=bool), {}, {"budget=2": Cap(np.ones(8), 2.0)})
    with pytest.raises(ValueError, match=r"together: n_genes=3, budget=2\. .* At most 2 genes"):
        check_n_genes(3, rules)


@pytest.mark.parametrize("n_genes", [2, "auto"])
def test_required_genes_over_the_budget_leave_no_size(n_genes):
    required = np.arange(8) < 2
    rules = GeneRules(required, {}, {"budget=1": Cap(np.ones(8), 1.0)})
    with pytest.raises(ValueError, match=r"together: include, budget=1\. Loosen one of them\.$"):
        check_n_genes(n_genes, rules)


def test_a_rule_may_not_forbid_required_genes():
    names = pd.Index(["a", "b", "c", "d"])
    required = np.array([True, False, True, False])
    check_included(names, required, "rule", np.array([True, False, True, False]))
    check_included(names, np.zeros(4, dtype=bool), "rule", np.zeros(4, dtype=bool))
    with pytest.raises(ValueError, match=r"`include` names \['c'\], which rule=3 forbids"):
        check_included(names, required, "rule=3", np.array([True, True, False, False]))
