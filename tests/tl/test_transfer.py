"""`tl.transfer`: each of its scores is recomputed by hand, from the verbs that it stands for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import f1_score, r2_score

import yoto_sc as yt

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import anndata as ad

    MakeAssays = Callable[..., tuple[ad.AnnData, ad.AnnData]]

TASKS = {"categorical_keys": "task_0", "continuous_keys": "score_0"}
QUICK = {"max_steps": 150, "accelerator": "cpu", "progress_bar": False}


ASSAYS = {"n_informative": 12, "n_query": 400, "efficiency_sd": 1.2, "depth": 0.4, "missing": 0.1}


@pytest.fixture(scope="module")
def assays(make_assays: MakeAssays) -> tuple[ad.AnnData, ad.AnnData]:
    """A reference and a query with classes and numbers, a tenth of each without a label."""
    return make_assays(500, 60, **ASSAYS, n_continuous=1, random_state=2)


@pytest.fixture(scope="module")
def lists(assays: tuple[ad.AnnData, ad.AnnData]) -> dict[str, list[str]]:
    informative = list(assays[0].var_names[assays[0].var["informative"]])
    return {"all": informative, "few": informative[::2]}


@pytest.fixture(scope="module")
def table(assays: tuple[ad.AnnData, ad.AnnData], lists: dict[str, list[str]]) -> pd.DataFrame:
    return yt.tl.transfer(*assays, lists, **TASKS, **QUICK)


@pytest.fixture(scope="module")
def directory(
    assays: tuple[ad.AnnData, ad.AnnData],
    lists: dict[str, list[str]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """What the documentation says that is done for a list: a selection among its genes."""
    path = tmp_path_factory.mktemp("transfer") / "model"
    genes = lists["few"]
    arguments = {"candidates": genes, "group_key": None, "copy": True, "model_dir": path}
    yt.tl.select(assays[0], len(genes), **TASKS, **QUICK, **arguments)
    return path


def without_effort(*args: Any, **kwargs: Any) -> Any:
    raise AssertionError("Something was trained before the input was checked.")


@pytest.fixture
def no_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yt.model.YOTO, "train", without_effort)


def macro_f1(true: pd.Series, predicted: pd.Series) -> float:
    seen = true.notna()
    labels = sorted(true[seen].unique())
    true, predicted = true[seen].astype(str), predicted[seen].astype(str)
    return f1_score(true, predicted, average="macro", labels=labels)


def test_shape_and_order(table: pd.DataFrame, assays: tuple[ad.AnnData, ad.AnnData]) -> None:
    assert list(zip(table["panel"], table["task"], table["metric"], strict=True)) == [
        ("all", "task_0", "macro_f1"),
        ("all", "score_0", "r2"),
        ("few", "task_0", "macro_f1"),
        ("few", "score_0", "r2"),
    ]
    assert list(table["n_query"]) == [360] * 4
    assert list(table["n_genes"]) == [12, 12, 6, 6]
    assert table["n_classes"].tolist() == [4, pd.NA, 4, pd.NA]
    assert table["n_reference"].between(70, 100).all()


def test_falls_and_is_won_back(make_assays: MakeAssays) -> None:
    reference, query = make_assays(500, 60, **ASSAYS, random_state=0)
    genes = list(reference.var_names[reference.var["informative"]])
    row = yt.tl.transfer(
        reference, query, genes, categorical_keys="task_0", **{**QUICK, "max_steps": 400}
    ).iloc[0]
    assert row["reference"] > row["query"] + 0.1
    assert row["adapted"] > row["query"] + 0.01
    assert row["ceiling"] > row["query"]
    assert row["panel"] == ""


def test_scores_are_those_of_the_verbs(
    table: pd.DataFrame,
    assays: tuple[ad.AnnData, ad.AnnData],
    lists: dict[str, list[str]],
    directory: Path,
) -> None:
    reference, query = assays
    model = yt.model.YOTO.load(directory)
    ours = table[table["panel"] == "few"].set_index("task")
    assert ours.loc["task_0", "reference"] == pytest.approx(model.metrics["macro_f1"]["task_0"])
    assert ours.loc["score_0", "reference"] == pytest.approx(model.metrics["r2"]["score_0"])
    observed = reference.obs.loc[model.held_out.index]
    n_observed = observed[["task_0", "score_0"]].notna().sum()
    assert ours["n_reference"].tolist() == n_observed.tolist()
    for column, adapt in (("query", "none"), ("adapted", "auto")):
        labelled = yt.tl.predict(query, model, adapt=adapt, copy=True).obs
        is_told = labelled["yoto_task_0"].notna()
        untold = query[~is_told.to_numpy()].copy()
        if untold.n_obs:  # these are judged by what the network says
            said = model.label(query, adapt=adapt)[0].predictions[0].argmax(axis=1)
            codes = pd.Series(said, index=query.obs_names)[~is_told]
            classes = labelled["yoto_task_0"].cat.categories
            labelled.loc[~is_told, "yoto_task_0"] = classes[codes]
            numbers = model.label(query, adapt=adapt)[0].predictions[1]
            labelled["yoto_score_0"] = numbers
        f1 = macro_f1(query.obs["task_0"], labelled["yoto_task_0"])
        assert ours.loc["task_0", column] == pytest.approx(f1)
        seen = query.obs["score_0"].notna()
        r2 = r2_score(query.obs["score_0"][seen], labelled["yoto_score_0"][seen])
        assert ours.loc["score_0", column] == pytest.approx(r2, abs=1e-6)
    scores = yt.tl.evaluate(
        query, lists["few"], **TASKS, classifiers="logistic_regression", n_splits=5
    )
    for task, metric in (("task_0", "macro_f1"), ("score_0", "r2")):
        folds = scores[(scores["task"] == task) & (scores["metric"] == metric)]
        assert ours.loc[task, "ceiling"] == pytest.approx(folds["value"].mean())


def test_models_are_judged_as_they_are(
    table: pd.DataFrame,
    assays: tuple[ad.AnnData, ad.AnnData],
    directory: Path,
    no_training: None,
) -> None:
    models = {"path": directory, "object": yt.model.YOTO.load(directory)}
    found = yt.tl.transfer(*assays, models, **TASKS)
    expected = table[table["panel"] == "few"].drop(columns="panel").reset_index(drop=True)
    for name in models:
        one = found[found["panel"] == name].drop(columns="panel").reset_index(drop=True)
        pd.testing.assert_frame_equal(one, expected, rtol=1e-4)


def test_one_task_of_a_model(assays: tuple[ad.AnnData, ad.AnnData], directory: Path) -> None:
    found = yt.tl.transfer(*assays, directory, continuous_keys="score_0")
    assert found[["panel", "task"]].values.tolist() == [["", "score_0"]]
    with pytest.raises(KeyError, match=r"no task 'donor' of this kind.*'task_0': 'categorical'"):
        yt.tl.transfer(*assays, directory, categorical_keys="donor")
    with pytest.raises(KeyError, match="no task 'score_0' of this kind"):
        yt.tl.transfer(*assays, directory, categorical_keys="score_0")
    with pytest.raises(ValueError, match="lacks cells that the model of `genes` held out"):
        yt.tl.transfer(assays[0][:100].copy(), assays[1], directory, **TASKS)


def test_only_classes_of_both_count(
    assays: tuple[ad.AnnData, ad.AnnData], directory: Path
) -> None:
    """A class that the query lacks, and one that the reference lacks, change no score."""
    reference, query = assays[0], assays[1].copy()
    labels = query.obs["task_0"].astype(object)
    labels[labels == "class_0"] = None
    query.obs["task_0"] = labels
    without = yt.tl.transfer(reference, query, directory, categorical_keys="task_0").iloc[0]
    labels = labels.copy()
    labels[assays[1].obs["task_0"] == "class_0"] = "new"
    is_absent = (assays[1].obs["task_0"] == "class_0").to_numpy()
    labels.iloc[np.flatnonzero(is_absent)[0]] = "class_0"  # one is too few
    query.obs["task_0"] = labels
    new = yt.tl.transfer(reference, query, directory, categorical_keys="task_0").iloc[0]
    pd.testing.assert_series_equal(new, without)
    assert without["n_classes"] == 3
    assert without["n_query"] == labels.isin([f"class_{n}" for n in (1, 2, 3)]).sum()
    model = yt.model.YOTO.load(directory)
    observed = reference.obs["task_0"].loc[model.held_out.index].astype(object)
    observed[observed == "class_0"] = None
    assert without["n_reference"] == observed.notna().sum()
    assert without["reference"] == pytest.approx(macro_f1(observed, model.held_out["task_0"]))


def test_cells_without_a_label_only_take_part_in_the_alignment(
    assays: tuple[ad.AnnData, ad.AnnData], directory: Path
) -> None:
    reference, query = assays[0], assays[1].copy()
    arguments = {"categorical_keys": "task_0"}
    query.obs["task_0"] = query.obs["task_0"].cat.add_categories("?").fillna("?")
    named = yt.tl.transfer(reference, query, directory, **arguments, unlabeled="?")
    plain = yt.tl.transfer(reference, assays[1], directory, **arguments)
    pd.testing.assert_frame_equal(named, plain)
    labelled = assays[1][assays[1].obs["task_0"].notna().to_numpy()].copy()
    alone = yt.tl.transfer(reference, labelled, directory, **arguments)
    columns = ["reference", "query", "ceiling", "n_reference", "n_query"]
    pd.testing.assert_frame_equal(alone[columns], plain[columns])
    assert alone["adapted"].iloc[0] != plain["adapted"].iloc[0]


def test_nothing_is_written(
    assays: tuple[ad.AnnData, ad.AnnData],
    directory: Path,
    state_of: Callable[[ad.AnnData], dict[tuple[str, ...], str]],
) -> None:
    before = [state_of(adata) for adata in assays]
    genes = {"list": yt.Panel.from_genes(assays[0].var_names[:3]), "model": directory}
    yt.tl.transfer(*assays, genes, **TASKS, **{**QUICK, "max_steps": 10})
    assert [state_of(adata) for adata in assays] == before


def test_classes_may_be_numbers_and_expression_in_a_layer(
    assays: tuple[ad.AnnData, ad.AnnData], lists: dict[str, list[str]], tmp_path: Path
) -> None:
    both = []
    for adata in assays:
        changed = adata.copy()
        changed.obs["group"] = adata.obs["task_0"].cat.codes.replace(-1, 7)
        changed.layers["counts"] = changed.X.copy()
        changed.X = changed.X.multiply(0.3).tocsr()
        both.append(changed)
    arguments = {"categorical_keys": "group", "unlabeled": [7]}
    quick = {**QUICK, "max_steps": 20}
    one = yt.tl.transfer(*both, lists["few"], **arguments, layer="counts", **quick)
    yt.tl.select(
        both[0],
        len(lists["few"]),
        **arguments,
        **quick,
        layer="counts",
        candidates=lists["few"],
        group_key=None,
        model_dir=tmp_path / "model",
    )
    other = yt.tl.transfer(*both, tmp_path / "model", **arguments)
    pd.testing.assert_frame_equal(one, other, rtol=1e-4)
    assert one["n_query"].iloc[0] == 360


@pytest.mark.usefixtures("no_training")
class TestRefuses:
    """All of it before anything is trained."""

    def test_genes_that_one_assay_lacks(
        self, assays: tuple[ad.AnnData, ad.AnnData], lists: dict[str, list[str]]
    ) -> None:
        with pytest.raises(KeyError, match=r"`genes` names \['nope'\].*adata\.var_names"):
            yt.tl.transfer(*assays, [*lists["few"], "nope"], **TASKS)
        absent = lists["all"][1]
        query = assays[1][:, assays[1].var_names != absent].copy()
        match = rf"query lacks 1 of the 12 genes of `genes\['all'\]`: \['{absent}'\]"
        with pytest.raises(KeyError, match=match):
            yt.tl.transfer(assays[0], query, lists, **TASKS)

    def test_genes_that_a_model_reads_and_the_query_lacks(
        self, assays: tuple[ad.AnnData, ad.AnnData], directory: Path
    ) -> None:
        query = assays[1][:, :2].copy()
        with pytest.raises(KeyError, match="query lacks .* of the 6 genes of `genes`"):
            yt.tl.transfer(assays[0], query, directory, **TASKS)

    @pytest.mark.parametrize(
        ("genes", "error", "match"),
        [
            ({}, ValueError, "`genes` is empty"),
            ([], ValueError, "`genes` holds no gene"),
            ({1: ["gene_0001"]}, TypeError, "names of `genes` must be strings, not 1"),
            (5, TypeError, "`genes` must be a list of genes.*not int"),
            ({"a": None}, TypeError, r"`genes\['a'\]` must be a list of genes"),
        ],
    )
    def test_what_is_no_list(
        self, assays: tuple[ad.AnnData, ad.AnnData], genes: Any, error: Any, match: str
    ) -> None:
        with pytest.raises(error, match=match):
            yt.tl.transfer(*assays, genes, **TASKS)

    def test_a_query_without_enough_labels(
        self, assays: tuple[ad.AnnData, ad.AnnData], lists: dict[str, list[str]]
    ) -> None:
        reference, query = assays[0], assays[1].copy()
        del query.obs["task_0"]
        with pytest.raises(KeyError, match=r"names 'task_0', .* not a column of query\.obs"):
            yt.tl.transfer(reference, query, lists, **TASKS)
        query.obs["task_0"] = "class_0"
        with pytest.raises(ValueError, match=r"are \['class_0'\]; at least two classes"):
            yt.tl.transfer(reference, query, lists, **TASKS)
        query.obs["task_0"] = assays[1].obs["task_0"]
        query.obs.loc[query.obs_names[3:], "score_0"] = np.nan
        with pytest.raises(ValueError, match=r"'score_0' cannot be cross-validated in the query"):
            yt.tl.transfer(reference, query, lists, **TASKS)

    def test_another_kind_of_expression(
        self, assays: tuple[ad.AnnData, ad.AnnData], lists: dict[str, list[str]]
    ) -> None:
        reference, query = (adata.copy() for adata in assays)
        query.X = query.X.multiply(0.3).tocsr()
        with pytest.raises(ValueError, match=r"reference holds counts, but query\.X holds frac"):
            yt.tl.transfer(reference, query, lists, **TASKS)
        with pytest.raises(ValueError, match=r"reference holds normalised .* query\.X holds coun"):
            yt.tl.transfer(query, reference, lists, **TASKS)

    def test_what_is_no_object_of_its_own(
        self, assays: tuple[ad.AnnData, ad.AnnData], lists: dict[str, list[str]]
    ) -> None:
        with pytest.raises(ValueError, match=r"query is a view.*query = query\.copy\(\)"):
            yt.tl.transfer(assays[0], assays[1][:50], lists, **TASKS)
        with pytest.raises(ValueError, match="n_splits must be at least 2"):
            yt.tl.transfer(*assays, lists, **TASKS, n_splits=1)
        with pytest.raises(ValueError, match="No task given"):
            yt.tl.transfer(*assays, lists)
