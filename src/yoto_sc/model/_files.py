"""Model files that hold weights and plain data only, so that loading one runs no code."""

from __future__ import annotations

import datetime
import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import safetensors
import safetensors.torch

from yoto_sc._version import __version__

if TYPE_CHECKING:
    import torch

FORMAT = "yoto_sc.model.YOTO"
FORMAT_VERSION = 2
DESCRIPTION_FILE = "model.json"
WEIGHTS_FILE = "model.safetensors"


def write_model(
    directory: str | Path,
    description: dict[str, Any],
    weights: dict[str, torch.Tensor],
    *,
    overwrite: bool,
) -> None:
    """Write a model as ``model.json`` and ``model.safetensors``.

    Raises
    ------
    FileExistsError
        `directory` exists and `overwrite` is not set.
    """
    directory = Path(directory)
    if directory.exists() and not overwrite:
        raise FileExistsError(
            f"{directory} already exists. Choose another directory, or pass overwrite=True."
        )
    blob = safetensors.torch.save(
        {name: t.detach().cpu().contiguous() for name, t in weights.items()}
    )
    content = json.loads(json.dumps(description, default=_plain, allow_nan=False))
    record = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "yoto_sc_version": __version__,
        "weights_sha256": hashlib.sha256(blob).hexdigest(),
        "model_sha256": _content_hash(content),
        "model": content,
    }
    text = json.dumps(record)
    directory.mkdir(parents=True, exist_ok=True)
    (directory / WEIGHTS_FILE).write_bytes(blob)
    (directory / DESCRIPTION_FILE).write_text(text, encoding="utf-8")


def read_model(directory: str | Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """Read what `write_model` wrote; nothing in the files is executed.

    Returns
    -------
    The description and the weights.

    Raises
    ------
    FileNotFoundError
        There is no model in `directory`.
    ValueError
        The files are damaged, belong together no more, or were written by another version.
    """
    directory = Path(directory)
    paths = directory / DESCRIPTION_FILE, directory / WEIGHTS_FILE
    for path in paths:
        if not path.is_file():
            raise FileNotFoundError(
                f"{directory} holds no model of yoto_sc: there is no file {path.name}."
            )
    try:
        record = json.loads(paths[0].read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise damaged(directory, f"{DESCRIPTION_FILE} cannot be read") from error
    known = isinstance(record, dict) and record.get("format") == FORMAT
    version = record.get("format_version") if known else None
    if not isinstance(version, int) or version < 1:
        raise damaged(directory, f"{DESCRIPTION_FILE} does not describe a model of yoto_sc")
    if version != FORMAT_VERSION:
        what_to_do = "Update yoto_sc." if version > FORMAT_VERSION else "Train the model again."
        raise ValueError(
            f"The model in {directory} has format {version}, written by yoto_sc "
            f"{record.get('yoto_sc_version')}; this is {__version__}, which reads format "
            f"{FORMAT_VERSION}. {what_to_do}"
        )
    content = record.get("model")
    if not isinstance(content, dict) or _content_hash(content) != record.get("model_sha256"):
        raise damaged(directory, f"{DESCRIPTION_FILE} is not what was saved")
    blob = paths[1].read_bytes()
    if hashlib.sha256(blob).hexdigest() != record.get("weights_sha256"):
        raise damaged(directory, f"{WEIGHTS_FILE} is not the file that was saved")
    try:
        return content, safetensors.torch.load(blob)
    except safetensors.SafetensorError as error:
        raise damaged(directory, f"{WEIGHTS_FILE} cannot be read") from error


def damaged(directory: str | Path, why: str) -> ValueError:
    """Return the error for files that cannot be used."""
    return ValueError(
        f"The model in {directory} is damaged: {why}. Save it again, or copy it anew."
    )


def _content_hash(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _plain(value: Any) -> Any:
    """Turn what JSON does not know into what it does."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, datetime.date):  # a time is one, too
        return str(value)
    raise TypeError(f"{type(value).__name__} cannot be saved in a model file.")
