"""The mask is hard, the gradient is the relaxation's, and required genes are always in."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from yoto_sc.nn import Selector, hard_top_k, narrow
from yoto_sc.nn._relaxations import RELAXATIONS

both = pytest.mark.parametrize("relaxation", sorted(RELAXATIONS))


def make_selector(n_genes=12, relaxation="threshold", required=(), seed=0, scores=None):
    selector = Selector(n_genes, relaxation)
    with torch.no_grad():
        generator = torch.Generator().manual_seed(seed)
        scores = torch.randn(n_genes, generator=generator) if scores is None else scores
        selector.scores.copy_(torch.as_tensor(scores))
        selector.required[list(required)] = True
    return selector


@both
@pytest.mark.parametrize("required", [(), (0, 7)], ids=["free", "required"])
@pytest.mark.parametrize("noise", [0.0, 1.0])
def test_exactly_k_ones_and_nothing_else(relaxation, required, noise):
    """Bit for bit: a mask of 0.9999999 would let the network read the scores."""
    for seed in range(20):
        selector = make_selector(relaxation=relaxation, required=required, seed=seed)
        torch.manual_seed(seed)
        for k in range(max(1, len(required)), 13):
            for temperature in (0.03, 0.7, 20.0):
                mask = selector(k, temperature, noise)
                assert set(mask.tolist()) <= {0.0, 1.0}
                assert mask.sum() == k
                assert mask[list(required)].all()


@both
def test_without_noise_the_best_genes_are_in(relaxation):
    selector = make_selector(relaxation=relaxation)
    for k in range(1, 13):
        torch.testing.assert_close(
            selector(k, 0.5).detach(), hard_top_k(selector.scores.detach(), k), rtol=0, atol=0
        )


@both
def test_required_genes_take_places_from_the_worst(relaxation):
    scores = [5.0, 4, 3, 2, -9]
    selector = make_selector(5, relaxation, required=[4], scores=scores)
    assert selector(3, 0.5).tolist() == [1, 1, 0, 0, 1]


@both
@pytest.mark.parametrize("k", [1, 4, 11])
def test_gradient_is_the_relaxations(relaxation, k):
    selector = make_selector(relaxation=relaxation)
    weight = torch.linspace(-2, 3, 12).exp()
    (selector(k, 0.6) * weight).sum().backward()
    scores = selector.scores.detach().clone().requires_grad_()
    (RELAXATIONS[relaxation](scores, k, 0.6) * weight).sum().backward()
    torch.testing.assert_close(selector.scores.grad, scores.grad)
    assert scores.grad.abs().max() > 0


@both
def test_gradient_sees_free_genes_only(relaxation):
    selector = make_selector(relaxation=relaxation, required=[2, 3])
    free = torch.ones(12, dtype=torch.bool)
    free[[2, 3]] = False
    weight = torch.linspace(-2, 3, 12)
    (selector(6, 0.6) * weight).sum().backward()
    scores = selector.scores.detach()[free].clone().requires_grad_()
    (RELAXATIONS[relaxation](scores, 4, 0.6) * weight[free]).sum().backward()
    torch.testing.assert_close(selector.scores.grad[free], scores.grad)
    assert not selector.scores.grad[~free].any()


@both
def test_all_genes_and_only_required_ones(relaxation):
    selector = make_selector(4, relaxation, required=[1, 3])
    assert selector(4, 0.5).tolist() == [1, 1, 1, 1]
    assert selector(2, 0.5).tolist() == [0, 1, 0, 1]


def test_noise_comes_from_the_generator_that_is_given():
    selector = make_selector()
    before = torch.random.get_rng_state()
    draws = []
    for seed in (1, 1, 2):
        generator = torch.Generator().manual_seed(seed)
        draws.append([tuple(selector(4, 0.5, 2.0, generator).tolist()) for _ in range(10)])
    assert draws[0] == draws[1] != draws[2]
    assert torch.equal(torch.random.get_rng_state(), before)  # torch's own is left alone
    state = generator.get_state()
    selector(4, 0.5, 0.0, generator)
    assert torch.equal(generator.get_state(), state)  # no noise, no draw


def test_noise_comes_from_torchs_generator():
    selector = make_selector()
    draws = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        draws.append([tuple(selector(4, 0.5, noise=2.0).tolist()) for _ in range(10)])
    assert draws[0] == draws[1] != draws[2]
    state = torch.random.get_rng_state()
    selector(4, 0.5)
    assert torch.equal(torch.random.get_rng_state(), state)  # no noise, no draw


def test_noise_is_gumbel_noise():
    """The best of scores with Gumbel noise is a draw from their softmax."""
    scores = torch.tensor([1.0, 0.0, -1.0, 0.5])
    selector = make_selector(4, scores=scores * 2)
    torch.manual_seed(0)
    n_draws = 1000
    counts = sum(selector(1, 0.5, noise=2.0).detach() for _ in range(n_draws))
    expected = torch.softmax(scores, 0).numpy()
    error = 4 * np.sqrt(expected * (1 - expected) / n_draws)
    assert (np.abs(counts.numpy() / n_draws - expected) < error).all()


def test_order_puts_required_genes_first_then_by_score():
    selector = make_selector(6, required=[4, 1], scores=[0.0, -2, 3, 3, -1, 9])
    assert selector.order().tolist() == [4, 1, 5, 2, 3, 0]


def test_order_agrees_with_every_mask():
    selector = make_selector(30, required=[3, 5, 20])
    order = selector.order().tolist()
    assert sorted(order) == list(range(30))
    for k in range(3, 31):
        assert set(order[:k]) == set(np.flatnonzero(selector(k, 0.5).detach()))


def test_order_of_equal_scores_is_the_genes_own():
    assert make_selector(5, scores=torch.zeros(5)).order().tolist() == [0, 1, 2, 3, 4]


def test_narrowed_selector_goes_on_with_the_genes_kept():
    selector = make_selector(6, required=[4], scores=[0.0, 1, 2, 3, 4, 5])
    narrow(selector, torch.tensor([4, 0, 5]))
    assert selector.scores.tolist() == [4, 0, 5]
    assert selector.required.tolist() == [True, False, False]
    assert selector(2, 0.5).tolist() == [1, 0, 1]


def test_unknown_relaxation():
    with pytest.raises(ValueError, match=r"\['threshold', 'plackett_luce'\], not 'softmax'"):
        Selector(4, "softmax")
