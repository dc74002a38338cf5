"""What a method is given, and what it returns."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

import anndata as ad
import numpy as np
import scanpy as sc

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import pandas as pd
    from numpy.typing import NDArray
    from scipy import sparse

    Prediction = pd.DataFrame | NDArray[np.floating]


@dataclass(frozen=True)
class Training:
    """Cells to select on.

    Parameters
    ----------
    adata
        Expression in CSR, and labels in ``obs``; missing labels are ``NaN``.
    categorical, continuous
        Columns of ``adata.obs`` that the panel is to serve.
    is_counts
        Whether ``adata.X`` holds raw counts, not log-normalised expression.
    split_key
        Column of ``adata.obs`` with donors or sections, if the held-out cells are of others.
    """

    adata: ad.AnnData
    categorical: tuple[str, ...]
    continuous: tuple[str, ...]
    is_counts: bool
    split_key: str | None = None

    @cached_property
    def log1p(self) -> sparse.csr_matrix:
        """Log expression, ``(n_obs, n_vars)``, without a size factor."""
        return self.adata.X.log1p() if self.is_counts else self.adata.X

    @cached_property
    def normalized(self) -> ad.AnnData:
        """The data as scanpy's tutorials prepare them: counts per 10,000, logarithm."""
        adata = ad.AnnData(self.adata.X.copy(), obs=self.adata.obs, var=self.adata.var)
        if self.is_counts:
            sc.pp.normalize_total(adata, target_sum=1e4)
            sc.pp.log1p(adata)
        adata.uns["log1p"] = {"base": None}
        return adata

    def labelled(self, key: str) -> NDArray[np.intp]:
        """Return the indices of the cells with a label."""
        return np.flatnonzero(self.adata.obs[key].notna())

    def names(self, genes: NDArray[np.integer]) -> list[str]:
        """Return the names of genes."""
        return self.adata.var_names[genes].tolist()

    def panel_values(self, adata: ad.AnnData, genes: Sequence[str]) -> NDArray[np.float32]:
        """Return log expression of `genes` in `adata`, dense, ``(n_obs, n_genes)``."""
        values = adata[:, list(genes)].X.toarray()
        return np.log1p(values) if self.is_counts else values


@dataclass(frozen=True)
class Fitted:
    """A selection.

    Parameters
    ----------
    genes
        The panel, best gene first where the method ranks.
    predict
        From cells and a number of best genes to class probabilities (categorical) or values
        (continuous) by task; `None`: the method does not predict.
    cost
        ``"seconds"``, ``"cpu_seconds"`` and ``"megabytes"``, where only the method can tell;
        `None`: they are measured outside.
    """

    genes: list[str]
    predict: Callable[[ad.AnnData, int], dict[str, Prediction]] | None = None
    cost: dict[str, float] | None = None


class Select(Protocol):
    """A method without a prediction of its own: module-level ``select``."""

    def __call__(self, training: Training, k: int, seed: int) -> list[str]:
        """Return `k` genes."""
