"""What is learned from: labels as given, those of a teacher, and components of all genes."""

from yoto_sc.teach._components import (
    Components,
    find_components,
    normalised,
    typical_total,
)
from yoto_sc.teach._lesson import Lesson, prepare, with_components
from yoto_sc.teach._teacher import UnlabeledCells

__all__ = [
    "Components",
    "Lesson",
    "UnlabeledCells",
    "find_components",
    "normalised",
    "prepare",
    "typical_total",
    "with_components",
]
