"""Schedules: pure functions of the progress of training, from 0 (start) to 1 (end)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

Phase = Literal["select", "order", "refine"]


@dataclass(frozen=True)
class Geometric:
    r"""Geometric interpolation, :math:`a^{1-t} b^t`, from `start` to `end`.

    Parameters
    ----------
    start, end
        Values at the progress 0 and 1; both positive.
    """

    start: float
    end: float

    def __post_init__(self) -> None:
        if min(self.start, self.end) <= 0:
            raise ValueError(f"A geometric schedule needs positive ends, not {self}.")

    def __call__(self, progress: float) -> float:
        """Return the value at `progress`; outside ``[0, 1]`` that of the nearer end."""
        t = min(max(progress, 0.0), 1.0)
        return float(self.start ** (1 - t) * self.end**t)


@dataclass(frozen=True)
class Linear:
    """Linear interpolation from `start` to `end`.

    Parameters
    ----------
    start, end
        Values at the progress 0 and 1.
    """

    start: float
    end: float

    def __call__(self, progress: float) -> float:
        """Return the value at `progress`; outside ``[0, 1]`` that of the nearer end."""
        t = min(max(progress, 0.0), 1.0)
        return self.start + (self.end - self.start) * t


@dataclass(frozen=True)
class Annealing:
    r"""The course of a selection: panel size, temperature and noise at every moment.

    The panel shrinks geometrically from `n_start` to `n_genes` genes (phase ``"select"``), then
    to one gene, which ranks the genes within the panel (``"order"``), and is then left alone while
    the network is finished (``"refine"``).

    Parameters
    ----------
    n_start
        Genes in the mask at the start: all candidates, or `n_genes` for a mask of fixed size, as
        in the YOTO paper.
    n_genes
        Size of the panel.
    warmup
        Share of the training before the panel begins to shrink.
    select
        Share of the training at the end of which `n_genes` is reached.
    order
        Share of the training at the end of which one gene is reached.
    temperature
        Of the relaxation, over the phase of selection; it stays at its end afterwards.
    noise
        Scale of the Gumbel noise on the scores, likewise.
    """

    n_start: int
    n_genes: int
    warmup: float = 0.05
    select: float = 0.50
    order: float = 0.60
    temperature: Geometric = Geometric(1.0, 0.2)
    noise: Linear = Linear(0.0, 0.0)

    def __post_init__(self) -> None:
        if not 1 <= self.n_genes <= self.n_start:
            raise ValueError(f"Annealing needs 1 <= n_genes <= n_start, not {self}.")
        if not 0 <= self.warmup < self.select < self.order < 1:
            raise ValueError(f"Annealing needs 0 <= warmup < select < order < 1, not {self}.")

    def phase(self, progress: float) -> Phase:
        """Return what is going on at `progress`."""
        if progress < self.select:
            return "select"
        return "order" if progress < self.order else "refine"

    def size(self, progress: float) -> int:
        """Return the number of genes in the mask at `progress`."""
        if progress <= self.select:
            shrunk = (progress - self.warmup) / (self.select - self.warmup)
            return _rounded(Geometric(self.n_start, self.n_genes)(shrunk))
        if progress <= self.order:
            ordered = (progress - self.select) / (self.order - self.select)
            return _rounded(Geometric(self.n_genes, 1)(ordered))
        return self.n_genes

    def temperature_at(self, progress: float) -> float:
        """Return the temperature of the relaxation at `progress`."""
        return self.temperature(progress / self.select)

    def noise_at(self, progress: float) -> float:
        """Return the scale of the Gumbel noise at `progress`."""
        return self.noise(progress / self.select)

    def lr_factor(self, progress: float) -> float:
        """Return the factor of the learning rate: 1, then a cosine to 0 while refining."""
        refined = max(0.0, (progress - self.order) / (1 - self.order))
        return 0.5 * (1 + math.cos(math.pi * refined))


def _rounded(size: float) -> int:
    return max(1, round(size))
