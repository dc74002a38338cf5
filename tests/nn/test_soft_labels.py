"""Cross-entropy of probabilities, against codes, torch's own, and numerical gradients."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from yoto_sc.nn import CrossEntropyHead

N_CLASSES, N_GENES, N_MEMBERS = 4, 5, 3
CODES = torch.tensor([0, 0, 0, 0, 0, 1, 1, 1, 3, -1, -1])  # class 2 never occurs
N_OBS = len(CODES)
ONE_HOT = (CODES[:, None] == torch.arange(N_CLASSES)).float()  # rows of zeros where missing

powers = pytest.mark.parametrize("power", [0.0, 0.5, 1.0])


def make_head(power=0.5):
    return CrossEntropyHead(N_GENES, 6, N_MEMBERS, N_CLASSES, class_weight_power=power)


def make_outputs(seed=3):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(N_MEMBERS, N_OBS, N_CLASSES, generator=generator)


def make_table(seed=4):
    """Probabilities of classes but 2, some of them 0; two cells have none."""
    table = torch.rand(N_OBS, N_CLASSES, generator=torch.Generator().manual_seed(seed))
    table = torch.where(table < 0.2, 0.0, table)
    table[:, 2] = 0
    table /= table.sum(1, keepdim=True)
    table[-2:] = 0
    return table


def of_all(labels):
    return labels.expand(N_MEMBERS, *labels.shape)


# --- zeros and ones ---


@powers
def test_a_table_of_zeros_and_ones_calibrates_as_codes_do(power):
    one, other = make_head(power), make_head(power)
    one.calibrate(ONE_HOT)
    other.calibrate(CODES)
    torch.testing.assert_close(one.class_weights, other.class_weights)
    torch.testing.assert_close(one.guess_loss, other.guess_loss)
    assert one.class_weights[2] == 0


@powers
def test_a_table_of_zeros_and_ones_costs_what_codes_cost(power):
    head = make_head(power)
    head.calibrate(CODES)
    outputs = [make_outputs().requires_grad_() for _ in range(2)]
    losses = head.loss(outputs[0], of_all(ONE_HOT)), head.loss(outputs[1], of_all(CODES))
    assert losses[0].shape == (N_MEMBERS,)
    torch.testing.assert_close(*losses)
    for loss in losses:
        loss.sum().backward()
    torch.testing.assert_close(outputs[0].grad, outputs[1].grad)


# --- probabilities ---


@powers
def test_the_loss_of_probabilities_matches_torchs(power):
    """Its own mean is over cells, ours over what they weigh."""
    head, outputs, table = make_head(power), make_outputs(), make_table()
    head.calibrate(table)
    weights = head.class_weights
    for member, loss in enumerate(head.loss(outputs, of_all(table))):
        total = F.cross_entropy(outputs[member], table, weight=weights, reduction="sum")
        torch.testing.assert_close(loss * head.guess_loss, total / (table @ weights).sum())


@powers
def test_weights_of_classes_follow_their_share_of_all_cells(power):
    head, table = make_head(power), make_table()
    head.calibrate(table)
    counts, weights = table.sum(0), head.class_weights
    kept = [0, 1, 3]
    expected = counts.clamp(min=1)[kept] ** -power
    torch.testing.assert_close(weights[kept] / weights[0], expected / expected[0])
    torch.testing.assert_close((weights * counts).sum(), counts.sum())
    assert weights[2] == 0


@powers
def test_the_best_constant_guess_costs_1(power):
    head, table = make_head(power), make_table()
    head.calibrate(table)
    shares = table.sum(0) * head.class_weights
    logits = (shares / shares.sum()).clamp(min=1e-12).log()

    def cost(logits):
        return head.loss(logits.expand(N_MEMBERS, N_OBS, N_CLASSES), of_all(table))

    torch.testing.assert_close(cost(logits), torch.ones(N_MEMBERS))
    for seed in range(5):
        generator = torch.Generator().manual_seed(seed)
        assert (cost(logits + 0.3 * torch.randn(4, generator=generator)) > 1).all()


def test_members_may_see_their_own_cells():
    head, outputs = make_head(), make_outputs()
    tables = torch.stack([make_table(seed) for seed in range(N_MEMBERS)])
    head.calibrate(tables[0])
    together = head.loss(outputs, tables)
    for member in range(N_MEMBERS):
        alone = head.loss(outputs, of_all(tables[member]))
        torch.testing.assert_close(together[member], alone[member])


def test_gradients_are_those_of_finite_differences():
    head = make_head().double()
    table = make_table().double()
    head.calibrate(table)
    outputs = make_outputs().double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: head.loss(x, of_all(table)), (outputs,))


# --- rows of zeros ---


def test_cells_without_probabilities_do_not_count():
    head, table = make_head(), make_table()
    head.calibrate(table)
    outputs = make_outputs().requires_grad_()
    loss = head.loss(outputs, of_all(table))
    torch.testing.assert_close(loss, head.loss(outputs[:, :-2], of_all(table[:-2])))
    loss.sum().backward()
    assert not outputs.grad[:, -2:].any()
    assert outputs.grad[:, :-2].any()
    other = make_head()
    other.calibrate(table[:-2])
    torch.testing.assert_close(other.class_weights, head.class_weights)
    torch.testing.assert_close(other.guess_loss, head.guess_loss)


def test_a_batch_without_probabilities_costs_nothing():
    head = make_head()
    head.calibrate(make_table())
    outputs = make_outputs().requires_grad_()
    loss = head.loss(outputs, torch.zeros(N_MEMBERS, N_OBS, N_CLASSES))
    assert loss.tolist() == [0] * N_MEMBERS
    loss.sum().backward()
    assert not outputs.grad.any()


def test_one_member_may_have_none():
    head, tables = make_head(), of_all(make_table()).clone()
    head.calibrate(tables[0])
    tables[1] = 0
    loss = head.loss(make_outputs(), tables)
    assert loss[1] == 0
    assert (loss[[0, 2]] > 0).all()


def test_an_impossible_class_has_a_finite_loss():
    head = make_head()
    head.calibrate(make_table())
    outputs = torch.tensor([1e4, 0, 0, 0]).expand(N_MEMBERS, N_OBS, N_CLASSES)
    assert head.loss(outputs, of_all(make_table())).isfinite().all()


def test_calibration_with_one_cell_stays_finite():
    head = make_head()
    head.calibrate(make_table()[:1])
    assert all(buffer.isfinite().all() for buffer in head.buffers())
