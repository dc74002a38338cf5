"""Opening a file: what is large in it stays there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anndata as ad
import h5py
import zarr
from anndata.io import read_elem

from yoto_sc.data._chunked import lazily

if TYPE_CHECKING:
    from pathlib import Path

    from anndata import AnnData

_MOST_BYTES = 2**30
"""Matrices that take more in a file, without compression, are not brought into memory."""
_TABLES = ("obs", "var", "obsm", "varm", "uns")


def open_file(path: Path) -> AnnData:
    """Open an h5ad file or a zarr directory.

    Where expression (``X``, ``raw`` and layers) takes more than 1 GiB, it is read from the file
    when it is needed, as dask arrays, and ``obsp`` and ``varp`` are left out.

    Raises
    ------
    ImportError
        Expression is large, and dask is not installed.
    """
    if path.is_dir():
        group = zarr.open_group(path, mode="r")
        return _large(group) if _is_large(group) else ad.read_zarr(path)
    with h5py.File(path, "r") as file:
        if _is_large(file):
            return _large(file)
    return ad.read_h5ad(path)


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
