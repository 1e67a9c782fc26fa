"""PLIF-Net: SpikingJelly's networks, number for number, at any width, input size and number of classes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from spikingjelly.activation_based import functional, layer, neuron, surrogate
from spikingjelly.activation_based.model import parametric_lif_net
from torch import nn

from pipeline.config.run_config import NetworkConfig, NeuronConfig
from pipeline.layers.pooling import MaxPool
from pipeline.networks import build_network, neuron_layers, reset_network
from pipeline.networks.initialisation import seeded
from pipeline.networks.plif_net import PLIFNet

# Name, SpikingJelly's class, classes, poolings.
NETS = [
    ("plif-net-gesture", parametric_lif_net.DVSGestureNet, 11, 5),
    ("plif-net-cifar10dvs", parametric_lif_net.CIFAR10DVSNet, 10, 4),
]
NAMES = [name for name, *_ in NETS]
ATAN = NeuronConfig("lif", surrogate="atan", alpha=2.0, backend="torch")


@pytest.fixture(autouse=True)
def one_thread():
    # Tensors are so small that a second thread would only be waited for.
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def build(network: NetworkConfig, neuron: NeuronConfig = ATAN, **words: Any) -> nn.Module:
    given = {"channels": 2, "classes": 10, "size": (32, 32), "timesteps": 4, "seed": 0} | words
    return build_network(network, neuron, **given)


def frames(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.poisson(torch.full(shape, 0.5), generator=torch.Generator().manual_seed(seed))


def enliven(network: nn.Module) -> None:
    """Larger linear weights, so that the voters fire, and running statistics that matter."""
    generator = torch.Generator().manual_seed(7)
    for module in network.modules():
        if isinstance(module, nn.Linear):
            module.weight.data *= 16.0
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.copy_(0.3 * torch.randn(module.num_features, generator=generator))
            module.running_var.copy_(0.02 + 0.1 * torch.rand(module.num_features, generator=generator))


def trained_once(network: nn.Module, x: torch.Tensor, seed: int) -> dict[str, list[torch.Tensor]]:
    """Output, weights' gradients and buffers of one pass; the seed decides the dropout masks."""
    torch.manual_seed(seed)
    out = network(x)
    weights = torch.randn(out.shape, generator=torch.Generator().manual_seed(2), dtype=out.dtype)
    (out * weights).sum().backward()
    return {
        "output": [out],
        "gradients": [parameter.grad for parameter in network.parameters()],
        "buffers": list(network.buffers()),
    }


def assert_equal(found: dict[str, list[torch.Tensor]], expected: dict[str, list[torch.Tensor]]) -> None:
    """In float64, so that no potential rounds across the threshold; and every layer takes part."""
    for part in expected:
        torch.testing.assert_close(found[part], expected[part], rtol=1e-9, atol=1e-9)
    assert 0.05 < expected["output"][0].mean() < 0.95
    assert all(grad.any() for grad in expected["gradients"])


@pytest.mark.parametrize(("net", "parameters"), list(zip(NETS, (1_698_926, 4_691_812), strict=True)), ids=NAMES)
def test_parameters_are_as_many_as_spikingjellys(net: tuple[Any, ...], parameters: int):
    name, theirs, classes, _ = net
    expected = theirs(spiking_neuron=neuron.IFNode)
    network = build(NetworkConfig(name, dropout=0.5), classes=classes, size=(128, 128))
    shapes = [parameter.shape for parameter in network.parameters()]
    assert shapes == [parameter.shape for parameter in expected.parameters()]
    assert sum(shape.numel() for shape in shapes) == parameters


@pytest.mark.parametrize("node", [neuron.LIFNode, neuron.ParametricLIFNode])
@pytest.mark.parametrize("mode", ["evaluation", "training", "training with dropout"])
@pytest.mark.parametrize("net", NETS, ids=NAMES)
def test_outputs_gradients_and_statistics_equal_spikingjellys(net: tuple[Any, ...], mode: str, node: type):
    name, make, classes, poolings = net
    dropout = 0.5 if "dropout" in mode else 0.0

    def make_neuron() -> nn.Module:
        return node(surrogate_function=surrogate.ATan(), detach_reset=True, step_mode="m")

    ours = PLIFNet(
        NetworkConfig(name, width=1 / 16, dropout=dropout, batch_norm="joint"),
        make_neuron,
        channels=2,
        classes=classes,
        size=(128, 128),
    ).double()
    torch.manual_seed(3)
    theirs = make(channels=8, spiking_neuron=make_neuron)
    # Their 512 hidden neurons are fixed; ours follow the width.
    theirs.conv_fc[-6] = layer.Linear(8 * (128 >> poolings) ** 2, 32)
    theirs.conv_fc[-3] = layer.Linear(32, 10 * classes)
    functional.set_step_mode(theirs.double(), "m")
    for module in theirs.modules():
        if isinstance(module, layer.Dropout):
            assert module.p == 0.5
            module.p = dropout
    enliven(theirs)
    ours.load_state_dict(dict(zip(ours.state_dict(), theirs.state_dict().values(), strict=True)))
    x = frames(3, 2, 2, 128, 128).double()
    found, expected = (trained_once(net.train(mode != "evaluation"), x, seed=5) for net in (ours, theirs))
    assert found["output"][0].shape == (3, 2, classes)
    assert_equal(found, expected)


