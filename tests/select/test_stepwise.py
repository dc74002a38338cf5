"""Stepwise discriminant analysis against each pair's Wilks' lambda from numpy's determinants."""

from __future__ import annotations

import inspect
import itertools

import numpy as np
import pytest
from scipy.stats import ttest_ind
from sklearn.linear_model import LinearRegression

from yoto_sc import select
from yoto_sc.select import Classes, Numbers

DEFAULTS = {
    name: parameter.default
    for name, parameter in inspect.signature(select.stepwise_order).parameters.items()
}
CLASSICAL = {"ridge": 1e-6, "class_weight_power": 0.0}
"""Options under which the criterion is the one of the textbooks."""


def stepwise_order(values, labels, n_steps, **options):
    """Order genes for integer codes and floats, each a target of its own kind."""
    targets = [Numbers(task) if task.dtype.kind == "f" else Classes(task) for task in labels]
    return select.stepwise_order(values, targets, n_steps, **options)


def make_values(n_obs=300, n_vars=8, seed=0):
    """Correlated genes of unit variance."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(n_obs, n_vars)) @ rng.normal(size=(n_vars, n_vars))
    return ((values - values.mean(axis=0)) / values.std(axis=0)).astype(np.float32)


def make_codes(values, n_classes=3, seed=1):
    rng = np.random.default_rng(seed)
    logits = 2 * values @ rng.normal(size=(values.shape[1], n_classes))
    logits[:, -1] -= 2  # one class is rare
    return (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)


def make_target(values, seed=1):
    rng = np.random.default_rng(seed)
    return 40 + 5 * (values @ rng.normal(size=values.shape[1]) + rng.normal(size=len(values)))


def lambdas(values, labels, genes, ridge, class_weight_power):
    """Wilks' lambda of some genes for every pair of classes, or for the number, cell by cell.

    The lambda of a pair is det W / det (W + B), with B the covariance between the two if they
    were alike in size; W is that of all classes, on the scale of correlations.
    """
    if labels.dtype.kind == "f":
        seen = ~np.isnan(labels)
        x, y = values[seen].astype(float), labels[seen]
        weights = np.full(len(x), 1 / len(x))
        fitted = LinearRegression().fit(y[:, None], x).predict(y[:, None])
        slope = ((x - x.mean(axis=0)) * (y - y.mean())[:, None]).mean(axis=0) / y.std()
        pairs = [(-slope, slope)]
    else:
        seen = labels >= 0
        x, y = values[seen].astype(float), labels[seen]
        weights = np.array([(y == code).sum() ** -class_weight_power for code in y])
        weights /= weights.sum()
        fitted = np.array([x[y == code].mean(axis=0) for code in y])
        pairs = itertools.combinations([x[y == code].mean(axis=0) for code in np.unique(y)], 2)
    centre = np.average(x, axis=0, weights=weights)
    total = np.einsum("o,oi,oj->ij", weights, x - centre, x - centre)
    within = np.einsum("o,oi,oj->ij", weights, x - fitted, x - fitted)
    scale = np.sqrt(np.diag(total))
    within = (within / np.outer(scale, scale) + ridge * np.eye(len(total)))[np.ix_(genes, genes)]
    out = []
    for a, b in pairs:
        half = ((a - b) / scale)[genes] / 2
        out.append(np.linalg.det(within) / np.linalg.det(within + np.outer(half, half)))
    return out


def confusion(values, labels, genes, **options):
    """Sum over tasks of the root of the pairs' mean lambda; the smaller, the better."""
    means = [np.mean(lambdas(values, task, list(genes), **options)) for task in labels]
    return sum(np.sqrt(means))


def assert_greedy(order, values, labels, required=(), tolerance=1e-4, **options):
    """Every step takes the gene that lowers the mean lambda most, up to rounding in float32."""
    assert len(set(order)) == len(order)
    for step, chosen in enumerate(order):
        before = list(order[:step])
        left = [j for j in range(values.shape[1]) if j not in before]
        left = [j for j in left if j in required] or left
        after = {j: confusion(values, labels, [*before, j], **options) for j in left}
        assert chosen in left
        assert after[chosen] <= min(after.values()) + tolerance, f"step {step}"


TASKS = {
    "classes": lambda v: [make_codes(v)],
    "two classes": lambda v: [make_codes(v, 2)],
    "number": lambda v: [make_target(v)],
    "three tasks": lambda v: [make_codes(v), make_target(v, 2), make_codes(v, 4, 3)],
}
tasks = pytest.mark.parametrize("make_labels", TASKS.values(), ids=TASKS)


