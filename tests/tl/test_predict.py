"""`tl.predict` needs the panel's genes and nothing else, from any object and any process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
import scanpy as sc
import scipy.sparse as sp
import torch
from anndata import AnnData
from sklearn.metrics import f1_score
from torch.nn import functional as F

import yoto_sc as yt

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    AssertSame = Callable[..., None]


@pytest.fixture
def predicted(adata: AnnData, model: Any) -> AnnData:
    """The model's own data with predictions from all genes in their order."""
    yt.tl.predict(adata, model)
    return adata


@pytest.fixture
def panel_only(make_adata: Callable[..., AnnData], model: Any) -> AnnData:
    """The same cells with the panel's genes alone, and without labels."""
    adata = make_adata()
    return AnnData(
        adata[:, model.panel().genes].X.copy(),
        obs=pd.DataFrame(index=adata.obs_names),
        var=pd.DataFrame(index=model.panel().genes),
    )


def test_writes_predictions_only(
    make_adata: Callable[..., AnnData], model: Any, state_of: Callable[..., Any]
) -> None:
    adata = make_adata()
    before = state_of(adata)
    assert yt.tl.predict(adata, model) is None
    after = state_of(adata)
    columns = ["task_0", "task_0_confidence", "task_1", "task_1_confidence", "score_0"]
    expected = {("obs", "column", f"yoto_{column}") for column in columns}
    expected |= {("obsm", "X_yoto"), ("uns", "yoto")}
    assert after.keys() - before.keys() == expected
    assert {at: after[at] for at in before} == before
    assert adata.obs["yoto_task_0_confidence"].between(0.25, 1).all()


def test_same_as_after_selection(
    adata: AnnData, selected: AnnData, model_dir: Path, assert_same_predictions: AssertSame
) -> None:
    yt.tl.predict(adata, str(model_dir))
    assert_same_predictions(adata, selected)


def test_panel_genes_alone(
    panel_only: AnnData, predicted: AnnData, model: Any, assert_same_predictions: AssertSame
) -> None:
    yt.tl.predict(panel_only, model)
    assert_same_predictions(panel_only, predicted)


@pytest.mark.parametrize("seed", range(3))
def test_genes_in_any_order(
    panel_only: AnnData,
    predicted: AnnData,
    model: Any,
    seed: int,
    assert_same_predictions: AssertSame,
) -> None:
    order = np.random.default_rng(seed).permutation(panel_only.n_vars)
    shuffled = panel_only[:, order].copy()
    yt.tl.predict(shuffled, model)
    assert_same_predictions(shuffled, predicted)


def test_genes_the_model_never_saw(
    panel_only: AnnData, predicted: AnnData, model: Any, assert_same_predictions: AssertSame
) -> None:
    noise = np.full((panel_only.n_obs, 3), np.nan)  # not even looked at
    more = AnnData(
        np.hstack([noise, panel_only.X.toarray()[:, ::-1]]),
        obs=panel_only.obs,
        var=pd.DataFrame(index=["new_1", "new_2", "new_3", *panel_only.var_names[::-1]]),
    )
    yt.tl.predict(more, model)
    assert_same_predictions(more, predicted)


@pytest.mark.parametrize(
    "make",
    [np.ascontiguousarray, np.asfortranarray, sp.csc_matrix, sp.csr_array],
    ids=["C", "F", "csc_matrix", "csr_array"],
)
@pytest.mark.parametrize("dtype", ["float32", "int64"])
def test_any_format(
    panel_only: AnnData,
    predicted: AnnData,
    model: Any,
    make: Callable[[np.ndarray], Any],
    dtype: str,
    assert_same_predictions: AssertSame,
) -> None:
    panel_only.X = make(panel_only.X.toarray().astype(dtype))
    yt.tl.predict(panel_only, model)
    assert_same_predictions(panel_only, predicted)


def test_another_layer(
    panel_only: AnnData, predicted: AnnData, model: Any, assert_same_predictions: AssertSame
) -> None:
    panel_only.layers["counts"] = panel_only.X
    panel_only.X = sp.csr_matrix(panel_only.shape, dtype=np.float32)
    yt.tl.predict(panel_only, model, layer="counts")
    assert_same_predictions(panel_only, predicted)


