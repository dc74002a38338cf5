"""The package imports quickly, and everything public is there and documented."""

from __future__ import annotations

import importlib
import inspect
import re
import subprocess
import sys
from importlib.metadata import version

import pytest

import yoto_sc

NAMESPACES = ["datasets", "metrics", "model", "nn", "pl", "select", "tl"]
LIGHT = ["datasets", "metrics", "pl", "select", "tl"]
SECTIONS = {
    "Parameters",
    "Attributes",
    "Returns",
    "Yields",
    "Raises",
    "Warns",
    "See Also",
    "Notes",
    "References",
    "Examples",
}


def run(code):
    """Run code in an interpreter of its own, and return the words it prints."""
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.split()


def modules_after(statement):
    return {
        name.partition(".")[0] for name in run(f"{statement}\nimport sys\nprint(*sys.modules)")
    }


# --- import ---


def test_import_is_light():
    loaded = modules_after("import yoto_sc")
    assert "yoto_sc" in loaded
    heavy = {"torch", "scvi", "lightning", "anndata", "scanpy", "matplotlib", "pandas", "sklearn"}
    assert not loaded & heavy


def test_import_is_quick():
    """In seconds of the processor, so that other programs do not matter; the best of three."""
    code = "import time; t = time.process_time(); import yoto_sc; print(time.process_time() - t)"
    assert min(float(run(code)[0]) for _ in range(3)) < 0.5


def test_only_the_model_and_the_networks_need_torch():
    code = f"""
import importlib, sys
for namespace in {LIGHT}:
    importlib.import_module(f"yoto_sc.{{namespace}}")
    for library in ("torch", "scvi", "lightning", "matplotlib.pyplot"):
        if library in sys.modules:
            sys.exit(f"{{namespace}} imports {{library}}")
"""
    assert run(code) == []


def test_networks_need_torch_alone():
    loaded = modules_after("import yoto_sc.nn")
    assert "torch" in loaded
    assert not loaded & {"anndata", "scvi", "lightning", "pandas"}


def test_names_are_imported_when_used():
    code = "import yoto_sc as yt; yt.tl.select; print(yt.Panel.from_genes(['a', 'b']).n_genes)"
    assert run(code) == ["2"]


# --- names ---


def test_all_names_resolve():
    assert set(yoto_sc.__all__) == {
        *("Panel", "__version__", "datasets", "model", "pl", "report", "tl")
    }
    for name in yoto_sc.__all__:
        assert getattr(yoto_sc, name) is not None
    assert dir(yoto_sc) == sorted(yoto_sc.__all__)
    assert yoto_sc.Panel is importlib.import_module("yoto_sc._panel").Panel


def test_unknown_names_are_attribute_errors():
    with pytest.raises(AttributeError, match=r"'yoto_sc' has no attribute 'selct'"):
        yoto_sc.selct  # noqa: B018
    assert not hasattr(yoto_sc, "nonsense")


@pytest.mark.parametrize("namespace", NAMESPACES)
def test_all_names_of_namespaces_resolve(namespace):
    module = importlib.import_module(f"yoto_sc.{namespace}")
    assert len(set(module.__all__)) == len(module.__all__) > 0
    for name in module.__all__:
        assert hasattr(module, name), name
        assert not name.startswith("_")


def test_documented_surface():
    from yoto_sc import datasets, model, pl, tl

    assert {"select", "predict", "evaluate", "compare"} <= set(tl.__all__)
    assert {"stability", "substitutes"} <= set(tl.__all__)
    assert {"planted", "pbmc68k"} <= set(datasets.__all__)
    assert "YOTO" in model.__all__
    grouped = {"dotplot", "heatmap", "matrixplot", "stacked_violin", "umap"}
    assert {f"selected_genes_{plot}" for plot in grouped} <= set(pl.__all__)
    assert {"selected_genes", "path", "training", "confusion"} <= set(pl.__all__)
    assert {"redundancy", "compare", "stability"} <= set(pl.__all__)


def test_version():
    assert re.fullmatch(r"\d+\.\d+\.\d+((a|b|rc|\.dev)\d+)?", yoto_sc.__version__)
    assert yoto_sc.__version__ == version("yoto-sc")


def test_type_information_is_shipped():
    from importlib.resources import files

    assert (files("yoto_sc") / "py.typed").is_file()


# --- docstrings ---


