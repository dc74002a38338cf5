"""What others say of a query: from the counts of the panel's genes in both assays, and labels.

All but logistic regression need the environment `transfer` of `competitors/install.sh`. They have
their defaults, or what their tutorials set.
"""

from __future__ import annotations

import importlib.util
import logging
import sys
import warnings
from typing import TYPE_CHECKING

import anndata as ad
import numpy as np
import pandas as pd
import scanpy as sc
from scipy import sparse
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Answer = tuple[NDArray[np.floating], NDArray[np.str_]]
    """Probabilities, ``(n_obs, n_classes)``, and the classes."""

N_NEIGHBORS, N_COMPONENTS = 15, 30
BATCH_SIZE, SCVI_STEPS, SCANVI_STEPS, QUERY_STEPS = 128, 1000, 200, 200
_UNKNOWN = "(no label)"


def logistic(reference: ad.AnnData, query: ad.AnnData, key: str, seed: int) -> Answer:
    """Regress on log counts."""
    return fit_logistic(log_counts(reference), labels_of(reference, key), log_counts(query))


def logistic_normalized(reference: ad.AnnData, query: ad.AnnData, key: str, seed: int) -> Answer:
    """Regress on log counts, of which every cell has as many in the panel."""
    found, new = _normalized(reference, query)
    return fit_logistic(found, labels_of(reference, key), new)


def celltypist(reference: ad.AnnData, query: ad.AnnData, key: str, seed: int) -> Answer:
    """Train CellTypist on the panel's counts per 10,000; cell by cell."""
    return _celltypist(reference, query, key, voting=False)


def celltypist_voting(reference: ad.AnnData, query: ad.AnnData, key: str, seed: int) -> Answer:
    """Train CellTypist; clusters of the query vote. Probabilities are those of single cells."""
    return _celltypist(reference, query, key, voting=True)


def _celltypist(reference: ad.AnnData, query: ad.AnnData, key: str, *, voting: bool) -> Answer:
    import celltypist as ct

    ct.logger.set_level(logging.ERROR)
    # It asks for an argument that scikit-learn has no more since 1.8.
    sys.modules["celltypist.train"].LogisticRegression = _OneVersusRest
    found, new = (
        ad.AnnData(sparse.csr_matrix(part.X), var=part.var) for part in (reference, query)
    )
    for part in (found, new):
        sc.pp.normalize_total(part, target_sum=1e4)
        sc.pp.log1p(part)
    model = ct.train(
        found, labels=labels_of(reference, key), check_expression=False, n_jobs=1, max_iter=500
    )
    first = np.argsort(-np.asarray(new.X.sum(axis=1)).ravel(), kind="stable")  # it checks a cell
    new = new[first].copy()
    clusters = _over_clusters(new) if voting else None
    answer = ct.annotate(new, model=model, majority_voting=voting, over_clustering=clusters)
    back = np.argsort(first)
    p = answer.probability_matrix.to_numpy()[back]
    classes = answer.probability_matrix.columns.to_numpy(str)
    if voting:  # the winner gets the probability of the cell's own best class
        winners = answer.predicted_labels["majority_voting"].astype(str).to_numpy()[back]
        best = p.max(axis=1)
        p = np.where(classes[None] == winners[:, None], best[:, None], 0.0)
    return p, classes


def _over_clusters(adata: ad.AnnData) -> list[str]:
    """Cluster as CellTypist does, which needs 50 components; a panel has fewer."""
    adata = adata.copy()
    adata.obsm["X_pca"] = sc.pp.pca(adata.X.toarray(), n_comps=min(50, adata.n_vars - 1))
    sc.pp.neighbors(adata, n_neighbors=10, use_rep="X_pca")
    resolution = 5 if adata.n_obs < 5000 else 10
    sc.tl.leiden(adata, resolution=resolution, flavor="igraph", n_iterations=2, directed=False)
    return adata.obs["leiden"].astype(str).tolist()


