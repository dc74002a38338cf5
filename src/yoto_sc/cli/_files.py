"""Reading the input, and writing results that appear when all is done."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from yoto_sc.cli._errors import one_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import pandas as pd
    from anndata import AnnData

    from yoto_sc._keys import Keys
    from yoto_sc.data import Task

MODEL = "model"
TABLES = ("metrics", "path", "columns", "teacher", "base", "assay")
MORE_TABLES = (
    *("tasks", "history", "confusion", "attribution", "without", "held_out", "group_held_out"),
    *("assay_classes", "assay_copies"),
    *("obs", "var"),
)
"""What is written beside `TABLES` where only results are."""
PLOTS = ("selected_genes", "path", "training", "confusion", "dotplot", "columns")
REPORT = "report.html"
RESULTS = (
    "panel.csv",
    "selected.h5ad",
    REPORT,
    MODEL,
    *(f"{name}.csv" for name in (*TABLES, *MORE_TABLES)),
    *(f"{name}.png" for name in PLOTS),
)
"""Everything that a selection may write to its directory."""


def is_file(name: str) -> bool:
    """Whether a name among genes is a file's: it is marked so, or has a suffix and exists."""
    return name.startswith("@") or ("." in name and Path(name).is_file())


def genes_in(name: str) -> list[str]:
    """Read the genes of a list, however it is laid out, or of a ``panel.csv``."""
    from yoto_sc import Panel

    path = Path(name.removeprefix("@"))
    try:
        return Panel.read(path).genes
    except (ImportError, OSError, ValueError) as error:
        raise click.BadParameter(f"{path} is no list of genes: {one_line(error)}") from error


def read(path: Path, table: str | None) -> AnnData:
    """Read a file, or a table in it; expression stays there if it is large."""
    from yoto_sc.data import NoTableError, open_file

    try:
        return open_file(path, table)
    except NoTableError as error:
        raise click.BadParameter(f"{path} {error}", param_hint="'--table'") from error
    except Exception as error:  # whatever a reader stumbles on, the file is the cause
        raise click.BadParameter(
            f"{path} cannot be read as h5ad, zarr, h5mu or 10x h5: {one_line(error)}",
            param_hint="'INPUT'",
        ) from error


def read_table(path: Path | None) -> pd.DataFrame | None:
    """Read a table that a command wrote."""
    import pandas as pd

    try:
        return None if path is None else pd.read_csv(path)
    except ValueError as error:
        raise click.BadParameter(f"{path} is no table: {one_line(error)}") from error


def check_new_directory(out: Path, overwrite: bool) -> None:
    """Refuse a directory that cannot be made, or holds what may not be replaced."""
    if out.exists() and not out.is_dir():
        raise _bad_out(f"{out} is a file. Name a directory.")
    if out.is_dir() and any(out.iterdir()):
        if not overwrite:
            raise _bad_out(f"{out} is not empty. Name a new directory, or add --overwrite.")
        if (out / MODEL).exists() and not (out / MODEL / "model.json").is_file():
            raise _bad_out(
                f"{out / MODEL} is no earlier result, and is not replaced. Name another directory."
            )
    _check_writable(out)


def check_new_file(out: Path, overwrite: bool, suffixes: Sequence[str]) -> None:
    """Refuse a file that cannot be made, may not be replaced, or has another suffix."""
    if out.suffix not in suffixes:
        raise _bad_out(f"{out} must end in {' or '.join(suffixes)}.")
    if out.is_dir() or (out.exists() and not overwrite):
        raise _bad_out(f"{out} exists. Name a new file, or add --overwrite.")
    _check_writable(out)


def _check_writable(out: Path) -> None:
    parent = _existing(out if out.is_dir() else out.absolute().parent)
    if not parent.is_dir() or not os.access(parent, os.W_OK):
        raise _bad_out(f"{out} cannot be made: {parent} cannot be written to.")


def _bad_out(message: str) -> click.BadParameter:
    return click.BadParameter(message, param_hint="'--out'")


