"""Everything is computed in one thread: matrices are small, and more threads only wait."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
import torch
from sklearn.linear_model import LogisticRegression
from threadpoolctl import ThreadpoolController, threadpool_limits

import yoto_sc as yt
from yoto_sc.nn import Encoder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from anndata import AnnData

    Verb = Callable[[], object]


class Threads:
    """Number of threads of torch and of every pool of BLAS and OpenMP."""

    def __init__(self) -> None:
        self._pools = ThreadpoolController()

    def __call__(self) -> set[int]:
        return {torch.get_num_threads(), *(pool["num_threads"] for pool in self._pools.info())}


@pytest.fixture
def threads() -> Iterator[Threads]:
    """As where there are two cores and nothing is set in the environment."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    with threadpool_limits(2):
        yield Threads()
    torch.set_num_threads(before)


@pytest.fixture
def verb(
    request: pytest.FixtureRequest,
    make_adata: Callable[..., AnnData],
    selected: AnnData,
    select: Callable[..., Any],
    model: Any,
    model_dir: Path,
    quick_arguments: dict[str, Any],
) -> Verb:
    """A call that computes something."""
    adata = make_adata(n_obs=400, n_vars=200)
    quick = {name: quick_arguments[name] for name in ("accelerator", "model_kwargs")}
    repeats = {
        "n_runs": 2,
        "categorical_keys": ["task_0"],
        "progress_bar": False,
        "select_kwargs": {"max_steps": 5, **quick},
    }
    verbs: dict[str, Verb] = {
        "select": lambda: select(adata, train_kwargs={"refit": False}),
        "groups": lambda: select(adata, group_key="donor"),
        "predict": lambda: yt.tl.predict(adata, model_dir),
        "model": lambda: model.predict(),
        "stability": lambda: yt.tl.stability(adata, 6, **repeats),
        "substitutes": lambda: yt.tl.substitutes(
            selected, genes=yt.Panel.from_adata(selected).genes[0]
        ),
    }
    return verbs[request.param]


@pytest.mark.parametrize(
    "verb", ["select", "groups", "predict", "model", "stability", "substitutes"], indirect=True
)
def test_one_thread_in_every_pass_and_the_callers_afterwards(
    verb: Verb, threads: Threads, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[set[int]] = []

    def watch(owner: type, name: str) -> None:
        real = getattr(owner, name)

        def watched(*args: Any, **kwargs: Any) -> Any:
            seen.append(threads())
            return real(*args, **kwargs)

        monkeypatch.setattr(owner, name, watched)

    watch(Encoder, "forward")
    watch(LogisticRegression, "fit")
    before = threads()
    verb()
    assert seen
    assert [pools for pools in seen if pools != {1}] == []
    assert threads() == before == {2}


@pytest.mark.parametrize("verb", ["select", "stability", "substitutes"], indirect=True)
def test_other_threads_do_nothing(verb: Verb, threads: Threads) -> None:
    """Nor in the closed forms, which no test can watch: by the time that the processor took."""
    assert threads() == {2}
    everywhere, here = time.process_time(), time.thread_time()
    verb()
    here = time.thread_time() - here
    elsewhere = time.process_time() - everywhere - here
    assert elsewhere < 0.05 + 0.05 * here


def test_an_error_leaves_the_threads_of_the_caller(
    adata: AnnData, select: Callable[..., Any], threads: Threads, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: Any) -> None:
        raise MemoryError

    monkeypatch.setattr(Encoder, "forward", fail)
    with pytest.raises(MemoryError):
        select(adata)
    assert threads() == {2}
