"""A file imports only from the layers below it, and only its layer's libraries.

Imports are read off the syntax tree: those inside functions and those for annotations count too,
as they lean on the other file just as much.
"""

from __future__ import annotations

import ast
import graphlib
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

import yoto_sc

ROOT = Path(yoto_sc.__file__).parent
BASE = {"_keys", "_tasks", "_panel", "_rules", "_checks", "_expression", "_limits"}
TABLES = {"anndata", "numpy", "pandas", "scipy"}


@dataclass(frozen=True)
class Layer:
    """What the files of one part of the package may import.

    Parts are named like the file or folder in the package; `lazy` ones may be imported inside
    functions and for annotations only. The package itself holds the version.
    """

    parts: frozenset[str]
    libraries: frozenset[str]
    lazy: frozenset[str] = frozenset()


def layer(parts=(), libraries=(), lazy=()):
    return Layer(frozenset(parts), frozenset(libraries), frozenset(lazy))


LAYERS = {
    "_keys": layer(),
    "_tasks": layer({"_keys"}, TABLES - {"anndata"}),
    "_panel": layer({"_keys"}, TABLES),
    "_rules": layer(libraries={"numpy", "scipy"}),
    "_checks": layer({"_keys", "_tasks", "_panel", "_rules"}, TABLES),
    "_expression": layer({"_keys"}, TABLES),
    "_limits": layer({"_rules", "_checks", "_expression"}, TABLES),
    "nn": layer(libraries={"torch"}),
    "select": layer(libraries={"numpy", "scipy", "sklearn"}),
    "metrics": layer(libraries={"numpy", "scipy", "sklearn", "pandas"}),
    "datasets": layer(libraries=TABLES | {"scanpy", "sklearn", "pooch"}),
    "model": layer(
        BASE | {"nn", "select", "metrics"},
        TABLES | {"lightning", "rich", "safetensors", "scvi", "sklearn", "torch", "tqdm"},
    ),
    "tl": layer(
        BASE | {"select", "metrics"},
        TABLES | {"sklearn", "scanpy", "threadpoolctl", "tqdm"},
        lazy={"model"},
    ),
    "pl": layer({"_keys", "_panel"}, TABLES | {"matplotlib", "scanpy", "seaborn"}),
    "cli": layer(
        BASE | {"datasets"}, TABLES | {"click"}, lazy={"datasets", "metrics", "model", "pl", "tl"}
    ),
    "__main__": layer({"cli"}),
}
"""The parts of the package, as the architecture lists them."""


@dataclass(frozen=True)
class Import:
    module: str
    line: int
    lazy: bool
    typing: bool

    @property
    def library(self):
        return self.module.partition(".")[0]

    @property
    def part(self):
        """The part of our package, or the empty string for the package itself."""
        return (self.module.split(".") + [""])[1]


def imports_of(source, module="yoto_sc.x"):
    """Find every import statement, and every import by a name that is written out."""
    tree = ast.parse(source)
    found = []

    def visit(node, lazy, typing):
        lazy = lazy or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = module.split(".")[: -node.level]
                base = ".".join([*above, *([base] if base else [])])
            # `from yoto_sc import tl` imports a part, `from yoto_sc import __version__` does not
            names = [f"{base}.{a.name}" if base == "yoto_sc" else base for a in node.names]
            names = [
                name.replace(".__version__", "").replace(".Panel", "._panel") for name in names
            ]
        elif (
            isinstance(node, ast.Call)
            and ast.unparse(node.func)
            in {"importlib.import_module", "import_module", "__import__"}
            and node.args
            and isinstance(node.args[0], ast.Constant)
        ):
            names = [node.args[0].value]
        else:
            names = []
        found.extend(Import(name, node.lineno, lazy, typing) for name in names)
        for child in ast.iter_child_nodes(node):
            inside = (
                isinstance(node, ast.If)
                and ast.unparse(node.test).endswith("TYPE_CHECKING")
                and child in node.body
            )
            visit(child, lazy, typing or inside)

    visit(tree, lazy=False, typing=False)
    return found


def violations(source, part, module="yoto_sc.x"):
    """List what a file of `part` must not import."""
    allowed = LAYERS[part]
    out = []
    for found in imports_of(source, module):
        if found.library == "yoto_sc":
            deferred = found.lazy or found.typing
            fine = found.part in allowed.parts | {part, ""} or (
                deferred and found.part in allowed.lazy
            )
        else:
            # numpy's and anndata's types in annotations weigh nothing
            fine = found.library in allowed.libraries | sys.stdlib_module_names or (
                found.typing and found.library in TABLES and part != "nn"
            )
        if not fine:
            out.append(f"line {found.line}: {found.module}")
    return out


