"""Closed-form selection: screening of candidates, and the stepwise warm start."""

from yoto_sc.select._screening import screen
from yoto_sc.select._stepwise import stepwise_order

__all__ = ["screen", "stepwise_order"]
