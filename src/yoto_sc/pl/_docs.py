"""Text that the docstrings of several plots share."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

Function = TypeVar("Function", bound="Callable[..., Any]")

SHARED = {
    "means": """\
Parameters
----------
{grouped}
{ax}
return_fig
    Return scanpy's ``{result}`` to style further; nothing is drawn yet.
**kwargs
    Passed to :func:`scanpy.pl.{plot}`. By default each gene is scaled to its own range
    (``standard_scale="var"``), so that a bright one does not leave the others white; ``None``
    shows expression as it is.

Returns
-------
Dictionary of axes, as scanpy returns; ``None`` if `show`.

Raises
------
{grouped_raises}

Examples
--------
{select}
>>> yt.pl.selected_genes_{plot}(adata, groupby="cell_type")  # doctest: +SKIP""",
    "grouped": """\
{adata}
groupby
    Column of ``adata.obs`` with the groups; ``None``: the labels of the first categorical task.
    Cells without a group are left out. Names of genes that had to be in the panel (``include``)
    are in italics.
{key}
{n_genes}
{expression}""",
    "grouped_raises": """\
KeyError
    `adata` holds no selection under `key`, or a column or layer does not exist.
ValueError
    `n_genes` is out of range, `groupby` holds no groups, or it was not given and no task is
    categorical.""",
    "expression": """\
{source}
log
    Show ``log1p`` of the expression. ``None``: if it is counts, that is whole numbers. The
    title of the colour bar tells.
{gene_symbols}""",
    "adata": """\
adata
    Annotated data with the results of :func:`yoto_sc.tl.select`; not changed.""",
    "key": """\
key
    The selection's ``key_added``.""",
    "n_genes": """\
n_genes
    Show the best panel of this size from the same ranking. ``None``: the panel as selected.""",
    "source": """\
layer
    Layer to read expression from. ``None``: where the selection read it.
use_raw
    Read expression from ``adata.raw`` (``True``) or ``adata.X`` (``False``). ``None``: where
    the selection read it.""",
    "gene_symbols": """\
gene_symbols
    Column of ``adata.var`` with gene names to show instead of the var names.""",
    "ax": """\
ax
    Where to draw; ``None``: a new figure.
{show}""",
    "show": """\
show
    ``None``: return what was drawn; notebooks show it. ``True``: show it now and return
    ``None``. ``False``: only return it. In scripts no figure is left open.""",
    "select": """\
>>> import yoto_sc as yt
>>> yt.tl.select(adata, n_genes=32, categorical_keys=["cell_type"])  # doctest: +SKIP""",
}
"""What stands in the ``{named}`` places of docstrings; a part may name those that follow it."""


def fill(**parts: str) -> Callable[[Function], Function]:
    """Fill the ``{named}`` places of a docstring with shared text, and with `parts`."""

    def decorate(function: Function) -> Function:
        text = inspect.cleandoc(function.__doc__ or "")
        for name, part in {**SHARED, **parts}.items():
            text = text.replace(f"{{{name}}}", part)
        function.__doc__ = text
        return function

    return decorate
