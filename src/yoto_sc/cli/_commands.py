"""The commands: the verbs of `yoto_sc.tl`, from files to files."""

from __future__ import annotations

import json
import logging
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import click

from yoto_sc._version import __version__
from yoto_sc.cli._files import (
    MODEL,
    RESULTS,
    check_new_directory,
    check_new_file,
    predictions_in,
    read,
    read_table,
    save,
    staged,
    stays_in_its_file,
    without_expression,
    write_results,
)
from yoto_sc.cli._options import (
    Command,
    accelerator,
    chosen_genes,
    class_weights,
    config,
    embedding,
    genes,
    input_,
    key_added,
    layer,
    lists,
    max_steps,
    none_for_nothing,
    option,
    options,
    output,
    repeated,
    results_only,
    scored,
    seed,
    tasks,
    unknown_genes,
    weights,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pandas as pd
    from anndata import AnnData

DEMO: dict[str, Any] = {
    "n_genes": 32,
    "categorical_keys": ["bulk_labels", "phase"],
    "continuous_keys": ["S_score"],
}
"""Arguments of `yoto_sc.tl.select` in the demo."""


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

    INPUT is an h5ad file or a zarr directory; a modality of an h5mu file, a table of a SpatialData
    store and a 10x h5 file are read as well. "yoto-sc COMMAND --help" tells more about a command.
    """


@_command(
    """  yoto-sc select pbmc.h5ad --categorical-key bulk_labels --n-genes 32 -o out/
  yoto-sc select ref.zarr --categorical-key cell_type --continuous-key age \\
      --split-key donor --exclude 'MT-*' --n-genes auto -o out/
  yoto-sc select ref.h5ad --config select.toml -o out/"""
)
@input_
@options(
    "Tasks",
    option("--n-genes N|AUTO", "Size of the panel, or auto.", required=True),
    *tasks,
    option(
        "--batch-key COLUMN",
        "Column of obs, differences between whose groups count for nothing.",
    ),
    option(
        "--group-key COLUMN",
        "Column of obs whose groups are held out in one more training; auto looks for donors, "
        "none leaves it out.",
        default="auto",
        callback=none_for_nothing,
    ),
    option(
        "--unlabeled-cells HOW",
        "What cells without a label learn: use takes what a teacher that reads all genes tells "
        "them, ignore nothing; auto tries it on labelled cells.",
        type=click.Choice(["auto", "use", "ignore"]),
        default="auto",
    ),
    repeated(
        "--task-weight KEY=X",
        "What a task counts for beside others",
        name="task_weights",
        callback=weights,
    ),
    repeated(
        "--class-weight KEY:CLASS=X",
        "What a class counts for beside its task's others",
        name="class_weights",
        callback=class_weights,
    ),
)
@options(
    "Genes",
    layer,
    *chosen_genes,
    unknown_genes,
    option(
        "--preference COLUMN",
        "Column of var with weights: 1 is neutral, 1.25 a mild wish, 2 a strong one.",
    ),
    option("--cost COLUMN", "Column of var with costs."),
    option("--budget X", "What the panel may cost in all."),
    option(
        "--mean-range MIN MAX",
        "Mean expression over the cells that express a gene; inf for no bound.",
    ),
    option("--fraction-range MIN MAX", "Share of cells that express a gene."),
    option("--max-crowding X", "Largest sum of mean expression in any cell type."),
    option("--crowding-key COLUMN", "Column of obs with the types for crowding."),
    option("--redundancy N", "Genes, at least, that mark each class."),
    option(
        "--platform NAME|FILE",
        "Rules of xenium, merscope, cosmx or qpcr, or of a TOML file, where none are given.",
    ),
    option(
        "--min-detection X|AUTO|NONE",
        "Share of cells that express a gene, in the class where it is seen most.",
        default="auto",
        callback=none_for_nothing,
    ),
)
@options(
    "Training",
    option(
        "--robust auto|technology|thin|none",
        "Assays that cells to come may be of: another technology, or fewer counts.",
        type=click.Choice(["auto", "technology", "thin", "none"]),
        default="auto",
        callback=none_for_nothing,
    ),
    seed,
    max_steps,
    option("--max-cells N", "Cells to learn from, at most.", default=100_000),
    accelerator,
    option("--devices N", "How many devices to train on.", type=str, default="auto"),
)
@output("Directory", embedding, results_only, key_added)
@config
def select(
    input: Path,
    table: str | None,
    out: Path,
    overwrite: bool,
    results_only: bool,
    **arguments: Any,
) -> Report:
    """Select a panel of genes, and train its model.

    OUT gets panel.csv, selected.h5ad (INPUT with the results), the tables metrics.csv, path.csv
    (scores on held-out cells), assay.csv (what
    an assay will meet), columns.csv (those of each column of vectors), base.csv (those of
    the genes to include alone) and teacher.csv (on cells without a label), plots as PNG,
    report.html, a page that says it all, and the model for "yoto-sc predict".

    If the expression in INPUT takes more than 1 GiB, it is read from the file in pieces, and
    only results are written.
    """
    check_new_directory(out, overwrite)
    adata = read(input, table)
    return _select(adata, out, arguments, results_only=results_only or stays_in_its_file(adata))


@_command(
    """  yoto-sc predict new.h5ad --model out/model -o labelled.h5ad
  yoto-sc predict new.h5ad --model out/model -o labels.csv"""
)
@input_
@options(
    "Prediction",
    option("--model DIRECTORY", "Directory of a model, as select writes it.", required=True),
    option("--n-genes N", "Use this many best genes of the panel only."),
    option(
        "--missing error|zero",
        "What to do about panel genes that INPUT lacks.",
        type=click.Choice(["error", "zero"]),
        default="error",
    ),
    option(
        "--adapt auto|none|genes",
        "What to do about another assay: align genes where it is safe, never, or always.",
        type=click.Choice(["auto", "none", "genes"]),
        default="auto",
    ),
    option("--min-confidence X", "Cells with less confidence get no label."),
    option(
        "--unknown X",
        "Refuse cells that are more unlike all classes than all but this share of the reference.",
    ),
    layer,
)
@output("h5ad or CSV file", embedding, results_only, key_added)
@config
def predict(
    input: Path,
    table: str | None,
    model: Path,
    out: Path,
    overwrite: bool,
    results_only: bool,
    **arguments: Any,
) -> Report:
    """Label new cells from the panel's genes alone.

    OUT is INPUT with the predictions, or, as CSV, a row of predictions for each cell, where
    vectors have a column for each of theirs.
    """
    check_new_file(out, overwrite, [".h5ad", ".csv"])
    adata = read(input, table)

    from yoto_sc import tl
    from yoto_sc._keys import Keys
    from yoto_sc.model import YOTO

    trained = YOTO.load(model, accelerator="cpu")
    tl.predict(adata, trained, **arguments)
    names = Keys(key := arguments["key_added"])
    columns = [column for task in trained.tasks for column in task.columns(names)]
    with staged(out.parent) as directory:
        if out.suffix == ".csv":
            labels = predictions_in(adata, trained.tasks, names)
            labels.to_csv(directory / out.name, index_label="cell")
            columns = list(labels.columns)
        else:
            results_only = results_only or stays_in_its_file(adata)
            written = without_expression(adata, key) if results_only else adata
            written.write_h5ad(directory / out.name)
    return Report(
        f"{adata.n_obs} cells are labelled in {out}: {', '.join(columns)}.",
        {"n_cells": adata.n_obs, "columns": columns, "files": [str(out)]},
    )


@_command(
    """  yoto-sc evaluate ref.h5ad --genes panel.csv --categorical-key cell_type \\
      --split-key donor -o scores.csv"""
)
@input_
@options(
    "Genes",
    repeated(
        "--genes GENE|@FILE",
        "Gene; a file is a list or table of them, or a panel.csv",
        required=True,
        callback=genes,
    ),
    unknown_genes,
    layer,
)
@options("Tasks", *tasks)
@options("Scores", *scored)
@output("CSV file")
@config
def evaluate(
    input: Path,
    table: str | None,
    genes: list[str],
    out: Path,
    overwrite: bool,
    **arguments: Any,
) -> Report:
    """Score any list of genes on held-out cells.

    OUT is a table with a row for each fold and score. Genes that were selected on the cells of
    INPUT score too well: evaluate on others.
    """
    check_new_file(out, overwrite, [".csv"])
    adata = read(input, table)

    from yoto_sc import tl

    scores = tl.evaluate(adata, genes, progress_bar=_has_bar(), **arguments)
    with staged(out.parent) as directory:
        scores.to_csv(directory / out.name, index=False)
    return Report(
        f"Means over folds:\n{_means(scores)}\n\nWritten to {out}.",
        {"genes": genes, "scores": _records(scores, "records"), "files": [str(out)]},
    )


@_command(
    """  yoto-sc compare ref.h5ad --genes ours=out/panel.csv --genes vendor.xlsx \\
      --categorical-key cell_type --split-key donor -o scores.csv"""
)
@input_
@options(
    "Genes",
    repeated(
        "--genes [NAME=]FILE",
        "List or table of genes, or a panel.csv, and how to call it",
        name="panels",
        required=True,
        callback=lists,
    ),
    unknown_genes,
    layer,
)
@options("Tasks", *tasks)
@options("Scores", *scored)
@output("CSV file")
@config
def compare(
    input: Path,
    table: str | None,
    panels: dict[str, list[str]],
    out: Path,
    overwrite: bool,
    **arguments: Any,
) -> Report:
    """Score several lists of genes side by side.

    All are judged on the same held-out cells. OUT is a table with a row for each list, fold and
    score; a PNG of the same name shows it. Lists that were selected on the cells of INPUT score
    too well: compare on others.
    """
    picture = out.with_suffix(".png")
    check_new_file(out, overwrite, [".csv"])
    check_new_file(picture, overwrite, [".png"])
    adata = read(input, table)

    from yoto_sc import pl, tl

    scores = tl.compare(adata, panels, progress_bar=_has_bar(), **arguments)
    with staged(out.parent) as directory:
        scores.to_csv(directory / out.name, index=False)
        save(pl.compare(scores, show=False), directory / picture.name)
    files = [str(out), str(picture)]
    return Report(
        f"Means over folds:\n{_means(scores, 'panel')}\n\nWritten to {' and '.join(files)}.",
        {"panels": panels, "scores": _records(scores, "records"), "files": files},
    )


@_command(
    """  yoto-sc stability ref.h5ad --categorical-key type --n-genes 32 -o stable/
  yoto-sc stability ref.h5ad --categorical-key type --n-genes 32 \\
      --split-key donor --n-runs 20 -o stable/"""
)
@input_
@options(
    "Runs",
    option("--n-genes N", "Size of the panels, and of their consensus.", required=True),
    option("--n-runs N", "Number of selections.", type=click.IntRange(min=2), default=10),
    option("--subsample X", "Share of the cells that a run sees.", default=0.8),
    seed,
)
@options("Tasks", *tasks)
@options("Genes", layer, *chosen_genes)
@options("Training", max_steps, accelerator)
@output("Directory", key_added)
@config
def stability(
    input: Path,
    table: str | None,
    max_steps: int | None,
    accelerator: str,
    out: Path,
    overwrite: bool,
    **arguments: Any,
) -> Report:
    """Repeat a selection, and tell which genes come back.

    OUT gets genes.csv (how often each gene was selected, and whether it is in the consensus),
    panels.csv (which run selected which gene), runs.csv, and stability.png.
    """
    check_new_directory(out, overwrite)
    adata = read(input, table)

    from yoto_sc import pl, tl
    from yoto_sc._keys import Keys

    how = {"max_steps": max_steps, "accelerator": accelerator}
    tl.stability(adata, **arguments, select_kwargs=how, progress_bar=_has_bar())
    names = Keys(key := arguments["key_added"])
    found = adata.uns[names.stability]
    genes = adata.var[[names.frequency, names.consensus]].rename_axis("gene")
    genes.columns = ["frequency", "consensus"]
    genes = genes.sort_values(["consensus", "frequency"], ascending=False, kind="stable")
    tables = {"genes": genes, "panels": found["panels"], "runs": found["runs"]}
    with staged(out, [f"{name}.csv" for name in tables] + ["stability.png"]) as directory:
        for name, written in tables.items():
            written.to_csv(directory / f"{name}.csv")
        save(pl.stability(adata, key=key, show=False), directory / "stability.png")
        files = [str(out / path.name) for path in sorted(directory.iterdir())]
    consensus = list(genes.index[genes["consensus"]])
    agreement = {name: float(found[name]) for name in ("mean_jaccard", "mean_kuncheva")}
    return Report(
        f"{len(consensus)} genes of the consensus, most frequent first: {', '.join(consensus)}\n\n"
        f"Agreement of two runs: Jaccard {agreement['mean_jaccard']:.2f}, "
        f"Kuncheva {agreement['mean_kuncheva']:.2f}\n\nWritten to {out}.",
        {"genes": consensus, **agreement, "files": files},
    )


@_command(
    """  yoto-sc substitutes out/selected.h5ad -o swaps.csv
  yoto-sc substitutes ref.h5ad --model out/model --genes CD3D -o swaps.csv"""
)
@input_
@options(
    "Panel",
    option("--key KEY", "Prefix of the selection in INPUT, its --key-added.", default="yoto"),
    option("--model DIRECTORY", "Directory of a model, as select writes it, in place of KEY."),
)
@options(
    "Substitutes",
    repeated("--genes GENE|@FILE", "Gene of the panel to replace; all, if none", callback=genes),
    option("-n, --n N", "Substitutes of each gene.", default=5),
    layer,
    seed,
)
@output("CSV file")
@config
def substitutes(
    input: Path,
    table: str | None,
    key: str,
    model: Path | None,
    out: Path,
    overwrite: bool,
    **arguments: Any,
) -> Report:
    """Find genes that can take the place of others, like for like.

    INPUT is what "yoto-sc select" writes, selected.h5ad, or labelled cells and a model. OUT is a
    table with a row for each gene and substitute, best first; give it to "yoto-sc report".
    """
    check_new_file(out, overwrite, [".csv"])
    adata = read(input, table)

    from yoto_sc import tl

    arguments["genes"] = arguments["genes"] or None
    found = tl.substitutes(adata, model or key, progress_bar=_has_bar(), **arguments)
    with staged(out.parent) as directory:
        found.to_csv(directory / out.name, index=False)
    shown = found[found["rank"].isna() | (found["rank"] == 1)]
    shown = shown[["gene", "verdict", "role_task", "role_classes", "substitute"]].fillna("")
    return Report(
        f"Best substitutes:\n{shown.to_string(index=False)}\n\nWritten to {out}.",
        {"substitutes": _records(found, "records"), "files": [str(out)]},
    )


@_command(
    """  yoto-sc report out/selected.h5ad -o panel.html
  yoto-sc report out/selected.h5ad --compared scores.csv -o panel.html"""
)
@input_
@options(
    "Contents",
    option("--key KEY", "Prefix of the selection, its --key-added.", default="yoto"),
    option("--substitutes FILE", "CSV of tl.substitutes: genes that may be swapped."),
    option("--compared FILE", "CSV of tl.compare: the panel beside other lists."),
    option("--transferred FILE", "CSV of tl.transfer: scores in another assay."),
    option("--title TEXT", "Heading of the page."),
)
@output("HTML file")
@config
def report(
    input: Path,
    table: str | None,
    out: Path,
    overwrite: bool,
    substitutes: Path | None,
    compared: Path | None,
    transferred: Path | None,
    **arguments: Any,
) -> Report:
    """Write one page about a panel, for those who order it.

    INPUT is what "yoto-sc select" writes, selected.h5ad. OUT is a single HTML file that needs
    nothing else.
    """
    check_new_file(out, overwrite, [".html"])
    swaps, lists, assays = map(read_table, (substitutes, compared, transferred))
    adata = read(input, table)

    from yoto_sc._report import report as write

    with staged(out.parent) as directory:
        write(
            adata,
            directory / out.name,
            substitutes=swaps,
            compared=lists,
            transferred=assays,
            **arguments,
        )
    return Report(f"Written to {out}.", {"files": [str(out)]})


@_command("  yoto-sc demo -o demo/")
@output("Directory")
def demo(out: Path, overwrite: bool) -> Report:
    """Select 32 genes on 700 blood cells, in a minute.

    OUT gets what "yoto-sc select" writes.
    """
    check_new_directory(out, overwrite)
    from yoto_sc import datasets

    return _select(datasets.pbmc68k(), out, DEMO)


def _has_bar() -> bool:
    """Whether somebody watches; a log gets lines in place of a bar."""
    return sys.stderr.isatty() and logging.getLogger("yoto_sc").isEnabledFor(logging.INFO)


def _means(scores: pd.DataFrame, *first: str) -> str:
    """Return the means of scores over folds, as text."""
    by = [*first, "task", "classifier", "metric"]
    means = scores.groupby(by, sort=False)["value"].mean().round(3).reset_index()
    return means.to_string(index=False)


def _select(
    adata: AnnData, out: Path, arguments: dict[str, Any], *, results_only: bool = False
) -> Report:
    from yoto_sc import Panel, tl

    key = arguments.get("key_added", "yoto")
    with staged(out, RESULTS) as directory:
        tl.select(adata, **arguments, model_dir=directory / MODEL, progress_bar=_has_bar())
        write_results(adata, directory, key, results_only=results_only)
        files = [str(out / name) for name in RESULTS if (directory / name).exists()]
    panel, metrics = Panel.from_adata(adata, key), adata.uns[key]["metrics"]
    shown = metrics.dropna(axis="columns", how="all").round(3)
    return Report(
        f"{panel.n_genes} genes, most important first: {', '.join(panel.genes)}\n\n"
        f"Scores on held-out cells:\n{shown.to_string(index_names=False)}\n\n"
        f"{_assay_lines(adata.uns[key])}\n\nWritten to {out}.",
        {
            "genes": panel.genes,
            "metrics": _records(metrics, "index"),
            "assay": dict(panel.assay_summary or {}),
            "files": files,
        },
    )


def _assay_lines(stored: dict[str, Any]) -> str:
    """Say in two lines what an assay of the panel will meet."""
    summary, genes = stored["assay_summary"], stored["assay"]
    where = summary["crowded_class"]
    where = f"{where} of {summary['crowded_task']}" if summary["crowded_task"] else where
    cap = f" (at most {summary['max_crowding']:.4g})" if "max_crowding" in summary else ""
    least = summary["least_detected"]
    return (
        f"Counts: {len(summary['heaviest'])} genes hold {summary['share_of_heaviest']:.0%} of the "
        f"panel's; most in {where}, {summary['crowding']:.4g} a cell{cap}.\n"
        f"Detection: least of {least}, in {genes.loc[least, 'peak_detection']:.1%} of the cells "
        f"where it is seen most; {len(summary.get('below_floor', []))} genes below "
        f"{summary['detection_floor']:.1%}; {len(stored.get('assay_copies', []))} pairs of copies."
    )


def _records(table: pd.DataFrame, orient: Literal["index", "records"]) -> Any:
    return json.loads(table.to_json(orient=orient))  # turns missing values into null
