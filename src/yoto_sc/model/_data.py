"""Minibatches for selection: every member of the ensemble sees its own cells."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from lightning.pytorch import LightningDataModule

from yoto_sc.model._fields import task_key
from yoto_sc.model._module import X_KEY
from yoto_sc.model._splits import at_most

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import scipy.sparse as sp
    from numpy.typing import NDArray

    from yoto_sc._tasks import Task
    from yoto_sc.model._splits import Split

    Tensors = dict[str, torch.Tensor]

_DENSE_BYTES = 256 * 2**20
"""The genes of the training cells are held densely if they take no more than this."""
_SMALLEST_SHARE = 0.1
"""Thinned cells keep at least this share of their counts, on average."""
_SAMPLE_CELLS = 20_000
"""The order of the panel is taken from at most this many training cells."""


class Cells:
    """Expression and labels of some cells, handed out densely for the cells asked for.

    Parameters
    ----------
    values
        CSR matrix of shape ``(n_obs, n_genes)`` on the model's scale.
    labels
        Encoded labels by registry key, each of shape ``(n_obs,)``.
    """

    def __init__(self, values: sp.csr_matrix, labels: dict[str, NDArray[Any]]) -> None:
        self._sparse = values
        self._dense: torch.Tensor | None = None
        self.labels = {key: torch.from_numpy(array) for key, array in labels.items()}
        self._densify_if_small()

    def __len__(self) -> int:
        return int(self._sparse.shape[0])

    def narrow(self, genes: NDArray[np.intp]) -> None:
        """Keep only some genes, in the given order."""
        self._sparse = self._sparse[:, genes]
        if self._dense is None:
            self._densify_if_small()
        else:
            self._dense = self._dense[:, torch.from_numpy(genes)].contiguous()

    def batch(self, index: NDArray[np.intp]) -> Tensors:
        """Return the cells `index`, of shape ``(…)``: ``X`` ``(…, n_genes)``, labels ``(…)``."""
        cells = torch.from_numpy(index)
        if self._dense is not None:
            values = self._dense[cells]
        else:
            rows = torch.from_numpy(self._sparse[index.ravel()].toarray())
            values = rows.view(*index.shape, -1)
        return {X_KEY: values, **{key: labels[cells] for key, labels in self.labels.items()}}

    def moments(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return mean and standard deviation of each gene, 1 where constant; ``(n_genes,)``."""
        mean = np.asarray(self._sparse.mean(axis=0, dtype=np.float64)).ravel()
        square = np.asarray(self._sparse.power(2).mean(axis=0, dtype=np.float64)).ravel()
        scale = np.sqrt(np.maximum(square - mean**2, 0))
        scale[scale <= 1e-6 * np.maximum(mean, 1)] = 1.0
        return mean.astype(np.float32), scale.astype(np.float32)

    def everything(self) -> Tensors:
        """Return all cells as one batch."""
        return self.batch(np.arange(len(self)))

    def _densify_if_small(self) -> None:
        if 4 * self._sparse.shape[0] * self._sparse.shape[1] <= _DENSE_BYTES:
            self._dense = torch.from_numpy(self._sparse.toarray())


class _Shuffled:
    """Draws cells without replacement, pass after pass, for each member in an order of its own."""

    def __init__(self, n_cells: int, n_members: int, rng: np.random.Generator) -> None:
        self._n_cells = n_cells
        self._rng = rng
        self._queues = [np.empty(0, dtype=np.intp) for _ in range(n_members)]

    def draw(self, n_cells: int) -> NDArray[np.intp]:
        """Return cell indices of shape ``(n_members, n_cells)``."""
        return np.stack([self._draw(member, n_cells) for member in range(len(self._queues))])

    def _draw(self, member: int, n_cells: int) -> NDArray[np.intp]:
        queue = self._queues[member]
        while len(queue) < n_cells:
            queue = np.concatenate([queue, self._rng.permutation(self._n_cells)])
        self._queues[member] = queue[n_cells:]
        return queue[:n_cells]


