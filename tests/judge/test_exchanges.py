"""Exchanges of genes against cross-validation with scikit-learn from scratch."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import anndata
import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import f1_score, r2_score

from yoto_sc._problem import Problem
from yoto_sc.judge import Exchanges
from yoto_sc.judge._splits import fold_cells
from yoto_sc.rules import Cap, GeneRules

if TYPE_CHECKING:
    from collections.abc import Callable

    from anndata import AnnData

    from yoto_sc.judge import Exchange

SEED, N_JUDGED_FROM = 3, 3
"""Of five folds, the first three find substitutes, and the other two judge them."""


@pytest.fixture(scope="module")
def data(make_adata: Callable[..., AnnData]) -> AnnData:
    """Informative genes of one categorical and one continuous task, few labels missing."""
    return make_adata(
        n_obs=300, n_vars=40, n_informative=8, n_redundant=8, n_classes=(4,), missing=0.1
    )


@pytest.fixture(scope="module")
def small(data: AnnData) -> Problem:
    return Problem.from_adata(data, {"categorical": ["task_0"], "continuous": ["score_0"]})


@pytest.fixture(scope="module")
def panel(data: AnnData) -> Any:
    return np.flatnonzero(data.var["informative"])


@pytest.fixture(scope="module")
def exchanges(small: Problem, panel: Any) -> Exchanges:
    return Exchanges(small, panel, np.random.default_rng(SEED))


@pytest.fixture(scope="module")
def measured(exchanges: Exchanges) -> list[Exchange]:
    """What becomes of the first gene."""
    return list(exchanges.measure(0, 3))


def seen_of(problem: Problem) -> Any:
    """Cells with a label of either task, as they are judged."""
    return np.flatnonzero((problem.labels[0] >= 0) | ~np.isnan(problem.labels[1]))


def from_scratch(problem: Problem, genes: Any, folds: Any) -> tuple[float, float]:
    """Macro-F1 and R² of panels, judged on the last folds."""
    cells = seen_of(problem)
    x = problem.expression.take(cells, np.asarray(genes)).toarray().astype(float)
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    codes, numbers = (labels[cells] for labels in problem.labels)
    counts = np.bincount(codes[codes >= 0])
    weights = np.where(codes >= 0, counts[codes] ** -0.5, 0)
    weights /= weights[codes >= 0].mean()
    classes, values = np.full(len(cells), -1), np.full(len(cells), np.nan)
    for fold in range(N_JUDGED_FROM, folds.max() + 1):
        test, train = folds == fold, (folds != fold) & (codes >= 0)
        model = LogisticRegression(tol=1e-6, max_iter=2000)
        classes[test] = model.fit(x[train], codes[train], weights[train]).predict(x[test])
        train = (folds != fold) & ~np.isnan(numbers)
        values[test] = Ridge().fit(x[train], numbers[train]).predict(x[test])
    judged = folds >= N_JUDGED_FROM
    of_codes, of_numbers = judged & (codes >= 0), judged & ~np.isnan(numbers)
    return (
        f1_score(codes[of_codes], classes[of_codes], average="macro"),
        r2_score(numbers[of_numbers], values[of_numbers]),
    )


def folds_of(problem: Problem) -> Any:
    """Deal the cells into folds with the generator that the exchanges were given."""
    labels = [labels[seen_of(problem)] for labels in problem.labels]
    return fold_cells(problem.tasks, labels, 5, np.random.default_rng(SEED))


def scores(judgements: Any) -> Any:
    return [float(judgement.scores[0]) for judgement in judgements]


def test_the_whole_panel(small: Problem, panel: Any, exchanges: Exchanges) -> None:
    expected = from_scratch(small, panel, folds_of(small))
    assert scores(exchanges.whole) == pytest.approx(expected, abs=0.01)
    assert expected[0] > 0.6


def test_a_panel_without_a_gene(small: Problem, panel: Any, measured: list[Exchange]) -> None:
    dropped = measured[0]
    assert dropped.gene == panel[0]
    assert dropped.substitute is None
    assert np.isnan(dropped.correlation)
    expected = from_scratch(small, panel[1:], folds_of(small))
    assert scores(dropped.judgements) == pytest.approx(expected, abs=0.01)


def test_a_panel_with_another_gene(small: Problem, panel: Any, measured: list[Exchange]) -> None:
    assert len(measured) == 1 + 3
    cells = seen_of(small)
    for exchange in measured[1:]:
        assert exchange.gene == panel[0]
        assert exchange.substitute not in panel
        expected = from_scratch(small, [exchange.substitute, *panel[1:]], folds_of(small))
        assert scores(exchange.judgements) == pytest.approx(expected, abs=0.015)
        pair = small.expression.take(cells, np.array([panel[0], exchange.substitute])).toarray()
        assert exchange.correlation == pytest.approx(np.corrcoef(pair.T)[0, 1], abs=1e-4)
    assert len({exchange.substitute for exchange in measured}) == 4


def test_a_copy_is_the_best_substitute(data: AnnData, panel: Any) -> None:
    with_copy = sp.hstack([data.X, data.X[:, panel[:1]]]).tocsr()
    problem = Problem.from_adata(
        anndata.AnnData(with_copy, obs=data.obs),
        {"categorical": ["task_0"], "continuous": ["score_0"]},
    )
    copied = Exchanges(problem, panel, np.random.default_rng(SEED))
    dropped, best, *_ = copied.measure(0, 3)
    assert best.substitute == 40
    assert best.correlation == pytest.approx(1, abs=1e-5)
    assert scores(best.judgements) == pytest.approx(scores(copied.whole), abs=0.01)
    assert scores(dropped.judgements)[0] < scores(copied.whole)[0] - 0.02


def test_bootstrap_samples_surround_the_score(exchanges: Exchanges) -> None:
    for judgement in exchanges.whole:
        assert judgement.scores.shape == (101,)
        samples = judgement.scores[1:]
        assert samples.std() > 0.005
        assert abs(samples.mean() - judgement.scores[0]) < 3 * samples.std()


def test_a_gene_that_tells_nothing_is_not_missed(small: Problem, panel: Any) -> None:
    others = np.setdiff1d(np.arange(40), panel)
    larger = Exchanges(small, np.append(panel, others[-1]), np.random.default_rng(SEED))
    dropped = next(larger.measure(len(panel), 0))
    assert dropped.gene == others[-1]
    before, after = scores(larger.whole), scores(dropped.judgements)
    assert np.abs(np.subtract(before, after)).max() < 0.05


def test_as_many_substitutes_as_asked_for(exchanges: Exchanges) -> None:
    assert len(list(exchanges.measure(1, 0))) == 1
    assert len(list(exchanges.measure(1, 1))) == 2
    assert len(list(exchanges.measure(1, 100))) == 1 + 32  # all other genes


def test_substitutes_keep_the_rules(small: Problem, panel: Any) -> None:
    allowed = np.isin(np.arange(40), panel)
    allowed[np.setdiff1d(np.arange(40), panel)[:5]] = True
    rules = GeneRules(np.zeros(40, dtype=bool), {"candidates": allowed})
    limited = Exchanges(replace(small, rules=rules), panel, np.random.default_rng(SEED))
    substitutes = [exchange.substitute for exchange in limited.measure(0, 9)][1:]
    assert len(substitutes) == 5
    assert allowed[substitutes].all()


def test_substitutes_keep_the_budget(small: Problem, panel: Any) -> None:
    costs = np.full(40, 9.0)
    costs[panel] = 1
    cheap = np.setdiff1d(np.arange(40), panel)[[1, 4]]
    costs[cheap] = 2
    rules = GeneRules(np.zeros(40, dtype=bool), {}, {"budget": Cap(costs, len(panel) + 1.0)})
    limited = Exchanges(replace(small, rules=rules), panel, np.random.default_rng(SEED))
    substitutes = [exchange.substitute for exchange in limited.measure(2, 9)][1:]
    assert sorted(substitutes) == cheap.tolist()


def test_a_panel_of_one_gene(small: Problem, panel: Any) -> None:
    one = Exchanges(small, panel[:1], np.random.default_rng(SEED))
    dropped, exchanged = one.measure(0, 1)
    assert scores(dropped.judgements)[1] == pytest.approx(0, abs=0.05)  # the mean is all it knows
    expected = from_scratch(small, [exchanged.substitute], folds_of(small))
    assert scores(exchanged.judgements) == pytest.approx(expected, abs=0.015)


def test_no_substitute_where_the_panel_holds_all_genes(small: Problem) -> None:
    rules = GeneRules(np.zeros(40, dtype=bool), {"candidates": np.arange(40) < 3})
    every = Exchanges(replace(small, rules=rules), np.arange(3), np.random.default_rng(SEED))
    assert [exchange.substitute for exchange in every.measure(0, 4)] == [None]


def test_groups_are_held_out_whole(data: AnnData, small: Problem, panel: Any) -> None:
    """One donor's cells are of a class that no other has: it cannot be learned, if all leave."""
    labels = small.labels[0].copy()
    donors = data.obs["donor"].cat.codes.to_numpy()
    labels[donors == 0] = 3
    labels[(donors != 0) & (labels == 3)] = -1
    own_class = replace(small, labels=(labels, small.labels[1]))
    by_cell = Exchanges(own_class, panel, np.random.default_rng(SEED))
    grouped = Exchanges(own_class.holding_out("donor"), panel, np.random.default_rng(SEED))
    assert by_cell.whole[0].by_class[0, 3] > 0.2
    assert not grouped.whole[0].by_class[0, 3] > 0  # 0, or NaN where it is not judged


def test_the_generator_decides(small: Problem, panel: Any, exchanges: Exchanges) -> None:
    same, other = (Exchanges(small, panel, np.random.default_rng(seed)) for seed in (SEED, 4))
    for one, two in zip(same.whole, exchanges.whole, strict=True):
        np.testing.assert_array_equal(one.scores, two.scores)
    assert scores(other.whole) != scores(same.whole)


def test_cells_without_any_label_are_left_out(small: Problem, panel: Any) -> None:
    codes, numbers = (labels.copy() for labels in small.labels)
    codes[::5], numbers[::5] = -1, np.nan
    fewer = replace(small, labels=(codes, numbers))
    expected = from_scratch(fewer, panel, folds_of(fewer))
    found = Exchanges(fewer, panel, np.random.default_rng(SEED))
    assert scores(found.whole) == pytest.approx(expected, abs=0.015)
