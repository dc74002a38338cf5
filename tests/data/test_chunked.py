"""Chunks give what memory gives, bit for bit: blocks, pieces, sums and errors."""

from __future__ import annotations

import sys

import anndata as ad
import dask.array as da
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from anndata.experimental import read_lazy

from yoto_sc import _memory
from yoto_sc.data import (
    ChunkedExpression,
    MemoryExpression,
    _chunked,
    _expression,
    read_expression,
)
from yoto_sc.data._values import smallest_dtype

N_OBS, N_VARS = 31, 7
ROWS = np.array([30, 2, 2, 17, 0])


def make_values(counts=True):
    rng = np.random.default_rng(0)
    values = rng.poisson(2, (N_OBS, N_VARS)) * (rng.random((N_OBS, N_VARS)) < 0.4)
    values[0] = 1
    return (values if counts else np.log1p(values)).astype(np.float32)


def make_adata(values):
    return ad.AnnData(
        values,
        obs=pd.DataFrame(index=[f"c{i}" for i in range(values.shape[0])]),
        var=pd.DataFrame(index=[f"g{i}" for i in range(values.shape[1])]),
    )


def dask_csr(values, path):
    adata = make_adata(values)
    adata.X = da.from_array(sp.csr_matrix(values), chunks=((3, 1, 10, 17), N_VARS))
    return adata


def dask_dense(values, path):
    adata = make_adata(values)
    adata.X = da.from_array(values, chunks=(8, 3))
    return adata


def layer_on_disk(values, path):
    dense(values, path)
    lazy = read_lazy(path / "a.h5ad")
    return make_adata_with_x(lazy, lazy.X)


def make_adata_with_x(lazy, x):
    adata = make_adata(np.zeros(lazy.shape))
    adata.X = x
    return adata


def sparse(values, path):
    make_adata(sp.csr_matrix(values)).write_h5ad(path / "a.h5ad")
    return ad.read_h5ad(path / "a.h5ad", backed="r")


def dense(values, path):
    make_adata(values).write_h5ad(path / "a.h5ad")
    return ad.read_h5ad(path / "a.h5ad", backed="r")


def zarr(values, path):
    make_adata(sp.csr_matrix(values)).write_zarr(path / "a.zarr")
    return read_lazy(path / "a.zarr")


@pytest.fixture(params=[dask_csr, dask_dense, sparse, dense, zarr, layer_on_disk])
def hold(request, tmp_path):
    """Return what puts values into an object that is not in memory."""
    opened = []

    def hold(values):
        opened.append(request.param(values, tmp_path))
        return opened[-1]

    yield hold
    for adata in opened:
        if adata.isbacked:
            adata.file.close()


both = pytest.mark.parametrize("counts", [True, False], ids=["counts", "fractions"])
either = pytest.mark.parametrize("raw", [False, True], ids=["model scale", "raw"])


def assert_same(got, want):
    assert isinstance(got, sp.csr_matrix)
    assert got.dtype == np.float32
    assert got.shape == want.shape
    np.testing.assert_array_equal(got.toarray(), want.toarray())


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(_expression, "_BLOCK_BYTES", 4 * N_VARS * 5)


@both
@either
def test_blocks_pieces_and_sums_are_those_of_memory(hold, counts, raw):
    values = make_values(counts)
    chunked, memory = read_expression(hold(values)), read_expression(make_adata(values))
    assert isinstance(chunked, ChunkedExpression)
    assert (chunked.n_obs, chunked.n_vars) == (N_OBS, N_VARS)
    assert (chunked.is_counts, chunked.maximum) == (memory.is_counts, memory.maximum)
    some = np.flatnonzero(np.arange(N_OBS) % 3)
    for cells in (None, some, ROWS):
        pairs = zip(chunked.blocks(cells, raw=raw), memory.blocks(cells, raw=raw), strict=True)
        for (rows, got), (expected, want) in pairs:
            assert rows == expected
            assert_same(got, want)
    for cells in (None, some, ROWS, slice(4, 19), np.arange(0)):
        for genes in (None, np.array([6, 0, 2]), np.arange(0)):
            assert_same(chunked.take(cells, genes, raw=raw), memory.take(cells, genes, raw=raw))
    rng = np.random.default_rng(1)
    for cells in (np.arange(N_OBS), some):
        weights = sp.csr_matrix(rng.normal(size=(len(cells), 3)))
        taken = rng.random((len(cells), 2)) < 0.5
        got, want = (
            expression.of_cells(cells).reduce(weights, taken, expressing=True, raw=raw)
            for expression in (chunked, memory)
        )
        for mine, theirs in zip(got, want, strict=True):
            np.testing.assert_array_equal(mine, theirs)


def test_a_few_genes_come_into_memory(hold):
    values = make_values()
    few = read_expression(hold(values), genes=["g5", "g1"])
    assert isinstance(few, MemoryExpression)
    np.testing.assert_array_equal(few.take(None, None, raw=True).toarray(), values[:, [5, 1]])


