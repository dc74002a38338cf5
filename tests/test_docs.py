"""The documentation: its code runs, its links resolve, the errors it explains are raised."""

from __future__ import annotations

import json
import re
from pathlib import Path

import dask.array as da
import numpy as np
import pytest

import yoto_sc as yt

ROOT = Path(__file__).parents[1]
GUIDE = [
    ROOT / "README.md",
    *(ROOT / "docs" / f"{page}.md" for page in ("index", "quickstart", "api")),
    *sorted((ROOT / "docs/guide").glob("*.md")),
]
PAGES = [
    path
    for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("benchmarks/**/*.md")]
    if not {"_build", "generated"} & set(path.parts)
]


def name(path):
    return str(path.relative_to(ROOT))


def blocks(path, language):
    """Return the fenced blocks of a language, in order."""
    fence = re.compile(rf"^```{language}\n(.*?)^```$", re.MULTILINE | re.DOTALL)
    return fence.findall(path.read_text(encoding="utf-8"))


# --- code ---


@pytest.mark.parametrize("page", GUIDE, ids=name)
def test_python_blocks_run(page, tmp_path, monkeypatch):
    """In order, in one namespace for each page; with few steps, as the results are not shown."""
    import matplotlib.pyplot as plt

    from yoto_sc.model import YOTO

    train = YOTO.train
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        YOTO, "train", lambda self, max_steps=None, **k: train(self, max_steps or 40, **k)
    )
    code = blocks(page, "python")
    assert code
    namespace = {}
    for number, block in enumerate(code):
        exec(compile(block, f"{name(page)}, block {number}", "exec"), namespace)
    plt.close("all")


def commands():
    for page in PAGES:
        for block in [*blocks(page, "bash"), *blocks(page, "console")]:
            for line in block.replace("\\\n", " ").splitlines():
                command = line.partition("#")[0].strip()
                if command:
                    yield pytest.param(command, id=f"{name(page)}: {command}")


@pytest.mark.parametrize("command", list(commands()))
def test_shell_commands_name_what_exists(command):
    words = command.split()
    if words[0] == "make":
        targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        assert {word for word in words[1:] if "=" not in word} <= set(targets)
    elif words[0] in {"pip", "python"} and words[1] in {"install", "-c"}:
        files = [word for word in words[2:] if word.endswith(".txt")]
        assert all((ROOT / file).is_file() for file in files)
    elif words[0] in {"bash", "python"}:
        assert (ROOT / words[1]).is_file()
    else:
        assert words[0] in {"eval", "export", "yoto-sc"} or (ROOT / words[0]).is_file()


# --- tutorials ---


