"""Aligning a query with the reference, without labels, where that is safe."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from scipy.stats import entropy

from yoto_sc.assay._imitate import borne_depths
from yoto_sc.assay._student import LESSONS, Student, mean_of_logs

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from yoto_sc.assay._reference import Reference
    from yoto_sc.data import Levels, Task

    Answer = tuple[list[NDArray[Any]], NDArray[np.float32]]
    """For each task its prediction, and the representation."""

Adapt = Literal["auto", "none", "genes"]

_FEWEST_CELLS = 20
"""Queries of fewer cells are left as they are."""
_OTHER_COMPOSITION = 0.4
"""Composition that is this far (total variation) from the reference's is another one."""
_FEWEST_CLASSES = 4.0
"""Queries of another composition are left, too, if fewer classes than this are predicted."""
_DIFFERENCE = 0.2
"""And those whose genes are detected as the reference's are: standard deviation of log ratios."""
_ROUNDS = 3
_SMALLEST_MEAN = 0.02
"""Genes of fewer expected counts in a cell tell nothing of an assay."""
_LARGEST_SCALE = 5.0
_HALF_OTHERWISE, _HALF_ANYWHERE = 1.0, 0.5
"""What the better half of the genes counts for where they differ, or nothing is known."""


@dataclass(frozen=True, eq=False)
class Network:
    """What predicts.

    Parameters
    ----------
    predict
        What it makes of expression on its scale, ``(n_obs, n_genes)``, in the reference's assay.
    tasks
        What it predicts.
    levels
        Which of them lie within others.
    are_counts
        Whether its scale is that of ``log1p`` of counts; else no depth is made good.
    robust
        What it makes of expression in another assay; `None`: nothing else.
    depths
        The least and the greatest depth that it bears then.
    half
        What it makes then of the better half of the genes, given all of them; `None`: they are
        too few.
    """

    predict: Callable[[NDArray[np.float32]], Answer]
    tasks: Sequence[Task]
    levels: Levels
    are_counts: bool
    robust: Callable[[NDArray[np.float32]], Answer] | None = None
    depths: tuple[float, float] = borne_depths(None)
    half: Callable[[NDArray[np.float32]], Answer] | None = None

    def abroad(self, values: NDArray[np.float32], *, half: float = 0.0) -> Answer:
        """Predict classes of cells of another assay.

        Parameters
        ----------
        values
            Expression on the scale of `predict`, ``(n_obs, n_genes)``.
        half
            What the better half of the genes counts for beside all of them. The more genes, the
            more may be detected otherwise; where none is, all of them tell more.
        """
        if self.robust is None:
            return self.predict(values)
        whole, latent = self.robust(values)
        if self.half is None or not half:
            return whole, latent
        better, _ = self.half(values)
        mixed = [
            mean_of_logs([one, other], [1, half]) if task.categories else one
            for task, one, other in zip(self.tasks, whole, better, strict=True)
        ]
        return [agreed.astype(np.float32) for agreed in self.levels.reconcile(mixed)], latent

    def anywhere(self, values: NDArray[np.float32]) -> Answer:
        """Predict cells one by one, whether of another assay or not."""
        predictions, latent = self.abroad(values, half=_HALF_ANYWHERE)
        return self.with_numbers(predictions, values), latent

    def with_numbers(
        self, predictions: Sequence[NDArray[Any]], values: NDArray[np.float32]
    ) -> list[NDArray[Any]]:
        """Put what is no class as the reference's network says, of cells as they are.

        Of numbers and vectors, neither another network nor alignment tells more.
        """
        if all(task.categories for task in self.tasks):
            return list(predictions)
        numbers, _ = self.predict(values)
        return [
            found if task.categories else number
            for task, found, number in zip(self.tasks, predictions, numbers, strict=True)
        ]


