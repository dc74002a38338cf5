"""Schedules: pure functions of the progress of training, from 0 (start) to 1 (end)."""

from __future__ import annotations

import math
from dataclasses import dataclass

_AT_ONCE = 1e-9
"""Share of a training that is over before its first step ends."""


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

    The panel shrinks geometrically from `n_start` to `n_genes` genes, settles (the scores go on
    learning at that size), and is then left alone while the network is refined.

    Parameters
    ----------
    n_start
        Genes in the mask at the start; `n_genes` gives a mask of fixed size, as in the YOTO
        paper.
    n_genes
        Size of the panel.
    warmup
        Share of the training after which the panel begins to shrink.
    shrunk
        Share of the training after which it has its size.
    selected
        Share of the training after which it is final.
    temperature
        Of the relaxation, while the panel shrinks; it stays at its end afterwards.
    noise
        Scale of the Gumbel noise on the scores, likewise.
    """

    n_start: int
    n_genes: int
    warmup: float = 0.025
    shrunk: float = 0.275
    selected: float = 0.65
    temperature: Geometric = Geometric(1.0, 0.2)
    noise: Linear = Linear(0.0, 0.0)

    def __post_init__(self) -> None:
        if not 1 <= self.n_genes <= self.n_start:
            raise ValueError(f"Annealing needs 1 <= n_genes <= n_start, not {self}.")
        if not 0 <= self.warmup < self.shrunk <= self.selected < 1:
            raise ValueError(f"Annealing needs 0 <= warmup < shrunk <= selected < 1, not {self}.")

    @classmethod
    def settled(cls, n_genes: int) -> Annealing:
        """Return the course of a training whose panel is final from the start."""
        return cls(n_genes, n_genes, warmup=0.0, shrunk=_AT_ONCE, selected=_AT_ONCE)

    def is_selecting(self, progress: float) -> bool:
        """Return whether the panel may still change."""
        return progress < self.selected

    def size(self, progress: float) -> int:
        """Return the number of genes in the mask."""
        shrunk = (progress - self.warmup) / (self.shrunk - self.warmup)
        return max(1, round(Geometric(self.n_start, self.n_genes)(shrunk)))

    def temperature_at(self, progress: float) -> float:
        """Return the temperature of the relaxation."""
        return self.temperature(progress / self.shrunk)

    def noise_at(self, progress: float) -> float:
        """Return the scale of the Gumbel noise."""
        return self.noise(progress / self.shrunk)

    def lr_factor(self, progress: float) -> float:
        """Return the factor of the learning rate: 1, then a cosine to 0 while refining."""
        refined = max(0.0, (progress - self.selected) / (1 - self.selected))
        return 0.5 * (1 + math.cos(math.pi * refined))
