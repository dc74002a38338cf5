"""From what is to be said to HTML."""

from __future__ import annotations

from typing import TYPE_CHECKING

import jinja2

from yoto_sc._report._numbers import number, percent

if TYPE_CHECKING:
    from yoto_sc._report._contents import Contents


def render(contents: Contents) -> str:
    """Return the page; whatever names hold is text in it."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("yoto_sc._report", ""),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(number=number, percent=percent)
    page: str = environment.get_template("page.html.jinja").render(vars(contents))
    # A lone surrogate, which a name may hold, is no text that a file could hold.
    return page.encode("utf-8", "replace").decode("utf-8")
