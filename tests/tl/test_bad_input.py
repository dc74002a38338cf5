"""Bad input: one error that says what to do, before any training, and nothing changed."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from scvi.train import Trainer

import yoto_sc as yt
from yoto_sc.nn import Annealing

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from anndata import AnnData


@dataclass
class Bad:
    """A call that must fail.

    Parameters
    ----------
    error, says
        The type of the error, and a regular expression that its message matches.
    arguments
        Arguments of `tl.select`, on top of one categorical task and 6 genes.
    change
        What is done to good data before the call.
    """

    error: type[Exception]
    says: str
    arguments: dict[str, Any] = field(default_factory=dict)
    change: Callable[[AnnData], object] = lambda adata: None


def obs(**columns: Any) -> Callable[[AnnData], None]:
    """Set columns of obs; a function is called with the number of cells."""

    def change(adata: AnnData) -> None:
        for name, values in columns.items():
            adata.obs[name] = values(adata.n_obs) if callable(values) else values

    return change


def entry(value: float, dtype: str = "float32") -> Callable[[AnnData], None]:
    """Put one bad value among the counts."""

    def change(adata: AnnData) -> None:
        counts = adata.X.toarray().astype(dtype)
        counts[3, 4] = value
        adata.X = sp.csr_matrix(counts)

    return change


def matrix(make: Callable[[np.ndarray], Any]) -> Callable[[AnnData], None]:
    def change(adata: AnnData) -> None:
        adata.X = make(adata.X.toarray())

    return change


def duplicate(axis: str) -> Callable[[AnnData], None]:
    def change(adata: AnnData) -> None:
        names = getattr(adata, f"{axis}_names").to_numpy(copy=True)
        names[5] = names[0]
        getattr(adata, axis).index = names

    return change


def two_columns(adata: AnnData) -> None:
    adata.obs = pd.concat([adata.obs, adata.obs[["task_0"]]], axis=1)


TASKLESS = {"categorical_keys": ()}
TASK_LABEL = {"categorical_keys": "label"}
TASK_NUMBER = {"categorical_keys": (), "continuous_keys": "number"}

BAD: dict[str, Bad] = {
    # tasks
    "no task": Bad(ValueError, "No task given.*categorical_keys.*continuous_keys", TASKLESS),
    "no task, None": Bad(
        ValueError, "No task given", {"categorical_keys": None, "continuous_keys": None}
    ),
    "key not in obs": Bad(KeyError, "'nope'.*task_0", {"categorical_keys": ["nope"]}),
    "number key not in obs": Bad(KeyError, "'nope'.*score_0", {"continuous_keys": ["nope"]}),
    "key of both kinds": Bad(ValueError, "task_0.*both", {"continuous_keys": ["task_0"]}),
    "key twice": Bad(ValueError, "more than once", {"categorical_keys": ["task_0", "task_0"]}),
    "column twice": Bad(ValueError, "more than one column", {}, two_columns),
    "keys are no names": Bad(TypeError, "categorical_keys", {"categorical_keys": 5}),
    "keys in a list": Bad(TypeError, "strings.* of adata.obs", {"categorical_keys": [["task_0"]]}),
    "one class": Bad(ValueError, "'label'.*one observed class", TASK_LABEL, obs(label="a")),
    "one class beside unlabeled": Bad(
        ValueError,
        "'label'.*one observed class",
        {**TASK_LABEL, "unlabeled": ["Unknown"]},
        obs(label=lambda n: np.resize(["a", "Unknown"], n)),
    ),
    "no label": Bad(ValueError, "'label'.*no observed", TASK_LABEL, obs(label=np.nan)),
    "no label, None": Bad(ValueError, "'label'.*no observed", TASK_LABEL, obs(label=None)),
    "no label, categories": Bad(
        ValueError,
        "'label'.*no observed",
        TASK_LABEL,
        obs(label=lambda n: pd.Categorical([None] * n, ["a", "b"])),
    ),
    "all unlabeled": Bad(
        ValueError,
        "'label'.*no observed.*unlabeled",
        {**TASK_LABEL, "unlabeled": "Unknown"},
        obs(label="Unknown"),
    ),
    "fewer cells than classes": Bad(
        ValueError,
        "'label'.*classes",
        TASK_LABEL,
        obs(label=lambda n: [f"c{i}" if i < 20 else None for i in range(n)]),
    ),
    "identifiers": Bad(
        ValueError, "identifiers", TASK_LABEL, obs(label=lambda n: [f"id{i}" for i in range(n)])
    ),
    "numbers as classes": Bad(
        ValueError,
        "'label'.*120 classes for 160 labelled cells.*continuous_keys.*category",
        TASK_LABEL,
        obs(label=lambda n: np.arange(n) % 120 / 8),
    ),
    "whole numbers as classes": Bad(
        ValueError,
        "'label'.*120 classes for 160 labelled cells.*continuous_keys.*category",
        TASK_LABEL,
        obs(label=lambda n: np.arange(n) % 120),
    ),
    "numbers kept as objects": Bad(
        ValueError,
        "'label'.*continuous_keys.*category",
        TASK_LABEL,
        obs(label=lambda n: pd.array(list(np.arange(n) % 120 / 8), dtype=object)),
    ),
    "number without values": Bad(
        ValueError, "'number'.*no observed", TASK_NUMBER, obs(number=np.nan)
    ),
    "constant number": Bad(ValueError, "'number'.*same value", TASK_NUMBER, obs(number=2.0)),
    "infinite number": Bad(
        ValueError,
        "'number'.*infinite",
        TASK_NUMBER,
        obs(number=lambda n: [np.inf, *range(n - 1)]),
    ),
    "text for numbers": Bad(
        TypeError,
        "'number'.*numbers.*categorical_keys",
        TASK_NUMBER,
        obs(number=lambda n: np.resize(["high", "low"], n)),
    ),
    "dates for numbers": Bad(
        TypeError,
        "'number'.*numbers",
        TASK_NUMBER,
        obs(number=lambda n: pd.date_range("2024-01-01", periods=n)),
    ),
    # sizes
    **{f"n_genes={n!r}": Bad(ValueError, f"at least 1, not {n}", {"n_genes": n}) for n in (0, -1)},
    **{
        f"n_genes={n!r}": Bad(TypeError, re.escape(repr(n)), {"n_genes": n})
        for n in (2.5, "6", "all", None, True, [6])
    },
    "n_genes above all": Bad(ValueError, "51.*50", {"n_genes": 51}),
    "n_genes above candidates": Bad(
        ValueError,
        "n_genes=6.*3 genes",
        {"candidates": lambda adata: list(adata.var_names[:3])},
    ),
    "n_genes above what exclude leaves": Bad(
        ValueError, "n_genes=48.*exclude", {"n_genes": 48, "exclude": ["gene_001*"]}
    ),
    "n_genes below include": Bad(
        ValueError,
        "n_genes=2.*3 genes.*include",
        {"n_genes": 2, "include": lambda adata: list(adata.var_names[:3])},
    ),
    # genes
    "include and exclude": Bad(
        ValueError,
        "gene_0003.*include.*exclude",
        {"include": ["gene_0003"], "exclude": ["gene_0003"]},
    ),
    "include and pattern": Bad(
        ValueError, "gene_0003.*pattern", {"include": ["gene_0003"], "exclude": ["*_0003"]}
    ),
    "unknown include": Bad(KeyError, "gene_003x.*Did you mean gene_00", {"include": "gene_003x"}),
    "unknown exclude": Bad(KeyError, "GENE3.*exclude|exclude.*GENE3", {"exclude": ["GENE3"]}),
    "unknown candidate": Bad(
        KeyError, "gene_003x.*Did you mean", {"candidates": ["gene_003x", "gene_0001"]}
    ),
    "include of numbers": Bad(TypeError, "include.*strings", {"include": [3]}),
    "exclude of numbers": Bad(TypeError, "exclude.*strings", {"exclude": [3]}),
    "include is a number": Bad(TypeError, "include", {"include": 3}),
    "candidates is no column": Bad(KeyError, "highly_variable", {"candidates": "highly_variable"}),
    "candidates not boolean": Bad(TypeError, "boolean", {"candidates": "task"}),
    "no candidates": Bad(ValueError, "candidates", {"candidates": []}),
    "everything excluded": Bad(ValueError, "exclude", {"exclude": ["*"]}),
    # names
    "duplicate genes": Bad(ValueError, "var_names_make_unique", {}, duplicate("var")),
    "duplicate cells": Bad(ValueError, "obs_names_make_unique", {}, duplicate("obs")),
    # expression
    "negative": Bad(ValueError, "negative.*-2", {}, entry(-2)),
    "NaN": Bad(ValueError, "NaN", {}, entry(np.nan)),
    "infinite": Bad(ValueError, "infinite", {}, entry(np.inf)),
    "minus infinite": Bad(ValueError, "infinite", {}, entry(-np.inf)),
    "too large for float32": Bad(ValueError, "infinite", {}, entry(1e300, "float64")),
    "negative integer": Bad(ValueError, "negative", {}, entry(-2, "int32")),
    "negative, dense": Bad(ValueError, "negative", {}, matrix(lambda x: x - 1)),
    "NaN, F order": Bad(ValueError, "NaN", {}, matrix(lambda x: np.asfortranarray(x * np.nan))),
    "all zero": Bad(ValueError, "zero everywhere.*layer", {}, matrix(lambda x: x * 0)),
    "all zero, sparse": Bad(ValueError, "zero", {}, matrix(lambda x: sp.csr_array(x.shape))),
    "complex": Bad(TypeError, "complex", {}, matrix(lambda x: x * 1j)),
    "no X": Bad(ValueError, "None.*layer", {}, lambda adata: setattr(adata, "X", None)),
    "no such layer": Bad(KeyError, "'logs'.*counts", {"layer": "logs"}),
    "bad layer": Bad(ValueError, "layers/negative.*negative", {"layer": "negative"}),
    # groups
    "split_key not in obs": Bad(KeyError, "'nope'.*donor", {"split_key": "nope"}),
    "one group": Bad(ValueError, "'batch'.*1 group", {"split_key": "batch"}, obs(batch="b1")),
    "no group": Bad(ValueError, "'batch'.*0 group", {"split_key": "batch"}, obs(batch=None)),
    "split_key is a list": Bad(TypeError, "split_key", {"split_key": ["donor"]}),
    # names of results
    "key_added empty": Bad(TypeError, "key_added", {"key_added": ""}),
    "key_added no string": Bad(TypeError, "key_added", {"key_added": 5}),
    "key_added None": Bad(TypeError, "key_added", {"key_added": None}),
    "result over a label": Bad(
        ValueError,
        "yoto_task_0.*key_added",
        {"categorical_keys": ["task_0", "yoto_task_0"]},
        lambda adata: obs(yoto_task_0=adata.obs["task_1"])(adata),
    ),
    "result over a group": Bad(
        ValueError,
        "yoto_task_0.*key_added",
        {"split_key": "yoto_task_0"},
        lambda adata: obs(yoto_task_0=adata.obs["donor"])(adata),
    ),
    "result over a result": Bad(
        ValueError,
        "task_0_confidence",
        {"categorical_keys": ["task_0", "task_0_confidence"]},
        lambda adata: obs(task_0_confidence=adata.obs["task_1"])(adata),
    ),
    # numbers
    **{
        f"random_state={seed!r}": Bad(error, "random_state", {"random_state": seed})
        for seed, error in (
            (-1, ValueError),
            (2**80, ValueError),
            (1.5, TypeError),
            ("a", TypeError),
            (None, TypeError),
            (True, TypeError),
        )
    },
    **{
        f"max_steps={steps!r}": Bad(error, "max_steps", {"max_steps": steps})
        for steps, error in ((0, ValueError), (-3, ValueError), (1.5, TypeError), ("a", TypeError))
    },
    # where and how to train
    "no such accelerator": Bad(ValueError, "warp", {"accelerator": "warp"}),
    "no device": Bad(ValueError, "devices", {"devices": 0}),
    "model_dir exists": Bad(ValueError, "already exists", {"model_dir": "."}),
    "model_dir in a file": Bad(ValueError, "model_dir", {"model_dir": __file__ + "/model"}),
    "model_dir no path": Bad(TypeError, "model_dir|path", {"model_dir": 5}),
    "unknown model argument": Bad(TypeError, "n_layers", {"model_kwargs": {"n_layers": 2}}),
    "unknown train argument": Bad(TypeError, "n_epoch", {"train_kwargs": {"n_epoch": 2}}),
    "unknown plan argument": Bad(
        TypeError, "rate", {"train_kwargs": {"plan_kwargs": {"rate": 2}}}
    ),
    "model_kwargs no dict": Bad(TypeError, "", {"model_kwargs": [1]}),
    **{
        f"{name}={value!r}": Bad(error, name, {"model_kwargs": {name: value}})
        for name, value, error in (
            ("n_hidden", 0, ValueError),
            ("n_hidden", 1.5, TypeError),
            ("n_members", 0, ValueError),
            ("n_members", "two", TypeError),
            ("class_weight_power", np.nan, ValueError),
            ("relaxation", "soft", ValueError),
        )
    },
    **{
        f"{name}={value!r}": Bad(error, name, {"train_kwargs": {name: value}})
        for name, value, error in (
            ("validation_size", 1, ValueError),
            ("validation_size", -0.1, ValueError),
            ("validation_size", np.nan, ValueError),
            ("validation_size", "all", TypeError),
            ("batch_size", 0, ValueError),
            ("batch_size", 1.5, TypeError),
        )
    },
    "annealing of another panel": Bad(
        ValueError, "annealing|Annealing", {"train_kwargs": {"annealing": Annealing(50, 9)}}
    ),
    "auto without held-out cells": Bad(
        ValueError, "auto", {"n_genes": "auto", "train_kwargs": {"validation_size": 0}}
    ),
    "unlabeled no list": Bad(TypeError, "unlabeled", {"unlabeled": 5}),
}


@pytest.fixture
def no_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail the test if a training begins."""

    def fit(*args: Any, **kwargs: Any) -> None:
        pytest.fail("The training began.")

    monkeypatch.setattr(Trainer, "fit", fit)


