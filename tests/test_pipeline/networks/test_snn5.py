"""SNN5: the network of Figure 2 as it was released, and runs of the network that had its name before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from spikingjelly.activation_based import functional, layer, neuron
from torch import nn

from pipeline.config.run_config import NetworkConfig, NeuronConfig
from pipeline.config.surrogates import make_surrogate
from pipeline.networks import build_network, neuron_layers, reset_network
from pipeline.runs.checkpoint import load_weights, save_weights
from preprocess.errors import ConfigError, RunError


@pytest.fixture(autouse=True)
def one_thread():
    # Tensors are so small that a second thread would only be waited for.
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def build(network: NetworkConfig, neuron: NeuronConfig | None = None, **words: Any) -> nn.Module:
    given = {"channels": 3, "classes": 10, "size": (32, 32), "timesteps": 4, "seed": 0} | words
    return build_network(network, neuron or NeuronConfig(backend="torch"), **given)


def convolutions(network: nn.Module) -> list[nn.Conv2d]:
    return [module for module in network.modules() if isinstance(module, nn.Conv2d)]


def test_layers_maps_and_parameters_are_those_of_the_released_network():
    network = build(NetworkConfig("snn5"))
    plan = [(c.out_channels, c.kernel_size[0], c.stride[0], c.padding[0]) for c in convolutions(network)]
    assert plan == [(16, 3, 1, 1), (64, 5, 2, 1), (128, 5, 2, 1), (256, 5, 4, 1), (256, 3, 2, 1)]
    assert all(module.bias is not None for module in convolutions(network))
    sides: list[int] = []
    for module in neuron_layers(network).values():
        module.register_forward_hook(lambda _module, _inputs, out: sides.append(out.shape[-1]))
    assert network(torch.randn(2, 2, 3, 32, 32)).shape == (2, 2, 10)
    assert sides == [32, 15, 7, 2, 1]
    assert network.classifier.in_features == 256
    assert sum(parameter.numel() for parameter in network.parameters()) == 1_644_586


def test_outputs_and_gradients_equal_those_of_the_layers_one_after_the_other():
    network = build(NetworkConfig("snn5", width=0.25, dropout=0.3, batch_norm="joint")).double()
    layers: list[nn.Module] = []
    for conv in convolutions(network):
        words = (conv.in_channels, conv.out_channels, conv.kernel_size, conv.stride, 1)
        node = neuron.LIFNode(2.0, False, 1.0, None, make_surrogate(NeuronConfig()), step_mode="m")
        layers += [layer.Conv2d(*words), layer.BatchNorm2d(conv.out_channels), node]
    plain = nn.Sequential(*layers, layer.Flatten(), layer.Dropout(0.3), layer.Linear(64, 10)).double()
    functional.set_step_mode(plain, "m")
    plain.load_state_dict(dict(zip(plain.state_dict(), network.state_dict().values(), strict=True)))
    x = torch.randn(3, 4, 3, 32, 32, dtype=torch.float64)
    found = []
    for net in (network, plain):
        torch.manual_seed(1)
        out = net(x)
        out.square().sum().backward()
        found.append((out, [p.grad for n, p in net.named_parameters() if p.dim() > 1]))
    torch.testing.assert_close(*found, rtol=1e-9, atol=1e-12)
    assert found[0][0].any() and all(grad.any() for grad in found[0][1])


def test_small_frames_are_refused_and_the_smallest_accepted():
    assert build(NetworkConfig("snn5", width=0.1), size=(15, 40))(torch.randn(2, 2, 3, 15, 40)).shape == (2, 2, 10)
    with pytest.raises(ConfigError, match=r"^snn5: expected frames of at least 15x15 pixels .*, found 14x32\. Set "):
        build(NetworkConfig("snn5", width=0.1), size=(14, 32))


def test_with_gap_the_linear_layer_sees_the_mean_of_the_last_map():
    network = build(NetworkConfig("snn5", width=0.25, head="gap"), size=(64, 60))
    x = 3 * torch.rand(2, 2, 3, 64, 60)
    out = network(x)
    reset_network(network)
    torch.testing.assert_close(out, network.classifier(network.features(x).mean((3, 4))))


def test_runs_of_the_network_that_had_this_name_say_its_name_now(tmp_path: Path):
    earlier = build(NetworkConfig("snn4", width=0.1))
    save_weights(tmp_path / "best.pt", earlier, 3)
    with pytest.raises(RunError, match=r"best.pt: expected a network with .*: set network.name in .* to snn4"):
        load_weights(tmp_path / "best.pt", build(NetworkConfig("snn5", width=0.1)))
    again = build(NetworkConfig("snn4", width=0.1), seed=1)
    assert load_weights(tmp_path / "best.pt", again) == 3
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in earlier.state_dict().items())
