"""Whatever the data: the contract is met, or one clear error comes before any training.

Set the environment variable ``YOTO_SC_EXAMPLES`` to try that many new examples instead.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from anndata import AnnData
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from scvi.train import Trainer

import yoto_sc as yt

if TYPE_CHECKING:
    from collections.abc import Callable

N_EXAMPLES = int(os.environ.get("YOTO_SC_EXAMPLES", "60"))

FORMATS: dict[str, Callable[[np.ndarray], Any]] = {
    "csr_matrix": sp.csr_matrix,
    "csc_matrix": sp.csc_matrix,
    "csr_array": sp.csr_array,
    "csc_array": sp.csc_array,
    "C": np.ascontiguousarray,
    "F": np.asfortranarray,
}
DTYPES = ["float32", "float64", "int32", "int64", "uint8", "bool"]
COLUMNS = ["label", "cell.type", "a/b", "Zelltyp äöü 细胞", "x_confidence", "0", " "]
CLASSES: dict[str, list[Any]] = {
    "strings": ["B", "T cell", "NK"],
    "unicode": ["αβ", "γδ", "Ω", ""],
    "paths": ["a.b", "c/d", "e:f"],
    "integers": [0, 1, 5],
    "floats": [0.5, 1.5],
    "booleans": [True, False],
    "constant": ["one"],
    "many": [f"c{i}" for i in range(12)],
    "mixed": ["a", 1, 2.5],
}
DTYPES_OF = {
    "integers": ["int64", "int8", "Int64", "category"],
    "floats": ["float32", "Float64", "category"],
    "booleans": ["bool", "boolean", "category"],
    "strings": ["object", "string", "category"],
    "mixed": ["object", "category"],
}
MISSING = {"None": None, "NaN": np.nan, "NA": pd.NA, "NaT": pd.NaT}


def seldom(draw: st.DrawFn, one_in: int = 8) -> bool:
    """Draw whether to do what would make most calls fail, were it done often."""
    return draw(st.integers(1, one_in)) == one_in


@st.composite
def labels(draw: st.DrawFn, n_obs: int) -> pd.Series:
    """A column of classes, with missing values of any kind, unused categories, any dtype."""
    kind = "constant" if seldom(draw) else draw(st.sampled_from(sorted(CLASSES)))
    dtype = draw(st.sampled_from(DTYPES_OF.get(kind, ["object", "category"])))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    classes, gone = CLASSES[kind], draw(st.sampled_from([0, 0, 0.2, 0.6]))
    codes = rng.integers(len(classes), size=n_obs)
    missing = MISSING[draw(st.sampled_from(sorted(MISSING)))]
    where = rng.random(n_obs) < (1 if seldom(draw) else gone)
    if where.any() and dtype in {"int64", "int8", "bool", "float32"}:
        dtype = "object"
    if dtype in {"Int64", "Float64", "boolean", "string"}:
        missing = pd.NA
    values = [missing if w else classes[code] for code, w in zip(codes, where, strict=True)]
    if dtype == "category":
        unused = draw(st.sampled_from([[], ["unused"] if kind == "strings" else []]))
        categories = [*draw(st.permutations(classes)), *unused]
        codes = [
            -1 if w else categories.index(classes[c]) for c, w in zip(codes, where, strict=True)
        ]
        return pd.Series(pd.Categorical.from_codes(codes, pd.Index(categories)))
    return pd.Series(values, dtype=dtype)


@st.composite
def numbers(draw: st.DrawFn, n_obs: int) -> pd.Series:
    """A column of numbers, or of what cannot be read as such."""
    good, bad = ["normal", "integers", "tiny"], ["constant", "infinite", "text", "missing"]
    kind = draw(st.sampled_from(bad if seldom(draw) else good))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    values: Any = {
        "normal": rng.normal(size=n_obs),
        "integers": rng.integers(-3, 4, n_obs).astype(float),
        "tiny": rng.choice([1e-30, 1e30, -1e30, 0], n_obs),
        "constant": np.full(n_obs, 2.0),
        "infinite": rng.choice([0, np.inf], n_obs),
        "text": np.array(["high", "low"] * n_obs, dtype=object)[:n_obs],
        "missing": np.full(n_obs, np.nan),
    }[kind]
    if kind == "text":
        return pd.Series(values)
    values[rng.random(n_obs) < draw(st.sampled_from([0, 0.3]))] = np.nan
    return pd.Series(values).astype(draw(st.sampled_from(["float64", "float32", "object"])))


@st.composite
def expression(draw: st.DrawFn, n_obs: int, n_vars: int) -> Any:
    """Counts or fractions, with empty cells and constant genes, in any format; at times bad."""
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    rate = 0.0 if seldom(draw, 20) else draw(st.sampled_from([0.3, 3.0]))
    values = rng.poisson(rate, (n_obs, n_vars)).astype(float)
    for cell in draw(st.lists(st.integers(0, n_obs - 1), max_size=2)):
        values[cell] = 0
    for gene in draw(st.lists(st.integers(0, n_vars - 1), max_size=2)):
        values[:, gene] = draw(st.sampled_from([0, 1, 200]))
    dtype = draw(st.sampled_from(DTYPES))
    if dtype.startswith("float"):
        values *= draw(st.sampled_from([1, 0.37, 1e-20, 1e15]))
        if seldom(draw):
            bad = draw(st.sampled_from([np.nan, np.inf, -1.0]))
            values[rng.integers(n_obs), rng.integers(n_vars)] = bad
    return FORMATS[draw(st.sampled_from(sorted(FORMATS)))](values.astype(dtype))


@st.composite
def calls(draw: st.DrawFn) -> tuple[AnnData, dict[str, Any], np.ndarray]:
    """An object, the arguments of a call, and which genes may be chosen in it."""
    n_obs = draw(st.one_of(st.integers(1, 12), st.integers(6, 40)))
    n_vars = draw(st.integers(1, 30))
    genes = [f"g{i}" for i in range(n_vars)]
    obs = pd.DataFrame(index=[f"c{i}" for i in range(n_obs)])
    names = draw(st.lists(st.sampled_from(COLUMNS), min_size=1, max_size=3, unique=True))
    keys: dict[str, list[str]] = {"categorical_keys": [], "continuous_keys": []}
    for name in names:
        kind = draw(st.sampled_from(sorted(keys)))
        column = labels(n_obs) if kind == "categorical_keys" else numbers(n_obs)
        obs[name] = draw(column).array
        keys[kind].append(name)
    arguments: dict[str, Any] = {**keys}
    if draw(st.booleans()):
        groups = [None, *"abcd"[: draw(st.integers(2, 4))]] if not seldom(draw) else ["a"]
        rng = np.random.default_rng(draw(st.integers(0, 99)))
        obs["donor"] = pd.Series(groups, dtype=object)[rng.integers(len(groups), size=n_obs)].array
        arguments["split_key"] = "donor"
    include = draw(st.lists(st.sampled_from(genes), max_size=2))
    exclude = draw(st.lists(st.sampled_from([*genes, "g1*", "g[2-4]"]), max_size=2))
    excluded = {
        gene
        for gene in genes
        if gene in exclude
        or ("g1*" in exclude and gene.startswith("g1"))
        or ("g[2-4]" in exclude and gene in {"g2", "g3", "g4"})
    }
    some = st.lists(st.sampled_from(genes), min_size=min(n_vars, 3), unique=True)
    candidates = draw(st.one_of(st.none(), some))
    pool = set(genes if candidates is None else candidates) - excluded | set(include)
    arguments |= {"include": include, "exclude": exclude, "candidates": candidates}
    sizes = st.integers(max(1, len(set(include))), max(1, len(pool), len(set(include))))
    wrong = st.integers(-1, n_vars + 1)
    arguments["n_genes"] = draw(wrong if seldom(draw) else st.one_of(st.just("auto"), sizes))
    arguments["unlabeled"] = draw(st.sampled_from([[], ["B"], [0], [True], ["absent"]]))
    adata = AnnData(draw(expression(n_obs, n_vars)), obs=obs, var=pd.DataFrame(index=genes))
    return adata, arguments, np.array([gene in pool for gene in genes])


@settings(
    max_examples=N_EXAMPLES,
    deadline=None,
    derandomize="YOTO_SC_EXAMPLES" not in os.environ,
    database=None,
    suppress_health_check=list(HealthCheck),
)
@given(call=calls(), max_steps=st.integers(2, 4), n_members=st.integers(1, 2))
def test_contract_or_one_error(
    call: tuple[AnnData, dict[str, Any], np.ndarray],
    max_steps: int,
    n_members: int,
    state_of: Callable[..., Any],
    assert_contract: Callable[..., None],
) -> None:
    adata, arguments, allowed = call
    before = state_of(adata)
    trained: list[bool] = []
    refusal = None
    with pytest.MonkeyPatch.context() as patch:
        fit = Trainer.fit
        patch.setattr(Trainer, "fit", lambda *a, **k: (trained.append(True), fit(*a, **k))[1])
        try:
            yt.tl.select(
                adata,
                max_steps=max_steps,
                accelerator="cpu",
                group_key=None,
                progress_bar=False,
                model_kwargs={"n_hidden": 4, "n_members": n_members},
                **arguments,
            )
        except (ValueError, KeyError, TypeError) as error:
            if trained:
                raise
            refusal = f"{type(error).__name__}: {error}"
    event("trained" if refusal is None else refusal[:40])
    if refusal is not None:
        assert state_of(adata) == before
        assert len(refusal) > 40
        return
    assert_contract(
        before,
        adata,
        arguments["n_genes"],
        categorical_keys=arguments["categorical_keys"],
        continuous_keys=arguments["continuous_keys"],
        allowed=allowed,
        include=arguments["include"],
        unlabeled=arguments["unlabeled"],
    )
