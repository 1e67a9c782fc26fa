"""What holds for every built-in network: steps one at a time, gradients of every weight, the reset, ReLUs, learning."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import nn

from pipeline.config.run_config import NetworkConfig, NeuronConfig
from pipeline.layers.batch_norm import SequenceBatchNorm
from pipeline.networks import NETWORKS, build_network, neuron_layers, reset_network

# A low threshold and a surrogate that is wide, so that no weight is without a gradient by chance.
CLIF = NeuronConfig("clif", v_threshold=0.1, surrogate="sigmoid", alpha=0.1, backend="torch")
SIZE = (32, 32)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    # Tensors are so small that a second thread would only be waited for.
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def build(name: str, neuron: NeuronConfig, dropout: float = 0.0) -> nn.Module:
    network = build_network(
        NetworkConfig(name, width=1 / 16, dropout=dropout),
        neuron,
        channels=2,
        classes=4,
        size=SIZE,
        timesteps=3,
        seed=2,
    )
    for module in network.modules():
        if isinstance(module, SequenceBatchNorm):
            # So that neurons fire.
            nn.init.constant_(module.bias, 0.5)
    return network.double()


def frames(steps: int = 3, batch: int = 3) -> torch.Tensor:
    mean = torch.full((steps, batch, 2, *SIZE), 0.5)
    return torch.poisson(mean, generator=torch.Generator().manual_seed(0)).double()


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_equals_one_call_for_each_time_step_and_every_weight_has_a_gradient(name: str):
    network, x = build(name, CLIF, dropout=0.2), frames()
    wanted = torch.randn(3, 3, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    found = []
    for by_steps in (False, True):
        reset_network(network)
        network.zero_grad()
        torch.manual_seed(4)
        logits = torch.cat([network(step[None]) for step in x]) if by_steps else network(x)
        (logits * wanted).sum().backward()
        found.append((logits.detach(), [parameter.grad.clone() for parameter in network.parameters()]))
    torch.testing.assert_close(*found, rtol=1e-8, atol=1e-10)
    for (weight, _), gradient in zip(network.named_parameters(), found[0][1], strict=True):
        assert gradient.any(), weight


@pytest.mark.parametrize("name", NETWORKS)
def test_nothing_is_left_of_a_batch_after_the_reset(name: str):
    network, x = build(name, NeuronConfig("lif", backend="torch")).eval(), frames()
    with torch.no_grad():
        first = network(x)
        reset_network(network)
        network(x.flip(0))
        reset_network(network)
        assert torch.equal(network(x), first)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_relu_twin_has_no_time(name: str):
    network, x = build(name, NeuronConfig("relu")).eval(), frames(steps=2)
    spiking = {layer: parameter.shape for layer, parameter in build(name, CLIF).named_parameters()}
    assert {layer: parameter.shape for layer, parameter in network.named_parameters()} == spiking
    with torch.no_grad():
        logits = network(x[:1].expand_as(x))
    if name != "rsnn":
        assert torch.allclose(logits[0], logits[1])
    assert logits.std() > 0 and len(neuron_layers(network)) > 0
