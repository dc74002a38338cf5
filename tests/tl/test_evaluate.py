"""Scores are held against a plain script that uses scikit-learn and scanpy alone."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scanpy as sc
import scipy.sparse as sp
from scipy.spatial.distance import cdist
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.metrics import (
    balanced_accuracy_score,
    f1_score,
    log_loss,
    normalized_mutual_info_score,
    r2_score,
    recall_score,
)
from sklearn.model_selection import (
    GroupKFold,
    KFold,
    LeaveOneGroupOut,
    StratifiedGroupKFold,
    StratifiedKFold,
)
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import yoto_sc as yt

TASKS = {"categorical_keys": ["task_0"], "continuous_keys": ["score_0"]}
QUICK = {"categorical_keys": "task_0", "classifiers": "k_neighbors", "n_splits": 2}
COLUMNS = ["task", "classifier", "fold", "metric", "category", "value", "n_cells"]


@pytest.fixture(scope="module")
def data(make_adata):
    """280 cells of 4 donors in a random order of classes; not to be changed."""
    adata = make_adata(n_obs=280, n_donors=4)
    adata.obs["task_0"] = adata.obs["task_0"].cat.reorder_categories(
        adata.obs["task_0"].cat.categories[[2, 0, 3, 1]]
    )
    return adata


@pytest.fixture(scope="module")
def genes(data):
    return list(data.var_names[[3, 17, 1, 30, 44, 8]])


@pytest.fixture(scope="module")
def table(data, genes):
    return yt.tl.evaluate(data, genes, **TASKS, random_state=3)


def test_without_labels_there_is_what_needs_none(data, genes, table):
    unlabelled = data.copy()
    unlabelled.obs = unlabelled.obs[["donor"]]
    found = yt.tl.evaluate(unlabelled, genes, random_state=3)
    assert set(found["task"]) == {"", "transcriptome"}
    assert set(found.loc[found["task"] == "", "metric"]) == {
        *("knn_overlap", "leiden_nmi", "mean_abs_correlation", "max_abs_correlation")
    }
    assert set(found.loc[found["task"] == "transcriptome", "classifier"]) == {
        *("ridge", "random_forest", "k_neighbors")
    }
    alike = table[table["task"] == ""].reset_index(drop=True)
    pd.testing.assert_frame_equal(found[found["task"] == ""].reset_index(drop=True), alike)
    alone = yt.tl.evaluate(unlabelled, genes, classifiers=[], random_state=3)
    pd.testing.assert_frame_equal(alone, alike)


def test_labels_alone_are_predicted_where_there_are_some(table):
    assert "transcriptome" not in set(table["task"])


def test_progress_is_shown_if_wanted(data, genes, capsys):
    few = {"classifiers": "k_neighbors", "n_splits": 2, "categorical_keys": "task_0"}
    yt.tl.evaluate(data, genes, **few)
    assert "Scoring lists: " in capsys.readouterr().err
    yt.tl.evaluate(data, genes, **few, progress_bar=False)
    assert capsys.readouterr().err == ""


def plain_script(adata, genes, splitters, seed):
    """Cross-validate each estimator; rows of task, classifier, fold, metric, category, value."""
    x_all = np.log1p(np.asarray(adata[:, genes].X.toarray(), dtype=np.float32)).astype(float)
    rows = []
    for task, estimators in {
        "task_0": {
            "logistic_regression": LogisticRegression(max_iter=1000),
            "random_forest": RandomForestClassifier(random_state=seed),
            "k_neighbors": KNeighborsClassifier(),
        },
        "score_0": {
            "ridge": RidgeCV(np.logspace(-2, 4, 13)),
            "random_forest": RandomForestRegressor(max_features=1 / 3, random_state=seed),
            "k_neighbors": KNeighborsRegressor(),
        },
    }.items():
        has_label = adata.obs[task].notna().to_numpy()
        x, y = x_all[has_label], adata.obs[task][has_label].astype(object).to_numpy()
        by_group = "Group" in type(splitters[task]).__name__
        groups = adata.obs["donor"][has_label].astype(str).to_numpy() if by_group else None
        y = y.astype(float) if task == "score_0" else y
        for fold, (train, test) in enumerate(splitters[task].split(x, y, groups)):
            for name, estimator in estimators.items():
                model = make_pipeline(StandardScaler(), estimator).fit(x[train], y[train])
                predicted = model.predict(x[test])
                if task == "score_0":
                    scores = {
                        ("r2", ""): r2_score(y[test], predicted),
                        ("rmse", ""): np.sqrt(np.mean((y[test] - predicted) ** 2)),
                    }
                else:
                    classes = list(model.classes_)
                    assert set(classes) == set(y[test])
                    proba = model.predict_proba(x[test])
                    recalls = recall_score(y[test], predicted, average=None, labels=classes)
                    scores = {
                        ("macro_f1", ""): f1_score(y[test], predicted, average="macro"),
                        ("balanced_accuracy", ""): balanced_accuracy_score(y[test], predicted),
                        ("accuracy", ""): np.mean(y[test] == predicted),
                        ("log_loss", ""): log_loss(y[test], proba, labels=classes),
                        **{("recall", c): r for c, r in zip(classes, recalls, strict=True)},
                    }
                rows += [(task, name, fold, *key, value) for key, value in scores.items()]
    return pd.DataFrame(rows, columns=COLUMNS[:-1])


@pytest.mark.parametrize(
    ("split_key", "n_splits", "splitters"),
    [
        (
            None,
            5,
            {
                "task_0": StratifiedKFold(5, shuffle=True, random_state=3),
                "score_0": KFold(5, shuffle=True, random_state=3),
            },
        ),
        (
            "donor",
            3,
            {
                "task_0": StratifiedGroupKFold(3, shuffle=True, random_state=3),
                "score_0": GroupKFold(3),
            },
        ),
        ("donor", 8, dict.fromkeys(["task_0", "score_0"], LeaveOneGroupOut())),
    ],
)
def test_agrees_with_a_plain_script(data, genes, split_key, n_splits, splitters):
    ours = yt.tl.evaluate(
        data, genes, **TASKS, split_key=split_key, n_splits=n_splits, random_state=3
    )
    expected = plain_script(data, genes, splitters, seed=3)
    both = ours.merge(expected, on=COLUMNS[:-2], suffixes=("", "_expected"), how="right")
    assert len(both) == len(expected) > 50
    np.testing.assert_allclose(both["value"], both["value_expected"], rtol=0, atol=1e-9)


def test_table_is_tidy(data, table):
    assert list(table.columns) == COLUMNS
    assert not table.duplicated(COLUMNS[:-2]).any()
    assert [str(dtype) for dtype in table.dtypes[["fold", "value", "n_cells"]]] == [
        "Int64",
        "float64",
        "Int64",
    ]
    assert not table[["task", "classifier", "metric", "category"]].isna().any(axis=None)
    assert set(table["classifier"]) == {
        "",
        "logistic_regression",
        "random_forest",
        "k_neighbors",
        "ridge",
    }
    assert (table["fold"].isna() == (table["classifier"] == "")).all()
    held_out = table[(table["metric"] == "accuracy") & (table["classifier"] == "k_neighbors")]
    assert held_out["n_cells"].sum() == data.obs["task_0"].notna().sum()


def test_recall_has_its_number_of_cells(data, table):
    recalls = table[(table["metric"] == "recall") & (table["classifier"] == "k_neighbors")]
    counts = data.obs["task_0"].value_counts()
    assert recalls.groupby("category")["n_cells"].sum().to_dict() == counts.to_dict()


def test_small_and_missing_classes(data, genes):
    adata = data.copy()
    labels = adata.obs["task_0"].astype(object)
    names = sorted(labels.dropna().unique())
    labels[labels.isna().to_numpy()] = "Unknown"
    labels.iloc[:3], labels.iloc[3] = "three", "one"
    adata.obs["task_0"] = labels
    table = yt.tl.evaluate(adata, genes, **QUICK | {"n_splits": 5}, unlabeled=["Unknown", None])
    recalls = table[table["metric"] == "recall"]
    cells = recalls.groupby("category")["n_cells"].sum()
    assert set(cells.index) == {*names, "three", "one"}
    assert cells[["three", "one"]].to_list() == [3, 0]
    assert recalls.loc[recalls["category"] == "one", "value"].isna().all()
    assert (recalls["value"].isna() == (recalls["n_cells"] == 0)).all()


def normalised(adata):
    adata = adata.copy()
    sc.pp.normalize_total(adata)
    sc.pp.log1p(adata)
    return adata


def brute_force_neighbors(x):
    distance = cdist(x, x) + np.diag(np.full(len(x), np.inf))
    return np.argsort(distance, axis=1, kind="stable")[:, :15]


def leiden(neighbors, seed):
    graph = np.zeros((len(neighbors),) * 2)
    np.put_along_axis(graph, neighbors, 1, axis=1)
    cells = sc.AnnData(np.zeros((len(graph), 1)))
    graph = sp.csr_matrix(np.maximum(graph, graph.T))
    sc.tl.leiden(
        cells, adjacency=graph, flavor="igraph", n_iterations=2, directed=False, random_state=seed
    )
    return cells.obs["leiden"].to_numpy()


def value_of(table, metric, task=""):
    (value,) = table.loc[(table["metric"] == metric) & (table["task"] == task), "value"]
    return value


def test_structure_agrees_with_scanpy(data):
    genes = list(data.var_names[:40])  # so many that no two cells are equal
    table = yt.tl.evaluate(data, genes, **QUICK, random_state=3)
    full = normalised(data)
    reference = full.copy()
    sc.pp.pca(reference, n_comps=49)  # all there are: 50 genes
    theirs = brute_force_neighbors(reference.X.toarray())
    np.testing.assert_allclose(  # principal components only turn the cells
        np.sort(theirs), np.sort(brute_force_neighbors(full.X.toarray()))
    )
    by_panel = brute_force_neighbors(full[:, genes].X.toarray())
    shared = [len(set(a) & set(b)) for a, b in zip(theirs, by_panel, strict=True)]
    np.testing.assert_allclose(value_of(table, "knn_overlap"), np.mean(shared) / 15, atol=1e-3)
    nmi = normalized_mutual_info_score(leiden(theirs, 3), leiden(by_panel, 3))
    np.testing.assert_allclose(value_of(table, "leiden_nmi"), nmi, atol=0.05)
    labels = data.obs["task_0"]
    known = labels.notna().to_numpy()
    nmi = normalized_mutual_info_score(labels[known].astype(str), leiden(by_panel, 3)[known])
    np.testing.assert_allclose(value_of(table, "leiden_nmi", "task_0"), nmi, atol=0.05)


def test_all_genes_keep_all_structure(make_adata):
    adata = make_adata(n_vars=80)
    table = yt.tl.evaluate(adata, list(adata.var_names), **QUICK)
    assert value_of(table, "knn_overlap") == 1
    assert value_of(table, "leiden_nmi") == 1


def test_structure_may_be_given(data, genes):
    adata = data.copy()
    adata.obsm["X_panel"] = normalised(data)[:, genes].X.toarray()
    table = yt.tl.evaluate(adata, genes, **QUICK, use_rep="X_panel")
    assert value_of(table, "knn_overlap") > 0.99
    default = yt.tl.evaluate(adata, genes, **QUICK)
    assert value_of(default, "knn_overlap") < 0.6


def test_many_cells_are_subsampled_for_structure_alone(data, genes, monkeypatch):
    monkeypatch.setattr("yoto_sc.tl._structure.MAX_CELLS", 100)
    table = yt.tl.evaluate(data, genes, **QUICK).set_index("metric")
    assert table.loc["knn_overlap", "n_cells"] == 100
    assert table.loc["mean_abs_correlation", "n_cells"] == data.n_obs
    assert 0 <= table.loc["knn_overlap", "value"] <= 1


def test_redundancy_is_that_of_the_genes(data, genes, table):
    x = np.log1p(data[:, genes].X.toarray())
    correlation = np.abs(np.corrcoef(x.T)[np.triu_indices(len(genes), k=1)])
    np.testing.assert_allclose(value_of(table, "mean_abs_correlation"), correlation.mean())
    np.testing.assert_allclose(value_of(table, "max_abs_correlation"), correlation.max())


@pytest.mark.parametrize("as_table", [False, True])
def test_marker_coverage(data, genes, as_table):
    markers = {"a": [genes[0], "absent"], "b": ["absent", None], "c": genes[1:3]}
    markers = pd.DataFrame(markers) if as_table else {k: v for k, v in markers.items() if v}
    table = yt.tl.evaluate(data, genes, **QUICK, markers=markers)
    coverage = table[table["metric"] == "marker_coverage"].set_index("category")["value"]
    assert coverage.to_dict() == {"a": 0.5, "b": 0.0, "c": 1.0}
    np.testing.assert_allclose(value_of(table, "marker_classes"), 2 / 3)


VECTORS = np.random.default_rng(4).normal(size=(280, 3)) * [1, 4, 0.2]


@pytest.fixture(scope="module")
def with_vectors(data):
    """The data with vectors as an array, a table and a sparse matrix; one row lacks a value."""
    adata = data.copy()
    values = VECTORS + np.log1p(adata.X[:, [3, 17, 1]].toarray())
    adata.obsm["sparse"] = sp.csr_matrix(values)
    values[7, 2] = np.nan
    adata.obsm["array"] = values
    adata.obsm["table"] = pd.DataFrame(values, adata.obs_names, ["CD3", "CD4", "CD8"])
    return adata


def r2_by_hand(x, y, folds, estimators, seed=3):
    """Return R² of all columns and of each, by estimator and fold."""
    rows = {}
    for fold, (train, test) in enumerate(folds):
        of_fold = y[fold] if isinstance(y, list) else y
        for name, estimator in estimators.items():
            model = make_pipeline(StandardScaler(), estimator).fit(x[train], of_fold[train])
            both = of_fold[test], model.predict(x[test])
            rows[name, fold] = [
                r2_score(*both, multioutput="variance_weighted"),
                *r2_score(*both, multioutput="raw_values"),
            ]
    return rows


def r2_of(table, task):
    """Return the same of our table."""
    ours = table[(table["task"] == task) & table["metric"].isin(["r2", "column_r2"])]
    return {
        (str(name), int(fold)): list(of_fold["value"])
        for (name, fold), of_fold in ours.groupby(["classifier", "fold"])
    }


REGRESSORS = {
    "ridge": RidgeCV(np.logspace(-2, 4, 13)),
    "random_forest": RandomForestRegressor(max_features=1 / 3, random_state=3),
    "k_neighbors": KNeighborsRegressor(),
}


def assert_same_rows(ours, expected, atol=1e-9):
    assert ours.keys() == expected.keys()
    for at, values in expected.items():
        np.testing.assert_allclose(ours[at], values, rtol=0, atol=atol)


def test_vectors_agree_with_a_plain_script(with_vectors, genes):
    table = yt.tl.evaluate(with_vectors, genes, obsm_keys=["array", "table"], random_state=3)
    seen = np.flatnonzero(np.arange(280) != 7)
    folds = [
        (seen[train], seen[test])
        for train, test in KFold(5, shuffle=True, random_state=3).split(seen)
    ]
    x = np.log1p(with_vectors[:, genes].X.toarray()).astype(float)
    expected = r2_by_hand(x, with_vectors.obsm["array"], folds, REGRESSORS)
    for task, names in (("array", ["0", "1", "2"]), ("table", ["CD3", "CD4", "CD8"])):
        assert_same_rows(r2_of(table, task), expected)
        columns = table[(table["task"] == task) & (table["metric"] == "column_r2")]
        assert list(columns["category"].unique()) == names
        assert columns["category"].value_counts().eq(15).all()
    assert (table.loc[table["metric"] != "column_r2", "category"] == "").all()
    held_out = table.query("task == 'table' and metric == 'r2' and classifier == 'ridge'")
    assert held_out["n_cells"].sum() == 279


def test_sparse_vectors_are_vectors(with_vectors, genes):
    adata = with_vectors.copy()
    adata.obsm["dense"] = adata.obsm["sparse"].toarray()
    table = yt.tl.evaluate(
        adata, genes, obsm_keys=["sparse", "dense"], classifiers="k_neighbors", n_splits=2
    )
    assert_same_rows(r2_of(table, "sparse"), r2_of(table, "dense"), atol=0)


def components(adata, train, n_components):
    """Return principal components of some cells, of all cells, by scanpy and numpy."""
    x = adata.X.toarray().astype(float)
    totals = x.sum(axis=1)
    x = np.log1p(x / totals[:, None] * np.median(totals[train]))
    mean = x[train].mean(axis=0)
    axes = np.linalg.svd(x[train] - mean, full_matrices=False)[2][:n_components]
    return (x - mean) @ axes.T


@pytest.mark.parametrize("split_key", [None, "donor"])
def test_components_are_of_the_training_cells_of_each_fold(data, genes, split_key):
    """With so few genes, all are variable ones. The sign of a component changes no score."""
    adata = data.copy()
    adata.obs.loc[adata.obs_names[:11], "donor"] = None
    table = yt.tl.evaluate(adata, genes, transcriptome=6, split_key=split_key, random_state=3)
    x = np.log1p(adata[:, genes].X.toarray()).astype(float)
    if split_key is None:
        folds = list(KFold(5, shuffle=True, random_state=3).split(x))
    else:
        groups = [np.flatnonzero(adata.obs["donor"] == d) for d in sorted(set(data.obs["donor"]))]
        folds = [(np.setdiff1d(np.arange(280), test), test) for test in groups]
    names = [f"PC{i + 1}" for i in range(6)]
    columns = table[table["metric"] == "column_r2"]
    assert list(columns["category"].unique()) == names
    assert set(columns["task"]) == {"transcriptome"}
    estimators = {name: REGRESSORS[name] for name in ("ridge", "k_neighbors")}
    ours = {
        at: values for at, values in r2_of(table, "transcriptome").items() if at[0] in estimators
    }
    y = [components(adata, train, 6) for train, _ in folds]
    assert_same_rows(ours, r2_by_hand(x, y, folds, estimators), atol=2e-4)
    of_all = [components(adata, np.arange(280), 6)] * len(folds)
    others = r2_by_hand(x, of_all, folds, estimators)
    assert max(abs(others[at][0] - ours[at][0]) for at in ours) > 2e-3


def test_the_transcriptome_alone_needs_no_labels(make_adata):
    adata = make_adata(n_vars=80)
    adata.obs = adata.obs[[]]
    table = yt.tl.evaluate(adata, list(adata.var_names[:9]), transcriptome=True, n_splits=2)
    assert table.loc[table["task"] == "transcriptome", "fold"].notna().all()
    assert list(table.loc[table["task"] == "", "metric"]) == [
        *("knn_overlap", "leiden_nmi", "mean_abs_correlation", "max_abs_correlation")
    ]
    categories = table.loc[table["metric"] == "column_r2", "category"]
    assert categories.nunique() == 30
    all_genes = yt.tl.evaluate(
        adata, list(adata.var_names), transcriptome=2, classifiers="logistic_regression"
    )
    assert value_of(all_genes, "knn_overlap") == 1
    few, all_ = (
        t[t["metric"] == "r2"].groupby("classifier")["value"].mean() for t in (table, all_genes)
    )
    assert few["ridge"] < all_["ridge"]
    assert 0.5 < all_["ridge"] <= 1


def test_tasks_do_not_change_each_other(with_vectors, genes):
    quick = {"classifiers": "k_neighbors", "n_splits": 2}
    keys = {"categorical_keys": "task_0", "obsm_keys": "table", "transcriptome": 3}
    together = yt.tl.evaluate(with_vectors, genes, **keys, **quick)
    assert list(together["task"].unique()) == ["task_0", "table", "transcriptome", ""]
    for task, argument in zip(("task_0", "table", "transcriptome"), keys, strict=True):
        alone = yt.tl.evaluate(with_vectors, genes, **{argument: keys[argument]}, **quick)
        ours, theirs = (t[t["task"] == task].reset_index(drop=True) for t in (together, alone))
        pd.testing.assert_frame_equal(ours, theirs)


def test_panels_are_lists_of_genes(data, genes):
    panel = yt.Panel.from_genes(genes)
    expected = yt.tl.evaluate(data, genes, **QUICK)
    pd.testing.assert_frame_equal(yt.tl.evaluate(data, panel, **QUICK), expected)
    pd.testing.assert_frame_equal(yt.tl.evaluate(data, pd.Index(genes), **QUICK), expected)


def test_same_seed_same_table_and_nothing_else_changes(data, genes, table, state_of):
    before = state_of(data)
    rng = np.random.get_state()[1].tobytes()  # noqa: NPY002
    again = yt.tl.evaluate(data, genes, **TASKS, random_state=3)
    pd.testing.assert_frame_equal(again, table, check_exact=True)
    assert state_of(data) == before
    assert np.random.get_state()[1].tobytes() == rng  # noqa: NPY002
    other = yt.tl.evaluate(data, genes, **QUICK | {"n_splits": 5}, random_state=4)
    accuracies = [
        t.query("classifier == 'k_neighbors' and metric == 'accuracy'") for t in (table, other)
    ]
    assert list(accuracies[0]["value"]) != list(accuracies[1]["value"])


def test_formats_do_not_matter(data, genes):
    expected = yt.tl.evaluate(data, genes, **QUICK)
    for values in (data.X.toarray(), data.X.tocsc(), data.X.astype(np.int32)):
        adata = data.copy()
        adata.X = values
        pd.testing.assert_frame_equal(yt.tl.evaluate(adata, genes, **QUICK), expected)
    adata.layers["counts"], adata.X = data.X, data.X * 0.5
    in_layer = yt.tl.evaluate(adata, genes, **QUICK, layer="counts")
    pd.testing.assert_frame_equal(in_layer, expected)


def test_constant_genes_and_empty_cells_are_no_errors(data, genes):
    adata = data.copy()
    x = adata.X.tolil()
    x[:5] = 0
    x[:, adata.var_names.get_indexer(genes[:2])] = 0
    adata.X = x.tocsr()
    values = yt.tl.evaluate(adata, genes, **TASKS, n_splits=2)["value"]
    assert np.isfinite(values).all()
    alone = yt.tl.evaluate(adata, genes[:1], **QUICK)
    assert np.isnan(value_of(alone, "mean_abs_correlation"))


def test_without_classifiers(data, genes):
    table = yt.tl.evaluate(data, genes, categorical_keys="task_0", classifiers=[])
    assert set(table["classifier"]) == {""}


def test_classes_of_several_types(data, genes):
    adata = data.copy()
    labels = adata.obs["task_0"].astype(object)
    adata.obs["task_0"] = labels.where(labels != labels.dropna().iloc[0], 1)
    recalls = yt.tl.evaluate(adata, genes, **QUICK).query("metric == 'recall'")
    assert "1" in set(recalls["category"])
    assert recalls["n_cells"].sum() == labels.notna().sum()


@pytest.mark.parametrize(
    ("changes", "error", "match"),
    [
        ({"genes": []}, ValueError, "`genes` holds no gene"),
        (
            {"genes": ["gene_0003", "gen_17"]},
            KeyError,
            r"`genes` names \['gen_17'\].*Did you mean",
        ),
        ({"genes": [3]}, TypeError, "`genes` must hold var names"),
        ({"genes": None}, ValueError, "`genes` holds no gene"),
        ({"categorical_keys": "nope"}, KeyError, "'nope', which is not a column"),
        ({"continuous_keys": "task_0"}, ValueError, "both"),
        ({"obsm_keys": "nope"}, KeyError, r"'nope', which is not an entry of adata\.obsm"),
        ({"obsm_keys": "X_nan"}, ValueError, "no observed vector"),
        ({"obsm_keys": "X_nearly"}, ValueError, "'X_nearly' cannot be .* exceeds the 3 cells"),
        ({"transcriptome": -1}, ValueError, "transcriptome must be at least 0, not -1"),
        ({"transcriptome": 51}, ValueError, "transcriptome must be at most 50, not 51"),
        ({"transcriptome": "yes"}, TypeError, "transcriptome must be an integer, not 'yes'"),
        (
            {"transcriptome": True, "obsm_keys": "transcriptome"},
            ValueError,
            "name 'transcriptome' is taken",
        ),
        ({"split_key": "nope"}, KeyError, "'nope', which is not a column"),
        ({"split_key": "task_0"}, ValueError, "also a task"),
        ({"split_key": "one_group"}, ValueError, "has 1 group"),
        ({"layer": "nope"}, KeyError, "layer='nope'"),
        ({"classifiers": "svm"}, ValueError, r"\['svm'\] are unknown; allowed are \['logistic"),
        ({"n_splits": 1}, ValueError, "n_splits must be at least 2, not 1"),
        ({"n_splits": 2.0}, TypeError, "n_splits must be an integer"),
        (
            {"n_splits": 300},
            ValueError,
            r"Task 'task_0' cannot be .* n_splits=300 exceeds the \d+",
        ),
        ({"random_state": -1}, ValueError, "random_state must be at least 0"),
        ({"use_rep": "X_nope"}, KeyError, r"use_rep='X_nope' is not in adata\.obsm"),
        ({"use_rep": "X_nan"}, ValueError, "finite numbers"),
        ({"markers": ["gene_1"]}, TypeError, "mapping from class to genes"),
        ({"markers": {"a": []}}, ValueError, "markers of 'a' must be names"),
        ({"markers": {"a": [1]}}, ValueError, "markers of 'a' must be names"),
    ],
)
def test_bad_input(data, genes, changes, error, match, monkeypatch):
    def no_work(*args, **kwargs):
        raise AssertionError("Work began before the error.")

    adata = data.copy()
    adata.obs["one_group"] = "a"
    adata.obsm["X_nan"] = np.full((adata.n_obs, 2), np.nan)
    adata.obsm["X_nearly"] = np.where(np.arange(adata.n_obs) < 3, np.arange(adata.n_obs), np.nan)
    adata.obsm["transcriptome"] = VECTORS
    monkeypatch.setattr("yoto_sc.tl._panel_scores.cross_validated_scores", no_work)
    monkeypatch.setattr("yoto_sc.tl._structure.nearest_neighbors", no_work)
    monkeypatch.setattr("yoto_sc.tl._panel_scores.find_components", no_work)
    arguments = {"genes": genes, "categorical_keys": "task_0", **changes}
    with pytest.raises(error, match=match):
        yt.tl.evaluate(adata, arguments.pop("genes"), **arguments)


def test_repeated_genes(data, genes):
    with pytest.raises(ValueError, match=rf"`genes` names \['{genes[0]}'\] more than once"):
        yt.tl.evaluate(data, [*genes, genes[0]], categorical_keys="task_0")


def test_views_are_refused(data, genes):
    with pytest.raises(ValueError, match="Copy it first"):
        yt.tl.evaluate(data[:50], genes, categorical_keys="task_0")
