"""The plots of a panel as pictures within a page."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from yoto_sc import pl

if TYPE_CHECKING:
    from collections.abc import Callable

    from anndata import AnnData

_DPI = 110


@dataclass(frozen=True)
class Picture:
    """A picture as the page holds it.

    Parameters
    ----------
    source
        The PNG file, as a ``data:`` address.
    alt
        What it shows, in words.
    """

    source: str
    alt: str

    @classmethod
    def of(cls, figure: Any, alt: str) -> Picture:
        """Draw a figure."""
        file = io.BytesIO()
        figure.savefig(file, format="png", dpi=_DPI, bbox_inches="tight", facecolor="white")
        return cls(f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}", alt)


def of_axes(draw: Callable[..., Any], adata: AnnData, *args: Any, key: str, alt: str) -> Picture:
    """Draw one of the plots of :mod:`yoto_sc.pl`."""
    return Picture.of(draw(adata, *args, key=key, show=False).figure, alt)


def dotplot(adata: AnnData, task: str, *, key: str) -> Picture:
    """Draw the expression of the panel's genes by class."""
    axes = pl.selected_genes_dotplot(adata, task, key=key, show=False)
    return Picture.of(
        axes["mainplot_ax"].figure,
        f"Dot plot: expression of each gene of the panel in each class of {task}. The size of a "
        "dot is the share of cells that express the gene.",
    )
