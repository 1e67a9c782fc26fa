"""SNN4: five layers with weights, strides in place of pooling."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from spikingjelly.activation_based import layer
from torch import nn

from pipeline.config.run_config import NetworkConfig, NeuronConfig
from pipeline.layers.pooling import AveragePool, MaxPool
from pipeline.networks import build_network, neuron_layers, reset_network


@pytest.fixture(autouse=True)
def one_thread():
    # Tensors are so small that a second thread would only be waited for.
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def build(network: NetworkConfig, neuron: NeuronConfig | None = None, **words: Any) -> nn.Module:
    given = {"channels": 2, "classes": 10, "size": (32, 32), "timesteps": 4, "seed": 0} | words
    return build_network(network, neuron or NeuronConfig(backend="torch"), **given)


def frames(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.poisson(torch.full(shape, 0.5), generator=torch.Generator().manual_seed(seed))


def convolutions(network: nn.Module) -> list[nn.Conv2d]:
    return [module for module in network.modules() if isinstance(module, nn.Conv2d)]


def test_it_has_five_layers_with_weights_and_no_pooling():
    network = build(NetworkConfig("snn4"), channels=3)
    assert list(neuron_layers(network)) == [f"features.conv{n}.neuron" for n in range(1, 5)]
    assert [(module.out_channels, module.stride) for module in convolutions(network)] == [
        (64, (1, 1)),
        (128, (2, 2)),
        (256, (2, 2)),
        (512, (2, 2)),
    ]
    assert all(module.bias is not None for module in convolutions(network))
    poolings = (AveragePool, MaxPool, nn.AdaptiveAvgPool2d)
    assert not any(isinstance(module, poolings) for module in network.modules())
    # 64 * 27 + 128 * 576 + 256 * 1152 + 512 * 2304, three numbers more for each channel, and 10 * (512 * 16 + 1).
    assert sum(parameter.numel() for parameter in network.parameters()) == 1_634_826


def test_convolutions_see_nothing_but_spikes():
    network = build(NetworkConfig("snn4", width=1 / 8))
    seen: list[torch.Tensor] = []
    for module in [*convolutions(network)[1:], network.classifier]:
        module.register_forward_hook(lambda _module, inputs, _out: seen.append(inputs[0]))
    network(frames(4, 2, 2, 32, 32))
    assert len(seen) == 4 and all(set(x.unique().tolist()) == {0.0, 1.0} for x in seen)


@pytest.mark.parametrize("size", [(1, 1), (7, 20), (34, 34)])
def test_any_size_is_taken_because_strides_round_up(size: tuple[int, int]):
    network = build(NetworkConfig("snn4", width=1 / 16), size=size)
    rows, columns = -(-size[0] // 8), -(-size[1] // 8)
    assert network.classifier.in_features == 32 * rows * columns
    assert network(frames(3, 2, 2, *size)).shape == (3, 2, 10)


def test_with_gap_the_linear_layer_sees_the_mean_of_the_last_map():
    network = build(NetworkConfig("snn4", width=0.25, head="gap"), size=(48, 40))
    assert network.classifier.in_features == 128
    x = frames(3, 2, 2, 48, 40)
    out = network(x)
    reset_network(network)
    torch.testing.assert_close(out, network.classifier(network.features(x).mean((3, 4))))


def test_width_multiplies_hidden_channels_only():
    network = build(NetworkConfig("snn4", width=0.5), channels=3, classes=7)
    assert [module.out_channels for module in convolutions(network)] == [32, 64, 128, 256]
    assert convolutions(network)[0].in_channels == 3 and network.classifier.out_features == 7


def test_dropout_stands_behind_each_neuron():
    network = build(NetworkConfig("snn4", width=1 / 8, dropout=0.3))
    names = {name: module.p for name, module in network.named_modules() if isinstance(module, layer.Dropout)}
    assert names == {f"features.conv{n}.dropout": 0.3 for n in range(1, 5)}


def test_initial_weights_have_the_papers_spread():
    network = build(NetworkConfig("snn4"))
    for convolution in convolutions(network):
        fan_out = convolution.out_channels * 9
        assert convolution.weight.std().item() == pytest.approx((2 / fan_out) ** 0.5, rel=0.1)
    assert network.classifier.weight.std().item() == pytest.approx(0.01, rel=0.02)


@pytest.mark.parametrize("neuron", ["lif", "clif", "plif"])
def test_per_step_equals_one_call_for_each_time_step(neuron: str):
    def make() -> nn.Module:
        return build(NetworkConfig("snn4", width=1 / 8, dropout=0.3), NeuronConfig(neuron, backend="torch")).double()

    x = frames(4, 3, 2, 32, 32).double()
    whole, looped = make(), make()
    torch.manual_seed(4)
    found = whole(x)
    torch.manual_seed(4)
    expected = torch.cat([looped(step[None]) for step in x])
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    for out in (found, expected):
        out.square().sum().backward()
    for (name, ours), theirs in zip(whole.named_parameters(), looped.parameters(), strict=True):
        if name.endswith("conv.bias"):
            # Batch norm takes a bias away again: nothing is left of its gradient but rounding.
            assert ours.grad.abs().max() < 1e-9
            continue
        assert ours.grad.any(), name
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(list(whole.buffers()), list(looped.buffers()), rtol=1e-12, atol=1e-12)
    assert whole.features.conv1.norm.num_batches_tracked == 4


@pytest.mark.parametrize("neuron", ["lif", "clif"])
def test_it_learns_to_tell_two_patterns_apart(neuron: str):
    network = build(NetworkConfig("snn4", width=1 / 8), NeuronConfig(neuron), classes=2, size=(16, 16))
    optimiser = torch.optim.Adam(network.parameters(), 0.01)
    labels = torch.arange(8) % 2
    x = frames(4, 8, 2, 16, 16) * 0.5
    x[:, labels == 1, :, :8] += 1.0
    for _ in range(12):
        loss = nn.functional.cross_entropy(network(x).mean(0), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        reset_network(network)
    assert loss.item() < 0.2
