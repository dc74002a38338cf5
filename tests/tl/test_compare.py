from __future__ import annotations

import pandas as pd
import pytest

import yoto_sc as yt

QUICK = {"categorical_keys": "task_0", "classifiers": "k_neighbors", "n_splits": 2}


@pytest.fixture
def panels(adata):
    return {"wide": list(adata.var_names[:9]), "narrow": list(adata.var_names[[20, 4]])}


def test_each_panel_scores_as_it_does_alone(adata, panels):
    table = yt.tl.compare(adata, panels, **QUICK, split_key="donor", markers={"a": ["gene"]})
    assert list(table["panel"].unique()) == ["wide", "narrow"]
    assert table.columns[0] == "panel"
    for name, genes in panels.items():
        alone = yt.tl.evaluate(adata, genes, **QUICK, split_key="donor", markers={"a": ["gene"]})
        ours = table[table["panel"] == name].drop(columns="panel").reset_index(drop=True)
        pd.testing.assert_frame_equal(ours, alone)


def test_panels_are_compared_on_the_same_components(adata, panels):
    adata.obsm["proteins"] = adata.X[:, :3].toarray()
    tasks = {"obsm_keys": "proteins", "transcriptome": 4}
    quick = {"classifiers": "k_neighbors", "n_splits": 2}
    table = yt.tl.compare(adata, panels, **tasks, **quick)
    assert set(table["task"]) == {"proteins", "transcriptome", ""}
    for name, genes in panels.items():
        alone = yt.tl.evaluate(adata, genes, **tasks, **quick)
        ours = table[table["panel"] == name].drop(columns="panel").reset_index(drop=True)
        pd.testing.assert_frame_equal(ours, alone)
    r2 = table[table["metric"] == "r2"].groupby(["task", "panel"])["value"].mean()
    assert r2["proteins", "wide"] > r2["proteins", "narrow"] + 0.3  # it holds the three genes


def test_order_of_panels_does_not_matter(adata, panels):
    table = yt.tl.compare(adata, panels, **QUICK)
    other = yt.tl.compare(adata, dict(reversed(panels.items())), **QUICK)
    keys = ["panel", "task", "classifier", "fold", "metric", "category"]
    pd.testing.assert_frame_equal(
        table.sort_values(keys, ignore_index=True), other.sort_values(keys, ignore_index=True)
    )


def test_more_informative_panels_score_higher(make_adata):
    adata = make_adata(n_obs=400)
    informative = list(adata.var_names[adata.var["informative"]])
    others = list(adata.var_names[~adata.var["informative"] & (adata.var["redundant_with"] == "")])
    table = yt.tl.compare(
        adata, {"best": yt.Panel.from_genes(informative), "noise": others[:8]}, **QUICK
    )
    means = table.groupby(["metric", "panel"])["value"].mean().unstack()
    for metric in ("macro_f1", "balanced_accuracy", "leiden_nmi"):
        assert means.loc[metric, "best"] > means.loc[metric, "noise"] + 0.05


@pytest.mark.parametrize(
    ("panels", "error", "match"),
    [
        (["gene_1"], TypeError, r"not be a list.*tl\.evaluate"),
        ({}, ValueError, "`panels` is empty"),
        ({1: ["gene_1"]}, TypeError, "names of `panels` must be strings, not 1"),
        ({"a": []}, ValueError, r"`panels\['a'\]` holds no gene"),
        ({"a": ["nope"]}, KeyError, r"`panels\['a'\]` names \['nope'\]"),
    ],
)
def test_bad_panels(adata, panels, error, match):
    with pytest.raises(error, match=match):
        yt.tl.compare(adata, panels, **QUICK)


def test_signature_is_that_of_evaluate():
    import inspect

    ours, theirs = (inspect.signature(f).parameters for f in (yt.tl.compare, yt.tl.evaluate))
    assert list(ours)[2:] == list(theirs)[2:]
    assert [ours[p].default for p in list(ours)[2:]] == [theirs[p].default for p in list(ours)[2:]]
