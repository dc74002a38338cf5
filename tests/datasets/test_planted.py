from __future__ import annotations

import hashlib
import subprocess
import sys

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.stats
from scipy import sparse
from sklearn.feature_selection import VarianceThreshold, f_classif
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import f1_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from yoto_sc.datasets import _planted as module
from yoto_sc.datasets import planted


def small(**kwargs):
    sizes = {"n_obs": 300, "n_vars": 100, "n_informative": 10, "n_redundant": 10}
    return planted(**(sizes | kwargs))


def observed(adata, task):
    """Log counts (dense), codes and positions of the genes of one task, labelled cells only."""
    keep = adata.obs[task].notna().to_numpy()
    x = np.log1p(adata.X[keep].toarray())
    labels = adata.obs[task][keep]
    y = labels.cat.codes.to_numpy() if labels.dtype == "category" else labels.to_numpy()
    mine = (adata.var["task"] == task).to_numpy()
    informative = adata.var["informative"].to_numpy()
    return x, y, mine & informative, mine & ~informative


def macro_f1(x, y):
    half = len(y) // 2
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.3, max_iter=1000))
    model.fit(x[:half], y[:half])
    return f1_score(y[half:], model.predict(x[half:]), average="macro")


def test_fields():
    adata = small(n_classes=(3, 4), n_continuous=1, n_donors=3)
    assert adata.shape == (300, 100)
    assert adata.X.format == "csr"
    assert adata.X.dtype == np.float32
    assert (adata.X.data == np.rint(adata.X.data)).all()
    assert adata.X.data.min() > 0
    assert list(adata.obs) == ["task_0", "task_1", "score_0", "donor"]
    assert adata.obs["task_1"].cat.categories.tolist() == [f"class_{i}" for i in range(4)]
    assert adata.obs["score_0"].dtype == np.float32
    assert adata.obs["donor"].value_counts().tolist() == [100] * 3
    assert list(adata.var) == ["informative", "task", "redundant_with"]
    assert adata.var["informative"].dtype == bool
    assert adata.var_names[1] == "gene_0001"
    assert adata.obs_names.is_unique


def test_genes_are_divided_evenly_and_copies_point_to_their_origin():
    var = planted(100, 200, n_informative=20, n_redundant=50, n_continuous=1).var
    informative = var[var["informative"]]
    assert informative["task"].value_counts().to_dict() == {
        "task_0": 7,
        "task_1": 7,
        "score_0": 6,
    }
    copies = var[var["redundant_with"] != ""]
    assert len(copies) == 50
    assert not copies["informative"].any()
    assert copies["redundant_with"].value_counts().between(2, 3).all()
    origin = informative.loc[copies["redundant_with"]]
    assert (origin["task"].to_numpy() == copies["task"].to_numpy()).all()
    noise = var[~var["informative"] & (var["redundant_with"] == "")]
    assert len(noise) == 130
    assert (noise["task"] == "").all()


def test_genes_are_shuffled():
    positions = np.flatnonzero(small(n_vars=1000).var["informative"])
    assert scipy.stats.kstest(positions / 1000, "uniform").pvalue > 0.001


def test_counts_are_sparse_and_overdispersed():
    adata = planted()
    assert 0.05 < adata.X.nnz / np.prod(adata.shape) < 0.2
    x = adata.X.toarray()
    common = x.mean(axis=0) > 0.3
    assert (x.var(axis=0) > x.mean(axis=0))[common].mean() > 0.95
    # Log-normal library size; counting and gene-wise noise widen it a little.
    assert module._LIBRARY_SD < np.log(x.sum(axis=1)).std() < 1.4 * module._LIBRARY_SD


def test_same_seed_same_data_and_no_global_generator():
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    one, two, other = small(), small(), small(random_state=1)
    np.testing.assert_array_equal(np.random.get_state()[1], state)  # noqa: NPY002
    assert (one.X != two.X).nnz == 0
    pd.testing.assert_frame_equal(one.obs, two.obs)
    pd.testing.assert_frame_equal(one.var, two.var)
    assert (one.X != other.X).nnz > 0