def test_cells_one_by_one(panel_only: AnnData, predicted: AnnData, model: Any) -> None:
    some = panel_only[[5, 99]].copy()
    yt.tl.predict(some, model)
    assert list(some.obs["yoto_task_0"]) == list(predicted.obs["yoto_task_0"].iloc[[5, 99]])
    np.testing.assert_allclose(
        some.obs["yoto_task_0_confidence"],
        predicted.obs["yoto_task_0_confidence"].iloc[[5, 99]],
        rtol=1e-5,
    )


def test_many_cells(panel_only: AnnData, predicted: AnnData, model: Any) -> None:
    many = AnnData(
        sp.vstack([panel_only.X] * 30, format="csr"),
        obs=pd.DataFrame(index=[f"c{i}" for i in range(30 * panel_only.n_obs)]),
        var=panel_only.var,
    )
    yt.tl.predict(many, model)
    assert list(many.obs["yoto_task_0"]) == list(predicted.obs["yoto_task_0"]) * 30


@pytest.mark.parametrize("k", [1, 2, 5])
def test_best_genes_alone(
    panel_only: AnnData, adata: AnnData, model: Any, k: int, assert_same_predictions: AssertSame
) -> None:
    best = panel_only[:, model.panel(k).genes].copy()
    yt.tl.predict(best, model, n_genes=k)
    yt.tl.predict(adata, model, n_genes=k)
    assert_same_predictions(best, adata)
    # The genes behind the first k are not read.
    changed = panel_only.copy()
    rest = ~changed.var_names.isin(model.panel(k).genes)
    counts = changed.X.toarray()
    counts[:, rest] += 5
    changed.X = counts
    yt.tl.predict(changed, model, n_genes=k)
    assert_same_predictions(changed, best)


def test_fewer_genes_tell_less(predicted: AnnData, adata: AnnData, model: Any) -> None:
    other = adata.copy()
    yt.tl.predict(other, model, n_genes=1)
    assert not np.array_equal(other.obsm["X_yoto"], predicted.obsm["X_yoto"])
    # From one gene, only as many different predictions as it has values.
    values = np.unique(other[:, model.panel(1).genes].X.toarray())
    assert len(np.unique(other.obs["yoto_task_0_confidence"])) <= len(values)


def test_cells_that_express_nothing(panel_only: AnnData, model: Any) -> None:
    panel_only.X = np.zeros(panel_only.shape, dtype=np.float32)
    yt.tl.predict(panel_only, model)
    assert panel_only.obs["yoto_task_0_confidence"].nunique() == 1
    assert np.isfinite(panel_only.obsm["X_yoto"]).all()


def test_one_cell(panel_only: AnnData, model: Any) -> None:
    cell = panel_only[:1].copy()
    yt.tl.predict(cell, model)
    assert cell.obs["yoto_task_0"].notna().all()


def test_model_of_normalised_data_takes_whole_numbers(
    make_adata: Callable[..., AnnData], train: Callable[..., Any]
) -> None:
    adata = make_adata()
    adata.X = adata.X / 2
    model = train(adata.copy(), train_kwargs={"max_steps": 3})
    one_cell = adata[[int(np.argmax((adata.X.toarray() % 1).sum(axis=1) == 0))]].copy()
    whole = adata.copy()
    yt.tl.predict(whole, model)
    # Cells whose values happen to be integers are on the same scale.
    yt.tl.predict(one_cell, model)
    np.testing.assert_allclose(
        one_cell.obsm["X_yoto"], whole[one_cell.obs_names].obsm["X_yoto"], rtol=1e-5, atol=1e-6
    )


def test_labels_of_the_query_do_not_matter(
    panel_only: AnnData, predicted: AnnData, model: Any, assert_same_predictions: AssertSame
) -> None:
    panel_only.obs["task_0"] = "a type never seen"
    panel_only.obs["score_0"] = "no number"
    yt.tl.predict(panel_only, model)
    assert_same_predictions(panel_only, predicted)
    assert set(panel_only.obs["task_0"]) == {"a type never seen"}


def test_key_added_and_copy(
    panel_only: AnnData, predicted: AnnData, model: Any, state_of: Callable[..., Any]
) -> None:
    before = state_of(panel_only)
    result = yt.tl.predict(panel_only, model, key_added="new", copy=True)
    assert state_of(panel_only) == before
    assert "X_new" in result.obsm
    assert not [column for column in result.obs if column.startswith("yoto")]
    assert list(result.obs["new_task_1"]) == list(predicted.obs["yoto_task_1"])


