"""Tools: select a panel, predict and impute from it, judge lists of genes, and ask how firm.

And take all that to another assay.
"""

from yoto_sc.tl._adapt import adapt
from yoto_sc.tl._compare import compare
from yoto_sc.tl._evaluate import evaluate
from yoto_sc.tl._impute import impute
from yoto_sc.tl._predict import predict
from yoto_sc.tl._probe_failure import probe_failure
from yoto_sc.tl._select import select
from yoto_sc.tl._stability import stability
from yoto_sc.tl._substitutes import substitutes
from yoto_sc.tl._transfer import transfer

__all__ = [
    "adapt",
    "compare",
    "evaluate",
    "impute",
    "predict",
    "probe_failure",
    "select",
    "stability",
    "substitutes",
    "transfer",
]
