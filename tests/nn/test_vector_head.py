"""Regression of vectors, against scikit-learn's R² and the regression of one number."""

from __future__ import annotations

import pytest
import torch
from sklearn.metrics import r2_score

from yoto_sc.nn import SquaredErrorHead, VectorHead

N_OBS, N_GENES, N_HIDDEN, N_MEMBERS, N_COLUMNS = 12, 5, 6, 3, 4
SCALES = torch.tensor([1.0, 10.0, 0.1, 3.0])


def randomize(module, seed=0):
    """Give every parameter a value that is neither 0 nor 1."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for tensor in module.parameters():
            tensor.copy_(torch.randn(tensor.shape, generator=generator))
    return module


def make_head(n_columns=N_COLUMNS, seed=1):
    return randomize(VectorHead(N_GENES, N_HIDDEN, N_MEMBERS, n_columns), seed)


def make_vectors(n_columns=N_COLUMNS, seed=2):
    """Columns of different mean and variance; the last three rows are missing, one in part."""
    generator = torch.Generator().manual_seed(seed)
    vectors = 20 + torch.randn(N_OBS, n_columns, generator=generator) * SCALES[:n_columns]
    vectors[-2:] = torch.nan
    vectors[-3, 0] = torch.nan
    return vectors


def make_outputs(n_columns=N_COLUMNS, n_obs=N_OBS, seed=3):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(N_MEMBERS, n_obs, n_columns, generator=generator)


def of_all(labels):
    return labels.expand(N_MEMBERS, *labels.shape)


# --- the loss ---


@pytest.mark.parametrize("n_columns", [1, 2, 4])
def test_a_constant_guess_costs_1(n_columns):
    head, vectors = make_head(n_columns), make_vectors(n_columns)
    head.calibrate(vectors)
    zeros = torch.zeros(N_MEMBERS, N_OBS, n_columns)
    torch.testing.assert_close(head.loss(zeros, of_all(vectors)), torch.ones(N_MEMBERS))
    torch.testing.assert_close(head.predict(zeros), vectors[:-3].mean(0).expand(N_OBS, -1))
    for seed in range(5):
        worse = 0.3 * torch.randn(n_columns, generator=torch.Generator().manual_seed(seed))
        assert (head.loss(zeros + worse, of_all(vectors)) > 1).all()


def test_the_loss_is_one_less_r2_with_columns_by_variance():
    head, vectors, outputs = make_head(), make_vectors(), 0.3 * make_outputs()
    head.calibrate(vectors)
    losses = head.loss(outputs, of_all(vectors))
    assert losses.shape == (N_MEMBERS,)
    for member, loss in enumerate(losses):
        predicted = head.predict(outputs[[member]])
        r2 = r2_score(vectors[:-3], predicted[:-3], multioutput="variance_weighted")
        assert 1 - loss.item() == pytest.approx(r2, rel=1e-4)


def test_the_column_of_the_largest_variance_weighs_most():
    head, vectors = make_head(), make_vectors()[:-3]
    head.calibrate(vectors)
    perfect = (vectors - head.center) / head.spread
    losses = []
    for column in range(N_COLUMNS):
        outputs = perfect.clone()
        outputs[:, column] = 0  # the mean, in place of the truth
        losses.append(head.loss(of_all(outputs), of_all(vectors))[0])
    variances = vectors.var(0, correction=0)
    torch.testing.assert_close(torch.stack(losses), variances / variances.sum())


def test_gradients_are_those_of_finite_differences():
    head, vectors = make_head().double(), make_vectors().double()
    head.calibrate(vectors)
    outputs = make_outputs().double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: head.loss(x, of_all(vectors)), (outputs,))


def test_predictions_are_in_the_units_of_the_labels_and_averaged_over_members():
    head, vectors = make_head(), make_vectors()[:-3]
    head.calibrate(vectors)
    outputs = of_all((vectors - head.center) / head.spread).clone()
    outputs[0] += 0.5
    outputs[1] -= 0.5
    torch.testing.assert_close(head.predict(outputs), vectors)


def test_members_may_see_their_own_cells():
    head, outputs = make_head(), make_outputs()
    vectors = torch.stack([make_vectors(seed=seed) for seed in range(N_MEMBERS)])
    head.calibrate(vectors[0])
    together = head.loss(outputs, vectors)
    for member in range(N_MEMBERS):
        alone = head.loss(outputs, of_all(vectors[member]))
        torch.testing.assert_close(together[member], alone[member])


# --- what is missing, or does not vary ---


def test_rows_with_a_missing_value_do_not_count():
    head, vectors = make_head(), make_vectors()
    head.calibrate(vectors)
    outputs = make_outputs().requires_grad_()
    loss = head.loss(outputs, of_all(vectors))
    torch.testing.assert_close(loss, head.loss(outputs[:, :-3], of_all(vectors[:-3])))
    loss.sum().backward()
    assert outputs.grad.isfinite().all()
    assert not outputs.grad[:, -3:].any()
    assert (outputs.grad[:, :-3] != 0).all()
    assert head.is_known(vectors).tolist() == [True] * (N_OBS - 3) + [False] * 3


def test_calibration_ignores_rows_with_a_missing_value():
    vectors, one, other = make_vectors(), make_head(), make_head()
    one.calibrate(vectors)
    other.calibrate(vectors[:-3])
    for name, buffer in one.named_buffers():
        assert torch.equal(buffer, other.get_buffer(name)), name


def test_a_batch_without_vectors_costs_nothing():
    head = make_head()
    head.calibrate(make_vectors())
    outputs = make_outputs().requires_grad_()
    loss = head.loss(outputs, torch.full_like(outputs, torch.nan))
    assert loss.tolist() == [0] * N_MEMBERS
    loss.sum().backward()
    assert not outputs.grad.any()


def test_a_constant_column_is_predicted_as_it_is():
    head, vectors = make_head(), make_vectors()
    vectors[:, 1] = 7
    head.calibrate(vectors)
    zeros = torch.zeros(N_MEMBERS, N_OBS, N_COLUMNS)
    torch.testing.assert_close(head.loss(zeros, of_all(vectors)), torch.ones(N_MEMBERS))
    assert (head.predict(zeros)[:, 1] == 7).all()


@pytest.mark.parametrize("n_rows", [1, 4])
def test_calibration_with_equal_vectors_stays_finite(n_rows):
    head = make_head()
    head.calibrate(torch.ones(n_rows, N_COLUMNS))
    assert all(buffer.isfinite().all() for buffer in head.buffers())
    assert head.spread == 1


# --- one column ---


def test_one_column_is_a_number():
    vectors, outputs = make_vectors(1), make_outputs(1)
    vectors[4] = torch.nan
    vector = make_head(1)
    number = randomize(SquaredErrorHead(N_GENES, N_HIDDEN, N_MEMBERS), 1)
    hidden = torch.randn(N_MEMBERS, N_OBS, N_HIDDEN)
    inputs = torch.randn(N_MEMBERS, N_OBS, N_GENES)
    assert torch.equal(vector(hidden, inputs), number(hidden, inputs))
    vector.calibrate(vectors)
    number.calibrate(vectors[:, 0])
    assert torch.equal(vector.center[0], number.center)
    assert torch.equal(vector.spread, number.spread)
    assert torch.equal(
        vector.loss(outputs, of_all(vectors)), number.loss(outputs, of_all(vectors[:, 0]))
    )
    assert torch.equal(vector.predict(outputs)[:, 0], number.predict(outputs))
    assert torch.equal(vector.is_known(vectors), number.is_known(vectors[:, 0]))


def test_a_number_is_saved_as_before():
    """Models of the first version hold one centre, without an axis."""
    state = SquaredErrorHead(N_GENES, N_HIDDEN, N_MEMBERS).state_dict()
    assert state["center"].shape == state["spread"].shape == ()
    head = make_head()
    head.calibrate(make_vectors())
    again = make_head(seed=5)
    again.load_state_dict(head.state_dict())
    assert torch.equal(again.center, head.center)
    assert again.center.shape == (N_COLUMNS,)


def test_vectors_are_not_calibrated_as_probabilities():
    head, prediction = make_head(), torch.linspace(-1, 1, 8).view(2, 4)
    assert head.temperature is None
    assert torch.equal(head.calibrated(prediction, 2), prediction)
