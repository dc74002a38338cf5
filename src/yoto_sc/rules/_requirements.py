"""What a user asks of a panel, as given, and the rules that follow from it."""

from __future__ import annotations

import fnmatch
import re
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from yoto_sc._checks import as_list, check_amount, check_column, check_integer, mask_of
from yoto_sc._genes import SYMBOLS, check_strings, resolve_genes
from yoto_sc.data import FLOOR_IN_ALL, FLOOR_IN_CLASS, Categorical
from yoto_sc.rules._gene_rules import Cap, GeneRules, check_included
from yoto_sc.rules._limits import limit_expression
from yoto_sc.rules._redundancy import require_markers

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from anndata import AnnData
    from numpy.typing import NDArray

    from yoto_sc._genes import UnknownGenes
    from yoto_sc.data import Expression
    from yoto_sc.rules._redundancy import Classes


_FEWEST = 1000
"""Of fewer cells, most classes are too small to say how often a gene is seen."""


@dataclass(frozen=True)
class Requirements:
    """What a user asks of a panel.

    Parameters
    ----------
    include
        Var names that must be in the panel.
    exclude
        Var names, or shell-style patterns such as ``"MT-*"``, that must not be.
    candidates
        Boolean var column, or var names, to choose from; `None`: all genes. Genes in `include`
        may be chosen in any case.
    preference
        Var column with weights of the genes; missing is 1, and 0 forbids the gene.
    cost, budget
        Var column with costs, and what the panel may cost in all.
    mean_range, fraction_range, max_crowding, min_detection
        See :func:`yoto_sc.rules._limits.limit_expression`.
    crowding_key
        Obs column of the cell types for `max_crowding`; `None`: the first categorical task.
    redundancy
        See :func:`yoto_sc.rules._redundancy.require_markers`.

    Raises
    ------
    TypeError
        A bound is no number, or an argument of the wrong type.
    ValueError
        A bound is out of range, or one of two arguments that need each other is absent.
    """

    include: Sequence[str] = ()
    exclude: Sequence[str] = ()
    candidates: str | Sequence[str] | None = None
    preference: str | None = None
    cost: str | None = None
    budget: float | None = None
    mean_range: Sequence[float | None] | None = None
    fraction_range: Sequence[float | None] | None = None
    max_crowding: float | None = None
    crowding_key: str | None = None
    min_detection: float | None = None
    redundancy: int | None = None

    def __post_init__(self) -> None:
        for name in ("include", "exclude"):
            object.__setattr__(self, name, as_list(getattr(self, name), name))
        if not isinstance(self.candidates, str | None):
            object.__setattr__(self, "candidates", as_list(self.candidates, "candidates"))
        if (self.cost is None) != (self.budget is None):
            raise ValueError("`cost` and `budget` come together: give both or none.")
        if self.budget is not None:
            check_amount(self.budget, "budget")
        for name, maximum in (("mean_range", np.inf), ("fraction_range", 1)):
            bounds = getattr(self, name)
            _check_range(bounds, name, maximum)
            if bounds is not None:  # files of JSON know no infinity
                finite = tuple(None if bound == np.inf else bound for bound in bounds)
                object.__setattr__(self, name, finite)
        if self.min_detection is not None:
            check_amount(self.min_detection, "min_detection")
            if self.min_detection > 1:
                raise ValueError(f"min_detection must be at most 1, not {self.min_detection}.")
        if self.redundancy is not None:
            check_integer(self.redundancy, "redundancy", minimum=1)
            object.__setattr__(self, "redundancy", int(self.redundancy))
        if self.max_crowding is not None:
            check_amount(self.max_crowding, "max_crowding")
        elif self.crowding_key is not None:
            raise ValueError("`crowding_key` says nothing without `max_crowding`. Give both.")

    def resolved(self, var: pd.DataFrame, unknown_genes: UnknownGenes = "error") -> Requirements:
        """Return the same requirements with var names, whatever names the genes were given by.

        Unknown genes that are not to be in the panel do no harm: they are passed over, unless none
        of them is known. Patterns stay, but those that no var name matches name symbols.

        Parameters
        ----------
        unknown_genes
            What to do about unknown genes that must or may be in the panel.

        Raises
        ------
        KeyError
            A gene is unknown that may not be.
        TypeError
            A name is no string.
        """
        ignored = unknown_genes == "ignore"
        asked: Literal["some", "error"] = "some" if ignored else "error"
        check_strings(self.exclude, "exclude")
        patterns = [gene for gene in self.exclude if _is_pattern(gene) and gene not in var.index]
        exact = [gene for gene in self.exclude if gene not in patterns]
        kept = resolve_genes(var, exact, "exclude", "any" if ignored else "some")
        candidates = self.candidates
        if candidates is not None and not isinstance(candidates, str):
            candidates = resolve_genes(var, candidates, "candidates", asked)
        return replace(
            self,
            include=resolve_genes(var, self.include, "include", asked),
            exclude=[*kept, *(gene for pattern in patterns for gene in _by_symbol(var, pattern))],
            candidates=candidates,
        )

    @property
    def var_columns(self) -> dict[str, str]:
        """Columns of ``adata.var`` that are read, by argument."""
        named = {
            "candidates": self.candidates,
            "preference": self.preference,
            "cost": self.cost,
        }
        return {argument: key for argument, key in named.items() if isinstance(key, str)}

    @property
    def are_on_expression(self) -> bool:
        """Whether any of them can be told from expression only."""
        return self._limit_expression or self.redundancy is not None

    @property
    def _limit_expression(self) -> bool:
        asked = (self.mean_range, self.fraction_range, self.max_crowding, self.min_detection)
        return any(limit is not None for limit in asked)

    def gene_rules(self, var: pd.DataFrame) -> GeneRules:
        """Return the rules that follow from ``adata.var`` alone, where genes go by var name.

        Raises
        ------
        KeyError
            A gene or column does not exist.
        TypeError
            The `candidates` column is not boolean, a gene name is no string, or a column holds no
            numbers.
        ValueError
            Rules contradict each other, or leave no gene; a number is negative or infinite, or
            the cost of a gene that may be chosen is missing.
        """
        names = var.index
        required = mask_of(names, self.include, "include")
        excluded = excluded_genes(names, self.exclude)
        contested = names[required & excluded]
        if len(contested):
            raise ValueError(
                f"{list(contested)} are both in `include` and in `exclude` (patterns count). "
                "Remove them from one of the two."
            )
        limits = {}
        if self.exclude:
            limits["exclude"] = ~excluded
        if self.candidates is not None:
            limits["candidates"] = _candidates(var, self.candidates) | required
        if not GeneRules(required, limits).allowed.any():
            raise ValueError("`candidates` and `exclude` leave no gene to choose from.")
        weights = None
        if self.preference is not None:
            weights = _numbers(var, self.preference, "preference")
            weights = np.where(np.isnan(weights), 1.0, weights)
            rule = f"preference={self.preference!r}"
            limits[rule] = weights > 0
            check_included(names, required, rule, weights > 0)
        caps = {}
        if self.cost is not None and self.budget is not None:
            costs = _numbers(var, self.cost, "cost")
            unknown = np.isnan(costs) & GeneRules(required, limits).allowed
            if unknown.any():
                raise ValueError(
                    f"cost={self.cost!r} is missing for {unknown.sum()} genes that may be chosen, "
                    f"such as {names[unknown][0]!r}. Fill it in, or leave these genes out by "
                    "`candidates` or `exclude`."
                )
            caps[f"budget={self.budget:g}"] = Cap(np.nan_to_num(costs), float(self.budget))
        return GeneRules(required, limits, caps, weights)

    def check_types(self, obs: pd.DataFrame, categorical_keys: Sequence[str]) -> None:
        """Refuse a cap on crowding without cell types.

        Raises
        ------
        KeyError
            `crowding_key` is no column of `obs`.
        ValueError
            Neither `crowding_key` nor a categorical task is given.
        """
        if self.crowding_key is not None:
            check_column(obs, self.crowding_key, "crowding_key")
        elif self.max_crowding is not None and not categorical_keys:
            raise ValueError(
                "`max_crowding` needs cell types: name the obs column that holds them in "
                "`crowding_key`."
            )

    def rules(
        self,
        adata: AnnData,
        expression: Expression,
        categorical_keys: Sequence[str],
        unlabeled: Collection[object],
        classes: Sequence[Classes] = (),
    ) -> GeneRules:
        """Return all rules, those that depend on expression too.

        Parameters
        ----------
        classes
            Of all tasks that have some.

        Raises
        ------
        KeyError, TypeError, ValueError
            As for `gene_rules`, or a range forbids a gene that must be in the panel.
        """
        rules = self.gene_rules(adata.var)
        self.check_types(adata.obs, categorical_keys)
        if self.redundancy is not None and not classes:
            raise ValueError("`redundancy` needs classes: name their column in categorical_keys.")
        if self._limit_expression:
            rules = limit_expression(
                rules,
                adata.var_names,
                expression,
                mean_range=self.mean_range,
                fraction_range=self.fraction_range,
                max_crowding=self.max_crowding,
                cell_types=self._cell_types(adata, categorical_keys, unlabeled),
                min_detection=self.min_detection,
                classes=[(len(of_task.names), of_task.codes) for of_task in classes],
            )
        if self.redundancy is not None:
            rules = require_markers(rules, expression, classes, self.redundancy)
        return rules

    def _cell_types(
        self, adata: AnnData, categorical_keys: Sequence[str], unlabeled: Collection[object]
    ) -> pd.Categorical | None:
        """Return the cell types that crowding is judged in, if it is."""
        if self.max_crowding is None:
            return None
        key = categorical_keys[0] if self.crowding_key is None else self.crowding_key
        task = Categorical.from_adata(adata, key, unlabeled)
        return task.from_codes(task.encode(adata.obs[key]))

    def to_params(self) -> dict[str, Any]:
        """Write what was asked in plain types that a file can hold; `from_params` reads it."""
        given = {field.name: getattr(self, field.name) for field in fields(self)}
        params: dict[str, Any] = {}
        for name, value in given.items():
            if value is None or (isinstance(value, list) and not value):
                continue
            if name in ("mean_range", "fraction_range"):
                low, high = value
                value = [
                    0.0 if low is None else float(low),
                    np.inf if high is None else float(high),
                ]
            elif name in ("budget", "max_crowding", "min_detection"):
                value = float(value)
            params[name] = value
        return params

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> Requirements:
        """Read what was asked from ``params`` of a selection, or a model's arguments."""
        return cls(**{f.name: params[f.name] for f in fields(cls) if f.name in params})


