"""Models, as verbs take them: objects, or directories."""

from __future__ import annotations

from os import PathLike
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from yoto_sc.model import YOTO


def as_model(model: str | Path | YOTO) -> YOTO:
    """Return the model, loaded if it is a directory.

    Raises
    ------
    FileNotFoundError, ValueError
        There is no model in the directory, or a damaged one.
    TypeError
        It is neither.
    """
    from yoto_sc.model import YOTO  # takes seconds to import; errors should not wait

    if isinstance(model, str | PathLike):
        model = YOTO.load(model, accelerator="cpu")
    if not isinstance(model, YOTO):
        raise TypeError(
            "model must be a yoto_sc.model.YOTO or the directory of a saved one, not "
            f"{type(model).__name__}."
        )
    return model