@pytest.mark.parametrize("missing", [0.0, 0.3, 0.9])
def test_missing_labels_hide_the_truth_and_change_nothing_else(missing):
    hidden = small(n_obs=2000, n_continuous=2, missing=missing)
    truth = small(n_obs=2000, n_continuous=2, missing=0)
    assert (hidden.X != truth.X).nnz == 0
    pd.testing.assert_frame_equal(hidden.var, truth.var)
    keys = ["task_0", "task_1", "score_0", "score_1"]
    assert truth.obs[keys].notna().all(axis=None)
    for key in keys:
        keep = hidden.obs[key].notna()
        assert (~keep).sum() == int(missing * 2000)
        assert (hidden.obs[key][keep] == truth.obs[key][keep]).all()
    # Independent per task.
    both = (hidden.obs["task_0"].isna() & hidden.obs["task_1"].isna()).mean()
    assert both == pytest.approx(missing**2, abs=0.04)


def test_tasks_and_donors_are_independent_and_classes_mildly_uneven():
    obs = planted(20000, 30, n_informative=2, n_redundant=0, missing=0).obs
    for one, two in [("task_0", "task_1"), ("task_0", "donor"), ("task_1", "donor")]:
        assert scipy.stats.chi2_contingency(pd.crosstab(obs[one], obs[two])).pvalue > 0.001
    share = obs["task_0"].value_counts(normalize=True)
    assert share.max() / share.min() == pytest.approx(1.5, rel=0.01)


@pytest.mark.parametrize("seed", range(5))
def test_informative_genes_are_identifiable(seed):
    adata = planted(random_state=seed)
    for task in ("task_0", "task_1"):
        x, y, informative, redundant = observed(adata, task)
        seen = VarianceThreshold().fit(x).get_support()
        f = np.zeros(len(seen))
        f[seen] = f_classif(x[:, seen], y)[0]
        assert informative.sum() == 10
        assert f[informative].min() > 1.5 * f[redundant].max()
        assert np.sort(f[redundant])[2] > np.sort(f[~informative & ~redundant])[-5]
        score = macro_f1(x[:, informative], y)
        assert 0.85 < score < 0.98
        assert macro_f1(x[:, redundant], y) < score - 0.15


def test_every_informative_gene_is_better_than_both_its_copies():
    # task_1 has classes with two and with three markers: the third is the easiest to replace.
    adata = planted(5000, 60, missing=0)
    x, y, informative, _ = observed(adata, "task_1")
    half = len(y) // 2

    def log_likelihood(genes):
        model = LogisticRegression(max_iter=300).fit(x[:half][:, genes], y[:half])
        proba = model.predict_log_proba(x[half:][:, genes])
        return proba[np.arange(len(y) - half), y[half:]].mean()

    panel = np.flatnonzero(informative)
    best = log_likelihood(panel)
    for gene in panel:
        rest = panel[panel != gene]
        copies = np.flatnonzero(adata.var["redundant_with"] == adata.var_names[gene])
        assert len(copies) == 2
        assert log_likelihood([*rest, *copies]) < best - 0.003


def test_continuous_scores_are_predictable_not_perfectly():
    adata = planted(n_classes=(), n_continuous=2)
    for task in ("score_0", "score_1"):
        x, y, informative, redundant = observed(adata, task)
        r2 = {
            name: Ridge().fit(x[:700, genes], y[:700]).score(x[700:, genes], y[700:])
            for name, genes in [("informative", informative), ("redundant", redundant)]
        }
        assert 0.5 < r2["informative"] < 0.9
        assert r2["redundant"] < r2["informative"] - 0.1


@pytest.mark.parametrize(
    ("n_classes", "n_genes"), [(2, 1), (5, 1), (4, 2), (5, 2), (5, 3), (5, 4), (40, 30), (12, 6)]
)
def test_fewer_genes_than_classes_still_separate_all(n_classes, n_genes):
    code = module._class_code(n_classes, n_genes)
    assert code.shape == (n_classes, n_genes)
    assert len(np.unique(code, axis=0)) == n_classes
    # No two genes alike, none constant: each adds something.
    assert len(np.unique(code, axis=1).T) == n_genes
    assert (np.ptp(code, axis=0) > 0).all()


