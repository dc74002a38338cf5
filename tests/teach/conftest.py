"""Counts whose labels are told by many genes together, or by one gene alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

from yoto_sc._problem import Problem
from yoto_sc.data import keys_by_kind
from yoto_sc.judge import Split

if TYPE_CHECKING:
    from collections.abc import Callable

    from yoto_sc.rules import Requirements

N_OBS, N_PROGRAM = 240, 40
"""Cells, and genes that follow a program of their own, the most variable ones."""


def _hidden(counts: np.ndarray, labeled: float, rng: np.random.Generator, **truth: Any) -> AnnData:
    """Put labels beside counts, a share of them missing, and the truth into uns."""
    names = [f"c{i}" for i in range(len(counts))]
    is_hidden = rng.permutation(len(counts)) >= round(labeled * len(counts))
    adata = AnnData(
        counts.astype(np.float32),
        obs=pd.DataFrame({"donor": np.resize(list("xyz"), len(counts))}, index=names),
        var=pd.DataFrame(index=[f"g{i}" for i in range(counts.shape[1])]),
    )
    for name, values in truth.items():
        adata.uns[name] = values
        if np.ndim(values) == 2:
            adata.obsm[name] = np.where(is_hidden[:, None], np.nan, values)
        else:
            column = pd.Series(values, index=names)
            adata.obs[name] = column.mask(is_hidden)
    return adata


@pytest.fixture(scope="session")
def make_told_together() -> Callable[..., AnnData]:
    """Make counts in which 40 genes tell a little each: a class, a number and a vector."""

    def make(labeled: float = 0.25, seed: int = 0) -> AnnData:
        rng = np.random.default_rng(seed)
        score = rng.normal(size=N_OBS)
        kind = np.array(["a", "b", "c"])[np.digitize(score, [-0.6, 0.6])]
        loadings = 0.5 * rng.choice([-1, 1], N_PROGRAM)
        counts = rng.poisson(np.exp(0.5 + np.outer(score, loadings)))
        noise = rng.poisson(1.0, size=(N_OBS, 20))
        vector = np.column_stack([score, -2 * score + rng.normal(0, 0.3, N_OBS)])
        return _hidden(
            np.hstack([counts, noise]), labeled, rng, kind=kind, score=score, vector=vector
        )

    return make


@pytest.fixture(scope="session")
def make_told_alone() -> Callable[..., AnnData]:
    """Make counts in which ``g45`` alone tells the class, and others are far more variable."""

    def make(labeled: float = 0.5, seed: int = 0) -> AnnData:
        rng = np.random.default_rng(seed)
        program = rng.normal(size=(N_OBS, 2)) @ rng.choice([-0.7, 0.7], (2, N_PROGRAM))
        counts = rng.poisson(20 * np.exp(program))
        others = rng.poisson(0.5, size=(N_OBS, 10))
        kind = rng.choice(["a", "b"], N_OBS)
        others[:, 5] = rng.poisson(np.where(kind == "a", 12, 30))
        return _hidden(np.hstack([counts, others]), labeled, rng, kind=kind)

    return make


@pytest.fixture
def few_variable_genes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take components of 30 variable genes."""
    monkeypatch.setattr("yoto_sc.teach._components.N_VARIABLE_GENES", 30)


@pytest.fixture(scope="session")
def make_problem() -> Callable[..., Problem]:
    """Read a problem by the arguments of `tl.select`."""

    def make(
        adata: AnnData,
        *,
        transcriptome: bool | int = False,
        requirements: Requirements | None = None,
        **keys: Any,
    ) -> Problem:
        return Problem.from_adata(
            adata, keys_by_kind(**keys), transcriptome=transcriptome, requirements=requirements
        )

    return make


@pytest.fixture(scope="session")
def split() -> Split:
    """Every sixth cell is held out."""
    cells = np.arange(N_OBS)
    return Split(cells[cells % 6 != 0], cells[cells % 6 == 0])
