"""The kinds of tasks, one file each; a new kind is one more file and one more line here."""

from __future__ import annotations

from yoto_sc.data._kinds._categorical import Categorical
from yoto_sc.data._kinds._continuous import Continuous
from yoto_sc.data._kinds._task import Task
from yoto_sc.data._kinds._transcriptome import TRANSCRIPTOME, Transcriptome
from yoto_sc.data._kinds._vector import Vector

KINDS: dict[str, type[Task]] = {
    kind.kind: kind
    for kind in (
        Categorical,
        Continuous,
        Vector,
        Transcriptome,
    )
}
"""In the order in which their tasks come."""

__all__ = [
    "KINDS",
    "TRANSCRIPTOME",
    "Categorical",
    "Continuous",
    "Task",
    "Transcriptome",
    "Vector",
]
