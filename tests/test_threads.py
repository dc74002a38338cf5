"""One thread inside, and afterwards what each thread had: in any order, and after any error."""

from __future__ import annotations

import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
import torch
from threadpoolctl import ThreadpoolController, threadpool_info, threadpool_limits

from yoto_sc import _threads
from yoto_sc._threads import one_thread

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _two() -> Iterator[None]:
    """As on two cores, where nothing is set."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    with threadpool_limits(2):
        yield
    torch.set_num_threads(before)


def numbers() -> list[int]:
    return [torch.get_num_threads(), *(pool["num_threads"] for pool in threadpool_info())]


def test_inside_and_afterwards() -> None:
    before = numbers()
    assert set(before) == {2}
    with one_thread():
        assert set(numbers()) == {1}
    assert numbers() == before


def test_one_inside_another() -> None:
    with one_thread():
        with one_thread():
            assert set(numbers()) == {1}
        assert set(numbers()) == {1}
    assert set(numbers()) == {2}


@pytest.mark.parametrize("first", ["one", "other"])
def test_threads_that_leave_in_any_order(first: str) -> None:
    leave = {name: threading.Event() for name in ("one", "other")}
    inside = threading.Barrier(3)

    def stay(name: str) -> tuple[list[int], list[int]]:
        with one_thread():
            inside.wait(timeout=30)
            leave[name].wait(timeout=30)
            within = numbers()
        return within, numbers()

    with ThreadPoolExecutor(2) as pool:
        futures = {name: pool.submit(stay, name) for name in leave}
        inside.wait(timeout=30)
        leave[first].set()
        within, _ = futures.pop(first).result()
        assert set(within) == {1}
        ((last, future),) = futures.items()
        leave[last].set()
        within, afterwards = future.result()
    assert set(within) == {1}
    assert afterwards[0] == 2
    assert set(numbers()) == {2}


def test_a_number_of_its_own_comes_back() -> None:
    def own() -> int:
        torch.set_num_threads(3)
        with one_thread():
            pass
        return torch.get_num_threads()

    with one_thread(), ThreadPoolExecutor(1) as pool:
        assert pool.submit(own).result() == 3
    torch.set_num_threads(2)


def test_torch_that_is_loaded_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first one inside knew nothing of torch, which another thread imports and limits."""
    with monkeypatch.context() as patch:
        patch.delitem(sys.modules, "torch")
        first = one_thread()
        first.__enter__()

    def second() -> int:
        with one_thread():
            assert torch.get_num_threads() == 1
        return torch.get_num_threads()

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(second).result() == 2
    first.__exit__(None, None, None)
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(torch.get_num_threads).result() == 2
    assert set(numbers()) == {2}


@pytest.mark.parametrize("api", ["blas", "openmp"])
def test_an_interruption_on_the_way_in(monkeypatch: pytest.MonkeyPatch, api: str) -> None:
    real = ThreadpoolController.limit

    def limit(self: Any, *, limits: int, user_api: str) -> Any:
        if user_api == api:
            raise KeyboardInterrupt
        return real(self, limits=limits, user_api=user_api)

    with monkeypatch.context() as patch:
        patch.setattr(ThreadpoolController, "limit", limit)
        with pytest.raises(KeyboardInterrupt), one_thread():
            pytest.fail("never inside")
    assert set(numbers()) == {2}
    with one_thread():
        assert set(numbers()) == {1}
    assert set(numbers()) == {2}
    assert not _threads._process._users


def test_an_error_inside() -> None:
    with pytest.raises(ZeroDivisionError), one_thread():
        1 / 0  # noqa: B018
    assert set(numbers()) == {2}
