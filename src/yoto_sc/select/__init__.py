"""Closed-form selection: screening of candidates, the stepwise warm start, what a gene adds."""

from yoto_sc.select._attribution import confusion_without
from yoto_sc.select._labels import observed
from yoto_sc.select._screening import beyond_chance, screen
from yoto_sc.select._stepwise import stepwise_order

__all__ = ["beyond_chance", "confusion_without", "observed", "screen", "stepwise_order"]
