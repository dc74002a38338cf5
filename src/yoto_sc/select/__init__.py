"""Closed-form selection: screening of candidates, the stepwise warm start, what a gene adds."""

from yoto_sc.select._attribution import confusion_without
from yoto_sc.select._batches import batch_spread
from yoto_sc.select._blocks import stepwise_blocks
from yoto_sc.select._pairs import MANY_CLASSES
from yoto_sc.select._profiles import Profile
from yoto_sc.select._screening import Screening, survey
from yoto_sc.select._stepwise import stepwise_order
from yoto_sc.select._targets import Classes, Numbers, Target, Vectors

__all__ = [
    "MANY_CLASSES",
    "Classes",
    "Numbers",
    "Profile",
    "Screening",
    "Target",
    "Vectors",
    "batch_spread",
    "confusion_without",
    "stepwise_blocks",
    "stepwise_order",
    "survey",
]