def public_objects():
    """Yield the name and the object of all that is public, methods of our own included."""
    yield "Panel", yoto_sc.Panel
    for namespace in NAMESPACES:
        module = importlib.import_module(f"yoto_sc.{namespace}")
        yield namespace, module
        for name in module.__all__:
            thing = getattr(module, name)
            if inspect.isclass(thing) or inspect.isfunction(thing):
                yield f"{namespace}.{name}", thing
    for name, thing in list(classes()):
        for attribute, member in vars(thing).items():
            plain = getattr(member, "__func__", getattr(member, "fget", member))
            if not attribute.startswith("_") and inspect.isfunction(inspect.unwrap(plain)):
                yield f"{name}.{attribute}", plain


def classes():
    yield "Panel", yoto_sc.Panel
    for namespace in NAMESPACES:
        module = importlib.import_module(f"yoto_sc.{namespace}")
        for name in module.__all__:
            if inspect.isclass(getattr(module, name)):
                yield f"{namespace}.{name}", getattr(module, name)


OBJECTS = dict(public_objects())
each_object = pytest.mark.parametrize("name", OBJECTS)


def sections_of(thing):
    """Split a numpydoc docstring into its summary and its sections."""
    lines = (inspect.getdoc(thing) or "").split("\n")
    title, out = "", {"": []}
    for number, line in enumerate(lines):
        following = lines[number + 1] if number + 1 < len(lines) else ""
        if line and following and set(following) == {"-"}:
            title = line
            assert title not in out, f"{title} occurs twice"
            assert title in SECTIONS, f"{title} is no section of numpydoc"
            assert len(following) == len(title), f"{title} is not underlined"
            out[title] = []
        elif not (set(line) == {"-"} and line):
            out[title].append(line)
    return out


def documented_parameters(lines):
    """Names at the margin of a Parameters section; several may share a description."""
    at_margin = [line for line in lines if line and not line.startswith(" ")]
    return [name.strip().lstrip("*") for line in at_margin for name in line.split(",")]


def parameters_of(thing):
    if inspect.ismodule(thing) or (inspect.isclass(thing) and thing.__init__ is object.__init__):
        return []
    names = list(inspect.signature(thing).parameters)
    return [name for name in names if name not in {"self", "cls"}]


def may_be_brief(name):
    """Whether a summary is enough: where users do not look, or the arguments explain themselves.

    That is, for methods of at most two arguments or that a library's class documents, and for
    functions of one argument in the namespaces that are no part of the public surface.
    """
    owner, _, attribute = name.rpartition(".")
    n_parameters = len(parameters_of(OBJECTS[name]))
    if inspect.isclass(OBJECTS.get(owner)):
        foreign = [b for b in OBJECTS[owner].__mro__ if not b.__module__.startswith("yoto_sc")]
        return n_parameters <= 2 or any(hasattr(base, attribute) for base in foreign)
    return owner not in yoto_sc.__all__ and n_parameters <= 1


@each_object
def test_summary_is_one_sentence(name):
    summary = sections_of(OBJECTS[name])[""]
    assert summary, f"{name} has no docstring"
    assert summary[0].endswith("."), summary[0]
    assert len(summary) == 1 or not summary[1], "A blank line follows the summary."


@each_object
def test_parameters_are_those_of_the_signature(name):
    got = documented_parameters(sections_of(OBJECTS[name]).get("Parameters", []))
    if got or not may_be_brief(name):
        assert got == parameters_of(OBJECTS[name])


functions = [
    name
    for name, thing in OBJECTS.items()
    if name.startswith(tuple(f"{part}." for part in LIGHT)) and not inspect.isclass(thing)
]


@pytest.mark.parametrize("name", [name for name in functions if not may_be_brief(name)])
def test_functions_have_the_sections_they_need(name):
    sections = sections_of(OBJECTS[name])
    assert any(line.strip() for line in sections["Returns"])
    if name.startswith(("tl.", "pl.", "datasets.")):
        assert any(line.startswith(">>> ") for line in sections["Examples"])
    if name.startswith(("tl.", "pl.")):
        assert sections["Raises"]
        of_a_table = ("pl.compare", "pl.probe_failure", "pl.transfer")
        assert sections["Parameters"][0] == ("table" if name in of_a_table else "adata")


@pytest.mark.parametrize("name", ["Panel", "model.YOTO"])
def test_classes_have_examples(name):
    assert any(line.startswith(">>> ") for line in sections_of(OBJECTS[name])["Examples"])


@each_object
def test_no_place_of_a_docstring_is_left_unfilled(name):
    for line in (inspect.getdoc(OBJECTS[name]) or "").split("\n"):
        assert not re.fullmatch(r"\s*\{\w+\}", line)
