"""Rules that go with a platform, unless others are given."""

from __future__ import annotations

import tomllib
from difflib import get_close_matches
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

PLATFORMS = ("xenium", "merscope", "cosmx", "qpcr")
RULES = (
    *("exclude", "candidates", "preference", "cost", "budget"),
    *("mean_range", "fraction_range", "max_crowding", "crowding_key", "min_detection"),
    "redundancy",
)
"""What a platform may set; which genes must be in a panel is no matter of it."""


def platform_rules(platform: str | Path) -> dict[str, Any]:
    """Read the rules of a platform: of its name, or of a TOML file of one's own.

    Raises
    ------
    ValueError
        There is no such platform or file, or it is no TOML, or sets something else.
    """
    if platform in PLATFORMS:
        text = (resources.files("yoto_sc.rules") / "platforms" / f"{platform}.toml").read_text(
            encoding="utf-8"
        )
    else:
        path = Path(platform)
        if not path.is_file():
            raise ValueError(
                f"platform={str(platform)!r} is none of {list(PLATFORMS)}, nor a TOML file."
            )
        text = path.read_text(encoding="utf-8")
    try:
        rules = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"platform={str(platform)!r} is no TOML file: {error}") from error
    for name in rules:
        if name not in RULES:
            close = get_close_matches(name, RULES, n=1)
            hint = f"Did you mean {close[0]!r}?" if close else f"Known are {list(RULES)}."
            raise ValueError(f"platform={str(platform)!r} sets {name!r}, which is no rule. {hint}")
    return rules


def with_platform(platform: str | Path | None, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the rules that were given, and those of the platform where nothing was."""
    asked = dict(given)
    for name, value in ({} if platform is None else platform_rules(platform)).items():
        if not _is_given(name, given.get(name, "auto" if name == "min_detection" else None)):
            asked[name] = value
    return asked


def _is_given(name: str, value: Any) -> bool:
    """Whether an argument says something; `None` for `min_detection` says that there is none."""
    if name == "min_detection":
        return not isinstance(value, str)
    return value is not None and not (isinstance(value, list | tuple) and not value)
