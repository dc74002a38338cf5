"""The default with one part left out or exchanged, to tell what that part is worth.

All of them, the default too, are trained once, without the held-out tenth to fifth of the training
cells: the second training repeats the first, and would double the time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from methods import yoto
from yoto_sc.nn import Annealing

if TYPE_CHECKING:
    from methods.base import Fitted, Training


def fit(training: Training, k: int, seed: int, *, variant: str) -> Fitted:
    """Select `k` genes."""
    changes = _changes(variant, k)
    train_kwargs = {"refit": False, **changes.pop("train_kwargs", {})}
    return yoto.fit(training, k, seed, train_kwargs=train_kwargs, **changes)


def _changes(variant: str, k: int) -> dict[str, Any]:
    """Return the arguments that make the variant."""
    match variant:
        case "default":
            return {}
        case "start_only":  # the scores stay as the stepwise order left them
            return _plan(score_lr=0.0)
        case "fast_scores":
            return _plan(score_lr=5e-3)
        case "fixed_size":
            return {"train_kwargs": {"annealing": Annealing(k, k)}}
        case "one_member":
            return {"model_kwargs": {"n_members": 1}}
        case "encoder_selects":
            return _plan(selection_network="encoder")
        case "plackett_luce":  # with its noise
            return {"model_kwargs": {"relaxation": "plackett_luce"}}
        case "whole_panel":  # refined on the whole panel only, not on prefixes of it
            return _plan(full_panel_share=1.0)
        case "little_decay":
            return _plan(weight_decay=0.03)
        case "narrow_encoder":
            return {"model_kwargs": {"n_hidden": 16}}
        case "cells_alike":
            return {"model_kwargs": {"class_weight_power": 0.0}}
        case "half_the_steps":
            return {"max_steps": 1000}
        case "twice_the_steps":
            return {"max_steps": 4000}
        case _:
            raise ValueError(f"There is no variant {variant!r}.")


def _plan(**changes: Any) -> dict[str, Any]:
    return {"train_kwargs": {"plan_kwargs": changes}}