def refuse(call: Callable[[], object], error: type[Exception], says: str) -> None:
    """Assert that `call` raises exactly `error`, with a message of some use."""
    with pytest.raises(error) as caught:
        call()
    assert type(caught.value) is error
    assert re.search(says, str(caught.value), flags=re.DOTALL), str(caught.value)


@pytest.mark.usefixtures("no_training")
@pytest.mark.parametrize("bad", BAD.values(), ids=BAD.keys())
def test_bad_input(
    bad: Bad, adata: AnnData, select: Callable[..., Any], state_of: Callable[..., Any]
) -> None:
    adata.layers["counts"] = adata.X.copy()
    adata.layers["negative"] = -adata.X
    bad.change(adata)
    arguments = {
        name: value(adata) if callable(value) else value for name, value in bad.arguments.items()
    }
    before = state_of(adata)
    call = {"n_genes": 6, "categorical_keys": ["task_0"], **arguments}
    refuse(lambda: select(adata, **call), bad.error, bad.says)
    assert state_of(adata) == before


TASK_READERS: dict[str, Callable[..., object]] = {
    "select": lambda adata, **tasks: yt.tl.select(adata, 3, **tasks),
    "stability": lambda adata, **tasks: yt.tl.stability(adata, 3, **tasks),
    "evaluate": lambda adata, **tasks: yt.tl.evaluate(adata, list(adata.var_names[:3]), **tasks),
    "compare": lambda adata, **tasks: yt.tl.compare(
        adata, {"a": list(adata.var_names[:3])}, **tasks
    ),
    "setup_anndata": yt.model.YOTO.setup_anndata,
}


