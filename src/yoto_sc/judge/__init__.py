"""What held-out cells say: splits, scores, the path, what genes are for, and exchanges of them."""

from yoto_sc.judge._assay_table import AssayTables, assay_tables, warnings_on
from yoto_sc.judge._attribution import attribute, panel_table, without_table
from yoto_sc.judge._exchanges import Exchange, Exchanges
from yoto_sc.judge._failures import Failures, lost_genes
from yoto_sc.judge._judgement import Answers, Judgement, judge, path_sizes
from yoto_sc.judge._linear_heads import HeadJudgement
from yoto_sc.judge._ridge import ridge_path
from yoto_sc.judge._roles import Role, is_measurable, verdict_on
from yoto_sc.judge._scores import beyond_chance, mean_score, task_score
from yoto_sc.judge._selection import Selection
from yoto_sc.judge._splits import (
    MAX_CELLS,
    Split,
    all_cells,
    at_most,
    bounded,
    default_validation_size,
    fold_cells,
    split_cells,
)
from yoto_sc.judge._tables import predictions_table

__all__ = [
    "MAX_CELLS",
    "Answers",
    "AssayTables",
    "Exchange",
    "Exchanges",
    "Failures",
    "HeadJudgement",
    "Judgement",
    "Role",
    "Selection",
    "Split",
    "all_cells",
    "at_most",
    "bounded",
    "assay_tables",
    "attribute",
    "beyond_chance",
    "default_validation_size",
    "fold_cells",
    "is_measurable",
    "judge",
    "lost_genes",
    "mean_score",
    "panel_table",
    "path_sizes",
    "predictions_table",
    "ridge_path",
    "split_cells",
    "task_score",
    "verdict_on",
    "warnings_on",
    "without_table",
]