def detection_floor(
    min_detection: float | Literal["auto"] | None,
    fraction_range: Sequence[float | None] | None,
    *,
    has_classes: bool,
    n_obs: int,
) -> float | None:
    """Return the smallest share of cells that is asked for, by default too; `None`: any.

    By default there is none beside a range of shares, or in few cells.

    Raises
    ------
    ValueError
        `min_detection` is another word.
    """
    if not isinstance(min_detection, str):
        return min_detection
    if min_detection != "auto":
        raise ValueError(f'min_detection must be a number, "auto" or None, not {min_detection!r}.')
    if fraction_range is not None or n_obs < _FEWEST:
        return None
    return FLOOR_IN_CLASS if has_classes else FLOOR_IN_ALL


def excluded_genes(names: pd.Index, exclude: Sequence[str]) -> NDArray[np.bool_]:
    """Mask the genes that names and patterns exclude, of shape ``(n_vars,)``.

    Raises
    ------
    KeyError
        A name that is no pattern does not exist.
    """
    exact = [gene for gene in exclude if gene in names or not _is_pattern(gene)]
    mask = mask_of(names, exact, "exclude")
    for pattern in (gene for gene in exclude if gene not in exact):
        mask |= _matches(names, pattern)
    return mask


def _matches(names: Collection[Any], pattern: str) -> NDArray[np.bool_]:
    """Mask the names that a pattern matches."""
    matches = re.compile(fnmatch.translate(pattern)).match
    return np.fromiter((matches(str(name)) is not None for name in names), bool, len(names))


