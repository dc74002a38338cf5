"""Synthetic counts with a known best panel."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, NamedTuple

import anndata as ad
import numpy as np
import pandas as pd
from scipy import sparse

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

# Effects are natural-log fold changes. They are set so that, at the default sizes, one panel of
# informative genes is clearly best and yet held-out cells are not classified without error.
_MARKER_EFFECT = 2.0
_SCORE_EFFECT = 0.7
# Copies are weak enough that even the third marker of a class beats the best copy of any gene.
_COPY_EFFECT = 0.45
_COPY_MEAN = 0.7
_COPY_DISPERSION = 2.0
# Informative means are moderate: rarer, a marker is mostly zeros; commoner, one marker suffices.
_INFORMATIVE_LOG_MEAN = (math.log(0.6), 0.1)
_LOG_MEAN = (math.log(0.07), 1.0)
_LOG_DISPERSION = (math.log(0.3), 0.2)
_LIBRARY_SD = 0.3
_DONOR_SD = 0.1
# Entries simulated at once; bounds the dense working memory to about 100 MB.
_BLOCK_ENTRIES = 2_000_000


def planted(
    n_obs: int = 2000,
    n_vars: int = 2000,
    *,
    n_informative: int = 20,
    n_redundant: int = 40,
    n_classes: Sequence[int] = (5, 4),
    n_continuous: int = 0,
    missing: float = 0.3,
    n_donors: int = 4,
    random_state: int = 0,
) -> ad.AnnData:
    r"""Simulate counts in which a known set of genes is the best panel.

    The count of gene :math:`j` in cell :math:`i` of donor :math:`d` is negative binomial,

    .. math::

        x_{ij} \sim \operatorname{NB}\bigl(\mu_{ij},\ \phi_j\bigr), \qquad
        \log \mu_{ij} = \log s_i + \log m_j + b_{dj} + z_i^\top w_j,

    with variance :math:`\mu + \phi \mu^2`, library-size factor :math:`s_i`, gene mean
    :math:`m_j` and dispersion :math:`\phi_j` log-normal, donor effect :math:`b_{dj}` normal, and
    :math:`z_i` the cell's classes (one-hot) and continuous scores. The loadings :math:`w_j` are
    zero but for two kinds of genes:

    informative
        Serves one task. With at least as many genes as classes, each gene marks one class, in
        turn; with fewer, the genes spell a code that is different for every class. For a
        continuous task, expression rises (every other gene: falls) with the score. Given the
        labels, genes are independent, so every one adds to the others.
    redundant
        Follows the program of one informative gene with a smaller effect, a lower mean and more
        dispersion, so that the informative gene is the better choice.

    Parameters
    ----------
    n_obs
        Number of cells, at least 2 per class and per donor.
    n_vars
        Number of genes.
    n_informative
        Number of informative genes, divided as evenly as possible over all tasks, categorical
        ones first. At least one per task.
    n_redundant
        Number of redundant genes, divided as evenly as possible over the informative ones.
    n_classes
        Number of classes of each categorical task (at least 2 each). Classes of different tasks
        are independent of each other and of the donor, and mildly uneven in size.
    n_continuous
        Number of continuous tasks, standard normal.
    missing
        Share of the labels of each task set to missing, in [0, 1), completely at random and
        independently per task. Everything else does not depend on it: the same call with
        ``missing=0`` returns the true labels of the same cells.
    n_donors
        Number of donors, of equal size.
    random_state
        Seed, 0 or greater.

    Returns
    -------
    AnnData
        Sets the following fields:

        X : :class:`scipy.sparse.csr_matrix`, float32, shape (n_obs, n_vars)
            Integer counts, about 10 % of them not zero.
        obs["task_0"], obs["task_1"], ... : categorical
            Classes ``"class_0"``, ``"class_1"``, ...; ``NaN`` where missing.
        obs["score_0"], obs["score_1"], ... : float32
            Continuous tasks, in standard deviations; ``NaN`` where missing.
        obs["donor"] : categorical
            Donors, ``"donor_0"``, ..., each with a mild shift of its own.
        var["informative"] : bool
            The best panel of size `n_informative`.
        var["task"] : str
            The task that an informative or redundant gene serves, ``""`` for the other genes.
        var["redundant_with"] : str
            Var name of the informative gene that a redundant gene copies, else ``""``.
        uns["planted"] : dict
            The arguments.

    Raises
    ------
    ValueError
        If an argument is out of range.

    Notes
    -----
    The model is a gamma-Poisson mixture as in Splatter [1]_, without its trended dispersion,
    dropout and outlier genes.

    References
    ----------
    .. [1] Zappia L, Phipson B, Oshlack A. Splatter: simulation of single-cell RNA sequencing
       data. Genome Biology 18:174 (2017).

    Examples
    --------
    >>> adata = planted(200, 100, n_redundant=20)
    >>> adata.shape, int(adata.var["informative"].sum())
    ((200, 100), 20)
    """
    if isinstance(n_classes, int):
        raise ValueError(
            f"n_classes is {n_classes}, but must be a sequence: ({n_classes},) for one task."
        )
    n_classes = list(n_classes)
    for i, n in enumerate(n_classes):
        _check_int(f"n_classes[{i}]", n, 2)
    _check_int("n_continuous", n_continuous, 0)
    n_tasks = len(n_classes) + n_continuous
    if not n_tasks:
        raise ValueError(
            "n_classes is empty and n_continuous is 0: give at least one task to simulate."
        )
    _check_int("n_donors", n_donors, 1)
    _check_int("n_obs", n_obs, 2 * max(n_donors, *n_classes, 1), "2 per class and per donor")
    _check_int("n_informative", n_informative, n_tasks, "one per task")
    _check_int("n_redundant", n_redundant, 0)
    _check_int("n_vars", n_vars, n_informative + n_redundant, "n_informative + n_redundant")
    _check_int("random_state", random_state, 0)
    if isinstance(missing, bool) or not isinstance(missing, int | float) or not 0 <= missing < 1:
        raise ValueError(f"missing is {missing!r}, but must be a number in [0, 1).")
    arguments = {
        "n_obs": n_obs,
        "n_vars": n_vars,
        "n_informative": n_informative,
        "n_redundant": n_redundant,
        "n_classes": n_classes,
        "n_continuous": n_continuous,
        "missing": missing,
        "n_donors": n_donors,
        "random_state": random_state,
    }
    # One stream per part: which labels go missing must not change what is simulated.
    rng_labels, rng_genes, rng_counts, rng_missing = np.random.default_rng(random_state).spawn(4)

    # The largest class is 1.5 times the smallest.
    labels = [_shuffled_codes(n_obs, np.linspace(1.2, 0.8, c), rng_labels) for c in n_classes]
    scores = rng_labels.standard_normal((n_obs, n_continuous)).astype(np.float32)
    donor = _shuffled_codes(n_obs, np.ones(n_donors), rng_labels)
    features = np.hstack(
        [np.eye(c, dtype=np.float32)[codes] for c, codes in zip(n_classes, labels, strict=True)]
        + [scores]
    )
    genes = _draw_genes(n_vars, n_informative, n_redundant, n_classes, n_continuous, rng_genes)
    counts = _draw_counts(features, donor, n_donors, genes, rng_counts)

    obs = pd.DataFrame(index=_names("cell", n_obs))
    for i, codes in enumerate(labels):
        observed = np.where(_missing_mask(n_obs, missing, rng_missing), -1, codes)
        categories = pd.Index([f"class_{c}" for c in range(n_classes[i])])
        obs[f"task_{i}"] = pd.Categorical.from_codes(observed, categories=categories)
    for i in range(n_continuous):
        gone = _missing_mask(n_obs, missing, rng_missing)
        obs[f"score_{i}"] = np.where(gone, np.float32(np.nan), scores[:, i])
    donors = pd.Index([f"donor_{d}" for d in range(n_donors)])
    obs["donor"] = pd.Categorical.from_codes(donor, categories=donors)

    names = _names("gene", n_vars)
    tasks = obs.columns[:-1]
    var = pd.DataFrame({"informative": False, "task": "", "redundant_with": ""}, index=names)
    informative, redundant = genes.signal[:n_informative], genes.signal[n_informative:]
    copied = informative[np.arange(n_redundant) % n_informative]
    var.iloc[informative, 0] = True
    var.iloc[genes.signal, 1] = tasks[genes.task]
    var.iloc[redundant, 2] = names[copied]
    return ad.AnnData(counts, obs=obs, var=var, uns={"planted": arguments})


class _Genes(NamedTuple):
    """Parameters of all genes; `signal` genes are the informative, then the redundant ones."""

    log_mean: NDArray[np.float64]  # (n_vars,)
    dispersion: NDArray[np.float64]  # (n_vars,)
    signal: NDArray[np.int64]  # (n_signal,) positions
    task: NDArray[np.int64]  # (n_signal,) number of the task served
    loadings: NDArray[np.float32]  # (n_features, n_signal) natural-log fold changes


def _draw_genes(
    n_vars: int,
    n_informative: int,
    n_redundant: int,
    n_classes: Sequence[int],
    n_continuous: int,
    rng: np.random.Generator,
) -> _Genes:
    n_tasks = len(n_classes) + n_continuous
    shares = [len(part) for part in np.array_split(np.arange(n_informative), n_tasks)]
    loadings = np.zeros((sum(n_classes) + n_continuous, n_informative), dtype=np.float32)
    row = column = 0
    for n, share in zip([*n_classes, *[1] * n_continuous], shares, strict=True):
        here = np.s_[row : row + n, column : column + share]
        if n == 1:
            loadings[here] = _SCORE_EFFECT * np.resize([1.0, -1.0], share)
        else:
            loadings[here] = _MARKER_EFFECT * _class_code(n, share)
        row, column = row + n, column + share

    # Scattered over the matrix, so that no method can profit from the order of the genes.
    signal = rng.permutation(n_vars)[: n_informative + n_redundant]
    informative, redundant = signal[:n_informative], signal[n_informative:]
    copied = np.arange(n_redundant) % n_informative
    log_mean = rng.normal(*_LOG_MEAN, size=n_vars)
    log_mean[informative] = rng.normal(*_INFORMATIVE_LOG_MEAN, size=n_informative)
    log_mean[redundant] = log_mean[informative][copied] + math.log(_COPY_MEAN)
    dispersion = rng.lognormal(*_LOG_DISPERSION, size=n_vars)
    dispersion[redundant] = dispersion[informative][copied] * _COPY_DISPERSION
    task = np.repeat(np.arange(n_tasks), shares)
    return _Genes(
        log_mean,
        dispersion,
        signal,
        np.concatenate([task, task[copied]]),
        np.hstack([loadings, _COPY_EFFECT * loadings[:, copied]]),
    )


def _class_code(n_classes: int, n_genes: int) -> NDArray[np.float64]:
    """Levels (n_classes, n_genes) of each gene in each class: 0, 1, 2, ...; no two rows equal."""
    if n_genes >= n_classes:
        return np.eye(n_classes)[:, np.arange(n_genes) % n_classes]
    levels = 2
    while levels**n_genes < n_classes:
        levels += 1
    if levels > 2:
        # Few words here, as (levels - 1) ** n_genes < n_classes.
        words = sorted(itertools.product(range(levels), repeat=n_genes), key=sum)
        return np.array(words[:n_classes], dtype=float)
    # Lightest words first: the silent class, then single markers, then pairs, ...
    subsets = itertools.chain.from_iterable(
        itertools.combinations(range(n_genes), size) for size in range(n_genes + 1)
    )
    code = np.zeros((n_classes, n_genes))
    for row, subset in zip(code, subsets, strict=False):
        row[list(subset)] = 1
    return code


def _draw_counts(
    features: NDArray[np.float32],
    donor: NDArray[np.int64],
    n_donors: int,
    genes: _Genes,
    rng: np.random.Generator,
) -> sparse.csr_matrix[np.float32]:
    n_obs, n_vars = len(features), len(genes.log_mean)
    log_size = rng.normal(0.0, _LIBRARY_SD, size=n_obs)
    donor_effect = rng.normal(0.0, _DONOR_SD, size=(n_donors, n_vars))
    donor_mean = np.exp(genes.log_mean + donor_effect).astype(np.float32)
    size = np.exp(log_size - _LIBRARY_SD**2 / 2).astype(np.float32)
    n_rows = max(1, _BLOCK_ENTRIES // n_vars)
    blocks = []
    for start in range(0, n_obs, n_rows):
        rows = slice(start, min(start + n_rows, n_obs))
        # The gamma factor has mean 1 and variance equal to the dispersion.
        rate = rng.standard_gamma(
            1 / genes.dispersion, size=(rows.stop - start, n_vars), dtype=np.float32
        )
        rate *= genes.dispersion.astype(np.float32)
        rate *= size[rows, None]
        rate *= donor_mean[donor[rows]]
        rate[:, genes.signal] *= np.exp(features[rows] @ genes.loadings)
        blocks.append(sparse.csr_matrix(rng.poisson(rate).astype(np.float32)))
    counts: sparse.csr_matrix[np.float32] = sparse.vstack(blocks, format="csr")
    return counts


def _shuffled_codes(
    n_obs: int, weights: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.int64]:
    """Codes (n_obs,) with exactly proportional frequencies, so that no class stays empty."""
    ends = np.rint(n_obs * np.cumsum(weights) / weights.sum())
    return rng.permutation(np.searchsorted(ends, np.arange(n_obs), side="right"))


def _missing_mask(n_obs: int, share: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    return rng.permutation(n_obs) < int(share * n_obs)


def _names(prefix: str, n: int) -> pd.Index:
    width = max(4, len(str(n - 1)))
    return pd.Index([f"{prefix}_{i:0{width}d}" for i in range(n)])


def _check_int(name: str, value: object, least: int, why: str = "") -> None:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        reason = f" ({why})" if why else ""
        raise ValueError(
            f"{name} is {value!r}, but must be an integer of at least {least}{reason}."
        )
