"""One thread for everything that is computed here, whatever the process is set to."""

from __future__ import annotations

import sys
import threading
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from threadpoolctl import OpenBLASController, ThreadpoolController

if TYPE_CHECKING:
    from collections.abc import Iterator

    Token = object


class _Process:
    """What threads of the process share: its BLAS pools, and what torch hands to new threads.

    The first user limits them, and the last one puts them back.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users: set[Token] = set()
        self._blas: Any = None
        self.torch_threads: int | None = None

    def enter(self, user: Token, controller: ThreadpoolController) -> None:
        """Limit what is shared, and note the number of threads that torch had."""
        with self._lock:
            self._users.add(user)
            torch = sys.modules.get("torch")
            if torch is not None and self.torch_threads is None:
                self.torch_threads = torch.get_num_threads()
            if self._blas is None:
                _free_openblas()
                self._blas = controller.limit(limits=1, user_api="blas")

    def leave(self, user: Token) -> None:
        """Put things back, if nobody else is left; a user that never got in does no harm."""
        with self._lock:
            self._users.discard(user)
            if not self._users and self._blas is not None:
                _free_openblas()
                self._blas.restore_original_limits()
                _free_openblas()
                self._blas = None
            if not self._users:
                self.torch_threads = None


def _free_openblas() -> None:
    """Let this thread set the limit: threadpoolctl leaves it to the first one that ever did."""
    clear = getattr(OpenBLASController, "clear_controlling_thread", None)  # 3.6 has none
    if clear is not None:
        clear(force=True)


_process = _Process()
_here = threading.local()


@contextmanager
def one_thread() -> Iterator[None]:
    """Keep BLAS, OpenMP and torch to one thread inside; leave them as they were.

    The matrices of a panel are so small that more threads only wait for each other: on two busy
    cores, two threads took 30 times as long as one. And the order in which threads add up would
    change the last bits of the results.
    """
    if getattr(_here, "is_inside", False):
        yield
        return
    user = object()
    with ExitStack() as undo:
        undo.callback(_process.leave, user)
        controller = ThreadpoolController()
        _process.enter(user, controller)
        torch = sys.modules.get("torch")
        if torch is not None:
            # A thread that first asks now is told 1 if others are inside, and not what it had.
            own = torch.get_num_threads()
            undo.callback(torch.set_num_threads, own if own > 1 else _process.torch_threads)
        # Every thread has an OpenMP number of its own.
        undo.callback(controller.limit(limits=1, user_api="openmp").restore_original_limits)
        if torch is not None:
            torch.set_num_threads(1)
        undo.callback(setattr, _here, "is_inside", False)
        _here.is_inside = True
        yield
