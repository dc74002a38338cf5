"""A recipe refuses what cannot be trained with."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import pytest

from yoto_sc.nn import Annealing
from yoto_sc.train import Recipe

ANNEALING = Annealing(8, 4)


def test_defaults_will_do():
    recipe = Recipe(ANNEALING)
    assert recipe.annealing is ANNEALING
    assert not recipe.trainer_kwargs
    with pytest.raises(FrozenInstanceError):
        recipe.lr = 1.0


@pytest.mark.parametrize("devices", ["auto", 1, "1", [0], [3]])
def test_one_device(devices):
    assert Recipe(ANNEALING, devices=devices).devices == devices


@pytest.mark.parametrize(
    ("given", "error", "match"),
    [
        ({"max_steps": 0}, ValueError, "max_steps must be at least 1, not 0"),
        ({"max_steps": 1.5}, TypeError, "max_steps must be an integer"),
        ({"batch_size": 0}, ValueError, "batch_size must be at least 1"),
        ({"batch_size": True}, TypeError, "batch_size must be an integer"),
        ({"selection_network": "deep"}, ValueError, r"\('linear', 'encoder'\), not 'deep'"),
        ({"unlabeled_cells": "all"}, ValueError, r"\('auto', 'use', 'ignore'\), not 'all'"),
        ({"keep_factor": 0.9}, ValueError, "keep_factor must be at least 1, not 0.9"),
        ({"keep_factor": float("nan")}, ValueError, "keep_factor must be at least 1"),
        ({"devices": 2}, ValueError, "devices must name one device, not 2"),
        ({"devices": [0, 1]}, ValueError, "devices must name one device"),
        ({"devices": -1}, ValueError, "devices must name one device"),
        ({"devices": []}, ValueError, "devices must name one device"),
    ],
)
def test_bad_values(given, error, match):
    with pytest.raises(error, match=match):
        Recipe(ANNEALING, **given)
