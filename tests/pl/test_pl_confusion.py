from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import yoto_sc as yt


def crosstab(adata, task) -> pd.DataFrame:
    tidy = adata.uns["yoto"]["confusion"].query("task == @task")
    names = list(adata.obs[task].cat.categories)
    table = pd.crosstab(tidy["observed"], tidy["predicted"], tidy["n_cells"], aggfunc="sum")
    return table.reindex(index=names, columns=names).fillna(0)


@pytest.mark.parametrize("task", ["bulk_labels", "phase"])
def test_rows_are_fractions_of_the_observed_class(adata, task):
    ax = yt.pl.confusion(adata, task)
    counts = crosstab(adata, task)
    shown = np.asarray(ax.images[0].get_array())
    np.testing.assert_allclose(shown, counts.div(counts.sum(axis=1), axis=0))
    assert [label.get_text() for label in ax.get_xticklabels()] == list(counts.columns)
    assert [label.get_text() for label in ax.get_yticklabels()] == [
        f"{name} (n={n:.0f})" for name, n in counts.sum(axis=1).items()
    ]
    assert (ax.get_ylabel(), ax.get_xlabel()) == ("observed", "predicted")
    f1 = adata.uns["yoto"]["metrics"].loc[task, "macro_f1"]
    assert ax.get_title() == f"{task}, held-out cells: macro-F1 {f1:.2f}"


def test_counts(adata):
    ax = yt.pl.confusion(adata, "phase", normalize=None)
    counts = crosstab(adata, "phase")
    np.testing.assert_array_equal(ax.images[0].get_array(), counts)
    written = {text.get_position()[::-1]: text.get_text() for text in ax.texts}
    assert written == {
        place: f"{value:.0f}" for place, value in np.ndenumerate(counts.to_numpy()) if value
    }


def test_text_stands_out_from_its_cell(adata):
    ax = yt.pl.confusion(adata)
    shown = np.asarray(ax.images[0].get_array())
    for text in ax.texts:
        column, row = text.get_position()
        assert text.get_color() == ("white" if shown[row, column] > 0.55 else "black")


def test_default_is_the_first_categorical_task(adata):
    adata.uns["yoto"]["tasks"] = adata.uns["yoto"]["tasks"].iloc[::-1]
    assert yt.pl.confusion(adata).get_title().startswith("phase,")


def test_classes_without_held_out_cells_stay(adata):
    confusion = adata.uns["yoto"]["confusion"]
    adata.uns["yoto"]["confusion"] = confusion[confusion["observed"] != "CD34+"]
    ax = yt.pl.confusion(adata)
    row = list(adata.obs["bulk_labels"].cat.categories).index("CD34+")
    assert ax.get_yticklabels()[row].get_text() == "CD34+ (n=0)"
    assert ax.images[0].get_array().mask[row].all()


def test_without_predictions_classes_come_from_the_table(adata):
    del adata.obs["yoto_phase"]
    ax = yt.pl.confusion(adata, "phase")
    assert [label.get_text() for label in ax.get_xticklabels()] == ["G1", "G2M", "S"]


def test_without_a_score_the_title_gives_none(adata):
    adata.uns["yoto"]["metrics"] = adata.uns["yoto"]["metrics"].drop(index="phase")
    assert yt.pl.confusion(adata, "phase").get_title() == "phase, held-out cells"


def test_many_classes_have_no_numbers(adata):
    names = [f"class {number}" for number in range(40)]
    adata.obs["yoto_phase"] = pd.Categorical([names[0]] * adata.n_obs, categories=names)
    adata.uns["yoto"]["confusion"] = pd.DataFrame(
        {"task": "phase", "observed": names, "predicted": names, "n_cells": 3}
    )
    ax = yt.pl.confusion(adata, "phase")
    assert len(ax.texts) == 0
    np.testing.assert_array_equal(ax.images[0].get_array(), np.eye(40))


@pytest.mark.parametrize(
    ("kwargs", "error", "message"),
    [
        ({"task": "louvain"}, KeyError, r"'louvain' was not part.*'bulk_labels', 'phase'"),
        ({"task": "S_score"}, ValueError, "'S_score' has no classes: its kind is 'continuous'"),
        (
            {"task": "modules", "key": "modules"},
            ValueError,
            r"has no classes: its kind is 'vector'. The categorical tasks are \[\]",
        ),
        ({"key": "modules"}, ValueError, r"no categorical task, .*\['modules', 'transcriptome'\]"),
        ({"normalize": "predicted"}, ValueError, "must be 'observed' or None, not 'predicted'"),
    ],
)
def test_bad_arguments(adata, kwargs, error, message):
    with pytest.raises(error, match=message):
        yt.pl.confusion(adata, **kwargs)


def test_no_categorical_task(make_selected):
    with pytest.raises(ValueError, match="no categorical task"):
        yt.pl.confusion(make_selected(8, ("S_score",)))
