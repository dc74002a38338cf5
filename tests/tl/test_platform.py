"""Panels for a platform meet its rules exactly, or are refused with those that clash."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import yoto_sc as yt
from yoto_sc.rules import PLATFORMS, platform_rules

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from anndata import AnnData


def meets(adata: AnnData, key: str, rules: dict[str, Any]) -> bool:
    """Check the rules on a panel with dense numpy."""
    x = adata[:, yt.Panel.from_adata(adata).genes].X
    x = x.toarray() if hasattr(x, "toarray") else np.asarray(x)
    seen, fine = x > 0, True
    codes = adata.obs[key].astype("category").cat.codes.to_numpy()
    groups = [codes == code for code in range(codes.max() + 1)]
    peak = [seen[group].sum(axis=0) / max(group.sum(), 50) for group in groups]
    fine &= bool((np.max([*peak, seen.mean(axis=0)], axis=0) >= rules["min_detection"]).all())
    if "mean_range" in rules:
        means = x.sum(axis=0) / np.maximum(seen.sum(axis=0), 1)
        fine &= bool((means <= rules["mean_range"][1]).all())
    if "max_crowding" in rules:
        sums = [x[group].mean(axis=0).sum() for group in groups]
        fine &= max(sums) <= rules["max_crowding"] * (1 + 1e-6)
    return fine


@pytest.mark.parametrize("platform", PLATFORMS)
def test_a_panel_of_counts_meets_its_platform(
    adata: AnnData, select: Callable[..., Any], platform: str
) -> None:
    adata.X = adata.X * 8  # or nothing is crowded
    select(adata, 6, categorical_keys="task_0", platform=platform, max_steps=4)
    assert meets(adata, "task_0", platform_rules(platform))
    params = adata.uns["yoto"]["params"]
    assert params["platform"] == platform
    for name, value in platform_rules(platform).items():
        assert np.array_equal(params[name], value)


def test_a_panel_of_normalised_values_meets_it_with_a_warning(
    select: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    adata = yt.datasets.pbmc68k()
    with caplog.at_level(logging.WARNING, logger="yoto_sc"):
        select(adata, 6, categorical_keys="bulk_labels", platform="merscope", max_steps=4)
    assert meets(adata, "bulk_labels", platform_rules("merscope"))
    assert "platform='merscope' has bounds for counts" in caplog.text


def test_a_clash_is_named(adata: AnnData, select: Callable[..., Any]) -> None:
    adata.X = adata.X * 40
    with pytest.raises(ValueError, match=r"together: .*m(ean_range|ax_crowding)=.* Loosen one"):
        select(adata, 40, categorical_keys="task_0", platform="merscope")


def test_rules_that_are_given_come_first(
    adata: AnnData, select: Callable[..., Any], tmp_path: Path
) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('max_crowding = 1e-9\nexclude = ["gene_000*"]\n')
    select(adata, 5, categorical_keys="task_0", platform=path, max_crowding=900, max_steps=2)
    params = adata.uns["yoto"]["params"]
    assert params["platform"] == str(path)
    assert params["max_crowding"] == 900
    assert list(params["exclude"]) == ["gene_000*"]
    with pytest.raises(ValueError, match="max_crowding=1e-09"):
        select(adata, 5, categorical_keys="task_0", platform=path)


def test_stability_knows_platforms(adata: AnnData) -> None:
    few = {"platform": "qpcr", "max_steps": 2, "accelerator": "cpu"}
    yt.tl.stability(
        adata, 4, n_runs=2, categorical_keys="task_0", select_kwargs=few, progress_bar=False
    )
    assert adata.uns["yoto_stability"]["params"]["min_detection"] == 0.2
