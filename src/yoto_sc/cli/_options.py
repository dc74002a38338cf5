"""How options are declared, and those that commands share."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import tomllib
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from yoto_sc.cli._errors import in_options, is_a_check, one_line
from yoto_sc.cli._files import genes_in, is_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Command(click.Command):
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
        logger.setLevel(logging.WARNING if ctx.params.pop("quiet") else logging.INFO)
        os.environ.setdefault("MPLBACKEND", "agg")  # pictures are written, never shown
        with contextlib.redirect_stdout(sys.stderr), _sigterm_cleans_up():
            try:
                return super().invoke(ctx)
            except Exception as error:
                if not is_a_check(error):
                    raise
                message = in_options(one_line(error), self.params)
                raise click.ClickException(message) from error


class _Option(click.Option):
    """An option with its section in the help."""

    def __init__(self, *args: Any, section: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.section = section


class PanelSize(click.ParamType):
    """A number of genes, or ``auto``."""

    name = "n|auto"

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        """Return the number, or the word."""
        if value == "auto" or isinstance(value, int):
            return value
        if not value.isdecimal() or int(value) < 1:
            self.fail(f"{value!r} is neither a whole number above 0 nor 'auto'.", param, ctx)
        return int(value)


class Components(click.ParamType):
    """A number of components; or whether to have as many as usual."""

    name = "n"

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        """Return the number, or the truth value; a file's is text."""
        if isinstance(value, bool | int):
            return value
        if value in ("True", "False"):
            return value == "True"
        if not value.isdecimal():
            self.fail(
                f"{value!r} is no number of components. Where that is left out, another option "
                "must follow, or nothing.",
                param,
                ctx,
            )
        return int(value)


class Weight(click.ParamType):
    """A name and a number, with a sign of equality between them."""

    name = "key=x"

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        """Return the pair."""
        if isinstance(value, tuple):
            return value
        name, _, number = value.rpartition("=")
        try:
            weight = float(number)
        except ValueError:
            name = ""
        if not name:
            self.fail(f"{value!r} is not a name, '=' and a number.", param, ctx)
        return name, weight


class Share(click.ParamType):
    """A number, or the words ``auto`` and ``none``."""

    name = "x|auto|none"

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        """Return the number, or the word."""
        if value in ("auto", "none"):
            return value
        try:
            return float(value)
        except ValueError:
            self.fail(f"{value!r} is no number, nor 'auto' or 'none'.", param, ctx)


KINDS: dict[str, dict[str, Any]] = {
    "X": {"type": float},
    "[N]": {"type": Components(), "is_flag": False, "flag_value": True, "default": False},
    "KEY=X": {"type": Weight()},
    "KEY:CLASS=X": {"type": Weight()},
    "MIN MAX": {"type": float, "nargs": 2},
    "N": {"type": click.IntRange(min=1)},
    "N|AUTO": {"type": PanelSize()},
    "X|AUTO|NONE": {"type": Share()},
    "PATH": {"type": click.Path(path_type=Path)},
    "FILE": {"type": click.Path(exists=True, dir_okay=False, path_type=Path)},
    "DIRECTORY": {"type": click.Path(exists=True, file_okay=False, path_type=Path)},
    "": {"is_flag": True},
}
"""What a value is, by the word that stands for it in the help; text unless it is listed."""

Declared = tuple[str, str, dict[str, Any]]


def option(names: str, help: str, **attributes: Any) -> Declared:
    """Declare an option as the help shows it: ``"-o, --out PATH"``, and what it is for."""
    return names, help, attributes


def repeated(names: str, help: str, **attributes: Any) -> Declared:
    """Declare an option that may be given several times."""
    return option(names, f"{help}; repeatable.", multiple=True, **attributes)


def none_for_nothing(ctx: click.Context, parameter: click.Parameter, value: str) -> str | None:
    """Read the word ``none`` as `None`."""
    return None if value == "none" else value


