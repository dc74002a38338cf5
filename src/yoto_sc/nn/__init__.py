"""Networks in plain torch: selector, shared encoder, heads, and the schedules of training."""

from yoto_sc.nn._encoder import Encoder
from yoto_sc.nn._heads import HEADS, CrossEntropyHead, Head, SquaredErrorHead, VectorHead
from yoto_sc.nn._narrow import narrow
from yoto_sc.nn._relaxations import (
    Relaxation,
    hard_top_k,
    plackett_luce_top_k,
    threshold_top_k,
)
from yoto_sc.nn._schedules import Annealing, Geometric, Linear
from yoto_sc.nn._selector import Selector

__all__ = [
    "HEADS",
    "Annealing",
    "CrossEntropyHead",
    "Encoder",
    "Geometric",
    "Head",
    "Linear",
    "Relaxation",
    "Selector",
    "SquaredErrorHead",
    "VectorHead",
    "hard_top_k",
    "narrow",
    "plackett_luce_top_k",
    "threshold_top_k",
]