@tasks
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_classical_order_matches_the_pairs_lambdas(make_labels, seed):
    values = make_values(seed=seed)
    labels = make_labels(values)
    order = stepwise_order(values, labels, 5, **CLASSICAL)
    assert_greedy(order, values, labels, **CLASSICAL)


@tasks
@pytest.mark.parametrize("ridge", [DEFAULTS["ridge"], 0.3])
@pytest.mark.parametrize("power", [DEFAULTS["class_weight_power"], 1.0])
def test_order_matches_weighted_and_ridged_lambdas(make_labels, ridge, power):
    values = make_values()
    labels = make_labels(values)
    options = {"ridge": ridge, "class_weight_power": power}
    assert_greedy(stepwise_order(values, labels, 5, **options), values, labels, **options)


def test_the_brute_force_can_tell():
    """Another order is not greedy, so the tests above can fail."""
    values = make_values()
    labels = [make_codes(values)]
    order = stepwise_order(values, labels, 4, **CLASSICAL)
    with pytest.raises(AssertionError, match="step 0"):
        assert_greedy(order[::-1], values, labels, **CLASSICAL)


def test_first_gene_of_two_classes_has_the_largest_t_statistic():
    for seed in range(5):
        values = make_values(seed=seed)
        codes = make_codes(values, 2, seed=seed)
        t = np.abs(ttest_ind(values[codes == 0], values[codes == 1]).statistic)
        assert stepwise_order(values, [codes], 1, **CLASSICAL)[0] == t.argmax()


def test_lambda_of_a_number_is_the_unexplained_share():
    values = make_values()
    target = make_target(values)
    genes = [0, 3, 5]
    r2 = LinearRegression().fit(values[:, genes], target).score(values[:, genes], target)
    assert lambdas(values, target, genes, 0.0, 0.0) == pytest.approx([1 - r2], rel=1e-3)


def test_pairs_that_are_far_apart_bring_nothing_more():
    """Genes 0 and 1 both tell one class from the others very well, gene 2 the others poorly."""
    rng = np.random.default_rng(0)
    codes = np.repeat([0, 1, 2], 200)
    values = rng.normal(size=(600, 6))
    values[:, 0] += 12 * (codes == 0)
    values[:, 1] += 12 * (codes == 0)
    values[:, 2] += 1.2 * (codes == 1)
    values = ((values - values.mean(axis=0)) / values.std(axis=0)).astype(np.float32)
    order = stepwise_order(values, [codes], 2, **CLASSICAL)
    assert order[0] in {0, 1}
    assert order[1] == 2


def test_greedy_is_near_the_best_subset_of_a_small_problem():
    values = make_values(n_vars=6)
    labels = [make_codes(values)]
    order = stepwise_order(values, labels, 3, **CLASSICAL)
    every = [
        confusion(values, labels, genes, **CLASSICAL)
        for genes in itertools.combinations(range(6), 3)
    ]
    assert sorted(every).index(confusion(values, labels, sorted(order), **CLASSICAL)) < 4


# --- properties, whatever the weights and the ridge ---


@tasks
def test_order_is_nested(make_labels):
    values = make_values()
    labels = make_labels(values)
    whole = stepwise_order(values, labels, 8)
    assert sorted(whole) == list(range(8))
    for n_steps in range(1, 8):
        np.testing.assert_array_equal(stepwise_order(values, labels, n_steps), whole[:n_steps])


def test_there_are_no_more_genes_than_there_are():
    values = make_values()
    assert len(stepwise_order(values, [make_codes(values)], 99)) == 8


@tasks
def test_required_genes_come_first(make_labels):
    values = make_values()
    labels = make_labels(values)
    free = stepwise_order(values, labels, 8, **CLASSICAL)
    required = np.zeros(8, dtype=bool)
    required[free[-2:]] = True  # the two that would come last
    before = required.copy()
    order = stepwise_order(values, labels, 6, required=required, **CLASSICAL)
    assert set(order[:2]) == set(free[-2:])
    np.testing.assert_array_equal(required, before)
    assert_greedy(order, values, labels, required=set(free[-2:]), **CLASSICAL)


def test_only_required_genes():
    values = make_values()
    order = stepwise_order(values, [make_codes(values)], 3, required=np.ones(8, dtype=bool))
    np.testing.assert_array_equal(order, stepwise_order(values, [make_codes(values)], 3))


