"""Encoder and heads against torch's own layers and scikit-learn's scores."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import log_loss, mean_squared_error
from sklearn.utils.class_weight import compute_class_weight
from torch import nn
from torch.nn import functional as F

from yoto_sc.nn import HEADS, CrossEntropyHead, Encoder, SquaredErrorHead

N_OBS, N_GENES, N_HIDDEN, N_MEMBERS = 11, 9, 6, 3


def randomize(module, seed=0):
    """Give every parameter and buffer of floats a value that is neither 0 nor 1."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for tensor in module.parameters():
            tensor.copy_(torch.randn(tensor.shape, generator=generator))
    return module


def make_encoder(n_genes=N_GENES, n_hidden=N_HIDDEN, n_members=N_MEMBERS, seed=0):
    encoder = randomize(Encoder(n_genes, n_hidden, n_members), seed)
    encoder.mean.copy_(torch.linspace(0, 2, n_genes))
    encoder.scale.copy_(torch.linspace(0.5, 1.5, n_genes))
    return encoder


def make_head(kind="categorical", n_outputs=4, seed=1, **kwargs):
    if kind == "continuous":
        return randomize(SquaredErrorHead(N_GENES, N_HIDDEN, N_MEMBERS), seed)
    return randomize(CrossEntropyHead(N_GENES, N_HIDDEN, N_MEMBERS, n_outputs, **kwargs), seed)


def make_values(n_obs=N_OBS, n_genes=N_GENES, seed=2):
    return torch.rand(n_obs, n_genes, generator=torch.Generator().manual_seed(seed)) * 4


def make_mask(*genes, n_genes=N_GENES):
    mask = torch.zeros(n_genes)
    mask[list(genes or range(0, n_genes, 2))] = 1
    return mask


def encode(encoder, values, mask):
    inputs = encoder.standardize(values, mask)
    inputs = inputs.expand(N_MEMBERS, -1, -1) if inputs.dim() == 2 else inputs
    return encoder(inputs, mask), inputs


def make_outputs(n_outputs=4, n_obs=N_OBS, seed=3):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(N_MEMBERS, n_obs, n_outputs, generator=generator)


CODES = torch.tensor([0, 0, 0, 0, 0, 1, 1, 1, 3, -1, -1])  # class 2 never occurs
VALUES = torch.tensor([3.0, 5, 7, 9, 9, 2, 1, 4, 4, torch.nan, torch.nan])
ALL_CODES = CODES.expand(N_MEMBERS, -1)
ALL_VALUES = VALUES.expand(N_MEMBERS, -1)


# --- encoder ---


def test_encoder_matches_torchs_layers():
    encoder, values, mask = make_encoder(), make_values(), make_mask()
    got, _ = encode(encoder, values, mask)
    x = ((values - encoder.mean) / encoder.scale).clamp(-10, 10) * mask
    for member in range(N_MEMBERS):
        linear = nn.Linear(N_GENES, N_HIDDEN)
        norm = nn.LayerNorm(N_HIDDEN)
        with torch.no_grad():
            linear.weight.copy_(encoder.weight[member].T)
            linear.bias.copy_(encoder.bias[member, 0] + mask @ encoder.presence[member])
            norm.weight.copy_(encoder.gain[member, 0])
            norm.bias.copy_(encoder.shift[member, 0])
        expected = nn.GELU(approximate="tanh")(norm(linear(x)))
        torch.testing.assert_close(got[member], expected, atol=1e-5, rtol=1e-5)


def test_standardized_values_are_clipped_and_blanked():
    encoder = make_encoder()
    values = encoder.mean + encoder.scale * torch.linspace(-30, 30, N_GENES)
    got = encoder.standardize(values[None], make_mask(0, 3, 8))
    torch.testing.assert_close(got[0, [0, 3, 8]], torch.tensor([-10, -7.5, 10]))
    assert not got[0, [1, 2, 4, 5, 6, 7]].any()


