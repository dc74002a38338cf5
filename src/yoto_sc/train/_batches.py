"""Minibatches for selection: every member of the ensemble sees its own cells."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp
import torch
from lightning.pytorch import LightningDataModule

from yoto_sc.assay import imitate
from yoto_sc.judge import at_most
from yoto_sc.select import batch_spread
from yoto_sc.train._module import X_KEY, task_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from yoto_sc.assay import Robust
    from yoto_sc.teach import Lesson
    from yoto_sc.train._recipe import Recipe

    Tensors = dict[str, torch.Tensor]

_DENSE_BYTES = 256 * 2**20
"""The genes of the training cells are held densely if they take no more than this."""
_DEVICE_BYTES = 2 * 2**30
"""The same where they lie on an accelerator, which would wait for cells that are made dense."""
_SAMPLE_CELLS = 20_000
"""The order of the panel is taken from at most this many training cells."""
_WATCHED_CELLS = 5000
"""At most so many held-out cells are looked at on the way and along the path."""
_N_EPOCHS = 40
"""Epochs of a training; the held-out cells are looked at after each."""


class Cells:
    """Expression and labels of some cells, handed out densely for the cells asked for.

    What is handed out lies on the device that the cells were sent to, if they fit there.
    """

    def __init__(self, values: sp.csr_matrix, labels: Sequence[NDArray[Any]]) -> None:
        self._sparse = values
        self._dense: torch.Tensor | None = None
        self._device = torch.device("cpu")
        self._labels = {
            task_key(position): torch.from_numpy(array) for position, array in enumerate(labels)
        }
        self._densify_if_small()

    @property
    def labels(self) -> list[NDArray[Any]]:
        """For each task, the encoded labels, ``(n_obs, …)``."""
        return [labels.numpy(force=True) for labels in self._labels.values()]

    def __len__(self) -> int:
        return int(self._sparse.shape[0])

    def to(self, device: torch.device) -> None:
        """Keep what is handed out on a device, so that nothing travels while it trains."""
        self._device = device
        self._labels = {key: labels.to(device) for key, labels in self._labels.items()}
        if self._dense is None:
            self._densify_if_small()
        else:
            self._dense = self._dense.to(device)

    def narrow(self, genes: NDArray[np.intp]) -> None:
        """Keep only some genes, in the given order."""
        self._sparse = self._sparse[:, genes]
        if self._dense is None:
            self._densify_if_small()
        else:
            columns = torch.from_numpy(genes).to(self._device)
            self._dense = self._dense[:, columns].contiguous()

    def batch(self, index: NDArray[np.intp]) -> Tensors:
        """Return the cells `index`, of shape ``(…)``: ``X`` ``(…, n_genes)``, and their labels."""
        cells = torch.from_numpy(index).to(self._device)
        if self._dense is not None:
            values = self._dense[cells]
        else:
            rows = torch.from_numpy(self._sparse[index.ravel()].toarray())
            values = rows.view(*index.shape, -1).to(self._device)
        return {X_KEY: values, **{key: labels[cells] for key, labels in self._labels.items()}}

    def moments(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return mean and standard deviation of each gene, 1 where constant; ``(n_genes,)``."""
        mean = np.asarray(self._sparse.mean(axis=0, dtype=np.float64)).ravel()
        square = np.asarray(self._sparse.power(2).mean(axis=0, dtype=np.float64)).ravel()
        scale = np.sqrt(np.maximum(square - mean**2, 0))
        scale[scale <= 1e-6 * np.maximum(mean, 1)] = 1.0
        return mean.astype(np.float32), scale.astype(np.float32)

    def _densify_if_small(self) -> None:
        most = _DENSE_BYTES if self._device.type == "cpu" else _DEVICE_BYTES
        if 4 * self._sparse.shape[0] * self._sparse.shape[1] <= most:
            self._dense = torch.from_numpy(self._sparse.toarray()).to(self._device)


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
    """Training and validation batches of one training.

    Parameters
    ----------
    lesson
        All cells and genes, and what is to be learned.
    genes
        Indices of the genes that take part, ``(n_genes,)``.
    recipe
        How long to train, and in which batches.
    n_members
        Size of the ensemble.

    Attributes
    ----------
    watched
        Positions, among the held-out cells, of those that are looked at on the way and along the
        path: all, if these are not very many; shape ``(n_watched,)``.
    imitated
        Which other assays are imitated in every batch; `None`: none.
    """

    imitated: Robust | None = None

    def __init__(
        self,
        lesson: Lesson,
        genes: NDArray[np.intp],
        recipe: Recipe,
        n_members: int,
        rng: np.random.Generator,
    ) -> None:
        super().__init__()
        self._noise_rng, watched_rng = rng.spawn(2)
        self.train, self.validation = (
            Cells(lesson.problem.expression.take(cells, genes), [array[cells] for array in labels])
            for cells, labels in (
                (lesson.split.train, lesson.labels),
                (lesson.split.validation, lesson.problem.labels),
            )
        )
        self.watched = at_most(_WATCHED_CELLS, np.arange(len(self.validation)), watched_rng)
        self._cells = _Shuffled(len(self.train), n_members, rng)
        self._batch_size = min(recipe.batch_size, len(self.train))
        self._sample_seed = int(rng.integers(2**31))
        self._batches = lesson.problem.batches_of(lesson.split.train)
        self._shift_rng = self._noise_rng.spawn(1)[0]
        self._spread = _batch_spread(lesson, genes)
        self.n_steps = -(-int(recipe.max_steps) // _N_EPOCHS)

    def to(self, device: torch.device) -> None:
        """Keep the cells on a device, and draw batches there."""
        self.train.to(device)
        self.validation.to(device)

    def narrow(self, genes: NDArray[np.intp]) -> None:
        """Keep only some genes."""
        self.train.narrow(genes)
        if self._spread is not None:
            self._spread = self._spread[genes]
        self.validation.narrow(genes)

    def sample(self) -> tuple[NDArray[np.float32], list[NDArray[Any]]]:
        """Return expression and labels of at most 20,000 training cells."""
        cells = self._sampled()
        values: NDArray[np.float32] = self.train.batch(cells)[X_KEY].numpy(force=True)
        return values, [labels[cells] for labels in self.train.labels]

    def elsewhere(self, n_cells: int, n_assays: int) -> tuple[torch.Tensor, list[NDArray[Any]]]:
        """Return watched cells, drawn with replacement, in imitated assays; and their labels.

        Each assay has as many of the `n_cells` cells.
        """
        assert self.imitated is not None
        cells = self._noise_rng.choice(self.watched, (n_assays, n_cells // n_assays))
        values = self.validation.batch(cells)[X_KEY].numpy(force=True)
        imitated = imitate(values, self.imitated, self._noise_rng).reshape(cells.size, -1)
        return torch.from_numpy(imitated), [
            labels[cells.ravel()] for labels in self.validation.labels
        ]

    def sample_batches(self) -> NDArray[np.intp] | None:
        """Return the batches of the cells of `sample`, ``(n_cells,)``; `None`: there are none."""
        return None if self._batches is None else self._batches[self._sampled()]

    def _sampled(self) -> NDArray[np.intp]:
        rng = np.random.default_rng(self._sample_seed)
        return at_most(_SAMPLE_CELLS, np.arange(len(self.train)), rng)

    def train_dataloader(self) -> _Loader:
        """Return one item for an epoch: what draws a batch of it when it is asked."""
        return _Loader([self._next_batch])

    def val_dataloader(self) -> _Loader:
        """Return the watched cells as one batch, or nothing if no cell is held out."""
        return _Loader([lambda: self.validation.batch(self.watched)][: len(self.watched)])

    def _next_batch(self) -> Tensors:
        batch = self.train.batch(self._cells.draw(self._batch_size))
        if self.imitated is None and self._spread is None:
            return batch
        values = batch[X_KEY].numpy(force=True)
        if self.imitated is not None:
            values = imitate(values, self.imitated, self._noise_rng)
        if self._spread is not None:
            values = _shifted(values, self._spread, self._shift_rng)
        return {**batch, X_KEY: torch.from_numpy(values)}


def _batch_spread(lesson: Lesson, genes: NDArray[np.intp]) -> NDArray[np.float32] | None:
    """Return by how much batches differ in each gene, ``(n_genes,)``; `None`: there are none."""
    problem, cells = lesson.problem, lesson.split.train
    batches = problem.batches_of(cells)
    if batches is None:
        return None
    designs = [
        task.target(labels[cells]).design()
        for task, labels in zip(problem.tasks, lesson.labels, strict=True)
    ]
    constant = sp.csr_matrix(np.ones((len(cells), 1)))
    known = sp.hstack([constant, *designs], format="csr")
    return batch_spread(problem.expression.take(cells, genes), known, batches)


def _shifted(
    values: NDArray[np.float32], spread: NDArray[np.float32], rng: np.random.Generator
) -> NDArray[np.float32]:
    """Return cells with what another batch might add to them, ``(…, n_genes)``."""
    return values + spread * rng.standard_normal(values.shape, dtype=np.float32)


class _Loader:
    """Iterable of a few items; Lightning would take a list for several loaders."""

    def __init__(self, items: Sequence[Callable[[], Tensors]]) -> None:
        self._items = items

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[Callable[[], Tensors]]:
        return iter(self._items)