class _OneVersusRest(LogisticRegression):
    """What ``LogisticRegression(multi_class="ovr")`` was: each class against all others."""

    def __init__(
        self,
        C: float = 1.0,
        solver: str = "lbfgs",
        max_iter: int = 100,
        multi_class: str = "ovr",
        n_jobs: int | None = None,
    ) -> None:
        super().__init__(C=C, solver=solver, max_iter=max_iter)
        self.multi_class = multi_class
        self.n_jobs = n_jobs

    def fit(self, x: NDArray[np.floating], y: NDArray[np.str_]) -> _OneVersusRest:
        self.classes_ = np.unique(y)
        each = [
            LogisticRegression(C=self.C, solver=self.solver, max_iter=self.max_iter).fit(x, y == c)
            for c in self.classes_
        ]
        self.coef_ = np.concatenate([model.coef_ for model in each])
        self.intercept_ = np.concatenate([model.intercept_ for model in each])
        self.n_features_in_ = self.coef_.shape[1]
        self.n_iter_ = np.concatenate([model.n_iter_ for model in each])
        return self


def harmony(reference: ad.AnnData, query: ad.AnnData, key: str, seed: int) -> Answer:
    """Let 15 neighbours in the reference vote, in components that Harmony has brought together."""
    import harmonypy

    components, assay = _components(reference, query, seed)
    meta = pd.DataFrame({"assay": assay})
    found = np.asarray(
        harmonypy.run_harmony(components, meta, "assay", random_state=seed, verbose=False).Z_corr
    )
    found = found if found.shape == components.shape else found.T
    n = reference.n_obs
    votes = KNeighborsClassifier(N_NEIGHBORS).fit(found[:n], labels_of(reference, key))
    return votes.predict_proba(found[n:]), votes.classes_.astype(str)


def bbknn(reference: ad.AnnData, query: ad.AnnData, key: str, seed: int) -> Answer:
    """Let the reference cells vote that BBKNN's graph connects, by the weight of the edge."""
    from bbknn.matrix import bbknn as graph_of

    components, assay = _components(reference, query, seed)
    _, graph, _ = graph_of(
        components,
        assay,
        neighbors_within_batch=N_NEIGHBORS,
        n_pcs=components.shape[1],
        computation="cKDTree",
        metric="euclidean",
    )
    n = reference.n_obs
    labels = labels_of(reference, key)
    classes, codes = np.unique(labels, return_inverse=True)
    votes = np.asarray(graph[n:, :n] @ np.eye(len(classes))[codes])
    total = votes.sum(axis=1, keepdims=True)
    prior = np.bincount(codes) / n
    return np.where(total > 0, votes / np.where(total > 0, total, 1), prior), classes.astype(str)


def scanvi(reference: ad.AnnData, query: ad.AnnData, key: str, seed: int) -> Answer:
    """Train scANVI on the reference, and map the query into it (scArches)."""
    import scvi

    found, new = _scvi_data(reference, query, key)
    trained = _scanvi(found, seed)
    mapped = scvi.model.SCANVI.load_query_data(new, trained, accelerator="cpu")
    n_epochs = _epochs(new.n_obs, QUERY_STEPS)
    mapped.train(
        n_epochs, plan_kwargs={"weight_decay": 0.0}, check_val_every_n_epoch=None, **_QUIET
    )
    return _soft(mapped, new)


def scanvi_joint(reference: ad.AnnData, query: ad.AnnData, key: str, seed: int) -> Answer:
    """Train scANVI on both; the query has no labels."""
    found, new = _scvi_data(reference, query, key)
    both = ad.concat([found, new], index_unique="-")
    trained = _scanvi(both, seed)
    return _soft(trained, both[reference.n_obs :].copy())


RIVALS: dict[str, Callable[[ad.AnnData, ad.AnnData, str, int], Answer]] = {
    "logistic": logistic,
    "logistic_normalized": logistic_normalized,
    "celltypist": celltypist,
    "celltypist_voting": celltypist_voting,
    "harmony": harmony,
    "bbknn": bbknn,
    "scanvi": scanvi,
    "scanvi_joint": scanvi_joint,
}
RIVAL_NAMES = {
    "logistic": "logistic regression, log counts",
    "logistic_normalized": "logistic regression, panel-normalised",
    "celltypist": "CellTypist",
    "celltypist_voting": "CellTypist, majority voting",
    "harmony": "Harmony, 15 neighbours",
    "bbknn": "BBKNN, 15 neighbours",
    "scanvi": "scANVI, query mapped",
    "scanvi_joint": "scANVI, trained on both",
}
_MODULES = {
    "celltypist": "celltypist",
    "celltypist_voting": "celltypist",
    "harmony": "harmonypy",
    "bbknn": "bbknn",
    "scanvi": "scvi",
    "scanvi_joint": "scvi",
}


def missing_module(name: str) -> str | None:
    """Return the module that this rival needs and that is not installed, or `None`."""
    module = _MODULES.get(name)
    return None if module is None or importlib.util.find_spec(module) else module


