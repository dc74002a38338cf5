"""The same numbers give the same matrix, whatever held them."""

from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from yoto_sc.data import MemoryExpression, _expression, _values, layer_of, read_expression


def make_values(n_obs=13, n_vars=7, seed=0, density=0.4, counts=True):
    rng = np.random.default_rng(seed)
    values = rng.poisson(2, (n_obs, n_vars)) * (rng.random((n_obs, n_vars)) < density)
    values[0] = 1  # no gene is empty
    return values if counts else np.log1p(values)


def make_adata(x, **kwargs):
    names = [f"g{i}" for i in range(x.shape[1])]
    return ad.AnnData(
        x,
        obs=pd.DataFrame(index=[f"c{i}" for i in range(x.shape[0])]),
        var=pd.DataFrame(index=names),
        **kwargs,
    )


def assert_canonical(matrix, values):
    """The matrix is the one scipy makes of a dense float32 array, array by array."""
    expected = sp.csr_matrix(np.ascontiguousarray(values, dtype=np.float32))
    expected.sum_duplicates()
    assert isinstance(matrix, sp.csr_matrix)
    assert matrix.dtype == np.float32
    assert matrix.shape == expected.shape
    assert matrix.has_canonical_format
    for name in ("indptr", "indices", "data"):
        got, want = getattr(matrix, name), getattr(expected, name)
        assert got.dtype == want.dtype, name
        np.testing.assert_array_equal(got, want, err_msg=name)


def unsorted(values, kind):
    """Reverse the order of the entries within each row (or column)."""
    matrix = kind(values)
    for start, stop in zip(matrix.indptr, matrix.indptr[1:], strict=False):
        matrix.indices[start:stop] = matrix.indices[start:stop][::-1].copy()
        matrix.data[start:stop] = matrix.data[start:stop][::-1].copy()
    matrix.has_sorted_indices = False
    return matrix


def with_duplicates(values, kind):
    """Store every entry as two halves."""
    matrix = kind(values)
    return kind(
        (np.repeat(matrix.data / 2, 2), np.repeat(matrix.indices, 2), matrix.indptr * 2),
        shape=matrix.shape,
    )


FORMATS = {
    "csr_matrix": sp.csr_matrix,
    "csc_matrix": sp.csc_matrix,
    "csr_array": sp.csr_array,
    "csc_array": sp.csc_array,
    "dense-C": np.ascontiguousarray,
    "dense-F": np.asfortranarray,
    "csr-unsorted": lambda v: unsorted(v, sp.csr_matrix),
    "csc-unsorted": lambda v: unsorted(v, sp.csc_matrix),
    "csr-duplicates": lambda v: with_duplicates(v, sp.csr_matrix),
    "csc-duplicates": lambda v: with_duplicates(v, sp.csc_matrix),
}


@pytest.mark.parametrize("make", FORMATS.values(), ids=FORMATS)
@pytest.mark.parametrize("counts", [True, False], ids=["counts", "fractions"])
def test_every_format_gives_the_same_matrix(make, counts):
    values = make_values(counts=counts).astype(np.float32)
    expression = read_expression(make_adata(make(values)))
    assert_canonical(expression.matrix, values)
    assert expression.source == "X"
    assert expression.is_counts is counts


@pytest.mark.parametrize(
    "dtype", ["int8", "uint8", "int16", "int32", "uint32", "int64", "float32", "float64"]
)
@pytest.mark.parametrize("name", ["csr_matrix", "csc_matrix", "csr_array", "dense-C", "dense-F"])
def test_every_dtype_gives_the_same_matrix(dtype, name):
    values = make_values()
    assert_canonical(
        read_expression(make_adata(FORMATS[name](values.astype(dtype)))).matrix, values
    )


@pytest.mark.parametrize("name", ["dense-C", "dense-F"])
def test_half_precision(name):
    values = make_values()  # scipy's sparse matrices know no float16
    expression = read_expression(make_adata(FORMATS[name](values.astype("float16"))))
    assert_canonical(expression.matrix, values)


@pytest.mark.parametrize("name", ["csr_matrix", "csc_matrix", "csr_array", "dense-C"])
def test_booleans_are_zeros_and_ones(name):
    values = make_values() > 0
    expression = read_expression(make_adata(FORMATS[name](values)))
    assert_canonical(expression.matrix, values)
    assert expression.is_counts


def test_indices_of_64_bits_give_the_same_matrix():
    values = make_values()
    matrix = sp.csr_matrix(values)
    matrix.indices, matrix.indptr = matrix.indices.astype("int64"), matrix.indptr.astype("int64")
    assert_canonical(read_expression(make_adata(matrix)).matrix, values)


