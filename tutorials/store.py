"""Run notebooks and store their outputs, without what would be noise in a diff.

What is left out: warnings and progress on the error stream, times, and versions of Python.
`make tutorials` only runs them.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode

HERE = Path(__file__).parent


def tidied(outputs: list[NotebookNode]) -> list[NotebookNode]:
    """Join what was printed bit by bit, and drop what is empty or on the error stream."""
    kept: list[NotebookNode] = []
    for out in outputs:
        if out.get("name") == "stderr" or ("data" in out and not any(out.data.values())):
            continue
        if kept and out.get("name") == kept[-1].get("name") == "stdout":
            kept[-1].text += out.text
        else:
            kept.append(out)
    return kept


def store(path: Path) -> None:
    """Run a notebook from start to end, and write it back."""
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook,
        timeout=1200,
        kernel_name="python3",
        resources={"metadata": {"path": path.parent}},
        record_timing=False,
    )
    client.execute()
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = tidied(cell.outputs)
    notebook.metadata.language_info = {"name": "python"}
    nbformat.write(notebook, path)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("notebooks", nargs="*", type=Path, help="default: all of this folder")
    for notebook in parser.parse_args().notebooks or sorted(HERE.glob("*.ipynb")):
        print(notebook)
        store(notebook)
