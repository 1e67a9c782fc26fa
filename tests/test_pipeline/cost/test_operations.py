"""Operations of a network: Table 6's MACs to the digits that the paper gives, and layers counted by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from pipeline.config.neurons import traits_of
from pipeline.config.run_config import NetworkConfig, NeuronConfig
from pipeline.cost.operations import Operations, count_operations, macs_per_step
from pipeline.networks import build_network


def count(network: str, neuron: str = "lif", *, channels: int = 2, classes: int, side: int, **words) -> Operations:
    steps = 3 if neuron == "psn" else 1
    built = build_network(
        NetworkConfig(name=network, **words),
        NeuronConfig(name=neuron),
        channels=channels,
        classes=classes,
        size=(side, side),
        timesteps=steps,
        seed=1,
    )
    return count_operations(built, torch.ones(steps, 1, channels, side, side))


@pytest.mark.parametrize(
    ("words", "millions"),
    [
        (("spiking-vgg13", 3, 200, 64), {"lif": 278.84, "clif": 282.83, "relu": 922.56}),
        (("spiking-resnet18", 3, 10, 32), {"lif": 2.89, "clif": 5.12, "relu": 557.65}),
        (("spiking-resnet18", 3, 100, 32), {"lif": 2.93, "clif": 5.16, "relu": 557.7}),
        (("spiking-vgg11", 2, 10, 48), {"lif": 152.50, "clif": 153.87}),
        (("spiking-vgg11", 2, 11, 128), {"lif": 1083, "clif": 1093}),
    ],
)
def test_macs_are_table_6s(words: tuple[str, int, int, int], millions: dict[str, float]):
    network, channels, classes, side = words
    for neuron, expected in millions.items():
        operations = count(network, neuron, channels=channels, classes=classes, side=side)
        found = macs_per_step(operations, traits_of(neuron).macs_per_step(1)) / 1e6
        digits = 2 if isinstance(expected, float) else 0
        assert round(found, digits) == expected, neuron


def test_layers_of_a_small_network_are_counted_by_hand():
    operations = count("spiking-vgg-small", classes=3, side=16, width=0.125, head="gap", dropout=0.5)
    by_name = {layer.name: layer for layer in operations.layers}
    conv2 = by_name["features.conv2.conv"]
    # 3 channels of 8x8 pixels become 6.
    assert (conv2.kind, conv2.macs, conv2.parameters, conv2.outputs) == ("conv", 6 * 8 * 8 * 3 * 9, 6 * 28, 6 * 8 * 8)
    assert by_name["features.pool1"].macs == 4 * 3 * 8 * 8
    assert by_name["pool"].macs == 0
    assert by_name["features.conv1.norm"].macs == 0 and by_name["features.conv1.norm"].parameters == 6
    assert by_name["classifier"].macs == 12 * 3
    assert operations.neurons == 3 * 16 * 16 + 6 * 8 * 8 + 12 * 4 * 4
    assert operations.macs == 3 * 16 * 16 * 2 * 9 + conv2.macs + 12 * 4 * 4 * 6 * 9 + 36
    assert operations.parameters == sum(layer.parameters for layer in operations.layers)


def test_what_follows_a_neuron_or_a_max_pooling_is_binary_and_what_follows_an_average_is_not():
    def binary(network: str) -> dict[str, bool]:
        operations = count(network, classes=3, side=32, width=0.1, dropout=0.5)
        return {layer.name: layer.binary_input for layer in operations.of("conv", "linear")}

    vgg = binary("spiking-vgg11")
    assert [name for name, only_spikes in vgg.items() if only_spikes] == [
        "features.conv4.conv", "features.conv6.conv", "features.conv8.conv"
    ]  # fmt: skip
    plif = binary("plif-net-gesture")
    assert [name for name, only_spikes in plif.items() if not only_spikes] == ["features.conv1.conv"]


def test_flattened_spikes_are_spikes_however_they_lie_in_memory():
    """At 128x128 the last map of plif-net is larger than a pixel, so that flattening copies it."""
    operations = count("plif-net-gesture", classes=11, side=128, width=0.1, dropout=0.5)
    assert [layer.name for layer in operations.of("conv", "linear") if not layer.binary_input] == [
        "features.conv1.conv"
    ]


def test_neurons_bound_to_t_are_counted_for_one_step():
    steps = count("spiking-vgg-small", "psn", classes=3, side=16, width=0.125)
    one = count("spiking-vgg-small", "lif", classes=3, side=16, width=0.125)
    assert (steps.macs, steps.neurons) == (one.macs, one.neurons)


def test_counting_leaves_the_network_as_it_was():
    network = nn.Sequential(nn.Flatten(2), nn.Linear(2 * 16 * 16, 3), nn.Dropout())
    network[2].eval()
    operations = count_operations(network, torch.ones(2, 5, 2, 16, 16))
    assert [(layer.name, layer.macs) for layer in operations.layers] == [("1", 3 * 512)]
    assert network[1].training and not network[2].training
    assert not network[1]._forward_hooks


def test_grouped_convolutions_and_layers_called_twice():
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(4, 4, 3, padding=1, groups=2)

        def forward(self, frames: torch.Tensor) -> torch.Tensor:
            return self.conv(self.conv(frames[0]))[None]

    operations = count_operations(Twice(), torch.ones(1, 2, 4, 5, 5))
    assert operations.macs == 2 * (4 * 25 * 2 * 9)


def test_the_products_and_sums_of_attention_are_counted_by_hand():
    """Frames of 16x16 pixels become 4x4 tokens of 32 channels; 12 heads of 2 channels for Spikformer."""
    driven = count("spike-driven-transformer", classes=3, side=16, width=1 / 16)
    by_name = {layer.name.removeprefix("blocks.attention1.branch."): layer for layer in driven.layers}
    masks = [by_name[name] for name in ("key_mask", "query_mask")]
    assert [(layer.kind, layer.macs, layer.binary_input) for layer in masks] == 2 * [("mask", 32 * 16, True)]
    columns = by_name["column_sum"]
    assert (columns.kind, columns.macs, columns.source) == ("sum", 32 * 16, "blocks.attention1.branch.key_mask")
    assert by_name["project"].source == "blocks.attention1.branch.query_mask"
    assert [layer.name for layer in driven.of("conv", "linear", "mask", "sum") if not layer.binary_input] == [
        "patches.stages.conv1.conv"
    ]
    weights = sum(layer.macs for layer in driven.of("conv", "linear"))
    assert driven.macs == weights + 2 * 2 * 32 * 16
    # Without products of other numbers: only the first layer multiplies.
    assert macs_per_step(driven, 0) == driven.of("conv")[0].macs

    spiking = count("spikformer", classes=3, side=16, width=1 / 16)
    products = spiking.of("product")
    assert [layer.macs for layer in products] == 8 * [12 * 2 * 2 * 16]
    assert [layer.source.rpartition("branch.")[2] for layer in products] == 4 * ["value.neuron", "query.neuron"]


def test_networks_of_relus_multiply_in_attention_too():
    driven = count("spike-driven-transformer", "relu", classes=3, side=16, width=1 / 16)
    assert not any(layer.binary_input for layer in driven.layers)
    assert macs_per_step(driven, 0) == driven.macs > sum(layer.macs for layer in driven.of("conv", "linear"))


@pytest.mark.parametrize("neuron", ["lif", "relu"])
def test_recurrent_connections_are_counted_in_every_step(neuron: str):
    operations = count("rsnn", neuron, classes=3, side=4, width=1 / 8)
    by_name = {layer.name: layer for layer in operations.layers}
    recurrent = by_name["hidden.layer1.neuron.recurrent"]
    assert (recurrent.macs, recurrent.parameters) == (16 * 16, 16 * 16)
    assert recurrent.source == ("" if neuron == "relu" else "hidden.layer1.neuron")
    assert operations.macs == 32 * 16 + 16 * 16 + 16 * 3 and operations.neurons == 16
