"""Writing predictions, in one place for all verbs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from anndata import AnnData

    from yoto_sc._keys import Keys
    from yoto_sc.model import YOTO
    from yoto_sc.model._predicting import Missing


def write_predictions(
    adata: AnnData,
    keys: Keys,
    model: YOTO,
    source: AnnData,
    *,
    layer: str | None = None,
    n_genes: int | None = None,
    missing: Missing = "error",
    min_confidence: float | None = None,
) -> None:
    """Write predictions, confidences and the representation of all cells.

    Parameters
    ----------
    adata
        Where to write.
    keys
        Under which names.
    model
        The trained model.
    source
        Where expression is read; the cells of `adata`, in their order.
    layer, n_genes, missing
        As in :meth:`yoto_sc.model.YOTO.predict`.
    min_confidence
        Confidence below which no label is written; `None`: all labels are.
    """
    predictions, latent = model.predict_all(source, layer=layer, n_genes=n_genes, missing=missing)
    for task, values in zip(model.tasks, predictions, strict=True):
        if task.kind == "categorical":
            codes, confidence = values.argmax(axis=1), values.max(axis=1).clip(0, 1)
            if min_confidence is not None:
                codes = np.where(confidence < min_confidence, -1, codes)
            adata.obs[keys.prediction(task.name)] = task.decode(codes)
            adata.obs[keys.confidence(task.name)] = confidence
        else:
            adata.obs[keys.prediction(task.name)] = values.astype(np.float32)
    adata.obsm[keys.latent] = latent