class SelectionData(LightningDataModule):
    """Training and validation batches of one selection.

    Parameters
    ----------
    values
        CSR matrix of shape ``(n_obs, n_genes)`` on the model's scale, all cells.
    labels
        Encoded labels by registry key, each of shape ``(n_obs,)``.
    split
        Training and held-out cells.
    n_members
        Size of the ensemble.
    batch_size
        Cells in a batch, for each member.
    n_steps
        Batches in an epoch.
    rng
        Source of randomness.

    Attributes
    ----------
    thin
        Whether the cells of a batch keep but a random share of their counts.
    """

    def __init__(
        self,
        values: sp.csr_matrix,
        labels: dict[str, NDArray[Any]],
        split: Split,
        *,
        n_members: int,
        batch_size: int,
        n_steps: int,
        rng: np.random.Generator,
    ) -> None:
        super().__init__()
        self.train = Cells(values[split.train], _rows(labels, split.train))
        self.validation = Cells(values[split.validation], _rows(labels, split.validation))
        self._cells = _Shuffled(len(self.train), n_members, rng)
        self.batch_size = batch_size
        self._sample_seed = int(rng.integers(2**31))
        self._rng = rng
        self.n_steps = n_steps
        self.thin = False

    def narrow(self, genes: NDArray[np.intp]) -> None:
        """Keep only some genes."""
        self.train.narrow(genes)
        self.validation.narrow(genes)

    def sample(self) -> tuple[NDArray[np.float32], list[NDArray[Any]]]:
        """Return expression and labels of at most 20,000 training cells."""
        rng = np.random.default_rng(self._sample_seed)
        cells = at_most(_SAMPLE_CELLS, np.arange(len(self.train)), rng)
        tensors = {key: values.numpy() for key, values in self.train.batch(cells).items()}
        return tensors.pop(X_KEY), list(tensors.values())

    def train_dataloader(self) -> _Epoch:
        """Return the batches of an epoch, drawn when they are asked for."""
        return _Epoch(self._next_batch, self.n_steps)

    def val_dataloader(self) -> _Epoch:
        """Return the held-out cells as one batch, or nothing if no cell is held out."""
        return _Epoch(self.validation.everything, min(1, len(self.validation)))

    def _next_batch(self) -> Tensors:
        batch = self.train.batch(self._cells.draw(self.batch_size))
        if self.thin:
            _thin(batch[X_KEY].numpy(), self._rng)
        return batch


def _thin(values: NDArray[np.float32], rng: np.random.Generator) -> None:
    """Let every cell keep a share of its counts, log-uniform from a tenth to all; in place.

    `values` are ``log1p`` of counts, of shape ``(…, n_genes)``.
    """
    share = np.exp(rng.uniform(np.log(_SMALLEST_SHARE), 0, values.shape[:-1]))
    expressed = values.nonzero()
    counts = np.rint(np.expm1(values[expressed])).astype(np.int64)
    values[expressed] = np.log1p(rng.binomial(counts, share[expressed[:-1]]))


class _Epoch:
    """Iterable of a fixed number of batches, each made when its turn comes."""

    def __init__(self, make_batch: Callable[[], Any], n_batches: int) -> None:
        self._make_batch = make_batch
        self._n_batches = n_batches

    def __len__(self) -> int:
        return self._n_batches

    def __iter__(self) -> Iterator[Any]:
        for _ in range(self._n_batches):
            yield self._make_batch()


def _rows(labels: dict[str, NDArray[Any]], index: NDArray[np.intp]) -> dict[str, NDArray[Any]]:
    return {key: array[index] for key, array in labels.items()}


def labels_of(batch: Tensors, tasks: Sequence[Task]) -> list[NDArray[Any]]:
    """Return the labels of a batch, one array for each task."""
    return [batch[task_key(position)].numpy() for position in range(len(tasks))]