def _existing(directory: Path) -> Path:
    """Return the directory, or the closest one above that exists."""
    directory = directory.absolute()
    return next(path for path in (directory, *directory.parents) if path.exists())


@contextlib.contextmanager
def staged(directory: Path, replaces: Iterable[str] = ()) -> Iterator[Path]:
    """Yield an empty place to write to; its files move to `directory` if all goes well.

    The place is on the same disk, so that moving is renaming. What bears one of the names that
    the result `replaces` is removed first.
    """
    scratch = Path(tempfile.mkdtemp(prefix=".yoto-sc-", dir=_existing(directory)))
    try:
        yield scratch
        directory.mkdir(parents=True, exist_ok=True)
        for path in (directory / name for name in replaces):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        for path in scratch.iterdir():
            path.replace(directory / path.name)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def predictions_in(adata: AnnData, tasks: Iterable[Task], names: Keys) -> pd.DataFrame:
    """Return what was written of predictions, with a column for each column of a vector."""
    import numpy as np
    import pandas as pd

    columns = {}
    for task in tasks:
        for entry in task.columns(names):
            values = getattr(adata, task.place)[entry]
            if task.place == "obs":
                columns[entry] = values
            else:
                of_parts = zip(task.parts, np.asarray(values).T, strict=True)
                columns |= {f"{entry}_{part}": numbers for part, numbers in of_parts}
    return pd.DataFrame(columns, index=adata.obs_names)


def without_expression(adata: AnnData, key: str) -> AnnData:
    """Return what was written under a key, and nothing else of the data."""
    import anndata

    from yoto_sc._keys import Keys

    def written(name: str) -> bool:
        return name.startswith(f"{key}_") or name == Keys(key).latent

    return anndata.AnnData(
        obs=adata.obs.loc[:, [written(name) for name in adata.obs]],
        var=adata.var.loc[:, [written(name) for name in adata.var]],
        obsm={name: entry for name, entry in adata.obsm.items() if written(name)},
        uns={key: adata.uns[key]} if key in adata.uns else {},
    )


def stays_in_its_file(adata: AnnData) -> bool:
    """Whether expression was too large to be read, and is not written again; say so."""
    from yoto_sc._lazy import is_lazy

    is_large = any(is_lazy(matrix) for matrix in (adata.X, *adata.layers.values()))
    if is_large:
        logging.getLogger("yoto_sc").info(
            "Expression is large and stays where it is: only results are written, as with "
            "--results-only."
        )
    return is_large


def save(ax: Any, path: Path) -> None:
    """Write the figure that some axes are in."""
    ax.figure.savefig(path, dpi=150, bbox_inches="tight")


def write_results(
    adata: AnnData, directory: Path, key: str = "yoto", *, results_only: bool = False
) -> None:
    """Write what a selection found: panel, tables, plots and the annotated data.

    Parameters
    ----------
    results_only
        Write no expression, and all tables as CSV.
    """
    from yoto_sc import Panel, pl
    from yoto_sc._report import report

    Panel.from_adata(adata, key).to_csv(directory / "panel.csv")
    found = without_expression(adata, key)
    stored = {**adata.uns[key], "obs": found.obs, "var": found.var}
    wanted = (*TABLES, *MORE_TABLES) if results_only else TABLES
    tables = [name for name in wanted if name in stored]
    for name in tables:
        stored[name].to_csv(directory / f"{name}.csv")
    axes = {
        name: getattr(pl, name)(adata, key=key, show=False)
        for name in ("selected_genes", "path", "training")
    }
    if "columns" in tables:
        axes["columns"] = pl.columns(adata, key=key, show=False)
    categorical = adata.uns[key]["params"].get("categorical_keys", [])
    if len(categorical):
        axes["confusion"] = pl.confusion(adata, categorical[0], key=key, show=False)
        dots = pl.selected_genes_dotplot(adata, categorical[0], key=key, show=False)
        axes["dotplot"] = dots["mainplot_ax"]
    for name, ax in axes.items():
        save(ax, directory / f"{name}.png")
    report(adata, directory / REPORT, key=key)
    (found if results_only else adata).write_h5ad(directory / "selected.h5ad")