def test_the_network_for_cifar10_equals_spikingjellys():
    def make_neuron() -> nn.Module:
        return neuron.LIFNode(surrogate_function=surrogate.ATan(), detach_reset=True, step_mode="m")

    config = NetworkConfig("plif-net-cifar10", width=1 / 16, dropout=0.5, batch_norm="joint")
    ours = PLIFNet(config, make_neuron, channels=3, classes=10, size=(32, 32)).double()
    theirs = parametric_lif_net.CIFAR10Net(channels=16, spiking_neuron=make_neuron)
    theirs.conv_fc[-6], theirs.conv_fc[-3] = layer.Linear(16 * 64, 128), layer.Linear(128, 100)
    functional.set_step_mode(theirs.double(), "m")
    enliven(theirs)
    ours.load_state_dict(dict(zip(ours.state_dict(), theirs.state_dict().values(), strict=True)))
    x = frames(3, 2, 3, 32, 32).double()
    assert_equal(*(trained_once(net, x, seed=5) for net in (ours, theirs)))
    whole = build(NetworkConfig("plif-net-cifar10"), channels=3)
    expected = parametric_lif_net.CIFAR10Net(spiking_neuron=neuron.IFNode)
    assert [value.shape for value in whole.parameters()] == [value.shape for value in expected.parameters()]