def yes_or_no(ctx: click.Context, parameter: click.Parameter, value: str) -> bool | str:
    """Read the words ``yes`` and ``no`` as `True` and `False`."""
    return {"yes": True, "no": False}.get(value, value)


embedding = option(
    "--embedding auto|yes|no",
    "Whether to write the representation, 1 KB for each cell; auto: where INPUT is in memory.",
    type=click.Choice(["auto", "yes", "no"]),
    default="auto",
    callback=yes_or_no,
)


results_only = option(
    "--results-only",
    "Write no expression: only results, and their tables as CSV. So is done where INPUT is large.",
)


def options(section: str, *declared: Declared) -> Callable[[Any], Any]:
    """Give a command the options of a section of the help."""

    def declare(function: Any) -> Any:
        for names, text, given in reversed(declared):
            flags, _, metavar = names.replace(", ", ",").partition(" ")
            attributes = {"metavar": metavar or None, **KINDS.get(metavar, {}), **given}
            name = [attributes.pop("name")] if "name" in attributes else []
            function = click.option(
                *flags.split(","), *name, cls=_Option, section=section, help=text, **attributes
            )(function)
        return function

    return declare


def _read_config(ctx: click.Context, parameter: click.Parameter, path: Path | None) -> None:
    """Take what the file says as defaults, so that the command line goes first."""
    if path is None:
        return
    try:
        config = tomllib.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # no TOML, or no text
        raise click.BadParameter(f"{path} is no TOML file: {error}") from error
    known = {p.name: p for p in ctx.command.params if p.name not in (parameter.name, "json")}
    for name, value in config.items():
        if name not in known:
            close = get_close_matches(name, [str(n) for n in known], n=1)
            hint = f" Did you mean {close[0]!r}?" if close else f" Known are {sorted(known)}."
            raise click.BadParameter(f"{path} has the unknown name {name!r}.{hint}")
        several = known[name].multiple or known[name].nargs > 1
        if isinstance(value, dict) and isinstance(known[name].type, Weight):
            value = list(_weights(value))
        if isinstance(value, dict) or (isinstance(value, list) and not several):
            raise click.BadParameter(f"{path} must give one value for {name!r}, not {value!r}.")
        # As text, values pass the same checks as those of the command line.
        values = value if isinstance(value, list) else [value]
        config[name] = [str(v) for v in values] if several else str(value)
    ctx.default_map = config


def _weights(table: dict[str, Any], before: str = "") -> Iterator[str]:
    """Write a table of weights as the command line has them."""
    for name, value in table.items():
        if isinstance(value, dict):
            yield from _weights(value, f"{before}{name}:")
        else:
            yield f"{before}{name}={value}"


@contextlib.contextmanager
def _sigterm_cleans_up() -> Iterator[None]:
    """Leave by an exception when a cluster ends the job, so that half-written files go."""
    before = signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def genes(ctx: click.Context, parameter: click.Parameter, value: Any) -> Any:
    """Put the genes of a file in the place of its name."""
    if value is None or isinstance(value, str):
        return genes_in(value) if value is not None and is_file(value) else value
    found: list[str] = []
    for gene in value:
        if is_file(gene):
            found += genes_in(gene)
        elif "," in gene:
            each = " ".join(f"{parameter.opts[-1]} {name.strip()}" for name in gene.split(","))
            raise click.BadParameter(
                f"{gene!r} is one name with a comma in it. For several genes: {each}; or the name "
                "of a file.",
                ctx,
                parameter,
            )
        else:
            found.append(gene)
    return found


def lists(ctx: click.Context, parameter: click.Parameter, value: Any) -> dict[str, list[str]]:
    """Return the genes of each file, by the list's name: the given one, or the file's."""
    found: dict[str, list[str]] = {}
    for given in value:
        name, _, path = given.rpartition("=")
        name = name or Path(path.removeprefix("@")).stem
        if name in found:
            raise click.BadParameter(
                f"Two lists are called {name!r}. Name them, as in {parameter.opts[-1]} "
                f"other={path}.",
                ctx,
                parameter,
            )
        found[name] = genes_in(path)
    return found