def test_more_genes_than_classes_mark_them_in_turn():
    code = module._class_code(4, 10)
    np.testing.assert_array_equal(code.sum(axis=0), 1)
    np.testing.assert_array_equal(code.sum(axis=1), [3, 3, 2, 2])


def test_effects_show_in_the_right_class():
    adata = planted(4000, 40, n_informative=3, n_redundant=3, n_classes=(3,), missing=0)
    group = adata.obs["task_0"].to_numpy()
    means = pd.DataFrame(adata.X.toarray(), columns=adata.var_names).groupby(group).mean()
    fold = np.log(means.max() / means.min())
    informative = adata.var_names[adata.var["informative"]]
    assert sorted(means[informative].idxmax()) == ["class_0", "class_1", "class_2"]
    np.testing.assert_allclose(fold[informative], module._MARKER_EFFECT, atol=0.3)
    copies = adata.var.index[adata.var["redundant_with"] != ""]
    origin = adata.var.loc[copies, "redundant_with"]
    assert means[copies].idxmax().tolist() == means[origin].idxmax().tolist()
    expected = module._MARKER_EFFECT * module._COPY_EFFECT
    np.testing.assert_allclose(fold[copies], expected, atol=0.3)


@pytest.mark.parametrize("block", [module._BLOCK_ENTRIES, 7000])
def test_donors_differ_mildly(monkeypatch, block):
    monkeypatch.setattr(module, "_BLOCK_ENTRIES", block)
    adata = planted(4000, 200, n_informative=2, n_redundant=0, n_donors=2)
    first = (adata.obs["donor"] == "donor_0").to_numpy()
    x = adata.X.toarray()
    common = x.mean(axis=0) > 0.1
    ratio = np.log(x[first].mean(axis=0) / x[~first].mean(axis=0))[common]
    # The sampling error alone is about 0.05.
    assert 0.08 < ratio.std() < 0.3


def test_blocks_of_cells_join_seamlessly(monkeypatch):
    monkeypatch.setattr(module, "_BLOCK_ENTRIES", 701)
    adata = small(missing=0, n_classes=(2,), n_obs=1000)
    assert adata.shape == (1000, 100)
    x, y, informative, _ = observed(adata, "task_0")
    assert macro_f1(x[:, informative], y) > 0.9


def test_arguments_survive_h5ad(tmp_path):
    adata = small(n_classes=(), n_continuous=1, missing=0.25, random_state=3)
    other = small(n_classes=(2, 3))
    both = small(n_query=40, efficiency_sd=0.5, depth=2, composition_sd=1, ambient=0.1)
    for i, data in enumerate([adata, other, both]):
        data.write_h5ad(tmp_path / f"{i}.h5ad")
        back = ad.read_h5ad(tmp_path / f"{i}.h5ad")
        written = back.uns["planted"] | {"n_classes": list(back.uns["planted"]["n_classes"])}
        assert written == data.uns["planted"]
        assert (back.X != data.X).nnz == 0
        pd.testing.assert_frame_equal(back.obs, data.obs)
        pd.testing.assert_frame_equal(back.var, data.var)
        again = planted(**written)
        assert (again.X != data.X).nnz == 0


