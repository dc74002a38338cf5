"""The command line: the verbs of `yoto_sc.tl`, from files to files.

The module itself imports nothing but click, so that help, completion and wrong arguments are
answered at once. An option's name is the argument's name in Python, and its value is passed on
as it is: a new argument of a verb needs one `_option` here.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import signal
import sys
import tempfile
import tomllib
import traceback
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from yoto_sc import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

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

MODEL = "model"
TABLES = ("metrics", "path")
PLOTS = ("selected_genes", "path", "training", "confusion", "dotplot")
RESULTS = (
    "panel.csv",
    "selected.h5ad",
    MODEL,
    *(f"{name}.csv" for name in TABLES),
    *(f"{name}.png" for name in PLOTS),
)
"""Everything that a selection may write to its directory."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    arguments
        Words after the name of the program; `None`: those of the process.

    Returns
    -------
    Exit code: 0, 2 for wrong usage or input, 130 after Ctrl-C. Errors that nobody foresaw are
    raised, and end the process with 1.
    """
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    as_json = "--json" in arguments  # must be known where the arguments cannot be read, too
    try:
        report = commands.main(arguments, prog_name="yoto-sc", standalone_mode=False)
    except click.exceptions.Abort:
        return _fail("Interrupted; nothing was written.", 130, as_json)
    except Exception as error:
        if not isinstance(error, click.ClickException) and not _is_a_check(error):
            if as_json:
                click.echo(json.dumps({"error": f"{type(error).__name__}: {error}"}))
            raise
        return _fail(_one_line(error), 2, as_json)
    if isinstance(report, Report):
        click.echo(json.dumps(report.data) if as_json else report.text)
    return 0


@dataclass(frozen=True)
class Report:
    """What a command has to say at its end, for people and for machines."""

    text: str
    data: dict[str, Any]


# --- errors ---


def _fail(message: str, code: int, as_json: bool) -> int:
    click.echo(f"yoto-sc: {message}", err=True)
    if as_json:
        click.echo(json.dumps({"error": message}))
    return code


def _is_a_check(error: Exception) -> bool:
    """Whether this package refused its input, rather than failed in the middle of its work."""
    frames = traceback.extract_tb(error.__traceback__)
    is_ours = Path(frames[-1].filename).is_relative_to(Path(__file__).parent)
    return is_ours and isinstance(error, KeyError | OSError | TypeError | ValueError)


def _one_line(error: Exception) -> str:
    if isinstance(error, click.ClickException):
        message = error.format_message()
    elif isinstance(error, KeyError):
        message = str(error.args[0])  # str() would add quotes
    else:
        message = str(error)
    return " ".join(message.split())


# --- what the commands share ---


class _Command(click.Command):
    """A command whose help has sections, and whose work leaves standard output alone."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, section by section."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None and not isinstance(parameter, click.Argument):
                sections.setdefault(getattr(parameter, "section", "Other"), []).append(record)
        width = max(len(option) for records in sections.values() for option, _ in records)
        for section, records in sections.items():
            with formatter.section(section):
                formatter.write_dl([(option.ljust(width), text) for option, text in records])

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; what libraries print goes where notes belong."""
        logger = logging.getLogger("yoto_sc")
        logger.handlers = [logging.StreamHandler()]
        logger.setLevel(logging.WARNING if ctx.params["quiet"] else logging.INFO)
        os.environ.setdefault("MPLBACKEND", "agg")  # pictures are written, never shown
        with contextlib.redirect_stdout(sys.stderr), _sigterm_cleans_up():
            return super().invoke(ctx)


class _Option(click.Option):
    """An option with its section in the help."""

    def __init__(self, *args: Any, section: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.section = section


def _option(section: str, *names: str, **attributes: Any) -> Callable[[Any], Any]:
    """Declare an option of a section of the help."""
    return click.option(*names, cls=_Option, section=section, **attributes)


def _repeated(section: str, *names: str, **attributes: Any) -> Callable[[Any], Any]:
    """Declare an option that may be given several times."""
    return _option(section, *names, multiple=True, **attributes)


def _read_config(ctx: click.Context, parameter: click.Parameter, path: Path | None) -> None:
    """Take what the file says as defaults, so that the command line goes first."""
    if path is None:
        return
    try:
        config = tomllib.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # no TOML, or no text
        raise click.BadParameter(f"{path} is no TOML file: {error}") from error
    known = {p.name: p for p in ctx.command.params if p.name not in (parameter.name, "as_json")}
    for name, value in config.items():
        if name not in known:
            close = get_close_matches(name, [str(n) for n in known], n=1)
            hint = f" Did you mean {close[0]!r}?" if close else f" Known are {sorted(known)}."
            raise click.BadParameter(f"{path} has the unknown name {name!r}.{hint}")
        several = known[name].multiple or known[name].nargs > 1
        if isinstance(value, dict) or (isinstance(value, list) and not several):
            raise click.BadParameter(f"{path} must give one value for {name!r}, not {value!r}.")
        # As text, values pass the same checks as those of the command line.
        values = value if isinstance(value, list) else [value]
        config[name] = [str(v) for v in values] if several else str(value)
    ctx.default_map = config


@contextlib.contextmanager
def _sigterm_cleans_up() -> Iterator[None]:
    """Leave by an exception when a cluster ends the job, so that half-written files go."""
    before = signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _together(*options: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Declare options that several commands share."""

    def declare(function: Any) -> Any:
        for option in reversed(options):
            function = option(function)
        return function

    return declare


