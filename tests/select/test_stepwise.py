"""Stepwise discriminant analysis against Wilks' lambda from numpy's determinants."""

from __future__ import annotations

import inspect
import itertools

import numpy as np
import pytest
from scipy.stats import f_oneway
from sklearn.linear_model import LinearRegression

from yoto_sc.select import stepwise_order

DEFAULTS = {
    name: parameter.default
    for name, parameter in inspect.signature(stepwise_order).parameters.items()
}
CLASSICAL = {"ridge": 1e-6, "class_weight_power": 0.0}
"""Options under which the criterion is the one of the textbooks."""


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


def scatters(values, labels, ridge, class_weight_power):
    """Total and within-class covariance on the scale of correlations, cell by cell."""
    if labels.dtype.kind == "f":
        seen = ~np.isnan(labels)
        x, y = values[seen].astype(float), labels[seen]
        weights = np.full(len(x), 1 / len(x))
        centre, within_centre = x.mean(axis=0), LinearRegression().fit(y[:, None], x).predict
        fitted = within_centre(y[:, None])
    else:
        seen = labels >= 0
        x, y = values[seen].astype(float), labels[seen]
        weights = np.array([(y == code).sum() ** -class_weight_power for code in y])
        weights /= weights.sum()
        centre = np.average(x, axis=0, weights=weights)
        fitted = np.array([x[y == code].mean(axis=0) for code in y])
    total = np.einsum("o,oi,oj->ij", weights, x - centre, x - centre)
    within = np.einsum("o,oi,oj->ij", weights, x - fitted, x - fitted)
    scale = np.sqrt(np.outer(np.diag(total), np.diag(total)))
    eye = ridge * np.eye(len(total))
    return total / scale + eye, within / scale + eye


def log_wilks(values, labels, genes, **options):
    """Sum over tasks of the log of Wilks' lambda of some genes; the smaller, the better."""
    genes = list(genes)
    if not genes:
        return 0.0
    out = 0.0
    for task in labels:
        total, within = (m[np.ix_(genes, genes)] for m in scatters(values, task, **options))
        out += np.log(np.linalg.det(within)) - np.log(np.linalg.det(total))
    return out


def assert_greedy(order, values, labels, required=(), tolerance=1e-3, **options):
    """Every step takes the gene that lowers lambda most, up to rounding in float32."""
    assert len(set(order)) == len(order)
    for step, chosen in enumerate(order):
        before = list(order[:step])
        left = [j for j in range(values.shape[1]) if j not in before]
        left = [j for j in left if j in required] or left
        after = {j: log_wilks(values, labels, [*before, j], **options) for j in left}
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
def test_classical_order_matches_wilks_lambda(make_labels, seed):
    values = make_values(seed=seed)
    labels = make_labels(values)
    order = stepwise_order(values, labels, 5, **CLASSICAL)
    assert_greedy(order, values, labels, **CLASSICAL)


@tasks
@pytest.mark.parametrize("ridge", [DEFAULTS["ridge"], 0.3])
@pytest.mark.parametrize("power", [DEFAULTS["class_weight_power"], 1.0])
def test_order_matches_weighted_and_ridged_lambda(make_labels, ridge, power):
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


def test_first_gene_has_the_largest_f_statistic():
    for seed in range(5):
        values = make_values(seed=seed)
        codes = make_codes(values, seed=seed)
        statistic = f_oneway(*(values[codes == code] for code in np.unique(codes))).statistic
        assert stepwise_order(values, [codes], 1, **CLASSICAL)[0] == statistic.argmax()


def test_greedy_is_near_the_best_subset_of_a_small_problem():
    values = make_values(n_vars=6)
    labels = [make_codes(values)]
    order = stepwise_order(values, labels, 3, **CLASSICAL)
    every = [
        log_wilks(values, labels, genes, **CLASSICAL)
        for genes in itertools.combinations(range(6), 3)
    ]
    assert sorted(every).index(log_wilks(values, labels, sorted(order), **CLASSICAL)) < 4


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
