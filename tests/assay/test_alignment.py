"""Queries are aligned where their genes are detected otherwise, and left alone elsewhere."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression

from yoto_sc.assay import Network, Reference, align, borne_depths, label_cells
from yoto_sc.data import Categorical, Continuous, Levels, find_levels

if TYPE_CHECKING:
    from numpy.typing import NDArray

N_GENES, N_CLASSES = 24, 4
TASK = Categorical("type", ("a", "b", "c", "d"))
SHARES = np.array([0.4, 0.3, 0.2, 0.1])


def means() -> NDArray[np.float64]:
    """Six markers for each class, of different abundance."""
    base = np.geomspace(0.5, 6, N_GENES)[np.random.default_rng(5).permutation(N_GENES)]
    table = np.tile(0.3 * base, (N_CLASSES, 1))
    for code in range(N_CLASSES):
        table[code, code::N_CLASSES] *= 6
    return table


def cells(
    n_obs: int, seed: int, factors: Any = 1.0, shares: NDArray[np.float64] = SHARES
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    rng = np.random.default_rng(seed)
    codes = rng.choice(N_CLASSES, n_obs, p=shares)
    return np.log1p(rng.poisson(means()[codes] * factors)).astype(np.float32), codes


def efficiencies(sd: float, seed: int = 9) -> NDArray[np.float64]:
    return np.exp(sd * np.random.default_rng(seed).standard_normal(N_GENES))


@pytest.fixture(scope="module")
def network() -> Network:
    parts = [cells(2000, 0, depth) for depth in (1, 0.5, 0.2)]
    model = LogisticRegression(max_iter=500).fit(*map(np.concatenate, zip(*parts, strict=True)))

    def predict(found: NDArray[np.float32]) -> tuple[list[Any], NDArray[np.float32]]:
        return [softmax(model.decision_function(found), axis=1)], found[:, :2].copy()

    def of_one_depth(found: NDArray[np.float32]) -> tuple[list[Any], NDArray[np.float32]]:
        return [softmax(home.decision_function(found), axis=1)], found[:, :2].copy()

    home = LogisticRegression(max_iter=500).fit(*parts[0])
    return Network(of_one_depth, (TASK,), Levels(), True, predict, borne_depths("technology"))


def one_hot(codes: NDArray[np.int64]) -> NDArray[np.float32]:
    return np.eye(N_CLASSES, dtype=np.float32)[codes]


@pytest.fixture(scope="module")
def reference(network: Network) -> Reference:
    values, _ = cells(2000, 0)
    return Reference.of(values, network.predict(values)[0], (TASK,))


def accuracy(network: Network, reference: Reference, query: Any, adapt: Any) -> float:
    values, codes = query
    labelled = label_cells(len(values), values.__getitem__, network, reference, adapt)
    return float((labelled.predictions[0].argmax(axis=1) == codes).mean())


# --- what is remembered ---


def test_moments_are_those_of_the_classes() -> None:
    values, codes = cells(2000, 0)
    reference = Reference.of(values, [one_hot(codes)], (TASK,))
    assert reference.task == 0
    for code in range(N_CLASSES):
        own = values[codes == code]
        np.testing.assert_allclose(reference.means[code], own.mean(axis=0), rtol=1e-4)
        np.testing.assert_allclose(reference.squares[code], (own**2).mean(axis=0), rtol=1e-4)
        np.testing.assert_allclose(reference.counts[code], np.expm1(own).mean(axis=0), rtol=1e-4)
        assert reference.shares[code] == pytest.approx((codes == code).mean())


def test_mixture_has_the_moments_of_all_cells(reference: Reference) -> None:
    values, _ = cells(2000, 0)
    mean, scale = reference.mixture(reference.shares.astype(np.float64))
    np.testing.assert_allclose(mean, values.mean(axis=0), rtol=1e-3)
    np.testing.assert_allclose(scale, values.std(axis=0), rtol=1e-3)


def test_the_finest_task_gives_the_groups() -> None:
    values, codes = cells(300, 1)
    coarse = Categorical("coarse", ("x", "y"))
    predictions = [np.eye(2)[codes // 2], one_hot(codes), np.zeros(300)]
    found = Reference.of(values, predictions, (coarse, TASK, Continuous("score")))
    assert found.task == 1
    own = values[codes == 2]
    np.testing.assert_allclose(found.means[2], own.mean(axis=0), rtol=1e-4)


def test_classes_are_those_that_are_predicted() -> None:
    """So the reference itself differs in nothing, however bad the network is."""
    values, _ = cells(1500, 1)
    wrong = np.random.default_rng(0).dirichlet(np.ones(N_CLASSES), 1500)
    reference = Reference.of(values, [wrong], (TASK,))

    def predict(found: NDArray[np.float32]) -> tuple[list[Any], NDArray[np.float32]]:
        return [wrong], found

    found = align(values, reference, Network(predict, (TASK,), Levels(), are_counts=True))
    assert found.depth == pytest.approx(1, abs=1e-4)
    assert found.difference == 0
    assert found.distance == pytest.approx(0, abs=1e-4)
    assert not found.is_other


# --- alignment ---


def test_another_assay_is_aligned_and_the_labels_come_back(
    network: Network, reference: Reference
) -> None:
    query = cells(1000, 1, efficiencies(1.0) * 0.7)
    before, after = (accuracy(network, reference, query, adapt) for adapt in ("none", "auto"))
    same = accuracy(network, reference, cells(1000, 1), "none")
    assert before < same - 0.05
    assert after > before + 0.5 * (same - before)


def test_factors_and_depth_are_those_of_the_assay(network: Network, reference: Reference) -> None:
    true = efficiencies(0.8)
    values, _ = cells(4000, 2, true * 0.6)
    found = align(values, reference, network)
    assert found.is_applied
    told = np.isfinite(found.factors)
    assert told.all()
    assert np.corrcoef(np.log(found.factors), np.log(true))[0, 1] > 0.95
    assert found.difference == pytest.approx(0.8, rel=0.35)
    expected = (SHARES @ (means() * true)).sum() * 0.6 / (SHARES @ means()).sum()
    assert found.depth == pytest.approx(expected, rel=0.1)


@pytest.mark.parametrize("depth", [1.0, 0.5, 0.2])
def test_depth_alone_is_no_other_assay(
    network: Network, reference: Reference, depth: float
) -> None:
    values, _ = cells(1000, 3, depth)
    found = align(values, reference, network)
    assert not found.is_applied
    assert found.reason == "genes are detected as in the reference"
    assert found.depth == pytest.approx(depth, rel=0.1)
    assert found.scaled_by == 1
    assert found.is_other == (depth < 1)


@pytest.mark.parametrize(("depth", "borne"), [(0.02, 0.15), (20.0, 2.0)])
def test_depths_beyond_training_are_brought_to_the_nearest(
    network: Network, reference: Reference, depth: float, borne: float
) -> None:
    values, _ = cells(2000, 4, depth)
    found = align(values, reference, network)
    assert found.scaled_by * depth == pytest.approx(borne, rel=0.15)
    normalised = align(values, reference, replace(network, are_counts=False))
    assert normalised.scaled_by == 1


@pytest.mark.parametrize(
    ("robust", "low", "high"),
    [(None, 0.8, 1.25), ("thin", 0.15, 1.25), ("technology", 0.15, 2.0)],
)
def test_training_says_which_depths_are_borne(
    network: Network, reference: Reference, robust: Any, low: float, high: float
) -> None:
    network = replace(network, depths=borne_depths(robust))
    for depth, borne in ((0.05, low), (8.0, high)):
        found = align(cells(2000, 4, depth)[0], reference, network)
        assert found.scaled_by * depth == pytest.approx(borne, rel=0.15)


def test_cells_like_the_reference_are_for_its_own_network(
    network: Network, reference: Reference
) -> None:
    values, _ = cells(500, 5)
    auto, none = (
        label_cells(500, values.__getitem__, network, reference, adapt)
        for adapt in ("auto", "none")
    )
    np.testing.assert_array_equal(auto.predictions[0], network.predict(values)[0][0])
    np.testing.assert_array_equal(none.predictions[0], network.robust(values)[0][0])
    assert none.alignment is None


def test_cells_of_another_assay_are_for_the_robust_network(
    network: Network, reference: Reference
) -> None:
    values, _ = cells(500, 5, 0.5)
    found = label_cells(500, values.__getitem__, network, reference, "auto")
    np.testing.assert_array_equal(found.predictions[0], network.robust(values)[0][0])
    alone = replace(network, robust=None, depths=borne_depths(None))
    found = label_cells(500, values.__getitem__, alone, reference, "auto")
    scaled = np.log1p(np.expm1(values) * np.float32(found.alignment.scaled_by))
    np.testing.assert_allclose(found.predictions[0], network.predict(scaled)[0][0], rtol=1e-5)


@pytest.mark.parametrize("code", range(N_CLASSES))
def test_one_class_is_left_alone(network: Network, reference: Reference, code: int) -> None:
    values, _ = cells(500, 6, efficiencies(0.6), np.eye(N_CLASSES)[code])
    found = align(values, reference, network)
    assert not found.is_applied
    assert found.reason == "the composition is another one"
    assert found.distance > 0.4


def test_few_cells_are_left_alone_unless_asked(network: Network, reference: Reference) -> None:
    values, _ = cells(19, 7, efficiencies(1.0))
    assert align(values, reference, network).reason == "fewer than 20 cells"
    assert align(values, reference, network, "genes").is_applied
    assert not align(values[:1], reference, network, "genes").is_applied


def test_aligned_moments_are_those_of_the_reference(
    network: Network, reference: Reference
) -> None:
    values, _ = cells(3000, 8, efficiencies(0.7))
    found = align(values, reference, network)
    aligned = values * found.slopes + found.offsets
    mean, scale = reference.mixture(SHARES)
    np.testing.assert_allclose(aligned.mean(axis=0), mean, atol=0.12)
    np.testing.assert_allclose(aligned.std(axis=0), scale, rtol=0.12)
    np.testing.assert_allclose(found.composition, SHARES, atol=0.07)


def test_without_classes_genes_are_left() -> None:
    values, _ = cells(300, 9)
    task = Continuous("score")
    reference = Reference.of(values, [np.zeros(300)], (task,))

    def predict(found: NDArray[np.float32]) -> tuple[list[Any], NDArray[np.float32]]:
        return [found[:, 0]], found

    network = Network(predict, (task,), Levels(), are_counts=True)
    other, _ = cells(300, 10, efficiencies(1.0))
    found = align(other, reference, network)
    assert not found.is_applied
    assert "composition" in found.reason


# --- cells ---


def test_blocks_and_samples_give_one_answer(network: Network, reference: Reference) -> None:
    """Cells beyond the first block, and beyond the sample, are labelled like their copies."""
    values, _ = cells(3000, 11, efficiencies(1.0))
    many = np.vstack([values] * 3)
    found = label_cells(9000, many.__getitem__, network, reference, "auto")
    parts = np.split(found.predictions[0], 3)
    np.testing.assert_allclose(parts[0], parts[1], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(parts[0], parts[2], rtol=1e-4, atol=1e-6)


def test_empty_cells_are_not_told(network: Network, reference: Reference) -> None:
    values, _ = cells(200, 12)
    values[[3, 50]] = 0
    values[60] = 0
    values[60, 0] = np.log1p(1)
    found = label_cells(200, values.__getitem__, network, reference, "none")
    assert np.flatnonzero(found.untold).tolist() == [3, 50, 60]  # hardly any has one count


def test_cells_of_one_count_are_told_where_many_have_one(network: Network) -> None:
    values, codes = cells(500, 13, 0.05)
    sparse = Reference.of(values, [one_hot(codes)], (TASK,))
    assert sparse.fewest[-1] == 0


# --- what is said ---


def test_odd_queries_are_pointed_out_once(
    network: Network, reference: Reference, caplog: pytest.LogCaptureFixture
) -> None:
    values, _ = cells(500, 14, 0.05)
    values[:, 4] = 0
    found = label_cells(500, values.__getitem__, network, reference, "auto")
    genes = [f"g{i}" for i in range(N_GENES)]
    with caplog.at_level("INFO", logger="yoto_sc"):
        found.report(genes, are_counts=True)
    warnings = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert len(warnings) == 1
    assert "times the counts of the reference" in warnings[0]
    assert "g4" in warnings[0]
    infos = [r.getMessage() for r in caplog.records if r.levelname == "INFO"]
    assert len(infos) == 1
    assert "times as deep as the reference" in infos[0]


def test_nothing_odd_is_said_of_cells_like_these(
    network: Network, reference: Reference, caplog: pytest.LogCaptureFixture
) -> None:
    values, _ = cells(500, 15)
    found = label_cells(500, values.__getitem__, network, reference, "auto")
    found.report([f"g{i}" for i in range(N_GENES)], are_counts=True)
    assert not [r for r in caplog.records if r.levelname == "WARNING"]


def test_the_better_half_is_read_too_in_another_assay(
    network: Network, reference: Reference
) -> None:
    """Where genes are aligned, or nothing is known; not at home, nor where depth is another."""

    def half(found: NDArray[np.float32]) -> tuple[list[Any], NDArray[np.float32]]:
        read.append(len(found))
        blurred = softmax(2 * network.robust(found)[0][0], axis=1)
        return [blurred], found[:, :2].copy()

    both = replace(network, half=half)
    for values, adapt, weight in (
        (cells(500, 17)[0], "auto", 0.0),
        (cells(500, 17)[0], "none", 0.5),
        (cells(500, 17, 0.5)[0], "auto", 0.0),
        (cells(500, 17, efficiencies(1.0))[0], "auto", 1.0),
    ):
        read: list[int] = []
        found = label_cells(500, values.__getitem__, both, reference, adapt)
        assert bool(read) == (weight > 0)
        if weight == 0.5:
            one = network.robust(values)[0][0]
            logs = np.log(np.maximum(one, 1e-6))
            logs += weight * np.log(np.maximum(softmax(2 * one, axis=1), 1e-6))
            expected = softmax(logs / (1 + weight), axis=1)
            np.testing.assert_allclose(found.predictions[0], expected, rtol=1e-4)
        elif weight == 1:
            assert found.alignment.is_applied
            without = label_cells(500, values.__getitem__, network, reference, adapt)
            differences = found.predictions[0] - without.predictions[0]
            assert np.abs(differences).max() > 0.05
        assert found.predictions[0].dtype == np.float32
    alone = replace(both, robust=None)
    values, read = cells(50, 17)[0], []
    label_cells(50, values.__getitem__, alone, reference, "none")
    assert not read


def test_levels_agree_after_both_readings(network: Network) -> None:
    coarse = Categorical("coarse", ("x", "y"))
    levels = find_levels((coarse, TASK), (np.repeat([0, 1], 100), np.repeat(range(4), 50)))

    def reads(seed: int) -> Any:
        def predict(found: NDArray[np.float32]) -> tuple[list[Any], NDArray[np.float32]]:
            rng = np.random.default_rng(seed)
            parts = [rng.dirichlet(np.ones(n), len(found)).astype(np.float32) for n in (2, 4)]
            return levels.reconcile(parts), found

        return predict

    two = replace(network, tasks=(coarse, TASK), levels=levels, robust=reads(0), half=reads(1))
    zeros = np.zeros((30, N_GENES), np.float32)
    for answer in (two.abroad(zeros, half=1.0), two.anywhere(zeros)):
        (upper, lower), _ = answer
        np.testing.assert_allclose(upper[:, 0], lower[:, :2].sum(axis=1), rtol=1e-5)


def test_numbers_are_left_to_the_first_network(network: Network, reference: Reference) -> None:
    """Whatever is done about classes."""
    score = Continuous("score")

    def both(which: Any) -> Any:
        def predict(found: NDArray[np.float32]) -> tuple[list[Any], NDArray[np.float32]]:
            classes, latent = getattr(network, which)(found)
            return [*classes, found[:, 0] if which == "predict" else found[:, 1]], latent

        return predict

    two = replace(network, predict=both("predict"), robust=both("robust"), tasks=(TASK, score))
    for factors in (0.5, 20.0, efficiencies(1.0)):
        values, _ = cells(500, 16, factors)
        for adapt in ("auto", "none"):
            found = label_cells(500, values.__getitem__, two, reference, adapt)
            assert found.alignment is None or found.alignment.is_other
            np.testing.assert_array_equal(found.predictions[1], values[:, 0])
