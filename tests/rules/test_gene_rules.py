"""Rules against brute force: the best panel, whether there is one, and the smallest conflict."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from yoto_sc.rules import Cap, GeneRules


def make_rules(seed):
    rng = np.random.default_rng(seed)
    n_vars = int(rng.integers(4, 9))
    n_genes = int(rng.integers(1, n_vars + 1))
    required = rng.random(n_vars) < 0.15
    amounts = rng.random((int(rng.integers(1, 4)), n_vars)) * (rng.random(n_vars) < 0.8)
    if seed % 2:  # sums that meet their bound to the last digit, but for rounding
        amounts = amounts.round(1)
    bounds = [
        row[rng.permutation(n_vars)[:n_genes]].sum() * rng.choice([0.6, 1, 1.2]) for row in amounts
    ]
    limits = {"a": (rng.random(n_vars) < 0.8) | required, "b": rng.random(n_vars) < 0.9}
    caps = {
        f"cap {i}": Cap(row, float(bound))
        for i, (row, bound) in enumerate(zip(amounts, bounds, strict=True))
    }
    return GeneRules(required, limits, caps), n_genes, rng.normal(size=n_vars)


def panels(n_vars, sizes):
    for size in sizes:
        for genes in itertools.combinations(range(n_vars), size):
            mask = np.zeros(n_vars, dtype=bool)
            mask[list(genes)] = True
            yield mask


def meets(rules, names, mask):
    """Whether a panel meets the rules of these names, told without the code under test."""
    return (
        not ("include" in names and (rules.required & ~mask).any())
        and not any((mask & ~limit).any() for name, limit in rules.limits.items() if name in names)
        and all(
            cap.amounts[mask].sum() <= cap.bound * (1 + 1e-9)
            for name, cap in rules.caps.items()
            if name in names
        )
    )


@pytest.mark.parametrize("block", range(4))
def test_against_brute_force(block):
    n_infeasible = 0
    for seed in range(30 * block, 30 * (block + 1)):
        rules, n_genes, scores = make_rules(seed)
        n_vars = len(scores)
        names = [f"n_genes={n_genes}", "include", *rules.limits, *rules.caps]

        def can_be_met(kept, rules=rules, n_vars=n_vars, n_genes=n_genes, names=names):
            sizes = [n_genes] if names[0] in kept else range(n_vars + 1)
            return any(meets(rules, kept, mask) for mask in panels(n_vars, sizes))

        totals = [scores[m].sum() for m in panels(n_vars, [n_genes]) if meets(rules, names, m)]
        assert rules.is_feasible(n_genes) == bool(totals)
        if totals:
            for panel in (rules.best_panel, rules.good_panel):
                mask = np.isin(np.arange(n_vars), panel(scores, n_genes))
                assert mask.sum() == n_genes
                assert meets(rules, names, mask)
            np.testing.assert_allclose(
                scores[rules.best_panel(scores, n_genes)].sum(), max(totals), atol=1e-6
            )
            continue
        n_infeasible += 1
        conflict = rules.conflict(n_genes)
        assert not can_be_met(conflict)
        for fewer in itertools.combinations(names, len(conflict) - 1):
            assert can_be_met(fewer)
        with pytest.raises(ValueError, match=f"No panel of {n_genes} genes"):
            rules.best_panel(scores, n_genes)
    assert 3 < n_infeasible < 27


def test_largest_size():
    for seed in range(60):
        rules, _, scores = make_rules(seed)
        smallest = max(1, int(rules.required.sum()))
        met = [size for size in range(smallest, len(scores) + 1) if rules.is_feasible(size)]
        assert rules.largest_size(len(scores)) == max(met, default=0)
        assert rules.largest_size(smallest) == (smallest if met else 0)


def test_penalties_make_the_best_scores_meet_the_cap():
    rng = np.random.default_rng(0)
    amounts, scores = rng.random(200), rng.normal(size=200)
    rules = GeneRules(np.zeros(200, dtype=bool), {}, {"budget": Cap(amounts, 3.0)})
    penalty = rules.penalties(scores, 20)
    assert penalty.min() >= 0
    assert np.corrcoef(penalty, amounts)[0, 1] > 0.999  # one multiplier for all genes
    free, bound = (np.argsort(-s)[:20] for s in (scores, scores - penalty))
    assert amounts[free].sum() > 4
    assert abs(amounts[bound].sum() - 3) < 0.5  # but for the one gene that is split
    loose = GeneRules(np.zeros(200, dtype=bool), {}, {"budget": Cap(amounts, 50.0)})
    assert not loose.penalties(scores, 20).any()


def test_ties_go_to_the_first_genes():
    rules = GeneRules(np.array([False, False, True, False]))
    np.testing.assert_array_equal(rules.best_panel(np.zeros(4), 2), [0, 2])


def test_subset_of_all_rules():
    rules, _, _ = make_rules(1)
    part = rules.subset(np.array([2, 0]))
    assert part.allowed.tolist() == rules.allowed[[2, 0]].tolist()
    assert part.required.tolist() == rules.required[[2, 0]].tolist()
    for name, cap in part.caps.items():
        assert cap.amounts.tolist() == rules.caps[name].amounts[[2, 0]].tolist()


def test_replacements_keep_all_rules():
    """Told by trying every gene in the place of the one that leaves."""
    n_tried = 0
    for seed in range(40):
        rules, n_genes, scores = make_rules(seed)
        if not rules.is_feasible(n_genes):
            continue
        names = ["include", *rules.limits, *rules.caps]
        panel = np.isin(np.arange(len(scores)), rules.best_panel(scores, n_genes))
        for gene in np.flatnonzero(panel & ~rules.required):
            found = rules.replacements(panel, gene)
            for other in range(len(scores)):
                changed = panel.copy()
                changed[gene], changed[other] = False, True
                expected = not panel[other] and meets(rules, names, changed)
                assert found[other] == expected
                n_tried += 1
    assert n_tried > 200


def test_a_panel_holds_or_breaks_the_rules():
    for seed in range(20):
        rules, n_genes, scores = make_rules(seed)
        names = ["include", *rules.limits, *rules.caps]
        for mask in panels(len(scores), [n_genes]):
            assert rules.hold(mask) == meets(rules, names, mask)


def test_without_limits_all_genes_are_allowed_and_weigh_1():
    rules = GeneRules(np.array([False, True, False]))
    assert rules.allowed.all()
    assert rules.weights.tolist() == [1, 1, 1]
    assert rules.subset(np.array([1])).required.tolist() == [True]
    preferred = GeneRules(np.zeros(3, dtype=bool), preference=np.array([1.0, 2, 3]))
    assert preferred.subset(np.array([2, 0])).weights.tolist() == [3, 1]
