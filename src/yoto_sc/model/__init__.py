"""The model, for users of scvi-tools."""

from yoto_sc.model._model import YOTO
from yoto_sc.model._module import YOTOModule
from yoto_sc.model._plan import SelectionTrainingPlan

__all__ = ["YOTO", "SelectionTrainingPlan", "YOTOModule"]
