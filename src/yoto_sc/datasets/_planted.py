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
# Limits of the second assay: beyond all that is measured, and far from an overflow.
_MOST_SD = 5.0
_MOST_DEPTH = 100.0
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
    n_query: int = 0,
    efficiency_sd: float = 0.0,
    depth: float = 1.0,
    composition_sd: float = 0.0,
    ambient: float = 0.0,
    random_state: int = 0,
) -> ad.AnnData:
    r"""Simulate counts in which a known set of genes is the best panel.

    With `n_query`, further cells of the same donors are seen by a second assay, such as imaging.

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

    A cell of the second assay, the query, has the same model up to the molecules that are there:
    :math:`\lambda_{ij}` is gamma with mean :math:`\mu_{ij}` and variance
    :math:`\phi_j \mu_{ij}^2`. What is counted of them is

    .. math::

        x_{ij} \sim \operatorname{Poisson}\Bigl(\delta e_j
        \bigl[(1 - \alpha) \lambda_{ij} + \alpha p_j \sum_k \lambda_{ik}\bigr]\Bigr),
        \qquad \log e_j \sim \mathcal{N}(0, \sigma_e^2),

    with `depth` :math:`\delta`, efficiency :math:`e_j` of the gene, the share `ambient`
    :math:`\alpha`, and :math:`p` the mean counts of the reference, scaled to the sum 1. Ambient
    molecules are thus detected with the efficiency of their gene, as others are. Without them,
    the count is negative binomial with mean :math:`\delta e_j \mu_{ij}` and dispersion
    :math:`\phi_j`.

    Parameters
    ----------
    n_obs
        Number of cells of the reference, at least 2 per class and per donor.
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
    n_query
        Number of cells of the second assay, 0 or greater, appended to the reference. The cells
        of the reference do not depend on it, nor on any of the four arguments that follow. Those
        describe the second assay, and have to be left alone if `n_query` is 0.
    efficiency_sd
        Standard deviation of the natural logarithm of the genes' efficiencies, in [0, 5]. The
        efficiency of a gene is the same in all cells of the second assay. About two thirds of
        the genes are within a factor of ``exp(efficiency_sd)`` of the median, which is 1.
    depth
        Factor of the expected counts of all genes in all cells of the second assay, in (0, 100].
        With 0.5, a gene of efficiency 1 has half the counts that it has in the reference.
    composition_sd
        Standard deviation of the natural logarithm of the factors by which the shares of classes
        differ between the assays, in [0, 5]; shares are scaled to the sum 1 afterwards, and each
        categorical task has factors of its own. With 0, shares are those of the reference; with
        much more than 1, classes may be without cells in the second assay. Scores and donors
        keep their distribution.
    ambient
        Share of the molecules of each cell of the second assay, in [0, 1), that comes from the
        surroundings: the expected number stays, its profile is the mean of the reference.
    random_state
        Seed, 0 or greater.

    Returns
    -------
    AnnData
        Sets the following fields:

        X : :class:`scipy.sparse.csr_matrix`, float32, shape (n_obs + n_query, n_vars)
            Integer counts, about 10 % of those of the reference not zero.
        obs["task_0"], obs["task_1"], ... : categorical
            Classes ``"class_0"``, ``"class_1"``, ...; ``NaN`` where missing.
        obs["score_0"], obs["score_1"], ... : float32
            Continuous tasks, in standard deviations; ``NaN`` where missing.
        obs["donor"] : categorical
            Donors, ``"donor_0"``, ..., each with a mild shift of its own, the same in both assays.
        obs["assay"] : categorical
            ``"reference"`` or ``"query"``. Only with `n_query`.
        var["informative"] : bool
            The best panel of size `n_informative`.
        var["task"] : str
            The task that an informative or redundant gene serves, ``""`` for the other genes.
        var["redundant_with"] : str
            Var name of the informative gene that a redundant gene copies, else ``""``.
        var["efficiency"] : float64
            Efficiency :math:`e_j` of the gene in the second assay. Only with `n_query`.
        uns["planted"] : dict
            The arguments; those of the second assay only with `n_query`.

    Raises
    ------
    ValueError
        If an argument is out of range, or describes a second assay while `n_query` is 0.

    Notes
    -----
    The model is a gamma-Poisson mixture as in Splatter [1]_, without its trended dispersion,
    dropout and outlier genes. Efficiencies are log-normal, as the platform effects in RCTD
    [2]_.

    References
    ----------
    .. [1] Zappia L, Phipson B, Oshlack A. Splatter: simulation of single-cell RNA sequencing
       data. Genome Biology 18:174 (2017).
    .. [2] Cable DM, Murray E, Zou LS, et al. Robust decomposition of cell type mixtures in
       spatial transcriptomics. Nature Biotechnology 40:517-526 (2022).

    Examples
    --------
    >>> adata = planted(200, 100, n_redundant=20)
    >>> adata.shape, int(adata.var["informative"].sum())
    ((200, 100), 20)

    A second assay sees the same genes with other efficiencies, at half the depth:

    >>> both = planted(200, 100, n_redundant=20, n_query=100, efficiency_sd=0.5, depth=0.5)
    >>> both.obs["assay"].value_counts().to_dict()
    {'reference': 200, 'query': 100}
    >>> bool((both[:200].X != adata.X).nnz)
    False
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
    _check_number("missing", missing, "[0, 1)")
    _check_int("n_query", n_query, 0)
    _check_number("efficiency_sd", efficiency_sd, f"[0, {_MOST_SD:g}]")
    _check_number("depth", depth, f"(0, {_MOST_DEPTH:g}]")
    _check_number("composition_sd", composition_sd, f"[0, {_MOST_SD:g}]")
    _check_number("ambient", ambient, "[0, 1)")
    second = {
        "efficiency_sd": efficiency_sd,
        "depth": depth,
        "composition_sd": composition_sd,
        "ambient": ambient,
    }
    for name, value in second.items():
        if not n_query and value != (name == "depth"):
            raise ValueError(
                f"{name} is {value!r}, but n_query is 0: say with n_query how many cells the "
                f"second assay has, or leave {name} out."
            )
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
    # One stream per part: which labels go missing must not change what is simulated, and the
    # last one is all that the second assay draws from.
    streams = np.random.default_rng(random_state).spawn(5)
    rng_labels, rng_genes, rng_counts, rng_missing, rng_query = streams

    # The largest class is 1.5 times the smallest.
    weights = [np.linspace(1.2, 0.8, c) for c in n_classes]
    cells = _draw_cells(n_obs, weights, n_continuous, n_donors, rng_labels)
    genes = _draw_genes(n_vars, n_informative, n_redundant, n_classes, n_continuous, rng_genes)
    size = _draw_sizes(n_obs, rng_counts)
    donor_mean = _draw_donor_means(genes, n_donors, rng_counts)
    counts = _draw_counts(cells, size, donor_mean, genes, rng_counts)
    obs = _table(cells, "cell", missing, rng_missing)
    tasks = obs.columns[:-1]

    names = _names("gene", n_vars)
    var = pd.DataFrame({"informative": False, "task": "", "redundant_with": ""}, index=names)
    informative, redundant = genes.signal[:n_informative], genes.signal[n_informative:]
    copied = informative[np.arange(n_redundant) % n_informative]
    var.iloc[informative, 0] = True
    var.iloc[genes.signal, 1] = tasks[genes.task]
    var.iloc[redundant, 2] = names[copied]

    if n_query:
        arguments |= {"n_query": n_query, **second}
        rng_genes, rng_labels, rng_counts, rng_missing = rng_query.spawn(4)
        var["efficiency"] = np.exp(efficiency_sd * rng_genes.standard_normal(n_vars))
        seen = counts.sum(axis=0, dtype=np.float64).A1
        assay = _Assay(depth * var["efficiency"].to_numpy(), ambient, seen / max(seen.sum(), 1))
        weights = [
            w * np.exp(composition_sd * rng_labels.standard_normal(len(w))) for w in weights
        ]
        cells = _draw_cells(n_query, weights, n_continuous, n_donors, rng_labels)
        size = _draw_sizes(n_query, rng_counts)
        query = _draw_counts(cells, size, donor_mean, genes, rng_counts, assay)
        counts = sparse.vstack([counts, query], format="csr")
        # Names of their own: those of the reference do not depend on how many follow.
        obs = pd.concat([obs, _table(cells, "query", missing, rng_missing)])
        codes = np.arange(n_obs + n_query) >= n_obs
        obs["assay"] = pd.Categorical.from_codes(
            codes.astype(np.int64), categories=pd.Index(["reference", "query"])
        )
    return ad.AnnData(counts, obs=obs, var=var, uns={"planted": arguments})


class _Cells(NamedTuple):
    """What the cells of one assay are."""

    labels: list[NDArray[np.int64]]  # (n_obs,) codes of each categorical task
    n_classes: list[int]  # of each categorical task
    scores: NDArray[np.float32]  # (n_obs, n_continuous)
    donor: NDArray[np.int64]  # (n_obs,)
    n_donors: int

    @property
    def features(self) -> NDArray[np.float32]:
        """Classes (one-hot) and scores (n_obs, n_features)."""
        eyes = [np.eye(n, dtype=np.float32) for n in self.n_classes]
        one_hot = [eye[codes] for eye, codes in zip(eyes, self.labels, strict=True)]
        return np.hstack([*one_hot, self.scores])


class _Genes(NamedTuple):
    """Parameters of all genes; `signal` genes are the informative, then the redundant ones."""

    log_mean: NDArray[np.float64]  # (n_vars,)
    dispersion: NDArray[np.float64]  # (n_vars,)
    signal: NDArray[np.int64]  # (n_signal,) positions
    task: NDArray[np.int64]  # (n_signal,) number of the task served
    loadings: NDArray[np.float32]  # (n_features, n_signal) natural-log fold changes


class _Assay(NamedTuple):
    """How the second assay sees the molecules of a cell."""

    efficiency: NDArray[np.float64]  # (n_vars,) times the depth
    ambient: float
    profile: NDArray[np.float64]  # (n_vars,) of what is ambient, sum 1

    def detect(self, rate: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return expected counts (n_obs, n_vars), given those without losses and ambience."""
        foreign = rate.sum(axis=1, keepdims=True) * self.profile.astype(np.float32)
        mixed = (1 - self.ambient) * rate + self.ambient * foreign
        counted: NDArray[np.float32] = mixed * self.efficiency.astype(np.float32)
        return counted