@pytest.mark.parametrize(
    ("kwargs", "match"),
    [
        ({"n_obs": 9}, "n_obs is 9, but must be an integer of at least 10"),
        ({"n_obs": 100.0}, "n_obs is 100.0"),
        ({"n_vars": 19}, "n_vars is 19, but must be an integer of at least 20"),
        ({"n_informative": 1}, "n_informative is 1, but must be an integer of at least 2"),
        ({"n_redundant": -1}, "n_redundant is -1"),
        ({"n_classes": (5, 1)}, r"n_classes\[1\] is 1, but must be an integer of at least 2"),
        ({"n_classes": 5}, r"n_classes is 5, but must be a sequence: \(5,\)"),
        ({"n_classes": ()}, "n_classes is empty and n_continuous is 0"),
        ({"n_continuous": -1}, "n_continuous is -1"),
        ({"n_continuous": True}, "n_continuous is True"),
        ({"missing": 1.0}, r"missing is 1.0, but must be a number in \[0, 1\)"),
        ({"missing": float("nan")}, "missing is nan"),
        ({"missing": "0.3"}, "missing is '0.3'"),
        ({"n_donors": 0}, "n_donors is 0"),
        ({"n_query": -1}, "n_query is -1, but must be an integer of at least 0"),
        ({"n_query": 9.0}, "n_query is 9.0"),
        ({"n_query": 9, "efficiency_sd": -0.1}, r"efficiency_sd is -0.1, but .* in \[0, 5\]"),
        ({"n_query": 9, "efficiency_sd": 5.1}, "efficiency_sd is 5.1"),
        ({"n_query": 9, "depth": 0}, r"depth is 0, but must be a number in \(0, 100\]"),
        ({"n_query": 9, "depth": float("inf")}, "depth is inf"),
        ({"n_query": 9, "composition_sd": True}, r"composition_sd is True, but .* in \[0, 5\]"),
        ({"n_query": 9, "ambient": 1.0}, r"ambient is 1.0, but must be a number in \[0, 1\)"),
        ({"efficiency_sd": 0.5}, "efficiency_sd is 0.5, but n_query is 0: say with n_query"),
        ({"depth": 0.5}, "depth is 0.5, but n_query is 0"),
        ({"composition_sd": 0.5}, "composition_sd is 0.5, but n_query is 0"),
        ({"ambient": 0.1}, "ambient is 0.1, but n_query is 0"),
        ({"random_state": -1}, "random_state is -1"),
        ({"random_state": None}, "random_state is None"),
    ],
)
def test_bad_arguments(kwargs, match):
    with pytest.raises(ValueError, match=match):
        small(**kwargs)


@pytest.mark.parametrize(
    "kwargs",
    [
        {"n_obs": 10, "n_donors": 1, "n_redundant": 0, "n_vars": 10},
        {"n_informative": 2, "n_redundant": 0},
        {"n_classes": (60,), "n_informative": 5},
        {"n_donors": np.int64(2), "missing": np.float64(0.5)},
        {"n_query": 1, "efficiency_sd": 5, "depth": 100, "composition_sd": 5, "ambient": 0.99},
    ],
)
def test_extremes(kwargs):
    adata = small(**kwargs)
    assert sparse.issparse(adata.X)
    assert adata.obs["donor"].nunique() == adata.uns["planted"]["n_donors"]
    assert adata.var["informative"].sum() == adata.uns["planted"]["n_informative"]


# --- a second assay ---

SECOND = {"efficiency_sd": 0.7, "depth": 0.4, "composition_sd": 1.0, "ambient": 0.2}


def two_assays(n_obs=4000, n_query=4000, n_vars=60, **kwargs):
    """Both assays, without missing labels: the whole, counts of each (dense), labels of each."""
    sizes = {"n_informative": 8, "n_redundant": 8, "n_classes": (4,), "missing": 0}
    adata = planted(n_obs, n_vars, n_query=n_query, **(sizes | kwargs))
    query = (adata.obs["assay"] == "query").to_numpy()
    x, y = adata.X.toarray().astype(float), adata.obs["task_0"].to_numpy()
    return adata, x[~query], x[query], y[~query], y[query]


def digest(adata):
    sha = hashlib.sha256(adata.X.toarray().astype("<i4").tobytes())
    sha.update(adata.obs.to_csv(float_format="%.6g").encode())
    sha.update(adata.var.to_csv().encode())
    return sha.hexdigest()[:16]


