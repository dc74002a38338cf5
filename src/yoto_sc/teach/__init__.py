"""What is learned from: labels as given, those of a teacher, and components of all genes."""

from yoto_sc.teach._components import (
    Components,
    find_components,
    normalised,
    typical_total,
)
from yoto_sc.teach._decoder import Decoder, Joint, fit_decoder
from yoto_sc.teach._lesson import Lesson, prepare, with_components
from yoto_sc.teach._teacher import UnlabeledCells

__all__ = [
    "Components",
    "Decoder",
    "Joint",
    "Lesson",
    "UnlabeledCells",
    "find_components",
    "fit_decoder",
    "normalised",
    "prepare",
    "typical_total",
    "with_components",
]