def _common(written: str) -> Callable[[Any], Any]:
    """Declare the options that every command has; `written` says what `--out` is."""
    return _together(
        _option(
            "Output",
            "-o",
            "--out",
            type=click.Path(path_type=Path),
            required=True,
            help=f"{written} to write; it appears when all is done.",
        ),
        _option("Output", "--overwrite", is_flag=True, help="Replace an earlier result."),
        _option(
            "Output", "--json", "as_json", is_flag=True, help="Print one JSON object for machines."
        ),
        _option("Output", "-q", "--quiet", is_flag=True, help="Show no progress and no notes."),
    )


def _command(epilog: str) -> Callable[[Any], Any]:
    """Declare a command; `epilog` holds its examples."""
    return commands.command(cls=_Command, epilog=f"\b\nExamples:\n{epilog}")


_input = click.argument("input", type=click.Path(exists=True, path_type=Path))
_layer = _option(
    "Genes", "--layer", metavar="LAYER", help="Layer with the expression, in place of X."
)
_config = _option(
    "Other",
    "--config",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    is_eager=True,
    expose_value=False,
    callback=_read_config,
    help="TOML file with values for these options, under their names in Python, such as "
    "categorical_keys. The command line goes first.",
)
_tasks = _together(
    _repeated(
        "Tasks",
        "--categorical-key",
        "categorical_keys",
        metavar="COLUMN",
        help="Column of obs with classes; repeatable.",
    ),
    _repeated(
        "Tasks",
        "--continuous-key",
        "continuous_keys",
        metavar="COLUMN",
        help="Column of obs with numbers; repeatable.",
    ),
    _repeated(
        "Tasks",
        "--unlabeled",
        metavar="CATEGORY",
        help='Category that stands for "no label"; repeatable.',
    ),
    _option(
        "Tasks",
        "--split-key",
        metavar="COLUMN",
        help="Column of obs whose groups are held out whole.",
    ),
)


class _PanelSize(click.ParamType):
    """A number of genes, or ``auto``."""

    name = "n|auto"

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        """Return the number, or the word."""
        if value == "auto" or isinstance(value, int):
            return value
        if not value.isdecimal() or int(value) < 1:
            self.fail(f"{value!r} is neither a whole number above 0 nor 'auto'.", param, ctx)
        return int(value)


def _genes(ctx: click.Context, parameter: click.Parameter, value: Any) -> Any:
    """Put the genes of a file in the place of its name."""
    if value is None or isinstance(value, str):
        return _genes_in(Path(value[1:])) if value and value[0] == "@" else value
    return [gene for v in value for gene in (_genes_in(Path(v[1:])) if v[:1] == "@" else [v])]


def _genes_in(path: Path) -> list[str]:
    from yoto_sc import Panel

    try:
        return Panel.from_csv(path).genes
    except (KeyError, OSError, ValueError) as error:
        raise click.BadParameter(f"{path} is no list of genes: {_one_line(error)}") from error


