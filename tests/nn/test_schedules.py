"""Schedules are pure functions of the progress; their values are known in closed form."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yoto_sc.nn import Annealing, Geometric, Linear

PROGRESS = np.linspace(0, 1, 401)


def make_annealing(n_start=500, n_genes=20, **kwargs):
    return Annealing(n_start, n_genes, **kwargs)


def test_geometric_is_numpys_geomspace():
    schedule = Geometric(200, 5)
    np.testing.assert_allclose(
        [schedule(t) for t in np.linspace(0, 1, 11)], np.geomspace(200, 5, 11)
    )


def test_linear_is_numpys_linspace():
    schedule = Linear(-1, 3)
    np.testing.assert_allclose(
        [schedule(t) for t in np.linspace(0, 1, 11)], np.linspace(-1, 3, 11)
    )


@pytest.mark.parametrize("schedule", [Geometric(8, 2), Linear(8, 2)])
def test_schedules_hold_their_ends(schedule):
    assert schedule(-5) == schedule(0) == 8
    assert schedule(1) == schedule(7) == 2


@pytest.mark.parametrize("ends", [(0, 1), (1, 0), (-1, 2)])
def test_geometric_needs_positive_ends(ends):
    with pytest.raises(ValueError, match="positive ends"):
        Geometric(*ends)


@pytest.mark.parametrize("schedule", [Geometric(2, 1), Linear(0, 1), Annealing(2, 1)])
def test_schedules_are_frozen(schedule):
    field = dataclasses.fields(schedule)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(schedule, field, 3)
    assert schedule == dataclasses.replace(schedule)


def test_size_meets_every_milestone():
    annealing = make_annealing(warmup=0.1, shrunk=0.5, selected=0.7)
    assert annealing.size(0) == annealing.size(0.1) == 500
    assert annealing.size(0.3) == round(math.sqrt(500 * 20))  # half-way, geometrically
    assert annealing.size(0.2) == round(500**0.75 * 20**0.25)
    assert annealing.size(0.5) == annealing.size(0.6) == annealing.size(1) == 20


sizes = st.integers(1, 3000).flatmap(lambda n: st.tuples(st.just(n), st.integers(1, n)))
shares = st.lists(st.floats(0, 0.99), min_size=3, max_size=3, unique=True).map(sorted)


@settings(deadline=None, max_examples=50, derandomize=True)
@given(sizes=sizes, shares=shares)
def test_size_only_shrinks_and_ends_at_the_panel(sizes, shares):
    n_start, n_genes = sizes
    annealing = Annealing(n_start, n_genes, *shares)
    course = [annealing.size(t) for t in np.linspace(0, 1, 60)]
    assert all(isinstance(size, int) for size in course)
    assert course == sorted(course, reverse=True)
    assert course[0] == n_start
    assert course[-1] == annealing.size(annealing.selected) == n_genes


def test_a_mask_of_fixed_size_as_in_the_paper():
    annealing = Annealing(20, 20)
    assert {annealing.size(t) for t in PROGRESS} == {20}


def test_the_panel_is_final_after_its_share_of_the_training():
    annealing = make_annealing(warmup=0.1, shrunk=0.5, selected=0.7)
    assert [annealing.is_selecting(t) for t in (0, 0.5, 0.699, 0.7, 1)] == [True] * 3 + [False] * 2


def test_temperature_and_noise_stay_at_their_end_once_shrunk():
    annealing = make_annealing(shrunk=0.5, temperature=Geometric(2.0, 0.5), noise=Linear(0.4, 0.0))
    assert annealing.temperature_at(0) == 2
    assert annealing.temperature_at(0.25) == pytest.approx(1)
    assert annealing.temperature_at(0.5) == annealing.temperature_at(0.9) == 0.5
    assert annealing.noise_at(0) == 0.4
    assert annealing.noise_at(0.25) == pytest.approx(0.2)
    assert annealing.noise_at(0.5) == annealing.noise_at(1) == 0


def test_learning_rate_is_full_until_refinement_and_then_a_cosine():
    annealing = make_annealing(shrunk=0.4, selected=0.6)
    factors = [annealing.lr_factor(t) for t in PROGRESS]
    assert all(f == 1 for f, t in zip(factors, PROGRESS, strict=True) if t <= 0.6)
    assert annealing.lr_factor(0.8) == pytest.approx(0.5)
    assert annealing.lr_factor(0.7) == pytest.approx((1 + math.cos(math.pi / 4)) / 2)
    assert factors[-1] == pytest.approx(0)
    assert factors == sorted(factors, reverse=True)


@pytest.mark.parametrize("sizes", [(5, 0), (5, -1), (5, 6), (0, 0)])
def test_impossible_sizes(sizes):
    with pytest.raises(ValueError, match="1 <= n_genes <= n_start"):
        Annealing(*sizes)


@pytest.mark.parametrize(
    ("shares"), [(-0.1, 0.5, 0.6), (0.5, 0.5, 0.6), (0.0, 0.7, 0.6), (0.0, 0.5, 1.0)]
)
def test_shares_out_of_order(shares):
    with pytest.raises(ValueError, match="0 <= warmup < shrunk <= selected < 1"):
        Annealing(5, 2, *shares)