@both
@either
def test_what_is_held_is_the_same_in_fewer_bytes(hold, counts, raw, monkeypatch):
    monkeypatch.setattr(_chunked, "_AHEAD", 1)  # a few blocks at a time
    monkeypatch.setattr(_chunked, "n_threads", lambda: 2)
    chunked = read_expression(hold(make_values(counts)))
    held = chunked.held()
    assert isinstance(held, MemoryExpression)
    assert held.matrix.dtype == (np.uint8 if counts else np.float32)
    assert_same(held.take(None, None, raw=raw), chunked.take(None, None, raw=raw))
    assert_same(held.take(ROWS, None, raw=raw), chunked.take(ROWS, None, raw=raw))
    weights, everything = sp.csr_matrix(np.arange(N_OBS)[:, None]), np.ones((N_OBS, 1), dtype=bool)
    got, want = (e.reduce(weights, everything, raw=raw) for e in (held, chunked))
    for mine, theirs in zip(got, want, strict=True):
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize(
    ("maximum", "are_integers", "expected"),
    [
        (255, True, np.uint8),
        (256, True, np.uint16),
        (65_535, True, np.uint16),
        (65_536, True, np.float32),
        (7.5, False, np.float32),
    ],
)
def test_no_value_is_changed_to_save_bytes(maximum, are_integers, expected):
    assert smallest_dtype(maximum, are_integers=are_integers) == expected


def test_memory_goes_back_where_the_system_can_take_it(monkeypatch):
    _memory.give_back()
    _memory._trim.cache_clear()
    monkeypatch.setattr(_memory.ctypes, "CDLL", lambda name: object())  # another system
    _memory.give_back()
    _memory._trim.cache_clear()


def test_blocks_read_no_chunk_twice():
    values, read = sp.csr_matrix(make_values()), []

    def chunk(part):
        if len(part.data):  # dask asks for an empty part to see what it is
            read.append(part.shape[0])
        return part

    adata = make_adata(make_values())
    adata.X = da.from_array(values, chunks=(7, N_VARS)).map_blocks(
        chunk, meta=sp.csr_matrix((0, 0), dtype=np.float32)
    )
    expression = read_expression(adata)
    read.clear()
    assert len(list(expression.blocks())) == 7
    assert sorted(read) == [3, 7, 7, 7, 7]


@pytest.mark.parametrize(
    ("bad", "message"),
    [(np.nan, "NaN or infinite"), (np.inf, "NaN or infinite"), (-0.5, r"negative .* -0\.5\)")],
)
def test_error_bad_values(hold, bad, message):
    values = make_values()
    values[29, 2] = bad
    with pytest.raises(ValueError, match=message):
        read_expression(hold(values))


def test_one_fraction_at_the_end_is_found(hold):
    values = make_values()
    values[-1, -1] = 0.5
    assert not read_expression(hold(values)).is_counts


def test_scaled_expression_is_read_from_raw(tmp_path):
    adata = make_adata(sp.csr_matrix(make_values()))
    adata.raw = adata.copy()
    adata.X = adata.X.toarray() - 1
    adata.write_h5ad(tmp_path / "a.h5ad")
    backed = ad.read_h5ad(tmp_path / "a.h5ad", backed="r")
    for held in (backed, read_lazy(tmp_path / "a.h5ad")):
        expression = read_expression(held)
        assert isinstance(expression, ChunkedExpression)
        assert expression.source == "raw"
        assert_same(expression.take(None, None, raw=True), sp.csr_matrix(make_values()))
    backed.file.close()


def test_error_all_zero(hold):
    with pytest.raises(ValueError, match=r"adata\.X is zero everywhere"):
        read_expression(
            hold(np.zeros((3, N_VARS), dtype=np.float32)[:, :N_VARS].repeat(11, 0)[:31])
        )


def test_error_stored_by_genes(tmp_path):
    make_adata(sp.csc_matrix(make_values())).write_h5ad(tmp_path / "a.h5ad")
    backed = ad.read_h5ad(tmp_path / "a.h5ad", backed="r")
    for held in (backed, read_lazy(tmp_path / "a.h5ad")):
        with pytest.raises(ValueError, match=r"stored by genes \(CSC\).*to_memory\(\)"):
            read_expression(held)
    backed.file.close()


def test_error_no_real_numbers():
    adata = make_adata(make_values())
    adata.layers["bad"] = da.from_array(make_values().astype(complex))
    with pytest.raises(TypeError, match="must hold real numbers, but its dtype is complex"):
        read_expression(adata, "bad")


def test_error_unknown_shape():
    adata = make_adata(make_values())
    whole = da.from_array(make_values(), chunks=(8, N_VARS))
    adata.X = whole
    adata._X = whole[whole[:, 0] >= 0]
    with pytest.raises(ValueError, match=r"unknown shape.*compute_chunk_sizes\(\)"):
        read_expression(adata)


def test_error_without_dask(tmp_path, monkeypatch):
    backed = sparse(make_values(), tmp_path)
    monkeypatch.setitem(sys.modules, "dask.array", None)
    with pytest.raises(ImportError, match=r'pip install "yoto-sc\[dask\]".*to_memory\(\)'):
        read_expression(backed)
    backed.file.close()
