"""How far what takes long has come, as a bar or in the log."""

from __future__ import annotations

import functools
import inspect
import logging
import time
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

P = ParamSpec("P")
R = TypeVar("R")

logger = logging.getLogger(__name__)

_DELAY = 2.0
"""What is done within so many seconds shows no bar."""
_QUIET = 10.0
"""Seconds between lines in the log."""

_has_bar: ContextVar[bool] = ContextVar("has_bar", default=False)


def shows_progress(verb: Callable[P, R]) -> Callable[P, R]:
    """Let what a function does show bars, unless its `progress_bar` is false.

    A function without such an argument writes to the log.
    """
    argument = inspect.signature(verb).parameters.get("progress_bar")
    default = argument is not None and argument.default

    @functools.wraps(verb)
    def watched(*args: P.args, **kwargs: P.kwargs) -> R:
        token = _has_bar.set(bool(kwargs.get("progress_bar", default)))
        try:
            return verb(*args, **kwargs)
        finally:
            _has_bar.reset(token)

    return watched


@contextmanager
def progress(
    description: str, n_parts: int, unit: str = "part", *, at_once: bool = False
) -> Iterator[Callable[[], None]]:
    """Yield what is to be called when a part is done.

    A bar, or lines in the log at level INFO, tell the time that is left. What is soon done shows
    nothing, unless the bar is to be there `at_once`: else, one of a few long parts would not be
    seen before the first of them is done.
    """
    if _has_bar.get():
        from tqdm.auto import tqdm

        delay = 0 if at_once else _DELAY
        with tqdm(total=n_parts, desc=description, unit=unit, delay=delay, leave=False) as bar:
            yield bar.update
        return
    started = told = time.monotonic()
    n_done = 0

    def done() -> None:
        nonlocal n_done, told
        n_done += 1
        now = time.monotonic()
        if now - told >= _QUIET and n_done < n_parts:
            told = now
            left = (now - started) * (n_parts - n_done) / n_done
            logger.info(
                "%s: %s %d of %d, about %.0f s left", description, unit, n_done, n_parts, left
            )

    yield done