def test_without_a_second_assay_all_is_as_it_was():
    # Recorded before there was a second assay.
    assert digest(small()) == "54d7efd10b06cfbf"
    kwargs = {"n_classes": (6,), "n_continuous": 2, "missing": 0.1, "n_donors": 3}
    adata = small(**kwargs, random_state=7)
    assert digest(adata) == "995f010b65fd341c"
    assert list(adata.uns["planted"]) == [
        *("n_obs", "n_vars", "n_informative", "n_redundant", "n_classes", "n_continuous"),
        *("missing", "n_donors", "random_state"),
    ]
    assert digest(small(n_query=0, depth=1, ambient=0)) == digest(small())


def test_fields_of_a_second_assay():
    adata = small(n_query=50, n_continuous=1, **SECOND)
    assert adata.shape == (350, 100)
    assert adata.X.format == "csr"
    assert adata.X.dtype == np.float32
    assert list(adata.obs) == ["task_0", "task_1", "score_0", "donor", "assay"]
    assert adata.obs["assay"].cat.categories.tolist() == ["reference", "query"]
    assert adata.obs["assay"].tolist() == ["reference"] * 300 + ["query"] * 50
    assert adata.obs["task_0"].cat.categories.tolist() == [f"class_{i}" for i in range(5)]
    assert adata.obs["score_0"].dtype == np.float32
    assert adata.obs_names[[299, 300]].tolist() == ["cell_0299", "query_0000"]
    assert adata.var["efficiency"].dtype == np.float64
    assert adata.uns["planted"]["n_query"] == 50
    assert {key: adata.uns["planted"][key] for key in SECOND} == SECOND
    assert (adata.obs["task_0"][300:].isna()).sum() == 15


@pytest.mark.parametrize("second", [{}, *({key: value} for key, value in SECOND.items()), SECOND])
@pytest.mark.parametrize("n_query", [1, 12000])
def test_the_reference_does_not_depend_on_the_query(second, n_query):
    alone = small(n_continuous=1)
    both = small(n_continuous=1, n_query=n_query, **second)
    np.testing.assert_array_equal(both.X[:300].toarray(), alone.X.toarray())
    pd.testing.assert_frame_equal(both.obs[:300].drop(columns="assay"), alone.obs)
    pd.testing.assert_frame_equal(both.var.drop(columns="efficiency"), alone.var)


def test_each_part_of_a_second_assay_draws_for_itself():
    base = small(n_query=200, **SECOND)
    truth = small(n_query=200, missing=0, **SECOND)
    np.testing.assert_array_equal(base.X.toarray(), truth.X.toarray())
    keep = base.obs["task_0"].notna()
    assert (base.obs["task_0"][keep] == truth.obs["task_0"][keep]).all()
    shallow = small(n_query=200, **SECOND | {"depth": 0.1, "ambient": 0.0})
    pd.testing.assert_frame_equal(shallow.obs, base.obs)
    pd.testing.assert_frame_equal(shallow.var, base.var)
    spread = small(n_query=90, **SECOND | {"efficiency_sd": 1.4, "composition_sd": 0.0})
    np.testing.assert_allclose(spread.var["efficiency"], base.var["efficiency"] ** 2)


def test_a_second_assay_without_changes_is_more_of_the_reference():
    adata, one, two, y_one, y_two = two_assays()
    assert (adata.var["efficiency"] == 1).all()
    assert pd.Series(y_one).value_counts().to_dict() == pd.Series(y_two).value_counts().to_dict()
    assert (one != two).any()
    # Donors share their shifts: within each, means differ by sampling errors alone.
    donor = adata.obs["donor"].to_numpy()
    for d in adata.obs["donor"].cat.categories:
        a, b = one[donor[:4000] == d], two[donor[4000:] == d]
        error = np.sqrt(a.var(axis=0) / len(a) + b.var(axis=0) / len(b))
        z = (a.mean(axis=0) - b.mean(axis=0)) / error
        assert np.sqrt((z**2).mean()) == pytest.approx(1, abs=0.3)


