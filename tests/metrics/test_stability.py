"""Agreement of panels: against sets, closed forms and random panels."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from sklearn.metrics import jaccard_score

from yoto_sc.metrics import jaccard_index, kuncheva_index


def random_panels(n_panels, n_genes, size, seed=0):
    rng = np.random.default_rng(seed)
    panels = np.zeros((n_panels, n_genes), dtype=bool)
    for panel in panels:
        panel[rng.choice(n_genes, size, replace=False)] = True
    return panels


def test_jaccard_agrees_with_sklearn():
    panels = random_panels(6, 40, 10)
    index = jaccard_index(panels)
    for i, j in itertools.product(range(6), repeat=2):
        assert index[i, j] == pytest.approx(jaccard_score(panels[i], panels[j]))


def test_kuncheva_agrees_with_sets():
    panels = random_panels(6, 40, 10)
    index = kuncheva_index(panels)
    for i, j in itertools.product(range(6), repeat=2):
        a, b = (set(np.flatnonzero(panels[k])) for k in (i, j))
        k, n, r = 10, 40, len(a & b)
        assert index[i, j] == pytest.approx((r * n - k**2) / (k * (n - k)))


def test_extremes():
    equal = np.array([[True, True, False, False]] * 2)
    apart = np.array([[True, True, False, False], [False, False, True, True]])
    assert (jaccard_index(equal) == 1).all()
    assert (kuncheva_index(equal) == 1).all()
    assert jaccard_index(apart)[0, 1] == 0
    assert kuncheva_index(apart)[0, 1] == -1


def test_kuncheva_of_random_panels_is_0_whatever_their_size():
    for size in (2, 10, 30):
        index = kuncheva_index(random_panels(200, 40, size, seed=size))
        assert abs(index[np.triu_indices(200, k=1)].mean()) < 0.02


def test_jaccard_of_panels_of_different_sizes():
    assert jaccard_index([[True, True, True], [True, False, False]])[0, 1] == pytest.approx(1 / 3)


@pytest.mark.parametrize("fill", [False, True])
def test_kuncheva_is_undefined_without_a_choice(fill):
    assert np.isnan(kuncheva_index(np.full((2, 3), fill))).all()


def test_jaccard_of_empty_panels_is_undefined():
    assert np.isnan(jaccard_index(np.zeros((2, 3), dtype=bool))).all()


@pytest.mark.parametrize("index", [jaccard_index, kuncheva_index])
@pytest.mark.parametrize("panels", [[True, False], [[0, 1], [1, 0]], [["a", "b"]]])
def test_refuses_what_is_no_boolean_matrix(index, panels):
    with pytest.raises(ValueError, match="must be boolean"):
        index(panels)


def test_kuncheva_refuses_different_sizes():
    with pytest.raises(ValueError, match=r"sizes \[1, 2\]"):
        kuncheva_index([[True, True, False], [True, False, False]])
