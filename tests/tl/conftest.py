"""What another process makes of the same data: started once, as its imports take long."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import anndata
import numpy as np
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
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
    """Results of another process on the data and the model behind `selected`."""
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
