"""Errors as one line: what was wrong with the words or the files of the user."""

from __future__ import annotations

import re
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Sequence


def is_a_check(error: Exception) -> bool:
    """Whether this package refused its input, rather than failed in the middle of its work."""
    frames = traceback.extract_tb(error.__traceback__)
    is_ours = Path(frames[-1].filename).is_relative_to(Path(__file__).parent.parent)
    return is_ours and isinstance(error, KeyError | OSError | TypeError | ValueError)


def one_line(error: Exception) -> str:
    """Return the message of an error, folded into one line."""
    if isinstance(error, click.ClickException):
        message = error.format_message()
    elif isinstance(error, KeyError):
        message = str(error.args[0])  # str() would add quotes
    else:
        message = str(error)
    return " ".join(message.split())


def in_options(message: str, parameters: Sequence[click.Parameter]) -> str:
    """Return a message about arguments of Python as one about the options that stand for them.

    A name that is a word of English, too, stands for the argument where it is quoted, where a
    value follows, or at the beginning.
    """
    for parameter in parameters:
        name, flag = parameter.name or "", parameter.opts[-1]
        if flag.startswith("--"):
            places = rf"`{name}`|\b{name}(?==)|^{name}(?= must)"
            places += rf"|(?<![\w.'\"]){name}(?![\w'\"])" if "_" in name else ""
            message = re.sub(places, flag, message)
    return message
