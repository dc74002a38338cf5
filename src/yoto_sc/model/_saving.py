"""Saving and loading a model: plain files of our own, or scvi-tools' pickle."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Self

from scvi.model._utils import parse_device_args
from scvi.model.base import BaseModelClass

from yoto_sc.model._files import damaged, read_model, write_model
from yoto_sc.model._selection import Selection

if TYPE_CHECKING:
    from pathlib import Path

    from anndata import AnnData


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
        write_model(dir_path, description, self.module.state_dict(), overwrite=overwrite)

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
            selection = Selection.from_dict(description["selection"])
            model = cls(None, registry, **description["init"])
            model.selection_ = selection
            model.module.on_load(model)
            model.module.load_state_dict(weights)
        except (KeyError, TypeError, ValueError, RuntimeError, AttributeError) as error:
            raise damaged(dir_path, "its parts do not fit together") from error
        if adata is not None:
            cls.setup_anndata(adata, source_registry=registry, **registry["setup_args"])
            model.adata = adata
        _, _, target = parse_device_args(
            accelerator, device, return_device="torch", validate_single_device=True
        )
        model.to_device(target)
        model.module.eval()
        model.is_trained_ = True
        return model


def _refuse_scvi_arguments(format: str, **arguments: Any) -> None:
    """Refuse unknown formats, and arguments that only scvi-tools' own format knows."""
    if format != "safetensors":
        raise ValueError(f'format must be "safetensors" or "scvi", not {format!r}.')
    given = [name for name, value in arguments.items() if value]
    if given:
        raise TypeError(f'{given} can be used with format="scvi" only.')
