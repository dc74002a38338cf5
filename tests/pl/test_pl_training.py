from __future__ import annotations

import numpy as np
import pytest

import yoto_sc as yt


def test_losses_and_sizes_over_steps(adata):
    ax = yt.pl.training(adata)
    history = adata.uns["yoto"]["history"]
    train, validation = ax.lines[:2]
    np.testing.assert_allclose(train.get_xydata(), history[["step", "train_loss"]])
    np.testing.assert_allclose(validation.get_xydata(), history[["step", "validation_loss"]])
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [
        "training cells",
        "held-out cells",
    ]
    (sizes,) = [other for other in ax.figure.axes if other is not ax]
    assert sizes.get_yscale() == "log"
    assert [label.get_text() for label in sizes.get_yticklabels()][:3] == ["1", "2", "4"]
    area = sizes.collections[0].get_paths()[0].vertices
    assert set(history["n_genes"]) <= set(area[:, 1])


def test_phases_are_named(adata):
    history = adata.uns["yoto"]["history"]  # the panel is fixed from row 5 on
    history["n_genes"] = [*history["n_genes"][:5], *[32] * (len(history) - 5)]
    ax = yt.pl.training(adata)
    assert [text.get_text() for text in ax.texts] == [
        "selecting genes",
        "panel fixed: learning from it",
    ]
    (line,) = [line for line in ax.lines if line.get_linestyle() == ":"]
    assert line.get_xdata()[0] == history["step"].iloc[4]


def test_a_panel_that_was_fixed_from_the_start_has_one_phase(adata):
    adata.uns["yoto"]["history"]["n_genes"] = 32
    ax = yt.pl.training(adata)
    assert [text.get_text() for text in ax.texts] == ["panel fixed: learning from it"]
    assert len(ax.lines) == 2


def test_rows_without_a_validation_loss(adata):
    adata.uns["yoto"]["history"].loc[::2, "validation_loss"] = np.nan
    assert len(yt.pl.training(adata).lines[1].get_xdata()) == 5


def test_missing_column(adata):
    adata.uns["yoto"]["history"] = adata.uns["yoto"]["history"].drop(columns="step")
    with pytest.raises(KeyError, match="no column 'step'"):
        yt.pl.training(adata)
