"""The commands: the verbs of `yoto_sc.tl`, from files to files."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from yoto_sc._version import __version__
from yoto_sc.cli._files import (
    MODEL,
    RESULTS,
    check_new_directory,
    check_new_file,
    genes_in,
    read,
    staged,
    write_results,
)
from yoto_sc.cli._options import (
    Command,
    PanelSize,
    common,
    config,
    genes,
    group_key,
    input_,
    key_added,
    layer,
    option,
    repeated,
    tasks,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd
    from anndata import AnnData

DEMO: dict[str, Any] = {
    "n_genes": 32,
    "categorical_keys": ["bulk_labels", "phase"],
    "continuous_keys": ["S_score"],
}
"""Arguments of `yoto_sc.tl.select` in the demo."""

CLASSIFIERS = ("logistic_regression", "random_forest", "k_neighbors")
"""Those of `yoto_sc.tl.evaluate`, whose import would make help wait."""


@dataclass(frozen=True)
class Report:
    """What a command has to say at its end, for people and for machines."""

    text: str
    data: dict[str, Any]


def _command(epilog: str) -> Callable[[Any], Any]:
    """Declare a command; `epilog` holds its examples."""
    return commands.command(cls=Command, epilog=f"\b\nExamples:\n{epilog}")


@click.group(
    no_args_is_help=False,
    context_settings={"help_option_names": ["-h", "--help"], "show_default": True},
)
@click.version_option(__version__, prog_name="yoto-sc")
def commands() -> None:
    """Select the genes to measure, and predict from them.

    INPUT is an h5ad file or a zarr directory. "yoto-sc COMMAND --help" tells more about a
    command.
    """


@_command(
    """  yoto-sc select pbmc.h5ad --categorical-key bulk_labels --n-genes 32 -o out/
  yoto-sc select ref.zarr --categorical-key cell_type --continuous-key age \\
      --split-key donor --exclude 'MT-*' --n-genes auto -o out/
  yoto-sc select ref.h5ad --config select.toml -o out/"""
)
@input_
@option("Tasks", "--n-genes", type=PanelSize(), required=True, help="Size of the panel, or auto.")
@tasks
@layer
@repeated(
    "Genes",
    "--include",
    metavar="GENE|@FILE",
    callback=genes,
    help="Gene that must be in the panel; a file holds one a line; repeatable.",
)
@repeated(
    "Genes",
    "--exclude",
    metavar="GENE|@FILE",
    callback=genes,
    help="Gene or pattern that must not be; repeatable.",
)
@option(
    "Genes",
    "--candidates",
    metavar="COLUMN|@FILE",
    callback=genes,
    help="Boolean column of var, or file, with the genes to choose from.",
)
@option(
    "Genes",
    "--preference",
    metavar="COLUMN",
    help="Column of var with weights: 1 is neutral, 1.25 a mild wish, 2 a strong one.",
)
@option("Genes", "--cost", metavar="COLUMN", help="Column of var with costs.")
@option("Genes", "--budget", metavar="X", type=float, help="What the panel may cost in all.")
@option(
    "Genes",
    "--mean-range",
    metavar="MIN MAX",
    type=float,
    nargs=2,
    help="Mean expression over the cells that express a gene; inf for no bound.",
)
@option(
    "Genes",
    "--fraction-range",
    metavar="MIN MAX",
    type=float,
    nargs=2,
    help="Share of cells that express a gene.",
)
@option(
    "Genes",
    "--max-crowding",
    metavar="X",
    type=float,
    help="Largest sum of mean expression in any cell type.",
)
@option(
    "Genes", "--crowding-key", metavar="COLUMN", help="Column of obs with the types for crowding."
)
@option(
    "Tasks",
    "--group-key",
    metavar="COLUMN",
    default="auto",
    help="Column of obs whose groups are held out in one more training; auto looks for donors, "
    "none leaves it out.",
    callback=group_key,
)
@option(
    "Training",
    "--robust",
    type=click.Choice(["thin"]),
    help="Train for cells that have fewer counts.",
)
@option(
    "Training",
    "--random-state",
    metavar="N",
    type=click.IntRange(min=0),
    default=0,
    help="Seed.",
)
@option(
    "Training",
    "--max-steps",
    metavar="N",
    type=click.IntRange(min=1),
    help="Minibatches to train for.",
)
@option(
    "Training", "--accelerator", metavar="NAME", default="auto", help="Where to train: cpu, gpu, …"
)
@option("Training", "--devices", metavar="N", default="auto", help="How many devices to train on.")
@key_added
@common("Directory")
@config
def select(
    input: Path, out: Path, overwrite: bool, quiet: bool, as_json: bool, **arguments: Any
) -> Report:
    """Select a panel of genes, and train its model.

    OUT gets panel.csv, selected.h5ad (INPUT with the results), the tables metrics.csv and
    path.csv (scores on held-out cells), plots as PNG, and the model for "yoto-sc predict".
    """
    check_new_directory(out, overwrite)
    return _select(read(input), out, quiet, arguments)


@_command(
    """  yoto-sc predict new.h5ad --model out/model -o labelled.h5ad
  yoto-sc predict new.h5ad --model out/model -o labels.csv"""
)
@input_
@option(
    "Prediction",
    "--model",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    required=True,
    help="Directory of a model, as select writes it.",
)
@option(
    "Prediction",
    "--n-genes",
    metavar="N",
    type=click.IntRange(min=1),
    help="Use this many best genes of the panel only.",
)
@option(
    "Prediction",
    "--missing",
    type=click.Choice(["error", "zero"]),
    default="error",
    metavar="error|zero",
    help="What to do about panel genes that INPUT lacks.",
)
@option(
    "Prediction",
    "--min-confidence",
    metavar="X",
    type=float,
    help="Cells with less confidence get no label.",
)
@option("Prediction", "--layer", metavar="LAYER", help="Layer with the expression, in place of X.")
@key_added
@common("h5ad or CSV file")
@config
def predict(
    input: Path,
    model: Path,
    out: Path,
    overwrite: bool,
    quiet: bool,
    as_json: bool,
    **arguments: Any,
) -> Report:
    """Label new cells from the panel's genes alone.

    OUT is INPUT with the predictions, or, as CSV, a row of predictions for each cell.
    """
    check_new_file(out, overwrite, [".h5ad", ".csv"])
    adata = read(input)

    from yoto_sc import tl
    from yoto_sc._keys import Keys
    from yoto_sc.model import YOTO

    trained = YOTO.load(model, accelerator="cpu")
    tl.predict(adata, trained, **arguments)
    names = Keys(arguments["key_added"])
    columns = [column for task in trained.tasks for column in task.columns(names)]
    with staged(out.parent) as directory:
        if out.suffix == ".csv":
            adata.obs[columns].to_csv(directory / out.name, index_label="cell")
        else:
            adata.write_h5ad(directory / out.name)
    return Report(
        f"{adata.n_obs} cells are labelled in {out}: {', '.join(columns)}.",
        {"n_cells": adata.n_obs, "columns": columns, "files": [str(out)]},
    )


@_command(
    """  yoto-sc evaluate ref.h5ad --genes panel.csv --categorical-key cell_type \\
      --split-key donor -o scores.csv"""
)
@input_
@option(
    "Genes",
    "--genes",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    required=True,
    help="File with a gene a line, or a panel.csv.",
)
@layer
@tasks
@repeated(
    "Scores",
    "--classifier",
    "classifiers",
    type=click.Choice(CLASSIFIERS),
    default=CLASSIFIERS,
    metavar="NAME",
    help="What is trained on the genes; repeatable.",
)
@option("Scores", "--n-splits", metavar="N", type=click.IntRange(min=2), default=5, help="Folds.")
@option("Scores", "--use-rep", metavar="NAME", help="Entry of obsm with the structure to keep.")
@option(
    "Scores", "--random-state", metavar="N", type=click.IntRange(min=0), default=0, help="Seed."
)
@common("CSV file")
@config
def evaluate(
    input: Path,
    genes: Path,
    out: Path,
    overwrite: bool,
    quiet: bool,
    as_json: bool,
    **arguments: Any,
) -> Report:
    """Score any list of genes on held-out cells.

    OUT is a table with a row for each fold and score. Genes that were selected on the cells of
    INPUT score too well: evaluate on others.
    """
    check_new_file(out, overwrite, [".csv"])
    listed = genes_in(genes)
    adata = read(input)

    from yoto_sc import tl

    scores = tl.evaluate(adata, listed, **arguments)
    with staged(out.parent) as directory:
        scores.to_csv(directory / out.name, index=False)
    by = ["task", "classifier", "metric"]
    means = scores.groupby(by, sort=False)["value"].mean().round(3).reset_index()
    return Report(
        f"Means over folds:\n{means.to_string(index=False)}\n\nWritten to {out}.",
        {
            "genes": listed,
            "scores": json.loads(scores.to_json(orient="records")),
            "files": [str(out)],
        },
    )


@_command("  yoto-sc demo -o demo/")
@common("Directory")
def demo(out: Path, overwrite: bool, quiet: bool, as_json: bool) -> Report:
    """Select 32 genes on 700 blood cells, in a minute.

    OUT gets what "yoto-sc select" writes.
    """
    check_new_directory(out, overwrite)
    from yoto_sc import datasets

    return _select(datasets.pbmc68k(), out, quiet, DEMO)


def _select(adata: AnnData, out: Path, quiet: bool, arguments: dict[str, Any]) -> Report:
    from yoto_sc import Panel, tl

    key = arguments.get("key_added", "yoto")
    with staged(out, RESULTS) as directory:
        tl.select(
            adata, **arguments, model_dir=directory / MODEL, progress_bar=_has_terminal(quiet)
        )
        write_results(adata, directory, key)
        files = [str(out / name) for name in RESULTS if (directory / name).exists()]
    panel, metrics = Panel.from_adata(adata, key), adata.uns[key]["metrics"]
    shown = metrics.dropna(axis="columns", how="all").round(3)
    return Report(
        f"{panel.n_genes} genes, most important first: {', '.join(panel.genes)}\n\n"
        f"Scores on held-out cells:\n{shown.to_string(index_names=False)}\n\nWritten to {out}.",
        {"genes": panel.genes, "metrics": _records(metrics), "files": files},
    )


def _has_terminal(quiet: bool) -> bool:
    """Whether somebody watches who wants a progress bar; a log gets lines instead."""
    return sys.stderr.isatty() and not quiet


def _records(table: pd.DataFrame) -> Any:
    return json.loads(table.to_json(orient="index"))  # turns missing values into null
