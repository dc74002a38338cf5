"""Nothing is computed twice: the network sees the held-out cells once for each question."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from lightning.pytorch.callbacks import Callback

import yoto_sc as yt
from yoto_sc.nn import Encoder

if TYPE_CHECKING:
    from collections.abc import Callable

    from anndata import AnnData

    Mask = tuple[bool, ...]


class Judging(Callback):
    """Writes down the passes through the network that are no training: cells and mask."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.is_training = False
        self.passes: Counter[tuple[int, Mask]] = Counter()
        real = Encoder.forward

        def forward(encoder: Any, inputs: Any, mask: Any) -> Any:
            if not self.is_training:
                self.passes[inputs.shape[1], tuple(mask.bool().flatten().tolist())] += 1
            return real(encoder, inputs, mask)

        monkeypatch.setattr(Encoder, "forward", forward)

    def on_fit_start(self, *args: Any) -> None:
        self.is_training = True

    def on_fit_end(self, *args: Any) -> None:
        self.is_training = False

    def of(self, n_cells: int) -> Counter[Mask]:
        return Counter({mask: n for (cells, mask), n in self.passes.items() if cells == n_cells})


def prefix(size: int, n_trained: int) -> Mask:
    return tuple(rank < size for rank in range(n_trained))


def without(gene: int, size: int, n_trained: int) -> Mask:
    return tuple(rank < size and rank != gene for rank in range(n_trained))


@pytest.mark.parametrize("n_genes", [6, "auto"])
def test_held_out_cells_are_predicted_once_for_each_size_and_each_missing_gene(
    adata: AnnData,
    select: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    n_genes: Any,
) -> None:
    """The panel without its last gene is also the next smaller one: that may come twice.

    The whole panel does, the second time for how unlike the training cells they are.
    """
    judging = Judging(monkeypatch)
    select(adata, n_genes, train_kwargs={"refit": False, "callbacks": [judging]})
    path = adata.uns["yoto"]["path"].query("predictor == 'network'")
    sizes = path["n_genes"].unique()
    size = yt.Panel.from_adata(adata).n_genes
    wanted = Counter(prefix(k, max(sizes)) for k in (*sizes, size))
    wanted.update(without(gene, size, max(sizes)) for gene in range(size))
    seen = judging.of(len(adata.uns["yoto"]["held_out"]))
    assert prefix(size, max(sizes)) in seen
    assert {sum(mask): n for mask, n in (seen - wanted).items()} == {}
    assert judging.of(adata.n_obs) == {prefix(size, max(sizes)): 1}
