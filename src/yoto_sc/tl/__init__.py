"""Tools: select a panel, predict from it, and judge any list of genes."""

from yoto_sc.tl._compare import compare
from yoto_sc.tl._evaluate import evaluate
from yoto_sc.tl._predict import predict
from yoto_sc.tl._select import select

__all__ = ["compare", "evaluate", "predict", "select"]
