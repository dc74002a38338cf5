"""Small planted data, quick selections, and fingerprints that show what a call changed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

import yoto_sc as yt

if TYPE_CHECKING:
    from collections.abc import Callable

    from anndata import AnnData

    State = dict[tuple[str, ...], str]

QUICK_MODEL = {"n_hidden": 16, "n_members": 2}
QUICK = {"max_steps": 30, "accelerator": "cpu", "progress_bar": False}
TASKS = {"categorical_keys": ["task_0", "task_1"], "continuous_keys": ["score_0"]}


def _digest(value: Any) -> str:
    """Fingerprint one entry: its type, dtype, layout and exact content."""
    if isinstance(value, pd.Series | pd.Index):
        content = [f"{value.dtype!r}", f"{value.name!r}", f"{list(value)!r}"]
    elif isinstance(value, pd.DataFrame):
        content = [
            _digest(value.index),
            *(_digest(value.iloc[:, i]) for i in range(value.shape[1])),
        ]
    elif sp.issparse(value):
        parts = (value.data, value.indices, value.indptr)
        content = [f"{value.shape}", *(_digest(part) for part in parts)]
    elif isinstance(value, np.ndarray):
        layout = f"{value.dtype} {value.shape} {value.flags.f_contiguous} {value.flags.writeable}"
        if value.dtype == object:
            content = [layout, f"{value.tolist()!r}"]
        else:
            content = [layout, hashlib.sha256(value.tobytes()).hexdigest()]
    elif isinstance(value, Mapping):
        content = [f"{key!r}: {_digest(entry)}" for key, entry in value.items()]
    else:
        content = [f"{value!r}"]
    return hashlib.sha256("\n".join([type(value).__name__, *content]).encode()).hexdigest()


def _state_of(adata: AnnData) -> State:
    state = {("X",): _digest(adata.X)}
    for axis, table in (("obs", adata.obs), ("var", adata.var)):
        state[axis, "index"] = _digest(table.index)
        for position, column in enumerate(table.columns):
            state[axis, "column", column] = _digest(table.iloc[:, position])
    for name in ("layers", "obsm", "varm", "obsp", "varp", "uns"):
        for key, value in getattr(adata, name).items():
            state[name, key] = _digest(value)
    if adata.raw is not None:
        state["raw", "X"] = _digest(adata.raw.X)
        state["raw", "var"] = _digest(adata.raw.var)
    return state


@pytest.fixture(scope="session")
def state_of() -> Callable[[AnnData], State]:
    """Fingerprint every entry of an AnnData object, to see which ones a call changed."""
    return _state_of


@pytest.fixture(scope="session")
def make_adata() -> Callable[..., AnnData]:
    """Build planted counts; by default 160 cells, 50 genes, 8 of them informative, three tasks."""
    defaults = {
        "n_obs": 160,
        "n_vars": 50,
        "n_informative": 8,
        "n_redundant": 6,
        "n_classes": (4, 3),
        "n_continuous": 1,
        "missing": 0.2,
    }

    def make(**kwargs: Any) -> AnnData:
        return yt.datasets.planted(**{**defaults, **kwargs})

    return make


@pytest.fixture(scope="session")
def make_assays() -> Callable[..., tuple[AnnData, AnnData]]:
    """Build planted counts of four classes in two assays: a reference, and a query."""

    def make(n_obs: int, n_vars: int, **kwargs: Any) -> tuple[AnnData, AnnData]:
        both = yt.datasets.planted(n_obs, n_vars, **{"n_classes": (4,), "missing": 0.0, **kwargs})
        is_query = (both.obs["assay"] == "query").to_numpy()
        return both[~is_query].copy(), both[is_query].copy()

    return make


@pytest.fixture
def adata(make_adata: Callable[..., AnnData]) -> AnnData:
    """Planted counts with the tasks ``task_0``, ``task_1`` and ``score_0``."""
    return make_adata()


@pytest.fixture(scope="session")
def select() -> Callable[..., AnnData | None]:
    """Call `tl.select` with a small network and few steps."""

    def select(adata: AnnData, n_genes: Any = 6, **kwargs: Any) -> AnnData | None:
        model_kwargs = {**QUICK_MODEL, **kwargs.pop("model_kwargs", {})}
        if not {"categorical_keys", "continuous_keys"} & kwargs.keys():
            kwargs = {**TASKS, **kwargs}
        arguments = {**QUICK, "group_key": None, **kwargs}
        return yt.tl.select(adata, n_genes, **arguments, model_kwargs=model_kwargs)

    return select


@pytest.fixture(scope="session")
def quick_arguments() -> dict[str, Any]:
    """Return the arguments of the selection behind `selected`, beyond the panel size."""
    return {**QUICK, **TASKS, "group_key": None, "model_kwargs": QUICK_MODEL}


@pytest.fixture(scope="session")
def train() -> Callable[..., Any]:
    """Train a small model on an object, which is set up for scvi-tools in place."""

    def train(
        adata: AnnData,
        *,
        setup: Mapping[str, Any] = TASKS,
        train_kwargs: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> Any:
        yt.model.YOTO.setup_anndata(adata, **setup)
        model = yt.model.YOTO(adata, **{"n_genes": 6, **QUICK_MODEL, **kwargs})
        model.train(**{**QUICK, **(train_kwargs or {})})
        return model

    return train


@pytest.fixture(scope="session")
def model(make_adata: Callable[..., AnnData], train: Callable[..., Any]) -> Any:
    """A model of 6 genes for three tasks that has not seen the held-out cells; not to change."""
    return train(make_adata(), train_kwargs={"refit": False})


@pytest.fixture(scope="session")
def _selected(
    make_adata: Callable[..., AnnData], select: Callable[..., Any], tmp_path_factory: Any
) -> tuple[AnnData, AnnData, Any]:
    before, after = make_adata(), make_adata()
    model_dir = tmp_path_factory.mktemp("selection") / "model"
    select(after, model_dir=model_dir)
    return before, after, model_dir


@pytest.fixture
def selected(_selected: tuple[AnnData, AnnData, Any]) -> AnnData:
    """The data of `adata` after `tl.select` for three tasks and 6 genes."""
    return _selected[1].copy()


@pytest.fixture(scope="session")
def model_dir(_selected: tuple[AnnData, AnnData, Any]) -> Any:
    """Directory of the model behind `selected`; not to be changed."""
    return _selected[2]


@pytest.fixture(scope="session")
def assert_contract() -> Callable[..., None]:
    """Assert all that `tl.select` promises of the object it was called on."""
    return _assert_contract


def _assert_contract(
    before: State,
    adata: AnnData,
    n_genes: int | str,
    *,
    categorical_keys: list[str] | tuple[str, ...] = (),
    continuous_keys: list[str] | tuple[str, ...] = (),
    allowed: np.ndarray | None = None,
    include: list[str] | tuple[str, ...] = (),
    unlabeled: list[Any] | tuple[Any, ...] = (),
    key_added: str = "yoto",
) -> None:
    tasks = [*categorical_keys, *continuous_keys]
    key = key_added
    expected = {
        *(("var", "column", f"{key}_{name}") for name in ("selected", "rank", "score")),
        *([("var", "column", f"{key}_imposed")] if len(include) else []),
        *(("obs", "column", f"{key}_{task}") for task in tasks),
        *(("obs", "column", f"{key}_{task}_confidence") for task in categorical_keys),
        ("obsm", f"X_{key}"),
        ("uns", key),
    }
    after = _state_of(adata)
    assert after.keys() - before.keys() == expected - before.keys()
    assert {at for at in before if after.get(at) != before[at]} <= expected
    for axis, table in (("obs", adata.obs), ("var", adata.var)):
        old = [at[2] for at in before if at[:2] == (axis, "column")]
        assert list(table.columns)[: len(old)] == old, f"The columns of {axis} were reordered."

    _assert_ranking(adata, n_genes, allowed, include, key)
    for task in categorical_keys:
        _assert_classes(adata, task, unlabeled, key)
    for task in continuous_keys:
        assert adata.obs[f"{key}_{task}"].dtype == np.float32
        assert np.isfinite(adata.obs[f"{key}_{task}"]).all()
    latent = adata.obsm[f"X_{key}"]
    assert isinstance(latent, np.ndarray)
    assert latent.dtype == np.float32
    assert latent.ndim == 2
    assert np.isfinite(latent).all()
    _assert_tables(adata.uns[key], categorical_keys, continuous_keys)


def _assert_ranking(
    adata: AnnData, n_genes: int | str, allowed: Any, include: Any, key: str
) -> None:
    selected, rank, score = (adata.var[f"{key}_{name}"] for name in ("selected", "rank", "score"))
    assert (selected.dtype, str(rank.dtype), score.dtype) == (bool, "Int64", np.float32)
    allowed = np.ones(adata.n_vars, dtype=bool) if allowed is None else np.asarray(allowed)
    np.testing.assert_array_equal(rank.notna(), allowed)
    ranked = rank[allowed].astype(int)
    assert sorted(ranked) == list(range(1, int(allowed.sum()) + 1))
    size = int(selected.sum())
    assert size == n_genes if n_genes != "auto" else 1 <= size <= min(64, allowed.sum())
    np.testing.assert_array_equal(selected, (rank <= size).fillna(False))
    assert selected[list(include)].all()
    assert np.isfinite(score).all()
    assert score[ranked.sort_values().index].is_monotonic_decreasing
    assert (score[~allowed] == 0).all()


def _assert_classes(adata: AnnData, task: str, unlabeled: Any, key: str) -> None:
    labels, predicted = adata.obs[task], adata.obs[f"{key}_{task}"]
    confidence = adata.obs[f"{key}_{task}_confidence"]
    observed = [label for label in pd.unique(labels.dropna()) if label not in list(unlabeled)]
    assert isinstance(predicted.dtype, pd.CategoricalDtype)
    assert set(predicted.cat.categories) == set(observed)
    if isinstance(labels.dtype, pd.CategoricalDtype):
        ordered = [c for c in labels.cat.categories if c in observed]
        assert list(predicted.cat.categories) == ordered
    assert predicted.notna().all()
    assert confidence.dtype == np.float32
    assert confidence.between(1 / len(observed) - 1e-6, 1).all()


def _assert_tables(record: dict[str, Any], categorical: Any, continuous: Any) -> None:
    tasks = [*categorical, *continuous]
    assert {"params", "tasks", "metrics", "path", "history"} <= record.keys()
    assert list(record["tasks"].index) == tasks
    assert list(record["metrics"].index) == tasks
    assert list(record["tasks"]["kind"]) == (
        ["categorical"] * len(categorical) + ["continuous"] * len(continuous)
    )
    path = record["path"]
    columns = ["n_genes", "task", "metric", "score", "standard_error", "predictor"]
    assert list(path.columns) == columns
    assert not path.duplicated(["n_genes", "task"]).any()
    assert set(path["task"]) == set(tasks)
    assert path["n_genes"].ge(1).all()
    assert {"n_genes", "train_loss", "validation_loss"} <= set(record["history"].columns)
    assert np.isfinite(record["history"]["train_loss"].astype(float)).all()