@pytest.mark.parametrize("neuron", ["lif", "clif", "plif"])
@pytest.mark.parametrize("name", NAMES)
def test_per_step_equals_one_call_for_each_time_step(name: str, neuron: str):
    class Loop(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = make()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.cat([self.inner(step[None]) for step in x])

    def make() -> nn.Module:
        config = NeuronConfig(neuron, surrogate="atan", alpha=2.0, backend="torch")
        network = build(NetworkConfig(name, width=1 / 8, dropout=0.3), config).double()
        enliven(network)
        return network

    x = frames(4, 3, 2, 32, 32).double()
    found = trained_once(make(), x, seed=4)
    assert_equal(found, trained_once(Loop(), x, seed=4))
    joint = build(NetworkConfig(name, width=1 / 8, batch_norm="joint")).double()
    joint(x)
    assert [int(buffer) for buffer in joint.buffers() if buffer.dim() == 0] == [1] * len(convolutions(joint))
    assert {int(buffer) for buffer in found["buffers"] if not buffer.is_floating_point()} == {4}


def convolutions(network: nn.Module) -> list[nn.Conv2d]:
    return [module for module in network.modules() if isinstance(module, nn.Conv2d)]


@pytest.mark.parametrize("net", NETS, ids=NAMES)
def test_every_neuron_is_a_spiking_layer_and_ten_vote_for_each_class(net: tuple[Any, ...]):
    name, *_, poolings = net
    network = build(NetworkConfig(name, width=1 / 16), classes=7)
    names = [f"features.conv{n}.neuron" for n in range(1, poolings + 1)] + ["hidden.neuron", "voters.neuron"]
    assert list(neuron_layers(network)) == names
    assert sum(isinstance(module, MaxPool) for module in network.modules()) == poolings
    enliven(network)
    spikes: list[torch.Tensor] = []
    network.voters.register_forward_hook(lambda _module, _inputs, out: spikes.append(out))
    out = network(frames(4, 2, 2, 32, 32))
    assert out.shape == (4, 2, 7) and spikes[0].shape == (4, 2, 70)
    for number in range(7):
        voters = spikes[0][..., 10 * number : 10 * number + 10]
        torch.testing.assert_close(out[..., number], voters.sum(-1) / 10)
    assert out.any()


def test_width_multiplies_hidden_channels_and_hidden_neurons_only():
    network = build(NetworkConfig("plif-net-gesture", width=0.25), channels=3, size=(96, 70))
    assert [module.out_channels for module in convolutions(network)] == [32] * 5
    assert convolutions(network)[0].in_channels == 3 and not any(
        module.bias is not None for module in convolutions(network)
    )
    linear = network.hidden.linear, network.voters.linear
    assert [(module.in_features, module.out_features) for module in linear] == [(32 * 3 * 2, 128), (128, 100)]


def test_with_gap_the_hidden_layer_sees_the_mean_of_the_last_map():
    network = build(NetworkConfig("plif-net-cifar10dvs", head="gap"), size=(48, 48))
    assert network.hidden.linear.in_features == 128
    assert build(NetworkConfig("plif-net-cifar10dvs"), size=(48, 48)).hidden.linear.in_features == 128 * 9
    maps: dict[str, torch.Tensor] = {}
    network.features.register_forward_hook(lambda _module, _inputs, out: maps.update(features=out))
    network.hidden.register_forward_hook(lambda _module, inputs, _out: maps.update(seen=inputs[0]))
    network(frames(2, 3, 2, 48, 48))
    torch.testing.assert_close(maps["seen"], maps["features"].mean((3, 4)))
    assert maps["seen"].any()


def test_dropout_stands_in_front_of_the_linear_layers_and_keeps_its_masks_until_the_reset():
    network = build(NetworkConfig("plif-net-gesture", width=0.25, dropout=0.4))
    names = {name: module.p for name, module in network.named_modules() if isinstance(module, layer.Dropout)}
    assert names == {"hidden.dropout": 0.4, "voters.dropout": 0.4}
    network(frames(4, 3, 2, 32, 32))
    mask = network.hidden.dropout.mask
    assert mask.shape == (3, 32) and 0.1 < (mask == 0).float().mean() < 0.7
    reset_network(network)
    assert network.hidden.dropout.mask is None
    plain = build(NetworkConfig("plif-net-gesture", width=0.25))
    assert not any(isinstance(module, layer.Dropout) for module in plain.modules())


def test_initial_weights_are_torchs_own_each_layers_from_its_name():
    network = build(NetworkConfig("plif-net-cifar10dvs", width=0.25), NeuronConfig("plif"), seed=9)
    for name, module in network.named_modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            words = (module.in_channels, module.out_channels, 3) if isinstance(module, nn.Conv2d) else ()
            with seeded(9, name):
                if words:
                    expected: nn.Module = nn.Conv2d(*words, bias=False)
                else:
                    expected = nn.Linear(module.in_features, module.out_features)
            assert all(torch.equal(module.state_dict()[key], value) for key, value in expected.state_dict().items())
    assert network.hidden.linear.bias.any()
    # A neuron with weights of its own changes none of the layers'.
    lif = build(NetworkConfig("plif-net-cifar10dvs", width=0.25), NeuronConfig("lif"), seed=9).state_dict()
    plif = network.state_dict()
    assert len(plif) == len(lif) + 6 and all(torch.equal(plif[key], lif[key]) for key in lif)


def test_the_largest_of_each_block_is_kept_and_the_first_of_equals_takes_the_gradient():
    x = torch.tensor([[0.0, 1.0, 5.0], [1.0, 1.0, 5.0], [7.0, 7.0, 7.0]]).view(1, 1, 1, 3, 3).requires_grad_()
    out = MaxPool()(x)
    assert out.shape == (1, 1, 1, 1, 1) and out.item() == 1.0
    out.sum().backward()
    assert x.grad.flatten().tolist() == [0.0, 1.0] + [0.0] * 7


@pytest.mark.parametrize("neuron", ["lif", "clif", "plif"])
def test_it_learns_to_tell_two_patterns_apart(neuron: str):
    config = NeuronConfig(neuron, surrogate="atan", alpha=2.0)
    network = build(NetworkConfig("plif-net-cifar10dvs", width=1 / 8), config, classes=2, size=(16, 16))
    optimiser = torch.optim.Adam(network.parameters(), 0.01)
    labels = torch.arange(8) % 2
    x = frames(4, 8, 2, 16, 16) * 0.5
    x[:, labels == 1, :, :8] += 1.0
    for _ in range(30):
        out = network(x).mean(0)
        loss = nn.functional.mse_loss(out, nn.functional.one_hot(labels, 2).float())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        reset_network(network)
    assert loss.item() < 0.05 and torch.equal(out.argmax(1), labels)