@pytest.mark.parametrize("kind", ["codes", "numbers"])
def test_cells_without_a_label_do_not_count(kind):
    values = make_values()
    labels = make_codes(values) if kind == "codes" else make_target(values)
    missing = np.random.default_rng(3).random(len(values)) < 0.3
    labels[missing] = -1 if kind == "codes" else np.nan
    strange = np.where(missing[:, None], np.float32(50), values)
    np.testing.assert_array_equal(
        stepwise_order(strange, [labels], 6),
        stepwise_order(values[~missing], [labels[~missing]], 6),
    )


def test_tasks_and_genes_may_come_in_any_order():
    values = make_values()
    labels = TASKS["three tasks"](values)
    order = stepwise_order(values, labels, 6)
    np.testing.assert_array_equal(stepwise_order(values, labels[::-1], 6), order)
    permutation = np.random.default_rng(0).permutation(8)
    np.testing.assert_array_equal(
        permutation[stepwise_order(values[:, permutation], labels, 6)], order
    )


def test_units_of_a_target_do_not_matter():
    values = make_values()
    target = make_target(values)
    order = stepwise_order(values, [target], 6)
    for other in (target * 1e-4, target * -1e5, target + 1e4):
        np.testing.assert_array_equal(stepwise_order(values, [other], 6), order)


def test_copies_of_a_chosen_gene_come_last():
    """Genes 8 to 10 repeat the best gene, and would be the best of all if seen alone."""
    values = make_values()
    codes = make_codes(values)
    best = stepwise_order(values, [codes], 1)[0]
    rng = np.random.default_rng(0)
    copies = values[:, [best] * 3] + rng.normal(0, 1e-3, (len(values), 3)).astype(np.float32)
    together = np.hstack([values, copies])
    order = stepwise_order(together, [codes], 5).tolist()
    assert len({best, 8, 9, 10} & set(order)) == 1


def test_a_gene_for_each_task():
    """Two genes, each for a task of its own, are chosen before further genes for one of them."""
    rng = np.random.default_rng(0)
    first, second = rng.integers(2, size=(2, 400))
    values = rng.normal(size=(400, 12)).astype(np.float32)
    values[:, :4] += 3 * first[:, None]
    values[:, 7] += 3 * second
    values = (values - values.mean(axis=0)) / values.std(axis=0)
    order = stepwise_order(values, [first, second], 2)
    assert {7} < set(order)
    assert len(set(order) & {0, 1, 2, 3}) == 1


@tasks
def test_constant_genes_come_last(make_labels):
    values = make_values()
    labels = make_labels(values)
    with_constant = np.insert(values, 2, 0, axis=1)
    order = stepwise_order(with_constant, labels, 8)
    assert 2 not in order


def test_more_genes_than_cells():
    rng = np.random.default_rng(0)
    codes = np.repeat([0, 1, 2], 8)
    values = rng.normal(size=(24, 60)).astype(np.float32)
    values[:, 10] += 4 * codes
    values = (values - values.mean(axis=0)) / values.std(axis=0)
    order = stepwise_order(values, [codes], 60)
    assert order[0] == 10
    assert sorted(order) == list(range(60))


def test_inputs_are_not_changed():
    values = make_values()
    labels = TASKS["three tasks"](values)
    copies = [values.copy(), *(task.copy() for task in labels)]
    stepwise_order(values, labels, 4)
    for array, copy in zip([values, *labels], copies, strict=True):
        np.testing.assert_array_equal(array, copy)


@pytest.mark.parametrize("factor", [0.0, 1e-3, 1e3])
def test_weights_are_factors_of_the_gains(factor):
    values = make_values()
    labels = [make_codes(values)]
    first = stepwise_order(values, labels, 1)[0]
    weights = np.ones(8)
    np.testing.assert_array_equal(
        stepwise_order(values, labels, 5, weights=weights), stepwise_order(values, labels, 5)
    )
    weights[first] = factor
    order = stepwise_order(values, labels, 8, weights=weights)
    assert (order[0] == first) == (factor > 1)
    assert sorted(order) == list(range(8))
    if factor == 0:
        assert order[-1] == first


def test_required_genes_come_first_whatever_they_weigh():
    values = make_values()
    required = np.arange(8) == 6
    order = stepwise_order(
        values, [make_codes(values)], 3, required=required, weights=np.where(required, 0.0, 9.0)
    )
    assert order[0] == 6
