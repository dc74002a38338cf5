"""Tools: select a panel, and predict from it."""

from yoto_sc.tl._predict import predict
from yoto_sc.tl._select import select

__all__ = ["predict", "select"]