@pytest.mark.usefixtures("no_training")
@pytest.mark.parametrize("read", TASK_READERS.values(), ids=TASK_READERS)
def test_numbers_as_classes_are_refused_alike(
    read: Callable[..., object],
    adata: AnnData,
    state_of: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def no_work(*args: Any, **kwargs: Any) -> None:
        pytest.fail("Work began before the error.")

    monkeypatch.setattr("yoto_sc.tl._panel_scores.read_expression", no_work)
    monkeypatch.setattr("yoto_sc._problem.read_expression", no_work)
    adata.obs["depth"] = np.arange(adata.n_obs) % 120 / 8
    before = state_of(adata)
    says = "'depth'.*120 classes for 160 labelled cells.*continuous_keys"
    keys = ["task_0", "depth"]  # the first one is good
    refuse(lambda: read(adata, categorical_keys=keys), ValueError, says)
    assert state_of(adata) == before


def test_clusters_that_are_numbers_are_classes(
    make_adata: Callable[..., AnnData], select: Callable[..., Any]
) -> None:
    adata = make_adata()
    adata.obs["leiden"] = np.arange(adata.n_obs) % 30
    select(adata, categorical_keys=["leiden"], max_steps=2)
    assert list(adata.obs["yoto_leiden"].cat.categories) == list(range(30))


# ---- objects that are refused as a whole


@pytest.mark.usefixtures("no_training")
@pytest.mark.parametrize("thing", [None, "data.h5ad", np.zeros((3, 2)), pd.DataFrame({"a": [1]})])
def test_no_adata(thing: Any, select: Callable[..., Any]) -> None:
    refuse(lambda: select(thing), TypeError, f"AnnData.*{type(thing).__name__}")


@pytest.mark.usefixtures("no_training")
def test_view(adata: AnnData, select: Callable[..., Any]) -> None:
    view = adata[:100]
    refuse(lambda: select(view), ValueError, r"view.*\.copy\(\)")
    assert view.is_view


@pytest.mark.usefixtures("no_training")
def test_backed(adata: AnnData, select: Callable[..., Any], tmp_path: Path) -> None:
    adata.write_h5ad(tmp_path / "backed.h5ad")
    backed = anndata.read_h5ad(tmp_path / "backed.h5ad", backed="r")
    try:
        refuse(lambda: select(backed, copy=True), ValueError, "backed.*copy=False")
        refuse(lambda: yt.tl.predict(backed, "model", copy=True), ValueError, "backed.*copy=False")
    finally:
        backed.file.close()


@pytest.mark.usefixtures("no_training")
@pytest.mark.parametrize("cells", [slice(0), slice(None)])
def test_empty(adata: AnnData, select: Callable[..., Any], cells: slice) -> None:
    empty = adata[cells, : 0 if cells.stop is None else None].copy()
    refuse(lambda: select(empty), ValueError, r"shape \((0|160), (0|50)\)")


@pytest.mark.usefixtures("no_training")
def test_negative_raw_is_no_way_out(
    adata: AnnData, select: Callable[..., Any], state_of: Callable[..., Any]
) -> None:
    adata.X = -adata.X
    adata.raw = adata.copy()
    before = state_of(adata)
    refuse(lambda: select(adata), ValueError, "raw holds negative")
    assert state_of(adata) == before


def test_a_gpu_that_is_not_there(adata: AnnData, select: Callable[..., Any]) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("There is a GPU.")
    refuse(lambda: select(adata, accelerator="cuda", max_steps=2), ValueError, "cuda|CUDA|GPU")


# ---- predict


def test_missing_genes_are_named(adata: AnnData, model: Any, state_of: Any) -> None:
    lacking = model.panel().genes[1:3]
    adata = adata[:, ~adata.var_names.isin(lacking)].copy()
    before = state_of(adata)
    refuse(lambda: yt.tl.predict(adata, model), KeyError, f"2 .*{lacking[0]}.*{lacking[1]}")
    assert state_of(adata) == before


def _fractions(adata: AnnData) -> None:
    adata.X = adata.X / 3


PREDICT_BAD: dict[str, Bad] = {
    "no genes": Bad(ValueError, "n_genes.*at least 1", {"n_genes": 0}),
    "too many genes": Bad(ValueError, "at most 6.*7", {"n_genes": 7}),
    "half a gene": Bad(TypeError, "n_genes.*1.5", {"n_genes": 1.5}),
    "auto": Bad(TypeError, "n_genes.*auto", {"n_genes": "auto"}),
    "no such layer": Bad(KeyError, "'logs'.*layers", {"layer": "logs"}),
    "fractions": Bad(ValueError, "counts.*fractions", {}, _fractions),
    "negative": Bad(ValueError, "negative", {}, matrix(lambda x: -x - 1)),
    "NaN": Bad(ValueError, "NaN", {}, matrix(lambda x: x * np.nan)),
    "no X": Bad(ValueError, "None", {}, lambda adata: setattr(adata, "X", None)),
    "duplicate genes": Bad(ValueError, "unique", {}, duplicate("var")),
    "no model": Bad(TypeError, "model.*int", {"model": 5}),
    "model is None": Bad(TypeError, "model.*None", {"model": None}),
    "no such directory": Bad(FileNotFoundError, "nowhere", {"model": "nowhere"}),
    "no directory": Bad(FileNotFoundError, "test_bad_input", {"model": __file__}),
    "key_added empty": Bad(TypeError, "key_added", {"key_added": ""}),
    "key_added no string": Bad(TypeError, "key_added", {"key_added": 5}),
}


@pytest.mark.parametrize("bad", PREDICT_BAD.values(), ids=PREDICT_BAD.keys())
def test_bad_prediction(bad: Bad, adata: AnnData, model: Any, state_of: Any) -> None:
    bad.change(adata)
    before = state_of(adata)
    arguments = {"model": model, **bad.arguments}
    refuse(lambda: yt.tl.predict(adata, **arguments), bad.error, bad.says)
    assert state_of(adata) == before


def test_prediction_over_a_label(
    make_adata: Callable[..., AnnData], train: Callable[..., Any], state_of: Any
) -> None:
    adata = make_adata()
    adata.obs["yoto_task_0"] = adata.obs["task_1"]
    keys = {"categorical_keys": ["task_0", "yoto_task_0"]}
    model = train(adata.copy(), setup=keys, train_kwargs={"max_steps": 2})
    before = state_of(adata)
    refuse(lambda: yt.tl.predict(adata, model), ValueError, "yoto_task_0.*key_added")
    assert state_of(adata) == before


def test_untrained_model(adata: AnnData, state_of: Any) -> None:
    from sklearn.exceptions import NotFittedError

    registered = adata.copy()
    yt.model.YOTO.setup_anndata(registered, categorical_keys=["task_0"])
    model = yt.model.YOTO(registered, n_genes=3, n_hidden=4)
    before = state_of(adata)
    refuse(lambda: yt.tl.predict(adata, model), NotFittedError, r"train\(\)")
    assert state_of(adata) == before


# ---- saved models


def _cut(path: Path, share: float) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-5] ^= 0xFF
    path.write_bytes(bytes(content))