def _read(path: Path) -> AnnData:
    import anndata

    try:
        return anndata.read_zarr(path) if path.is_dir() else anndata.read_h5ad(path)
    except Exception as error:  # whatever a reader stumbles on, the file is the cause
        raise click.BadParameter(
            f"{path} cannot be read as h5ad or zarr: {_one_line(error)}", param_hint="'INPUT'"
        ) from error


def _check_new_directory(out: Path, overwrite: bool) -> None:
    if out.exists() and not out.is_dir():
        raise click.BadParameter(f"{out} is a file. Name a directory.", param_hint="'--out'")
    if out.is_dir() and any(out.iterdir()):
        if not overwrite:
            raise click.BadParameter(
                f"{out} is not empty. Name a new directory, or add --overwrite.",
                param_hint="'--out'",
            )
        if (out / MODEL).exists() and not (out / MODEL / "model.json").is_file():
            raise click.BadParameter(
                f"{out / MODEL} is no earlier result, and is not replaced. Name another "
                "directory.",
                param_hint="'--out'",
            )
    _check_writable(out)


def _check_new_file(out: Path, overwrite: bool, suffixes: Sequence[str]) -> None:
    if out.suffix not in suffixes:
        raise click.BadParameter(
            f"{out} must end in {' or '.join(suffixes)}.", param_hint="'--out'"
        )
    if out.is_dir() or (out.exists() and not overwrite):
        raise click.BadParameter(
            f"{out} exists. Name a new file, or add --overwrite.", param_hint="'--out'"
        )
    _check_writable(out)


def _check_writable(out: Path) -> None:
    parent = _existing(out if out.is_dir() else out.absolute().parent)
    if not parent.is_dir() or not os.access(parent, os.W_OK):
        raise click.BadParameter(
            f"{out} cannot be made: {parent} cannot be written to.", param_hint="'--out'"
        )


def _existing(directory: Path) -> Path:
    """Return the directory, or the closest one above that exists."""
    directory = directory.absolute()
    return next(path for path in (directory, *directory.parents) if path.exists())


@contextlib.contextmanager
def _staged(directory: Path, replaces: Iterable[str] = ()) -> Iterator[Path]:
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


def _has_terminal(quiet: bool) -> bool:
    """Whether somebody watches who wants a progress bar; a log gets lines instead."""
    return sys.stderr.isatty() and not quiet


def _records(table: pd.DataFrame) -> Any:
    return json.loads(table.to_json(orient="index"))  # turns missing values into null


# --- the commands ---


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
@_input
@_option(
    "Tasks", "--n-genes", type=_PanelSize(), required=True, help="Size of the panel, or auto."
)
@_tasks
@_layer
@_repeated(
    "Genes",
    "--include",
    metavar="GENE|@FILE",
    callback=_genes,
    help="Gene that must be in the panel; a file holds one a line; repeatable.",
)
@_repeated(
    "Genes",
    "--exclude",
    metavar="GENE|@FILE",
    callback=_genes,
    help="Gene or pattern that must not be; repeatable.",
)
@_option(
    "Genes",
    "--candidates",
    metavar="COLUMN|@FILE",
    callback=_genes,
    help="Boolean column of var, or file, with the genes to choose from.",
)
@_option(
    "Training",
    "--random-state",
    metavar="N",
    type=click.IntRange(min=0),
    default=0,
    help="Seed.",
)
@_option(
    "Training",
    "--max-steps",
    metavar="N",
    type=click.IntRange(min=1),
    help="Minibatches to train for.",
)
@_option(
    "Training", "--accelerator", metavar="NAME", default="auto", help="Where to train: cpu, gpu, …"
)
@_option(
    "Training", "--devices", metavar="N", default="auto", help="How many devices to train on."
)
@_option(
    "Output", "--key-added", metavar="KEY", default="yoto", help="Prefix of all columns written."
)
@_common("Directory")
@_config
def select(
    input: Path, out: Path, overwrite: bool, quiet: bool, as_json: bool, **arguments: Any
) -> Report:
    """Select a panel of genes, and train its model.

    OUT gets panel.csv, selected.h5ad (INPUT with the results), the tables metrics.csv and
    path.csv (scores on held-out cells), plots as PNG, and the model for "yoto-sc predict".
    """
    _check_new_directory(out, overwrite)
    return _select(_read(input), out, quiet, arguments)


