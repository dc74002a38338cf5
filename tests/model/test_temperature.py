"""Temperatures against scikit-learn, and what they do to a trained model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from yoto_sc.model._temperature import fit_temperature
from yoto_sc.nn import CategoricalHead

if TYPE_CHECKING:
    from collections.abc import Callable

    from anndata import AnnData


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


def test_head_raises_probabilities_to_a_power():
    head = CategoricalHead(3, 5, 2, 4)
    outputs = torch.randn(2, 6, 4, generator=torch.Generator().manual_seed(0))
    head.temperature.copy_(torch.tensor([0.5, 1.0, 4.0]))
    proba = head.predict(outputs)
    for n_genes, power in ((1, 2.0), (2, 1.0), (3, 0.25)):
        expected = proba**power / (proba**power).sum(1, keepdim=True)
        got = head.predict(outputs, n_genes)
        torch.testing.assert_close(got, expected)
        assert got.argmax(1).tolist() == proba.argmax(1).tolist()


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
