"""Saving and loading a model: plain files of our own, or scvi-tools' pickle."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Self

import torch
from scvi.model.base import BaseModelClass

from yoto_sc.assay import Novelty, Reference
from yoto_sc.judge import Selection
from yoto_sc.model._files import damaged, read_model, write_model
from yoto_sc.teach import Decoder

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from anndata import AnnData
    from numpy.typing import NDArray

_DECODER, _DECODED = "decoder.", ("weights", "intercept", "correlation")
"""What the arrays of a decoder are called among the weights."""
_REFERENCE = "reference."
_REMEMBERED = ("shares", "means", "squares", "counts", "fewest")
"""What the arrays of a reference are called among the weights."""
_NOVELTY, _COMPARED = "novelty.", ("scale", "whitening", "means", "quantiles")
"""What those of a task's novelty are called."""
_FORMER = {"n_candidates"}
"""Arguments that models of the first version were saved with, and that are no more."""


class SavingMixin(BaseModelClass):
    """The methods of :class:`~yoto_sc.model.YOTO` that write and read its files."""

    def save(
        self,
        dir_path: str | Path,
        prefix: str | None = None,
        overwrite: bool = False,
        save_anndata: bool = False,
        *,
        format: Literal["safetensors", "scvi"] = "safetensors",
        **kwargs: Any,
    ) -> None:
        """Save the trained model to a directory.

        Parameters
        ----------
        dir_path
            Directory; made if absent.
        prefix
            Put before the file names; for ``format="scvi"`` only.
        overwrite
            Whether to write into a directory that exists.
        save_anndata
            Whether to write the data too; for ``format="scvi"`` only.
        format
            ``"safetensors"``: the panel's weights and plain JSON, to share with anybody.
            ``"scvi"``: scvi-tools' own format, a pickle.
        **kwargs
            For scvi-tools' ``save``.

        Raises
        ------
        FileExistsError
            The directory exists and `overwrite` is not set.
        """
        if format == "scvi":
            super().save(str(dir_path), prefix, overwrite, save_anndata, **kwargs)
            return
        _refuse_scvi_arguments(format, prefix=prefix, save_anndata=save_anndata, **kwargs)
        description = {
            "registry": self.registry,
            "init": self.init_params_["non_kwargs"],
            "selection": self.selection.to_dict(),
        }
        weights = self.module.state_dict()
        if self.decoder_ is not None:
            description["decoder_total"] = self.decoder_.total
            weights |= _put(_DECODER, self.decoder_, _DECODED)
        if self.reference_ is not None:
            description["reference_task"] = self.reference_.task
            weights |= _put(_REFERENCE, self.reference_, _REMEMBERED)
        description["novelty_tasks"] = sorted(self.novelties_)
        for position, novelty in self.novelties_.items():
            weights |= _put(f"{_NOVELTY}{position}.", novelty, _COMPARED)
        write_model(dir_path, description, weights, overwrite=overwrite)

    @classmethod
    def load(
        cls,
        dir_path: str | Path,
        adata: AnnData | None = None,
        accelerator: str = "auto",
        device: int | str = "auto",
        prefix: str | None = None,
        *,
        format: Literal["safetensors", "scvi"] = "safetensors",
        **kwargs: Any,
    ) -> Self:
        """Load a trained model.

        Parameters
        ----------
        dir_path
            Directory that `save` wrote.
        adata
            Data to attach, with all genes of the training data in their order. It is not needed
            to predict.
        accelerator, device
            Where to put the model, as in scvi-tools.
        prefix
            Prefix of the file names; for ``format="scvi"`` only.
        format
            ``"safetensors"`` runs no code from the files. ``"scvi"`` unpickles: load such files
            from people you trust only.
        **kwargs
            For scvi-tools' ``load``.

        Raises
        ------
        FileNotFoundError
            There is no model in the directory.
        ValueError
            The files are damaged, or written by another version.
        """
        if format == "scvi":
            return super().load(str(dir_path), adata, accelerator, device, prefix, **kwargs)
        _refuse_scvi_arguments(format, prefix=prefix, **kwargs)
        description, weights = read_model(dir_path)
        try:
            registry = description["registry"]
            former = _of_first_version(registry, description["selection"])
            selection = Selection.from_dict({**former, **description["selection"]})
            init = {k: v for k, v in description["init"].items() if k not in _FORMER}
            model = cls(None, registry, **init)
            model.selection_ = selection
            model.module.on_load(model)
            if "decoder_total" in description:
                arrays = _take(_DECODER, weights, _DECODED)
                model.decoder_ = Decoder(float(description["decoder_total"]), **arrays)
            if "reference_task" in description:
                arrays = _take(_REFERENCE, weights, _REMEMBERED)
                model.reference_ = Reference(int(description["reference_task"]), **arrays)
            for position in description.get("novelty_tasks", []):
                arrays = _take(f"{_NOVELTY}{position}.", weights, _COMPARED)
                model.novelties_[position] = Novelty(**arrays)
            model.module.load_state_dict(weights)
        except (KeyError, TypeError, ValueError, RuntimeError, AttributeError) as error:
            raise damaged(dir_path, "its parts do not fit together") from error
        if adata is not None:
            cls.setup_anndata(adata, source_registry=registry, **registry["setup_args"])
            model.adata = adata
        model.to_device(_device(accelerator, device))
        model.module.eval()
        model.is_trained_ = True
        return model


def _put(prefix: str, record: object, names: Sequence[str]) -> dict[str, torch.Tensor]:
    """Return the arrays of a record as they are called among the weights."""
    return {f"{prefix}{name}": torch.from_numpy(getattr(record, name)) for name in names}


def _take(
    prefix: str, weights: dict[str, torch.Tensor], names: Sequence[str]
) -> dict[str, NDArray[Any]]:
    """Take the arrays of a record from among the weights."""
    return {name: weights.pop(f"{prefix}{name}").numpy() for name in names}


def _of_first_version(registry: dict[str, Any], record: dict[str, Any]) -> dict[str, Any]:
    """Return what the first version did not save: predictions, and where expression was read."""
    layer = registry["setup_args"]["layer"]
    source = "raw" if record.get("from_raw") else "X" if layer is None else f"layers/{layer}"
    return {"held_out": {"index_name": None, "index": [], "columns": {}}, "source": source}


def _device(accelerator: str, device: int | str) -> torch.device:
    """Return the device that scvi-tools' words stand for.

    Raises
    ------
    ValueError
        There is no such accelerator here.
    """
    has_cuda = torch.cuda.is_available()
    if accelerator == "auto":
        accelerator = "cuda" if has_cuda else "cpu"
    if accelerator == "gpu":
        accelerator = "cuda" if has_cuda else "mps"
    there = {"cpu": True, "cuda": has_cuda, "mps": torch.backends.mps.is_available()}
    if not there.get(accelerator, False):
        raise ValueError(
            f"accelerator={accelerator!r} is not there; there are "
            f"{[name for name, is_there in there.items() if is_there]}."
        )
    return torch.device(
        accelerator, int(device) if accelerator == "cuda" and device != "auto" else 0
    )


def _refuse_scvi_arguments(format: str, **arguments: Any) -> None:
    """Refuse unknown formats, and arguments that only scvi-tools' own format knows."""
    if format != "safetensors":
        raise ValueError(f'format must be "safetensors" or "scvi", not {format!r}.')
    given = [name for name, value in arguments.items() if value]
    if given:
        raise TypeError(f'{given} can be used with format="scvi" only.')
