"""Temperatures against scikit-learn, and what they do to a trained model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from yoto_sc.metrics import fit_temperature
from yoto_sc.nn import narrow
from yoto_sc.train._temperature import calibrate, copy_temperatures

if TYPE_CHECKING:
    from collections.abc import Callable

    from anndata import AnnData

    from yoto_sc._problem import Problem
    from yoto_sc.train import YOTOModule


def make_predictions(n_obs: int, temperature: float, seed: int = 0) -> Any:
    """Probabilities that are true after division of their logits by `temperature`."""
    rng = np.random.default_rng(seed)
    logits = 2 * rng.standard_normal((n_obs, 4))
    proba = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    true = np.exp(logits / temperature) / np.exp(logits / temperature).sum(1, keepdims=True)
    labels = np.array([rng.choice(4, p=row) for row in true])
    return proba, labels


@pytest.mark.parametrize("temperature", [0.6, 1.0, 2.0])
def test_finds_the_temperature(temperature):
    found = fit_temperature(*make_predictions(4000, temperature))
    assert found == pytest.approx(temperature, rel=0.1)


def test_is_the_slope_of_a_logistic_regression():
    """For two classes, 1 / T is the slope of a logistic regression on the logit."""
    proba, labels = make_predictions(3000, 1.7)
    two = labels < 2
    proba, labels = proba[two, :2] / proba[two, :2].sum(1, keepdims=True), labels[two]
    logit = np.log(proba[:, [1]] / proba[:, [0]])
    slope = LogisticRegression(C=1e9, fit_intercept=False).fit(logit, labels).coef_.item()
    assert fit_temperature(proba, labels) == pytest.approx(1 / slope, rel=0.02)


def test_few_cells_move_it_little():
    proba = np.array([[0.6, 0.4]])
    assert fit_temperature(proba[:0], np.zeros(0, dtype=int)) == pytest.approx(1, abs=1e-3)
    one = fit_temperature(proba, np.array([0]))
    many = fit_temperature(proba.repeat(100, axis=0), np.zeros(100, dtype=int))
    assert 0.9 < one < 1
    assert many < 0.5


def test_impossible_labels_leave_it_finite():
    found = fit_temperature(np.array([[1.0, 0.0]] * 50), np.ones(50, dtype=int))
    assert 1 < found < 10


SIZES = [1, 2, 5, 9]


@pytest.fixture
def make_network(problem: Problem, make_module: Callable[..., YOTOModule]) -> Callable[[], Any]:
    """Make a network of 9 genes that is far too sure of itself, and its held-out cells."""

    def make() -> Any:
        module = make_module(problem)
        narrow(module, torch.arange(9))
        values = torch.from_numpy(problem.expression.take(None, np.arange(9)).toarray())
        with torch.no_grad():
            for head, labels in zip(module.heads, problem.labels, strict=True):
                head.weight.mul_(40)
                head.calibrate(torch.from_numpy(labels))
        return module, values, list(problem.labels)

    return make


@pytest.fixture
def network(make_network: Callable[[], Any]) -> Any:
    """Such a network, and its held-out cells."""
    return make_network()


def test_calibration_fits_a_temperature_to_every_size(network: Any) -> None:
    module, values, labels = network
    raw = {size: module.predict(values, size, calibrated=False)[0] for size in SIZES}
    calibrate(module, values, labels, SIZES)
    for position in (0, 1):
        temperature, seen = module.heads[position].temperature, labels[position] >= 0
        for size in SIZES:
            proba = raw[size][position].numpy()[seen]
            expected = fit_temperature(proba, labels[position][seen])
            assert float(temperature[size - 1]) == pytest.approx(expected, rel=1e-4)
        assert temperature[-1] > 1.5
    assert module.heads[2].temperature is None


def test_temperatures_between_sizes_are_log_linear(network: Any) -> None:
    module, values, labels = network
    calibrate(module, values, labels, SIZES)
    for head in module.heads[:2]:
        at = np.log(head.temperature.numpy().astype(float))
        sizes = np.log(np.arange(1, 10))
        for size in (3, 4, 6, 7, 8):
            low = max(s for s in SIZES if s < size) - 1
            high = min(s for s in SIZES if s > size) - 1
            share = (sizes[size - 1] - sizes[low]) / (sizes[high] - sizes[low])
            expected = at[low] + share * (at[high] - at[low])
            assert at[size - 1] == pytest.approx(expected, abs=1e-5)


def test_calibration_returns_what_the_calibrated_network_predicts(network: Any) -> None:
    module, values, labels = network
    returned = calibrate(module, values, labels, SIZES)
    assert list(returned) == SIZES
    for size, predictions in returned.items():
        expected = module.predict(values, size)[0]
        for ours, theirs in zip(predictions, expected, strict=True):
            assert isinstance(ours, np.ndarray)
            np.testing.assert_array_equal(ours, theirs.numpy())


def test_calibration_may_be_repeated(network: Any) -> None:
    """It starts from the raw predictions, whatever the temperatures are."""
    module, values, labels = network
    once = calibrate(module, values, labels, SIZES)
    again = calibrate(module, values, labels, SIZES)
    for size in SIZES:
        np.testing.assert_allclose(once[size][0], again[size][0], rtol=1e-3, atol=1e-6)


def test_classes_without_training_cells_are_left_out(make_network: Callable[[], Any]) -> None:
    temperatures = []
    for are_hidden in (False, True):
        module, values, labels = make_network()
        trained = np.where(labels[0] == 2, -1, labels[0])
        module.heads[0].calibrate(torch.from_numpy(trained))  # class 2 has no training cell
        calibrate(module, values, [trained if are_hidden else labels[0], *labels[1:]], SIZES)
        temperatures.append(module.heads[0].temperature)
    assert torch.equal(*temperatures)


def test_calibration_without_labels_changes_nothing(network: Any) -> None:
    module, values, labels = network
    none = [np.full_like(labels[0], -1), np.full_like(labels[1], -1), labels[2] * np.nan]
    calibrate(module, values, none, SIZES)
    np.testing.assert_allclose(module.heads[0].temperature, 1, atol=1e-3)


def test_temperatures_are_copied(
    problem: Problem, network: Any, make_module: Callable[..., YOTOModule]
) -> None:
    module, values, labels = network
    calibrate(module, values, labels, SIZES)
    other = make_module(problem, seed=1)
    narrow(other, torch.arange(9))
    weights = [parameter.clone() for parameter in other.parameters()]
    copy_temperatures(module, other)
    for ours, theirs in zip(other.heads[:2], module.heads[:2], strict=True):
        assert torch.equal(ours.temperature, theirs.temperature)
        assert ours.temperature is not theirs.temperature
    for before, after in zip(weights, other.parameters(), strict=True):
        assert torch.equal(before, after)


def test_trained_model_is_calibrated_at_every_size(adata: AnnData, model: Any) -> None:
    """Held-out cells find no better temperature than the one that was set."""
    cells = adata[model.validation_indices].copy()
    categories = list(model.tasks[0].categories)
    labels = np.array(
        [categories.index(x) if x in categories else -1 for x in cells.obs["task_0"]]
    )
    head = model.module.heads[0]
    assert head.temperature.shape == (6,)
    for size in sorted(set(model.path["n_genes"]) & set(range(1, 7))):
        proba = model.predict_proba(cells, n_genes=size)["task_0"].to_numpy(float)
        temperature = float(head.temperature[size - 1])
        raw = proba**temperature / (proba**temperature).sum(1, keepdims=True)
        assert fit_temperature(raw[labels >= 0], labels[labels >= 0]) == pytest.approx(
            temperature, rel=1e-3
        )


def test_without_held_out_cells_nothing_is_calibrated(
    adata: AnnData, train: Callable[..., Any]
) -> None:
    model = train(adata, train_kwargs={"validation_size": 0, "max_steps": 2})
    np.testing.assert_allclose(model.module.heads[0].temperature, 1, atol=1e-3)
