"""Each class has several genes that mark it, whatever else is asked for."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from yoto_sc.data import MemoryExpression
from yoto_sc.rules import Cap, Classes, GeneRules, check_n_genes
from yoto_sc.rules._redundancy import effect_sizes, marks_class, require_markers


@pytest.fixture
def cells():
    """120 cells, 30 genes; two tasks of three classes and two, some labels missing."""
    rng = np.random.default_rng(0)
    codes = rng.integers(3, size=120)
    others = rng.integers(-1, 2, size=120)
    counts = rng.poisson(1, (120, 30))
    for label in range(3):
        counts[codes == label, 5 * label : 5 * label + 5] += 4
    counts[others == 0, 20:22] += 6
    expression = MemoryExpression("X", True, 40.0, sp.csr_matrix(counts, dtype=np.float32))
    classes = [Classes("type", ["a", "b", "c"], codes), Classes("state", ["x", "y"], others)]
    return np.log1p(counts), expression, classes


def test_effects_are_cohens_d_on_labelled_cells(cells):
    values, expression, classes = cells
    for of_task, found in zip(classes, effect_sizes(expression, classes), strict=True):
        seen = of_task.codes >= 0
        for code, effect in enumerate(found):
            inside, outside = values[of_task.codes == code], values[seen & (of_task.codes != code)]
            squares = (len(inside) - 1) * inside.var(axis=0, ddof=1)
            squares += (len(outside) - 1) * outside.var(axis=0, ddof=1)
            pooled = np.sqrt(squares / (len(inside) + len(outside) - 2))
            expected = (inside.mean(axis=0) - outside.mean(axis=0)) / pooled
            np.testing.assert_allclose(effect, expected, atol=1e-5)


def test_a_class_without_cells_is_not_asked_about(cells):
    _, expression, classes = cells
    empty = Classes("type", ["a", "b", "c", "none"], classes[0].codes)
    rules = require_markers(GeneRules(np.zeros(30, dtype=bool)), expression, [empty], 2)
    assert list(rules.caps) == [f"redundancy=2 ({name!r} of 'type')" for name in "abc"]


def test_where_few_genes_mark_a_class_its_best_ones_count():
    effect = np.array([0.9, 0.2, 0.4, -0.1, 0.1, np.nan])
    assert np.flatnonzero(marks_class(effect, 1)).tolist() == [0, 2]
    assert np.flatnonzero(marks_class(effect, 2)).tolist() == [0, 1, 2, 4]
    assert np.flatnonzero(marks_class(effect, 5)).tolist() == [0, 1, 2, 4]
    many = np.array([0.9, 0.7, 0.6, 0.5, 0.49])
    assert np.flatnonzero(marks_class(many, 1)).tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("redundancy", [1, 2, 3])
def test_panels_have_so_many_genes_for_each_class(cells, redundancy):
    _, expression, classes = cells
    rng = np.random.default_rng(1)
    costs = rng.uniform(0, 1, 30)
    rules = GeneRules(np.arange(30) == 29, caps={"budget": Cap(costs, 8.0)})
    rules = require_markers(rules, expression, classes, redundancy)
    assert len(rules.caps) == 6
    scores = rng.normal(size=30)
    scores[:5] -= 9  # nobody would choose a gene of the first class
    for panel in (rules.best_panel(scores, 15), rules.good_panel(scores, 15)):
        chosen = np.isin(np.arange(30), panel)
        assert chosen[29]
        assert chosen.sum() == 15
        assert costs[chosen].sum() <= 8
        for of_task, effects in zip(classes, effect_sizes(expression, classes), strict=True):
            for effect in effects:
                assert (chosen & marks_class(effect, redundancy)).sum() >= redundancy, of_task.task
        assert rules.hold(chosen)
    of_first = marks_class(effect_sizes(expression, classes)[0][0], redundancy)
    assert 0 < chosen[:5].sum() <= (chosen & of_first).sum() == redundancy


def test_penalties_favour_the_genes_that_are_asked_for(cells):
    _, expression, classes = cells
    rules = require_markers(GeneRules(np.zeros(30, dtype=bool)), expression, classes[:1], 2)
    scores = np.linspace(0, 1, 30)  # the first class comes last
    penalties = rules.penalties(scores, 10)
    assert (penalties <= 1e-9).all()
    assert (penalties[:5] < 0).all()
    best = np.sort(np.argsort(-(scores - penalties))[:9])
    assert np.isin(best, rules.best_panel(scores, 10)).sum() >= 8


def test_what_replaces_a_gene_keeps_the_number(cells):
    _, expression, classes = cells
    rules = require_markers(GeneRules(np.zeros(30, dtype=bool)), expression, classes[:1], 2)
    panel = np.isin(np.arange(30), [0, 1, 5, 6, 10, 11, 25])
    assert rules.hold(panel)
    of_first = np.flatnonzero(rules.replacements(panel, 0))
    assert set(of_first) == {2, 3, 4}
    assert len(np.flatnonzero(rules.replacements(panel, 25))) == 23


def test_what_cannot_be_met_is_named(cells):
    _, expression, classes = cells
    nothing = GeneRules(np.zeros(30, dtype=bool))
    rules = require_markers(nothing, expression, classes[:1], 3)
    with pytest.raises(ValueError, match=r"n_genes=8, redundancy=3 \('a' of 'type'\), redundancy"):
        check_n_genes(8, rules)
    check_n_genes(9, rules)
    costly = GeneRules(np.zeros(30, dtype=bool), caps={"budget=2": Cap(np.ones(30), 2)})
    with pytest.raises(ValueError, match=r"together: budget=2, redundancy=3 \('[abc]' of 'type'"):
        check_n_genes(12, require_markers(costly, expression, classes[:1], 3))
    barred = GeneRules(np.arange(30) == 0, {"exclude": np.arange(30) > 0})
    with pytest.raises(ValueError, match="include, exclude"):
        check_n_genes(12, require_markers(barred, expression, classes[:1], 2))
    few = GeneRules(np.zeros(30, dtype=bool), {"exclude": np.arange(30) > 28})
    with pytest.raises(
        ValueError, match=r"of 'type'\) cannot be met: [01] genes that may be chosen"
    ):
        require_markers(few, expression, classes, 2)
    with pytest.raises(ValueError, match='n_genes="auto" takes the smallest panel'):
        check_n_genes("auto", rules)
