"""Variable genes and principal components, against scanpy's, from the fitted cells alone."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import scanpy as sc
import scipy.sparse as sp

import yoto_sc as yt
from yoto_sc.data import _expression, read_expression
from yoto_sc.teach import _components, find_components, normalised

if TYPE_CHECKING:
    from collections.abc import Callable

    from anndata import AnnData

    from yoto_sc.data import Expression
    from yoto_sc.teach import Components

N_GENES, N_COMPONENTS = 60, 8


@pytest.fixture(scope="module")
def counts(make_adata: Callable[..., AnnData]) -> AnnData:
    """240 cells and 200 genes; not to be changed."""
    return make_adata(n_obs=240, n_vars=200, n_informative=20, n_redundant=20)


@pytest.fixture(autouse=True)
def some_variable_genes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_components, "N_VARIABLE_GENES", N_GENES)


def found_in(expression: Expression, cells: Any = None, n: int = N_COMPONENTS) -> Components:
    cells = np.arange(expression.n_obs) if cells is None else np.asarray(cells)
    return find_components(expression, cells, n, np.random.default_rng(0))


def by_scanpy(adata: AnnData, *, is_counts: bool) -> AnnData:
    """Do what a tutorial does, on a copy."""
    adata = adata.copy()
    adata.X = adata.X.toarray() if sp.issparse(adata.X) else adata.X
    adata.uns.pop("log1p", None)
    if is_counts:
        sc.pp.normalize_total(adata)
        sc.pp.log1p(adata)
    sc.pp.highly_variable_genes(adata, n_top_genes=N_GENES)
    sc.pp.pca(adata, n_comps=N_COMPONENTS, svd_solver="full", mask_var="highly_variable")
    return adata


def assert_same(one: Components, other: Components) -> None:
    for name in ("genes", "total", "mean", "axes"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


def with_rows(expression: Any, cells: Any, values: Any) -> Any:
    """Return expression in which some cells express something else."""
    matrix = expression.matrix.tolil()
    matrix[cells] = values
    return replace(expression, matrix=matrix.tocsr().astype(np.float32))


# --- scanpy ---


@pytest.mark.parametrize("data", ["counts", "log-normalised", "pbmc68k"])
def test_genes_and_components_are_scanpys(data: str, counts: AnnData) -> None:
    adata = yt.datasets.pbmc68k() if data == "pbmc68k" else counts.copy()
    if data == "log-normalised":
        sc.pp.normalize_total(adata)
        sc.pp.log1p(adata)
    expected = by_scanpy(adata, is_counts=data == "counts")
    expression = read_expression(adata)
    found = found_in(expression)
    assert len(found.genes) == N_GENES
    theirs = np.flatnonzero(expected.var["highly_variable"])
    assert len(np.intersect1d(found.genes, theirs)) >= N_GENES - 2  # ties and rounding
    of_ours = expected.copy()
    of_ours.var["ours"] = np.isin(np.arange(adata.n_vars), found.genes)
    sc.pp.pca(of_ours, n_comps=N_COMPONENTS, svd_solver="full", mask_var="ours")
    axes = of_ours.varm["PCs"][found.genes]
    assert np.linalg.svd(axes.T @ found.axes)[1].min() > 0.999
    coordinates = found.of(expression, np.arange(adata.n_obs))
    assert coordinates.dtype == np.float32
    signs = np.sign((axes * found.axes).sum(axis=0))
    np.testing.assert_allclose(coordinates, of_ours.obsm["X_pca"] * signs, atol=1e-3)


def test_counts_are_brought_to_the_median_total_of_cells_with_counts(counts: AnnData) -> None:
    expression = with_rows(read_expression(counts), np.arange(100), 0)
    totals = expression.matrix.sum(axis=1).A1
    found = found_in(expression)
    assert found.total == np.median(totals[100:]) != np.median(totals)
    blocks = [block.toarray() for _, block in normalised(expression, np.arange(240), found.total)]
    expected = by_scanpy(counts, is_counts=True)  # whose median is that of all cells
    values = np.expm1(np.vstack(blocks))
    np.testing.assert_allclose(values.sum(axis=1), np.where(totals > 0, found.total, 0), rtol=1e-4)
    theirs = np.expm1(expected.X)
    theirs *= found.total / theirs.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(values[100:], theirs[100:], rtol=1e-4, atol=1e-5)


def test_normalised_expression_is_taken_as_it_is(counts: AnnData) -> None:
    sc.pp.normalize_total(adata := counts.copy())
    sc.pp.log1p(adata)
    expression = read_expression(adata)
    found = found_in(expression)
    assert found.total == 0
    blocks = [block for _, block in normalised(expression, np.arange(240), 0)]
    assert (sp.vstack(blocks) != adata.X).nnz == 0
    of_counts = found_in(read_expression(counts))
    np.testing.assert_array_equal(found.genes, of_counts.genes)
    np.testing.assert_allclose(np.abs(found.axes), np.abs(of_counts.axes), atol=1e-3)


def test_values_that_are_no_logarithms_are_not_raised(counts: AnnData) -> None:
    """Above 30, ``expm1`` would overflow."""
    adata = counts.copy()
    adata.X = adata.X * 100.5
    expression = read_expression(adata)
    assert not expression.is_counts
    assert expression.maximum > 200
    found = found_in(expression)
    assert len(found.genes) == N_GENES
    assert np.isfinite(found.axes).all()


# --- the record ---


def test_components_are_orthonormal_and_come_by_variance(counts: AnnData) -> None:
    expression = read_expression(counts)
    found = found_in(expression)
    assert (np.diff(found.genes) > 0).all()
    np.testing.assert_allclose(found.axes.T @ found.axes, np.eye(N_COMPONENTS), atol=1e-8)
    coordinates = found.of(expression, np.arange(240))
    np.testing.assert_allclose(coordinates.mean(axis=0), 0, atol=1e-5)
    assert (np.diff(coordinates.var(axis=0)) <= 0).all()
    largest = np.abs(found.axes).argmax(axis=0)
    assert (found.axes[largest, np.arange(N_COMPONENTS)] > 0).all()


def test_cells_come_in_the_order_asked_for(counts: AnnData) -> None:
    expression = read_expression(counts)
    found = found_in(expression)
    whole = found.of(expression, np.arange(240))
    for cells in ([7, 3, 200], [], [5, 5]):
        part = found.of(expression, np.array(cells, dtype=int))
        np.testing.assert_allclose(part, whole[cells], atol=1e-6)


def test_missing_components_are_zero(counts: AnnData, monkeypatch: pytest.MonkeyPatch) -> None:
    expression = read_expression(counts)
    monkeypatch.setattr(_components, "N_VARIABLE_GENES", 5)
    found = found_in(expression, n=9)
    assert found.axes.shape == (5, 9)
    assert not found.axes[:, 5:].any()
    coordinates = found.of(expression, np.arange(240))
    assert coordinates.shape == (240, 9)
    assert not coordinates[:, 5:].any()
    np.testing.assert_allclose(
        coordinates[:, :5], found_in(expression, n=5).of(expression, np.arange(240)), atol=1e-6
    )


@pytest.mark.parametrize("n_cells", [2, 5])
def test_few_cells_stay_finite(counts: AnnData, n_cells: int) -> None:
    expression = read_expression(counts)
    found = found_in(expression, np.arange(n_cells))
    assert np.isfinite(found.of(expression, np.arange(240))).all()


def test_only_genes_that_vary_are_taken(counts: AnnData) -> None:
    adata = counts[:, :30].copy()
    adata.X = adata.X.toarray()
    adata.X[:, ::3] = 0
    found = found_in(read_expression(adata))
    assert set(found.genes) <= set(np.flatnonzero(np.arange(30) % 3))
    assert len(found.genes) == 20  # although 60 were asked for


# --- which cells ---


def test_other_cells_than_those_fitted_change_nothing(counts: AnnData) -> None:
    expression = read_expression(counts)
    train, others = np.arange(0, 240, 2), np.arange(1, 240, 2)
    strange = with_rows(expression, others, np.random.default_rng(1).poisson(9, (120, 200)))
    one, other = found_in(expression, train), found_in(strange, train)
    assert_same(one, other)
    np.testing.assert_array_equal(one.of(expression, train), other.of(strange, train))
    assert np.abs(found_in(strange).total - one.total) > 1  # fitted to all, it would differ


def test_fitting_to_some_cells_is_fitting_to_data_without_the_others(counts: AnnData) -> None:
    train = np.arange(0, 240, 2)
    alone = found_in(read_expression(counts[train].copy()))
    found = found_in(read_expression(counts), train)
    np.testing.assert_array_equal(found.genes, alone.genes)
    np.testing.assert_allclose(found.axes, alone.axes, atol=1e-6)
    assert found.total == alone.total


def test_blocks_do_not_matter(counts: AnnData, monkeypatch: pytest.MonkeyPatch) -> None:
    expression = read_expression(counts)
    whole = found_in(expression)
    monkeypatch.setattr(_expression, "_LONGEST_BLOCK", 7)
    parts = found_in(expression)
    np.testing.assert_array_equal(whole.genes, parts.genes)
    assert whole.total == parts.total
    np.testing.assert_allclose(np.abs(whole.axes), np.abs(parts.axes), atol=1e-4)
    cells = np.arange(240)
    np.testing.assert_allclose(whole.of(expression, cells), parts.of(expression, cells), atol=1e-3)


def test_of_very_many_cells_some_are_drawn(
    counts: AnnData, monkeypatch: pytest.MonkeyPatch
) -> None:
    expression = read_expression(counts)
    monkeypatch.setattr(_components, "_FITTED_CELLS", 50)
    taken: list[Any] = []
    take = type(expression).take

    def noted(self: Any, cells: Any, genes: Any, *, raw: bool = False) -> Any:
        taken.append(cells)
        return take(self, cells, genes, raw=raw)

    monkeypatch.setattr(type(expression), "take", noted)
    cells = np.arange(20, 240)
    found = find_components(expression, cells, N_COMPONENTS, np.random.default_rng(3))
    drawn = set(np.concatenate(taken))
    assert len(drawn) == 50
    assert drawn <= set(cells)
    assert_same(found, find_components(expression, cells, N_COMPONENTS, np.random.default_rng(3)))
    other = find_components(expression, cells, N_COMPONENTS, np.random.default_rng(4))
    assert (found.mean[:10] != other.mean[:10]).any()
