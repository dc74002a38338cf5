"""The soft masks against the hard one, brute force and finite differences."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import brentq
from scipy.special import expit, softmax
from torch.utils._python_dispatch import TorchDispatchMode

from yoto_sc.nn import hard_top_k, plackett_luce_top_k, threshold_top_k
from yoto_sc.nn._relaxations import RELAXATIONS

both = pytest.mark.parametrize("relaxation", [threshold_top_k, plackett_luce_top_k])
sizes = pytest.mark.parametrize(("n_vars", "k"), [(2, 1), (9, 1), (9, 4), (9, 8), (300, 32)])


def make_scores(n_vars=9, seed=0, batch=(), dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*batch, n_vars, generator=generator, dtype=dtype)


def numpy_top_k(scores, k):
    """Mark the k largest, one after the other, of equal ones the first."""
    mask, left = np.zeros(len(scores)), np.array(scores, dtype=float)
    for _ in range(k):
        best = int(left.argmax())
        mask[best], left[best] = 1, -np.inf
    return mask


def test_registry_names_the_functions():
    assert sorted(RELAXATIONS) == ["plackett_luce", "threshold"]
    assert RELAXATIONS["threshold"] is threshold_top_k
    assert RELAXATIONS["plackett_luce"] is plackett_luce_top_k


# --- the hard function ---


@pytest.mark.parametrize("k", [0, 1, 4, 9])
@pytest.mark.parametrize("ties", [False, True])
def test_hard_top_k_matches_brute_force(k, ties):
    scores = make_scores(batch=(3, 2))
    scores = scores.round() if ties else scores
    got = hard_top_k(scores, k)
    assert got.shape == scores.shape
    assert got.dtype == scores.dtype
    for row, mask in zip(scores.reshape(-1, 9), got.reshape(-1, 9), strict=True):
        np.testing.assert_array_equal(mask.numpy(), numpy_top_k(row.numpy(), k))


def test_hard_top_k_takes_the_first_of_equal_scores():
    assert hard_top_k(torch.tensor([1.0, 2, 1, 1, 2]), 3).tolist() == [1, 1, 0, 0, 1]
    assert hard_top_k(torch.zeros(4), 2).tolist() == [1, 1, 0, 0]


# --- what both relaxations share ---


@both
@sizes
@pytest.mark.parametrize("temperature", [0.01, 0.3, 5.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_mask_lies_between_0_and_1(relaxation, n_vars, k, temperature, dtype):
    mask = relaxation(make_scores(n_vars, dtype=dtype), k, temperature)
    assert mask.dtype == dtype
    assert mask.shape == (n_vars,)
    assert (mask >= 0).all()
    assert (mask <= 1).all()


@both
@sizes
def test_low_temperature_gives_the_hard_mask(relaxation, n_vars, k):
    scores = make_scores(n_vars, batch=(4,))
    gaps = scores.sort(-1).values.diff(dim=-1).min()
    mask = relaxation(scores, k, float(gaps) / 60)
    torch.testing.assert_close(mask, hard_top_k(scores, k), atol=1e-9, rtol=0)


@both
def test_lower_temperature_is_closer_to_the_hard_mask(relaxation):
    scores = make_scores(50)
    distances = [
        (relaxation(scores, 7, tau) - hard_top_k(scores, 7)).abs().sum()
        for tau in (3.0, 1.0, 0.3, 0.1, 0.03, 0.01)
    ]
    assert all(b < a for a, b in zip(distances, distances[1:], strict=False))


@both
@sizes
def test_permuted_scores_give_the_permuted_mask(relaxation, n_vars, k):
    scores = make_scores(n_vars)
    permutation = torch.randperm(n_vars, generator=torch.Generator().manual_seed(1))
    got = relaxation(scores[permutation], k, 0.5)
    torch.testing.assert_close(got, relaxation(scores, k, 0.5)[permutation])


@both
def test_shifted_scores_give_the_same_mask(relaxation):
    scores = make_scores()
    torch.testing.assert_close(relaxation(scores + 7, 3, 0.5), relaxation(scores, 3, 0.5))


@both
def test_scores_and_temperature_share_their_unit(relaxation):
    scores = make_scores()
    torch.testing.assert_close(relaxation(scores * 10, 3, 5.0), relaxation(scores, 3, 0.5))


@both
def test_higher_scores_get_no_less(relaxation):
    scores = make_scores(40).sort(descending=True).values
    if relaxation is plackett_luce_top_k:  # rows are spread evenly around their own score
        scores = scores * 3
    mask = relaxation(scores, 1, 0.5)
    assert (mask.diff() <= 1e-12).all()


@both
def test_equal_scores_share_equally(relaxation):
    mask = relaxation(torch.zeros(8, dtype=torch.float64), 2, 0.1)
    torch.testing.assert_close(mask, torch.full_like(mask, 0.25))
    pair = relaxation(torch.tensor([5.0, 1, 1, -9], dtype=torch.float64), 2, 0.05)
    torch.testing.assert_close(pair[1], pair[2], atol=1e-12, rtol=0)


@both
def test_all_genes(relaxation):
    assert relaxation(make_scores(5), 5, 0.3).tolist() == [1] * 5
    assert relaxation(make_scores(1), 1, 0.3).tolist() == [1]


@both
@pytest.mark.parametrize("k", [1, 3, 6])
def test_gradient_matches_finite_differences(relaxation, k):
    scores = make_scores(7, batch=(2,)).mul(2).requires_grad_()
    assert torch.autograd.gradcheck(lambda s: relaxation(s, k, 0.7), scores, atol=1e-6)


@both
def test_rows_of_a_batch_are_independent(relaxation):
    scores = make_scores(batch=(3,)).requires_grad_()
    mask = relaxation(scores, 4, 0.5)
    for row in range(3):
        torch.testing.assert_close(mask[row], relaxation(scores[row], 4, 0.5))
    (mask[0] * torch.arange(9)).sum().backward()
    assert scores.grad[0].any()
    assert not scores.grad[1:].any()


@both
@pytest.mark.parametrize("temperature", [1e-6, 1e-3, 1e3])
def test_gradient_stays_finite_at_extreme_temperatures(relaxation, temperature):
    scores = make_scores(30, dtype=torch.float32).requires_grad_()
    (relaxation(scores, 5, temperature) * torch.arange(30)).sum().backward()
    assert scores.grad.isfinite().all()


# --- threshold ---


@sizes
@pytest.mark.parametrize("temperature", [0.02, 0.3, 5.0])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.float64, 1e-10)])
def test_threshold_sums_to_k(n_vars, k, temperature, dtype, tolerance):
    mask = threshold_top_k(make_scores(n_vars, batch=(3,), dtype=dtype), k, temperature)
    torch.testing.assert_close(
        mask.sum(-1), torch.full((3,), k, dtype=dtype), atol=tolerance * n_vars, rtol=0
    )


def test_threshold_sums_to_k_with_ties():
    mask = threshold_top_k(torch.tensor([1.0, 1, 1, 0, 0], dtype=torch.float64), 2, 0.01)
    torch.testing.assert_close(mask, torch.tensor([2, 2, 2, 0, 0], dtype=torch.float64) / 3)


@pytest.mark.parametrize("temperature", [0.1, 1.0, 4.0])
@pytest.mark.parametrize("k", [1, 13, 39])
def test_threshold_matches_scipys_root(temperature, k):
    scores = make_scores(40).numpy()
    theta = brentq(
        lambda t: expit((scores - t) / temperature).sum() - k, -500, 500, xtol=1e-14, rtol=1e-15
    )
    np.testing.assert_allclose(
        threshold_top_k(torch.from_numpy(scores), k, temperature),
        expit((scores - theta) / temperature),
        atol=1e-10,
    )


def test_threshold_gradient_matches_the_jacobian_in_closed_form():
    scores = make_scores(6)
    p = threshold_top_k(scores, 2, 0.8)
    v = p * (1 - p) / 0.8
    expected = torch.diag(v) - torch.outer(v, v) / v.sum()
    got = torch.autograd.functional.jacobian(lambda s: threshold_top_k(s, 2, 0.8), scores)
    torch.testing.assert_close(got, expected)
    torch.testing.assert_close(got.sum(0), torch.zeros(6, dtype=got.dtype))  # the sum stays k


class _LargestTensor(TorchDispatchMode):
    """Remember the most elements that any operation returned."""

    numel = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        tensors = out if isinstance(out, tuple | list) else [out]
        self.numel = max([self.numel, *(x.numel() for x in tensors if torch.is_tensor(x))])
        return out


def largest_tensor(relaxation, n_vars, k):
    scores = make_scores(n_vars).requires_grad_()
    with _LargestTensor() as largest:
        (relaxation(scores, k, 0.5) * scores.detach()).sum().backward()
    return largest.numel


def test_threshold_needs_memory_linear_in_the_number_of_genes():
    assert largest_tensor(threshold_top_k, 2000, 64) == 2000


def test_plackett_luce_forms_k_rows_only():
    assert largest_tensor(plackett_luce_top_k, 2000, 64) == 64 * 2000


# --- Plackett-Luce ---


def softsort(scores, temperature):
    """All rows of SoftSort, in numpy."""
    ordered = np.sort(scores)[::-1]
    return softmax(-np.abs(ordered[:, None] - scores[None, :]) / temperature, axis=1)


@sizes
@pytest.mark.parametrize("temperature", [0.05, 0.5, 5.0])
def test_plackett_luce_matches_the_rows_of_softsort(n_vars, k, temperature):
    scores = make_scores(n_vars).numpy()
    expected = np.minimum(1, softsort(scores, temperature)[:k].sum(axis=0))
    got = plackett_luce_top_k(torch.from_numpy(scores), k, temperature)
    np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-15)


@sizes
def test_plackett_luce_sums_to_k_where_nothing_is_clipped(n_vars, k):
    scores = make_scores(n_vars)
    for temperature in (0.05, 0.5, 5.0):
        total = plackett_luce_top_k(scores, k, temperature).sum()
        assert total <= k + 1e-9
        if (softsort(scores.numpy(), temperature)[:k].sum(axis=0) <= 1).all():
            assert total == pytest.approx(k)
    tiny = float(scores.sort().values.diff().min()) / 60
    assert plackett_luce_top_k(scores, k, tiny).sum() == pytest.approx(k)
