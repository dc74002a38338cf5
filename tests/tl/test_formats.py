"""The same numbers give the same panel and predictions, however they are stored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

import yoto_sc as yt

if TYPE_CHECKING:
    from collections.abc import Callable

    from anndata import AnnData


def _unsorted(counts: np.ndarray) -> sp.csr_matrix:
    """CSR with the entries of each row in reverse order."""
    csr = sp.csr_matrix(counts)
    rows = [slice(csr.indptr[i], csr.indptr[i + 1]) for i in range(csr.shape[0])]
    data = np.concatenate([csr.data[row][::-1] for row in rows])
    indices = np.concatenate([csr.indices[row][::-1] for row in rows])
    return sp.csr_matrix((data, indices, csr.indptr), shape=csr.shape)


def _split_entries(counts: np.ndarray) -> sp.csr_matrix:
    """CSR with every entry stored as a sum of two, and with explicit zeros."""
    csr = sp.csr_matrix(counts)
    data = np.stack([np.ones_like(csr.data), csr.data - 1], axis=1).ravel()
    return sp.csr_matrix((data, np.repeat(csr.indices, 2), csr.indptr * 2), shape=csr.shape)


def _wide_index(counts: np.ndarray) -> sp.csr_matrix:
    csr = sp.csr_matrix(counts)
    csr.indices, csr.indptr = csr.indices.astype(np.int64), csr.indptr.astype(np.int64)
    return csr


FORMATS: dict[str, Callable[[np.ndarray], Any]] = {
    "csr_matrix": sp.csr_matrix,
    "csc_matrix": sp.csc_matrix,
    "csr_array": sp.csr_array,
    "csc_array": sp.csc_array,
    "dense C": np.ascontiguousarray,
    "dense F": np.asfortranarray,
    "unsorted": _unsorted,
    "split": _split_entries,
    "wide index": _wide_index,
}


@pytest.mark.parametrize(
    ("make", "dtype"),
    [
        *(pytest.param(make, "float32", id=name) for name, make in FORMATS.items()),
        *(
            pytest.param(sp.csr_matrix, dtype, id=f"csr_matrix {dtype}")
            for dtype in ("float64", "int32", "int64", "uint8", "uint16")
        ),
        pytest.param(np.asfortranarray, "int64", id="dense F int64"),
        pytest.param(np.ascontiguousarray, "float64", id="dense C float64"),
    ],
)
def test_same_result_in_any_format(
    adata: AnnData,
    selected: AnnData,
    select: Callable[..., Any],
    make: Callable[[np.ndarray], Any],
    dtype: str,
    state_of: Callable[..., Any],
    assert_same_predictions: Callable[..., None],
) -> None:
    adata.X = make(adata.X.toarray().astype(dtype))
    assert adata.X.dtype == dtype
    before = state_of(adata)
    select(adata)
    assert state_of(adata)["X",] == before["X",]
    pd.testing.assert_frame_equal(adata.var, selected.var)
    assert_same_predictions(adata, selected)
    for name in ("metrics", "path", "history"):
        pd.testing.assert_frame_equal(adata.uns["yoto"][name], selected.uns["yoto"][name])


@pytest.mark.parametrize("make", FORMATS.values(), ids=FORMATS.keys())
def test_same_prediction_in_any_format(
    adata: AnnData,
    selected: AnnData,
    model_dir: Any,
    make: Callable[[np.ndarray], Any],
    state_of: Callable[..., Any],
    assert_same_predictions: Callable[..., None],
) -> None:
    adata.X = make(adata.X.toarray())
    before = state_of(adata)
    yt.tl.predict(adata, model_dir)
    assert state_of(adata)["X",] == before["X",]
    assert_same_predictions(adata, selected)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_normalised_expression(
    adata: AnnData, select: Callable[..., Any], dtype: str, assert_same_predictions: Any
) -> None:
    # Sums of halves: exact in both dtypes.
    adata.X = (adata.X / 2).astype(dtype)
    dense = adata.copy()
    dense.X = np.asfortranarray(dense.X.toarray())
    for data in (adata, dense):
        select(data, max_steps=4)
    assert not adata.uns["yoto"]["params"]["is_counts"]
    pd.testing.assert_frame_equal(adata.var, dense.var)
    assert_same_predictions(adata, dense)


def test_a_read_only_matrix_will_do(
    adata: AnnData, selected: AnnData, select: Callable[..., Any]
) -> None:
    for part in (adata.X.data, adata.X.indices, adata.X.indptr):
        part.flags.writeable = False
    select(adata)
    pd.testing.assert_frame_equal(adata.var, selected.var)
