"""One training: where it starts, its network, its batches, its course and its end."""

from yoto_sc.train._module import X_KEY, YOTOModule, task_key
from yoto_sc.train._plan import SelectionTrainingPlan
from yoto_sc.train._recipe import Recipe
from yoto_sc.train._start import LARGE_PANEL, LARGE_PANEL_STEPS, start_length
from yoto_sc.train._training import Trained, Training

__all__ = [
    "LARGE_PANEL",
    "LARGE_PANEL_STEPS",
    "X_KEY",
    "Recipe",
    "SelectionTrainingPlan",
    "Trained",
    "Training",
    "YOTOModule",
    "start_length",
    "task_key",
]