@pytest.mark.parametrize("kind", [sp.csr_matrix, sp.csc_matrix])
def test_stored_zeros_give_the_same_matrix(kind):
    values = make_values()
    matrix = kind(values + 1)
    matrix.data -= 1
    assert_canonical(read_expression(make_adata(matrix)).matrix, values)


@pytest.mark.parametrize("make", FORMATS.values(), ids=FORMATS)
def test_the_input_is_not_changed(make):
    adata = make_adata(make(make_values().astype(np.float32)))
    x = adata.X
    parts = [x] if isinstance(x, np.ndarray) else [x.data, x.indices, x.indptr]
    before = [part.copy() for part in parts]
    expression = read_expression(adata)
    list(expression.blocks())
    list(expression.blocks(raw=True))
    expression.take(None, None)
    expression.take(np.array([3, 0]), np.array([2]), raw=True)
    design = sp.csr_matrix(np.ones((x.shape[0], 1)))
    expression.reduce(design, np.ones((x.shape[0], 1), dtype=bool), expressing=True)
    assert adata.X is x
    for part, copy in zip(parts, before, strict=True):
        np.testing.assert_array_equal(part, copy)


def test_reading_float32_csr_takes_no_copy():
    adata = make_adata(sp.csr_matrix(make_values().astype(np.float32)))
    assert np.shares_memory(read_expression(adata).matrix.data, adata.X.data)


def test_layer():
    values = make_values(seed=1)
    adata = make_adata(make_values(counts=False), layers={"counts": sp.csc_matrix(values)})
    expression = read_expression(adata, layer="counts")
    assert_canonical(expression.matrix, values)
    assert expression.source == "layers/counts"
    assert expression.is_counts


def test_genes_are_read_in_the_order_asked_for():
    values = make_values()
    for make in FORMATS.values():
        adata = make_adata(make(values.astype(np.float32)))
        assert_canonical(read_expression(adata, genes=["g4", "g0"]).matrix, values[:, [4, 0]])


def test_only_the_genes_read_are_checked():
    values = make_values().astype(np.float32)
    values[:, 3] = np.nan
    values[:, 2] = 0
    expression = read_expression(make_adata(values), genes=["g2"])
    assert expression.matrix.nnz == 0
    with pytest.raises(ValueError, match="NaN"):
        read_expression(make_adata(values))


def make_scaled(n_raw=9):
    """X is standardised; raw holds more genes, in another order, unscaled."""
    values = make_values(n_vars=n_raw, counts=False).astype(np.float32)
    full = make_adata(sp.csr_matrix(values))
    order = np.arange(n_raw)[::-1][:7]
    adata = make_adata(values[:, order] - values[:, order].mean(axis=0))
    adata.var_names = full.var_names[order]
    adata.raw = full
    return adata, values[:, order]


def test_scaled_x_falls_back_on_raw():
    adata, values = make_scaled()
    expression = read_expression(adata)
    assert expression.source == "raw"
    assert_canonical(expression.matrix, values)
    some = read_expression(adata, genes=list(adata.var_names[[5, 1]]))
    assert_canonical(some.matrix, values[:, [5, 1]])


def test_raw_is_left_alone_where_x_or_a_layer_will_do():
    adata, values = make_scaled()
    adata.layers["norm"] = values
    assert read_expression(adata, layer="norm").source == "layers/norm"
    adata.X = values * 2
    expression = read_expression(adata)
    assert expression.source == "X"
    assert_canonical(expression.matrix, values * 2)


def test_raw_without_a_gene_is_no_fallback():
    adata, _ = make_scaled()
    adata.var_names = ["new", *adata.var_names[1:]]
    with pytest.raises(ValueError, match=r"adata\.X holds negative values"):
        read_expression(adata)


def test_a_scaled_layer_does_not_fall_back():
    adata, _ = make_scaled()
    adata.layers["scaled"] = adata.X
    with pytest.raises(ValueError, match=r"adata\.layers/scaled holds negative values"):
        read_expression(adata, layer="scaled")


@pytest.mark.parametrize("make", [sp.csr_matrix, sp.csc_matrix, np.asarray])
@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (np.nan, "NaN or infinite"),
        (np.inf, "NaN or infinite"),
        (-np.inf, "NaN or infinite"),
        (1e300, "NaN or infinite"),
        (-0.5, r"negative values \(down to -0\.5\)"),
    ],
)
def test_error_bad_values(make, bad, message):
    values = make_values().astype(float)
    values[5, 2] = bad
    with pytest.raises(ValueError, match=message):
        read_expression(make_adata(make(values)))


@pytest.mark.parametrize("make", [sp.csr_matrix, np.asarray])
def test_error_all_zero(make):
    with pytest.raises(ValueError, match=r"adata\.X is zero everywhere"):
        read_expression(make_adata(make(np.zeros((3, 2)))))


