"""Validation of what the user passes: one error for each problem, before any work is done."""

from __future__ import annotations

import difflib
import fnmatch
import os
import re
from collections.abc import Iterable, Mapping
from numbers import Integral, Real
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeGuard

import numpy as np
import pandas as pd
from anndata import AnnData

from yoto_sc._rules import Cap, GeneRules

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from numpy.typing import NDArray

    from yoto_sc._keys import Keys


def check_adata(adata: AnnData) -> None:
    """Refuse objects that cannot be worked on as a whole, in memory, by name.

    Raises
    ------
    TypeError
        Not an AnnData object.
    ValueError
        A view, a backed object, an empty one, or one whose names are not unique.
    """
    if not isinstance(adata, AnnData):
        raise TypeError(f"adata must be an AnnData object, not {type(adata).__name__}.")
    if adata.isbacked:
        raise ValueError("adata is backed on disk. Load it first: adata = adata.to_memory().")
    if adata.is_view:
        raise ValueError(
            "adata is a view of another AnnData object. Copy it first: adata = adata.copy()."
        )
    if 0 in adata.shape:
        raise ValueError(
            f"adata has the shape {adata.shape}; it needs at least one cell and gene."
        )
    for names, axis in ((adata.obs_names, "obs"), (adata.var_names, "var")):
        if not names.is_unique:
            twice = names[names.duplicated()][0]
            raise ValueError(
                f"adata.{axis}_names are not unique: {twice!r} occurs more than once. Call "
                f"adata.{axis}_names_make_unique()."
            )


def check_task_keys(
    obs: pd.DataFrame, categorical_keys: Sequence[str], continuous_keys: Sequence[str]
) -> None:
    """Refuse sets of keys that name no task, or a task twice.

    Raises
    ------
    KeyError
        A key is no column of `obs`.
    ValueError
        No task, a repeated key, or a key that names several columns.
    """
    for key in (*categorical_keys, *continuous_keys):
        if not isinstance(key, str):
            raise TypeError(f"Keys must be names of obs columns (strings), not {key!r}.")
    if not categorical_keys and not continuous_keys:
        raise ValueError(
            "No task given: name at least one obs column in `categorical_keys` or "
            f"`continuous_keys`. The columns are {list(obs.columns)}."
        )
    both = sorted(set(categorical_keys) & set(continuous_keys))
    if both:
        raise ValueError(
            f"{both} are in both `categorical_keys` and `continuous_keys`. Decide for one kind."
        )
    for name, keys in (
        ("categorical_keys", categorical_keys),
        ("continuous_keys", continuous_keys),
    ):
        for key in keys:
            _check_column(obs, key, name)
            if list(keys).count(key) > 1:
                raise ValueError(f"`{name}` names {key!r} more than once.")


def check_split_key(obs: pd.DataFrame, split_key: str | None, argument: str = "split_key") -> None:
    """Refuse a column that cannot split the cells into groups.

    Raises
    ------
    KeyError
        `split_key` is no column of `obs`.
    ValueError
        There are fewer than two groups.
    """
    if split_key is None:
        return
    if not isinstance(split_key, str):
        raise TypeError(f"{argument} must be the name of an obs column, not {split_key!r}.")
    _check_column(obs, split_key, argument)
    n_groups = obs[split_key].nunique()
    if n_groups < 2:
        raise ValueError(
            f"{argument}={split_key!r} has {n_groups} group; holding groups out needs at least 2. "
            "Pass None to hold out cells instead."
        )


def check_written_keys(
    keys: Keys,
    categorical_keys: Sequence[str],
    continuous_keys: Sequence[str],
    split_key: str | None = None,
) -> None:
    """Refuse names under which a result would overwrite an input or another result.

    Raises
    ------
    TypeError
        ``key_added`` is no string.
    ValueError
        Two results, or a result and an input, share a column.
    """
    if not isinstance(keys.key, str) or not keys.key:
        raise TypeError(f"key_added must be a non-empty string, not {keys.key!r}.")
    written = keys.obs(categorical_keys, continuous_keys)
    inputs = {*categorical_keys, *continuous_keys, split_key}
    if split_key in {*categorical_keys, *continuous_keys}:
        raise ValueError(
            f"split_key={split_key!r} is also a task; groups that are held out cannot be learned."
        )
    for column in written:
        if column in inputs or written.count(column) > 1:
            raise ValueError(
                f"The result column obs[{column!r}] would overwrite a label or another result. "
                f"Choose another key_added than {keys.key!r}, or rename the label's column."
            )


