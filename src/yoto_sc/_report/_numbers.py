"""Numbers as a page writes them."""

from __future__ import annotations

import math
from typing import Any


def number(value: Any, digits: int = 2) -> str:
    """Write a number as text does, with a true minus sign; a missing one as a dash."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    if isinstance(value, str | int):
        return f"{value:,}" if isinstance(value, int) else value
    return f"{value:.{digits}f}".replace("-", "\N{MINUS SIGN}")


def percent(value: float, digits: int = 0) -> str:
    """Write a share as percents; a missing one as a dash, a small one as such."""
    if math.isnan(value):
        return "–"
    if 0 < value < 0.5 * 10 ** -(digits + 2):
        return f"<{10**-digits:g} %"
    return f"{100 * value:.{digits}f} %"
