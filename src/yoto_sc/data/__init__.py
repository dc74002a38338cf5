"""What is read: the only folder that knows where numbers lie, and what labels look like."""

from yoto_sc.data._chunked import ChunkedExpression
from yoto_sc.data._expression import Expression
from yoto_sc.data._in_memory import MemoryExpression
from yoto_sc.data._kinds import (
    KINDS,
    TRANSCRIPTOME,
    Categorical,
    Continuous,
    Task,
    Transcriptome,
    Vector,
)
from yoto_sc.data._levels import Levels, find_levels
from yoto_sc.data._opening import NoTableError, open_file
from yoto_sc.data._reading import former_layer, layer_of, read_expression
from yoto_sc.data._summary import FEW_CELLS, FLOOR_IN_ALL, FLOOR_IN_CLASS, summarize
from yoto_sc.data._tasks import (
    check_task_keys,
    keys_by_kind,
    n_components,
    named_tasks,
    point_out_no_labels,
    read_tasks,
    task_from_dict,
    with_weights,
)
from yoto_sc.data._values import joined

__all__ = [
    "FEW_CELLS",
    "FLOOR_IN_ALL",
    "FLOOR_IN_CLASS",
    "KINDS",
    "TRANSCRIPTOME",
    "Categorical",
    "ChunkedExpression",
    "Continuous",
    "Expression",
    "Levels",
    "MemoryExpression",
    "NoTableError",
    "Task",
    "Transcriptome",
    "Vector",
    "check_task_keys",
    "find_levels",
    "former_layer",
    "joined",
    "keys_by_kind",
    "layer_of",
    "n_components",
    "open_file",
    "named_tasks",
    "point_out_no_labels",
    "read_expression",
    "read_tasks",
    "summarize",
    "task_from_dict",
    "with_weights",
]
