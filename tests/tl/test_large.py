"""What is not in memory is selected from, predicted and judged as if it were, bit for bit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import anndata
import dask.array as da
import numpy as np
import pandas as pd
import pytest
from anndata.experimental import read_lazy
from dask.distributed import Client, LocalCluster

import yoto_sc as yt
from yoto_sc.data import MemoryExpression, _chunked, _expression

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from anndata import AnnData

    Opener = Callable[[], AnnData]

WAYS = ["backed", "lazy h5ad", "lazy zarr", "dask"]


@pytest.fixture(scope="module")
def cells(make_adata: Callable[..., AnnData]) -> AnnData:
    adata = make_adata()
    adata.obsm["embedding"] = np.random.default_rng(0).normal(size=(adata.n_obs, 2))
    return adata


@pytest.fixture(scope="module", autouse=True)
def _small_blocks() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_expression, "_LONGEST_BLOCK", 50)
        yield


@pytest.fixture(scope="module")
def ways(cells: AnnData, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Opener]]:
    """For each way of holding the cells, what opens a new object that does so."""
    folder = tmp_path_factory.mktemp("stores")
    cells.write_h5ad(folder / "cells.h5ad")
    cells.write_zarr(folder / "cells.zarr")
    opened = []

    def backed() -> AnnData:
        opened.append(anndata.read_h5ad(folder / "cells.h5ad", backed="r"))
        return opened[-1]

    def dask() -> AnnData:
        adata = cells.copy()
        adata.X = da.from_array(adata.X, chunks=(37, adata.n_vars))
        return adata

    yield {
        "backed": backed,
        "lazy h5ad": lambda: read_lazy(folder / "cells.h5ad"),
        "lazy zarr": lambda: read_lazy(folder / "cells.zarr"),
        "dask": dask,
    }
    for adata in opened:
        adata.file.close()


def assert_same(got: AnnData, want: AnnData) -> None:
    """Assert that two objects hold the same results, bit for bit."""
    pd.testing.assert_frame_equal(got.obs, want.obs, check_exact=True)
    pd.testing.assert_frame_equal(got.var, want.var, check_exact=True)
    written = [key for key in want.obsm if "yoto" in key]
    assert written == [key for key in got.obsm if "yoto" in key]
    for key in written:
        np.testing.assert_array_equal(np.asarray(got.obsm[key]), np.asarray(want.obsm[key]))
    assert_same_entries(got.uns.get("yoto", {}), want.uns.get("yoto", {}))


def assert_same_entries(got: Any, want: Any) -> None:
    """Assert that two entries of ``uns`` are the same."""
    if isinstance(want, Mapping):
        assert list(got) == list(want)
        for key, entry in want.items():
            assert_same_entries(got[key], entry)
    elif isinstance(want, pd.DataFrame):
        pd.testing.assert_frame_equal(got, want, check_exact=True)
    else:
        np.testing.assert_array_equal(got, want)


@pytest.fixture(scope="module")
def arguments(quick_arguments: dict[str, Any]) -> dict[str, Any]:
    more = {"obsm_keys": ["embedding"], "transcriptome": 3, "embedding": True}
    return {**quick_arguments, **more}


@pytest.fixture(scope="module")
def learned(
    cells: AnnData, arguments: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> tuple[AnnData, Path]:
    """The selection in memory, and its model."""
    adata, path = cells.copy(), tmp_path_factory.mktemp("model") / "model"
    yt.tl.select(adata, 6, model_dir=path, **arguments)
    return adata, path


@pytest.mark.parametrize("way", WAYS)
def test_select_is_the_same(
    ways: dict[str, Opener],
    way: str,
    learned: tuple[AnnData, Path],
    arguments: dict[str, Any],
) -> None:
    adata = ways[way]()
    yt.tl.select(adata, 6, **arguments)
    assert_same(adata, learned[0])
    assert isinstance(adata.obs, pd.DataFrame)
    assert not isinstance(adata.X, np.ndarray)


def test_select_is_the_same_on_a_cluster(
    ways: dict[str, Opener], learned: tuple[AnnData, Path], arguments: dict[str, Any]
) -> None:
    cluster = LocalCluster(
        n_workers=2, threads_per_worker=1, processes=False, dashboard_address=None
    )
    with cluster, Client(cluster) as client:
        adata = ways["lazy zarr"]()
        yt.tl.select(adata, 6, **arguments)
        assert client.run(lambda dask_worker: dask_worker.state.tasks is not None)
    assert_same(adata, learned[0])


@pytest.mark.parametrize("way", WAYS)
def test_labels_are_the_same(
    ways: dict[str, Opener], way: str, cells: AnnData, learned: tuple[AnnData, Path]
) -> None:
    want, got = cells.copy(), ways[way]()
    for adata in (want, got):
        yt.tl.predict(adata, learned[1], unknown=0.1, embedding=True)
    assert_same(got, want)
    imputed = [yt.tl.impute(adata, learned[1]) for adata in (got, want)]
    np.testing.assert_array_equal(imputed[0].X, imputed[1].X)


def judged(adata: AnnData, names: list[str], model: Path) -> list[pd.DataFrame]:
    """What is told of lists of genes."""
    panels = {"first": names[:5], "last": names[-5:]}
    task, few = {"categorical_keys": "task_0"}, {"n_splits": 2, "classifiers": "k_neighbors"}
    return [
        yt.tl.compare(adata, panels, use_rep="embedding", **task, **few),
        yt.tl.evaluate(adata, panels["first"], transcriptome=3, **few),
        yt.tl.substitutes(adata, model, n=1),
    ]


def trained(adata: AnnData, cells: AnnData, model: Path) -> list[pd.DataFrame]:
    """What comes of further trainings."""
    quick: dict[str, Any] = {"max_steps": 5, "accelerator": "cpu"}
    quiet = {"categorical_keys": "task_0", "progress_bar": False}
    yt.tl.stability(adata, 4, n_runs=2, select_kwargs=quick, **quiet)
    panels = {"model": list(cells.var_names[:5])}
    moved = yt.tl.transfer(adata, cells, panels, n_splits=2, **quiet, **quick)
    yt.tl.adapt(adata, model, progress_bar=False)
    return [adata.var.filter(like="stability"), moved]


@pytest.fixture(scope="module")
def judged_in_memory(cells: AnnData, learned: tuple[AnnData, Path]) -> list[pd.DataFrame]:
    return judged(cells, list(cells.var_names), learned[1])


@pytest.mark.parametrize("way", ["backed", "lazy zarr"])
def test_what_is_judged_is_the_same(
    ways: dict[str, Opener],
    way: str,
    learned: tuple[AnnData, Path],
    judged_in_memory: list[pd.DataFrame],
) -> None:
    found = judged(ways[way](), list(learned[0].var_names), learned[1])
    for got, want in zip(found, judged_in_memory, strict=True):
        pd.testing.assert_frame_equal(got, want)


def test_what_is_trained_is_the_same(
    ways: dict[str, Opener], cells: AnnData, learned: tuple[AnnData, Path]
) -> None:
    results = [trained(adata, cells, learned[1]) for adata in (cells.copy(), ways["lazy zarr"]())]
    for want, got in zip(*results, strict=True):
        pd.testing.assert_frame_equal(got, want)


def test_plots_are_drawn(ways: dict[str, Opener], learned: tuple[AnnData, Path]) -> None:
    adata = ways["lazy zarr"]()
    yt.tl.predict(adata, learned[1])
    genes = yt.model.YOTO.load(learned[1], accelerator="cpu").panel().genes
    axes = yt.pl.redundancy(adata, genes=genes, show=False)
    assert axes is not None


def test_of_very_many_cells_some_are_learned_from(
    make_adata: Callable[..., AnnData], arguments: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    adata = make_adata(n_obs=1700, n_vars=20)
    models = []
    train = yt.model.YOTO.train
    monkeypatch.setattr(
        yt.model.YOTO, "train", lambda self, **kwargs: models.append(self) or train(self, **kwargs)
    )
    few = {"categorical_keys": "task_0", "max_steps": 10, "accelerator": "cpu", "group_key": None}
    yt.tl.select(adata, 4, max_cells=1000, progress_bar=False, **few)
    (model,) = models
    assert len(model.train_indices) == 1000
    assert len(model.validation_indices) == 200
    assert not np.isin(model.train_indices, model.validation_indices).any()
    assert adata.obs["yoto_task_0"].notna().all()
    assert adata.uns["yoto"]["params"]["max_cells"] == 1000
    held_out = adata.uns["yoto"]["held_out"]
    assert list(held_out.index) == list(adata.obs_names[model.validation_indices])
    with pytest.raises(ValueError, match="max_cells must be at least 1000"):
        yt.tl.select(adata, 4, max_cells=10, **few)


def test_what_takes_too_much_memory_stays_where_it_is(
    ways: dict[str, Opener],
    learned: tuple[AnnData, Path],
    arguments: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_chunked, "_HELD_BYTES", 0)
    monkeypatch.setattr(MemoryExpression, "held", None)  # nothing in memory is learned from
    adata = ways["lazy zarr"]()
    yt.tl.select(adata, 6, **arguments)
    assert_same(adata, learned[0])


def test_a_store_is_read_to_be_checked_to_be_learned_from_and_to_be_labelled(
    cells: AnnData,
) -> None:
    read: list[int] = []

    def noted(block: Any) -> Any:
        read.append(len(block))
        return block

    adata = cells.copy()
    values = da.from_array(cells.X.toarray(), chunks=(50, -1))
    adata.X = values.map_blocks(noted, dtype=values.dtype, meta=np.empty((0, 0), np.float32))
    few = {"categorical_keys": "task_0", "max_steps": 5, "accelerator": "cpu", "group_key": None}
    yt.tl.select(adata, 4, progress_bar=False, **few)
    assert sum(read) == 3 * cells.n_obs
    read.clear()
    yt.tl.select(adata, 4, progress_bar=False, min_detection=0.01, **few)
    assert sum(read) == 2 * cells.n_obs  # what takes little is held from then on


@pytest.mark.parametrize("adapt", ["auto", "none"])
def test_the_representation_is_written_where_cells_are_in_memory_or_on_request(
    ways: dict[str, Opener], cells: AnnData, learned: tuple[AnnData, Path], adapt: Any
) -> None:
    near, far = cells.copy(), ways["lazy zarr"]()
    for adata in (near, far):
        yt.tl.predict(adata, learned[1], adapt=adapt)
    assert near.obsm["X_yoto"].shape == learned[0].obsm["X_yoto"].shape
    assert "X_yoto" not in far.obsm
    pd.testing.assert_frame_equal(near.obs, far.obs)
    yt.tl.predict(far, learned[1], adapt=adapt, embedding=True)
    np.testing.assert_array_equal(far.obsm["X_yoto"], near.obsm["X_yoto"])
    yt.tl.predict(near, learned[1], adapt=adapt, embedding=False)
    assert "X_yoto" not in near.obsm
    with pytest.raises(ValueError, match='embedding must be "auto", True or False'):
        yt.tl.predict(near, learned[1], embedding="yes")


def test_a_selection_of_a_store_writes_no_representation(
    ways: dict[str, Opener], arguments: dict[str, Any]
) -> None:
    adata = ways["dask"]()
    yt.tl.select(adata, 6, **{**arguments, "embedding": "auto", "transcriptome": False})
    assert "X_yoto" not in adata.obsm
    assert "yoto_task_0" in adata.obs
