"""What batches make of expression, given the labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SHRINKAGE = 0.01
"""Effects of a batch are estimated as if it had so many cells more, which show none. It is next to
nothing, and decides only where labels and batches explain the same."""
_TINY = 1e-9
"""Share of the labels' mean square that keeps their equations solvable."""


def batch_columns(
    batches: NDArray[np.intp], weights: NDArray[np.float64] | NDArray[np.bool_]
) -> sp.csr_matrix:
    """Return one column for each batch, with the weights of its cells, ``(n_obs, n_batches)``."""
    entries = (weights.astype(np.float64), (np.arange(len(batches)), batches))
    return sp.csr_matrix(entries, shape=(len(batches), int(batches.max()) + 1))


@dataclass(frozen=True, eq=False)
class _Fit:
    """Expression fitted by labels and batches together.

    Parameters
    ----------
    effects
        What each batch adds to each gene, ``(n_batches, n_vars)``.
    coefficients
        Those of the labels, ``(n_columns, n_vars)``.
    n_cells
        Cells of each batch, ``(n_batches,)``.
    by_chance
        Mean square of the effects over the cells that variance 1 of the cells would bring about.
    """

    effects: NDArray[np.float64]
    coefficients: NDArray[np.float64]
    n_cells: NDArray[np.float64]
    by_chance: float


def batch_effects(
    labels: sp.csr_matrix,
    batches: sp.csr_matrix,
    by_label: NDArray[np.float64],
    by_batch: NDArray[np.float64],
) -> NDArray[np.float64]:
    r"""Estimate what each batch adds to each gene, given the labels.

    Expression is fitted by labels and batches together. So effects of batches are estimated given
    the labels, and batches need not hold the same classes. What labels and batches explain alike,
    such as a class that one batch alone holds, is left to the labels.

    Parameters
    ----------
    labels
        Labels as columns, which hold or span a constant, ``(n_obs, n_columns)``.
    batches
        A column for each batch, of the weights of the cells, ``(n_obs, n_batches)``.
    by_label, by_batch
        Weighted sums of expression, ``(n_columns, n_vars)`` and ``(n_batches, n_vars)``.

    Returns
    -------
    Shape ``(n_batches, n_vars)``.
    """
    return _fit(labels, batches, by_label, by_batch).effects


def batch_spread(
    values: sp.csr_matrix, labels: sp.csr_matrix, batches: NDArray[np.intp]
) -> NDArray[np.float32]:
    """Return by how much batches differ in each gene, given the labels, beyond chance.

    Parameters
    ----------
    values
        Expression, shape ``(n_obs, n_vars)``.
    labels, batches
        As for :func:`without_batches`.

    Returns
    -------
    Standard deviations of the effects of batches, shape ``(n_vars,)``.
    """
    n_obs = len(batches)
    columns = batch_columns(batches, np.ones(n_obs))
    by_label, by_batch = (
        (part.T @ values).toarray().astype(np.float64) for part in (labels, columns)
    )
    fit = _fit(labels, columns, by_label, by_batch)
    squares = np.asarray(values.power(2).sum(axis=0, dtype=np.float64)).ravel()
    explained = (fit.coefficients * by_label).sum(axis=0) + (fit.effects * by_batch).sum(axis=0)
    noise = np.maximum(squares - explained, 0) / n_obs
    variance = fit.n_cells @ fit.effects**2 / n_obs - fit.by_chance * noise
    spread: NDArray[np.float32] = np.sqrt(np.maximum(variance, 0)).astype(np.float32)
    return spread


def _fit(
    labels: sp.csr_matrix,
    batches: sp.csr_matrix,
    by_label: NDArray[np.float64],
    by_batch: NDArray[np.float64],
) -> _Fit:
    weights = np.asarray(batches.sum(axis=1))
    gram = (labels.T @ labels.multiply(weights)).toarray()
    gram[np.diag_indices_from(gram)] += _TINY * max(np.trace(gram) / len(gram), _TINY)
    shared = (labels.T @ batches).toarray()
    n_cells = np.asarray(batches.sum(axis=0), dtype=np.float64).ravel()
    solved = np.linalg.solve(gram, np.hstack([shared, by_label]))
    explained, means = np.split(solved, [len(n_cells)], axis=1)
    left = np.diag(n_cells) - shared.T @ explained
    inverse = np.linalg.inv(left + _SHRINKAGE * np.eye(len(left)))
    effects = inverse @ (by_batch - shared.T @ means)
    variances = np.diagonal(inverse @ left @ inverse)
    by_chance = float(n_cells @ variances / n_cells.sum())
    return _Fit(effects, means - explained @ effects, n_cells, by_chance)


def without_batches(
    values: NDArray[np.float32],
    labels: sp.csr_matrix,
    batches: NDArray[np.intp],
    weights: NDArray[np.float64],
) -> NDArray[np.float32]:
    """Take the effects of batches off expression, ``(n_obs, n_vars)``.

    Parameters
    ----------
    values
        Expression, shape ``(n_obs, n_vars)``.
    labels
        As for :func:`batch_effects`.
    batches
        Codes of shape ``(n_obs,)``.
    weights
        Of the cells, ``(n_obs,)``.
    """
    columns = batch_columns(batches, weights / weights.mean())
    by_batch = np.asarray(columns.T @ values, dtype=np.float64)
    weighted = sp.csr_matrix(labels.multiply(np.asarray(columns.sum(axis=1))))
    by_label = np.asarray(weighted.T @ values, dtype=np.float64)
    effects = batch_effects(labels, columns, by_label, by_batch)
    cleaned: NDArray[np.float32] = values - effects.astype(np.float32)[batches]
    return cleaned


def interactions(
    rest: NDArray[np.float32], groups: NDArray[np.intp], weights: NDArray[np.float64]
) -> tuple[NDArray[np.float64], float]:
    r"""Tell how far the differences between classes vary from batch to batch.

    Parameters
    ----------
    rest, groups, weights
        As for :func:`group_means`.

    Returns
    -------
    The covariance of the groups' means, ``(n_vars, n_vars)``, and the share of the covariance
    within classes that it would show by chance.
    """
    means, by_chance = _group_means(rest, groups, weights)
    return means.T @ means, by_chance


def group_means(
    rest: NDArray[np.float32], groups: NDArray[np.intp], weights: NDArray[np.float64]
) -> tuple[NDArray[np.float32], float]:
    r"""Return the means of the pairs of a class and a batch.

    Parameters
    ----------
    rest
        What neither classes nor batches explain, multiplied by the roots of the weights,
        ``(n_obs, n_vars)``.
    groups
        Codes of the pairs, ``(n_obs,)``.
    weights
        Of the cells, ``(n_obs,)``; they sum to 1.

    Returns
    -------
    The means times the roots of the groups' weights, ``(n_groups, n_vars)``, and the share of the
    covariance within classes that their products would show by chance.
    """
    means, by_chance = _group_means(rest, groups, weights)
    return means.astype(np.float32), by_chance


def _group_means(
    rest: NDArray[np.float32], groups: NDArray[np.intp], weights: NDArray[np.float64]
) -> tuple[NDArray[np.float64], float]:
    _, codes, counts = np.unique(groups, return_inverse=True, return_counts=True)
    shares = np.bincount(codes, weights)
    sums = batch_columns(codes, np.sqrt(weights)).T @ rest
    means = np.asarray(sums, dtype=np.float64) / np.sqrt(shares)[:, None]
    return means, min(1.0, float((shares / counts).sum()))
