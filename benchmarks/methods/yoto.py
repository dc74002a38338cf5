"""`tl.select` with its defaults; predicts with the model that it saved."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yoto_sc as yt
from methods.base import Fitted

if TYPE_CHECKING:
    from collections.abc import Mapping

    import anndata as ad

    from methods.base import Prediction, Training


def fit(
    training: Training,
    k: int,
    seed: int,
    *,
    max_steps: int | None = None,
    model_kwargs: Mapping[str, Any] | None = None,
    train_kwargs: Mapping[str, Any] | None = None,
) -> Fitted:
    """Select `k` genes; some of the training cells are held out on the way."""
    folder = tempfile.mkdtemp()
    selected = yt.tl.select(
        training.adata,
        k,
        categorical_keys=training.categorical,
        continuous_keys=training.continuous,
        split_key=training.split_key,
        group_key=None,
        random_state=seed,
        max_steps=max_steps,
        model_dir=Path(folder) / "model",
        model_kwargs=model_kwargs,
        train_kwargs=train_kwargs,
        progress_bar=False,
        copy=True,
    )
    model = yt.model.YOTO.load(Path(folder) / "model")
    shutil.rmtree(folder)

    def predict(adata: ad.AnnData, n_genes: int) -> dict[str, Prediction]:
        values = model.predict(adata, n_genes=n_genes)
        return {
            **model.predict_proba(adata, n_genes=n_genes),
            **{key: values[key].to_numpy() for key in training.continuous},
        }

    return Fitted(yt.Panel.from_adata(selected).genes, predict)
