"""Dropping genes changes nothing for the genes that stay."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from yoto_sc.nn import CrossEntropyHead, Encoder, Selector, SquaredErrorHead, narrow

N_GENES, N_OBS, N_MEMBERS = 10, 14, 2
KEPT = torch.tensor([7, 2, 4, 0])  # a new order, too

OPTIMIZERS = {
    "Adam": lambda p: torch.optim.Adam(p, lr=0.05),
    "AdamW": lambda p: torch.optim.AdamW(p, lr=0.05, weight_decay=0.1),
    "amsgrad": lambda p: torch.optim.Adam(p, lr=0.05, amsgrad=True),
    "SGD": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9),
    "RMSprop": lambda p: torch.optim.RMSprop(p, lr=0.05, momentum=0.5, centered=True),
}


class Network(nn.Module):
    """Selector, encoder and a head for each kind of task, as the model puts them together."""

    def __init__(self, n_genes=N_GENES):
        super().__init__()
        self.selector = Selector(n_genes)
        self.encoder = Encoder(n_genes, 5, N_MEMBERS)
        self.heads = nn.ModuleList(
            [CrossEntropyHead(n_genes, 5, N_MEMBERS, 3), SquaredErrorHead(n_genes, 5, N_MEMBERS)]
        )

    def forward(self, values, mask):
        inputs = self.encoder.standardize(values, mask).expand(N_MEMBERS, -1, -1)
        hidden = self.encoder(inputs, mask)
        return [head(hidden, inputs) for head in self.heads]


def make_network(seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    network = Network().to(dtype)
    with torch.no_grad():
        for tensor in network.parameters():
            tensor.copy_(torch.randn(tensor.shape, generator=generator))
        network.encoder.mean.copy_(torch.rand(N_GENES, generator=generator))
        network.encoder.scale.copy_(0.5 + torch.rand(N_GENES, generator=generator))
        network.selector.required[4] = True
    return network


def make_values(seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(N_OBS, N_GENES, generator=generator, dtype=torch.float64) * 3


def mask_of_kept():
    mask = torch.zeros(N_GENES, dtype=torch.float64)
    mask[KEPT] = 1
    return mask


def step(network, optimizer, values, mask, seed):
    """Take one step on a loss that every parameter has a part in."""
    generator = torch.Generator().manual_seed(seed)
    optimizer.zero_grad()
    outputs = network(values, mask * network.selector.scores.sigmoid())
    loss = sum(
        (out - torch.randn(out.shape, generator=generator, dtype=out.dtype)).square().mean()
        for out in outputs
    )
    loss.backward()
    optimizer.step()


def gene_tensors(network):
    """Yield the name, the tensor and the axis of genes of everything that has one."""
    for prefix, module in network.named_modules():
        for name, axis in getattr(module, "gene_axes", {}).items():
            yield f"{prefix}.{name}", getattr(module, name), axis


def test_every_tensor_with_as_many_entries_as_genes_names_its_axis():
    """A tensor that `gene_axes` forgets would keep its size and break the narrowed network."""
    n_genes = 13  # unlike every other size
    network = Network(n_genes)
    named = {name: axis for name, _, axis in gene_tensors(network)}
    for name, tensor in network.state_dict().items():
        axes = [axis for axis, size in enumerate(tensor.shape) if size == n_genes]
        assert axes == ([named[name]] if name in named else []), name


def test_narrowing_keeps_the_right_entries_in_the_new_order():
    network, original = make_network(), make_network()
    narrow(network, KEPT)
    wanted = {name: (tensor, axis) for name, tensor, axis in gene_tensors(original)}
    assert wanted
    for name, tensor, axis in gene_tensors(network):
        assert torch.equal(
            tensor, torch.stack([wanted[name][0].select(axis, g) for g in KEPT], axis)
        )
    others = set(dict(network.state_dict())) - set(wanted)
    for name in others:
        assert torch.equal(network.state_dict()[name], original.state_dict()[name])


def test_narrowed_network_equals_masking():
    network, values = make_network(), make_values()
    masked = network(values, mask_of_kept())
    narrow(network, KEPT)
    narrowed = network(values[:, KEPT], torch.ones(len(KEPT), dtype=torch.float64))
    for one, other in zip(masked, narrowed, strict=True):
        torch.testing.assert_close(one, other)


def test_narrowing_twice_equals_narrowing_once():
    twice, once = make_network(), make_network()
    narrow(twice, KEPT)
    narrow(twice, torch.tensor([2, 0]))
    narrow(once, KEPT[[2, 0]])
    for name, tensor in once.state_dict().items():
        assert torch.equal(tensor, twice.state_dict()[name]), name


@pytest.mark.parametrize("make_optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_steps_after_narrowing_equal_those_of_the_full_network(make_optimizer):
    full, narrowed = make_network(), make_network()
    optimizers = [make_optimizer(network.parameters()) for network in (full, narrowed)]
    everything = torch.ones(N_GENES, dtype=torch.float64)
    for seed in range(3):  # momenta of all genes build up
        for network, optimizer in zip((full, narrowed), optimizers, strict=True):
            step(network, optimizer, make_values(seed), everything, seed)
    before = list(map(id, narrowed.parameters()))
    narrow(narrowed, KEPT, optimizers[1])
    assert list(map(id, narrowed.parameters())) == before
    for seed in range(3, 6):
        step(full, optimizers[0], make_values(seed), mask_of_kept(), seed)
        step(
            narrowed,
            optimizers[1],
            make_values(seed)[:, KEPT],
            torch.ones(len(KEPT), dtype=torch.float64),
            seed,
        )
    wanted = {name: (tensor, axis) for name, tensor, axis in gene_tensors(full)}
    for name, tensor in narrowed.named_parameters():
        expected = full.get_parameter(name)
        if name in wanted:
            expected = expected.index_select(wanted[name][1], KEPT)
        torch.testing.assert_close(tensor, expected, msg=lambda text, name=name: f"{name}: {text}")


def test_forgetting_the_optimizer_would_show():
    """The test above can fail: fresh moments take another step."""
    full, narrowed = make_network(), make_network()
    optimizer = OPTIMIZERS["Adam"](full.parameters())
    other = OPTIMIZERS["Adam"](narrowed.parameters())
    everything = torch.ones(N_GENES, dtype=torch.float64)
    for network, used in ((full, optimizer), (narrowed, other)):
        step(network, used, make_values(), everything, 0)
    narrow(narrowed, KEPT)
    fresh = OPTIMIZERS["Adam"](narrowed.parameters())
    step(full, optimizer, make_values(1), mask_of_kept(), 1)
    step(narrowed, fresh, make_values(1)[:, KEPT], everything[: len(KEPT)], 1)
    assert not torch.allclose(full.selector.scores[KEPT], narrowed.selector.scores)


@pytest.mark.parametrize("with_optimizer", [True, False])
def test_gradients_of_the_old_size_are_dropped(with_optimizer):
    network = make_network()
    optimizer = OPTIMIZERS["Adam"](network.parameters())
    step(network, optimizer, make_values(), torch.ones(N_GENES, dtype=torch.float64), 0)
    narrow(network, KEPT, optimizer if with_optimizer else None)
    for name, parameter, _ in gene_tensors(network):
        assert parameter.grad is None, name


def test_optimizer_state_has_the_shape_of_its_parameter():
    network = make_network()
    optimizer = OPTIMIZERS["Adam"](network.parameters())
    step(network, optimizer, make_values(), torch.ones(N_GENES, dtype=torch.float64), 0)
    narrow(network, KEPT, optimizer)
    for parameter, state in optimizer.state.items():
        assert state["exp_avg"].shape == state["exp_avg_sq"].shape == parameter.shape
        assert state["step"] == 1


def test_an_unused_optimizer_stays_empty():
    network = make_network()
    optimizer = OPTIMIZERS["Adam"](network.parameters())
    narrow(network, KEPT, optimizer)
    assert len(optimizer.state) == 0
    assert optimizer.param_groups[0]["params"][0] is network.selector.scores