def _draw_cells(
    n_obs: int,
    weights: Sequence[NDArray[np.float64]],
    n_continuous: int,
    n_donors: int,
    rng: np.random.Generator,
) -> _Cells:
    """Draw cells; `weights` are proportional to the shares of the classes of each task."""
    labels = [_shuffled_codes(n_obs, w, rng) for w in weights]
    scores = rng.standard_normal((n_obs, n_continuous)).astype(np.float32)
    donor = _shuffled_codes(n_obs, np.ones(n_donors), rng)
    return _Cells(labels, [len(w) for w in weights], scores, donor, n_donors)


def _table(cells: _Cells, prefix: str, missing: float, rng: np.random.Generator) -> pd.DataFrame:
    """Columns of `obs`: the labels of all tasks, some of them missing, then the donors."""
    n_obs = len(cells.donor)
    obs = pd.DataFrame(index=_names(prefix, n_obs))
    for i, (n, codes) in enumerate(zip(cells.n_classes, cells.labels, strict=True)):
        observed = np.where(_missing_mask(n_obs, missing, rng), -1, codes)
        categories = pd.Index([f"class_{c}" for c in range(n)])
        obs[f"task_{i}"] = pd.Categorical.from_codes(observed, categories=categories)
    for i, scores in enumerate(cells.scores.T):
        gone = _missing_mask(n_obs, missing, rng)
        obs[f"score_{i}"] = np.where(gone, np.float32(np.nan), scores)
    donors = pd.Index([f"donor_{d}" for d in range(cells.n_donors)])
    obs["donor"] = pd.Categorical.from_codes(cells.donor, categories=donors)
    return obs


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


