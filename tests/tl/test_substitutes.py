"""`tl.substitutes`: the right gene comes first, and what it costs is measured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from anndata import AnnData

import yoto_sc as yt

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

COLUMNS = [
    *("gene", "rank", "substitute", "verdict", "role_task", "role_classes"),
    *("role_dropped_loss", "role_dropped_loss_se", "role_kept", "role_loss", "role_loss_se"),
    *("correlation", "task", "metric", "score"),
    *("loss", "loss_se", "dropped_loss", "dropped_loss_se"),
    *("dropped_category", "dropped_category_loss"),
]


def known(n_obs: int = 400, **params: Any) -> AnnData:
    """Build counts of markers of three classes, of a twin and of a relative of one, and noise.

    Gene ``A`` marks class a, ``B`` class b; class c has none. ``A_twin`` equals ``A`` and
    ``A_weak`` marks class a less well. ``rate`` follows gene ``R``.
    """
    rng = np.random.default_rng(0)
    labels = np.array(["a", "b", "c"])[np.arange(n_obs) % 3]
    counts = {name: rng.poisson(1 + 6 * (labels == name.lower())) for name in "AB"}
    counts["A_twin"] = counts["A"]
    counts["A_weak"] = rng.poisson(1 + 2.5 * (labels == "a"))
    counts["R"] = rng.poisson(4, n_obs)
    counts |= {f"noise_{i}": rng.poisson(2, n_obs) for i in range(20)}
    table = pd.DataFrame(counts).astype(np.float32)
    adata = AnnData(sp.csr_matrix(table.to_numpy()), var=pd.DataFrame(index=table.columns))
    adata.obs["type"] = pd.Categorical(labels)
    adata.obs["rate"] = np.log1p(counts["R"]) + rng.normal(0, 0.1, n_obs)
    adata.obs["donor"] = np.arange(n_obs) // 40
    panel = ["A", "B", "R"]
    adata.var["yoto_selected"] = adata.var_names.isin(panel)
    adata.var["yoto_rank"] = pd.Series({g: r for r, g in enumerate(panel, 1)}, dtype="Int64")
    adata.var["yoto_score"] = adata.var["yoto_selected"].astype(np.float32)
    adata.uns["yoto"] = {
        "params": {"categorical_keys": ["type"], "continuous_keys": ["rate"], **params}
    }
    return adata


def of(table: pd.DataFrame, gene: str, task: str) -> pd.DataFrame:
    return table[(table["gene"] == gene) & (table["task"] == task)]


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return yt.tl.substitutes(known(), n=2)


def test_one_row_for_each_gene_substitute_and_task(table: pd.DataFrame) -> None:
    assert list(table.columns) == COLUMNS
    keys = table[["gene", "rank", "task"]].to_records(index=False).tolist()
    expected = [(g, r, t) for g in ("A", "B", "R") for r in (1, 2) for t in ("type", "rate")]
    assert keys == expected
    assert str(table["rank"].dtype) == "Int64"
    assert not table["substitute"].isin(["A", "B", "R"]).any()
    assert dict(zip(table["task"], table["metric"], strict=True)) == {
        "type": "macro_f1",
        "rate": "r2",
    }


def test_a_twin_is_the_best_substitute_and_costs_nothing(table: pd.DataFrame) -> None:
    for task in ("type", "rate"):
        twin = of(table, "A", task).iloc[0]
        assert twin["substitute"] == "A_twin"
        assert twin["correlation"] == pytest.approx(1)
        assert abs(twin["loss"]) < 0.01
        assert twin["loss_se"] < 0.01


def test_a_relative_costs_more_than_a_twin_and_less_than_nothing(table: pd.DataFrame) -> None:
    relative = of(table, "A", "type").iloc[1]
    assert relative["substitute"] == "A_weak"
    assert 0 < relative["correlation"] < 1
    assert 0.02 < relative["loss"] < relative["dropped_loss"]
    assert relative["dropped_loss"] > 5 * relative["dropped_loss_se"] > 0


def test_the_task_of_the_role_suffers(table: pd.DataFrame) -> None:
    type_, rate = of(table, "B", "type").iloc[0], of(table, "B", "rate").iloc[0]
    assert type_["dropped_category"] in {"b", "c", None}  # taken for each other
    assert type_["dropped_category_loss"] > type_["dropped_loss"] > 0.1
    assert abs(rate["dropped_loss"]) < 0.05
    assert pd.isna(rate["dropped_category"])
    assert of(table, "R", "rate")["dropped_loss"].iloc[0] > 0.8
    assert abs(of(table, "R", "type")["dropped_loss"].iloc[0]) < 0.05


def test_the_role_is_the_task_and_the_classes_that_the_gene_marks(table: pd.DataFrame) -> None:
    first = table.drop_duplicates("gene").set_index("gene")
    assert first["role_task"].to_dict() == {"A": "type", "B": "type", "R": "rate"}
    assert first.loc[["A", "B"], "role_classes"].tolist() == ["a", "b"]
    assert pd.isna(first.loc["R", "role_classes"])
    assert (first["role_dropped_loss"] > 0.5).all()
    assert (first["role_dropped_loss"] > 5 * first["role_dropped_loss_se"]).all()


def test_verdicts_and_what_is_kept(table: pd.DataFrame) -> None:
    rows = of(table, "A", "type").set_index("substitute")
    assert rows["verdict"].to_dict() == {"A_twin": "as good", "A_weak": "worse"}
    assert rows.loc["A_twin", "role_kept"] == pytest.approx(1)
    assert 0.4 < rows.loc["A_weak", "role_kept"] < 0.95
    assert abs(rows.loc["A_twin", "role_loss"]) < 0.01
    assert 0.1 < rows.loc["A_weak", "role_loss"] < rows.loc["A_weak", "role_dropped_loss"]
    assert (of(table, "B", "type")["role_kept"] < 0.4).all()  # of noise


def test_beside_its_copy_a_gene_is_not_needed() -> None:
    adata = known()
    panel = ["A", "B", "R", "A_twin"]
    adata.var["yoto_selected"] = adata.var_names.isin(panel)
    adata.var["yoto_rank"] = pd.Series({g: r for r, g in enumerate(panel, 1)}, dtype="Int64")
    table = of(yt.tl.substitutes(adata, n=1), "A", "type").iloc[0]
    assert table["verdict"] == "not needed"
    assert table["role_classes"] == "a"  # it still marks the class
    assert table["substitute"] == "A_weak"
    assert abs(table["role_dropped_loss"]) < 0.02
    needed = yt.tl.substitutes(known(), genes="A", n=1)
    assert (needed["verdict"] != "not needed").all()


def test_no_class_is_named_in_a_tie(table: pd.DataFrame) -> None:
    """Without A, class a is taken for c and c for a; without noise, nothing falls."""
    tied = of(table, "R", "type").iloc[0]
    assert tied["dropped_category"] is None
    assert np.isfinite(tied["dropped_category_loss"])
    adata = known(n_obs=4000)
    larger = of(yt.tl.substitutes(adata, genes="A", n=1), "A", "type").iloc[0]
    assert larger["dropped_category"] in {"a", "c", None}
    assert larger["dropped_category_loss"] > 0.4


def test_a_gene_of_most_classes_is_told_by_those_that_lack_it() -> None:
    adata = known()
    counts = adata.X.toarray()
    counts[:, 5] = np.random.default_rng(5).poisson(0.1 + 4 * (adata.obs["type"] != "c"))
    adata.X = sp.csr_matrix(counts)
    adata.var["yoto_selected"] = adata.var_names == "noise_0"
    adata.var["yoto_rank"] = pd.Series({"noise_0": 1}, dtype="Int64")
    assert set(yt.tl.substitutes(adata, n=1)["role_classes"]) == {"all but c"}


def test_what_tells_nothing_has_no_role() -> None:
    adata = known()
    adata.var["yoto_selected"] = adata.var_names.isin(["A", "noise_0"])
    adata.var["yoto_rank"] = pd.Series({"A": 1, "noise_0": 2}, dtype="Int64")
    table = yt.tl.substitutes(adata, genes="noise_0", n=1)
    missing = ["verdict", "role_task", "role_classes", "role_dropped_loss", "role_kept"]
    assert table[[*missing, "role_loss", "role_loss_se"]].isna().all(axis=None)
    assert table["substitute"].isin(["B", "R"]).all()  # they help most, whatever they replace


def test_a_marker_is_replaced_by_markers_of_its_class_whatever_the_resample() -> None:
    adata = yt.datasets.planted(
        1000, 300, n_informative=20, n_redundant=20, n_classes=(5,), missing=0.0, random_state=1
    )
    informative = adata.var_names[adata.var["informative"]]
    means = pd.DataFrame(adata[:, informative].X.toarray(), columns=informative)
    marks = means.groupby(adata.obs["task_0"].to_numpy()).mean().idxmax()
    panel = [marks[marks == category].index[0] for category in sorted(set(marks))]
    adata.var["yoto_selected"] = adata.var_names.isin(panel)
    adata.var["yoto_rank"] = pd.Series({g: r for r, g in enumerate(panel, 1)}, dtype="Int64")
    adata.var["yoto_score"] = np.float32(0)
    adata.uns["yoto"] = {"params": {"categorical_keys": ["task_0"]}}
    first: dict[str, list[str]] = {gene: [] for gene in panel}
    for seed in range(5):
        rng = np.random.default_rng(seed)
        cells = np.sort(rng.permutation(adata.n_obs)[:800])
        table = yt.tl.substitutes(adata[cells].copy(), n=3, random_state=seed)
        assert (table["role_classes"] == table["gene"].map(marks)).all()
        substitutes = table["substitute"].map(marks)
        assert (substitutes == table["role_classes"]).all()  # there are three others for each
        for gene, rows in table.groupby("gene"):
            first[str(gene)].append(rows["substitute"].iloc[0])
    shares = [max(map(found.count, found)) / 5 for found in first.values()]
    assert np.mean(shares) >= 0.6


def test_the_score_is_that_of_held_out_cells() -> None:
    """Of labels that nothing tells, heads learn some on their own cells only."""
    adata = known()
    rng = np.random.default_rng(1)
    adata.obs["type"] = pd.Categorical(rng.permutation(adata.obs["type"]))
    adata.obs["rate"] = rng.permutation(adata.obs["rate"])
    scores = yt.tl.substitutes(adata, genes="A", n=1).set_index("task")["score"]
    assert scores["type"] < 0.45
    assert scores["rate"] < 0.05


def test_the_stated_loss_is_not_that_of_the_cells_it_was_chosen_on() -> None:
    """Among genes of noise, the best of many looks useful where it was chosen only."""
    adata = known()
    rng = np.random.default_rng(2)
    noise = rng.poisson(2, (adata.n_obs, 300)).astype(np.float32)
    names = [*adata.var_names, *(f"more_{i}" for i in range(300))]
    wide = AnnData(
        sp.csr_matrix(np.hstack([adata.X.toarray(), noise])),
        obs=adata.obs,
        var=adata.var.reindex(names),
        uns=adata.uns,
    )
    wide.var["yoto_selected"] = wide.var_names.isin(["A", "B", "noise_0"])
    wide.var["yoto_rank"] = pd.Series({"A": 1, "B": 2, "noise_0": 3}, dtype="Int64")
    wide.var["yoto_score"] = np.float32(0)
    wide.uns["yoto"]["params"] = {
        "categorical_keys": ["type"],
        "exclude": ["A_*", "R"],
    }
    table = yt.tl.substitutes(wide, genes="noise_0", n=10)
    assert table["substitute"].str.match("noise_|more_").all()
    assert table["loss"].mean() > -0.005


def test_of_vectors_all_columns_count() -> None:
    """One column follows gene A, the other gene B; rows that lack a value are no labels."""
    adata = known(obsm_keys=["vector"])
    del adata.uns["yoto"]["params"]["categorical_keys"]
    del adata.uns["yoto"]["params"]["continuous_keys"]
    noise = np.random.default_rng(4).normal(0, 0.1, (adata.n_obs, 2))
    vectors = np.log1p(adata[:, ["A", "B"]].X.toarray()) + noise
    vectors[:50, 1] = np.nan
    adata.obsm["vector"] = vectors
    table = yt.tl.substitutes(adata, n=1)
    assert set(table["task"]) == {"vector"}
    assert set(table["metric"]) == {"r2"}
    assert table["dropped_category"].isna().all()
    rows = table.set_index("gene")
    assert rows.loc["A", "substitute"] == "A_twin"
    assert abs(rows.loc["A", "loss"]) < 0.01
    assert rows.loc["A", "score"] > 0.95
    variance = np.nanvar(vectors[50:], axis=0)
    for gene, share in zip("AB", variance / variance.sum(), strict=True):
        assert 0.5 * share < rows.loc[gene, "dropped_loss"] < 1.1 * share
    assert abs(rows.loc["R", "dropped_loss"]) < 0.01


def test_of_the_transcriptome() -> None:
    adata = known(transcriptome=2)
    adata.uns["yoto"]["params"] = {"transcriptome": 2}
    adata.obs = adata.obs[[]]
    table = yt.tl.substitutes(adata, genes=["A", "B"], n=1).set_index("gene")
    assert table.loc["A", "substitute"] == "A_twin"
    assert abs(table.loc["A", "loss"]) < 0.02
    assert table["score"].between(0.3, 1).all()
    assert table.loc["B", "dropped_loss"] > 0.05


@pytest.mark.parametrize(("heavy", "expected"), [("type", "A"), ("rate", "R")])
def test_weights_of_tasks_decide_between_substitutes(heavy: str, expected: str) -> None:
    adata = known(task_weights={heavy: 20.0}, exclude=["A_*", "B"])
    adata.var["yoto_selected"] = adata.var_names == "noise_0"
    adata.var["yoto_rank"] = pd.Series({"noise_0": 1}, dtype="Int64")
    table = yt.tl.substitutes(adata, n=2)
    assert table["substitute"].iloc[0] == expected
    assert set(table["substitute"]) == {"A", "R"}


def test_rules_of_the_selection_hold() -> None:
    table = yt.tl.substitutes(known(exclude=["A_tw*"]), genes="A", n=3)
    assert table["substitute"].iloc[0] == "A_weak"
    assert "A_twin" not in set(table["substitute"])
    listed = known(candidates=["A", "B", "R", "A_weak", "noise_0"], include=["noise_1"])
    assert set(yt.tl.substitutes(listed, n=9)["substitute"]) == {"A_weak", "noise_0", "noise_1"}
    column = known(candidates="chosen")
    column.var["chosen"] = column.var_names.isin(["noise_2", "A"])
    assert set(yt.tl.substitutes(column, genes="A")["substitute"]) == {"noise_2"}


def test_a_substitute_keeps_to_the_budget() -> None:
    adata = known(cost="price", budget=4.5)
    adata.var["price"] = 1.0
    adata.var.loc["A_twin", "price"] = 3.0
    affordable = set(yt.tl.substitutes(adata, genes="A", n=20)["substitute"])
    assert "A_weak" in affordable
    assert "A_twin" not in affordable
    adata.uns["yoto"]["params"]["budget"] = 5.0
    assert yt.tl.substitutes(adata, genes="A", n=1)["substitute"].iloc[0] == "A_twin"


def test_without_a_substitute_the_role_remains() -> None:
    table = yt.tl.substitutes(known(candidates=["A", "B", "R"]), genes=["R", "A"])
    assert list(table["gene"]) == ["R", "R", "A", "A"]
    assert table[["rank", "substitute", "loss", "loss_se", "correlation"]].isna().all(axis=None)
    assert of(table, "A", "type")["role_classes"].item() == "a"
    assert set(table["verdict"]) == {"no substitute"}


def test_a_panel_of_one_gene() -> None:
    adata = known(exclude=["R", "B"])
    adata.var["yoto_selected"] = adata.var_names == "A"
    table = of(yt.tl.substitutes(adata, n=1), "A", "type")
    assert table["substitute"].item() == "A_twin"
    assert table["dropped_loss"].item() > 0.2


def test_whole_groups_are_held_out() -> None:
    """A label that each donor has its own code for cannot be told in donors never seen."""
    rng = np.random.default_rng(3)
    labels = {}
    for split_key in (None, "donor"):
        adata = known(**({} if split_key is None else {"split_key": split_key}))
        values = adata.X.toarray()
        code = pd.get_dummies(adata.obs["donor"]).to_numpy()[:, :5]
        values[:, 5:10] = 5 * code  # noise_0 … noise_4 tell the donor
        adata.X = sp.csr_matrix(values)
        of_donor = rng.permutation(np.arange(10) % 2)
        adata.obs["type"] = pd.Categorical(of_donor[adata.obs["donor"]].astype(str))
        adata.var["yoto_selected"] = adata.var_names.isin([f"noise_{i}" for i in range(5)])
        adata.var["yoto_rank"] = pd.Series({f"noise_{i}": i + 1 for i in range(5)}, dtype="Int64")
        table = yt.tl.substitutes(adata, genes="noise_0", n=1)
        labels[split_key] = of(table, "noise_0", "type")["score"].item()
    assert labels["donor"] < labels[None] - 0.1


def test_missing_labels_and_tiny_classes() -> None:
    adata = known(unlabeled=["c"])
    adata.obs["type"] = adata.obs["type"].cat.add_categories(["once", "Unused"])
    adata.obs.iloc[0, 0] = "once"
    adata.obs.iloc[1:100, 0] = None
    adata.obs.iloc[50:150, 1] = np.nan
    table = yt.tl.substitutes(adata, genes="A", n=1)
    assert np.isfinite(table[["score", "loss", "dropped_loss"]]).all(axis=None)
    assert of(table, "A", "type")["role_classes"].item() == "a"


def test_key_model_and_directory_give_the_same(
    selected: AnnData, model_dir: Path, state_of: Callable[[AnnData], Any]
) -> None:
    before = state_of(selected)
    gene = yt.Panel.from_adata(selected).genes[2]
    by_key = yt.tl.substitutes(selected, "yoto", genes=gene, n=2)
    assert len(by_key) == 6
    model = yt.model.YOTO.load(model_dir, accelerator="cpu")
    for given in (model, model_dir, str(model_dir)):
        pd.testing.assert_frame_equal(by_key, yt.tl.substitutes(selected, given, genes=gene, n=2))
    assert state_of(selected) == before
    other = yt.tl.substitutes(selected, genes=gene, n=2, random_state=1)
    assert not by_key["loss"].equals(other["loss"])


def test_reads_the_layer_that_the_selection_read() -> None:
    adata = known(expression="layers/counts")
    adata.layers["counts"] = adata.X
    adata.X = sp.csr_matrix(np.ones(adata.shape, dtype=np.float32))
    assert yt.tl.substitutes(adata, genes="A", n=1)["substitute"].iloc[0] == "A_twin"


def test_a_saved_model_reads_the_layer_of_its_selection(
    adata: AnnData, select: Callable[..., Any], tmp_path: Path
) -> None:
    adata.layers["counts"] = adata.X
    adata.X = adata.X[:, ::-1].copy()
    select(adata, layer="counts", model_dir=tmp_path / "model")
    by_key = yt.tl.substitutes(adata, genes=yt.Panel.from_adata(adata).genes[0])
    by_model = yt.tl.substitutes(adata, tmp_path / "model", genes=by_key["gene"][0])
    pd.testing.assert_frame_equal(by_model, by_key)


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ({"genes": "A_twin"}, KeyError, r"\['A_twin'\], not in the panel.*'A', 'B', 'R'"),
        ({"n": 0}, ValueError, "n must be at least 1"),
        ({"model_or_key": "other"}, FileNotFoundError, "neither the key .* nor the directory"),
        ({"model_or_key": 3}, TypeError, "model_or_key must be"),
        ({"layer": "nope"}, KeyError, "not in adata.layers"),
        ({"random_state": -1}, ValueError, "random_state must be at least 0"),
    ],
)
def test_bad_arguments(arguments: dict[str, Any], error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        yt.tl.substitutes(known(), **arguments)


def test_bad_data(model_dir: Path, adata: AnnData) -> None:
    unlabelled = known()
    del unlabelled.obs["type"]
    with pytest.raises(KeyError, match="selected for 'type'"):
        yt.tl.substitutes(unlabelled)
    emptied = known()
    emptied.uns["yoto"] = {}
    with pytest.raises(KeyError, match="does not name the tasks"):
        yt.tl.substitutes(emptied)
    one_donor = known(split_key="donor")
    one_donor.obs.loc[one_donor.obs["donor"] > 0, ["type", "rate"]] = None
    with pytest.raises(ValueError, match="cells with a label .* one group"):
        yt.tl.substitutes(one_donor)
    with pytest.raises(KeyError, match="adata lacks 6 panel genes"):
        yt.tl.substitutes(known(), model_dir)
    adata.obs["task_0"] = "new"
    with pytest.raises(ValueError, match="fewer than two of the values"):
        yt.tl.substitutes(adata, model_dir)


# --- the parts ---


def test_a_refitted_head_is_one_fitted_anew() -> None:
    from yoto_sc.judge._linear_heads import LogisticHead

    rng = np.random.default_rng(0)
    labels = rng.integers(-1, 3, 200)
    values = (rng.normal(size=(200, 6)) + labels[:, None] * np.arange(6) / 5).astype(np.float32)
    seen, part = labels >= 0, np.arange(200) % 3
    folds = [(seen & (part != fold), seen & (part == fold)) for fold in range(3)]
    arguments = (labels, folds, np.ones((1, 200), dtype=np.float32), 3)
    warm = LogisticHead(*arguments)
    warm.fit(values[:, :5])
    swapped, without = values[:, [0, 1, 5, 3, 4]], values[:, :5] * [1, 1, 0, 1, 1]
    for changed, correlation, columns in (
        (swapped, 0.5, [0, 1, 5, 3, 4]),
        (without.astype(np.float32), 0.0, [0, 1, 3, 4]),
    ):
        refitted = warm.refit(changed, 2, correlation)
        anew = LogisticHead(*arguments).fit(values[:, columns])
        assert refitted.error == pytest.approx(anew.error, abs=1e-4)
        np.testing.assert_allclose(refitted.scores, anew.scores, atol=0.011)
