"""A query that was labelled: predictions, what was done to it, and what is odd about it."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from yoto_sc._progress import progress
from yoto_sc.assay._alignment import align
from yoto_sc.data import joined

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from yoto_sc.assay._alignment import Adapt, Alignment, Network
    from yoto_sc.assay._novelty import Novelty
    from yoto_sc.assay._reference import Reference

logger = logging.getLogger(__name__)

_SAMPLE_CELLS = 5000
"""An alignment is found in at most so many cells."""
_BLOCK_CELLS = 4096
"""Cells that are labelled at once."""
_FAR_DEPTH = 5.0
"""Queries of so many times more or fewer counts than the reference are pointed out."""
_MANY_UNTOLD = 0.01
_SILENT_SHARE = 0.01
"""A gene without a count is silent, if so many counts in a cell would be expected of it."""
_SILENT_CELLS = 100
_N_NAMED = 10


@dataclass(frozen=True, eq=False)
class Query:
    """Labels of the cells of a query.

    Parameters
    ----------
    predictions, latent
        As a network gives them.
    untold
        Cells with too few counts of the panel to be told, ``(n_obs,)``.
    alignment
        What was found and done; `None`, where nothing was looked for.
    n_counts
        Counts of each gene in all cells, ``(n_genes,)``.
    distances
        By the position of the task, the distances of :class:`Novelty`, ``(n_obs,)``.
    """

    predictions: list[NDArray[Any]]
    latent: NDArray[np.float32]
    untold: NDArray[np.bool_]
    alignment: Alignment | None
    n_counts: NDArray[np.float64]
    distances: dict[int, NDArray[np.float64]]

    def silent(self, genes: Sequence[str]) -> list[str]:
        """Return those of the genes without a count, of which some were to be expected."""
        if self.alignment is None or len(self.untold) < _SILENT_CELLS:
            return []
        silent = (self.n_counts == 0) & (self.alignment.expected > _SILENT_SHARE)
        return [gene for gene, is_silent in zip(genes, silent, strict=True) if is_silent]

    def report(self, genes: Sequence[str], *, are_counts: bool) -> None:
        """Say in one line what was done, and in one warning what is odd."""
        odd = []
        if self.alignment is not None:
            logger.info("%s", self.alignment)
            depth = self.alignment.depth
            if are_counts and not 1 / _FAR_DEPTH <= depth <= _FAR_DEPTH:
                odd.append(f"it has {depth:.2g} times the counts of the reference")
        silent = self.silent(genes)
        if silent:
            more = ", …" if len(silent) > _N_NAMED else ""
            named = f"{', '.join(silent[:_N_NAMED])}{more}"
            odd.append(f"no cell has a count of {len(silent)} panel genes ({named})")
        if self.untold.mean() > _MANY_UNTOLD:
            odd.append(
                f"{int(self.untold.sum())} of {len(self.untold)} cells have too few counts of the "
                "panel to be told and get no label"
            )
        if odd:
            logger.warning("The query is unlike the reference: %s.", "; ".join(odd))

    def to_uns(self, genes: Sequence[str], groups: Sequence[str]) -> dict[str, Any] | None:
        """Return what was done as plain types and tables; `None`, if nothing was looked for.

        Parameters
        ----------
        genes
            Var names of those that were read.
        groups
            Names of the classes that the composition is of.
        """
        found = self.alignment
        if found is None:
            return None
        return {
            "is_other_assay": found.is_other,
            "is_applied": found.is_applied,
            "reason": found.reason,
            "depth": found.depth,
            "scaled_by": found.scaled_by,
            "difference": found.difference,
            "composition_distance": found.distance,
            "n_untold": int(self.untold.sum()),
            "genes": pd.DataFrame(
                {"factor": found.factors}, index=pd.Index(list(genes), name="gene")
            ),
            "composition": pd.DataFrame(
                {"share": found.composition}, index=pd.Index(list(groups), name="category")
            ),
        }


def label_cells(
    n_obs: int,
    values: Callable[[NDArray[np.intp] | slice], NDArray[np.float32]],
    network: Network,
    reference: Reference | None,
    adapt: Adapt,
    novelties: Mapping[int, Novelty] | None = None,
    *,
    embedding: bool = True,
) -> Query:
    """Look at a query, align it where that is safe, and label its cells.

    Parameters
    ----------
    n_obs
        Number of cells.
    values
        Returns the expression of some of them, ``(n_cells, n_genes)``.
    network
        What labels them.
    reference
        Of these genes; `None`: nothing is remembered, and nothing is done.
    adapt
        See :func:`align`; ``"none"``: each cell by itself, as a cell of any assay.
    novelties
        By the position of the task, what tells how unlike its classes a cell is. Cells of another
        assay are compared as they are aligned, and moved so that a typical one is as far away as
        a typical one of the reference.
    embedding
        Whether to keep the representation; else it has no columns.
    """
    novelties = {} if novelties is None else novelties
    alignment = None
    if reference is not None and adapt != "none" and n_obs:
        rng = np.random.default_rng(0)
        cells = np.arange(n_obs)
        if n_obs > _SAMPLE_CELLS:
            cells = np.sort(rng.choice(n_obs, _SAMPLE_CELLS, replace=False))
        alignment = align(values(cells), reference, network, adapt)
    starts = range(0, max(n_obs, 1), _BLOCK_CELLS)
    by_gene: list[NDArray[np.float64]] = []

    def blocks() -> Iterator[list[NDArray[Any]]]:
        for start in starts:
            block = values(slice(start, start + _BLOCK_CELLS))
            if alignment is None:
                predictions, latent = network.anywhere(block)
            else:
                predictions, latent = alignment.label(block, network)
            counts = np.rint(np.expm1(block)) if network.are_counts else block
            by_gene.append(counts.sum(axis=0, dtype=np.float64))
            kept = latent if embedding else latent[:, :0]
            far = _distances(block, latent, predictions, network, alignment, novelties)
            yield [counts.sum(axis=1), kept, *far, *predictions]
            done()

    with progress("Labelling cells", len(starts), "block") as done:
        total, embedded, *others = joined(n_obs, blocks())
    fewest = 0.0 if reference is None else float(reference.fewest[-1])
    return Query(
        others[len(novelties) :],
        embedded,
        (total < fewest) if network.are_counts else (total == 0) & (fewest > 0),
        alignment,
        np.sum(by_gene, axis=0),
        {
            position: _centred(distance, novelty, alignment)
            for (position, novelty), distance in zip(novelties.items(), others, strict=False)
        },
    )


def _distances(
    block: NDArray[np.float32],
    latent: NDArray[np.float32],
    predictions: Sequence[NDArray[Any]],
    network: Network,
    alignment: Alignment | None,
    novelties: Mapping[int, Novelty],
) -> list[NDArray[np.float64]]:
    """Tell how far cells are from the classes, as each of the `novelties` sees it."""
    if not novelties:
        return []
    near = block if alignment is None else alignment.at_home(block)
    if alignment is None or alignment.is_other:
        _, latent = network.predict(near)
    return [
        novelty.distance(near, latent, predictions[position])
        for position, novelty in novelties.items()
    ]


def _centred(
    distance: NDArray[np.float64], novelty: Novelty, alignment: Alignment | None
) -> NDArray[np.float64]:
    """Move the distances of another assay to where those of the reference are."""
    if alignment is None or not alignment.is_other or not len(distance):
        return distance
    return distance - np.median(distance) + novelty.typical()