def check_not_foreign(
    adata: AnnData,
    keys: Keys,
    categorical_keys: Sequence[str],
    continuous_keys: Sequence[str],
    columns: Mapping[str, object] | None = None,
) -> None:
    """Refuse names under which something else than an earlier selection is stored already.

    Raises
    ------
    ValueError
        A result would overwrite an entry that no selection under this key wrote.
    """
    var = {keys.selected, keys.rank, keys.score}
    for argument, column in (columns or {}).items():
        if isinstance(column, str) and column in var:
            raise ValueError(
                f"{argument}={column!r} would be overwritten by the result. Choose another "
                f"key_added than {keys.key!r}."
            )
    entry = adata.uns.get(keys.uns)
    params = entry.get("params") if isinstance(entry, Mapping) else None
    if "yoto_sc_version" in (params or {}):
        return
    obs = set(keys.obs(categorical_keys, continuous_keys))
    taken = [
        *(f"uns[{key!r}]" for key in {keys.uns} & adata.uns.keys()),
        *(f"obsm[{key!r}]" for key in {keys.latent} & adata.obsm.keys()),
        *(f"var[{key!r}]" for key in sorted(var & set(adata.var.columns))),
        *(f"obs[{key!r}]" for key in sorted(obs & set(adata.obs.columns))),
    ]
    if taken:
        raise ValueError(
            f"key_added={keys.key!r} would overwrite adata.{', adata.'.join(taken)}, which no "
            "selection under this key wrote. Choose another key_added, or delete it."
        )


def check_no_repeats(argument: str, given: Mapping[str, Any] | None, named: Sequence[str]) -> None:
    """Refuse further arguments that have a name of their own in the call.

    Raises
    ------
    TypeError
        `given` holds one of `named`.
    """
    repeated = sorted(set(named) & set(given or {}))
    if repeated:
        raise TypeError(f"Pass {repeated} as arguments of their own, not in `{argument}`.")


def resolve_genes(
    var: pd.DataFrame,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    candidates: str | Iterable[str] | None = None,
    *,
    preference: str | None = None,
    cost: str | None = None,
    budget: float | None = None,
) -> GeneRules:
    """Turn the user's rules on genes into masks, weights and a cap.

    Parameters
    ----------
    var
        Table of the genes, ``adata.var``, of shape ``(n_vars, …)``.
    include
        Var names that must be in the panel.
    exclude
        Var names, or shell-style patterns such as ``"MT-*"``, that must not be.
    candidates
        Boolean column of `var`, or var names, to choose from; `None`: all genes. Genes in
        `include` may be chosen in any case.
    preference
        Column of `var` with weights of the genes; missing is 1, and 0 forbids the gene.
    cost, budget
        Column of `var` with costs, and what the panel may cost in all.

    Raises
    ------
    KeyError
        A gene or column does not exist.
    TypeError
        The `candidates` column is not boolean, a gene name is no string, or a column or `budget`
        holds no numbers.
    ValueError
        Rules contradict each other, or leave no gene; a number is negative or infinite, or the
        cost of a gene that may be chosen is missing.
    """
    names = var.index
    required = _mask_of(names, include, "include")
    excluded = excluded_genes(names, exclude)
    contested = names[required & excluded]
    if len(contested):
        raise ValueError(
            f"{list(contested)} are both in `include` and in `exclude` (patterns count). Remove "
            "them from one of the two."
        )
    limits = {}
    if exclude:
        limits["exclude"] = ~excluded
    if candidates is not None:
        limits["candidates"] = _candidates(var, candidates) | required
    if not GeneRules(required, limits).allowed.any():
        raise ValueError("`candidates` and `exclude` leave no gene to choose from.")
    weights = None
    if preference is not None:
        weights = _numbers(var, preference, "preference")
        weights = np.where(np.isnan(weights), 1.0, weights)
        limits[f"preference={preference!r}"] = weights > 0
        check_included(names, required, f"preference={preference!r}", weights > 0)
    if (cost is None) != (budget is None):
        raise ValueError("`cost` and `budget` come together: give both or none.")
    caps = {}
    if cost is not None:
        check_amount(budget, "budget")
        costs = _numbers(var, cost, "cost")
        unknown = np.isnan(costs) & GeneRules(required, limits).allowed
        if unknown.any():
            raise ValueError(
                f"cost={cost!r} is missing for {unknown.sum()} genes that may be chosen, such as "
                f"{names[unknown][0]!r}. Fill it in, or leave these genes out by `candidates` or "
                "`exclude`."
            )
        caps[f"budget={budget:g}"] = Cap(np.nan_to_num(costs), float(budget or 0))
    return GeneRules(required, limits, caps, weights)