def files():
    return [path for path in sorted(ROOT.rglob("*.py")) if path != ROOT / "__init__.py"]


def module_of(path):
    parts = ["yoto_sc", *path.relative_to(ROOT).with_suffix("").parts]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def part_of(path):
    return module_of(path).split(".")[1]


def test_every_part_has_a_layer():
    parts = {part_of(path) for path in files()}
    assert parts >= BASE | {"nn", "select", "metrics", "datasets", "model", "tl", "pl"}
    assert not parts - LAYERS.keys(), "Give these a place in the list of layers."


@pytest.mark.parametrize("path", files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_imports_from_its_layers_only(path):
    source = path.read_text(encoding="utf-8")
    module = f"{module_of(path)}.__init__" if path.name == "__init__.py" else module_of(path)
    assert violations(source, part_of(path), module) == []


def test_layers_are_an_order():
    graph = {name: allowed.parts - {name} | allowed.lazy for name, allowed in LAYERS.items()}
    list(graphlib.TopologicalSorter(graph).static_order())


def test_no_two_files_import_each_other():
    """At import time: imports inside functions and for annotations come later."""
    known = {module_of(path): path for path in files()}
    graph = {}
    for module, path in known.items():
        full = f"{module}.__init__" if path.name == "__init__.py" else module
        graph[module] = {
            found.module
            for found in imports_of(path.read_text(encoding="utf-8"), full)
            if found.module in known
            and found.module != module
            and not (found.lazy or found.typing)
        }
    list(graphlib.TopologicalSorter(graph).static_order())


def test_the_package_itself_imports_nothing_but_the_standard_library():
    source = (ROOT / "__init__.py").read_text(encoding="utf-8")
    for found in imports_of(source, "yoto_sc.__init__"):
        if not (found.lazy or found.typing):
            assert found.library in sys.stdlib_module_names, found


def test_scvi_is_imported_by_the_model_only():
    users = {
        part_of(path)
        for path in files()
        for found in imports_of(path.read_text(encoding="utf-8"))
        if found.library in {"scvi", "lightning"}
    }
    assert users == {"model"}


@pytest.mark.parametrize(
    ("part", "source"),
    [
        ("_keys", "import numpy"),
        ("_tasks", "from yoto_sc._checks import check_adata"),
        ("_checks", "from yoto_sc import tl"),
        ("nn", "import numpy as np"),
        ("nn", "import anndata"),
        ("nn", "from yoto_sc._tasks import Task"),
        ("select", "import torch"),
        ("select", "from yoto_sc.nn import Encoder"),
        ("metrics", "from yoto_sc.model import YOTO"),
        ("datasets", "def f():\n    import scvi"),
        ("model", "from yoto_sc.tl import select"),
        ("model", "from yoto_sc import pl"),
        ("tl", "import torch"),
        ("tl", "from yoto_sc.model import YOTO"),
        ("tl", "def f():\n    import scvi.model"),
        ("pl", "def f():\n    import torch"),
        ("pl", "def f():\n    from yoto_sc.model import YOTO"),
        ("pl", "def f():\n    import importlib\n    importlib.import_module('yoto_sc.tl')"),
        ("pl", "if TYPE_CHECKING:\n    from yoto_sc.model import YOTO"),
        ("pl", "from ..tl import select"),
    ],
)
def test_the_check_finds(part, source):
    assert violations(source, part, f"yoto_sc.{part}._x")


@pytest.mark.parametrize(
    ("part", "source"),
    [
        ("tl", "def f():\n    from yoto_sc.model import YOTO"),
        ("tl", "if TYPE_CHECKING:\n    from yoto_sc.model import YOTO"),
        ("tl", "from yoto_sc import __version__"),
        ("pl", "from yoto_sc import Panel"),
        ("pl", "from . import _style"),
        ("model", "import yoto_sc\nfrom yoto_sc.nn import narrow\nimport scvi"),
        ("select", "import numpy.linalg, math"),
        ("_keys", "if TYPE_CHECKING:\n    from anndata import AnnData"),
    ],
)
def test_the_check_lets_pass(part, source):
    assert violations(source, part, f"yoto_sc.{part}._x") == []