@pytest.mark.parametrize("path", sorted((ROOT / "tutorials").glob("*.ipynb")), ids=name)
def test_notebooks_are_stored_with_their_results(path):
    """As `tutorials/store.py` does; what they compute is tested by `make tutorials`."""
    text = path.read_text(encoding="utf-8")
    assert len(text) < 600_000
    assert not re.search(r"/(tmp|work|home|Users)/", text)
    code = [cell for cell in json.loads(text)["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    kinds = {out.get("name", out["output_type"]) for cell in code for out in cell["outputs"]}
    assert kinds <= {"stdout", "display_data", "execute_result"}


# --- links ---


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_relative_links_resolve(page):
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        path, _, anchor = target.partition("#")
        if re.match(r"[a-z]+:", target) or not path:
            continue
        # Pages that another one includes are read from there.
        found = [folder / path for folder in (page.parent, ROOT) if (folder / path).exists()]
        assert found, f"{target} does not exist"
        assert not anchor or anchor in anchors(found[0]), f"{target} has no such heading"


def anchors(page):
    titles = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


# --- reference ---


def test_everything_public_is_in_the_reference():
    text = "\n".join(page.read_text() for page in (ROOT / "docs/api").glob("*.md"))
    listed = set(re.findall(r"^   ([\w.]+)$", text, re.MULTILINE))
    listed |= set(re.findall(r"autoclass:: yoto_sc\.([\w.]+)$", text, re.MULTILINE))
    public = {"Panel"} | {
        f"{namespace}.{member}"
        for namespace in ("tl", "pl", "datasets", "model")
        for member in getattr(yt, namespace).__all__
    }
    assert public <= listed


# --- errors ---


def _select(adata, n_genes=4, **kwargs):
    defaults = {"categorical_keys": "task_0", "max_steps": 1, "progress_bar": False}
    yt.tl.select(adata, n_genes, **{**defaults, **kwargs})


def _with(adata, change):
    change(adata)
    return adata


def _set(adata, value):
    adata.X = adata.X.toarray()
    adata.X[0, 0] = value


def _backed(adata, path):
    adata.write_h5ad(path / "a.h5ad")
    return type(adata)(filename=path / "a.h5ad", filemode="r")


def _each_donor_has_one_task(adata):
    for task, donor in (("task_0", "donor_0"), ("task_1", "donor_1")):
        adata.obs[task] = adata.obs[task].where(adata.obs["donor"] == donor)
    return adata[adata.obs["donor"].isin(["donor_0", "donor_1"])].copy()


def _normalised(adata):
    adata.X = adata.X.astype(np.float32) * 0.5
    return adata


def _short(adata, model):
    first = yt.model.YOTO.load(model, accelerator="cpu").panel().genes[0]
    return adata[:, adata.var_names != first].copy()


def _by_genes(adata):
    adata.X = da.from_array(adata.X.tocsc())
    return adata


ERRORS = {
    "negative": lambda a, model, path: _select(_with(a, lambda a: _set(a, -1))),
    "NaN": lambda a, model, path: _select(_with(a, lambda a: _set(a, np.nan))),
    "view": lambda a, model, path: _select(a[:50]),
    "backed": lambda a, model, path: _select(_backed(a, path), copy=True),
    "names": lambda a, model, path: _select(
        _with(a, lambda a: setattr(a, "var_names", ["g"] * a.n_vars))
    ),
    "column": lambda a, model, path: _select(a, categorical_keys="cell_type"),
    "class": lambda a, model, path: _select(a, unlabeled=list(a.obs["task_0"].cat.categories[1:])),
    "cells": lambda a, model, path: _select(
        _with(a, lambda a: a.obs.__setitem__("id", list(a.obs_names))), categorical_keys="id"
    ),
    "depth": lambda a, model, path: _select(
        _with(a, lambda a: a.obs.__setitem__("depth", np.arange(a.n_obs) % 120)),
        categorical_keys="depth",
    ),
    "numbers": lambda a, model, path: _select(a, categorical_keys=(), continuous_keys="task_0"),
    "donor": lambda a, model, path: _select(
        a[a.obs["donor"] == "donor_0"].copy(), split_key="donor"
    ),
    "donors": lambda a, model, path: _select(
        _each_donor_has_one_task(a), categorical_keys=["task_0", "task_1"], split_key="donor"
    ),
    "include": lambda a, model, path: _select(a, include=["GENE_1"]),
    "contested": lambda a, model, path: _select(
        a, include=[a.var_names[0]], exclude=[f"{a.var_names[0][:3]}*"]
    ),
    "n_genes": lambda a, model, path: _select(a, n_genes=a.n_vars + 1),
    "limits": lambda a, model, path: _select(a, candidates=list(a.var_names[:3])),
    "missing": lambda a, model, path: yt.tl.predict(_short(a, model), model),
    "unmeasured": lambda a, model, path: yt.tl.predict(
        _with(a, lambda a: setattr(a, "var_names", [f"ENSG{i}" for i in range(a.n_vars)])), model
    ),
    "fractions": lambda a, model, path: yt.tl.predict(_normalised(a), model),
    "exists": lambda a, model, path: _select(a, model_dir=path),
    "no model": lambda a, model, path: yt.tl.predict(a, path),
    "no selection": lambda a, model, path: yt.pl.selected_genes(a),
    "taken": lambda a, model, path: _select(_with(a, lambda a: a.uns.__setitem__("yoto", {}))),
    "by genes": lambda a, model, path: _select(_by_genes(a)),
}
NOT_RAISED_HERE = {
    "The model was trained on normalised expression, but adata.X holds counts.",  # guide/xenium
}


def explained():
    return [message.strip() for message in blocks(ROOT / "docs/faq.md", "text")]


def is_explained(message):
    patterns = (".*".join(map(re.escape, text.split("…"))) for text in explained())
    return [bool(re.match(pattern, message, re.DOTALL)) for pattern in patterns]


@pytest.fixture(scope="module")
def raised(make_adata, model_dir, tmp_path_factory):
    """What the mistakes of `ERRORS` are answered with."""
    messages = {}
    for mistake, make in ERRORS.items():
        try:
            make(make_adata(), model_dir, tmp_path_factory.mktemp("faq"))
        except (KeyError, TypeError, ValueError, OSError) as error:
            messages[mistake] = str(error.args[0])
        else:
            messages[mistake] = "no error"
    return messages


def test_errors_that_are_raised_are_explained(raised):
    unexplained = {m: text for m, text in raised.items() if not any(is_explained(text))}
    assert not unexplained


def test_errors_that_are_explained_are_raised(raised):
    matches = np.array([is_explained(text) for text in raised.values()]).any(axis=0)
    unraised = {text for text, match in zip(explained(), matches, strict=True) if not match}
    assert unraised <= NOT_RAISED_HERE