def check_panel(names: pd.Index, genes: Sequence[str], argument: str) -> None:
    """Refuse gene lists that are empty, name an unknown gene, or one twice.

    Raises
    ------
    KeyError
        A gene is not among `names`.
    TypeError
        A gene name is no string.
    ValueError
        No gene, or a gene twice.
    """
    if not genes:
        raise ValueError(f"`{argument}` holds no gene. Name at least one of adata.var_names.")
    _mask_of(names, genes, argument)
    twice = sorted({gene for gene in genes if genes.count(gene) > 1})
    if twice:
        raise ValueError(f"`{argument}` names {twice} more than once.")


def check_n_genes(n_genes: int | Literal["auto"], rules: GeneRules) -> None:
    """Refuse panel sizes that the rules cannot meet.

    Raises
    ------
    TypeError
        Neither an integer nor ``"auto"``.
    ValueError
        Below 1, below the number of required genes, above the number of allowed ones, or in
        conflict with other rules, the smallest set of which is named.
    """
    n_required = int(rules.required.sum())
    if n_genes == "auto":
        size = max(1, n_required)
    elif not _is_integer(n_genes):
        raise TypeError(f'n_genes must be an integer or "auto", not {n_genes!r}.')
    else:
        size = int(n_genes)
    if size < 1:
        raise ValueError(f"n_genes must be at least 1, not {n_genes}.")
    if size < n_required:
        raise ValueError(
            f"n_genes={n_genes} is smaller than the {n_required} genes in `include`. Ask for more "
            "genes, or include fewer."
        )
    if rules.is_feasible(size):
        return
    conflict = rules.conflict(size)
    if len(conflict) == 1:
        raise ValueError(
            f"n_genes={n_genes} exceeds the {len(rules.required)} genes that there are. Ask for "
            "fewer."
        )
    largest = rules.largest_size(size - 1)
    at_most = f" At most {largest} genes meet all rules." if largest else ""
    raise ValueError(
        f"No panel meets these rules together: {', '.join(conflict)}. Loosen one of them.{at_most}"
    )


def check_included(
    names: pd.Index, required: NDArray[np.bool_], rule: str, limit: NDArray[np.bool_]
) -> None:
    """Refuse a rule that forbids genes which must be in the panel.

    Parameters
    ----------
    names
        Var names, shape ``(n_vars,)``.
    required
        Mask of the genes in `include`, shape ``(n_vars,)``.
    rule
        Name of the rule.
    limit
        Mask of the genes that it allows, shape ``(n_vars,)``.

    Raises
    ------
    ValueError
        It forbids a gene in `include`.
    """
    forbidden = list(names[required & ~limit])
    if forbidden:
        raise ValueError(
            f"`include` names {forbidden}, which {rule} forbids. Include other genes, or loosen "
            "the rule."
        )


