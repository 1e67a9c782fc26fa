"""Residual networks, 7B-wideNet and modified PLIF-Nets: equal in float64 to SpikingJelly's or its layers'."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from spikingjelly.activation_based import functional, layer, neuron
from spikingjelly.activation_based.model import ms_resnet, sew_resnet
from torch import nn

from benchmarks.residual_peers import make_peer
from pipeline.config.run_config import NetworkConfig, NeuronConfig
from pipeline.config.surrogates import make_surrogate
from pipeline.networks import build_network, neuron_layers
from pipeline.networks.ms_resnet import ScaledBatchNorm

ATAN = NeuronConfig("lif", surrogate="atan", alpha=2.0, backend="torch")


@pytest.fixture(autouse=True)
def one_thread():
    # Tensors are so small that a second thread would only be waited for.
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def build(network: NetworkConfig, neuron: NeuronConfig = ATAN, **words: Any) -> nn.Module:
    given = {"channels": 3, "classes": 5, "size": (32, 32), "timesteps": 3, "seed": 0} | words
    return build_network(network, neuron, **given)


def node(**_: Any) -> nn.Module:
    """SpikingJelly's node with the settings of `ATAN`."""
    return neuron.LIFNode(2.0, False, 1.0, None, make_surrogate(ATAN), step_mode="m")


def enliven(network: nn.Module) -> None:
    """Weights and statistics of batch norm with which every layer fires and has a gradient."""
    generator = torch.Generator().manual_seed(7)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for value, least in ((module.weight.data, 0.5), (module.bias.data, 0.2), (module.running_var, 0.5)):
                value.copy_(least + 0.5 * torch.rand(value.shape, generator=generator))
        if isinstance(module, nn.Linear):
            # Neurons behind a linear layer fire.
            module.weight.data *= 16


def run_once(network: nn.Module, x: torch.Tensor, trains: bool) -> torch.Tensor:
    """Logits, averaged over time, and in training the gradients of the parameters."""
    torch.manual_seed(5)
    functional.reset_net(network)
    out = network.train(trains)(x)
    out = out.mean(0) if out.dim() == 3 else out
    if trains:
        (out * torch.randn(out.shape, generator=torch.Generator().manual_seed(2), dtype=out.dtype)).sum().backward()
    return out.detach()


def assert_equal(ours: nn.Module, theirs: nn.Module, side: int = 32) -> None:
    """Outputs, gradients and statistics, in training and in evaluation; layers are in the same order."""
    functional.set_step_mode(theirs, "m")
    ours, theirs = ours.double(), theirs.double()
    enliven(ours)
    names = list(theirs.state_dict())
    theirs.load_state_dict(dict(zip(names, ours.state_dict().values(), strict=True)))
    channels = next(ours.parameters()).shape[1]
    x = torch.randn(3, 2, channels, side, side, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    for trains in (True, False):
        found, expected = (run_once(net, x, trains) for net in (ours, theirs))
        assert found.std() > 1e-3
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
    mine, other = dict(ours.named_parameters()), dict(theirs.named_parameters())
    pairs = dict(zip(ours.state_dict(), names, strict=True))
    for name, parameter in mine.items():
        torch.testing.assert_close(parameter.grad, other[pairs[name]].grad, rtol=1e-8, atol=1e-8)
        assert parameter.grad.any(), name
    buffers = dict(theirs.named_buffers())
    for name, buffer in ours.named_buffers():
        torch.testing.assert_close(buffer, buffers[pairs[name]], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("name", "layers"), [("spiking-resnet18", 18), ("spiking-resnet34", 34)])
def test_spiking_resnet_equals_the_authors_blocks_from_spikingjellys_layers(name: str, layers: int):
    words = {"width": 1 / 16, "dropout": 0.2, "batch_norm": "joint"}
    assert_equal(build(NetworkConfig(name, **words)), make_peer(layers, 3, 5, node, width=1 / 16, dropout=0.2))


@pytest.mark.parametrize(
    ("classes", "parameters"), [(10, 11_176_906), (100, 11_223_076)], ids=["CIFAR-10", "CIFAR-100"]
)
def test_spiking_resnet18_has_11_2_million_parameters(classes: int, parameters: int):
    network = build(NetworkConfig("spiking-resnet18"), classes=classes)
    assert sum(parameter.numel() for parameter in network.parameters()) == parameters
    assert len(neuron_layers(network)) == 17
    biases = [name for name, module in network.named_modules() if getattr(module, "bias", 0) is None]
    assert biases == ["stem"]


def test_initial_weights_of_spiking_resnet_are_drawn_as_the_authors_draw_them():
    network = build(NetworkConfig("spiking-resnet18", width=0.5))
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d):
            spread = (2 / (module.out_channels * module.kernel_size[0] ** 2)) ** 0.5
            assert module.weight.std().item() == pytest.approx(spread, rel=0.1), name
            # torch's own uniform biases, within 1 / sqrt(fan-in).
            assert module.bias is None or 0 < module.bias.abs().max() <= module.weight[0].numel() ** -0.5
    assert not network.classifier.bias.any()
    assert network.classifier.weight.std().item() == pytest.approx((3 * 256) ** -0.5, rel=0.1)


