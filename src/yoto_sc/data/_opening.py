"""Opening a file, or a table in it: what is large stays there."""

from __future__ import annotations

import warnings
from functools import partial
from typing import TYPE_CHECKING, Any

import anndata as ad
import h5py
import zarr
from anndata.io import read_elem

from yoto_sc.data._chunked import lazily

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from anndata import AnnData

_MOST_BYTES = 2**30
"""Matrices that take more in a file, without compression, are not brought into memory."""
_SEVERAL = ("mod", "tables")
"""Where an h5mu file, and a SpatialData store, keep what they hold."""
_TABLES = ("obs", "var", "obsm", "varm", "uns")


class NoTableError(ValueError):
    """A file holds no such table, or it has to be said which of several."""


def open_file(path: Path, table: str | None = None) -> AnnData:
    """Open an h5ad file or a zarr directory; or what else holds cells and genes.

    These are a modality of an h5mu file, a table of a SpatialData store, and a
    ``feature_bc_matrix.h5`` or ``cell_feature_matrix.h5`` of 10x Genomics. Where expression
    (``X``, ``raw`` and layers) takes more than 1 GiB, it is read from the file when it is needed,
    as dask arrays, and ``obsp`` and ``varp`` are left out (but not of the last).

    Parameters
    ----------
    table
        Name of the modality or table; `None`: there is one only.

    Raises
    ------
    ImportError
        Expression is large, and dask is not installed.
    NoTableError
        There is no such table, or there are several and none is named.
    """
    if path.is_dir():
        return _opened(zarr.open_group(path, mode="r"), table, partial(ad.read_zarr, path))
    with h5py.File(path, "r") as file:
        if "matrix/barcodes" in file:
            _check_no_table(table)
            return _of_10x(path)
        return _opened(file, table, partial(ad.read_h5ad, path))


def _opened(group: Any, table: str | None, read: Callable[[], AnnData]) -> AnnData:
    """Open a group as a whole, which `read` does, or a table in it."""
    tables = next((group[place] for place in _SEVERAL if place in group), None)
    if tables is None:
        _check_no_table(table)
        return _large(group) if _is_large(group) else read()
    names = sorted(tables)
    if table is None and len(names) == 1:
        table = names[0]
    if table not in names:
        missing = "holds several" if table is None else f"holds no {table!r}"
        raise NoTableError(f"{missing}; its tables are {names}.")
    found: AnnData = (
        _large(tables[table]) if _is_large(tables[table]) else read_elem(tables[table])
    )
    return found


def _check_no_table(table: str | None) -> None:
    if table is not None:
        raise NoTableError(f"holds one table only, and none is called {table!r}.")


def _of_10x(path: Path) -> AnnData:
    import scanpy as sc

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Variable names are not unique")
        adata = sc.read_10x_h5(path)
    adata.var_names_make_unique()
    return adata


def _is_large(group: Any) -> bool:
    return sum(_n_bytes(element) for element in _matrices(group).values()) > _MOST_BYTES


def _matrices(group: Any) -> dict[str, Any]:
    """Return what holds expression, by its place."""
    places = ["X", "raw/X", *(f"layers/{name}" for name in group.get("layers", {}))]
    return {place: group[place] for place in places if place in group}


def _n_bytes(element: Any) -> int:
    """Return how many bytes a matrix takes in memory as it is stored."""
    if isinstance(element, h5py.Group | zarr.Group):
        return sum(_n_bytes(element[part]) for part in element)
    return int(element.size * element.dtype.itemsize)


def _large(group: Any) -> AnnData:
    matrices = {
        place: lazily(element, _n_bytes(element)) for place, element in _matrices(group).items()
    }
    parts = {name: read_elem(group[name]) for name in _TABLES if name in group}
    layers = {p.removeprefix("layers/"): m for p, m in matrices.items() if p.startswith("layers/")}
    adata = ad.AnnData(matrices.get("X"), layers=layers, **parts)
    if "raw/X" in matrices:
        adata.raw = ad.AnnData(matrices["raw/X"], obs=adata.obs, var=read_elem(group["raw/var"]))
    return adata
