"""Validation of what the user passes: one error for each problem, before any work is done."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from numbers import Integral, Real
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np
import pandas as pd
from anndata import AnnData

from yoto_sc._genes import check_strings, unknown_message
from yoto_sc._lazy import is_lazy, load_tables

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from numpy.typing import NDArray

    from yoto_sc._keys import Keys


_CONTAINERS = {
    "MuData": ". Pass one of its modalities, such as {0}.mod['rna']",
    "SpatialData": ". Pass one of its tables, such as {0}.tables['table']",
}
"""What else may hold cells and genes, and the way to these."""


def check_adata(adata: AnnData, name: str = "adata", *, copy: bool = False) -> None:
    """Refuse objects that cannot be worked on, by name; lazy tables come into memory.

    Parameters
    ----------
    copy
        Whether the results are to be written to a copy.
    """
    if not isinstance(adata, AnnData):
        way = _CONTAINERS.get(type(adata).__name__, "")
        raise TypeError(
            f"{name} must be an AnnData object, not {type(adata).__name__}{way.format(name)}."
        )
    if adata.is_view:
        method = "to_memory" if adata.isbacked else "copy"
        raise ValueError(
            f"{name} is a view of another AnnData object. Copy it first: "
            f"{name} = {name}.{method}()."
        )
    if copy and adata.isbacked:
        raise ValueError(
            f"{name} is backed on disk, and cannot be copied. Pass copy=False: the results are "
            f"written to its tables in memory, and its file stays as it is."
        )
    if 0 in adata.shape:
        raise ValueError(
            f"{name} has the shape {adata.shape}; it needs at least one cell and gene."
        )
    load_tables(adata)
    check_writable(adata.var_names, f"{name}.var_names")
    for names, axis in ((adata.obs_names, "obs"), (adata.var_names, "var")):
        if not names.is_unique:
            twice = names[names.duplicated()][0]
            raise ValueError(
                f"{name}.{axis}_names are not unique: {twice!r} occurs more than once. Call "
                f"{name}.{axis}_names_make_unique()."
            )


def check_split_key(obs: pd.DataFrame, split_key: str | None, argument: str = "split_key") -> None:
    """Refuse a column that cannot split the cells into groups."""
    if split_key is None:
        return
    if not isinstance(split_key, str):
        raise TypeError(f"{argument} must be the name of an obs column, not {split_key!r}.")
    check_column(obs, split_key, argument)
    n_groups = obs[split_key].nunique()
    if n_groups < 2:
        raise ValueError(
            f"{argument}={split_key!r} has {n_groups} group; holding groups out needs at least 2. "
            "Pass None to hold out cells instead."
        )


def check_written_keys(
    keys: Keys, written: Sequence[str], inputs: Collection[str | None], place: str = "obs"
) -> None:
    """Refuse names under which a result would overwrite an input or another result.

    Both `written` and `inputs` are entries of `place`.
    """
    if not isinstance(keys.key, str) or not keys.key:
        raise TypeError(f"key_added must be a non-empty string, not {keys.key!r}.")
    if "/" in keys.key:
        raise ValueError(
            f"key_added={keys.key!r} has a slash in it, which no file could be read by."
        )
    check_writable([keys.key], "key_added")
    for column in written:
        if column in inputs or list(written).count(column) > 1:
            raise ValueError(
                f"The result {place}[{column!r}] would overwrite a label or another result. "
                f"Choose another key_added than {keys.key!r}, or rename the label."
            )


def check_split_is_no_task(
    split_key: str | None, tasks: Collection[str], argument: str = "split_key"
) -> None:
    """Refuse to hold out the groups of a column that is to be predicted."""
    if split_key in tasks:
        raise ValueError(
            f"{argument}={split_key!r} is also a task; groups that are held out cannot be learned."
        )


def check_batch_key(obs: pd.DataFrame, batch_key: str | None, tasks: Collection[str]) -> None:
    """Refuse a column that holds no batches, or that is to be predicted."""
    if batch_key is None:
        return
    if not isinstance(batch_key, str):
        raise TypeError(f"batch_key must be the name of an obs column, not {batch_key!r}.")
    check_column(obs, batch_key, "batch_key")
    n_batches = obs[batch_key].nunique(dropna=False)
    if n_batches < 2:
        raise ValueError(
            f"batch_key={batch_key!r} has {n_batches} group; differences between batches need at "
            "least 2. Pass None if there are no batches."
        )
    if n_batches > len(obs) / 2:
        raise ValueError(
            f"batch_key={batch_key!r} has {n_batches} groups for {len(obs)} cells; batches need "
            "several cells each. Name a column of donors, plates or the like."
        )
    if batch_key in tasks:
        raise ValueError(
            f"batch_key={batch_key!r} is also a task; what is to count for nothing cannot be "
            "learned."
        )


def check_writable(names: Iterable[object], what: str) -> None:
    """Refuse names that no file can hold.

    Raises
    ------
    ValueError
        A name holds a NUL, or half of a surrogate pair.
    """
    every = "\n".join(map(str, names))
    if _is_text(every):
        return
    bad = next(name for name in every.split("\n") if not _is_text(name))
    raise ValueError(
        f"{what} holds {bad!r}, which has a NUL or half of a surrogate pair in it, and cannot be "
        "written to a file. Rename it."
    )


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in name


def check_index_names(adata: AnnData, obs: Collection[str], var: Collection[str] = ()) -> None:
    """Refuse tables whose index is called as a column that is to be written to them.

    Raises
    ------
    ValueError
        Such a table could not be written to a file.
    """
    for axis, written in (("obs", obs), ("var", var)):
        name = getattr(adata, axis).index.name
        if name in written:
            raise ValueError(
                f"adata.{axis}.index is named {name!r}, as a result is. Rename it: "
                f"adata.{axis}.index.name = None."
            )


def check_not_foreign(
    adata: AnnData,
    keys: Keys,
    written: Mapping[str, Collection[str]],
    columns: Mapping[str, object],
) -> None:
    """Refuse names under which something else than an earlier selection is stored already.

    The results are `written`, by place; `columns` are the var columns read, by argument.
    """
    var = {keys.selected, keys.rank, keys.score, keys.imposed}
    check_index_names(adata, written["obs"], var)
    for argument, column in columns.items():
        if isinstance(column, str) and column in var:
            raise ValueError(
                f"{argument}={column!r} would be overwritten by the result. Choose another "
                f"key_added than {keys.key!r}."
            )
    entry = adata.uns.get(keys.uns)
    params = entry.get("params") if isinstance(entry, Mapping) else None
    if "yoto_sc_version" in (params or {}):
        return
    taken = [
        *(f"uns[{key!r}]" for key in {keys.uns} & adata.uns.keys()),
        *(f"obsm[{key!r}]" for key in sorted({*written["obsm"]} & adata.obsm.keys())),
        *(f"var[{key!r}]" for key in sorted(var & {*adata.var.columns})),
        *(f"obs[{key!r}]" for key in sorted({*written["obs"]} & {*adata.obs.columns})),
    ]
    if taken:
        raise ValueError(
            f"key_added={keys.key!r} would overwrite adata.{', adata.'.join(taken)}, which no "
            "selection under this key wrote. Choose another key_added, or delete it."
        )


def check_no_repeats(argument: str, given: Mapping[str, Any] | None, named: Sequence[str]) -> None:
    """Refuse further arguments that have a name of their own in the call."""
    repeated = sorted(set(named) & set(given or {}))
    if repeated:
        raise TypeError(f"Pass {repeated} as arguments of their own, not in `{argument}`.")


def check_panel(names: pd.Index, genes: Sequence[str], argument: str) -> None:
    """Refuse gene lists that are empty, name an unknown gene, or one twice."""
    if not genes:
        raise ValueError(f"`{argument}` holds no gene. Name at least one of adata.var_names.")
    mask_of(names, genes, argument)
    twice = sorted({gene for gene in genes if genes.count(gene) > 1})
    if twice:
        raise ValueError(f"`{argument}` names {twice} more than once.")


def check_amount(value: object, name: str) -> None:
    """Refuse what is no finite number from 0 up."""
    _check_number(value, name, np.inf, "finite and at least 0")


def check_fraction(value: object, name: str) -> None:
    """Refuse what is no number from 0 to below 1."""
    _check_number(value, name, 1, "at least 0 and below 1")


def check_embedding(value: object, adata: AnnData) -> bool:
    """Return whether the representation is to be written: ``"auto"``, where cells are in memory.

    Raises
    ------
    ValueError
        It is none of ``"auto"``, `True` and `False`.
    """
    if value == "auto":
        return not is_lazy(adata.X)
    if not isinstance(value, bool):
        raise ValueError(f'embedding must be "auto", True or False, not {value!r}.')
    return value


def check_positive(value: object, name: str) -> None:
    """Refuse what is no finite number above 0."""
    _check_number(value, name, np.inf, "finite and above 0")
    if value == 0:
        raise ValueError(f"{name} must be finite and above 0, not {value}.")


def _check_number(value: object, name: str, end: float, bounds: str) -> None:
    if not isinstance(value, Real) or isinstance(value, bool):
        raise TypeError(f"{name} must be a number, not {value!r}.")
    if not 0 <= float(value) < end:
        raise ValueError(f"{name} must be {bounds}, not {value}.")


def check_integer(value: object, name: str, *, minimum: int, maximum: int = 2**63 - 1) -> None:
    """Refuse what is no integer in the range."""
    if not is_integer(value):
        raise TypeError(f"{name} must be an integer, not {value!r}.")
    if not minimum <= value <= maximum:
        bounds = f"at least {minimum}" if value < minimum else f"at most {maximum}"
        raise ValueError(f"{name} must be {bounds}, not {value}.")


def check_new_directory(path: object, name: str) -> None:
    """Refuse what cannot become a directory."""
    if not isinstance(path, str | PathLike):
        raise TypeError(f"{name} must be a path, not {path!r}.")
    directory = Path(path)
    if directory.exists():
        raise ValueError(f"{name}={str(path)!r} already exists. Name a new directory.")
    parent = next(p for p in directory.absolute().parents if p.exists())
    if not parent.is_dir() or not os.access(parent, os.W_OK):
        raise ValueError(f"{name}={str(path)!r} cannot be made: {parent} cannot be written to.")


def as_list(value: str | Iterable[Any] | None, name: str) -> list[Any]:
    """Return a list; a single string is one entry, `None` is none."""
    if value is None:
        return []
    if not isinstance(value, Iterable):
        raise TypeError(f"{name} must be a name or a list, not {value!r}.")
    return [value] if isinstance(value, str) else list(value)


def missing_genes(names: pd.Index, genes: Collection[str]) -> list[str]:
    """Return the `genes` that are not among `names`, in their own order."""
    known = set(names)
    return [gene for gene in genes if gene not in known]


def is_integer(value: object) -> TypeGuard[int]:
    """Whether a value is a whole number, of Python or numpy."""
    return isinstance(value, Integral) and not isinstance(value, bool | np.bool_)


def check_column(obs: pd.DataFrame, key: str, argument: str) -> None:
    if key not in obs.columns:
        raise KeyError(
            f"`{argument}` names {key!r}, which is not a column of adata.obs. The columns are "
            f"{list(obs.columns)}."
        )
    if isinstance(obs[key], pd.DataFrame):
        raise ValueError(
            f"adata.obs has more than one column {key!r}. Rename or drop one of them."
        )


def mask_of(names: pd.Index, genes: Collection[str], argument: str) -> NDArray[np.bool_]:
    check_strings(genes, argument)
    unknown = missing_genes(names, genes)
    if unknown:
        raise KeyError(unknown_message(names, unknown, argument))
    return np.asarray(names.isin(list(genes)))
