"""From the arguments of `tl.select` to trained models."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Literal, get_args

from yoto_sc._checks import check_integer, check_no_repeats
from yoto_sc._progress import progress
from yoto_sc.assay import check_robust
from yoto_sc.judge import MAX_CELLS
from yoto_sc.rules import Requirements, check_n_genes
from yoto_sc.teach import UnlabeledCells

if TYPE_CHECKING:
    from collections.abc import Mapping

    from yoto_sc._problem import Problem
    from yoto_sc.assay import Robust
    from yoto_sc.model import YOTO


@dataclass(frozen=True)
class Request:
    """How a model is to be made and trained; the fields are arguments of `tl.select`.

    Raises
    ------
    TypeError
        Further arguments repeat others.
    ValueError
        `robust`, `unlabeled_cells`, `max_cells` or `random_state` is out of range.
    """

    n_genes: int | Literal["auto"]
    random_state: int = 0
    robust: Robust | Literal["auto"] | None = "auto"
    unlabeled_cells: UnlabeledCells = "auto"
    max_cells: int | None = MAX_CELLS
    max_steps: int | None = None
    accelerator: str = "auto"
    devices: int | list[int] | str = "auto"
    progress_bar: bool = True
    model_kwargs: Mapping[str, Any] | None = field(default_factory=dict)
    train_kwargs: Mapping[str, Any] | None = field(default_factory=dict)

    def __post_init__(self) -> None:
        rules = [field.name for field in fields(Requirements)]
        check_no_repeats("model_kwargs", self.model_kwargs, ["n_genes", *rules, "random_state"])
        named = ["max_steps", "accelerator", "devices", "progress_bar"]
        check_no_repeats("train_kwargs", self.train_kwargs, named)
        check_robust(self.robust)
        if self.unlabeled_cells not in get_args(UnlabeledCells):
            raise ValueError(
                f"unlabeled_cells must be one of {get_args(UnlabeledCells)}, not "
                f"{self.unlabeled_cells!r}."
            )
        check_integer(self.random_state, "random_state", minimum=0)
        if self.max_cells is not None:
            check_integer(self.max_cells, "max_cells", minimum=1000)

    def check(self, problem: Problem) -> None:
        """Refuse a problem that cannot be trained on as asked.

        Raises
        ------
        TypeError
            `n_genes` is no number of genes.
        ValueError
            No panel of `n_genes` follows the rules, or counts are needed and there are none.
        """
        check_n_genes(self.n_genes, problem.rules)
        if self.robust not in (None, "auto"):
            problem.expression.require_counts(f'robust="{self.robust}"')

    def train(self, problem: Problem, **more: Any) -> YOTO:
        """Train a model.

        Parameters
        ----------
        **more
            Arguments of :meth:`yoto_sc.model.YOTO.train` that come before those that were given.
        """
        is_new = self.progress_bar and "yoto_sc.model" not in sys.modules
        with progress("Loading libraries", 1, "step", at_once=is_new):
            from yoto_sc.model import YOTO  # takes seconds to import; errors should not wait

        given = dict(self.train_kwargs or {})
        plan_kwargs = {
            "unlabeled_cells": self.unlabeled_cells,
            "max_cells": self.max_cells,
            "robust": self.robust,
            **(given.get("plan_kwargs") or {}),
        }
        model = YOTO.from_problem(
            problem,
            n_genes=self.n_genes,
            random_state=self.random_state,
            **(self.model_kwargs or {}),
        )
        model.train(
            **{
                "max_steps": self.max_steps,
                "accelerator": self.accelerator,
                "devices": self.devices,
                "progress_bar": self.progress_bar,
                **given,
                "plan_kwargs": plan_kwargs,
                **more,
            }
        )
        return model