@pytest.mark.parametrize("depth", [0.3, 2.0])
def test_ratios_within_classes_are_depth_times_efficiency(depth):
    adata, one, two, y_one, y_two = two_assays(
        12000, 24000, efficiency_sd=0.7, depth=depth, composition_sd=1.0
    )
    expected = np.log(depth * adata.var["efficiency"].to_numpy())
    assert np.log(adata.var["efficiency"]).std() == pytest.approx(0.7, abs=0.2)
    for c in np.unique(y_one):
        a, b = one[y_one == c], two[y_two == c]
        common = (a.sum(axis=0) > 100) & (b.sum(axis=0) > 100)
        assert common.sum() >= 10
        a, b = a[:, common], b[:, common]
        ratio = np.log(b.mean(axis=0) / a.mean(axis=0))
        error = np.sqrt(sum(x.var(axis=0) / len(x) / x.mean(axis=0) ** 2 for x in (a, b)))
        z = (ratio - expected[common]) / error
        assert np.sqrt((z**2).mean()) < 1.5
        assert np.corrcoef(ratio, expected[common])[0, 1] > 0.95


def test_depth_thins_and_keeps_the_dispersion():
    # Of a negative binomial, (variance - mean) / mean² is what no efficiency changes.
    _, one, two, _, _ = two_assays(20000, 20000, n_vars=20, depth=4.0, n_classes=(2,))
    extra = [(x.var(axis=0) - x.mean(axis=0)) / x.mean(axis=0) ** 2 for x in (one, two)]
    common = one.mean(axis=0) > 0.2
    np.testing.assert_allclose(extra[0][common], extra[1][common], rtol=0.3)


def test_efficiencies_are_log_normal():
    log = np.log(small(n_vars=5000, n_query=1, efficiency_sd=0.5).var["efficiency"])
    assert scipy.stats.kstest(log / 0.5, "norm").pvalue > 0.001


def test_composition_moves_the_shares_of_classes():
    n = 60000
    sizes = {"n_informative": 12, "n_redundant": 0, "n_classes": (40, 40)}
    obs = planted(n, 12, n_query=n, composition_sd=0.5, missing=0, **sizes).obs
    shift = []
    for task in ("task_0", "task_1"):
        share = pd.crosstab(obs[task], obs["assay"])
        log = np.log(share["query"] / share["reference"])
        # The scaling to the sum 1 takes a constant away, which the standard deviation ignores.
        assert log.std() == pytest.approx(0.5, abs=0.15)
        assert scipy.stats.shapiro(log).pvalue > 0.001
        shift.append(log.to_numpy())
    assert abs(np.corrcoef(shift)[0, 1]) < 0.5
    assert obs.loc[obs["assay"] == "query", "donor"].value_counts().tolist() == [n // 4] * 4


@pytest.mark.parametrize("efficiency_sd", [0.0, 0.7])
def test_ambient_counts_mix_the_mean_of_the_reference_in(efficiency_sd):
    share, depth = 0.4, 0.5
    adata, one, two, y_one, y_two = two_assays(
        16000, 16000, n_vars=30, efficiency_sd=efficiency_sd, depth=depth, ambient=share
    )
    factor = depth * adata.var["efficiency"].to_numpy()
    profile = one.mean(axis=0) / one.mean(axis=0).sum()
    for c in np.unique(y_one):
        own, seen = one[y_one == c], two[y_two == c]
        total = own.sum(axis=1).mean()
        expected = factor * ((1 - share) * own.mean(axis=0) + share * total * profile)
        without = factor * own.mean(axis=0)
        error = np.sqrt(2 * seen.var(axis=0) / len(seen)) + 0.03 * expected
        assert (np.abs(seen.mean(axis=0) - expected) < 4 * error).all()
        assert (np.abs(seen.mean(axis=0) - without) > 4 * error).any()
        # What is expected of a cell in all stays, before losses.
        assert (seen / factor).sum(axis=1).mean() == pytest.approx(total, rel=0.05)


def test_import_is_light():
    code = (
        "import sys, yoto_sc.datasets; "
        "print([m for m in ('torch', 'scvi', 'scanpy') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert out.stdout.strip() == "[]"