def _describe(directory: Path, change: Callable[[dict[str, Any]], object]) -> None:
    path = directory / "model.json"
    description = json.loads(path.read_text())
    change(description)
    path.write_text(json.dumps(description))


def _replace(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


DAMAGE: dict[str, tuple[Callable[[Path], object], type[Exception], str]] = {
    "no description": (
        lambda d: (d / "model.json").unlink(),
        FileNotFoundError,
        "model.json",
    ),
    "no weights": (
        lambda d: (d / "model.safetensors").unlink(),
        FileNotFoundError,
        "model.safetensors",
    ),
    "description cut": (lambda d: _cut(d / "model.json", 0.7), ValueError, "damaged"),
    "description empty": (lambda d: _cut(d / "model.json", 0), ValueError, "damaged"),
    "description no text": (
        lambda d: (d / "model.json").write_bytes(b"\xff\xfe\x00"),
        ValueError,
        "damaged",
    ),
    "description a list": (lambda d: (d / "model.json").write_text("[]"), ValueError, "damaged"),
    "another JSON file": (lambda d: (d / "model.json").write_text("{}"), ValueError, "damaged"),
    "weights cut": (lambda d: _cut(d / "model.safetensors", 0.5), ValueError, "damaged"),
    "weights changed": (lambda d: _flip(d / "model.safetensors"), ValueError, "damaged"),
    "newer": (
        lambda d: _describe(d, lambda r: r.update(format_version=99, yoto_sc_version="9.0")),
        ValueError,
        "99.*9.0.*Update",
    ),
    "odd version": (
        lambda d: _describe(d, lambda r: r.update(format_version="one")),
        ValueError,
        "damaged",
    ),
    "a version of no model": (
        lambda d: _describe(d, lambda r: r.update(format_version=0)),
        ValueError,
        "damaged",
    ),
    "of another tool": (
        lambda d: _describe(d, lambda r: r.update(format="other.Model")),
        ValueError,
        "damaged",
    ),
    "no content": (
        lambda d: _describe(d, lambda r: [r.pop(key) for key in list(r) if key == "model"]),
        ValueError,
        "damaged",
    ),
    "a class renamed": (
        lambda d: _replace(d / "model.json", "class_0", "class_9"),
        ValueError,
        "damaged",
    ),
    "genes exchanged": (
        lambda d: _replace(d / "model.json", "gene_0001", "gene_000x"),
        ValueError,
        "damaged",
    ),
    "weights of another model": (
        lambda d: (d / "model.safetensors").write_bytes(b"\x08" + bytes(7) + b"{}      "),
        ValueError,
        "damaged",
    ),
}


@pytest.mark.parametrize("how", DAMAGE.values(), ids=DAMAGE.keys())
def test_damaged_model(
    how: tuple[Any, type[Exception], str],
    adata: AnnData,
    model_dir: Path,
    tmp_path: Path,
    state_of: Any,
) -> None:
    damage, error, says = how
    directory = tmp_path / "model"
    directory.mkdir()
    for name in ("model.json", "model.safetensors"):
        (directory / name).write_bytes((model_dir / name).read_bytes())
    damage(directory)
    before = state_of(adata)
    refuse(lambda: yt.tl.predict(adata, directory), error, says)
    assert state_of(adata) == before


def test_foreign_results_are_not_overwritten(make_adata):
    adata = make_adata()
    adata.uns["pca"] = {"variance": np.ones(3)}
    with pytest.raises(ValueError, match="key_added='pca' would overwrite.*another key_added"):
        yt.tl.select(adata, 3, categorical_keys="task_0", key_added="pca")


def test_own_results_are_overwritten(make_adata):
    adata = make_adata()
    for n_genes in (3, 4):
        yt.tl.select(adata, n_genes, categorical_keys="task_0", max_steps=2, progress_bar=False)
        assert adata.var["yoto_selected"].sum() == n_genes


@pytest.mark.parametrize(
    ("place", "name"),
    [("obsm", "X_mine"), ("obs", "mine_task_0"), ("var", "mine_rank")],
)
def test_nothing_of_the_users_is_overwritten(make_adata, place, name):
    adata = make_adata()
    n = adata.n_vars if place == "var" else adata.n_obs
    getattr(adata, place)[name] = np.ones((n, 2)) if place == "obsm" else np.ones(n)
    with pytest.raises(ValueError, match=f"would overwrite adata.{place}.*{name}"):
        yt.tl.select(adata, 3, categorical_keys="task_0", key_added="mine")


def test_predictions_of_an_earlier_selection_are_dropped(make_adata):
    adata = make_adata()
    for keys in (["task_0", "task_1"], ["task_0"]):
        yt.tl.select(adata, 3, categorical_keys=keys, max_steps=2, progress_bar=False)
    assert "yoto_task_0" in adata.obs
    assert "yoto_task_1" not in adata.obs


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"model_kwargs": {"n_genes": 5}}, TypeError, "arguments of their own"),
        ({"train_kwargs": {"max_epochs": 3}}, TypeError, "max_epochs.*cannot be set"),
        (
            {"train_kwargs": {"plan_kwargs": {"full_panel_share": 7}}},
            ValueError,
            "full_panel_share",
        ),
        ({"train_kwargs": {"plan_kwargs": {"lr": -1}}}, ValueError, "lr must be"),
        ({"train_kwargs": {"plan_kwargs": {"seed": 1}}}, TypeError, r"\['seed'\].*of their own"),
        ({"train_kwargs": {"plan_kwargs": {"batch_size": 9}}}, TypeError, r"\['batch_size'\]"),
        ({"train_kwargs": {"plan_kwargs": {"keep_factor": 0.5}}}, ValueError, "keep_factor"),
        (
            {"train_kwargs": {"plan_kwargs": {"selection_network": "encodr"}}},
            ValueError,
            "selection_network",
        ),
        ({"split_key": "task_0"}, ValueError, "split_key='task_0' is also a task"),
        ({"devices": 2}, ValueError, "one device"),
        ({"candidates": "yoto_selected"}, ValueError, "would be overwritten"),
    ],
)
def test_arguments_that_contradict_each_other(make_adata, arguments, error, message):
    adata = make_adata()
    adata.var["yoto_selected"] = True
    if "candidates" not in arguments:
        del adata.var["yoto_selected"]
    with pytest.raises(error, match=message):
        yt.tl.select(adata, 3, categorical_keys="task_0", progress_bar=False, **arguments)


