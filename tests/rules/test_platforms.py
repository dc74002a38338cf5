"""Rules that go with a platform."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from yoto_sc.rules import PLATFORMS, Requirements, platform_rules, with_platform

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("platform", PLATFORMS)
def test_every_platform_sets_rules_that_are_valid(platform: str) -> None:
    rules = platform_rules(platform)
    assert 0 < Requirements(**rules).min_detection < 1
    assert ("max_crowding" in rules) == (platform != "qpcr")


def test_a_file_of_ones_own_is_read(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('exclude = ["MT-*"]\nfraction_range = [0.01, inf]\n')
    expected = {"exclude": ["MT-*"], "fraction_range": [0.01, np.inf]}
    assert platform_rules(path) == platform_rules(str(path)) == expected


def test_what_is_given_comes_first() -> None:
    given = {"exclude": [], "mean_range": None, "max_crowding": 7, "min_detection": "auto"}
    asked = with_platform("xenium", given)
    preset = platform_rules("xenium")
    assert asked == {**preset, "exclude": [], "max_crowding": 7}
    assert with_platform("xenium", {"min_detection": None})["min_detection"] is None
    assert with_platform("xenium", {"min_detection": 0.3})["min_detection"] == 0.3
    assert with_platform("xenium", {}) == preset
    assert with_platform(None, given) == given


def test_an_empty_list_is_nothing_given(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('exclude = ["MT-*"]\n')
    assert with_platform(path, {"exclude": ()}) == {"exclude": ["MT-*"]}
    assert with_platform(path, {"exclude": ["A"]}) == {"exclude": ["A"]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("max_crowdin = 3", "sets 'max_crowdin', which is no rule. Did you mean 'max_crowding'"),
        ("zzz = 3", "sets 'zzz', which is no rule. Known are"),
        ("= 3", "is no TOML file"),
    ],
)
def test_files_that_set_something_else_are_refused(
    tmp_path: Path, text: str, message: str
) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        platform_rules(path)


def test_unknown_platforms_are_refused() -> None:
    with pytest.raises(ValueError, match="platform='visium' is none of .*, nor a TOML file"):
        platform_rules("visium")
