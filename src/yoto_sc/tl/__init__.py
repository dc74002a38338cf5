"""Tools: select a panel, and predict from it."""

from yoto_sc.tl._predict import predict
from yoto_sc.tl._select import select
from yoto_sc.tl._substitutes import substitutes

__all__ = ["predict", "select", "substitutes"]
