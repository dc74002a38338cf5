"""Closed-form selection: screening of candidates, and the stepwise warm start."""

from yoto_sc.select._labels import observed
from yoto_sc.select._screening import screen
from yoto_sc.select._stepwise import stepwise_order

__all__ = ["observed", "screen", "stepwise_order"]