def fit_logistic(
    x: NDArray[np.floating], labels: NDArray[np.str_], new: NDArray[np.floating]
) -> Answer:
    """Fit logistic regression to standardised values, and say what `new` is."""
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500, tol=1e-3))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it need not converge
        model.fit(x, labels)
    return model.predict_proba(new), model.classes_.astype(str)


def log_counts(adata: ad.AnnData) -> NDArray[np.float32]:
    """Return the logarithm of counts, plus one."""
    return np.log1p(_dense(adata))


def labels_of(adata: ad.AnnData, key: str) -> NDArray[np.str_]:
    """Return labels as text."""
    return adata.obs[key].astype(str).to_numpy()


def _dense(adata: ad.AnnData) -> NDArray[np.float32]:
    return adata.X.toarray() if sparse.issparse(adata.X) else np.asarray(adata.X)


def _normalized(
    reference: ad.AnnData, query: ad.AnnData
) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Scale all cells to the reference's median of counts; empty cells stay empty."""
    x, new = _dense(reference), _dense(query)
    total = x.sum(axis=1)
    target = np.median(total[total > 0])
    found, asked = (
        np.log1p(part * (target / np.maximum(part.sum(axis=1, keepdims=True), 1)))
        for part in (x, new)
    )
    return found, asked


def _components(
    reference: ad.AnnData, query: ad.AnnData, seed: int
) -> tuple[NDArray[np.floating], NDArray[np.str_]]:
    """Return components of both assays, log-normalised within the panel and standardised."""
    x = np.concatenate(_normalized(reference, query))
    x = StandardScaler().fit_transform(x).clip(-10, 10)
    n = min(N_COMPONENTS, x.shape[1] - 1)
    assay = np.repeat(["reference", "query"], [reference.n_obs, query.n_obs])
    return sc.pp.pca(x, n_comps=n, random_state=seed), assay


_QUIET = {"accelerator": "cpu", "enable_progress_bar": False, "logger": False}


def _epochs(n_obs: int, n_steps: int) -> int:
    """Return the number of epochs that takes about as many steps."""
    return max(10, round(n_steps / max(1, n_obs / BATCH_SIZE)))


def _scvi_data(
    reference: ad.AnnData, query: ad.AnnData, key: str
) -> tuple[ad.AnnData, ad.AnnData]:
    """Return counts, label and assay of both; the query has no labels."""
    parts = []
    for name, part in (("reference", reference), ("query", query)):
        labels = labels_of(part, key) if name == "reference" else _UNKNOWN
        obs = pd.DataFrame({"label": labels, "assay": name}, index=part.obs_names)
        new = ad.AnnData(sparse.csr_matrix(part.X), obs=obs, var=part.var[[]].copy())
        # The decoder divides by the counts of a cell: those of an empty one are one.
        empty = np.asarray(new.X.sum(axis=1)).ravel() == 0
        if empty.any():
            new.X = sparse.csr_matrix(new.X + sparse.csr_matrix(empty[:, None] * _tiny(new)))
        parts.append(new)
    found, new = parts
    return found, new


def _tiny(adata: ad.AnnData) -> NDArray[np.float32]:
    """Return one count, of the gene with the most."""
    one = np.zeros((1, adata.n_vars), dtype=np.float32)
    one[0, np.asarray(adata.X.sum(axis=0)).argmax()] = 1
    return one


def _scanvi(adata: ad.AnnData, seed: int):
    """Train scVI, and scANVI from it, as the tutorial of scArches does."""
    import scvi

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning|scvi")
    scvi.settings.seed = seed
    scvi.settings.verbosity = logging.ERROR
    scvi.model.SCVI.setup_anndata(adata, batch_key="assay", labels_key="label")
    first = scvi.model.SCVI(
        adata,
        n_layers=2,
        use_layer_norm="both",
        use_batch_norm="none",
        encode_covariates=True,
        dropout_rate=0.2,
    )
    first.train(_epochs(adata.n_obs, SCVI_STEPS), **_QUIET)
    model = scvi.model.SCANVI.from_scvi_model(first, unlabeled_category=_UNKNOWN)
    model.train(_epochs(adata.n_obs, SCANVI_STEPS), n_samples_per_label=100, **_QUIET)
    return model


def _soft(model, adata: ad.AnnData) -> Answer:
    table = model.predict(adata, soft=True)
    return table.to_numpy(), table.columns.to_numpy(str)
