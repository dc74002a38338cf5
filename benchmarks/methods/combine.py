"""One panel from several lists."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable

    T = TypeVar("T", bound=Hashable)


def round_robin(lists: Iterable[Iterable[T]], k: int) -> list[T]:
    """Take the first entry of each list in turn, then the second, and so on; at most `k`.

    Entries that were taken before are passed over, at no cost to the list.
    """
    taken: dict[T, None] = {}
    waiting = [iter(entries) for entries in lists]
    while waiting and len(taken) < k:
        for entries in list(waiting):
            new = next((entry for entry in entries if entry not in taken), None)
            if new is None:
                waiting.remove(entries)
            elif len(taken) < k:
                taken[new] = None
    return list(taken)