@pytest.mark.parametrize("as_string", [True, False])
def test_model_in_memory_and_saved(
    panel_only: AnnData,
    predicted: AnnData,
    model: Any,
    tmp_path: Path,
    as_string: bool,
    assert_same_predictions: AssertSame,
) -> None:
    model.save(tmp_path / "model")
    path = tmp_path / "model"
    yt.tl.predict(panel_only, str(path) if as_string else path)
    assert_same_predictions(panel_only, predicted)


def test_another_process(
    adata: AnnData, elsewhere: Any, model_dir: Path, assert_same_predictions: AssertSame
) -> None:
    yt.tl.predict(adata, model_dir)
    assert_same_predictions(elsewhere.predicted, adata)


def test_prediction_is_repeatable(
    make_adata: Callable[..., AnnData],
    predicted: AnnData,
    model: Any,
    assert_same_predictions: Any,
) -> None:
    again = make_adata()
    yt.tl.predict(again, model)
    assert_same_predictions(again, predicted)


def test_raw_counts_serve_a_scaled_query(
    panel_only: AnnData, predicted: AnnData, model: Any, assert_same_predictions: AssertSame
) -> None:
    panel_only.raw = panel_only.copy()
    panel_only.X = panel_only.X.toarray() - 1
    yt.tl.predict(panel_only, model)
    assert_same_predictions(panel_only, predicted)


def test_cells_that_happen_not_to_be_negative_are_read_from_raw_too(tmp_path):
    """Where the model read raw, so do predictions, whatever the sign of the cells at hand."""
    adata = sc.datasets.pbmc68k_reduced()
    yt.tl.select(
        adata,
        4,
        categorical_keys="bulk_labels",
        max_steps=40,
        progress_bar=False,
        model_dir=tmp_path / "model",
    )
    best = yt.Panel.from_adata(adata).genes[0]
    some = adata[np.asarray(adata[:, best].X).ravel() >= 0].copy()
    whole = sc.datasets.pbmc68k_reduced()
    for query in (some, whole):
        yt.tl.predict(query, tmp_path / "model", n_genes=1, key_added="one")
    expected = whole.obs.loc[some.obs_names, "one_bulk_labels_confidence"]
    # as good as equal: the last bit depends on how many cells are multiplied at once
    np.testing.assert_allclose(some.obs["one_bulk_labels_confidence"], expected, rtol=1e-5)


def test_counts_are_no_normalised_expression(tmp_path):
    adata = yt.datasets.pbmc68k()
    yt.tl.select(
        adata,
        4,
        categorical_keys="bulk_labels",
        max_steps=4,
        progress_bar=False,
        model_dir=tmp_path / "model",
    )
    counts = yt.Panel.from_adata(adata).subset(adata)
    counts.X = counts.X.ceil() * 3
    with pytest.raises(ValueError, match="trained on normalised expression.*holds counts"):
        yt.tl.predict(counts, tmp_path / "model")


# --- layers ---


def in_layer(adata: AnnData) -> AnnData:
    """Move the counts to a layer; the genes of X, counts too, have their names exchanged."""
    adata.layers["counts"] = adata.X
    adata.X = adata.X[:, ::-1].copy()
    return adata


@pytest.fixture(scope="module")
def layered(
    make_adata: Callable[..., AnnData], select: Callable[..., Any], tmp_path_factory: Any
) -> tuple[AnnData, Path]:
    """Data after a selection on their layer, and its model; not to be changed."""
    adata, path = in_layer(make_adata()), tmp_path_factory.mktemp("layered") / "model"
    select(adata, layer="counts", model_dir=path)
    return adata, path


def test_the_layer_of_the_selection_is_read(
    adata: AnnData, layered: tuple[AnnData, Path], assert_same_predictions: AssertSame
) -> None:
    selected, path = layered
    yt.tl.predict(in_layer(adata), path)
    assert_same_predictions(adata, selected)
    loaded = yt.model.YOTO.load(path, accelerator="cpu")
    table = loaded.predict(adata)
    for task in table:
        assert list(table[task]) == list(selected.obs[f"yoto_{task}"])
    proba = loaded.predict_proba(adata)["task_0"].max(axis=1)
    np.testing.assert_array_equal(proba, selected.obs["yoto_task_0_confidence"])
    latent = loaded.get_latent_representation(adata)
    np.testing.assert_array_equal(latent, selected.obsm["X_yoto"])


