from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from yoto_sc.metrics import nearest_neighbors, neighbor_overlap


def test_neighbors_match_brute_force():
    x = np.random.default_rng(0).normal(size=(80, 20))
    distance = cdist(x, x) + np.diag(np.full(80, np.inf))
    np.testing.assert_array_equal(nearest_neighbors(x, 7), np.argsort(distance, axis=1)[:, :7])


def test_a_cell_is_not_its_own_neighbor_among_equal_cells():
    found = nearest_neighbors(np.zeros((30, 3)), 5)
    assert not (found == np.arange(30)[:, None]).any()


def test_overlap_matches_sets():
    rng = np.random.default_rng(0)
    one, other = (np.array([rng.permutation(12)[:5] for _ in range(40)]) for _ in range(2))
    shares = [len(set(a) & set(b)) / 5 for a, b in zip(one, other, strict=True)]
    np.testing.assert_allclose(neighbor_overlap(one, other), np.mean(shares))
    assert neighbor_overlap(one, one[:, ::-1]) == 1


def test_overlap_by_chance():
    rng = np.random.default_rng(1)
    one, other = (nearest_neighbors(rng.normal(size=(600, 3)), 15) for _ in range(2))
    np.testing.assert_allclose(neighbor_overlap(one, other), 15 / 599, atol=0.01)


def test_shapes_must_match():
    with pytest.raises(ValueError, match=r"\(3, 2\) and \(3, 1\) differ"):
        neighbor_overlap(np.zeros((3, 2), int), np.zeros((3, 1), int))
