"""Networks: their layers and sizes, where their weights come from, and how firing is counted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from spikingjelly.activation_based import layer, neuron
from torch import nn

from pipeline.config.inactive_fields import is_inactive
from pipeline.config.run_config import NetworkConfig, NeuronConfig, RunConfig, flatten, override
from pipeline.layers.pooling import AveragePool
from pipeline.networks import NETWORKS, SpikeCounter, build_network, neuron_layers, reset_network
from preprocess.errors import ConfigError

SMALL = NetworkConfig("spiking-vgg-small", width=0.25)


@pytest.fixture(autouse=True)
def one_thread():
    # Tensors are so small that a second thread would only be waited for.
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def build(network: NetworkConfig = SMALL, neuron: NeuronConfig | None = None, **words: Any) -> nn.Module:
    given = {"channels": 2, "classes": 10, "size": (16, 16), "timesteps": 4, "seed": 0} | words
    return build_network(network, neuron or NeuronConfig(), **given)


def frames(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.poisson(torch.full(shape, 0.5), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("name", "channels", "classes", "size", "parameters"),
    [
        ("spiking-vgg11", 2, 11, (128, 128), 9_501_387),
        ("spiking-vgg11", 2, 10, (48, 48), 9_476_298),
        ("spiking-vgg13", 3, 200, (64, 64), 14_428_680),
    ],
)
def test_spiking_vggs_have_as_many_parameters_as_the_papers(
    name: str, channels: int, classes: int, size: tuple[int, int], parameters: int
):
    network = build(NetworkConfig(name), channels=channels, classes=classes, size=size)
    assert sum(parameter.numel() for parameter in network.parameters()) == parameters


@pytest.mark.parametrize(
    ("name", "convolutions", "poolings"),
    [("spiking-vgg11", 8, 5), ("spiking-vgg16", 13, 5), ("spiking-vgg19", 16, 5), ("vggsnn", 8, 4)],
)
def test_networks_have_their_layers_and_map_frames_to_logits(name: str, convolutions: int, poolings: int):
    network = build(NetworkConfig(name, width=1 / 16), size=(48, 48), classes=7)
    assert list(neuron_layers(network)) == [f"features.conv{n}.neuron" for n in range(1, convolutions + 1)]
    assert sum(isinstance(module, AveragePool) for module in network.modules()) == poolings
    assert network(frames(3, 2, 2, 48, 48)).shape == (3, 2, 7)


@pytest.mark.parametrize("head", ["paper", "gap"])
@pytest.mark.parametrize("name", list(NETWORKS))
def test_any_size_that_survives_the_poolings_is_taken(name: str, head: str):
    for size in ((33, 50), (34, 34), (32, 32)):
        network = build(NetworkConfig(name, width=1 / 16, head=head), size=size)
        assert network(frames(2, 2, 2, *size)).shape == (2, 2, 10)


@pytest.mark.parametrize("name", list(NETWORKS))
def test_the_head_is_inactive_where_it_changes_nothing(name: str):
    shapes = [
        [
            parameter.shape
            for parameter in build(NetworkConfig(name, width=1 / 16, head=head), size=(64, 66)).parameters()
        ]
        for head in ("paper", "gap")
    ]
    inactive = is_inactive("network.head", flatten(override(RunConfig(), {"network.name": name})))
    assert inactive == (shapes[0] == shapes[1])


def test_heads_differ_in_what_the_linear_layer_sees():
    features = {
        (name, head): build(NetworkConfig(name, head=head), size=(48, 48)).classifier.in_features
        for name in ("spiking-vgg11", "vggsnn")
        for head in ("paper", "gap")
    }
    assert list(features.values()) == [512 * 49, 512, 512 * 9, 512]


def test_width_multiplies_hidden_channels_only():
    wide, narrow = build(replace(SMALL, width=2.0)), build(replace(SMALL, width=0.5))
    ratio = [a.out_channels / b.out_channels for a, b in zip(convolutions(wide), convolutions(narrow), strict=True)]
    assert ratio == [4.0, 4.0, 4.0]
    assert convolutions(wide)[0].in_channels == 2 and wide.classifier.out_features == 10
    assert convolutions(build(replace(SMALL, width=0.001)))[2].out_channels == 1


def convolutions(network: nn.Module) -> list[nn.Conv2d]:
    return [module for module in network.modules() if isinstance(module, nn.Conv2d)]


def test_a_network_equals_its_layers_run_one_time_step_at_a_time():
    network = build(replace(SMALL, dropout=0.3), NeuronConfig("clif", backend="torch")).double()
    x = frames(5, 3, 2, 16, 16).double()
    torch.manual_seed(4)
    found = network(x)
    reset_network(network)
    torch.manual_seed(4)
    steps = [network(step[None])[0] for step in x]
    torch.testing.assert_close(found, torch.stack(steps), rtol=1e-12, atol=1e-12)


def test_dropout_keeps_one_mask_for_all_time_steps_until_the_reset():
    network = build(replace(SMALL, dropout=0.5))
    masks = []
    first = next(module for module in network.modules() if isinstance(module, layer.Dropout))
    first.register_forward_hook(lambda _module, inputs, out: masks.append((inputs[0] > 0, out)))
    for _ in range(2):
        network(frames(6, 2, 2, 16, 16))
        reset_network(network)
    kept = []
    for fired, out in masks:
        dropped = (fired & (out == 0)).any(0)
        assert dropped.any() and not (dropped & (out > 0).any(0)).any()
        kept.append(dropped)
    assert not torch.equal(*kept)
    assert not any(isinstance(module, layer.Dropout) for module in build().modules())


@pytest.mark.parametrize("name", list(NETWORKS))
def test_every_dropout_of_a_network_follows_the_configuration(name: str):
    for mode in ("fixed", "per-step"):
        config = NetworkConfig(name, width=1 / 16, dropout=0.5, dropout_mask=mode)  # type: ignore[arg-type]
        drops = [
            module
            for module in build(config, size=(32, 32)).modules()
            if isinstance(module, (layer.Dropout, nn.Dropout))
        ]
        assert drops or name not in ("spiking-vgg11", "vggsnn", "plif-net-gesture")
        for drop in drops:
            out = drop.train()(torch.ones(6, 3, 40))
            assert {(step == out[0]).all().item() for step in out[1:]} == {mode == "fixed"}
            assert set(out.unique().tolist()) == {0.0, 2.0}
            assert torch.equal(drop.eval()(torch.ones(2, 3, 4)), torch.ones(2, 3, 4))


@pytest.mark.parametrize("name", ["spiking-vgg11", "vggsnn", "snn4"])
def test_linear_weights_are_drawn_as_configured_and_nothing_else_changes(name: str):
    normal, torchs = (
        build(NetworkConfig(name, width=1 / 8, linear_weights=weights), size=(32, 32)).state_dict()  # type: ignore[arg-type]
        for weights in ("normal", "torch")
    )
    differs = {part for part, value in normal.items() if not torch.equal(value, torchs[part])}
    assert differs == {"classifier.weight", "classifier.bias"}
    # Uniform up to 1 / sqrt(features), whose standard deviation is a sqrt(3)th of that.
    weight = torchs["classifier.weight"]
    bound = weight.shape[1] ** -0.5
    assert weight.abs().max() <= bound and weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.1)
    assert normal["classifier.weight"].std().item() == pytest.approx(0.01, rel=0.1)


@pytest.mark.parametrize("name", list(NETWORKS))
def test_networks_that_differ_in_the_neuron_start_equal_bit_for_bit(name: str):
    torch.manual_seed(0)
    narrow = NetworkConfig(name, width=0.125)
    lif = build(narrow, NeuronConfig("lif"), size=(32, 32)).state_dict()
    torch.manual_seed(1)
    clif = build(narrow, NeuronConfig("clif"), size=(32, 32)).state_dict()
    other = build(narrow, size=(32, 32), seed=1).state_dict()
    assert lif.keys() == clif.keys()
    assert all(torch.equal(lif[key], clif[key]) for key in lif)
    drawn = [key for key, value in lif.items() if value.dim() > 1]
    assert len(drawn) >= 3 and not any(torch.equal(lif[key], other[key]) for key in drawn)


def test_building_a_network_leaves_the_global_random_state_alone():
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    build()
    assert torch.equal(torch.rand(4), expected)


def test_initial_weights_have_the_papers_spread():
    network = build(NetworkConfig("spiking-vgg11", width=0.5), size=(48, 48))
    for convolution in convolutions(network):
        fan_out = convolution.out_channels * 9
        assert convolution.weight.std().item() == pytest.approx((2 / fan_out) ** 0.5, rel=0.1)
        assert not convolution.bias.any()
    assert network.classifier.weight.std().item() == pytest.approx(0.01, rel=0.02)
    assert not network.classifier.bias.any()


@pytest.mark.parametrize(
    ("name", "least"),
    [
        ("spiking-vgg11", 32),
        ("vggsnn", 16),
        ("spiking-vgg-small", 8),
        ("plif-net-gesture", 32),
        ("plif-net-cifar10dvs", 16),
        ("plif-net-cifar10", 4),
        ("modified-plif-net-gesture", 32),
        ("wide-7b", 16),
    ],
)
def test_frames_too_small_for_the_poolings_are_refused(name: str, least: int):
    network = NetworkConfig(name, width=1 / 16)
    assert build(network, size=(least, least))(frames(1, 2, 2, least, least)).shape == (1, 2, 10)
    message = rf"^{name}: expected frames of at least {least}x{least} pixels for its . poolings, found {least - 1}x50"
    with pytest.raises(ConfigError, match=message):
        build(network, size=(least - 1, 50))


def test_unknown_networks_name_the_nearest():
    with pytest.raises(ConfigError, match=r"network.name: .* rsnn, found 'vgg11'. Did you mean 'spiking-vgg11'"):
        build(NetworkConfig("vgg11"))


@pytest.mark.parametrize("size", [(6, 8), (7, 9), (1, 2), (2, 2)])
def test_average_pooling_equals_torchs(size: tuple[int, int]):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(3, 2, 4, *size, generator=generator, dtype=torch.float64)
    ours, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    if size[0] < 2:
        assert AveragePool()(ours).numel() == 0
        return
    found, expected = AveragePool()(ours), nn.functional.avg_pool2d(theirs.flatten(0, 1), 2).view(3, 2, 4, *half(size))
    weights = torch.randn(expected.shape, generator=generator, dtype=torch.float64)
    (found * weights).sum().backward()
    (expected * weights).sum().backward()
    torch.testing.assert_close(found, expected, rtol=1e-14, atol=1e-15)
    assert torch.equal(ours.grad, theirs.grad)


def half(size: tuple[int, int]) -> tuple[int, int]:
    return size[0] // 2, size[1] // 2


OWN = '''
import torch
from spikingjelly.activation_based import neuron
from torch import nn

class Flat(nn.Module):
    def __init__(self, make_neuron, channels, classes, size, timesteps):
        super().__init__()
        self.hidden = nn.Linear(channels * size[0] * size[1], 8)
        self.first = make_neuron()
        self.own = neuron.IFNode(step_mode="m")
        self.last = nn.Linear(8, classes)
        self.steps = timesteps

    def forward(self, x):
        return self.last(self.own(self.first(self.hidden(x.flatten(2)))))

class Learning(nn.Module):
    """A neuron with random parameters, around a node that is part of it."""
    def __init__(self, tau):
        super().__init__()
        self.inner = neuron.LIFNode(tau=tau, step_mode="m")
        self.gain = nn.Parameter(torch.rand(3))

    def forward(self, x):
        return self.inner(x)
'''


@pytest.fixture
def own(tmp_path: Path) -> Path:
    path = tmp_path / "own.py"
    path.write_text(OWN)
    return path


def test_a_network_from_outside_keeps_its_own_weights_whatever_the_neuron_draws(own: Path):
    networks = []
    for seed, name in enumerate(("clif", f"{own}:Learning", f"{own}:Learning")):
        torch.manual_seed(seed)
        networks.append(build(NetworkConfig(f"{own}:Flat"), NeuronConfig(name), timesteps=6))
    plain, learning, again = networks
    assert plain(frames(6, 2, 2, 16, 16)).shape == (6, 2, 10) and plain.steps == 6
    assert all(torch.equal(value, learning.state_dict()[key]) for key, value in plain.state_dict().items())
    assert torch.equal(learning.first.gain, again.first.gain)
    # Torch's own uniform weights of a linear layer, not the spread that our networks take.
    assert plain.hidden.weight.abs().max().item() <= 512**-0.5
    assert plain.last.bias.any()


def test_spiking_layers_are_the_made_ones_and_spikingjellys_each_once(own: Path):
    network = build(NetworkConfig(f"{own}:Flat"), NeuronConfig(f"{own}:Learning"))
    assert list(neuron_layers(network)) == ["first", "own"]


def test_resetting_forgets_the_last_sequence(own: Path):
    network = build(NetworkConfig(f"{own}:Flat"), NeuronConfig("clif"))
    x = frames(4, 3, 2, 16, 16)
    first = network(x)
    assert not torch.equal(network(x), first)
    reset_network(network)
    assert torch.equal(network(x), first)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_spikes_are_counted_exactly_over_all_batches(dtype: torch.dtype):
    network = build(SMALL, NeuronConfig("clif")).to(dtype)
    recorded: dict[str, list[torch.Tensor]] = {name: [] for name in neuron_layers(network)}
    for name, module in neuron_layers(network).items():
        module.register_forward_hook(lambda _m, _i, out, name=name: recorded[name].append(out.detach()))
    with torch.no_grad(), SpikeCounter(network) as counter:
        for batch in range(3):
            network(frames(4, 3 + batch, 2, 16, 16, seed=batch).to(dtype) * 3)
            reset_network(network)
    network(frames(4, 3, 2, 16, 16).to(dtype))
    spikes = {name: sum(int((out != 0).sum()) for out in outs[:3]) for name, outs in recorded.items()}
    elements = {name: sum(out.numel() for out in outs[:3]) for name, outs in recorded.items()}
    assert all(0 < spikes[name] < elements[name] for name in spikes)
    assert counter.rates() == {name: spikes[name] / elements[name] for name in spikes}
    assert counter.rate() == sum(spikes.values()) / sum(elements.values())


def test_a_counter_that_saw_nothing_tells_zero_and_leaves_no_hook():
    network = build()
    with SpikeCounter(network) as counter:
        pass
    assert counter.rate() == 0.0 and set(counter.rates().values()) == {0.0}
    assert not any(module._forward_hooks for module in network.modules())
    with pytest.raises(ZeroDivisionError), SpikeCounter(network):
        raise ZeroDivisionError
    assert not any(module._forward_hooks for module in network.modules())


def test_a_network_learns_to_tell_two_patterns_apart():
    network = build(NetworkConfig("spiking-vgg-small", width=0.25), NeuronConfig("clif"), classes=2)
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
    assert isinstance(neuron_layers(network)["features.conv1.neuron"], neuron.ComplementaryLIFNode)