def _by_symbol(var: pd.DataFrame, pattern: str) -> list[str]:
    """Return a pattern that matches var names, or none at all; else the genes by symbol."""
    if not _matches(var.index, pattern).any():
        for column in (column for column in SYMBOLS if column in var.columns):
            found = _matches(var[column], pattern)
            if found.any():
                return list(var.index[found])
    return [pattern]


def _is_pattern(gene: object) -> bool:
    return isinstance(gene, str) and any(character in gene for character in "*?[")


def _candidates(var: pd.DataFrame, candidates: str | Sequence[str]) -> NDArray[np.bool_]:
    if not isinstance(candidates, str):
        return mask_of(var.index, candidates, "candidates")
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


def _check_range(bounds: Sequence[float | None] | None, name: str, maximum: float) -> None:
    if bounds is None:
        return
    if not isinstance(bounds, tuple | list | np.ndarray) or len(bounds) != 2:
        raise TypeError(
            f"{name} must be a pair (smallest, largest), with None for no bound, not {bounds!r}."
        )
    for bound in bounds:
        if bound is not None and bound != np.inf:  # no bound, as files and the shell write it
            check_amount(bound, f"A bound in {name}")
            if bound > maximum:
                raise ValueError(f"A bound in {name} must be at most {maximum}, not {bound}.")
    low, high = bounds
    if low is not None and high is not None and low > high:
        raise ValueError(f"{name}={tuple(bounds)} is empty: the smallest comes first.")