def check_limits(
    obs: pd.DataFrame,
    categorical_keys: Sequence[str],
    mean_range: Sequence[float | None] | None,
    fraction_range: Sequence[float | None] | None,
    max_crowding: float | None,
    crowding_key: str | None,
) -> None:
    """Refuse limits that say nothing clear.

    Raises
    ------
    KeyError
        `crowding_key` is no column of `obs`.
    TypeError
        A bound is no number.
    ValueError
        A bound is out of range, or one of two arguments that need each other is absent.
    """
    _check_range(mean_range, "mean_range", np.inf)
    _check_range(fraction_range, "fraction_range", 1)
    if max_crowding is None:
        if crowding_key is not None:
            raise ValueError("`crowding_key` says nothing without `max_crowding`. Give both.")
        return
    check_amount(max_crowding, "max_crowding")
    if crowding_key is not None:
        _check_column(obs, crowding_key, "crowding_key")
    elif not categorical_keys:
        raise ValueError(
            "`max_crowding` needs cell types: name the obs column that holds them in "
            "`crowding_key`."
        )


def check_amount(value: object, name: str) -> None:
    """Refuse what is no finite number from 0 up.

    Raises
    ------
    TypeError
        No number.
    ValueError
        Negative, infinite or NaN.
    """
    if not isinstance(value, Real) or isinstance(value, bool | np.bool_):
        raise TypeError(f"{name} must be a number, not {value!r}.")
    if not 0 <= float(value) < np.inf:
        raise ValueError(f"{name} must be finite and at least 0, not {value}.")


def check_integer(value: object, name: str, *, minimum: int, maximum: int = 2**63 - 1) -> None:
    """Refuse what is no integer in the range.

    Raises
    ------
    TypeError
        No integer.
    ValueError
        Too small or too large.
    """
    if not _is_integer(value):
        raise TypeError(f"{name} must be an integer, not {value!r}.")
    if not minimum <= value <= maximum:
        bounds = f"at least {minimum}" if value < minimum else f"at most {maximum}"
        raise ValueError(f"{name} must be {bounds}, not {value}.")


def check_fraction(value: object, name: str) -> None:
    """Refuse what is no number from 0 to below 1.

    Raises
    ------
    TypeError
        No number.
    ValueError
        Out of range.
    """
    if not isinstance(value, Real) or isinstance(value, bool):
        raise TypeError(f"{name} must be a number, not {value!r}.")
    if not 0 <= float(value) < 1:
        raise ValueError(f"{name} must be at least 0 and below 1, not {value}.")


def check_new_directory(path: object, name: str) -> None:
    """Refuse what cannot become a directory.

    Raises
    ------
    TypeError
        No path.
    ValueError
        It exists, or cannot be made where it should be.
    """
    if not isinstance(path, str | PathLike):
        raise TypeError(f"{name} must be a path, not {path!r}.")
    directory = Path(path)
    if directory.exists():
        raise ValueError(f"{name}={str(path)!r} already exists. Name a new directory.")
    parent = next(p for p in directory.absolute().parents if p.exists())
    if not parent.is_dir() or not os.access(parent, os.W_OK):
        raise ValueError(f"{name}={str(path)!r} cannot be made: {parent} cannot be written to.")


def as_list(value: str | Iterable[Any] | None, name: str) -> list[Any]:
    """Return a list; a single string is one entry, `None` is none.

    Raises
    ------
    TypeError
        No list.
    """
    if value is None:
        return []
    if not isinstance(value, Iterable):
        raise TypeError(f"{name} must be a name or a list, not {value!r}.")
    return [value] if isinstance(value, str) else list(value)


def missing_genes(names: pd.Index, genes: Collection[str]) -> list[str]:
    """Return the `genes` that are not among `names`, in their own order."""
    known = set(names)
    return [gene for gene in genes if gene not in known]


def _is_integer(value: object) -> TypeGuard[int]:
    return isinstance(value, Integral) and not isinstance(value, bool | np.bool_)


def _check_range(bounds: Sequence[float | None] | None, name: str, maximum: float) -> None:
    if bounds is None:
        return
    if not isinstance(bounds, tuple | list | np.ndarray) or len(bounds) != 2:
        raise TypeError(
            f"{name} must be a pair (smallest, largest), with None for no bound, not {bounds!r}."
        )
    for bound in bounds:
        if bound is not None:
            check_amount(bound, f"A bound in {name}")
            if bound > maximum:
                raise ValueError(f"A bound in {name} must be at most {maximum}, not {bound}.")
    low, high = bounds
    if low is not None and high is not None and low > high:
        raise ValueError(f"{name}={tuple(bounds)} is empty: the smallest comes first.")


