"""One selection, in a process of its own: what it found, how long it took, what it held."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import multiprocessing as mp
import os
import resource
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection

    from methods.base import Fitted

_FORK = mp.get_context("fork")
_EVERY_SECONDS = 0.005
_PATIENCE = 10
"""Seconds by the clock for each second of CPU time that is allowed: the machine may be busy."""


class SelectionError(Exception):
    """The method raised, ran out of time, or died."""


def measured(
    fit: Callable[[], Fitted], score: Callable[[Fitted], Any], timeout: float
) -> tuple[Any, dict[str, float]]:
    """Fork; fit, then score, in the child.

    Nothing is imported in the time that is measured, provided :func:`warm_up` has run.

    Parameters
    ----------
    fit
        Makes the selection.
    score
        Turns what `fit` returned into something small; is not measured.
    timeout
        Seconds of CPU time that both may take, and each process that they start.

    Returns
    -------
    What `score` returned, and what `fit` took: ``"seconds"`` by the clock, ``"cpu_seconds"``
    (to compare methods on a machine that is busy with other things), and ``"megabytes"``, by how
    much the child's own (anonymous) memory grew at most.

    Raises
    ------
    SelectionError
        There is no result.
    """
    gc.collect()
    gc.freeze()
    ctypes.CDLL(None).malloc_trim(0)  # else the child uses what is free, and seems not to grow
    here, there = _FORK.Pipe()
    child = _FORK.Process(target=_child, args=(there, fit, score, timeout))
    child.start()
    there.close()
    deadline = time.monotonic() + _PATIENCE * timeout
    try:
        before = peak = _receive(here, deadline)
        while not here.poll(_EVERY_SECONDS):
            peak = max(peak, _anonymous_mb(child.pid))
            if time.monotonic() > deadline:
                raise SelectionError(f"stopped after {_PATIENCE * timeout:.0f} s")
        cost = {"megabytes": peak - before, **_receive(here, deadline)}
        return _receive(here, deadline), cost
    except EOFError:
        child.join()
        if child.exitcode == -signal.SIGXCPU:
            raise SelectionError(f"stopped after {timeout:.0f} s of CPU time") from None
        raise SelectionError(f"died with exit code {child.exitcode}") from None
    finally:
        with contextlib.suppress(ProcessLookupError):  # it has ended
            os.killpg(child.pid, signal.SIGKILL)
        child.kill()  # in case it had not got as far as to have a group
        child.join()
        here.close()


def warm_up(fit: Callable[[], Fitted]) -> None:
    """Import all that `fit` imports, by watching a child do it."""

    def newly_imported(_: Fitted) -> list[str]:
        return sorted(set(sys.modules) - known)

    known = set(sys.modules)
    names, _ = measured(fit, newly_imported, timeout=600)
    for name in names:
        with contextlib.suppress(ImportError):  # some are made up at run time
            importlib.import_module(name)


def _child(
    there: Connection, fit: Callable[[], Fitted], score: Callable[[Fitted], Any], timeout: float
) -> None:
    os.setsid()  # a group of its own: what the method starts is stopped with it
    resource.setrlimit(resource.RLIMIT_CPU, (int(timeout), int(timeout) + 10))
    try:
        there.send(_anonymous_mb("self"))
        start, cpu_start = time.perf_counter(), time.process_time()
        fitted = fit()
        seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu_start
        there.send(fitted.cost or {"seconds": seconds, "cpu_seconds": cpu_seconds})
        there.send(score(fitted))
    except Exception as error:  # noqa: BLE001 - whatever a method raises is a result
        traceback.print_exc()
        there.send(SelectionError(f"{type(error).__name__}: {error}"))


def _receive(here: Connection, deadline: float) -> Any:
    if not here.poll(max(0.0, deadline - time.monotonic())):
        raise SelectionError("stopped: out of time")
    message = here.recv()
    if isinstance(message, SelectionError):
        raise message
    return message


def _anonymous_mb(pid: int | str | None) -> float:
    """Return the resident memory that is not a mapped file, in MB (Linux counts in KiB)."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    kilobytes = [line.split()[1] for line in lines if line.startswith("RssAnon")]
    return int(kilobytes[0]) * 1024 / 1e6 if kilobytes else 0.0
