"""The command line: the verbs of `yoto_sc.tl`, from files to files.

The package itself imports nothing but click, so that help, completion and wrong arguments are
answered at once. An option's name is the argument's name in Python, and its value is passed on
as it is: a new argument of a verb needs one `option` in `_commands`.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import click

from yoto_sc.cli._commands import DEMO, Report, commands
from yoto_sc.cli._errors import is_a_check, one_line
from yoto_sc.cli._files import RESULTS, write_results

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["DEMO", "RESULTS", "commands", "main", "write_results"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line: the words after the name of the program, or those of the process.

    Returns the exit code: 0, 2 for wrong usage or input, 130 after Ctrl-C. Errors that nobody
    foresaw are raised, and end the process with 1.
    """
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    arguments = arguments or ["--help"]
    as_json = "--json" in arguments  # must be known where the arguments cannot be read, too
    try:
        report = commands.main(arguments, prog_name="yoto-sc", standalone_mode=False)
    except click.exceptions.Abort:
        return _fail("Interrupted; nothing was written.", 130, as_json)
    except Exception as error:
        if not isinstance(error, click.ClickException) and not is_a_check(error):
            if as_json:
                click.echo(json.dumps({"error": f"{type(error).__name__}: {error}"}))
            raise
        return _fail(one_line(error), 2, as_json)
    if isinstance(report, Report):
        click.echo(json.dumps(report.data) if as_json else report.text)
    return 0


def _fail(message: str, code: int, as_json: bool) -> int:
    """Say what is wrong once, to people or to machines."""
    if as_json:
        click.echo(json.dumps({"error": message}))
    else:
        click.echo(f"yoto-sc: {message}", err=True)
    return code