def test_the_layer_of_a_model_in_memory_is_read(
    make_adata: Callable[..., AnnData], train: Callable[..., Any], quick_arguments: dict[str, Any]
) -> None:
    setup = {key: quick_arguments[key] for key in ("categorical_keys", "continuous_keys")}
    model = train(in_layer(make_adata()), setup={**setup, "layer": "counts"})
    adata = in_layer(make_adata())
    pd.testing.assert_frame_equal(model.predict(adata), model.predict())
    yt.tl.predict(adata, model)
    np.testing.assert_array_equal(adata.obsm["X_yoto"], model.get_latent_representation())


def test_a_layer_that_is_named_is_read_instead(
    adata: AnnData, layered: tuple[AnnData, Path], assert_same_predictions: AssertSame
) -> None:
    _, path = layered
    other = AnnData(in_layer(adata).X.copy(), obs=adata.obs.copy(), var=adata.var.copy())
    adata.layers["other"] = adata.X
    adata.X = None
    yt.tl.predict(adata, path, layer="other")
    yt.tl.predict(other, path)
    assert_same_predictions(adata, other)


def test_x_is_read_where_the_layer_is_missing_and_the_log_says_so(
    adata: AnnData,
    layered: tuple[AnnData, Path],
    assert_same_predictions: AssertSame,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A panel that was measured comes with its counts in X."""
    selected, path = layered
    measured = yt.Panel.from_adata(selected).subset(adata)
    with caplog.at_level("INFO"):
        yt.tl.predict(measured, path)
    assert_same_predictions(measured, selected)
    assert "counts" in caplog.text
    caplog.clear()
    with caplog.at_level("INFO"):
        yt.tl.predict(in_layer(adata), path)
    assert "counts" not in caplog.text


# --- genes that are not measured ---


def test_last_genes_missing_is_the_shorter_panel(
    panel_only: AnnData, model: Any, assert_same_predictions: AssertSame
) -> None:
    shorter = panel_only.copy()
    yt.tl.predict(shorter, model, n_genes=4)
    lacking = panel_only[:, model.panel(4).genes].copy()
    yt.tl.predict(lacking, model, missing="zero")
    assert_same_predictions(lacking, shorter)


@pytest.mark.parametrize("lost", [[0], [2], [1, 4]])
def test_missing_genes_are_blanked_for_the_network(
    panel_only: AnnData, model: Any, lost: list[int]
) -> None:
    """Recomputed by hand: nothing of the gene reaches the network, its `presence` included."""
    genes = model.panel().genes
    lacking = panel_only[:, [g for i, g in enumerate(genes) if i not in lost]].copy()
    proba = model.predict_proba(lacking, missing="zero")["task_0"]

    network, head = model.module.encoder, model.module.heads[0]
    kept = [i for i in range(len(genes)) if i not in lost]
    x = torch.from_numpy(np.log1p(panel_only.X.toarray()[:, kept]))
    x = ((x - network.mean[kept]) / network.scale[kept]).clamp(-10, 10)
    bias = network.bias + network.presence[:, kept].sum(1, keepdim=True)
    hidden = torch.einsum("ng,mgh->mnh", x, network.weight[:, kept]) + bias
    hidden = F.layer_norm(hidden, hidden.shape[-1:]) * network.gain + network.shift
    outputs = torch.einsum("mnh,mho->mno", F.gelu(hidden, approximate="tanh"), head.weight)
    outputs = outputs + torch.einsum("ng,mgo->mno", x, head.skip[:, kept]) + head.bias
    powers = outputs.softmax(-1).mean(0) ** (1 / head.temperature[len(kept) - 1])
    expected = (powers / powers.sum(1, keepdim=True)).detach()
    np.testing.assert_allclose(proba, expected, atol=1e-5)


def test_missing_genes_are_reported_with_what_they_cost(
    panel_only: AnnData, model: Any, caplog: pytest.LogCaptureFixture
) -> None:
    first = model.panel().genes[0]
    yt.tl.predict(panel_only[:, panel_only.var_names != first].copy(), model, missing="zero")
    (message,) = [record.getMessage() for record in caplog.records]
    assert f"lacks 1 of the 6 genes that the model reads: ['{first}']" in message
    # One gene alone: the estimate is what was measured, at most the whole panel's score.
    losses = model.selection.without.set_index(["gene", "task"])["loss"]
    whole = model.metrics.loc["task_0", "macro_f1"]
    expected = whole - max(0, losses[first, "task_0"])
    assert f"macro_f1 of task_0 from {whole:.3f} to {expected:.3f}" in message
    caplog.clear()
    few = panel_only[:, model.panel(2).genes[1:]].copy()
    yt.tl.predict(few, model, missing="zero", n_genes=2)
    assert "What that costs was not measured" in caplog.text


def test_loss_without_a_gene_is_that_of_the_held_out_cells(adata: AnnData, model: Any) -> None:
    """Where there are cells that the network has not seen, as without `refit`."""
    table = model.selection.without
    assert list(table.columns) == ["gene", "task", "metric", "loss"]
    assert list(table["gene"].unique()) == model.panel().genes
    gene = model.panel().genes[1]
    lacking = adata[model.validation_indices, adata.var_names != gene].copy()
    predicted = model.predict(lacking, missing="zero")["task_0"].astype(str)
    true = lacking.obs["task_0"]
    known = true.notna().to_numpy()
    score = f1_score(true[known].astype(str), predicted[known], average="macro", zero_division=0)
    row = table.query("gene == @gene and task == 'task_0'")
    whole = model.metrics.loc["task_0", "macro_f1"]
    assert row["loss"].item() == pytest.approx(whole - score)
    assert row["metric"].item() == "macro_f1"


@pytest.mark.parametrize("missing", ["error", "zero"])
def test_no_panel_gene_at_all(panel_only: AnnData, model: Any, missing: Any) -> None:
    panel_only.var_names = [f"other_{i}" for i in range(panel_only.n_vars)]
    with pytest.raises(KeyError, match="lacks all 6 genes"):
        yt.tl.predict(panel_only, model, missing=missing)
    assert panel_only.obs.empty


def test_missing_genes_that_go_by_another_name_are_told(panel_only: AnnData, model: Any) -> None:
    names = list(panel_only.var_names)
    panel_only.var_names = [name.upper() for name in names]
    with pytest.raises(
        KeyError, match=f"case differ for 6 of them, such as .* '{names[0].upper()}'"
    ):
        yt.tl.predict(panel_only, model)
    panel_only.var_names = ["x", *names[1:]]
    panel_only.var["feature_name"] = names
    with pytest.raises(KeyError, match="1 of them go by another name, such as .* is 'x' in adata"):
        yt.tl.predict(panel_only, model)


def test_missing_genes_are_an_error_that_names_them(panel_only: AnnData, model: Any) -> None:
    second = model.panel().genes[1]
    panel_only = panel_only[:, panel_only.var_names != second].copy()
    with pytest.raises(KeyError, match=rf"lacks 1 of the 6 .*{second}.*missing="):
        yt.tl.predict(panel_only, model)
    with pytest.raises(ValueError, match=r"missing must be one of .*'zero'.*not 'mean'"):
        yt.tl.predict(panel_only, model, missing="mean")


# --- confidence ---


@pytest.mark.parametrize("threshold", [0.0, 0.5, 0.7])
def test_no_label_below_min_confidence(
    panel_only: AnnData, predicted: AnnData, model: Any, threshold: float
) -> None:
    yt.tl.predict(panel_only, model, min_confidence=threshold)
    for task in ("task_0", "task_1"):
        confidence = predicted.obs[f"yoto_{task}_confidence"]
        np.testing.assert_array_equal(panel_only.obs[f"yoto_{task}_confidence"], confidence)
        labels, before = panel_only.obs[f"yoto_{task}"], predicted.obs[f"yoto_{task}"]
        assert list(labels.cat.categories) == list(before.cat.categories)
        np.testing.assert_array_equal(labels.isna(), confidence < threshold)
        assert (labels == before)[confidence >= threshold].all()
    np.testing.assert_array_equal(panel_only.obs["yoto_score_0"], predicted.obs["yoto_score_0"])


@pytest.mark.parametrize(
    ("value", "error"), [(1.0, ValueError), (-0.1, ValueError), ("x", TypeError)]
)
def test_min_confidence_out_of_range(
    panel_only: AnnData, model: Any, value: Any, error: type[Exception]
) -> None:
    with pytest.raises(error, match="min_confidence"):
        yt.tl.predict(panel_only, model, min_confidence=value)
    assert panel_only.obs.empty
