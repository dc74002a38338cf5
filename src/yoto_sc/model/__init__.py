"""The model, for users of scvi-tools."""

from yoto_sc.model._model import YOTO
from yoto_sc.train import Recipe, SelectionTrainingPlan, YOTOModule

__all__ = ["YOTO", "Recipe", "SelectionTrainingPlan", "YOTOModule"]
