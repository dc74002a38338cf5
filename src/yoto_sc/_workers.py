"""What is done on the workers of a dask cluster, where one is current, and here otherwise."""

from __future__ import annotations

import sys
import warnings
from functools import partial
from typing import TYPE_CHECKING, Any

from yoto_sc._threads import one_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def may_move(accelerator: str, trainer_kwargs: Mapping[str, Any]) -> bool:
    """Whether there are workers for a training, it comes to the same there, and nobody looks on.

    There are, if a `dask.distributed.Client` is current, and this is no task of one.

    Parameters
    ----------
    accelerator, trainer_kwargs
        As the training is given them.
    """
    if _client() is None or trainer_kwargs.get("callbacks"):
        return False
    import torch

    has_gpu = torch.cuda.is_available() or torch.backends.mps.is_available()
    return accelerator == "cpu" or (accelerator == "auto" and not has_gpu)


def n_threads() -> int:
    """Return how many threads of dask work on what is computed, here or on the workers."""
    client = _client()
    if client is not None:
        return sum(client.nthreads().values())
    from dask.system import CPU_COUNT

    return int(CPU_COUNT)


def aside(function: Callable[..., Any], *args: Any) -> Callable[[], Any]:
    """Let a worker begin with something; what comes of it is had by calling what is returned.

    Without workers, it is done when it is asked for. If a worker is lost, dask does its work
    again on another one.

    Parameters
    ----------
    function, args
        Either of them, or all, may be what :func:`shared` returned.
    """
    client = _client()
    if client is None:
        return partial(function, *args)
    result: Callable[[], Any] = _submitted(client, _alone, function, *args).result
    return result


def shared(value: Any) -> Any:
    """Return something to be handed to :func:`aside` several times, which is sent only once."""
    client = _client()
    return value if client is None else _submitted(client, _itself, value)


def _client() -> Any:
    distributed = sys.modules.get("distributed")
    if distributed is None:  # nobody has made one
        return None
    try:
        distributed.get_worker()
    except ValueError:
        try:
            return distributed.get_client()
        except ValueError:
            return None
    return None  # a task that waits for others of its kind might wait forever


def _submitted(client: Any, *call: Any) -> Any:
    with warnings.catch_warnings():
        # A copy with the scheduler outlives every worker; one that is scattered may not.
        warnings.filterwarnings("ignore", message="Sending large graph")
        return client.submit(*call, pure=False)


def _alone(function: Callable[..., Any], *args: Any) -> Any:
    with one_thread():
        return function(*args)


def _itself(value: Any) -> Any:
    return value
