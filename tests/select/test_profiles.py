"""Profiles of genes over classes, numbers and vectors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from sklearn.feature_selection import f_classif

from yoto_sc.select import Classes, Numbers, Profile, Screening, Vectors, survey

if TYPE_CHECKING:
    import scipy.sparse as sp

N_OBS = 400
CODES = np.arange(N_OBS) % 4
MARKER, TWICE, HALF, SHARED, OPPOSITE, NOISE = range(6)


def profile_of(values: Any, target: Any) -> Profile:
    """Take the sums as a selection does."""
    screening = Screening([target])

    def reduce(design: sp.csr_matrix, seen: Any) -> tuple[Any, ...]:
        return design.T @ values, seen.T.astype(float) @ values**2

    survey([screening], reduce)
    profile: Profile = target.profile(screening.sums[0][0])
    return profile


@pytest.fixture(scope="module")
def values() -> Any:
    """Markers of class 3, one that class 2 expresses as well, one of the others, and noise."""
    rng = np.random.default_rng(0)
    on = CODES == 3
    means = np.column_stack(
        [0.1 + 1 * on, 0.1 + 2 * on, 0.1 + 0.5 * on, 0.1 + 1 * (CODES >= 2), 1.1 - 1 * on, on * 0]
    )
    means[:, NOISE] = 0.5
    return means + rng.normal(0, 0.05, means.shape)


@pytest.fixture(scope="module")
def profile(values: Any) -> Profile:
    return profile_of(values, Classes(CODES))


def test_a_gene_keeps_all_of_itself_and_less_of_others_the_less_they_are_alike(
    profile: Profile,
) -> None:
    kept = profile.kept(MARKER)
    assert kept[MARKER] == pytest.approx(1)
    assert kept.max() <= 1 + 1e-12
    assert kept[TWICE] > 0.95  # the same more strongly is as good
    assert kept[TWICE] > kept[HALF] > kept[SHARED] > kept[NOISE]
    assert kept[OPPOSITE] == pytest.approx(0, abs=1e-12)
    assert kept[NOISE] < 0.05


def test_what_is_kept_is_what_a_bounded_factor_explains(profile: Profile) -> None:
    factors = np.linspace(0, 1, 2001)[:, None]
    for gene, other in ((MARKER, SHARED), (HALF, TWICE), (TWICE, HALF)):
        shares = [
            1
            - ((part[:, gene] - factors * part[:, other]) ** 2).sum(axis=1).min()
            / (part[:, gene] ** 2).sum()
            for part in profile.parts
        ]
        assert profile.kept(gene)[other] == pytest.approx(np.mean(shares), abs=1e-5)


def test_chance_is_that_of_the_f_test(values: Any, profile: Profile) -> None:
    np.testing.assert_allclose(profile.by_chance, f_classif(values, CODES)[1], rtol=1e-6)
    assert profile.by_chance[NOISE] > 0.001 > profile.by_chance[MARKER]


def test_marked_classes_are_above_the_widest_gap(profile: Profile) -> None:
    marked = [profile.marked(gene).tolist() for gene in range(6)]
    assert marked[:5] == [[3], [3], [3], [2, 3], [0, 1, 2]]


def test_in_a_tie_no_class_is_marked() -> None:
    values = np.ones((N_OBS, 2))
    values[:, 1] += np.random.default_rng(1).normal(0, 1, N_OBS)
    profile = profile_of(values, Classes(CODES))
    assert not len(profile.marked(0))
    assert not len(profile.marked(1))


def test_a_class_of_one_cell_marks_nothing_by_itself() -> None:
    codes = np.zeros(200, dtype=int)
    codes[:100], codes[0] = 1, 2
    values = np.zeros((200, 1))
    values[:100, 0], values[0, 0] = 1, 2  # the one cell has more
    values += np.random.default_rng(2).normal(0, 1, values.shape)
    assert profile_of(values, Classes(codes)).marked(0).tolist() == [1, 2]


def test_of_one_class_there_is_nothing_to_tell() -> None:
    profile = profile_of(
        np.random.default_rng(0).random((50, 3)), Classes(np.zeros(50, dtype=int))
    )
    assert not profile.kept(0).any()
    assert not len(profile.marked(0))
    np.testing.assert_array_equal(profile.by_chance, 1)


def test_numbers_have_a_profile_over_eighths_of_the_cells() -> None:
    numbers = np.linspace(0, 1, 400)
    numbers[::10] = np.nan
    target = Numbers(numbers).profiled()
    assert (target.labels[::10] == -1).all()
    assert np.bincount(target.labels[target.labels >= 0]).tolist() == [45] * 8
    rise, hump = numbers, 1 - 4 * (numbers - 0.5) ** 2
    values = np.nan_to_num(np.column_stack([rise, hump, 2 * hump, 1 - rise]))
    kept = profile_of(values, target).kept(1)
    assert kept[2] > 0.9
    assert kept[[0, 3]].max() < 0.2


def test_numbers_without_a_label_have_none() -> None:
    assert (Numbers(np.full(5, np.nan)).profiled().labels == -1).all()


def test_vectors_have_covariances_with_their_columns() -> None:
    rng = np.random.default_rng(0)
    labels = rng.normal(size=(300, 2)) * [2, 1]
    labels[:20, 1] = np.nan
    first, second = np.nan_to_num(labels).T
    values = np.column_stack([first, 2 * first, second, -first, rng.normal(size=300)])
    target = Vectors(labels)
    assert target.profiled() is target
    profile = profile_of(values, target)
    kept = profile.kept(0)
    np.testing.assert_allclose(kept[:4], [1, 1, 0, 0], atol=0.05)
    assert (profile.by_chance[:4] < 1e-9).all()
    assert profile.by_chance[4] > 0.001
