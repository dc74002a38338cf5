"""One thread for everything that is computed here, whatever the process is set to."""

from __future__ import annotations

import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from threadpoolctl import OpenBLASController, ThreadpoolController

if TYPE_CHECKING:
    from collections.abc import Iterator


class _Process:
    """What threads of the process share: its BLAS pools, and what torch hands to new threads.

    The first user limits them, and the last one puts them back.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._n_users = 0
        self._blas: Any = None
        self._torch_threads: int | None = None

    def enter(self, controller: ThreadpoolController) -> int | None:
        """Limit what is shared; return the number of threads that torch had."""
        with self._lock:
            if self._n_users == 0:
                torch = sys.modules.get("torch")
                self._torch_threads = None if torch is None else torch.get_num_threads()
                _free_openblas()
                self._blas = controller.limit(limits=1, user_api="blas")
            self._n_users += 1
            return self._torch_threads

    def leave(self) -> None:
        with self._lock:
            self._n_users -= 1
            if self._n_users == 0:
                _free_openblas()
                self._blas.restore_original_limits()
                _free_openblas()


def _free_openblas() -> None:
    """Let this thread set the limit: threadpoolctl leaves it to the first one that ever did."""
    clear = getattr(OpenBLASController, "clear_controlling_thread", None)  # 3.6 has none
    if clear is not None:
        clear(force=True)


_process = _Process()


@contextmanager
def one_thread() -> Iterator[None]:
    """Keep BLAS, OpenMP and torch to one thread inside; leave them as they were.

    The matrices of a panel are so small that more threads only wait for each other: on two busy
    cores, two threads took 30 times as long as one. And the order in which threads add up would
    change the last bits of the results.
    """
    torch = sys.modules.get("torch")
    controller = ThreadpoolController()
    n_threads = _process.enter(controller)
    if torch is not None:
        torch.get_num_threads()  # a thread's first call would undo the next line
    openmp = controller.limit(limits=1, user_api="openmp")  # every thread has a number of its own
    try:
        if torch is not None:
            torch.set_num_threads(1)
        yield
    finally:
        openmp.restore_original_limits()
        if torch is not None and n_threads is not None:
            torch.set_num_threads(n_threads)
        _process.leave()