def test_error_absent_layer():
    adata = make_adata(make_values(), layers={"counts": make_values()})
    with pytest.raises(KeyError, match=r"layer='count' is not in adata.layers.*\['counts'\]"):
        read_expression(adata, layer="count")


def test_error_no_x():
    adata = ad.AnnData(obs=pd.DataFrame(index=["c"]), var=pd.DataFrame(index=["g"]))
    with pytest.raises(ValueError, match=r"adata\.X is None"):
        read_expression(adata)


@pytest.mark.parametrize("dtype", [complex, object, "U1"])
def test_error_no_real_numbers(dtype):
    adata = make_adata(make_values().astype(float))
    adata.layers["bad"] = make_values().astype(dtype)
    with pytest.raises(TypeError, match=r"adata\.layers/bad must hold real numbers"):
        read_expression(adata, layer="bad")


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([[0, 1], [250, 3]], True),
        ([[0.0, 1.0], [2.0, 2**20]], True),
        ([[0.5, 1.0], [2.0, 3.0]], False),
        ([[0.0, 1.0], [2.0, 3.001]], False),
    ],
)
def test_counts_are_detected(values, expected):
    for make in (np.asarray, sp.csr_matrix, sp.csc_matrix):
        assert read_expression(make_adata(make(values))).is_counts is expected


def test_one_fraction_at_the_end_is_found_in_every_piece(monkeypatch):
    monkeypatch.setattr(_values, "_PIECE", 16)
    values = np.ones((50, 3))
    assert read_expression(make_adata(values)).is_counts
    values[-1, -1] = 0.5
    assert not read_expression(make_adata(values)).is_counts


@pytest.mark.parametrize("block_bytes", [4, 4 * 7, 4 * 7 * 5, 2**20])
@pytest.mark.parametrize("counts", [True, False], ids=["counts", "fractions"])
def test_blocks_cover_all_rows_once(monkeypatch, block_bytes, counts):
    monkeypatch.setattr(_expression, "_BLOCK_BYTES", block_bytes)
    values = make_values(counts=counts).astype(np.float32)
    expression = read_expression(make_adata(np.asfortranarray(values)))
    assert_canonical(expression.matrix, values)
    blocks = list(expression.blocks())
    rows = np.concatenate([np.arange(len(values))[part] for part, _ in blocks])
    np.testing.assert_array_equal(rows, np.arange(len(values)))
    expected = np.log1p(values) if counts else values
    stacked = np.vstack([block.toarray() for _, block in blocks])
    np.testing.assert_array_equal(stacked, expected)
    if block_bytes == 4 * 7 * 5:
        assert [block.shape[0] for _, block in blocks] == [5, 5, 3]


# --- what the rest of the package reads ---

both = pytest.mark.parametrize("counts", [True, False], ids=["counts", "fractions"])
either = pytest.mark.parametrize("raw", [True, False], ids=["raw", "model scale"])


def scaled(values, raw):
    """What the model sees: the logarithm of counts, and anything else as it is."""
    is_counts = (values == values.round()).all()
    return np.log1p(values) if is_counts and not raw else values


@both
@either
def test_blocks_are_on_the_scale_asked_for(monkeypatch, counts, raw):
    monkeypatch.setattr(_expression, "_BLOCK_BYTES", 4 * 7 * 5)
    values = make_values(counts=counts).astype(np.float32)
    blocks = list(read_expression(make_adata(values)).blocks(raw=raw))
    assert len(blocks) == 3
    stacked = np.vstack([block.toarray() for _, block in blocks])
    np.testing.assert_array_equal(stacked, scaled(values, raw))
    for _, block in blocks:
        assert isinstance(block, sp.csr_matrix)
        assert block.dtype == np.float32


@both
def test_model_scale_sees_each_gene_alone(counts):
    values = make_values(counts=counts).astype(np.float32)
    expression = read_expression(make_adata(values))
    expected = np.log1p(values) if counts else values
    np.testing.assert_array_equal(expression.take(None, None).toarray(), expected)
    some = expression.take(None, np.array([5, 1]))
    np.testing.assert_array_equal(some.toarray(), expected[:, [5, 1]])
    few = read_expression(make_adata(values[:, [5, 1]]))
    np.testing.assert_array_equal(few.take(None, None).toarray(), expected[:, [5, 1]])


@both
@either
@pytest.mark.parametrize(
    "cells", [None, np.array([4, 0, 11]), np.array([], dtype=np.intp), slice(2, 6)]
)
@pytest.mark.parametrize("genes", [None, np.array([6, 2]), np.array([], dtype=np.intp)])
def test_take_keeps_the_order_asked_for(counts, raw, cells, genes):
    values = make_values(counts=counts).astype(np.float32)
    taken = read_expression(make_adata(values)).take(cells, genes, raw=raw)
    expected = scaled(values, raw)
    expected = expected if cells is None else expected[cells]
    expected = expected if genes is None else expected[:, genes]
    assert isinstance(taken, sp.csr_matrix)
    assert taken.dtype == np.float32
    np.testing.assert_array_equal(taken.toarray(), expected)