@_command(
    """  yoto-sc predict new.h5ad --model out/model -o labelled.h5ad
  yoto-sc predict new.h5ad --model out/model -o labels.csv"""
)
@_input
@_option(
    "Prediction",
    "--model",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    required=True,
    help="Directory of a model, as select writes it.",
)
@_option(
    "Prediction",
    "--n-genes",
    metavar="N",
    type=click.IntRange(min=1),
    help="Use this many best genes of the panel only.",
)
@_option(
    "Prediction", "--layer", metavar="LAYER", help="Layer with the expression, in place of X."
)
@_option(
    "Output", "--key-added", metavar="KEY", default="yoto", help="Prefix of all columns written."
)
@_common("h5ad or CSV file")
@_config
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
    _check_new_file(out, overwrite, [".h5ad", ".csv"])
    adata = _read(input)

    from yoto_sc import tl
    from yoto_sc._keys import Keys
    from yoto_sc.model import YOTO

    trained = YOTO.load(model, accelerator="cpu")
    tl.predict(adata, trained, **arguments)
    kinds = {task.name: task.kind for task in trained.tasks}
    columns = Keys(arguments["key_added"]).obs(
        [name for name, kind in kinds.items() if kind == "categorical"],
        [name for name, kind in kinds.items() if kind == "continuous"],
    )
    with _staged(out.parent) as directory:
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
@_input
@_option(
    "Genes",
    "--genes",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    required=True,
    help="File with a gene a line, or a panel.csv.",
)
@_layer
@_tasks
@_repeated(
    "Scores",
    "--classifier",
    "classifiers",
    type=click.Choice(CLASSIFIERS),
    default=CLASSIFIERS,
    metavar="NAME",
    help="What is trained on the genes; repeatable.",
)
@_option("Scores", "--n-splits", metavar="N", type=click.IntRange(min=2), default=5, help="Folds.")
@_option("Scores", "--use-rep", metavar="NAME", help="Entry of obsm with the structure to keep.")
@_option(
    "Scores", "--random-state", metavar="N", type=click.IntRange(min=0), default=0, help="Seed."
)
@_common("CSV file")
@_config
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
    _check_new_file(out, overwrite, [".csv"])
    listed = _genes_in(genes)
    adata = _read(input)

    from yoto_sc import tl

    scores = tl.evaluate(adata, listed, **arguments)
    with _staged(out.parent) as directory:
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
@_common("Directory")
def demo(out: Path, overwrite: bool, quiet: bool, as_json: bool) -> Report:
    """Select 32 genes on 700 blood cells, in a minute.

    OUT gets what "yoto-sc select" writes.
    """
    _check_new_directory(out, overwrite)
    from yoto_sc import datasets

    return _select(datasets.pbmc68k(), out, quiet, DEMO)


def _select(adata: AnnData, out: Path, quiet: bool, arguments: dict[str, Any]) -> Report:
    from yoto_sc import Panel, tl

    key = arguments.get("key_added", "yoto")
    with _staged(out, RESULTS) as directory:
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


def write_results(adata: AnnData, directory: Path, key: str = "yoto") -> None:
    """Write what a selection found: panel, tables, plots and the annotated data.

    Parameters
    ----------
    adata
        Annotated data with the results of :func:`yoto_sc.tl.select`.
    directory
        Existing directory to write to.
    key
        The selection's ``key_added``.
    """
    from yoto_sc import Panel, pl

    Panel.from_adata(adata, key).to_csv(directory / "panel.csv")
    for name in TABLES:
        adata.uns[key][name].to_csv(directory / f"{name}.csv")
    axes = {
        name: getattr(pl, name)(adata, key=key, show=False)
        for name in ("selected_genes", "path", "training")
    }
    categorical = adata.uns[key]["params"].get("categorical_keys", [])
    if len(categorical):
        axes["confusion"] = pl.confusion(adata, categorical[0], key=key, show=False)
        dotplot = pl.selected_genes_dotplot(adata, categorical[0], key=key, return_fig=True)
        dotplot.savefig(directory / "dotplot.png", dpi=150, bbox_inches="tight")
    for name, ax in axes.items():
        ax.figure.savefig(directory / f"{name}.png", dpi=150, bbox_inches="tight")
    adata.write_h5ad(directory / "selected.h5ad")
