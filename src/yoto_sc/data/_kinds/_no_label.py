"""Names of classes that look as if they meant "no label". It is a hint: some label may mean it."""

from __future__ import annotations

import re

_WORDS = (
    r"nan|n/?a|n\.a\.?|#n/a|<na>|none|null|\?+|missing",
    r"unknown|unassigned|unlabell?ed|unannotated|unclassified|unidentified|unspecified",
    r"undefined|undetermined|ambiguous|doublet|multiplet|lowquality|nolabel",
    r"not(assigned|labell?ed|annotated|available|applicable|determined|defined|known)",
)
# "other" and "negative" are not among them: they say what a cell is not, which can be learned.
_NAME = re.compile(rf"({'|'.join(_WORDS)})(cell(type)?)?s?")


def looks_like_no_label(category: object) -> bool:
    """Whether a class is called nothing, or as a whole like "Unknown", "n/a" or "low_quality".

    Capitals, spaces, underscores and dashes do not matter.
    """
    if not isinstance(category, str):
        return False
    name = re.sub(r"[\s_-]", "", category.casefold())
    return not category.strip() or _NAME.fullmatch(name) is not None