def test_sew_resnet_equals_spikingjellys():
    theirs = sew_resnet.sew_resnet18(cnf="ADD", spiking_neuron=node, num_classes=5)
    assert_equal(build(NetworkConfig("sew-resnet18", batch_norm="joint")), theirs)


def test_ms_resnet_equals_spikingjellys_whose_logits_are_the_mean():
    theirs = ms_resnet.ms_resnet18(num_classes=5, base_channels=8, spiking_neuron=node)
    ours = build(NetworkConfig("ms-resnet18", width=1 / 8, batch_norm="joint"))
    assert_equal(ours, theirs, side=40)


def test_ms_resnet_starts_with_blocks_that_are_the_identity():
    network = build(NetworkConfig("ms-resnet18", width=1 / 8), NeuronConfig("lif", v_threshold=0.5))
    weights = {name: m.weight for name, m in network.named_modules() if isinstance(m, ScaledBatchNorm)}
    last = {name for name in weights if name.endswith("norm2")}
    assert len(last) == 8
    assert all((weight == (0.0 if name in last else 0.5)).all() for name, weight in weights.items())
    block = network.stages.stage1.block2
    x = torch.randn(2, 3, 8, 8, 8)
    assert torch.equal(block(x), x)


class PlainSEW(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(*unit(channels, channels, 3), *unit(channels, channels, 3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x) + x


def unit(channels: int, out: int, kernel: int) -> list[nn.Module]:
    return [
        layer.Conv2d(channels, out, kernel, padding=kernel // 2, bias=False),
        layer.BatchNorm2d(out),
        node(),
    ]


def test_wide_7b_equals_glifs_from_spikingjellys_layers():
    parts: list[nn.Module] = [*unit(2, 8, 1)]
    for number, channels in enumerate((8, 8, 8, 8, 16, 16, 16)):
        if number == 4:
            parts += unit(8, 16, 1)
        parts += [PlainSEW(channels), *([layer.AvgPool2d(2)] if number > 2 else [])]
    theirs = nn.Sequential(*parts, layer.Flatten(), layer.Linear(16 * 4, 5))
    assert_equal(build(NetworkConfig("wide-7b", width=1 / 8, batch_norm="joint"), channels=2), theirs)


def test_wide_7b_has_as_many_parameters_as_glifs():
    network = build(NetworkConfig("wide-7b"), channels=2, classes=10, size=(48, 48))
    blocks = 4 * 2 * (64 * 64 * 9 + 2 * 64) + 3 * 2 * (128 * 128 * 9 + 2 * 128)
    widening = 2 * 64 + 2 * 64 + 64 * 128 + 2 * 128
    assert sum(parameter.numel() for parameter in network.parameters()) == blocks + widening + 128 * 9 * 10 + 10


@pytest.mark.parametrize(("name", "layers"), [("modified-plif-net-cifar10", 3), ("modified-plif-net-cifar10dvs", 1)])
def test_modified_plif_net_equals_psns_from_spikingjellys_layers(name: str, layers: int):
    wide, stages = {3: (16, 2), 1: (8, 4)}[layers]
    parts: list[nn.Module] = []
    channels = 3
    for _ in range(stages):
        for _ in range(layers):
            parts += unit(channels, wide, 3)
            channels = wide
        parts.append(layer.AvgPool2d(2, 2))
    seen = wide * (32 >> stages) ** 2
    theirs = nn.Sequential(*parts, layer.Flatten(), layer.Linear(seen, seen // 4), node(), layer.Linear(seen // 4, 5))
    assert_equal(build(NetworkConfig(name, width=1 / 16, batch_norm="joint")), theirs)


def test_strides_round_up_so_that_residual_networks_take_any_size():
    for name in ("spiking-resnet18", "sew-resnet18", "ms-resnet18"):
        network = build(NetworkConfig(name, width=1 / 16), size=(1, 19))
        assert network(torch.randn(2, 3, 3, 1, 19)).shape == (2, 3, 5)


def test_convolutions_of_spiking_resnet_see_nothing_but_spikes():
    network = build(NetworkConfig("spiking-resnet18", width=1 / 16))
    seen: dict[str, set[float]] = {}
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d) and name != "stem":
            module.register_forward_hook(lambda _m, inputs, _out, name=name: seen.update({name: set(values(inputs))}))
    network(2 * torch.randn(3, 2, 3, 32, 32))
    assert len(seen) == 19 and all(found <= {0.0, 1.0} for found in seen.values())
    assert any(found == {0.0, 1.0} for found in seen.values())


def values(inputs: tuple[torch.Tensor, ...]) -> list[float]:
    return inputs[0].unique().tolist()
