"""Where a training starts: the candidates, and what closed forms say about them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from yoto_sc.select import screen, stepwise_order

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from yoto_sc._checks import GeneRules
    from yoto_sc._expression import Expression

_WARM_SCORE = 2.0
"""Score that the first gene of the stepwise order starts with; genes past its end start at 0."""
_WARM_LENGTH = 4
"""Length of the stepwise order, in panel sizes."""


def find_candidates(
    expression: Expression,
    labels: Sequence[NDArray[Any]],
    train: NDArray[np.intp],
    rules: GeneRules,
    n_candidates: int,
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Screen the genes; only training cells are looked at.

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
    n_candidates
        Number of candidates to leave; required genes are among them.

    Returns
    -------
    Indices of the candidates, ascending, and of the other allowed genes, best first.
    """
    hidden = np.ones(len(labels[0]), dtype=bool)
    hidden[train] = False
    rank = screen(expression.blocks(), [_blank(array, hidden) for array in labels])
    rank[rules.required] = 0
    rank[~rules.allowed] = np.inf
    by_rank = np.argsort(rank, kind="stable")[: int(rules.allowed.sum())]
    return np.sort(by_rank[:n_candidates]), by_rank[n_candidates:]


def warm_scores(
    values: NDArray[np.float32],
    labels: Sequence[NDArray[Any]],
    n_genes: int,
    required: NDArray[np.bool_],
) -> NDArray[np.float32]:
    """Return the scores to start from: high for the first genes of the stepwise order.

    Parameters
    ----------
    values
        Standardised expression of training cells, shape ``(n_obs, n_candidates)``.
    labels
        One encoded array of shape ``(n_obs,)`` for each task.
    n_genes
        Size of the panel.
    required
        Genes that must be in the panel, shape ``(n_candidates,)``.
    """
    length = _WARM_LENGTH * n_genes
    ridge = float(np.clip(0.003 * n_genes, 0.01, 0.1))
    order = stepwise_order(values, labels, length, ridge=ridge, required=required)
    scores = np.zeros(values.shape[1], dtype=np.float32)
    scores[order] = _WARM_SCORE * (1 - np.arange(len(order)) / length)
    return scores


def _blank(labels: NDArray[Any], hidden: NDArray[np.bool_]) -> NDArray[Any]:
    """Return `labels` with those of the hidden cells missing."""
    missing = np.nan if labels.dtype.kind == "f" else -1
    return np.where(hidden, np.array(missing, dtype=labels.dtype), labels)
