"""What an assay will meet: means, detection, crowding, and genes that are copies."""

from __future__ import annotations

from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from yoto_sc._problem import Problem
from yoto_sc.judge import assay_tables, warnings_on
from yoto_sc.judge._assay_table import some
from yoto_sc.rules import Requirements

N_EACH = 60


def problem_of(values: np.ndarray, keys: dict[str, list[str]], **rules: Any) -> Problem:
    names = [f"g{number}" for number in range(values.shape[1])]
    half = np.repeat(["a", "b"], N_EACH)
    obs = pd.DataFrame(
        {
            "type": pd.Categorical(half),
            "kind": pd.Categorical(np.tile(["x", "y"], N_EACH)),
            "score": np.linspace(0, 1, 2 * N_EACH),
        },
        index=[f"c{number}" for number in range(2 * N_EACH)],
    )
    obs.loc["c0", "type"] = np.nan
    adata = ad.AnnData(sp.csr_matrix(values.astype(np.float32)), obs, pd.DataFrame(index=names))
    return Problem.from_adata(adata, keys, requirements=Requirements(**rules))


@pytest.fixture
def values() -> np.ndarray:
    """Counts: g1 is twice g0, g2 is rare, g3 is of the class b, g4 is counted most."""
    rng = np.random.default_rng(0)
    x = np.zeros((2 * N_EACH, 12))
    x[:, 0] = rng.poisson(3, 2 * N_EACH)
    x[:, 1] = 2 * x[:, 0]
    x[5, 2] = 1
    x[N_EACH:, 3] = 1 + rng.poisson(2, N_EACH)
    x[:, 4:] = rng.poisson(1, (2 * N_EACH, 8))
    x[:, 4] += 20
    return x


GENES = [f"g{number}" for number in (4, 3, 2, 1, 0)]


def test_genes_have_what_numpy_says(values: np.ndarray) -> None:
    found = assay_tables(problem_of(values, {"categorical": ["type"]}), GENES)
    table, chosen = found.genes, values[:, [4, 3, 2, 1, 0]]
    assert list(table.index) == GENES
    np.testing.assert_allclose(table["mean"], chosen.mean(axis=0))
    np.testing.assert_allclose(table["detection"], (chosen > 0).mean(axis=0))
    np.testing.assert_allclose(table["share"], chosen.mean(axis=0) / chosen.mean(axis=0).sum())
    assert table.loc["g3", ["peak_detection", "peak_class", "peak_task"]].tolist() == [
        *(1.0, "b", "type")
    ]
    assert table.loc["g2", "peak_detection"] == pytest.approx(1 / (N_EACH - 1))
    classes = found.classes.set_index("category")
    assert list(classes["n_cells"]) == [2 * N_EACH, N_EACH - 1, N_EACH]
    assert classes.loc["b", "total"] == pytest.approx(chosen[N_EACH:].mean(axis=0).sum())
    assert found.summary["crowded_class"] == "b"
    assert found.summary["crowding"] == classes["total"].max()
    assert "below_floor" not in found.summary
    found = assay_tables(problem_of(values, {"categorical": ["type"]}, min_detection=0.05), GENES)
    assert found.summary["detection_floor"] == 0.05
    assert found.summary["below_floor"] == ["g2"]


def test_the_share_in_a_small_class_is_of_fifty_cells(values: np.ndarray) -> None:
    problem = problem_of(values, {"categorical": ["type"]})
    problem.labels[0][N_EACH + 10 :] = -1
    found = assay_tables(problem, GENES).genes
    assert found.loc["g3", "peak_detection"] == pytest.approx(N_EACH / (2 * N_EACH))
    assert found.loc["g3", "peak_class"] == "all cells"


def test_without_classes_all_cells_are_one(values: np.ndarray) -> None:
    found = assay_tables(problem_of(values, {"continuous": ["score"]}), GENES)
    assert list(found.classes["category"]) == ["all cells"]
    assert found.summary["crowded_class"] == "all cells"
    assert found.summary["below_floor"] == ["g2"]
    assert "below_floor_imposed" not in found.summary
    assert set(found.genes["peak_task"]) == {""}


def test_a_panel_without_counts_has_no_shares(values: np.ndarray) -> None:
    problem = problem_of(np.c_[values, np.zeros(len(values))], {"continuous": ["score"]})
    found = assay_tables(problem, ["g12"])
    assert np.isnan(found.genes["share"].iloc[0])
    assert len(found.copies) == 0


def test_copies_are_named(values: np.ndarray) -> None:
    found = assay_tables(problem_of(values, {"continuous": ["score"]}), GENES).copies
    assert found[["gene", "copy"]].to_numpy().tolist() == [["g1", "g0"]]
    expected = np.corrcoef(np.log1p(values[:, 0]), np.log1p(values[:, 1]))[0, 1]
    assert found["correlation"].iloc[0] == pytest.approx(expected)


def test_large_panels_are_not_correlated(
    values: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("yoto_sc.judge._assay_table._MOST_GENES", 4)
    assert len(assay_tables(problem_of(values, {"continuous": ["score"]}), GENES).copies) == 0


def test_warnings_name_genes_and_classes(values: np.ndarray) -> None:
    problem = problem_of(values, {"categorical": ["type"]}, max_crowding=25, crowding_key="kind")
    found = assay_tables(problem, GENES, ["g2", "g3"])
    assert set(found.classes["task"]) == {"", "type", "kind"}
    assert found.summary["max_crowding"] == 25
    said = list(warnings_on(found))
    assert len(said) == 2
    assert said[0].startswith("max_crowding=25 is exceeded in classes it was not asked for: ")
    assert "b of type (" in said[0]
    assert "most by g4, g1, g0" in said[0]
    assert said[1] == "Genes correlated above 0.8 tell much the same: g1 and g0 (1.00)."


def test_genes_under_the_floor_are_named(values: np.ndarray) -> None:
    found = assay_tables(problem_of(values, {"continuous": ["score"]}), ["g2", "g3"], ["g2"])
    assert found.summary["below_floor_imposed"] == ["g2"]
    assert list(warnings_on(found)) == [
        "Genes seen in fewer than 1.0% of the cells of any class are easily missed: g2 (0.83%)."
    ]


def test_a_quiet_panel_has_no_warnings(values: np.ndarray) -> None:
    found = assay_tables(problem_of(values, {"categorical": ["type"]}), ["g3", "g4"])
    assert list(warnings_on(found)) == []


def test_many_names_are_cut() -> None:
    assert some(list("abc"), most=2) == "a, b and 1 more"