def test_what_is_handled_is_said(make_adata, caplog):
    adata = make_adata()
    yt.tl.select(
        adata,
        3,
        categorical_keys="task_0",
        unlabeled=["Unknwon"],
        exclude=["ZZZ*"],
        max_steps=2,
        progress_bar=False,
    )
    assert "unlabeled='Unknwon' occurs in no task" in caplog.text
    assert "exclude='ZZZ*' matches no gene" in caplog.text


def say_unknown(adata: AnnData) -> AnnData:
    """Fill the holes of a task by text, as files do; the other one has an empty text."""
    adata.obs["task_0"] = adata.obs["task_0"].cat.add_categories("Unknown").fillna("Unknown")
    adata.obs["task_1"] = adata.obs["task_1"].astype(object).fillna("")
    return adata


NOTED = [
    r"'task_0'.*'Unknown' \({} cells\)\..*unlabeled=\['Unknown'\]\.$",
    r"'task_1'.*'' \({} cells\)\..*unlabeled=\[''\]\.$",
]


def notes_in(caplog: pytest.LogCaptureFixture) -> list[str]:
    notes = [r.getMessage() for r in caplog.records if "unlabeled=" in r.getMessage()]
    caplog.clear()
    return notes


@pytest.mark.parametrize("read", TASK_READERS)
def test_labels_that_look_like_none_are_pointed_out_once(
    make_adata: Callable[..., AnnData], caplog: pytest.LogCaptureFixture, read: str
) -> None:
    holes = make_adata().obs[["task_0", "task_1"]].isna().sum()
    adata = say_unknown(make_adata())
    quick = {"max_steps": 2, "model_kwargs": {"n_hidden": 4, "n_members": 1}}
    more: dict[str, dict[str, Any]] = {
        "select": {**quick, "group_key": "donor", "progress_bar": False},
        "stability": {"select_kwargs": quick, "n_runs": 2, "progress_bar": False},
        "evaluate": {"classifiers": "k_neighbors", "n_splits": 2},
        "compare": {"classifiers": "k_neighbors", "n_splits": 2},
    }
    arguments = {"categorical_keys": ["task_0", "task_1"], **more.get(read, {})}
    TASK_READERS[read](adata.copy(), **arguments)
    notes = notes_in(caplog)
    assert len(notes) == 2
    for note, says, n_cells in zip(notes, NOTED, holes, strict=True):
        assert re.search(says.format(n_cells), note), note
    TASK_READERS[read](adata, **arguments, unlabeled=["Unknown", ""])
    assert notes_in(caplog) == []


def test_labels_that_look_like_none_are_learned_all_the_same(
    make_adata: Callable[..., AnnData], select: Callable[..., Any]
) -> None:
    adata = say_unknown(make_adata())
    select(adata, categorical_keys=["task_0"], max_steps=2)
    assert "Unknown" in adata.obs["yoto_task_0"].cat.categories
    assert adata.uns["yoto"]["tasks"].loc["task_0", "n_categories"] == 5
    assert "unlabeled" not in adata.uns["yoto"]["params"]


def test_a_model_of_ones_own_is_not_told_again(
    make_adata: Callable[..., AnnData], train: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    model = train(
        say_unknown(make_adata()),
        setup={"categorical_keys": ["task_0"]},
        train_kwargs={"max_steps": 2},
        fraction_range=(0.01, None),
    )
    assert len(notes_in(caplog)) == 1
    model.predict(say_unknown(make_adata()))
    assert notes_in(caplog) == []
