"""What another process makes of the same data, and what a call may not leave behind."""

from __future__ import annotations

import logging
import os
import random
import signal
import subprocess
import sys
import threading
import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import anndata
import numpy as np
import pytest
import scvi
import torch
from threadpoolctl import threadpool_info

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from anndata import AnnData

_SCRIPT = """
import sys
from pathlib import Path

import anndata
import yoto_sc as yt

folder, model_dir, repeats = Path(sys.argv[1]), sys.argv[2], eval(sys.argv[3])
adata = anndata.read_h5ad(folder / "data.h5ad")
predicted = adata.copy()
yt.tl.predict(predicted, model_dir)
predicted.write_h5ad(folder / "predicted.h5ad")
yt.tl.select(adata, 6, **repeats)
adata.write_h5ad(folder / "selected.h5ad")
"""


@dataclass(frozen=True)
class Elsewhere:
    """Results of another process: `tl.predict` with the saved model, and `tl.select` anew."""

    predicted: AnnData
    selected: AnnData


@pytest.fixture(scope="session")
def elsewhere(
    make_adata: Callable[..., AnnData],
    quick_arguments: dict[str, Any],
    model_dir: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Elsewhere:
    """Results of another process on the data and the model behind `selected`.

    It is started once, as its imports take long.
    """
    folder = tmp_path_factory.mktemp("elsewhere")
    make_adata().write_h5ad(folder / "data.h5ad")
    arguments = [str(folder), str(model_dir), repr(quick_arguments)]
    subprocess.run([sys.executable, "-c", _SCRIPT, *arguments], check=True, cwd=folder)
    return Elsewhere(
        *(anndata.read_h5ad(folder / f"{name}.h5ad") for name in ("predicted", "selected"))
    )


@pytest.fixture(scope="session")
def assert_same_predictions() -> Callable[..., None]:
    """Assert that two objects hold the same predictions, bit for bit."""

    def assert_same(one: AnnData, other: AnnData, key: str = "yoto") -> None:
        columns = [c for c in other.obs if c.startswith(f"{key}_")]
        assert columns
        assert [c for c in one.obs if c.startswith(f"{key}_")] == columns
        for column in columns:
            ours, theirs = one.obs[column], other.obs[column]
            if ours.dtype == "category":
                assert list(ours.cat.categories) == list(theirs.cat.categories)
                ours, theirs = ours.cat.codes, theirs.cat.codes
            assert ours.to_numpy().tobytes() == theirs.to_numpy().tobytes(), column
        latent = one.obsm[f"X_{key}"], other.obsm[f"X_{key}"]
        assert latent[0].dtype == latent[1].dtype
        np.testing.assert_array_equal(*latent)

    return assert_same


@pytest.fixture
def own_seeds() -> Iterator[None]:
    """Seed the global generators as nobody else would, and put them back afterwards."""
    state = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    random.seed(20261)
    np.random.seed(20262)  # noqa: NPY002
    torch.manual_seed(20263)
    yield
    random.setstate(state[0])
    np.random.set_state(state[1])  # noqa: NPY002
    torch.set_rng_state(state[2])


@pytest.fixture(scope="session")
def unchanged_state() -> Callable[[], AbstractContextManager[None]]:
    """Assert that no global state is another one behind the block than before it."""

    @contextmanager
    def unchanged() -> Iterator[None]:
        before = _global_state()
        yield
        after = _global_state()
        assert {name for name in before if before[name] != after[name]} == set()

    return unchanged


def _global_state() -> dict[str, Any]:
    kind, keys, *position = np.random.get_state()  # noqa: NPY002
    return {
        "python generator": random.getstate(),
        "numpy generator": (kind, keys.tolist(), position),
        "torch generator": torch.get_rng_state().tolist(),
        "scvi seed": scvi.settings.seed,
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "warn only": torch.is_deterministic_algorithms_warn_only_enabled(),
        "cudnn": (torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic),
        "precision": torch.get_float32_matmul_precision(),
        "threads": torch.get_num_threads(),
        "threads in a new thread": _in_a_new_thread(torch.get_num_threads),
        "pools": {pool["filepath"]: pool["num_threads"] for pool in threadpool_info()},
        "gradients": torch.is_grad_enabled(),
        "default dtype": torch.get_default_dtype(),
        "SIGINT": signal.getsignal(signal.SIGINT),
        "SIGTERM": signal.getsignal(signal.SIGTERM),
        "environment": dict(os.environ),
        "folder": os.getcwd(),  # noqa: PTH109
        "log levels": {
            name: logging.getLogger(name).level
            for name in ("lightning.pytorch", "lightning.fabric", "scvi", "")
        },
        "warnings": list(warnings.filters),
        "numpy errors": np.geterr(),
    }


def _in_a_new_thread(get: Callable[[], Any]) -> Any:
    """Some settings are of each thread; a new one begins with those of the process."""
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(get()))
    thread.start()
    thread.join()
    return found[0]
