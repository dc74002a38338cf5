"""Memory that was freed goes back to the system."""

from __future__ import annotations

import ctypes
import functools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def give_back() -> None:
    """Give back what was freed, where the C library would keep it for its next allocations.

    That of Linux keeps the buffers of reading, in pieces between what is still in use: as much
    again as all that is held. See "Manually trim memory" in the documentation of
    `dask.distributed`.
    """
    _trim()(0)


@functools.cache
def _trim() -> Callable[[int], object]:
    try:
        trim: Callable[[int], object] = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):  # not on this system
        return lambda pad: None
    return trim
