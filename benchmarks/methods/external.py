"""Competitors, each run in its own environment as a child process."""

from __future__ import annotations

import json
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import anndata as ad
import numpy as np
import pandas as pd
import scanpy as sc

from methods.base import Fitted
from methods.combine import round_robin

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from methods.base import Training

_ROOT = Path(__file__).parents[2]
_N_VARIABLE = 1000


def fit(training: Training, k: int, seed: int, *, name: str) -> Fitted:
    """Select `k` genes; of several tasks, each task's in turn.

    Preparing and exchanging the data is not charged to the competitor. Continuous tasks, which
    none of them has, are left out.
    """
    python = _python(name)
    lists, costs = [], []
    for key in training.categorical:
        genes, cost = _run(python, name, _exchanged(training, key), k, seed)
        lists.append(genes)
        costs.append(cost)
    cost = {part: sum(c[part] for c in costs) for part in ("seconds", "cpu_seconds")}
    return Fitted(
        round_robin(lists, k), cost={**cost, "megabytes": max(c["megabytes"] for c in costs)}
    )


def fit_without_labels(
    training: Training, k: int, seed: int, *, name: str, environment: str
) -> Fitted:
    """Select `k` genes by an adapter that looks at no label.

    Parameters
    ----------
    training
        Cells to select on.
    k
        Number of genes.
    seed
        Seed.
    name
        Of the adapter.
    environment
        Of the environment that it runs in.
    """
    genes, cost = _run(_python(environment), name, _variable(training.normalized), k, seed)
    return Fitted(genes, cost=cost)


def reconstruct(
    train: ad.AnnData, test: ad.AnnData, k: int, seed: int, *, name: str, environment: str
) -> tuple[Fitted, NDArray[np.floating]]:
    """Select `k` genes, and predict all genes of held-out cells from them.

    Parameters
    ----------
    train, test
        Log-normalised expression in CSR, of the same genes.
    k
        Number of genes.
    seed
        Seed.
    name
        Of the adapter.
    environment
        Of the environment that it runs in.

    Returns
    -------
    What was selected, and the prediction, ``(test.n_obs, n_vars)``, in the units of `train`.
    """
    with tempfile.TemporaryDirectory() as folder:
        train.write_h5ad(Path(folder) / "train.h5ad")
        test.write_h5ad(Path(folder) / "test.h5ad")
        genes, cost = _answer(_python(environment), name, Path(folder), k, seed)
        return Fitted(genes, cost=cost), np.load(Path(folder) / "reconstructed.npy")


def _python(name: str) -> Path:
    python = _ROOT / f".cache/competitors/{name}/bin/python"
    if not python.exists():
        raise FileNotFoundError(f"{name} is not installed; see benchmarks/competitors/install.sh")
    return python


def _exchanged(training: Training, key: str) -> ad.AnnData:
    cells = training.labelled(key)
    normalized = training.normalized[cells]
    labels = pd.Categorical(normalized.obs[key].astype(str))
    return _variable(normalized, pd.DataFrame({"label": labels}, index=normalized.obs_names))


def _variable(normalized: ad.AnnData, obs: pd.DataFrame | None = None) -> ad.AnnData:
    """Keep the genes that are expressed, and say which of them are highly variable."""
    adata = ad.AnnData(
        normalized.X.copy(),
        obs=pd.DataFrame(index=normalized.obs_names) if obs is None else obs,
        var=pd.DataFrame(index=normalized.var_names),
    )
    expressed = np.asarray(adata.X.getnnz(axis=0) > 0)
    adata = adata[:, expressed].copy()
    n_variable = min(_N_VARIABLE, adata.n_vars)
    table = sc.pp.highly_variable_genes(adata, n_top_genes=n_variable, inplace=False)
    adata.var["highly_variable"] = table["highly_variable"].to_numpy()
    return adata


def _run(
    python: Path, name: str, adata: ad.AnnData, k: int, seed: int
) -> tuple[list[str], dict[str, float]]:
    with tempfile.TemporaryDirectory() as folder:
        adata.write_h5ad(Path(folder) / "train.h5ad")
        return _answer(python, name, Path(folder), k, seed)


def _answer(
    python: Path, name: str, folder: Path, k: int, seed: int
) -> tuple[list[str], dict[str, float]]:
    """Run the adapter on the data that the folder holds."""
    adapter = _ROOT / f"benchmarks/competitors/adapt_{name}.py"
    (folder / "request.json").write_text(json.dumps({"k": k, "seed": seed}))
    done = subprocess.run(
        [python, adapter, folder], cwd=folder, capture_output=True, text=True, check=False
    )
    if done.returncode == -signal.SIGXCPU:
        raise TimeoutError("used up the CPU time that is allowed")
    if done.returncode < 0:
        raise RuntimeError(f"ended by {signal.Signals(-done.returncode).name}")
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no message"]
        raise RuntimeError(f"exit code {done.returncode}: {lines[-1]}")
    result = json.loads((folder / "result.json").read_text())
    return result["genes"], result["cost"]
