"""What users of scvi-tools do with every model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

import yoto_sc as yt
from yoto_sc._problem import Problem

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from anndata import AnnData

TASKS = {"categorical_keys": ["task_0", "task_1"], "continuous_keys": ["score_0"]}
YOTO = yt.model.YOTO


def test_setup_adds_columns_of_scvi_and_changes_nothing_else(
    adata: AnnData, state_of: Callable[..., Any]
) -> None:
    adata.X = np.asfortranarray(adata.X.toarray())
    before = state_of(adata)
    YOTO.setup_anndata(adata, **TASKS)
    after = state_of(adata)
    assert {at: after[at] for at in before} == before
    assert all("_scvi" in at[-1] for at in after.keys() - before.keys())
    assert ("uns", "_scvi_uuid") in after


def test_view_anndata_setup(adata: AnnData, capsys: pytest.CaptureFixture[str]) -> None:
    YOTO.setup_anndata(adata, **TASKS, split_key="donor", unlabeled=["class_3"])
    model = YOTO(adata, n_genes=3, n_hidden=4)
    model.view_anndata_setup()
    model.view_anndata_setup(hide_state_registries=True)
    shown = capsys.readouterr().out
    assert "YOTO" in shown
    assert "task_0" in shown
    assert "donor" in shown


def test_setup_arguments_are_recorded(adata: AnnData) -> None:
    YOTO.setup_anndata(adata, **TASKS, split_key="donor")
    model = YOTO(adata, n_genes=3, n_hidden=4)
    assert model.registry["setup_args"]["categorical_keys"] == ["task_0", "task_1"]
    assert model.registry["setup_args"]["split_key"] == "donor"
    assert model.registry["model_name"] == "YOTO"
    assert model.summary_stats.n_vars == 50
    assert model.summary_stats.n_cells == 160


def test_data_not_set_up(adata: AnnData) -> None:
    with pytest.raises(ValueError, match="setup_anndata"):
        YOTO(adata, n_genes=3)


def test_setup_twice_takes_the_last(adata: AnnData) -> None:
    YOTO.setup_anndata(adata, **TASKS)
    YOTO.setup_anndata(adata, categorical_keys=["task_1"])
    assert [task.name for task in YOTO(adata, n_genes=3, n_hidden=4).tasks] == ["task_1"]


@pytest.mark.parametrize("with_data", [False, True])
def test_save_and_load_as_scvi_does(
    make_adata: Callable[..., AnnData], model: Any, tmp_path: Path, with_data: bool
) -> None:
    model.save(tmp_path / "scvi", format="scvi", save_anndata=with_data)
    assert (tmp_path / "scvi" / "model.pt").is_file()
    adata = None if with_data else make_adata()
    loaded = YOTO.load(tmp_path / "scvi", adata, accelerator="cpu", format="scvi")
    assert loaded.is_trained
    assert loaded.panel() == model.panel()
    pd.testing.assert_frame_equal(loaded.predict(), model.predict())
    np.testing.assert_array_equal(
        loaded.get_latent_representation(), model.get_latent_representation()
    )
    pd.testing.assert_frame_equal(loaded.metrics, model.metrics)


def test_prefix_and_overwrite_as_scvi_does(adata: AnnData, model: Any, tmp_path: Path) -> None:
    model.save(tmp_path / "scvi", prefix="mine_", format="scvi")
    with pytest.raises(ValueError, match="already exists"):
        model.save(tmp_path / "scvi", prefix="mine_", format="scvi")
    model.save(tmp_path / "scvi", prefix="mine_", overwrite=True, format="scvi")
    loaded = YOTO.load(tmp_path / "scvi", adata, "cpu", prefix="mine_", format="scvi")
    assert loaded.panel() == model.panel()


def test_registry_can_be_read_from_a_file(model: Any, tmp_path: Path) -> None:
    model.save(tmp_path / "scvi", format="scvi")
    registry = YOTO.load_registry(str(tmp_path / "scvi"))
    assert registry["model_name"] == "YOTO"
    assert registry["setup_args"]["continuous_keys"] == ["score_0"]


def _n_managers() -> int:
    """Number of objects that scvi-tools keeps alive for this kind of model."""
    per_model = YOTO._per_instance_manager_store.values()
    return len(YOTO._setup_adata_manager_store) + sum(len(store) for store in per_model)


def test_selection_keeps_no_data_alive(adata: AnnData, select: Callable[..., Any]) -> None:
    select(adata, max_steps=2)
    before = _n_managers()
    select(adata, max_steps=2)
    assert _n_managers() <= before


def test_interrupted_selection_keeps_no_data_alive(
    adata: AnnData, select: Callable[..., Any]
) -> None:
    from lightning.pytorch.callbacks import Callback

    class Stop(Callback):
        def on_train_start(self, *args: Any) -> None:
            raise KeyboardInterrupt

    before = _n_managers()
    with pytest.raises(KeyboardInterrupt):
        select(adata, max_steps=2, train_kwargs={"callbacks": [Stop()]})
    assert _n_managers() <= before


def test_selection_keeps_other_setups(
    adata: AnnData, make_adata: Callable[..., AnnData], select: Callable[..., Any]
) -> None:
    YOTO.setup_anndata(adata, **TASKS)
    select(make_adata(), max_steps=2)
    assert YOTO(adata, n_genes=3, n_hidden=4).n_genes == 3


def test_deregister(adata: AnnData) -> None:
    YOTO.setup_anndata(adata, **TASKS)
    model = YOTO(adata, n_genes=3, n_hidden=4)
    manager = model.get_anndata_manager(adata)
    assert manager is not None
    model.deregister_manager()
    model.train(max_steps=2, accelerator="cpu", progress_bar=False)
    assert model.predict().shape == (160, 3)


def test_tasks_with_names_that_torch_refuses(
    make_adata: Callable[..., AnnData], train: Callable[..., Any], tmp_path: Path
) -> None:
    adata = make_adata()
    adata.obs["cell.type"] = adata.obs["task_0"]
    adata.obs["forward"] = adata.obs["task_1"]
    keys = ["cell.type", "forward"]
    model = train(adata, setup={"categorical_keys": keys}, train_kwargs={"max_steps": 2})
    assert list(model.predict().columns) == keys
    model.save(tmp_path / "model")
    loaded = YOTO.load(tmp_path / "model", adata, accelerator="cpu")
    pd.testing.assert_frame_equal(loaded.predict(), model.predict())


def test_loading_with_new_data_encodes_unseen_labels_as_missing(
    make_adata: Callable[..., AnnData], model: Any, tmp_path: Path
) -> None:
    model.save(tmp_path / "model")
    adata = make_adata()
    adata.obs["task_0"] = np.where(
        np.arange(160) < 10, "new type", adata.obs["task_0"].astype(str)
    )
    del adata.obs["task_1"], adata.obs["score_0"]
    loaded = YOTO.load(tmp_path / "model", adata, accelerator="cpu")
    encoded = loaded.adata_manager.get_from_registry("task_0").ravel()
    assert (encoded[:10] == -1).all()
    assert set(encoded[10:]) <= {-1, 0, 1, 2, 3}
    assert (loaded.adata_manager.get_from_registry("task_1") == -1).all()
    assert np.isnan(loaded.adata_manager.get_from_registry("task_2")).all()
    pd.testing.assert_frame_equal(loaded.predict(), model.predict())


def test_loading_with_other_genes_is_no_silent_mistake(
    make_adata: Callable[..., AnnData], model: Any, tmp_path: Path
) -> None:
    """scvi-tools only warns of other genes, and takes genes in another order without a word."""
    model.save(tmp_path / "model")
    adata = make_adata()[:, ::-1].copy()
    try:
        loaded = YOTO.load(tmp_path / "model", adata, accelerator="cpu")
    except (ValueError, KeyError, UserWarning):
        return
    pd.testing.assert_frame_equal(loaded.predict(), model.predict())


def test_layer(make_adata: Callable[..., AnnData], model: Any, train: Any, tmp_path: Path) -> None:
    adata = make_adata()
    adata.layers["counts"] = adata.X
    adata.X = sp.csr_matrix(adata.shape, dtype=np.float32)
    layered = train(adata, setup={**TASKS, "layer": "counts"}, train_kwargs={"refit": False})
    assert layered.panel() == model.panel()
    # Of the model's own data, the layer it was set up with is read.
    pd.testing.assert_frame_equal(layered.predict(), model.predict())
    layered.save(tmp_path / "model")
    loaded = YOTO.load(tmp_path / "model", adata, accelerator="cpu")
    pd.testing.assert_frame_equal(loaded.predict(), model.predict())


def test_unlabeled_and_split_key(make_adata: Callable[..., AnnData], train: Any) -> None:
    adata = make_adata()
    model = train(
        adata,
        setup={"categorical_keys": ["task_0"], "unlabeled": ["class_3"], "split_key": "donor"},
        train_kwargs={"max_steps": 2},
    )
    assert list(model.predict()["task_0"].cat.categories) == ["class_0", "class_1", "class_2"]
    assert adata.obs["donor"].iloc[model.validation_indices].nunique() < 4


def test_device(model: Any) -> None:
    model.to_device("cpu")
    assert str(model.device) == "cpu"


def test_callbacks_and_trainer(adata: AnnData, train: Callable[..., Any]) -> None:
    from lightning.pytorch.callbacks import Callback

    class Count(Callback):
        steps = 0

        def on_train_batch_end(self, *args: Any) -> None:
            self.steps += 1

    count = Count()
    model = train(adata, train_kwargs={"max_steps": 4, "callbacks": [count]})
    assert count.steps == 2 * 4  # without the held-out cells, and with them
    assert model.trainer.global_step == 4


def test_the_module_runs_as_scvi_tools_runs_modules(model: YOTO, adata: AnnData) -> None:
    """`BaseModuleClass.forward`: input, inference, input, generative, loss."""
    import torch

    problem = Problem.from_adata(
        adata, {"categorical": ["task_0", "task_1"], "continuous": ["score_0"]}
    )
    genes = adata.var_names.get_indexer(model.selection.trained_genes)
    values = problem.expression.take(slice(0, 20), genes).toarray()
    labels = {f"task_{t}": torch.from_numpy(y[:20]) for t, y in enumerate(problem.labels)}
    tensors = {"X": torch.from_numpy(values), **labels}
    with torch.no_grad():
        encoded, outputs, loss = model.module(tensors)
    assert encoded["hidden"].shape[1] == 20
    assert list(outputs) == ["task_0", "task_1", "task_2"]
    total = sum(float(loss.extra_metrics[key]) for key in outputs)
    assert float(loss.loss) == pytest.approx(total)
    with pytest.raises(NotImplementedError):
        model.module.sample()
