"""The report: one page about a panel, for those who order it and those who were not there."""

from yoto_sc._report._report import report

__all__ = ["report"]
