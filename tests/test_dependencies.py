"""What is imported is declared, and of other packages nothing private is used."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from functools import cache
from importlib import metadata
from pathlib import Path

import pytest

import yoto_sc

PACKAGE = Path(yoto_sc.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))
PYPROJECT = Path(__file__).parents[1] / "pyproject.toml"
PROVIDERS = metadata.packages_distributions()
SOURCE = """
import numpy as np, scipy.sparse
import yoto_sc.tl
from pathlib import Path
from . import _sibling
from sklearn import cluster
if TYPE_CHECKING:
    from tqdm._utils import _text
def f():
    import rich.pretty
    from scvi.model import _utils
    import_module("igraph._igraph")
"""


def imports(source: str) -> set[str]:
    """Return all that is imported from third parties, as dotted names down to what is taken."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            names |= {arg.value for arg in node.args[:1] if isinstance(arg, ast.Constant)}
    return {name for name in names if top(name) not in {*sys.stdlib_module_names, "yoto_sc"}}


def top(name: str) -> str:
    return name.partition(".")[0]


def private(name: str) -> list[str]:
    """Return the parts of a dotted name that are not meant for others."""
    return [part for part in name.split(".") if re.match(r"_(?!_)", part)]


@cache
def declared() -> set[str]:
    """Return the distributions in `dependencies` and the extra `dask`, in normal form."""
    with PYPROJECT.open("rb") as file:
        project = tomllib.load(file)["project"]
    requirements = [*project["dependencies"], *project["optional-dependencies"]["dask"]]
    return {normal(re.match(r"[\w.-]+", requirement)[0]) for requirement in requirements}


def normal(distribution: str) -> str:
    return re.sub(r"[-_.]+", "-", distribution).lower()


def is_declared(name: str) -> bool:
    return bool({normal(d) for d in PROVIDERS.get(top(name), ())} & declared())


def test_the_check_finds() -> None:
    found = imports(SOURCE)
    assert {top(name) for name in found} == {
        "numpy",
        "scipy",
        "sklearn",
        "tqdm",
        "rich",
        "scvi",
    } | {"igraph"}
    assert is_declared("sklearn.cluster")
    assert not is_declared("pytest")
    assert {name for name in found if private(name)} == {
        "tqdm._utils._text",
        "scvi.model._utils",
        "igraph._igraph",
    }


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_are_declared_and_public(path: Path) -> None:
    """Inside functions and for annotations too: they break as the others do."""
    found = imports(path.read_text(encoding="utf-8"))
    assert sorted({top(name) for name in found if not is_declared(name)}) == []
    assert sorted(name for name in found if private(name)) == []


def test_every_dependency_is_imported() -> None:
    """Or wanted by one that is: igraph by scanpy's clustering, xarray by lazy anndata."""
    used = {top(name) for path in FILES for name in imports(path.read_text(encoding="utf-8"))}
    providers = {normal(d) for name in used for d in PROVIDERS[name]}
    assert declared() - providers <= {"igraph", "xarray"}
