"""Where a training starts: the genes that closed forms find."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import compress
from typing import TYPE_CHECKING, Any

import numpy as np

from yoto_sc.model._splits import at_most
from yoto_sc.select import beyond_chance, screen, stepwise_order

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from yoto_sc._expression import Expression
    from yoto_sc._rules import GeneRules

_START_FACTOR, _START_CAP = 8, 1000
"""The training starts from this many genes for each gene of the panel, up to so many in all."""
_START_SCORE = 4.0
"""Score that the first of them starts with; the last one starts near 0."""
_WORST = 50.0
"""Bound on the logarithm of a preference or a rank, so that a linear program stays solvable."""
_STEPWISE_CELLS = 20_000
"""The stepwise order is taken from at most this many training cells."""


@dataclass(frozen=True)
class Start:
    """The genes a training starts from, and those that stay behind.

    Parameters
    ----------
    genes
        Indices of the genes that take part, ascending, shape ``(n_start,)``.
    scores
        Their initial selection scores, shape ``(n_start,)``.
    rules
        The rules on them, which a panel of theirs can meet.
    others
        Indices of the other allowed genes, best first.
    told
        Which tasks genes are selected for, shape ``(n_tasks,)``: those that expression tells more
        about than chance; all, if there are none.
    """

    genes: NDArray[np.intp]
    scores: NDArray[np.float32]
    rules: GeneRules
    others: NDArray[np.intp]
    told: NDArray[np.bool_]

    @property
    def required(self) -> NDArray[np.bool_]:
        """Which of the genes must be in the panel, shape ``(n_start,)``."""
        return self.rules.required


def start_length(n_genes: int) -> int:
    """Return the number of genes that the training of a panel of `n_genes` starts from."""
    return min(_START_FACTOR * n_genes, max(2 * n_genes, _START_CAP))


def find_start(
    expression: Expression,
    labels: Sequence[NDArray[Any]],
    train: NDArray[np.intp],
    rules: GeneRules,
    n_genes: int,
    n_candidates: int,
    class_weight_power: float,
    rng: np.random.Generator,
) -> Start:
    """Screen all genes, put the best in stepwise order, and take the first of these.

    Only training cells are looked at. Tasks that expression tells no more about than chance are
    passed over, if there are others: by chance too, some genes tell them best. A preference
    multiplies the gains of its gene and adds its logarithm to the score; what the caps make a gene
    cost counts against it in the same way.

    Parameters
    ----------
    expression
        Expression of all cells and genes.
    labels
        One encoded array of shape ``(n_obs,)`` for each task.
    train
        Indices of the training cells.
    rules
        Which genes may and must be selected.
    n_genes
        Size of the panel.
    n_candidates
        Number of genes that screening leaves for the stepwise order.
    class_weight_power
        A cell of a class of n cells weighs ``n ** -class_weight_power``.
    rng
        Source of randomness, for the choice of cells where there are very many.
    """
    hidden = np.ones(len(labels[0]), dtype=bool)
    hidden[train] = False
    seen = [_blank(array, hidden) for array in labels]
    told = np.ones(len(labels), dtype=bool)
    if len(labels) > 1:  # a task that nothing tells about would take the places of others
        told = beyond_chance(expression.blocks(), seen)
        told |= not told.any()
    rank = screen(expression.blocks(), list(compress(seen, told)))
    with np.errstate(divide="ignore"):
        favour = np.clip(np.log(rules.weights), -_WORST, _WORST)
    merit = favour - np.log(rank)
    merit[~rules.allowed] = -np.inf
    penalty = np.zeros(len(merit))
    if rules.caps:
        penalty = rules.penalties(np.maximum(merit, -_WORST), n_genes)
        merit -= penalty
    merit[rules.required] = np.inf
    by_merit = np.argsort(-merit, kind="stable")[: int(rules.allowed.sum())]

    length = start_length(n_genes)
    screened = np.sort(by_merit[: max(n_candidates, length)])
    if rules.caps and not rules.subset(screened).is_feasible(n_genes):
        panel = rules.good_panel(np.clip(merit, -_WORST, _WORST), n_genes)
        screened = np.union1d(screened, panel)
    train = at_most(_STEPWISE_CELLS, train, rng)
    order = screened[
        stepwise_order(
            expression.on_model_scale(screened)[train].toarray(),
            [array[train] for array in compress(labels, told)],
            length,
            class_weight_power=class_weight_power,
            required=rules.required[screened],
            weights=np.exp(favour - penalty)[screened],
        )
    ]
    score = favour.copy()
    score[order] += _START_SCORE * (1 - np.arange(len(order)) / length)
    if rules.caps:  # enough genes that a panel of theirs meets the rules
        panel = screened[rules.subset(screened).good_panel(score[screened], n_genes)]
        order = np.concatenate([panel, order[~np.isin(order, panel)]])[: len(order)]
    genes = np.sort(order)
    others = by_merit[~np.isin(by_merit, genes)]
    return Start(genes, score[genes].astype(np.float32), rules.subset(genes), others, told)


def _blank(labels: NDArray[Any], hidden: NDArray[np.bool_]) -> NDArray[Any]:
    """Return `labels` with those of the hidden cells missing."""
    missing = np.nan if labels.dtype.kind == "f" else -1
    return np.where(hidden, np.array(missing, dtype=labels.dtype), labels)
