r"""Forward stepwise discriminant analysis.

Each step adds the gene that lowers Wilks' lambda :math:`|W| / |T|` most (Jennrich 1977, "Stepwise
discriminant analysis"; Rencher & Christensen 2012, section 8.9), with :math:`W` the within-class
and :math:`T` the total scatter. The factor that gene :math:`j` brings in after the genes :math:`S`
is the ratio of its residual scatters, :math:`w_{jj \cdot S} / t_{jj \cdot S}`. A pivoted Cholesky
decomposition of both matrices gives all ratios at each step without forming either matrix.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from methods.combine import round_robin

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy import sparse

    from methods.base import Training

_FEWEST_CELLS = 3
_TOLERANCE = 1e-3
"""A gene that the panel explains up to this share of its scatter is not considered."""


def select(training: Training, k: int, seed: int) -> list[str]:
    """Return `k` genes; of several tasks, each task's in turn."""
    lists = []
    for key in (*training.categorical, *training.continuous):
        cells = training.labelled(key)
        labels = training.adata.obs[key].iloc[cells]
        basis = (
            _class_basis(labels.cat.remove_unused_categories().cat.codes.to_numpy())
            if key in training.categorical
            else _value_basis(labels.to_numpy(dtype=np.float64))
        )
        lists.append(stepwise(training.log1p[cells].astype(np.float64), basis, k))
    return training.names(np.array(round_robin(lists, k)))


def stepwise(matrix: sparse.csr_matrix, basis: NDArray[np.float64], k: int) -> NDArray[np.intp]:
    """Return `k` columns of `matrix`, in the order of their entry.

    Parameters
    ----------
    matrix
        Expression, ``(n_obs, n_vars)``.
    basis
        Orthonormal and centred basis of what the labels explain, ``(n_obs, n_basis)``.
    k
        Number of columns.
    """
    matrix = matrix.tocsc()
    n_obs, n_vars = matrix.shape
    mean = np.asarray(matrix.mean(axis=0)).ravel()
    explained = np.asarray(matrix.T @ basis)
    total = np.asarray(matrix.multiply(matrix).sum(axis=0)).ravel() - n_obs * mean**2
    within = total - np.square(explained).sum(axis=1)
    least_total, least_within = _TOLERANCE * total, _TOLERANCE * within
    possible = matrix.getnnz(axis=0) >= _FEWEST_CELLS
    factor_t, factor_w = np.zeros((n_vars, k)), np.zeros((n_vars, k))
    chosen: list[int] = []
    for step in range(k):
        open_ = possible & (total > least_total) & (within > least_within)
        if not open_.any():
            break
        ratio = np.full(n_vars, np.inf)
        ratio[open_] = within[open_] / total[open_]
        gene = int(ratio.argmin())
        chosen.append(gene)
        possible[gene] = False
        own = matrix[:, [gene]].toarray().ravel()
        scatter_t = np.asarray(matrix.T @ own).ravel() - n_obs * mean * mean[gene]
        scatter_w = scatter_t - explained @ explained[gene]
        for factor, residual, scatter in (
            (factor_t, total, scatter_t),
            (factor_w, within, scatter_w),
        ):
            column = scatter - factor[:, :step] @ factor[gene, :step]
            factor[:, step] = column / np.sqrt(residual[gene])
            residual -= np.square(factor[:, step])
    return np.array(chosen, dtype=np.intp)


def _class_basis(codes: NDArray[np.integer]) -> NDArray[np.float64]:
    """Return an orthonormal basis of the differences between class means."""
    member = (codes[:, None] == np.arange(codes.max() + 1)).astype(np.float64)
    member /= np.sqrt(member.sum(axis=0))
    # Their span holds the constant, with these coordinates; turn it out.
    constant = member.sum(axis=0, keepdims=True) / np.sqrt(len(codes))
    rotation = np.linalg.svd(constant)[2][1:]
    return member @ rotation.T


def _value_basis(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the centred values, of length 1."""
    centred = values - values.mean()
    return (centred / np.linalg.norm(centred))[:, None]
