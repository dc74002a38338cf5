"""A file imports only from the layers below it, and only its layer's libraries.

Imports are read off the syntax tree: those inside functions and those for annotations count too,
as they lean on the other file just as much.
"""

from __future__ import annotations

import ast
import graphlib
import inspect
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

import yoto_sc

ROOT = Path(yoto_sc.__file__).parent
TABLES = {"anndata", "numpy", "pandas", "scipy"}
MATHEMATICS = {"nn", "select", "metrics"}
EVERYWHERE = {"_threads", "_version"}
"""These lean on nothing, and any file may lean on them."""


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
    "_version": layer(),
    "_threads": layer(libraries={"threadpoolctl"}),
    "_keys": layer(),
    "_workers": layer(libraries={"dask", "torch"}),
    "_progress": layer(libraries={"tqdm"}),
    "_memory": layer(),
    "_lazy": layer(libraries=TABLES),
    "_genes": layer(libraries={"pandas"}),
    "_gene_files": layer({"_genes"}, {"pandas"}),
    "_checks": layer({"_genes", "_keys", "_lazy"}, TABLES),
    "_panel": layer({"_genes", "_gene_files", "_keys"}, TABLES, lazy={"data"}),
    # The mathematics, on arrays.
    "nn": layer(libraries={"numpy", "torch"}),
    "select": layer(libraries={"numpy", "scipy"}),
    "metrics": layer(libraries={"numpy", "scipy", "sklearn", "pandas"}),
    # What is asked.
    "data": layer(
        {"_keys", "_checks", "_lazy", "_memory", "_progress", "_workers", "select", "metrics"},
        TABLES | {"dask", "h5py", "scanpy", "zarr"},
    ),
    "assay": layer({"_progress", "data"}, TABLES | {"sklearn"}),
    "rules": layer({"_checks", "_genes", "data"}, TABLES),
    "_problem": layer({"_checks", "data", "rules"}, TABLES),
    # What is trained for it, and how well.
    "judge": layer(
        {"_panel", "_problem", "assay", "data", "select", "metrics"}, TABLES | {"sklearn"}
    ),
    "teach": layer({"_problem", "data", "judge", "select", "metrics"}, TABLES | {"sklearn"}),
    "train": layer(
        {
            "_checks",
            "_memory",
            "_panel",
            "_problem",
            "_progress",
            "_workers",
            "assay",
            "data",
            "judge",
            "rules",
            "teach",
            *MATHEMATICS,
        },
        TABLES | {"lightning", "scvi", "torch", "tqdm"},
    ),
    "model": layer(
        {
            "_keys",
            "_checks",
            "_genes",
            "_panel",
            "_problem",
            "assay",
            "data",
            "judge",
            "rules",
            "teach",
            "train",
        }
        | MATHEMATICS,
        TABLES | {"rich", "safetensors", "scvi", "sklearn", "torch"},
    ),
    # What is called.
    "datasets": layer(libraries=TABLES | {"scanpy"}),
    "tl": layer(
        {"_keys", "_checks", "_panel", "_problem", "data", "judge", "rules", "select", "metrics"}
        | {"_genes", "_lazy", "_progress", "_workers", "assay", "teach"},
        TABLES | {"scanpy", "sklearn", "tqdm"},
        lazy={"model"},
    ),
    "pl": layer({"_keys", "_lazy", "_panel"}, TABLES | {"matplotlib", "scanpy"}),
    "_report": layer(
        {"_keys", "_checks", "_panel", "_version", "pl"},
        TABLES | {"jinja2"},
    ),
    "cli": layer(
        {"_keys", "_lazy", "_checks", "_panel", "data", "rules"},
        TABLES | {"click"},
        lazy={"_report", "datasets", "metrics", "model", "pl", "tl"},
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
            fine = found.part in allowed.parts | EVERYWHERE | {part, ""} or (
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


def test_parts_and_layers_are_the_same():
    assert {part_of(path) for path in files()} == LAYERS.keys()


@pytest.mark.parametrize("path", files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_imports_from_its_layers_only(path):
    source = path.read_text(encoding="utf-8")
    module = f"{module_of(path)}.__init__" if path.name == "__init__.py" else module_of(path)
    assert violations(source, part_of(path), module) == []


def test_layers_are_an_order():
    graph = {name: allowed.parts - {name} | allowed.lazy for name, allowed in LAYERS.items()}
    list(graphlib.TopologicalSorter(graph).static_order())


def test_what_any_file_may_import_imports_nothing():
    for part in EVERYWHERE:
        assert LAYERS[part].parts == LAYERS[part].lazy == frozenset()


def modules():
    return {module_of(path): path for path in sorted(ROOT.rglob("*.py"))}


def module_name(path):
    """Name a file so that its relative imports can be told: a folder's own is in the folder."""
    return f"{module_of(path)}.__init__" if path.name == "__init__.py" else module_of(path)


def files_imported_by(source, module, known):
    """Which of the `known` modules a file names: those that it takes something from.

    The folders above are run too, but nothing is taken from them.
    """
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = module.split(".")[: -node.level] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            for alias in node.names:
                inner = f"{base}.{alias.name}"
                found.add(inner if inner in known else base)
    return (found & known.keys()) - {module.removesuffix(".__init__")}


def test_no_files_import_each_other_in_a_circle():
    """Imports inside functions and for annotations count, and the package itself is a file too."""
    known = modules()
    graph = {
        module: files_imported_by(path.read_text(encoding="utf-8"), module_name(path), known)
        for module, path in known.items()
    }
    assert graph["yoto_sc.judge._judgement"] >= {"yoto_sc._problem", "yoto_sc.judge._splits"}
    list(graphlib.TopologicalSorter(graph).static_order())


def test_circles_are_found():
    known = {"p": None, "p.a": None, "p.b": None}
    assert files_imported_by("def f():\n    from p.b import x", "p.a", known) == {"p.b"}
    assert files_imported_by("if TYPE_CHECKING:\n    from p import b, y", "p.a", known) == {
        "p",
        "p.b",
    }
    assert files_imported_by("from .a import x\nfrom . import b", "p.__init__", known) == {
        "p.a",
        "p.b",
    }
    with pytest.raises(graphlib.CycleError):
        graphlib.TopologicalSorter({"p.a": {"p"}, "p": {"p.a"}}).prepare()


def test_nothing_below_the_command_line_takes_from_the_package_itself():
    """It names all namespaces, so that a file which leans on it leans on everything."""
    known = modules()
    users = {
        part_of(path)
        for path in files()
        if "yoto_sc"
        in files_imported_by(path.read_text(encoding="utf-8"), module_name(path), known)
    }
    assert users <= {"cli", "__main__"}


def test_the_package_itself_imports_nothing_but_its_version():
    source = (ROOT / "__init__.py").read_text(encoding="utf-8")
    for found in imports_of(source, "yoto_sc.__init__"):
        if not (found.lazy or found.typing) and found.part != "_version":
            assert found.library in sys.stdlib_module_names, found


@pytest.mark.parametrize(
    ("library", "expected"),
    [
        ("scvi", {"train", "model"}),
        ("lightning", {"train"}),
        ("torch", {"_workers", "nn", "train", "model"}),
        ("safetensors", {"model"}),
        ("matplotlib", {"pl"}),
        ("click", {"cli"}),
    ],
)
def test_a_library_has_its_place(library, expected):
    users = {
        part_of(path)
        for path in files()
        for found in imports_of(path.read_text(encoding="utf-8"))
        if found.library == library
    }
    assert users == expected


def test_only_data_and_closed_forms_look_inside_sparse_matrices():
    """Of torch's results, ``indices`` are something else."""
    users = {
        part_of(path)
        for path in files()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute)
        and (node.attr == "indptr" or (node.attr == "indices" and part_of(path) != "nn"))
    }
    assert users <= {"data", "select", "pl"}


# --- parameters ---

MAX_PARAMETERS = 10


def too_many_parameters(source, module):
    """List functions and methods with more than ten parameters; ``self`` and ``cls`` are none."""
    found = []

    def visit(node, names, in_class):
        for child in ast.iter_child_nodes(node):
            inner = [*names, child.name] if hasattr(child, "name") else names
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                arguments = child.args
                named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
                is_static = any(ast.unparse(d) == "staticmethod" for d in child.decorator_list)
                n = len(named) - (in_class and not is_static)
                n += (arguments.vararg is not None) + (arguments.kwarg is not None)
                if n > MAX_PARAMETERS:
                    found.append(".".join([module, *inner]))
            visit(child, inner, isinstance(child, ast.ClassDef))

    visit(ast.parse(source), [], False)
    return found


def public_names():
    """Name what users call: functions of the namespaces, methods of the model and the panel."""
    names = set()
    for namespace in (yoto_sc.tl, yoto_sc.pl, yoto_sc.datasets):
        for name in namespace.__all__:
            function = inspect.unwrap(getattr(namespace, name))
            names.add(f"{function.__module__}.{function.__qualname__}")
    for owner in (yoto_sc.model.YOTO, yoto_sc.Panel):
        for base in owner.__mro__:
            methods = [name for name in vars(base) if not name.startswith("_")]
            names |= {f"{base.__module__}.{base.__qualname__}.{n}" for n in methods}
            names.add(f"{base.__module__}.{base.__qualname__}.__init__")
    return names


@pytest.mark.parametrize("path", files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_inside_the_package_functions_have_few_parameters(path):
    long = too_many_parameters(path.read_text(encoding="utf-8"), module_of(path))
    assert set(long) <= public_names()


def test_parameters_are_counted():
    eleven = ", ".join(f"a{i}" for i in range(11))
    ten = ", ".join(f"a{i}" for i in range(10))
    assert too_many_parameters(f"def f({eleven}): ...", "m") == ["m.f"]
    assert too_many_parameters(f"def f({ten}): ...", "m") == []
    assert too_many_parameters(f"def f({ten}, **more): ...", "m") == ["m.f"]
    assert too_many_parameters(f"def f(*, {eleven}): ...", "m") == ["m.f"]
    assert too_many_parameters(f"class C:\n    def f(self, {ten}): ...", "m") == []
    assert too_many_parameters(f"class C:\n    def f(self, {eleven}): ...", "m") == ["m.C.f"]
    assert too_many_parameters(f"class C:\n    @staticmethod\n    def f({eleven}): ...", "m") == [
        "m.C.f"
    ]
    assert too_many_parameters(f"def f():\n    def g({eleven}): ...", "m") == ["m.f.g"]


@pytest.mark.parametrize(
    ("part", "source"),
    [
        ("_keys", "import numpy"),
        ("_version", "from yoto_sc._keys import Keys"),
        ("_threads", "def f():\n    import torch"),
        ("_checks", "from yoto_sc.data import Task"),
        ("_checks", "from yoto_sc import tl"),
        ("nn", "import pandas as pd"),
        ("nn", "import anndata"),
        ("nn", "from yoto_sc.data import Task"),
        ("select", "import torch"),
        ("select", "import sklearn"),
        ("select", "from yoto_sc.nn import Encoder"),
        ("select", "if TYPE_CHECKING:\n    from yoto_sc.data import Expression"),
        ("metrics", "from yoto_sc.model import YOTO"),
        ("data", "from yoto_sc.rules import Cap"),
        ("data", "import torch"),
        ("rules", "from yoto_sc._problem import Problem"),
        ("_problem", "from yoto_sc.judge import Split"),
        ("judge", "import torch"),
        ("judge", "if TYPE_CHECKING:\n    from yoto_sc.train import Recipe"),
        ("train", "from yoto_sc.model import YOTO"),
        ("train", "import scanpy"),
        ("datasets", "def f():\n    import scvi"),
        ("model", "from yoto_sc.tl import select"),
        ("model", "from yoto_sc import pl"),
        ("model", "import lightning"),
        ("tl", "import torch"),
        ("tl", "from yoto_sc.model import YOTO"),
        ("tl", "def f():\n    from yoto_sc.train import Training"),
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
        ("tl", "from yoto_sc._version import __version__"),
        ("metrics", "from yoto_sc._threads import one_thread"),
        ("pl", "from . import _style"),
        ("judge", "from yoto_sc._problem import Problem\nimport sklearn"),
        ("train", "from yoto_sc.judge import Split\nimport lightning, scvi, torch"),
        ("model", "import yoto_sc\nfrom yoto_sc.nn import narrow\nimport scvi"),
        ("select", "import numpy.linalg, math"),
        ("_keys", "if TYPE_CHECKING:\n    from anndata import AnnData"),
    ],
)
def test_the_check_lets_pass(part, source):
    assert violations(source, part, f"yoto_sc.{part}._x") == []