def _check_column(obs: pd.DataFrame, key: str, argument: str) -> None:
    if key not in obs.columns:
        raise KeyError(
            f"`{argument}` names {key!r}, which is not a column of adata.obs. The columns are "
            f"{list(obs.columns)}."
        )
    if isinstance(obs[key], pd.DataFrame):
        raise ValueError(
            f"adata.obs has more than one column {key!r}. Rename or drop one of them."
        )


def _numbers(var: pd.DataFrame, key: object, argument: str) -> NDArray[np.float64]:
    """Read a column of numbers from 0 up, NaN where missing, of shape ``(n_vars,)``."""
    if not isinstance(key, str):
        raise TypeError(f"{argument} must be the name of a var column, not {key!r}.")
    if key not in var.columns:
        raise KeyError(
            f"{argument}={key!r} is not a column of adata.var. The columns are "
            f"{list(var.columns)}."
        )
    column = var[key]
    if isinstance(column, pd.DataFrame):
        raise ValueError(
            f"adata.var has more than one column {key!r}. Rename or drop one of them."
        )
    if not pd.api.types.is_numeric_dtype(column.dtype):
        raise TypeError(
            f"The var column {key!r} must hold numbers to be the {argument}, but its dtype is "
            f"{column.dtype}."
        )
    values = column.to_numpy(dtype=np.float64, na_value=np.nan)
    if (values < 0).any() or np.isinf(values).any():
        gene = var.index[(values < 0) | np.isinf(values)][0]
        raise ValueError(
            f"{argument}={key!r} must be finite and at least 0, but holds {var.loc[gene, key]} "
            f"for {gene!r}."
        )
    return values


def _mask_of(names: pd.Index, genes: Collection[str], argument: str) -> NDArray[np.bool_]:
    for gene in genes:
        if not isinstance(gene, str):
            raise TypeError(f"`{argument}` must hold var names (strings), not {gene!r}.")
    unknown = missing_genes(names, genes)
    if unknown:
        close = difflib.get_close_matches(unknown[0], names.astype(str), n=3)
        hint = f" Did you mean {' or '.join(close)}?" if close else ""
        raise KeyError(
            f"`{argument}` names {unknown}, which {'is' if len(unknown) == 1 else 'are'} not in "
            f"adata.var_names.{hint}"
        )
    return np.asarray(names.isin(list(genes)))


def excluded_genes(names: pd.Index, exclude: Sequence[str]) -> NDArray[np.bool_]:
    """Mask the genes that names and patterns exclude, of shape ``(n_vars,)``.

    Raises
    ------
    KeyError
        A name that is no pattern does not exist.
    """
    exact = [gene for gene in exclude if gene in names or not _is_pattern(gene)]
    mask = _mask_of(names, exact, "exclude")
    for pattern in (gene for gene in exclude if gene not in exact):
        matches = re.compile(fnmatch.translate(pattern)).match
        mask |= np.fromiter((matches(name) is not None for name in names), bool, len(names))
    return mask


def _is_pattern(gene: object) -> bool:
    return isinstance(gene, str) and any(character in gene for character in "*?[")


def _candidates(var: pd.DataFrame, candidates: str | Iterable[str] | None) -> NDArray[np.bool_]:
    if candidates is None:
        return np.ones(len(var), dtype=bool)
    if not isinstance(candidates, str):
        return _mask_of(var.index, list(candidates), "candidates")
    if candidates not in var.columns:
        raise KeyError(
            f"candidates={candidates!r} is not a column of adata.var. The columns are "
            f"{list(var.columns)}; a list of var names is allowed too."
        )
    column = var[candidates]
    if not pd.api.types.is_bool_dtype(column.dtype):
        raise TypeError(
            f"The var column {candidates!r} must be boolean to name the candidates, but its dtype "
            f"is {column.dtype}."
        )
    return np.asarray(column.fillna(False).to_numpy(dtype=bool))
