"""Pick exactly k genes for several questions, and predict from them, in one training.

Used beside scanpy::

    import yoto_sc as yt

    yt.tl.select(adata, n_genes=32, categorical_keys=["cell_type"])
    yt.pl.selected_genes(adata)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from yoto_sc._version import __version__

if TYPE_CHECKING:
    from yoto_sc import datasets, model, pl, tl
    from yoto_sc._panel import Panel
    from yoto_sc._report import report

__all__ = ["Panel", "__version__", "datasets", "model", "pl", "report", "tl"]

_NAMESPACES = frozenset({"datasets", "model", "pl", "tl"})
_HOMES = {"Panel": "yoto_sc._panel", "report": "yoto_sc._report"}
"""Where what is no namespace lives."""


def __getattr__(name: str) -> Any:
    """Import a namespace when it is first used, so that `import yoto_sc` stays light (PEP 562)."""
    if name in _NAMESPACES:
        return importlib.import_module(f"yoto_sc.{name}")
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