def _draw_sizes(n_obs: int, rng: np.random.Generator) -> NDArray[np.float32]:
    log_size = rng.normal(0.0, _LIBRARY_SD, size=n_obs)
    return np.exp(log_size - _LIBRARY_SD**2 / 2).astype(np.float32)


def _draw_donor_means(
    genes: _Genes, n_donors: int, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Means (n_donors, n_vars) of all genes in a cell of size 1 without any program."""
    donor_effect = rng.normal(0.0, _DONOR_SD, size=(n_donors, len(genes.log_mean)))
    return np.exp(genes.log_mean + donor_effect).astype(np.float32)


def _draw_counts(
    cells: _Cells,
    size: NDArray[np.float32],
    donor_mean: NDArray[np.float32],
    genes: _Genes,
    rng: np.random.Generator,
    assay: _Assay | None = None,
) -> sparse.csr_matrix[np.float32]:
    features, donor = cells.features, cells.donor
    n_obs, n_vars = len(features), len(genes.log_mean)
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
        if assay is not None:
            rate = assay.detect(rate)
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


def _check_number(name: str, value: object, interval: str) -> None:
    """Raise unless `value` is a number in `interval`, such as ``"[0, 1)"``."""
    low, high = (float(end) for end in interval[1:-1].split(","))
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float | np.integer | np.floating)
        or not low <= value <= high
        or (value == low and interval[0] == "(")
        or (value == high and interval[-1] == ")")
    ):
        raise ValueError(f"{name} is {value!r}, but must be a number in {interval}.")