def weights(ctx: click.Context, parameter: click.Parameter, value: Any) -> Any:
    """Return weights by key; `None` if there are none."""
    return dict(value) or None


def class_weights(ctx: click.Context, parameter: click.Parameter, value: Any) -> Any:
    """Return weights by key and class; `None` if there are none."""
    by_key: dict[str, dict[str, float]] = {}
    for names, weight in value:
        key, _, category = names.partition(":")
        if not key or not category:
            raise click.BadParameter(f"{names!r} is not a key, ':' and a class.", ctx, parameter)
        by_key.setdefault(key, {})[category] = weight
    return by_key or None


def output(written: str, *more: Declared) -> Callable[[Any], Any]:
    """Declare the options that every command has; `written` says what ``--out`` is."""
    out = f"{written} to write; it appears when all is done."
    return options(
        "Output",
        *more,
        option("-o, --out PATH", out, required=True),
        option("--overwrite", "Replace an earlier result."),
        option("--json", "Print one JSON object for machines.", expose_value=False),
        option("-q, --quiet", "Show no progress and no notes."),
    )


input_ = click.argument("input", type=click.Path(exists=True, path_type=Path))
layer = option("--layer LAYER", "Layer with the expression, in place of X.")
key_added = option("--key-added KEY", "Prefix of all columns written.", default="yoto")
unknown_genes = option(
    "--unknown-genes error|ignore",
    "What to do about genes asked for that INPUT lacks.",
    type=click.Choice(["error", "ignore"]),
    default="error",
)
chosen_genes = (
    repeated(
        "--include GENE|@FILE",
        "Gene that must be in the panel; a file is a list or table of them",
        callback=genes,
    ),
    repeated("--exclude GENE|@FILE", "Gene or pattern that must not be", callback=genes),
    option(
        "--candidates COLUMN|@FILE",
        "Boolean column of var, or file, with the genes to choose from.",
        callback=genes,
    ),
)
max_steps = option("--max-steps N", "Minibatches to train for.")
accelerator = option("--accelerator NAME", "Where to train: cpu, gpu, …", default="auto")
seed = option("--random-state N", "Seed.", type=click.IntRange(min=0), default=0)
CLASSIFIERS = ("logistic_regression", "random_forest", "k_neighbors")
"""Those of `yoto_sc.tl.evaluate`, whose import would make help wait."""
scored = (
    repeated(
        "--classifier NAME",
        "What is trained on the genes",
        name="classifiers",
        type=click.Choice(CLASSIFIERS),
        default=CLASSIFIERS,
    ),
    option("--n-splits N", "Folds.", type=click.IntRange(min=2), default=5),
    option("--use-rep NAME", "Entry of obsm with the structure to keep."),
    seed,
)
tasks = (
    repeated("--categorical-key COLUMN", "Column of obs with classes", name="categorical_keys"),
    repeated("--continuous-key COLUMN", "Column of obs with numbers", name="continuous_keys"),
    repeated("--obsm-key NAME", "Entry of obsm with vectors", name="obsm_keys"),
    option(
        "--transcriptome [N]",
        "The transcriptome itself, as N principal components; 30 if no number follows.",
        show_default=False,
    ),
    repeated("--unlabeled CATEGORY", 'Category that stands for "no label"'),
    option("--split-key COLUMN", "Column of obs whose groups are held out whole."),
)
config = options(
    "Other",
    option(
        "--table NAME",
        "Table of a SpatialData store, or modality of an h5mu file; needed where INPUT has "
        "several.",
    ),
    option(
        "--config FILE",
        "TOML file with values for these options, under their names in Python, such as "
        "categorical_keys. The command line goes first.",
        is_eager=True,
        expose_value=False,
        callback=_read_config,
    ),
)