@pytest.mark.parametrize("foreign", [0.0, 1.0, 1e6, 3e38])
def test_genes_outside_the_mask_cannot_reach_the_output(foreign):
    """Bit for bit, so that a panel measured alone gives the same predictions."""
    encoder, mask, head = make_encoder(), make_mask(0, 3, 4), make_head()
    values = make_values()
    other = torch.where(mask > 0, values, foreign * torch.rand(N_OBS, N_GENES))
    hidden, inputs = encode(encoder, values, mask)
    other_hidden, other_inputs = encode(encoder, other, mask)
    assert torch.equal(hidden, other_hidden)
    assert torch.equal(head(hidden, inputs), head(other_hidden, other_inputs))
    changed = values.clone()
    changed[:, 3] += 1
    assert not torch.equal(hidden, encode(encoder, changed, mask)[0])


def test_weights_of_genes_outside_the_mask_do_not_matter():
    encoder, mask = make_encoder(), make_mask(0, 3, 4)
    before, _ = encode(encoder, make_values(), mask)
    with torch.no_grad():
        for tensor in (encoder.weight, encoder.presence):
            tensor[:, mask == 0] = 1e6
        encoder.mean[mask == 0] = -77
        encoder.scale[mask == 0] = 1e-3
    assert torch.equal(before, encode(encoder, make_values(), mask)[0])


def test_an_unmeasured_gene_is_not_one_of_average_expression():
    encoder = make_encoder()
    values = encoder.mean.expand(N_OBS, -1)  # standardised, all are 0
    with_gene, _ = encode(encoder, values, make_mask(0, 1))
    without, _ = encode(encoder, values, make_mask(0))
    assert not torch.allclose(with_gene, without)


def test_cells_are_independent():
    encoder, values, mask = make_encoder(), make_values(), make_mask()
    together, _ = encode(encoder, values, mask)
    for cell in range(N_OBS):
        alone, _ = encode(encoder, values[cell : cell + 1], mask)
        torch.testing.assert_close(alone[:, 0], together[:, cell], atol=1e-5, rtol=1e-5)