@dataclass(frozen=True, eq=False)
class Alignment:
    """How the cells of a query are brought to the scale of the reference.

    Parameters
    ----------
    depth
        Counts in a cell, relative to a reference of the same composition.
    factors
        How well each gene is detected beside the others, relative to the reference,
        ``(n_genes,)``; the median is 1, and NaN stands for genes that tell nothing.
    difference
        How far the factors are from 1: standard deviation of their logarithms beyond chance.
    composition
        Shares of the classes of the query, as predicted, ``(n_groups,)``.
    distance
        Total variation between these and the shares in the reference.
    n_classes
        Effective number of classes of the query: exponential of the entropy of predicted labels.
    expected
        Counts of each gene in a cell of such depth and composition, ``(n_genes,)``.
    scaled_by
        What counts are multiplied by before the network reads them.
    is_other
        Whether this is another assay, for the robust network, if there is one.
    half
        What the better half of the genes counts for; see :meth:`Network.abroad`.
    is_applied
        Whether genes are aligned.
    reason
        Why, or why not.
    slopes, offsets
        Of aligned expression in expression, each ``(n_genes,)``; empty if not applied.
    students
        By the position of the task, what self-training has learned.
    """

    depth: float
    factors: NDArray[np.float64]
    difference: float
    composition: NDArray[np.float64]
    distance: float
    n_classes: float
    expected: NDArray[np.float64]
    scaled_by: float
    is_other: bool
    half: float
    is_applied: bool
    reason: str
    slopes: NDArray[np.float32] = field(default_factory=lambda: np.empty(0, np.float32))
    offsets: NDArray[np.float32] = field(default_factory=lambda: np.empty(0, np.float32))
    students: dict[int, Student] = field(default_factory=dict)

    def label(self, values: NDArray[np.float32], network: Network) -> Answer:
        """Predict cells of the query, ``(n_obs, n_genes)``; classes by the mean of views.

        Views are the query at a depth that the network bears, the query aligned gene by gene,
        and self-training. The mean is taken of logarithms of probabilities.
        """
        if not self.is_other:
            return network.predict(values)
        plain, latent = network.abroad(self._at_depth(values), half=self.half)
        if not self.is_applied:
            return network.with_numbers(plain, values), latent
        aligned, latent = network.abroad(self._aligned(values), half=self.half)
        mixed = [
            mean_of_logs([one, other]) if task.categories else one
            for task, one, other in zip(network.tasks, plain, aligned, strict=True)
        ]
        for position, student in self.students.items():
            mixed[position] = mean_of_logs([mixed[position], student.predict(values)])
        agreed = network.levels.reconcile(network.with_numbers(mixed, values))
        return [prediction.astype(np.float32) for prediction in agreed], latent

    def at_home(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return expression as near to the reference's as may be, ``(n_obs, n_genes)``."""
        return self._aligned(values) if self.is_applied else self._at_depth(values)

    def __str__(self) -> str:
        """Say in one line what was found and done."""
        done = "The query is taken for one of the reference's assay"
        if self.is_other:
            genes = "aligned gene by gene" if self.is_applied else "genes are left"
            done = f"The query is taken for one of another assay, {genes}"
        scaled = "" if self.scaled_by == 1 else f", its counts times {self.scaled_by:.2g}"
        return (
            f"{done}{scaled} ({self.reason}): {self.depth:.2g} times as deep as the reference, "
            f"factors of genes within {np.exp(self.difference):.2g}, composition "
            f"{self.distance:.2f} away."
        )

    def _at_depth(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        if self.scaled_by == 1:
            return values
        scaled: NDArray[np.float32] = np.log1p(np.expm1(values) * np.float32(self.scaled_by))
        return scaled

    def _aligned(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        return values * self.slopes + self.offsets


def align(
    values: NDArray[np.float32],
    reference: Reference,
    network: Network,
    adapt: Adapt = "auto",
) -> Alignment:
    r"""Find out how a query differs from the reference, and whether to align it.

    Expected counts of a composition :math:`\pi` are :math:`\sum_c \pi_c \mu_{cg}`, with the
    reference's means by class. The depth is the ratio of total counts; what is left of the ratio
    of a gene's means is its factor. A query whose depth or whose genes are others is of another
    assay: it is for the robust network, if there is one, and a depth that this has not learned to
    bear is brought to the nearest that it has. If genes are aligned, the logarithms of the query's
    counts are shifted and scaled, gene by gene, to mean and standard deviation of the reference in
    the query's composition, which is predicted in turn, three times over, and classes are learned
    from what is predicted with most confidence, twice over.

    Parameters
    ----------
    values
        Some cells of the query on the model's scale, ``(n_obs, n_genes)``.
    reference
        Of these genes.
    network
        What reads them.
    adapt
        ``"auto"``: align genes unless there are few cells, the composition is another one, or the
        genes are detected as in the reference. ``"genes"``: align them if there are two cells.
    """
    plain, _ = network.predict(values)
    found = _compare(values, plain, reference)
    low, high = borne_depths(None)
    is_like = found.difference < _DIFFERENCE and low <= found.depth <= high
    if adapt == "auto" and (is_like or len(values) < _FEWEST_CELLS):
        return replace(found, reason=_why_not(found, len(values), reference))
    borne = float(np.clip(found.depth, *network.depths)) if network.are_counts else found.depth
    half = _HALF_OTHERWISE if found.difference >= _DIFFERENCE else 0.0
    other: dict[str, Any] = {"is_other": True, "scaled_by": borne / found.depth, "half": half}
    plain, _ = network.abroad(replace(found, **other)._at_depth(values), half=half)
    found = replace(_compare(values, plain, reference), **other)
    reason = "one cell has no moments" if len(values) < 2 else ""
    if adapt == "auto":
        reason = _why_not(found, len(values), reference)
    if reason:
        return replace(found, reason=reason)
    return _align_genes(found, values, plain, reference, network, asked=adapt == "genes")


def _compare(
    values: NDArray[np.float32], predictions: Sequence[NDArray[Any]], reference: Reference
) -> Alignment:
    """Tell how a query differs from the reference, with what is predicted of its cells."""
    shares = reference.shares.astype(np.float64)
    composition, distance, n_classes = shares, 0.0, 1.0
    if reference.task >= 0 and len(values):
        predicted = predictions[reference.task]
        composition = reference.composition(predicted)
        mean = predicted.mean(axis=0, dtype=np.float64)
        distance = 0.5 * float(np.abs(mean - shares).sum())
        n_classes = float(np.exp(entropy(np.bincount(predicted.argmax(axis=1)))))
    counts = np.expm1(values)
    expected = composition @ reference.counts
    depth = _ratio(counts, expected)
    factors, difference = _factors(counts, expected * depth)
    return Alignment(
        depth=depth,
        factors=factors,
        difference=difference,
        composition=composition,
        distance=distance,
        n_classes=n_classes,
        expected=expected * depth,
        scaled_by=1.0,
        is_other=False,
        half=0.0,
        is_applied=False,
        reason="",
    )


def _align_genes(
    found: Alignment,
    values: NDArray[np.float32],
    plain: Sequence[NDArray[Any]],
    reference: Reference,
    network: Network,
    *,
    asked: bool,
) -> Alignment:
    """Align genes, and learn from what is predicted then.

    The composition may be taken for another one than it is, as well before genes are aligned as
    afterwards. So it begins half way between what is predicted and the reference's, unless that is
    certainly wrong.
    """
    mixture, aligned = found.composition, plain
    if found.distance <= _OTHER_COMPOSITION:
        mixture = (mixture + reference.shares) / 2
    spread = values.std(axis=0).astype(np.float64) + 1e-3
    for _ in range(_ROUNDS):
        mean, scale = reference.mixture(mixture)
        slopes = np.minimum(scale / spread, _LARGEST_SCALE).astype(np.float32)
        offsets = (mean - slopes * values.mean(axis=0)).astype(np.float32)
        aligned, _ = network.abroad(values * slopes + offsets, half=found.half)
        if reference.task >= 0:
            mixture = reference.composition(aligned[reference.task])
    students = {}
    for position, task in enumerate(network.tasks):
        if task.categories:
            taught = believed = mean_of_logs([plain[position], aligned[position]])
            for _ in range(LESSONS):
                student = Student.of(values, taught)
                if student is None:
                    break
                students[position] = student
                taught = mean_of_logs([believed, student.predict(values)])
    return replace(
        found,
        composition=mixture,
        is_applied=True,
        reason="asked for" if asked else "genes are detected otherwise",
        slopes=slopes,
        offsets=offsets,
        students=students,
    )


def _why_not(found: Alignment, n_cells: int, reference: Reference) -> str:
    """Return why the genes of a query are left; empty, if there is no reason."""
    if n_cells < _FEWEST_CELLS:
        return f"fewer than {_FEWEST_CELLS} cells"
    if found.difference < _DIFFERENCE:
        return "genes are detected as in the reference"
    if reference.task < 0:
        return "without classes, no composition can be told from an assay"
    if found.distance > _OTHER_COMPOSITION and found.n_classes < _FEWEST_CLASSES:
        return "the composition is another one"
    return ""


def _ratio(counts: NDArray[np.float32], expected: NDArray[np.float64]) -> float:
    """Return the ratio of total counts; 1 if nothing can be told."""
    total = float(counts.sum(axis=1, dtype=np.float64).mean()) if len(counts) else 0.0
    return total / float(expected.sum()) if expected.sum() > 0 and total > 0 else 1.0


def _factors(
    counts: NDArray[np.float32], expected: NDArray[np.float64]
) -> tuple[NDArray[np.float64], float]:
    """Return the factor of each gene, and how far they are from 1, beyond chance."""
    told = expected > _SMALLEST_MEAN
    if told.sum() < 2 or len(counts) < 2:
        return np.full(counts.shape[1], np.nan), 0.0
    observed = counts.mean(axis=0, dtype=np.float64)
    floor = _SMALLEST_MEAN / 2
    logs = np.log((observed + floor) / (expected + floor))
    logs -= np.median(logs[told])
    error = counts.std(axis=0, dtype=np.float64) / np.sqrt(len(counts)) / (observed + floor)
    spread = 1.4826 * float(np.median(np.abs(logs[told])))
    beyond = np.sqrt(max(spread**2 - float(np.median(error[told])) ** 2, 0.0))
    return np.where(told, np.exp(logs), np.nan), float(beyond)
