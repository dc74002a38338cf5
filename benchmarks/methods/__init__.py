"""The methods by name. A module is imported only when its method is used."""

from __future__ import annotations

import importlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from methods.base import Fitted

if TYPE_CHECKING:
    from methods.base import Training


@dataclass(frozen=True)
class Method:
    """How a method is run.

    Parameters
    ----------
    module
        Module of this package, with ``select`` or ``fit``.
    nested
        It ranks, so that its smaller panels are the beginnings of a larger one: it is run once,
        at the largest size, and every size is charged with the time of that run.
    size
        Largest size for a nested method, whatever sizes are asked for.
    options
        Passed to ``select`` or ``fit``.
    """

    module: str
    nested: bool = False
    size: int | None = None
    options: dict[str, Any] = field(default_factory=dict)

    def fit(self, training: Training, k: int, seed: int) -> Fitted:
        """Select `k` genes."""
        module = importlib.import_module(f"methods.{self.module}")
        if hasattr(module, "fit"):
            return module.fit(training, k, seed, **self.options)
        return Fitted(module.select(training, k, seed, **self.options))


_VARIANTS = (
    "default",
    "start_only",
    "fast_scores",
    "fixed_size",
    "one_member",
    "encoder_selects",
    "plackett_luce",
    "whole_panel",
    "little_decay",
    "narrow_encoder",
    "cells_alike",
    "half_the_steps",
    "twice_the_steps",
)
METHODS = {
    "random": Method("random_genes", nested=True),
    "highly_variable": Method("highly_variable", nested=True),
    "wilcoxon": Method("markers", nested=True, options={"test": "wilcoxon"}),
    "t_test": Method("markers", nested=True, options={"test": "t-test"}),
    "l1_logistic": Method("l1_logistic"),
    "forest": Method("forest_importance", nested=True),
    "stepwise": Method("stepwise_discriminant", nested=True),
    "yoto": Method("yoto"),
    "yoto_prefix64": Method("yoto", nested=True, size=64),
    "yoto_published": Method("yoto_published"),
    "spapros": Method("external", options={"name": "spapros"}),
    "markermap": Method("external", options={"name": "markermap"}),
    "lassonet": Method("external", nested=True, options={"name": "lassonet"}),
    "nsforest": Method("external", nested=True, options={"name": "nsforest"}),
    "activesvc": Method("external", nested=True, options={"name": "activesvc"}),
    **{f"variant_{v}": Method("yoto_variants", options={"variant": v}) for v in _VARIANTS},
}
COMPETITORS = tuple(name for name, method in METHODS.items() if method.module == "external")
"""Each needs an environment of its own, made by ``competitors/install.sh``."""
VARIANTS = tuple(f"variant_{variant}" for variant in _VARIANTS)
"""Of our own method, to tell what its parts are worth."""
