"""Where a training starts: the candidates, and what closed forms say about them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from yoto_sc.select import screen, stepwise_order

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from yoto_sc._checks import GeneRules
    from yoto_sc._expression import Expression

_WARM_SCORE = 2.0
"""Score that the best gene of the stepwise order starts with; genes past the order start at 0."""
_WARM_LENGTH = 4
"""Length of the stepwise order, in panel sizes."""
_STEPWISE_CELLS = 20_000
"""The covariances of the stepwise order are taken over at most this many training cells."""


@dataclass(frozen=True)
class Start:
    """Candidates and what is known of them before training; arrays of shape ``(n_candidates,)``.

    Parameters
    ----------
    genes
        Indices of the candidates among all genes, ascending.
    screened_out
        Indices of the other allowed genes, best first; shape ``(n_allowed - n_candidates,)``.
    scores
        Initial selection scores.
    required
        Whether the gene must be in the panel.
    mean, scale
        Mean and standard deviation over the training cells, on the model's scale.
    """

    genes: NDArray[np.intp]
    screened_out: NDArray[np.intp]
    scores: NDArray[np.float32]
    required: NDArray[np.bool_]
    mean: NDArray[np.float32]
    scale: NDArray[np.float32]


def find_start(
    expression: Expression,
    labels: Sequence[NDArray[Any]],
    train: NDArray[np.intp],
    rules: GeneRules,
    n_genes: int,
    n_candidates: int,
    rng: np.random.Generator,
) -> Start:
    """Screen the genes, and order the best of them; only training cells are looked at.

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
        Number of candidates that screening leaves.
    rng
        Source of randomness, for the choice of cells where there are very many.
    """
    hidden = np.ones(len(labels[0]), dtype=bool)
    hidden[train] = False
    rank = screen(expression.blocks(), [_blank(array, hidden) for array in labels])
    rank[rules.required] = 0
    rank[~rules.allowed] = np.inf
    by_rank = np.argsort(rank, kind="stable")[: int(rules.allowed.sum())]
    genes = np.sort(by_rank[:n_candidates])

    if len(train) > _STEPWISE_CELLS:
        train = np.sort(rng.choice(train, _STEPWISE_CELLS, replace=False))
    values = expression.on_model_scale(genes)[train].toarray()
    mean, scale = values.mean(axis=0), values.std(axis=0)
    scale[scale == 0] = 1.0
    values -= mean
    values /= scale
    required = rules.required[genes]
    order = stepwise_order(
        values, [array[train] for array in labels], _WARM_LENGTH * n_genes, required
    )
    scores = np.zeros(len(genes), dtype=np.float32)
    scores[order] = _WARM_SCORE * (1 - np.arange(len(order)) / (_WARM_LENGTH * n_genes))
    return Start(genes, by_rank[n_candidates:], scores, required, mean, scale)


def _blank(labels: NDArray[Any], hidden: NDArray[np.bool_]) -> NDArray[Any]:
    """Return `labels` with those of the hidden cells missing."""
    missing = np.nan if labels.dtype.kind == "f" else -1
    return np.where(hidden, np.array(missing, dtype=labels.dtype), labels)