def test_members_may_see_their_own_cells_and_masks():
    encoder = make_encoder()
    values = torch.stack([make_values(seed=seed) for seed in range(N_MEMBERS)])
    masks = torch.stack([make_mask(m, m + 4) for m in range(N_MEMBERS)])
    got = encoder(encoder.standardize(values, masks[:, None]), masks[:, None])
    for member in range(N_MEMBERS):
        expected, _ = encode(encoder, values[member], masks[member])
        torch.testing.assert_close(got[member], expected[member], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", ["categorical", "continuous"])
def test_members_are_independent(kind):
    encoder, head = make_encoder(), make_head(kind)
    labels = ALL_VALUES if kind == "continuous" else ALL_CODES
    head.calibrate(labels[0])

    def run():
        hidden, inputs = encode(encoder, make_values(), make_mask())
        outputs = head(hidden, inputs)
        return outputs, head.loss(outputs, labels)

    before, losses = run()
    losses[1].backward()
    for parameter in (*encoder.parameters(), *head.parameters()):
        assert not parameter.grad[[0, 2]].any()
        if parameter is not encoder.bias:  # the other tensors of this member do learn
            assert parameter.grad[1].any()
    with torch.no_grad():
        for parameter in (*encoder.parameters(), *head.parameters()):
            parameter[1] += 1
    after, _ = run()
    assert torch.equal(before[[0, 2]], after[[0, 2]])
    assert not torch.equal(before[1], after[1])


def test_gradient_reaches_the_mask():
    encoder = make_encoder()
    mask = make_mask().requires_grad_()
    hidden, _ = encode(encoder, make_values(), mask)
    hidden.square().sum().backward()
    assert mask.grad.isfinite().all()
    assert (mask.grad != 0).all()  # a gene outside the mask can ask to come in


# --- heads: forward ---


def test_head_matches_torchs_linear_layers():
    head = make_head()
    hidden, inputs = (
        torch.randn(N_MEMBERS, N_OBS, N_HIDDEN),
        torch.randn(N_MEMBERS, N_OBS, N_GENES),
    )
    got = head(hidden, inputs)
    for member in range(N_MEMBERS):
        weight = torch.cat([head.weight[member], head.skip[member]]).T
        both = torch.cat([hidden[member], inputs[member]], dim=1)
        expected = F.linear(both, weight, head.bias[member, 0])
        torch.testing.assert_close(got[member], expected, atol=1e-5, rtol=1e-5)


def test_head_without_a_representation_is_a_linear_model():
    head, inputs = make_head(), torch.randn(N_MEMBERS, N_OBS, N_GENES)
    expected = torch.einsum("mog,mgc->moc", inputs, head.skip) + head.bias
    torch.testing.assert_close(head(None, inputs), expected, atol=1e-5, rtol=1e-5)


def test_initial_weights_keep_the_variance_whatever_the_number_of_genes():
    torch.manual_seed(0)
    for n_genes in (4, 400):
        encoder = Encoder(n_genes, 300, 4)
        assert float(encoder.weight.detach().var()) == pytest.approx(1 / n_genes, rel=0.1)
        before = encoder.weight.detach().clone()
        encoder.reset_weight()
        assert not torch.equal(before, encoder.weight)
        assert float(encoder.weight.detach().var()) == pytest.approx(1 / n_genes, rel=0.1)


@pytest.mark.parametrize(
    "make",
    [
        lambda generator: Encoder(N_GENES, N_HIDDEN, N_MEMBERS, generator),
        lambda generator: CrossEntropyHead(N_GENES, N_HIDDEN, N_MEMBERS, 4, generator=generator),
        lambda generator: SquaredErrorHead(N_GENES, N_HIDDEN, N_MEMBERS, generator=generator),
    ],
    ids=["encoder", "cross entropy", "squared error"],
)
def test_weights_come_from_the_generator(make):
    before = torch.random.get_rng_state()
    one, same, other = (make(torch.Generator().manual_seed(seed)) for seed in (3, 3, 4))
    assert torch.equal(torch.random.get_rng_state(), before)  # torch's own is left alone
    assert torch.equal(one.weight, same.weight)
    assert not torch.equal(one.weight, other.weight)
    torch.manual_seed(3)
    assert torch.equal(make(None).weight, one.weight)
    torch.random.set_rng_state(before)


def test_weights_are_drawn_anew_from_the_generator():
    encoder, same = (Encoder(N_GENES, N_HIDDEN, N_MEMBERS) for _ in range(2))
    before = torch.random.get_rng_state()
    for one in (encoder, same):
        one.reset_weight(torch.Generator().manual_seed(5))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(encoder.weight, same.weight)


def test_heads_of_all_names_are_made_alike():
    """The model makes a head by the name that a kind of task gives, whatever it is."""
    for head_type in HEADS.values():
        head = head_type(N_GENES, N_HIDDEN, N_MEMBERS, 1, class_weight_power=0.5, generator=None)
        assert head(None, torch.ones(N_MEMBERS, 2, N_GENES)).shape == (N_MEMBERS, 2, 1)


@pytest.mark.parametrize("kind", ["categorical", "continuous"])
def test_reset_forgets_the_linear_part_alone(kind):
    head = make_head(kind)
    weight = head.weight.detach().clone()
    head.reset_linear()
    assert torch.equal(head.weight, weight)
    assert not head.skip.any()
    assert not head.bias.any()


def test_skip_starts_at_zero():
    head = CrossEntropyHead(N_GENES, N_HIDDEN, N_MEMBERS, 4)
    hidden = torch.randn(N_MEMBERS, N_OBS, N_HIDDEN)
    one, other = (head(hidden, torch.randn(N_MEMBERS, N_OBS, N_GENES)) for _ in range(2))
    assert torch.equal(one, other)


# --- heads: classification ---


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
def test_classification_loss_matches_torchs(power):
    head, outputs = make_head(class_weight_power=power), make_outputs()
    head.calibrate(CODES)
    got = head.loss(outputs, ALL_CODES)
    assert got.shape == (N_MEMBERS,)
    for member in range(N_MEMBERS):
        expected = F.cross_entropy(
            outputs[member], CODES, weight=head.class_weights, ignore_index=-1
        )
        torch.testing.assert_close(got[member] * head.guess_loss, expected)


def test_classification_loss_without_weights_is_sklearns_log_loss():
    head, outputs = make_head(class_weight_power=0.0), make_outputs()
    head.calibrate(CODES)
    observed = CODES >= 0
    for member, loss in enumerate(head.loss(outputs, ALL_CODES)):
        expected = log_loss(
            CODES[observed], torch.softmax(outputs[member][observed].double(), 1), labels=range(4)
        )
        assert loss.item() * head.guess_loss.item() == pytest.approx(expected, rel=1e-5)


def test_class_weights_match_sklearns():
    y = CODES[CODES >= 0].numpy()
    balanced = compute_class_weight("balanced", classes=np.unique(y), y=y)
    head = make_head(class_weight_power=1.0)
    head.calibrate(CODES)
    np.testing.assert_allclose(head.class_weights, np.insert(balanced, 2, 0.0), rtol=1e-6)


@pytest.mark.parametrize("power", [0.0, 0.3, 0.5, 1.0])
def test_class_weights_follow_the_power_and_average_to_1(power):
    head = make_head(class_weight_power=power)
    head.calibrate(CODES)
    weights, counts = head.class_weights.double().numpy(), np.array([5, 3, 0, 1])
    np.testing.assert_allclose(
        weights[[0, 1]] / weights[3], np.array([5.0, 3.0]) ** -power, rtol=1e-6
    )
    assert (weights * counts).sum() / counts.sum() == pytest.approx(1)


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
def test_the_best_constant_guess_costs_1(power):
    """The unit of the loss: no constant does better, however many classes and labels there are."""
    head = make_head(class_weight_power=power)
    head.calibrate(CODES)
    shares = torch.bincount(CODES[CODES >= 0], minlength=4) * head.class_weights
    logits = (shares / shares.sum()).clamp(min=1e-12).log()

    def cost(logits):
        return head.loss(logits.expand(N_MEMBERS, N_OBS, 4), ALL_CODES)

    torch.testing.assert_close(cost(logits), torch.ones(N_MEMBERS))
    for seed in range(5):
        generator = torch.Generator().manual_seed(seed)
        assert (cost(logits + 0.3 * torch.randn(4, generator=generator)) > 1).all()


@pytest.mark.parametrize("power", [-0.1, 1.1, float("nan")])
def test_class_weight_power_out_of_range(power):
    with pytest.raises(ValueError, match="class_weight_power must be from 0 to 1"):
        CrossEntropyHead(N_GENES, N_HIDDEN, N_MEMBERS, 4, class_weight_power=power)


def test_probabilities_are_averaged_over_members():
    head, outputs = make_head(), make_outputs()
    got = head.predict(outputs)
    expected = torch.stack([F.softmax(member, 1) for member in outputs]).mean(0)
    torch.testing.assert_close(got, expected)
    torch.testing.assert_close(got.sum(1), torch.ones(N_OBS))


def test_calibrated_probabilities_are_raised_to_a_power():
    head, outputs = make_head(), make_outputs()
    head.temperature.copy_(torch.linspace(0.5, 4, N_GENES))
    proba = head.predict(outputs)
    for n_genes in range(1, N_GENES + 1):
        powers = proba ** (1 / head.temperature[n_genes - 1])
        got = head.calibrated(proba, n_genes)
        torch.testing.assert_close(got, powers / powers.sum(1, keepdim=True))
        assert got.argmax(1).tolist() == proba.argmax(1).tolist()


def test_temperatures_start_at_1():
    head, outputs = make_head(), make_outputs()
    assert head.temperature.shape == (N_GENES,)
    proba = head.predict(outputs)
    torch.testing.assert_close(head.calibrated(proba, 3), proba)


def test_impossible_classes_can_be_calibrated():
    head = make_head()
    proba = torch.tensor([[1.0, 0, 0, 0]])
    got = head.calibrated(proba, 2)
    assert got.isfinite().all()
    torch.testing.assert_close(got, proba)


def test_numbers_are_not_calibrated():
    head = make_head("continuous")
    assert head.temperature is None
    prediction = torch.linspace(0, 1, 5)
    assert torch.equal(head.calibrated(prediction, 2), prediction)


def test_impossible_class_has_a_finite_loss():
    head = make_head()
    outputs = torch.tensor([1e4, 0, 0, 0]).expand(N_MEMBERS, N_OBS, 4)
    assert head.loss(outputs, ALL_CODES).isfinite().all()


# --- heads: regression ---


def test_regression_loss_matches_sklearns():
    head, outputs = make_head("continuous"), make_outputs(1)
    head.calibrate(VALUES)
    y = VALUES[~VALUES.isnan()].double().numpy()
    got = head.loss(outputs, ALL_VALUES)
    assert got.shape == (N_MEMBERS,)
    for member in range(N_MEMBERS):
        predicted = outputs[member, : len(y), 0].numpy() * y.std() + y.mean()
        assert got[member].item() == pytest.approx(mean_squared_error(y, predicted) / y.var())


def test_regression_predicts_in_the_units_of_the_target():
    head = make_head("continuous")
    target = torch.tensor([1000.0, 1010, 990, torch.nan])
    head.calibrate(target)
    outputs = ((target[:3] - 1000) / target[:3].std(correction=0))[None, :, None]
    predicted = head.predict(torch.cat([outputs - 0.5, outputs + 0.5]))  # two members
    torch.testing.assert_close(predicted, target[:3])


def test_the_mean_as_a_guess_costs_1():
    head = make_head("continuous")
    head.calibrate(VALUES)
    zeros = torch.zeros(N_MEMBERS, N_OBS, 1)
    torch.testing.assert_close(head.loss(zeros, ALL_VALUES), torch.ones(N_MEMBERS))
    mean = float(np.nanmean(VALUES))
    torch.testing.assert_close(head.predict(zeros), torch.full((N_OBS,), mean))


# --- missing labels ---


@pytest.mark.parametrize("kind", ["categorical", "continuous"])
def test_a_batch_without_labels_costs_nothing(kind):
    encoder, head = make_encoder(), make_head(kind)
    labels, none = (ALL_CODES, -1) if kind == "categorical" else (ALL_VALUES, torch.nan)
    head.calibrate(labels[0])
    mask = make_mask().requires_grad_()
    hidden, inputs = encode(encoder, make_values(), mask)
    loss = head.loss(head(hidden, inputs), torch.full_like(labels, none))
    assert loss.tolist() == [0] * N_MEMBERS
    loss.sum().backward()
    for tensor in (mask, *encoder.parameters(), *head.parameters()):
        assert tensor.grad.isfinite().all()
        assert not tensor.grad.any()


@pytest.mark.parametrize("kind", ["categorical", "continuous"])
def test_cells_without_a_label_do_not_count(kind):
    head = make_head(kind)
    labels = ALL_CODES if kind == "categorical" else ALL_VALUES
    head.calibrate(labels[0])
    outputs = make_outputs(4 if kind == "categorical" else 1).requires_grad_()
    loss = head.loss(outputs, labels)
    torch.testing.assert_close(loss, head.loss(outputs[:, :9], labels[:, :9]))
    loss.sum().backward()
    assert not outputs.grad[:, 9:].any()
    assert outputs.grad[:, :9].any()


@pytest.mark.parametrize("kind", ["categorical", "continuous"])
def test_members_may_miss_different_labels(kind):
    head = make_head(kind)
    labels = (ALL_CODES if kind == "categorical" else ALL_VALUES).clone()
    head.calibrate(labels[0])
    labels[1] = -1 if kind == "categorical" else torch.nan
    outputs = make_outputs(4 if kind == "categorical" else 1)
    loss = head.loss(outputs, labels)
    assert loss[1] == 0
    assert (loss[[0, 2]] > 0).all()


@pytest.mark.parametrize("kind", ["categorical", "continuous"])
def test_calibration_ignores_missing_labels(kind):
    labels = CODES if kind == "categorical" else VALUES
    one, other = make_head(kind), make_head(kind)
    one.calibrate(labels)
    other.calibrate(labels[:9])
    for name, buffer in one.named_buffers():
        assert torch.equal(buffer, other.get_buffer(name)), name


@pytest.mark.parametrize("kind", ["categorical", "continuous"])
def test_calibration_with_one_label_stays_finite(kind):
    head = make_head(kind)
    labels = torch.full_like(CODES, -1) if kind == "categorical" else VALUES * torch.nan
    labels[2] = 1
    head.calibrate(labels)
    assert all(buffer.isfinite().all() for buffer in head.buffers())
