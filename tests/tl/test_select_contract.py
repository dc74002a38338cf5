"""`tl.select` writes what it documents, exactly that, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anndata
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
import scipy.sparse as sp
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    confusion_matrix,
    f1_score,
    log_loss,
    r2_score,
    root_mean_squared_error,
)

import yoto_sc as yt

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from anndata import AnnData

    Select = Callable[..., AnnData | None]
    StateOf = Callable[[AnnData], dict[tuple[str, ...], str]]

TASKS = {"categorical_keys": ["task_0", "task_1"], "continuous_keys": ["score_0"]}


def genes_of(adata: AnnData, key: str = "yoto") -> list[str]:
    return list(adata.var_names[adata.var[f"{key}_selected"]])


@pytest.fixture
def easy(adata: AnnData) -> AnnData:
    """Data with a label that ``gene_0007`` alone tells without error."""
    adata.var_names = [f"gene_{i:04d}" for i in range(adata.n_vars)]
    counts = adata.X.toarray()
    adata.obs["label"] = np.resize(["a", "b"], adata.n_obs)
    counts[:, 7] = np.where(adata.obs["label"] == "a", 30, 0)
    adata.X = sp.csr_matrix(counts)
    return adata


# ---- what is written


def test_writes_what_is_documented(
    selected: AnnData, adata: AnnData, state_of: StateOf, assert_contract: Callable[..., None]
) -> None:
    assert_contract(state_of(adata), selected, 6, **TASKS)


def test_names_and_shapes_are_the_documented_ones(selected: AnnData) -> None:
    added_obs = {
        "yoto_task_0": "category",
        "yoto_task_0_confidence": "float32",
        "yoto_task_1": "category",
        "yoto_task_1_confidence": "float32",
        "yoto_score_0": "float32",
    }
    assert {c: str(selected.obs[c].dtype) for c in selected.obs if c.startswith("yoto")} == (
        added_obs
    )
    assert {c: str(selected.var[c].dtype) for c in selected.var if c.startswith("yoto")} == {
        "yoto_selected": "bool",
        "yoto_rank": "Int64",
        "yoto_score": "float32",
    }
    assert selected.obsm["X_yoto"].shape[0] == selected.n_obs


def test_nothing_of_scvi_is_left(selected: AnnData) -> None:
    names = [*selected.obs, *selected.var, *selected.uns, *selected.obsm, *selected.layers]
    assert not [name for name in names if "scvi" in name]


def test_every_entry_of_a_full_object_is_kept(
    adata: AnnData, select: Select, state_of: StateOf, assert_contract: Callable[..., None]
) -> None:
    rng = np.random.default_rng(0)
    adata.X = np.asfortranarray(adata.X.toarray())  # scvi-tools reorders such a matrix in place
    adata.layers["counts"] = sp.csc_matrix(adata.X)
    adata.obsm["X_pca"] = rng.normal(size=(adata.n_obs, 3))
    adata.varm["PCs"] = rng.normal(size=(adata.n_vars, 3))
    adata.obsp["distances"] = sp.eye(adata.n_obs, format="csr")
    adata.varp["near"] = sp.eye(adata.n_vars, format="csr")
    adata.uns["task_0_colors"] = ["red", "green", "blue", "black"]
    adata.uns["nested"] = {"a": {"b": np.arange(3)}}
    adata.obs["note"] = [{"any": 1}] * adata.n_obs
    adata.raw = adata.copy()
    before, matrix = state_of(adata), adata.X
    assert select(adata) is None
    assert adata.X is matrix
    assert_contract(before, adata, 6, **TASKS)


def test_nothing_is_printed_and_no_file_is_left(
    adata: AnnData,
    select: Select,
    capfd: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    select(adata, max_steps=3)
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")


def test_progress_is_shown_when_asked_for(
    adata: AnnData, select: Select, capfd: pytest.CaptureFixture[str]
) -> None:
    select(adata, max_steps=3, progress_bar=True)
    assert "3/3" in "".join(capfd.readouterr())


# ---- sizes and ranks


@pytest.mark.parametrize("n_genes", [1, 2, 50, np.int64(3)])
def test_exactly_n_genes(
    adata: AnnData,
    select: Select,
    state_of: StateOf,
    assert_contract: Callable[..., None],
    n_genes: int,
) -> None:
    before = state_of(adata)
    select(adata, n_genes, max_steps=4)
    assert_contract(before, adata, n_genes, **TASKS)


def test_auto_takes_a_size_from_the_path(
    adata: AnnData, select: Select, state_of: StateOf, assert_contract: Callable[..., None]
) -> None:
    before = state_of(adata)
    select(adata, "auto", max_steps=40)
    assert_contract(before, adata, "auto", **TASKS)
    size = int(adata.var["yoto_selected"].sum())
    assert adata.uns["yoto"]["params"]["n_genes"] == size
    # The smallest size within a standard error of the best: no smaller one scores higher.
    path = adata.uns["yoto"]["path"]
    mean = path[path["n_genes"] <= 50].groupby("n_genes")["score"].mean()
    assert size in mean.index
    assert mean[mean.index < size].max() <= mean[size] if size > mean.index.min() else True


def test_ranks_are_na_for_genes_that_are_no_candidates(adata: AnnData, select: Select) -> None:
    adata.var["highly_variable"] = np.arange(adata.n_vars) % 2 == 0
    select(adata, candidates="highly_variable", max_steps=4)
    np.testing.assert_array_equal(adata.var["yoto_rank"].notna(), adata.var["highly_variable"])
    assert adata.var["yoto_rank"].max() == adata.var["highly_variable"].sum()


def test_screened_out_genes_are_ranked_behind_the_candidates(
    adata: AnnData,
    select: Select,
    state_of: StateOf,
    assert_contract: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("yoto_sc.train._start._N_CANDIDATES", 12)
    before = state_of(adata)
    select(adata, max_steps=4)
    assert_contract(before, adata, 6, **TASKS)


def test_path_covers_sizes_down_to_one_gene(selected: AnnData) -> None:
    path = selected.uns["yoto"]["path"]
    assert path.groupby("n_genes")["task"].apply(set).eq({"task_0", "task_1", "score_0"}).all()
    assert {1, 6} <= set(path["n_genes"])
    assert path["n_genes"].max() == selected.var["yoto_rank"].max()
    assert set(path.loc[path["n_genes"] <= 6, "predictor"]) == {"network"}
    assert set(path.loc[path["n_genes"] > 6, "predictor"]) == {"ridge"}
    assert path["score"].le(1).all()
    assert set(path.loc[path["task"] == "score_0", "metric"]) == {"r2"}
    assert set(path.loc[path["task"] == "task_0", "metric"]) == {"macro_f1"}


def test_history_ends_at_the_panel(selected: AnnData) -> None:
    history = selected.uns["yoto"]["history"]
    assert history["n_genes"].iloc[-1] == 6
    assert history["n_genes"].iloc[0] > 6
    assert np.isfinite(history[["train_loss", "validation_loss"]].to_numpy(float)).all()


@pytest.mark.parametrize("max_steps", [1, 30, 79])
def test_trains_for_max_steps(
    adata: AnnData, select: Select, max_steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from scvi.train import Trainer

    trainers = []
    fit = Trainer.fit
    monkeypatch.setattr(
        Trainer, "fit", lambda self, *a, **k: (trainers.append(self), fit(self, *a, **k))[1]
    )
    select(adata, max_steps=max_steps)
    assert trainers[0].global_step == max_steps


# ---- rules on genes


def test_include_and_exclude(
    adata: AnnData, select: Select, state_of: StateOf, assert_contract: Callable[..., None]
) -> None:
    uninformative = adata.var_names[adata.var["task"] == ""]
    include = list(uninformative[:3])
    exclude = list(adata.var_names[adata.var["informative"]][:4])
    before = state_of(adata)
    select(adata, include=include, exclude=exclude)
    allowed = ~adata.var_names.isin(exclude)
    assert_contract(before, adata, 6, **TASKS, allowed=allowed, include=include)


def test_included_genes_alone_fill_the_panel(adata: AnnData, select: Select) -> None:
    include = list(adata.var_names[[3, 1, 2]])
    select(adata, 3, include=[*include, include[0]], max_steps=4)
    assert set(genes_of(adata)) == set(include)


def test_include_reaches_beyond_the_candidates(adata: AnnData, select: Select) -> None:
    names = list(adata.var_names)
    select(adata, 4, include=names[:1], candidates=names[10:20], max_steps=4)
    assert names[0] in genes_of(adata)
    assert set(adata.var_names[adata.var["yoto_rank"].notna()]) == {names[0], *names[10:20]}


def test_auto_stops_at_one_gene_that_tells_all(easy: AnnData, select: Select) -> None:
    select(easy, "auto", categorical_keys=["label"], max_steps=60)
    assert int(easy.var["yoto_selected"].sum()) < 10
    assert "gene_0007" in genes_of(easy)
    assert (easy.obs["yoto_label"] == easy.obs["label"]).mean() > 0.9


def test_auto_keeps_included_genes(easy: AnnData, select: Select) -> None:
    include = [f"gene_{i:04d}" for i in range(20, 45)]
    select(easy, "auto", categorical_keys=["label"], include=include, max_steps=60)
    assert set(include) <= set(genes_of(easy))


def test_exclude_takes_patterns(adata: AnnData, select: Select) -> None:
    adata.var_names = [
        *("MT-CO1", "MT-ND2", "RPS4", "RPL7", "RPA1", "mt-Co1", "HLA-A", "X[1]"),
        *adata.var_names[8:],
    ]
    select(adata, 40, exclude=["MT-*", "RP[SL]*", "HLA-?", "X[1]"], max_steps=4)
    gone = set(adata.var_names[adata.var["yoto_rank"].isna()])
    assert gone == {"MT-CO1", "MT-ND2", "RPS4", "RPL7", "HLA-A", "X[1]"}


def test_a_single_name_is_a_list_of_one(adata: AnnData, select: Select) -> None:
    listed = adata.copy()
    gene, other = adata.var_names[:2]
    select(adata, categorical_keys="task_0", include=gene, exclude=other, max_steps=4)
    select(listed, categorical_keys=["task_0"], include=[gene], exclude=[other], max_steps=4)
    pd.testing.assert_frame_equal(adata.var, listed.var)
    assert gene in genes_of(adata)


@pytest.mark.parametrize("make", [tuple, pd.Index, np.array, pd.Series], ids=lambda m: m.__name__)
def test_any_list_of_names_will_do(adata: AnnData, select: Select, make: Any) -> None:
    listed = adata.copy()
    names = list(adata.var_names)
    keys = {"categorical_keys": ["task_0"], "include": names[:2], "exclude": names[2:4]}
    keys["candidates"] = names[5:20]
    select(adata, **{name: make(value) for name, value in keys.items()}, max_steps=4)
    select(listed, **keys, max_steps=4)
    pd.testing.assert_frame_equal(adata.var, listed.var)


# ---- copy, key_added, several selections


def test_copy_returns_a_changed_copy(
    adata: AnnData,
    selected: AnnData,
    select: Select,
    state_of: StateOf,
    assert_contract: Callable[..., None],
) -> None:
    before = state_of(adata)
    result = select(adata, copy=True)
    assert state_of(adata) == before
    assert_contract(before, result, 6, **TASKS)
    assert not np.shares_memory(result.X.data, adata.X.data)
    assert state_of(result) == state_of(selected)


def test_selections_stand_side_by_side(
    selected: AnnData, select: Select, state_of: StateOf, assert_contract: Callable[..., None]
) -> None:
    before = state_of(selected)
    select(selected, 3, categorical_keys=["task_1"], key_added="small", max_steps=4)
    assert_contract(before, selected, 3, categorical_keys=["task_1"], key_added="small")
    assert "X_small" in selected.obsm
    assert len(genes_of(selected)) == 6
    assert yt.Panel.from_adata(selected, "small").n_genes == 3


def test_a_second_selection_replaces_the_first(
    selected: AnnData, select: Select, state_of: StateOf, assert_contract: Callable[..., None]
) -> None:
    before = state_of(selected)
    select(selected, 3, max_steps=4)
    assert_contract(before, selected, 3, **TASKS)


# ---- labels


def test_held_out_groups_give_the_metrics(make_adata: Callable[..., AnnData], train: Any) -> None:
    adata = make_adata(n_donors=5)
    model = train(adata, setup={**TASKS, "split_key": "donor"}, train_kwargs={"max_steps": 4})
    held_out = set(adata.obs["donor"].iloc[model.validation_indices])
    assert not held_out & set(adata.obs["donor"].iloc[model.train_indices])
    n_cells = adata.obs.loc[adata.obs["donor"].isin(held_out), list(model.metrics.index)].count()
    np.testing.assert_array_equal(model.metrics["n_cells"], n_cells)


def test_metrics_of_a_split_by_group_are_of_whole_groups(
    make_adata: Callable[..., AnnData], select: Select
) -> None:
    adata = make_adata(n_donors=4, missing=0)
    # Sizes that tell the groups, and sums of groups, apart.
    adata.obs["donor"] = np.repeat(["a", "b", "c", "d"], [20, 33, 47, 60])
    select(adata, split_key="donor", max_steps=4)
    n_cells = adata.uns["yoto"]["metrics"]["n_cells"]
    possible = {20, 33, 47, 60, 20 + 33, 20 + 47, 33 + 47, 20 + 60}
    assert n_cells.nunique() == 1
    assert n_cells.iloc[0] in possible
    assert adata.uns["yoto"]["params"]["split_key"] == "donor"


def test_groups_may_be_missing_or_numbers(adata: AnnData, select: Select) -> None:
    adata.obs["patient"] = np.where(np.arange(adata.n_obs) < 30, np.nan, np.arange(160) % 3)
    select(adata, split_key="patient", max_steps=4)
    assert adata.uns["yoto"]["metrics"]["n_cells"].between(1, 50).all()


def test_unlabeled_categories_count_as_missing(adata: AnnData, select: Select) -> None:
    named = adata.copy()
    for key in ("task_0", "task_1"):
        column = adata.obs[key].cat.add_categories(["Unknown"])
        named.obs[key] = column.fillna("Unknown")
    select(adata, max_steps=4)
    select(named, max_steps=4, unlabeled=["Unknown"])
    pd.testing.assert_frame_equal(adata.var, named.var)
    for key in ("yoto_task_0", "yoto_task_1", "yoto_task_0_confidence", "yoto_score_0"):
        pd.testing.assert_series_equal(adata.obs[key], named.obs[key])


def test_categories_keep_their_order(adata: AnnData, select: Select) -> None:
    order = ["class_2", "Unknown", "class_0", "unused", "class_3", "class_1"]
    adata.obs["task_0"] = adata.obs["task_0"].astype(object).fillna("Unknown")
    adata.obs["task_0"] = pd.Categorical(adata.obs["task_0"], categories=order)
    select(adata, categorical_keys="task_0", unlabeled="Unknown", max_steps=4)
    predicted = adata.obs["yoto_task_0"].cat.categories
    assert list(predicted) == ["class_2", "class_0", "class_3", "class_1"]


@pytest.mark.parametrize(
    ("key", "missing"),
    [
        *(("task_0", missing) for missing in (None, np.nan, pd.NA, pd.NaT, np.float32("nan"))),
        *(("score_0", missing) for missing in (None, np.nan, pd.NA, np.float32("nan"))),
    ],
)
def test_missing_labels_of_all_kinds(
    adata: AnnData, select: Select, missing: Any, key: str
) -> None:
    plain = adata.copy()
    adata.obs[key] = pd.Series(
        [missing if pd.isna(v) else v for v in adata.obs[key]], index=adata.obs_names, dtype=object
    )
    kind = "categorical_keys" if key == "task_0" else "continuous_keys"
    select(adata, **{kind: key}, max_steps=3)
    select(plain, **{kind: key}, max_steps=3)
    pd.testing.assert_series_equal(adata.obs[f"yoto_{key}"], plain.obs[f"yoto_{key}"])


@pytest.mark.parametrize(
    ("dtype", "values"),
    [
        ("Int64", [3, 1, 2]),
        ("int8", [3, 1, 2]),
        ("boolean", [True, False, True]),
        ("bool", [True, False, True]),
        ("string", ["b", "a", "ä"]),
        ("float32", [0.5, 1.5, 2.5]),
        ("Float64", [0.5, 1.5, 2.5]),
        ("category", [3, 1, 2]),
    ],
)
def test_classes_of_any_dtype(
    adata: AnnData,
    select: Select,
    state_of: StateOf,
    assert_contract: Callable[..., None],
    dtype: str,
    values: list[Any],
) -> None:
    codes = adata.obs["task_1"].cat.codes.to_numpy()
    adata.obs["label"] = pd.Series(np.array(values)[codes], index=adata.obs_names).astype(dtype)
    if dtype[0].isupper() or dtype in {"boolean", "string", "category"}:
        adata.obs.loc[codes < 0, "label"] = pd.NA
    before = state_of(adata)
    select(adata, categorical_keys=["label"], max_steps=3)
    assert_contract(before, adata, 6, categorical_keys=["label"])
    kinds = {type(value) for value in values}
    assert {type(c) for c in adata.obs["yoto_label"].cat.categories.tolist()} == kinds


@pytest.mark.parametrize("dtype", ["float64", "float32", "int64", "Float64", "Int64", "object"])
def test_numbers_of_any_dtype(adata: AnnData, select: Select, dtype: str) -> None:
    adata.obs["number"] = pd.Series(np.arange(160) % 7, adata.obs_names).astype(dtype)
    select(adata, continuous_keys="number", max_steps=3)
    assert adata.obs["yoto_number"].dtype == np.float32
    assert adata.obs["yoto_number"].between(-10, 20).all()


@pytest.mark.parametrize("scale", [1e-30, 1e-6, 1e6, 1e30])
def test_numbers_of_any_scale(adata: AnnData, select: Select, scale: float) -> None:
    adata.obs["number"] = adata.obs["score_0"].astype(float) * scale
    select(adata, continuous_keys="number")
    select(adata, continuous_keys="score_0", key_added="plain")
    assert np.isfinite(adata.obs["yoto_number"]).all()
    expected = adata.obs["plain_score_0"].astype(float)
    correlation = np.corrcoef(adata.obs["yoto_number"].astype(float) / scale, expected)[0, 1]
    assert correlation > 0.9


@pytest.mark.parametrize("n_labelled", [3, 4])
def test_auto_where_hardly_anything_can_be_judged(
    adata: AnnData,
    select: Select,
    state_of: StateOf,
    assert_contract: Callable[..., None],
    n_labelled: int,
) -> None:
    labels = np.full(adata.n_obs, None, dtype=object)
    labels[:n_labelled] = np.resize(["a", "b"], n_labelled)
    adata.obs["label"] = labels
    before = state_of(adata)
    try:
        select(adata, "auto", categorical_keys=["label"], max_steps=3)
    except ValueError as error:
        refusal = str(error)
        assert state_of(adata) == before, refusal
        return
    assert_contract(before, adata, "auto", categorical_keys=["label"])


@pytest.mark.parametrize("name", ["cell.type", "cell/type", "Zelltyp ä 细胞", " ", "0", "X"])
def test_column_names_with_any_character(adata: AnnData, select: Select, name: str) -> None:
    adata.obs[name] = adata.obs["task_0"]
    select(adata, categorical_keys=[name], max_steps=2)
    assert adata.obs[f"yoto_{name}"].notna().all()
    assert adata.obs[f"yoto_{name}_confidence"].notna().all()


def test_a_class_with_a_single_cell_is_learned(adata: AnnData, select: Select) -> None:
    labels = adata.obs["task_0"].astype(object)
    labels.iloc[7] = "rare"
    adata.obs["task_0"] = labels
    select(adata, categorical_keys="task_0", max_steps=4)
    assert "rare" in adata.obs["yoto_task_0"].cat.categories
    # It has no second cell to be judged on, so it stays among the training cells.
    assert "rare" not in set(adata.uns["yoto"]["confusion"]["observed"])


def test_constant_genes_empty_cells_and_unused_categories(
    adata: AnnData, select: Select, state_of: StateOf, assert_contract: Callable[..., None]
) -> None:
    counts = adata.X.toarray()
    counts[:, 0], counts[:, 1], counts[:4] = 0, 7, 0
    adata.X = sp.csr_matrix(counts)
    adata.obs["task_0"] = adata.obs["task_0"].cat.add_categories(["never seen"])
    before = state_of(adata)
    select(adata)
    assert_contract(before, adata, 6, **TASKS)
    assert not set(adata.var_names[:2]) & set(genes_of(adata))


def test_a_cell_without_any_label_gets_predictions(adata: AnnData, select: Select) -> None:
    adata.obs.loc[adata.obs_names[:50], ["task_0", "task_1", "score_0"]] = None
    select(adata, max_steps=3)
    assert adata.obs.filter(like="yoto").notna().all().all()


def test_tiny_data(select: Select, state_of: StateOf, assert_contract: Any) -> None:
    adata = sc.AnnData(np.array([[0, 1], [1, 0], [2, 0]], dtype=np.float32))
    adata.obs["label"] = ["a", "b", "b"]
    before = state_of(adata)
    select(adata, 1, categorical_keys=["label"], max_steps=3)
    assert_contract(before, adata, 1, categorical_keys=["label"])


# ---- what the results are good for


def test_confidence_is_the_probability_of_the_predicted_class(
    adata: AnnData, selected: AnnData, train: Callable[..., Any]
) -> None:
    model = train(adata)
    for task, probabilities in model.predict_proba().items():
        np.testing.assert_array_equal(
            selected.obs[f"yoto_{task}_confidence"], probabilities.max(axis=1)
        )
        assert list(selected.obs[f"yoto_{task}"]) == list(probabilities.idxmax(axis=1))
    np.testing.assert_array_equal(selected.obs["yoto_score_0"], model.predict()["score_0"])
    np.testing.assert_array_equal(selected.obsm["X_yoto"], model.get_latent_representation())


def test_metrics_equal_those_of_sklearn(adata: AnnData, model: Any) -> None:
    held_out = model.validation_indices
    assert len(held_out) >= 10
    obs = adata.obs.iloc[held_out]
    predictions, probabilities = model.predict().iloc[held_out], model.predict_proba()
    for task in ("task_0", "task_1"):
        known = obs[task].notna().to_numpy()
        true, predicted = obs[task][known].astype(str), predictions[task][known].astype(str)
        proba = probabilities[task].iloc[held_out][known]
        row = model.metrics.loc[task]
        seen = sorted(set(true))
        assert row["n_cells"] == known.sum()
        assert row["accuracy"] == pytest.approx(accuracy_score(true, predicted))
        assert row["balanced_accuracy"] == pytest.approx(
            np.mean([(predicted[true == c] == c).mean() for c in seen])
        )
        if set(predicted) <= set(seen):
            assert row["balanced_accuracy"] == pytest.approx(
                balanced_accuracy_score(true, predicted)
            )
        f1 = f1_score(true, predicted, average="macro", labels=seen, zero_division=0)
        assert row["macro_f1"] == pytest.approx(f1)
        exact = proba.to_numpy(float) / proba.to_numpy(float).sum(axis=1, keepdims=True)
        expected = log_loss(true, exact, labels=list(proba.columns))
        assert row["log_loss"] == pytest.approx(expected, rel=1e-4)
        assert np.isnan(row["r2"])
        classes = list(proba.columns)
        confusion = model.selection.confusion.query("task == @task")
        counts = confusion.pivot_table("n_cells", "observed", "predicted", fill_value=0)
        counts = counts.reindex(index=classes, columns=classes, fill_value=0)
        np.testing.assert_array_equal(counts, confusion_matrix(true, predicted, labels=classes))
    known = obs["score_0"].notna().to_numpy()
    true, predicted = obs["score_0"][known], predictions["score_0"][known]
    row = model.metrics.loc["score_0"]
    assert row["n_cells"] == known.sum()
    assert row["r2"] == pytest.approx(r2_score(true, predicted), rel=1e-5)
    assert row["rmse"] == pytest.approx(root_mean_squared_error(true, predicted), rel=1e-5)
    assert row["pearson_r"] == pytest.approx(np.corrcoef(true, predicted)[0, 1], rel=1e-5)
    assert np.isnan(row["macro_f1"])


def test_metrics_stand_on_the_path_at_the_panel_size(selected: AnnData) -> None:
    record = selected.uns["yoto"]
    here = record["path"].query("n_genes == 6").set_index("task")
    for task, row in here.iterrows():
        assert row["score"] == pytest.approx(record["metrics"].loc[task, row["metric"]])


def test_tasks_table_counts_labels(adata: AnnData, selected: AnnData) -> None:
    tasks = selected.uns["yoto"]["tasks"]
    assert tasks["n_observed"].to_dict() == adata.obs[list(tasks.index)].count().to_dict()
    assert (tasks["n_train"] + tasks["n_validation"] == tasks["n_observed"]).all()
    np.testing.assert_array_equal(
        tasks["n_validation"], selected.uns["yoto"]["metrics"]["n_cells"]
    )


def test_representation_serves_scanpy(selected: AnnData) -> None:
    # The defaults compile for 20 seconds, on the same input.
    quick = {"method": "gauss", "transformer": "sklearn"}
    sc.pp.neighbors(selected, use_rep="X_yoto", n_neighbors=5, **quick)
    assert selected.obsp["connectivities"].shape == (160, 160)


def test_predictions_use_the_panel_genes_only(
    adata: AnnData, selected: AnnData, model_dir: Path
) -> None:
    rest = ~adata.var_names.isin(genes_of(selected))
    counts = adata.X.toarray()
    counts[:, rest] = np.random.default_rng(1).permutation(counts[:, rest])
    adata.X = counts
    yt.tl.predict(adata, model_dir)
    for column in ("yoto_task_0", "yoto_task_0_confidence", "yoto_score_0"):
        pd.testing.assert_series_equal(adata.obs[column], selected.obs[column])
    np.testing.assert_array_equal(adata.obsm["X_yoto"], selected.obsm["X_yoto"])


# ---- where expression is read


def test_layer_is_read_in_place_of_x(adata: AnnData, selected: AnnData, select: Select) -> None:
    adata.layers["counts"] = adata.X
    adata.X = sp.csr_matrix(np.full(adata.shape, -1.0, dtype=np.float32))
    select(adata, layer="counts")
    pd.testing.assert_frame_equal(adata.var, selected.var)
    assert adata.uns["yoto"]["params"]["expression"] == "layers/counts"


def test_layer_is_read_where_x_is_none(adata: AnnData, selected: AnnData, select: Select) -> None:
    without = anndata.AnnData(
        None, obs=adata.obs, var=adata.var, layers={"counts": adata.X}, shape=adata.shape
    )
    select(without, layer="counts")
    pd.testing.assert_frame_equal(without.var, selected.var)
    assert without.X is None


def test_raw_is_read_where_x_is_scaled(
    select: Select, state_of: StateOf, assert_contract: Callable[..., None]
) -> None:
    adata = sc.datasets.pbmc68k_reduced()
    assert adata.X.min() < 0
    plain = yt.datasets.pbmc68k()
    before = state_of(adata)
    tasks = {"categorical_keys": ["bulk_labels", "phase"], "continuous_keys": ["S_score"]}
    for data in (adata, plain):
        select(data, 32, **tasks, max_steps=4)
    assert_contract(before, adata, 32, **tasks)
    assert adata.uns["yoto"]["params"]["expression"] == "raw"
    columns = ["yoto_selected", "yoto_rank", "yoto_score"]
    pd.testing.assert_frame_equal(adata.var[columns], plain.var[columns])
    pd.testing.assert_series_equal(adata.obs["yoto_S_score"], plain.obs["yoto_S_score"])


def test_raw_is_not_read_where_x_will_do(adata: AnnData, select: Select) -> None:
    adata.raw = adata.copy()
    select(adata, max_steps=2)
    assert adata.uns["yoto"]["params"]["expression"] == "X"


# ---- files


@pytest.mark.parametrize("format", ["h5ad", "zarr"])
def test_survives_a_file(
    selected: AnnData, tmp_path: Path, format: str, state_of: StateOf
) -> None:
    path = tmp_path / f"selected.{format}"
    getattr(selected, f"write_{format}")(path)
    back = getattr(anndata, f"read_{format}")(path)
    _assert_same_results(back, selected)
    # Once more: what was read can be written too.
    getattr(back, f"write_{format}")(tmp_path / f"again.{format}")


def _assert_same_results(back: AnnData, selected: AnnData) -> None:
    pd.testing.assert_frame_equal(back.var.filter(like="yoto"), selected.var.filter(like="yoto"))
    pd.testing.assert_frame_equal(back.obs.filter(like="yoto"), selected.obs.filter(like="yoto"))
    np.testing.assert_array_equal(back.obsm["X_yoto"], selected.obsm["X_yoto"])
    ours, theirs = selected.uns["yoto"], back.uns["yoto"]
    assert theirs.keys() == ours.keys()
    for name, table in ours.items():
        if name in ("params", "assay_summary"):
            continue
        loose = {"check_dtype": False, "check_categorical": False, "check_index_type": False}
        pd.testing.assert_frame_equal(
            theirs[name].astype(dict.fromkeys(table.select_dtypes(object), object)), table, **loose
        )
    for entry in ("params", "assay_summary"):
        for name, value in ours[entry].items():
            assert np.array_equal(theirs[entry][name], value), name
    assert yt.Panel.from_adata(back).genes == yt.Panel.from_adata(selected).genes


def test_every_argument_survives_a_file(adata: AnnData, select: Select, tmp_path: Path) -> None:
    adata.obs["stage"] = np.arange(160) % 3
    select(
        adata,
        np.int64(5),
        categorical_keys=("task_0", "stage"),
        split_key="donor",
        include=adata.var_names[:2],
        exclude=["gene_001*"],
        candidates=list(adata.var_names[:40]),
        unlabeled=[2, "class_3"],
        random_state=np.int64(3),
        max_steps=3,
    )
    adata.write_h5ad(tmp_path / "all.h5ad")
    back = anndata.read_h5ad(tmp_path / "all.h5ad")
    _assert_same_results(back, adata)
    assert list(back.obs["yoto_stage"].cat.categories) == [0, 1]


def test_params_are_plain(selected: AnnData) -> None:
    params = selected.uns["yoto"]["params"]
    assert params["n_genes"] == 6
    assert params["random_state"] == 0
    assert list(params["categorical_keys"]) == ["task_0", "task_1"]
    for value in params.values():
        assert type(value) in {int, str, bool, float, list}
        assert not isinstance(value, list) or {type(entry) for entry in value} <= {str, int}


def test_works_in_a_thread(adata: AnnData, selected: AnnData, select: Select) -> None:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as pool:
        pool.submit(select, adata).result()
    pd.testing.assert_frame_equal(adata.var, selected.var)
