"""From an object with a selection to a page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from yoto_sc._checks import check_adata
from yoto_sc._keys import DEFAULT_KEY
from yoto_sc._report._contents import gather
from yoto_sc._report._page import render

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData


def report(
    adata: AnnData,
    path: str | Path,
    *,
    key: str = DEFAULT_KEY,
    substitutes: pd.DataFrame | None = None,
    compared: pd.DataFrame | None = None,
    transferred: pd.DataFrame | None = None,
    title: str | None = None,
) -> None:
    """Write one page about a panel, for those who order it and those who were not there.

    The page is a single HTML file that needs nothing else: no network, no script from elsewhere.
    It says which genes were chosen and what each is for, how well they tell what was asked on
    cells that were held out, what to be careful about, which rules the panel meets and how far
    they are used, and how it was made. The table of genes can be sorted and searched, and saved as
    CSV.

    What other functions found is in it, too, if it was written to `adata` (`tl.stability`), or
    is given.

    Parameters
    ----------
    adata
        Annotated data that :func:`yoto_sc.tl.select` has written to; not changed. Expression may
        be absent, in memory, on disk or lazy; only that of the panel is read, for the dot plot and
        for what is expressed where.
    path
        HTML file to write; one that exists is replaced.
    key
        The ``key_added`` of the selection.
    substitutes
        What :func:`yoto_sc.tl.substitutes` returned for this panel: which genes may be swapped.
    compared
        What :func:`yoto_sc.tl.compare` returned: this panel beside other lists.
    transferred
        What :func:`yoto_sc.tl.transfer` returned: scores in another assay.
    title
        Heading of the page; `None`: the number of genes, and what they tell.

    Raises
    ------
    FileNotFoundError
        The directory of `path` does not exist.
    KeyError
        There is no selection under the key.
    ValueError
        A table lacks columns: it is not what the function returned.

    Examples
    --------
    >>> import yoto_sc as yt
    >>> adata = yt.datasets.pbmc68k()
    >>> yt.tl.select(adata, 16, categorical_keys="bulk_labels", max_steps=40, progress_bar=False)
    >>> yt.report(adata, "panel.html")  # doctest: +SKIP
    """
    check_adata(adata)
    contents = gather(
        adata,
        key,
        substitutes=substitutes,
        compared=compared,
        transferred=transferred,
        title=title,
    )
    Path(path).write_text(render(contents), encoding="utf-8")