def test_what_is_taken_does_not_write_to_the_data():
    adata = make_adata(sp.csr_matrix(make_values().astype(np.float32)))
    before = adata.X.copy()
    expression = read_expression(adata)
    expression.take(None, None).data[:] = -1
    for _, block in expression.blocks():
        block.data[:] = -1
    assert (before != adata.X).nnz == 0


@both
@either
@pytest.mark.parametrize("block_bytes", [4, 4 * 7 * 5, 2**20])
def test_sums_match_dense_numpy(monkeypatch, counts, raw, block_bytes):
    monkeypatch.setattr(_expression, "_BLOCK_BYTES", block_bytes)
    values = make_values(counts=counts).astype(np.float32)
    rng = np.random.default_rng(1)
    weights = rng.normal(size=(13, 4)) * (rng.random((13, 4)) < 0.7)
    cells = rng.random((13, 2)) < 0.5
    sums = read_expression(make_adata(values)).reduce(
        sp.csr_matrix(weights), cells, expressing=True, raw=raw
    )
    x = scaled(values, raw).astype(np.float64)
    np.testing.assert_allclose(sums.values, weights.T @ x, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(sums.squares, cells.T @ x**2, rtol=1e-12)
    np.testing.assert_allclose(sums.expressing, weights.T @ (x > 0), rtol=1e-12, atol=1e-12)
    assert {part.dtype for part in sums} == {np.dtype(np.float64)}


def test_only_the_sums_asked_for_are_taken():
    values = make_values()
    sums = read_expression(make_adata(values)).reduce(sp.csr_matrix(np.ones((13, 1))), raw=True)
    np.testing.assert_array_equal(sums.values, values.sum(axis=0)[None])
    assert sums.squares.shape == sums.expressing.shape == (0, 7)


def test_sums_take_one_pass():
    values = make_values()
    expression = read_expression(make_adata(values))
    passes = []

    class Counting(MemoryExpression):
        def blocks(self, *, raw=False):
            passes.append(raw)
            return super().blocks(raw=raw)

    counting = Counting(
        expression.source, expression.is_counts, expression.maximum, expression.matrix
    )
    weights = sp.csr_matrix(np.ones((13, 3)))
    counting.reduce(weights, np.ones((13, 2), dtype=bool), expressing=True)
    assert passes == [False]


@both
def test_some_cells_keep_what_was_found_of_all(counts):
    values = make_values(counts=counts).astype(np.float32)
    values[7, 3] = 99
    expression = read_expression(make_adata(values, layers={"l": values}), "l")
    some = expression.of_cells(np.array([5, 2]))
    assert (some.n_obs, some.n_vars) == (2, 7)
    assert (some.source, some.is_counts, some.maximum) == ("layers/l", counts, 99)
    np.testing.assert_array_equal(some.take(None, None, raw=True).toarray(), values[[5, 2]])
    assert expression.n_obs == 13


def test_cells_without_a_fraction_are_no_counts_if_others_have_one():
    """The scale is that of the whole data, whichever cells are looked at."""
    values = make_values().astype(np.float32)
    values[0, 0] = 0.5
    some = read_expression(make_adata(values)).of_cells(np.arange(1, 13))
    np.testing.assert_array_equal(some.take(None, None).toarray(), values[1:])


def test_the_maximum():
    values = make_values().astype(np.float32)
    expression = read_expression(make_adata(values))
    assert expression.maximum == values.max()
    assert isinstance(expression.maximum, float)
    values[:, 2] = 0
    assert read_expression(make_adata(values), genes=["g2"]).maximum == 0


def test_raw_may_be_preferred():
    adata, values = make_scaled()
    adata.X = values * 2
    preferred = read_expression(adata, raw="if_present")
    assert preferred.source == "raw"
    np.testing.assert_array_equal(preferred.take(None, None, raw=True).toarray(), values)
    adata.layers["l"] = values
    assert read_expression(adata, "l", raw="if_present").source == "layers/l"
    adata.var_names = ["new", *adata.var_names[1:]]
    assert read_expression(adata, raw="if_present").source == "X"


@pytest.mark.parametrize(
    ("source", "layer"), [("X", None), ("raw", None), ("layers/counts", "counts")]
)
def test_layer_of_a_source(source, layer):
    assert layer_of(source) == layer


def test_layers_of_a_source_may_have_slashes():
    adata = make_adata(make_values(), layers={"layers/a": make_values()})
    assert layer_of(read_expression(adata, "layers/a").source) == "layers/a"
