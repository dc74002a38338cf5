"""Where groups are held out, standard errors tell how far scores are off for other groups."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from anndata import AnnData
from sklearn.metrics import f1_score, r2_score

import yoto_sc as yt

if TYPE_CHECKING:
    from collections.abc import Callable

TASKS = {"categorical_keys": ["type"], "continuous_keys": ["rate"]}
HALF = {"validation_size": 0.5, "refit": False}


def of_two_kinds(n_groups: int = 24, n_cells: int = 20) -> AnnData:
    """Build counts that tell type and rate of a cell, but mislead in every fourth donor.

    Every marker adds to the others, so that scores rise slowly with the size of the panel.
    """
    rng = np.random.default_rng(0)
    donor = np.repeat(np.arange(n_groups), n_cells)
    type_, rate = rng.integers(3, size=donor.size), rng.normal(size=donor.size)
    markers = rng.poisson(1 + 2 * (type_[:, None] == np.arange(15) % 3))
    followers = rng.poisson(np.exp(1 + 0.4 * rate[:, None]), (donor.size, 8))
    noise = rng.poisson(2, (donor.size, 7))
    misleads = donor % 4 == 0
    obs = {
        "type": pd.Categorical.from_codes((type_ + misleads) % 3, ["a", "b", "c"]),
        "rate": np.where(misleads, -rate, rate),
        "donor": pd.Categorical.from_codes(donor, [f"donor_{i}" for i in range(n_groups)]),
    }
    counts = np.hstack([markers, followers, noise]).astype(np.float32)
    index = [f"cell_{i}" for i in range(donor.size)]
    return AnnData(sp.csr_matrix(counts), obs=pd.DataFrame(obs, index=index))


def macro_f1(true: pd.Series, predicted: pd.Series) -> float:
    return f1_score(true.astype(str), predicted.astype(str), average="macro")


SCORES = {"type": macro_f1, "rate": r2_score}


def bootstrap(
    true: pd.DataFrame, predicted: pd.DataFrame, units: pd.Series, n_samples: int = 4000
) -> np.ndarray:
    """Score samples of whole units, drawn with replacement; ``(n_samples, n_tasks)``."""
    member = pd.get_dummies(units.to_numpy()).to_numpy(dtype=float)
    member = member[:, member.any(axis=0)]
    n_units = member.shape[1]
    drawn = np.random.default_rng(1).multinomial(n_units, [1 / n_units] * n_units, n_samples)
    weights = drawn @ member.T  # how often each cell is in each sample
    classes = list("abc")
    t, p = (np.asarray(table["type"])[:, None] == classes for table in (true, predicted))
    f1 = (2 * weights @ (t & p) / (weights @ t + weights @ p)).mean(axis=1)
    y, error = true["rate"].to_numpy(), (true["rate"] - predicted["rate"]).to_numpy() ** 2
    n = weights.sum(axis=1)
    r2 = 1 - weights @ error / (weights @ y**2 - (weights @ y) ** 2 / n)
    return np.column_stack([f1, r2])


def test_groups_are_drawn(select: Callable[..., Any]) -> None:
    adata = of_two_kinds()
    select(adata, 16, split_key="donor", max_steps=150, train_kwargs=HALF, **TASKS)
    predicted = adata.uns["yoto"]["held_out"]
    true = adata.obs.loc[predicted.index]
    by_group = bootstrap(true, predicted, true["donor"]).std(axis=0)
    by_cell = bootstrap(true, predicted, pd.Series(true.index)).std(axis=0)
    assert true["donor"].nunique() == 12
    assert (by_group > 2 * by_cell).all(), "The donors differ too little to tell."
    path = adata.uns["yoto"]["path"]
    for task, expected in zip(SCORES, by_group, strict=True):
        row = path.query("n_genes == 16 and task == @task")
        assert row["score"].item() == pytest.approx(SCORES[task](true[task], predicted[task]))
        assert row["standard_error"].item() == pytest.approx(expected, rel=0.25)
    ridge = path.query("predictor == 'ridge' and task == 'type'")
    assert len(ridge)
    assert (ridge["standard_error"] > by_group[0] / 2).all()


def test_auto_draws_groups(train: Callable[..., Any]) -> None:
    adata = of_two_kinds()
    setup = {**TASKS, "split_key": "donor"}
    model = train(adata, setup=setup, n_genes="auto", train_kwargs={"max_steps": 150, **HALF})
    true = adata.obs.iloc[model.validation_indices]
    sizes = sorted(model.path.query("predictor == 'network'")["n_genes"].unique())
    predicted = {k: model.predict(n_genes=k).loc[true.index] for k in sizes}
    scores = {
        k: np.mean([SCORES[task](true[task], table[task]) for task in SCORES])
        for k, table in predicted.items()
    }
    best = max(scores, key=lambda k: scores[k])

    def smallest(error: float) -> int:
        return next(k for k in sizes if scores[k] >= scores[best] - error)

    by_group = bootstrap(true, predicted[best], true["donor"]).mean(axis=1).std()
    by_cell = bootstrap(true, predicted[best], pd.Series(true.index)).mean(axis=1).std()
    assert smallest(0.75 * by_group) < smallest(1.25 * by_cell), "The donors differ too little."
    assert smallest(1.25 * by_group) <= model.panel().n_genes <= smallest(0.75 * by_group)


@pytest.mark.parametrize("n_genes", [6, "auto"])
def test_one_group_tells_nothing_of_others(
    adata: AnnData, select: Callable[..., Any], n_genes: Any
) -> None:
    select(adata, n_genes, split_key="donor")
    record = adata.uns["yoto"]
    assert adata.obs.loc[record["held_out"].index, "donor"].nunique() == 1
    assert record["path"]["score"].notna().all()
    assert record["path"]["standard_error"].isna().all()
    assert yt.Panel.from_adata(adata).n_genes in set(record["path"]["n_genes"])


def test_cells_are_drawn_where_cells_are_held_out(select: Callable[..., Any]) -> None:
    adata = of_two_kinds()
    select(adata, 16, max_steps=150, train_kwargs=HALF, **TASKS)
    predicted = adata.uns["yoto"]["held_out"]
    true = adata.obs.loc[predicted.index]
    errors = bootstrap(true, predicted, pd.Series(true.index)).std(axis=0)
    path = adata.uns["yoto"]["path"].query("n_genes == 16").set_index("task")
    for task, expected in zip(SCORES, errors, strict=True):
        assert path.loc[task, "standard_error"] == pytest.approx(expected, rel=0.25)
