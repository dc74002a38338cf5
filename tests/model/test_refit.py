"""The last training learns from all cells; what is told of it comes from cells not seen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
import torch

if TYPE_CHECKING:
    from collections.abc import Callable

    from anndata import AnnData


@pytest.fixture(scope="module")
def refitted(make_adata: Callable[..., AnnData], train: Callable[..., Any]) -> Any:
    """The model of the `model` fixture, trained on all cells in the end."""
    return train(make_adata())


@pytest.mark.parametrize("table", ["metrics", "path", "history", "held_out"])
def test_scores_are_those_of_the_training_without_held_out_cells(
    refitted: Any, model: Any, table: str
) -> None:
    pd.testing.assert_frame_equal(getattr(refitted, table), getattr(model, table))
    np.testing.assert_array_equal(refitted.validation_indices, model.validation_indices)


def test_network_has_seen_all_cells(refitted: Any, model: Any, adata: AnnData) -> None:
    for trained, cells in ((refitted, slice(None)), (model, model.train_indices)):
        values = np.log1p(adata[cells, trained.panel().genes].X.toarray())
        np.testing.assert_allclose(trained.module.encoder.mean, values.mean(axis=0), rtol=1e-5)
    assert not np.array_equal(refitted.predict()["score_0"], model.predict()["score_0"])


def test_calibration_is_that_of_held_out_cells(refitted: Any, model: Any) -> None:
    for ours, theirs in zip(refitted.module.heads[:2], model.module.heads[:2], strict=True):
        torch.testing.assert_close(ours.temperature, theirs.temperature)
        assert (ours.temperature != 1).any()


def test_without_held_out_cells_there_is_one_training(
    adata: AnnData, train: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", logger="yoto_sc"):
        train(adata, train_kwargs={"max_steps": 2, "validation_size": 0})
    assert "Selecting genes" in caplog.text
    assert "all cells" not in caplog.text
