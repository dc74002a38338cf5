"""Data with a known answer, and real data that needs no download."""

from __future__ import annotations

from yoto_sc.datasets._pbmc68k import pbmc68k
from yoto_sc.datasets._planted import planted

__all__ = ["pbmc68k", "planted"]
