"""The public face of `model.YOTO`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.exceptions import NotFittedError

import yoto_sc as yt
from yoto_sc.nn import Annealing

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from anndata import AnnData

    Train = Callable[..., Any]

TASKS = {"categorical_keys": ["task_0", "task_1"], "continuous_keys": ["score_0"]}
QUICK = {"accelerator": "cpu", "progress_bar": False}


@pytest.fixture
def untrained(adata: AnnData) -> Any:
    yt.model.YOTO.setup_anndata(adata, **TASKS)
    return yt.model.YOTO(adata, n_genes=6, n_hidden=16, n_members=2)


# ---- after training


def test_predict(adata: AnnData, model: Any) -> None:
    table = model.predict()
    assert list(table.columns) == ["task_0", "task_1", "score_0"]
    assert table.index.equals(adata.obs_names)
    assert list(table["task_0"].cat.categories) == list(adata.obs["task_0"].cat.categories)
    assert table["score_0"].dtype == np.float32
    assert table.notna().all().all()
    pd.testing.assert_frame_equal(model.predict(adata), table)


def test_predict_proba(adata: AnnData, model: Any) -> None:
    probabilities = model.predict_proba()
    assert list(probabilities) == ["task_0", "task_1"]
    for task, table in probabilities.items():
        assert table.shape == (adata.n_obs, adata.obs[task].nunique())
        assert table.index.equals(adata.obs_names)
        assert table.min(axis=None) >= 0
        np.testing.assert_allclose(table.sum(axis=1), 1, atol=1e-5)
        assert list(table.idxmax(axis=1)) == list(model.predict()[task])


@pytest.mark.parametrize("k", [None, 1, 3, 6])
def test_latent_representation(adata: AnnData, model: Any, k: int | None) -> None:
    latent = model.get_latent_representation(n_genes=k)
    assert latent.shape == (adata.n_obs, 2 * 16)
    assert latent.dtype == np.float32
    np.testing.assert_array_equal(latent, model.get_latent_representation(adata, n_genes=k))


@pytest.mark.parametrize("k", [1, 3, 6])
def test_all_ways_to_predict_agree_at_every_size(model: Any, k: int) -> None:
    values, latent = model.predict_all(n_genes=k)
    np.testing.assert_array_equal(latent, model.get_latent_representation(n_genes=k))
    np.testing.assert_array_equal(values[0], model.predict_proba(n_genes=k)["task_0"])
    np.testing.assert_array_equal(values[2], model.predict(n_genes=k)["score_0"])


def test_predictions_differ_between_sizes(model: Any) -> None:
    scores = [model.predict(n_genes=k)["score_0"].to_numpy() for k in (1, 3, 6)]
    assert not np.array_equal(scores[0], scores[1])
    assert not np.array_equal(scores[1], scores[2])


def test_path_is_scored_on_predictions_at_each_size(adata: AnnData, model: Any) -> None:
    known = adata.obs["task_0"].notna().to_numpy().nonzero()[0]
    held_out = np.intersect1d(model.validation_indices, known)
    true = adata.obs["task_0"].iloc[held_out].astype(str)
    from sklearn.metrics import f1_score

    for k in sorted({1, 3, 6} & set(model.path["n_genes"])):
        predicted = model.predict(n_genes=k)["task_0"].iloc[held_out].astype(str)
        score = f1_score(true, predicted, labels=sorted(set(true)), average="macro")
        row = model.path.query("n_genes == @k and task == 'task_0'")
        assert row["score"].item() == pytest.approx(score)


def test_panel(adata: AnnData, model: Any) -> None:
    panel = model.panel()
    assert panel.n_genes == 6
    assert list(panel.table.index) == list(adata.var_names)
    for k in (1, 3, 6, 20, 50):
        smaller = model.panel(k)
        assert smaller.genes[:6] == panel.genes[:k]
        assert smaller.n_genes == k
    assert set(panel.table.loc[panel.genes, "task"]) <= {"task_0", "task_1", "score_0"}


@pytest.mark.parametrize("k", [0, 51])
def test_panel_of_impossible_size(model: Any, k: int) -> None:
    with pytest.raises(ValueError, match=f"50 ranked genes, not {k}"):
        model.panel(k)


def test_tables(adata: AnnData, model: Any) -> None:
    assert list(model.metrics.index) == ["task_0", "task_1", "score_0"]
    assert {"macro_f1", "accuracy", "log_loss", "r2", "rmse"} <= set(model.metrics.columns)
    columns = ["n_genes", "task", "metric", "score", "standard_error", "predictor"]
    assert list(model.path.columns) == columns
    assert {"n_genes", "train_loss", "validation_loss"} <= set(model.history.columns)
    assert len(model.history) == 30


def test_split_covers_all_cells(adata: AnnData, model: Any) -> None:
    together = np.sort(np.concatenate([model.train_indices, model.validation_indices]))
    np.testing.assert_array_equal(together, np.arange(adata.n_obs))
    assert len(model.validation_indices) == pytest.approx(0.2 * adata.n_obs, abs=3)


def test_no_cell_held_out(adata: AnnData, train: Train) -> None:
    model = train(adata, train_kwargs={"max_steps": 3, "validation_size": 0})
    assert len(model.validation_indices) == 0
    assert (model.metrics["n_cells"] == 0).all()
    assert model.metrics["macro_f1"].isna().all()
    assert model.panel().n_genes == 6
    assert model.predict().notna().all().all()


def test_validation_size(adata: AnnData, train: Train) -> None:
    model = train(adata, train_kwargs={"max_steps": 2, "validation_size": 0.5})
    assert len(model.validation_indices) == pytest.approx(80, abs=3)


def test_predicting_leaves_the_model_and_the_data_alone(
    model: Any, make_adata: Callable[..., AnnData], state_of: Callable[..., Any]
) -> None:
    adata = make_adata()
    before = state_of(adata)
    weights = {name: t.clone() for name, t in model.module.state_dict().items()}
    state = torch.get_rng_state()
    model.predict(adata)
    model.predict_proba(adata, n_genes=2)
    model.get_latent_representation(adata)
    assert state_of(adata) == before
    assert torch.equal(torch.get_rng_state(), state)
    for name, tensor in model.module.state_dict().items():
        assert torch.equal(tensor, weights[name])


def test_one_task_of_each_kind_alone(make_adata: Callable[..., AnnData], train: Train) -> None:
    for setup in ({"categorical_keys": ["task_0"]}, {"continuous_keys": ["score_0"]}):
        model = train(make_adata(), setup=setup, train_kwargs={"max_steps": 3})
        assert list(model.predict().columns) == [next(iter(setup.values()))[0]]
        assert len(model.predict_proba()) == ("categorical_keys" in setup)


def test_auto_size(adata: AnnData, train: Train) -> None:
    counts = adata.X.toarray()
    adata.obs["label"] = np.resize(["a", "b"], adata.n_obs)
    counts[:, 7] = np.where(adata.obs["label"] == "a", 30, 0)
    adata.X = counts
    model = train(
        adata,
        setup={"categorical_keys": ["label"]},
        n_genes="auto",
        train_kwargs={"max_steps": 60},
    )
    size = model.panel().n_genes
    assert size < 10
    assert adata.var_names[7] in model.panel().genes
    # The default of every prediction is the size that was chosen.
    pd.testing.assert_frame_equal(model.predict(), model.predict(n_genes=size))


# ---- the published selector


def test_published_variant(
    adata: AnnData, train: Train, state_of: Callable[..., Any], tmp_path: Path
) -> None:
    model = train(
        adata,
        relaxation="plackett_luce",
        n_members=1,
        train_kwargs={"annealing": Annealing(n_start=6, n_genes=6)},
    )
    assert model.panel().n_genes == 6
    assert model.history["n_genes"].iloc[0] == 6
    assert model.get_latent_representation().shape == (adata.n_obs, 16)
    model.save(tmp_path / "model")
    loaded = yt.model.YOTO.load(tmp_path / "model", accelerator="cpu")
    pd.testing.assert_frame_equal(loaded.predict(adata), model.predict())


def test_published_variant_in_one_call(adata: AnnData, select: Callable[..., Any]) -> None:
    select(
        adata,
        model_kwargs={"relaxation": "plackett_luce", "n_members": 1},
        train_kwargs={"annealing": Annealing(n_start=6, n_genes=6)},
    )
    assert int(adata.var["yoto_selected"].sum()) == 6


# ---- before training, and again


@pytest.mark.parametrize(
    "use",
    [
        lambda model: model.panel(),
        lambda model: model.panel(3),
        lambda model: model.path,
        lambda model: model.metrics,
        lambda model: model.history,
        lambda model: model.held_out,
        lambda model: model.selection,
        lambda model: model.predict(),
        lambda model: model.predict_proba(),
        lambda model: model.get_latent_representation(),
        lambda model: model.save("nowhere"),
    ],
)
def test_errors_before_training(untrained: Any, use: Callable[[Any], Any], tmp_path: Path) -> None:
    with pytest.raises(NotFittedError, match=r"train\(\)"):
        use(untrained)


def test_untrained_model_says_so(untrained: Any) -> None:
    assert not untrained.is_trained
    assert "6 of 50 genes" in untrained.summary_string


def test_trained_model_is_not_trained_again(model: Any) -> None:
    with pytest.raises(ValueError, match="trained"):
        model.train(max_steps=2, **QUICK)


def test_building_and_training_leave_the_data_alone(
    adata: AnnData, state_of: Callable[..., Any]
) -> None:
    yt.model.YOTO.setup_anndata(adata, **TASKS)
    before = state_of(adata)
    model = yt.model.YOTO(adata, n_genes=6, n_hidden=8, n_members=1)
    model.train(max_steps=2, **QUICK)
    assert state_of(adata) == before


# ---- files


def test_save_and_load(adata: AnnData, model: Any, tmp_path: Path) -> None:
    model.save(tmp_path / "model")
    assert {path.name for path in (tmp_path / "model").iterdir()} == {
        "model.json",
        "model.safetensors",
    }
    loaded = yt.model.YOTO.load(tmp_path / "model", accelerator="cpu")
    assert loaded.is_trained
    assert loaded.panel() == model.panel()
    for ours, theirs in zip(loaded.predict_all(adata)[0], model.predict_all()[0], strict=True):
        np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(
        loaded.get_latent_representation(adata), model.get_latent_representation()
    )
    for name in ("tasks", "metrics", "path", "history", "confusion", "attribution"):
        pd.testing.assert_frame_equal(
            getattr(loaded.selection, name), getattr(model.selection, name), check_exact=True
        )


@pytest.mark.parametrize("format", ["safetensors", "scvi"])
@pytest.mark.parametrize("validation_size", [0.3, 0])
def test_held_out_predictions_survive_files(
    adata: AnnData, train: Train, tmp_path: Path, format: str, validation_size: float
) -> None:
    """With names of cells, classes and numbers as they were, also where they look like others."""
    adata.obs_names = [str(cell) for cell in range(adata.n_obs)]
    adata.obs["integer"] = np.arange(adata.n_obs) % 3
    adata.obs["boolean"] = np.arange(adata.n_obs) % 2 == 0
    adata.obs["ordered"] = adata.obs["task_0"].cat.as_ordered()
    keys = ["task_0", "integer", "boolean", "ordered"]
    setup = {"categorical_keys": keys, "continuous_keys": ["score_0"]}
    quick = {"max_steps": 2, "validation_size": validation_size}
    model = train(adata, setup=setup, train_kwargs=quick)
    names = adata.obs_names[model.validation_indices]
    assert list(model.held_out.index) == list(names)
    assert list(model.held_out) == [*keys, "score_0"]
    model.save(tmp_path / "model", format=format)
    # scvi-tools' own format is of no use without the data
    arguments = {"adata": adata} if format == "scvi" else {}
    loaded = yt.model.YOTO.load(tmp_path / "model", accelerator="cpu", format=format, **arguments)
    pd.testing.assert_frame_equal(loaded.held_out, model.held_out, check_exact=True)
    for key in keys:
        categories = model.held_out[key].cat.categories
        assert list(categories) == list(model.predict()[key].cat.categories)


def test_held_out_predictions_are_those_of_the_selection(
    selected: AnnData, model_dir: Path
) -> None:
    loaded = yt.model.YOTO.load(model_dir, accelerator="cpu")
    pd.testing.assert_frame_equal(loaded.held_out, selected.uns["yoto"]["held_out"])


def test_load_with_data(make_adata: Callable[..., AnnData], model: Any, tmp_path: Path) -> None:
    model.save(tmp_path / "model")
    adata = make_adata()
    loaded = yt.model.YOTO.load(tmp_path / "model", adata, accelerator="cpu")
    pd.testing.assert_frame_equal(loaded.predict(), model.predict())


def test_loaded_without_data(model: Any, tmp_path: Path) -> None:
    model.save(tmp_path / "model")
    loaded = yt.model.YOTO.load(tmp_path / "model", accelerator="cpu")
    with pytest.raises(ValueError, match="without data"):
        loaded.predict()
    with pytest.raises(ValueError, match="without data"):
        loaded.train(max_steps=2)


def test_a_saved_model_can_be_saved_again(adata: AnnData, model: Any, tmp_path: Path) -> None:
    model.save(tmp_path / "one")
    yt.model.YOTO.load(tmp_path / "one", accelerator="cpu").save(tmp_path / "two")
    for name in ("model.json", "model.safetensors"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_overwrite(model: Any, tmp_path: Path) -> None:
    model.save(tmp_path / "model")
    with pytest.raises(FileExistsError, match="overwrite=True"):
        model.save(tmp_path / "model")
    model.save(tmp_path / "model", overwrite=True)


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ({"format": "pickle"}, ValueError, "safetensors.*scvi.*pickle"),
        ({"prefix": "a_"}, TypeError, 'prefix.*format="scvi"'),
        ({"save_anndata": True}, TypeError, 'save_anndata.*format="scvi"'),
    ],
)
def test_bad_arguments_to_save(
    model: Any, tmp_path: Path, arguments: dict[str, Any], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        model.save(tmp_path / "model", **arguments)
    assert not (tmp_path / "model").exists()


def test_labels_of_every_kind_survive_a_file(adata: AnnData, train: Train, tmp_path: Path) -> None:
    adata.obs["integer"] = np.arange(160) % 3
    adata.obs["boolean"] = np.arange(160) % 2 == 0
    adata.obs["float"] = np.arange(160) % 2 + 0.5
    keys = ["integer", "boolean", "float"]
    model = train(adata, setup={"categorical_keys": keys}, train_kwargs={"max_steps": 2})
    model.save(tmp_path / "model")
    loaded = yt.model.YOTO.load(tmp_path / "model", accelerator="cpu")
    pd.testing.assert_frame_equal(loaded.predict(adata), model.predict())
    kinds = [type(loaded.predict(adata)[key].cat.categories[0].item()) for key in keys]
    assert kinds == [int, bool, float]


def test_changes_of_the_data_before_training_are_seen(adata: AnnData) -> None:
    """What is trained on is read, and checked, when the training begins."""
    yt.model.YOTO.setup_anndata(adata, categorical_keys=["task_0"])
    model = yt.model.YOTO(adata, n_genes=4, n_hidden=8, n_members=1)
    adata.X.data[3] = -1
    with pytest.raises(ValueError, match="negative"):
        model.train(2, **QUICK)
    adata.X.data[3] = 1
    model.train(2, **QUICK)
    adata.X.data *= 0.5
    with pytest.raises(ValueError, match="trained on counts"):
        model.predict()


def test_stopped_while_it_leaves(adata: AnnData, monkeypatch: pytest.MonkeyPatch) -> None:
    from yoto_sc import _threads

    yt.model.YOTO.setup_anndata(adata, categorical_keys=["task_0"])
    model = yt.model.YOTO(adata, n_genes=4, n_hidden=8, n_members=1)
    real = _threads._process.leave

    def leave(user: object) -> None:
        real(user)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(_threads._process, "leave", leave)
        with pytest.raises(KeyboardInterrupt):
            model.train(2, **QUICK)
    with pytest.raises(NotFittedError):
        model.panel()
    model.train(2, **QUICK)
    assert model.panel().n_genes == 4


@pytest.mark.parametrize("has_labels", [True, False])
def test_scvi_format_with_a_layer(
    adata: AnnData, train: Any, tmp_path: Path, has_labels: bool
) -> None:
    adata.layers["counts"] = adata.X.copy()
    adata.X = adata.X * 2
    setup = {"categorical_keys": ["task_0"], "layer": "counts"}
    model = train(adata, setup=setup, n_genes=4)
    model.save(tmp_path / "scvi", format="scvi")
    other = adata.copy()
    if not has_labels:
        del other.obs["task_0"]
    loaded = yt.model.YOTO.load(tmp_path / "scvi", other, accelerator="cpu", format="scvi")
    pd.testing.assert_frame_equal(loaded.predict(), model.predict())
    with pytest.raises(ValueError, match="The model is trained"):
        loaded.train(2, **QUICK)


def test_an_open_range_is_saved(adata: AnnData, train: Any, tmp_path: Path) -> None:
    model = train(adata, mean_range=(0.0, np.inf))
    model.save(tmp_path / "model")
    loaded = yt.model.YOTO.load(tmp_path / "model", accelerator="cpu")
    assert loaded.panel() == model.panel()
