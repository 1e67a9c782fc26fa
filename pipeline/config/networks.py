"""The networks by name, and every fact about a network that other parts of the package read.

A built-in network is one module under `pipeline.networks` and one entry in `NETWORKS`. The entries are here for the
reason of the neurons' (`pipeline.config.neurons`): they are read without loading torch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from preprocess.nearest_name import unknown_name


@dataclass(frozen=True)
class NetworkTraits:
    """What distinguishes a network from others; the defaults assume nothing about it.

    Attributes:
        has_head: Whether `network.head` has an effect: not where the last layer receives a mean over all positions
            anyway, or where there are no maps.
        has_nir: Whether NIR has a node for each of its layers.
    """

    has_head: bool = True
    has_nir: bool = False


@dataclass(frozen=True)
class Network:
    """An entry of `NETWORKS`.

    Attributes:
        make: The class, as ``package.module:Class``, imported on use.
        traits: Facts about the network.
    """

    make: str
    traits: NetworkTraits


_PLAIN = NetworkTraits(has_nir=True)
_MAX_POOLED = NetworkTraits()
# Transformers and recurrent layers, for which NIR has no nodes, average what the last layer receives.
_WITHOUT_HEAD = NetworkTraits(has_head=False)
_AVERAGED = NetworkTraits(has_head=False, has_nir=True)

NETWORKS: dict[str, Network] = {
    **dict.fromkeys(
        ("spiking-vgg11", "spiking-vgg13", "spiking-vgg16", "spiking-vgg19", "spiking-vgg-small"),
        Network("pipeline.networks.spiking_vgg:SpikingVGG", _PLAIN),
    ),
    **dict.fromkeys(
        ("plif-net-gesture", "plif-net-cifar10dvs", "plif-net-cifar10"),
        Network("pipeline.networks.plif_net:PLIFNet", _MAX_POOLED),
    ),
    **dict.fromkeys(
        ("modified-plif-net-cifar10", "modified-plif-net-gesture", "modified-plif-net-cifar10dvs"),
        Network("pipeline.networks.modified_plif_net:ModifiedPLIFNet", _PLAIN),
    ),
    **dict.fromkeys(
        ("spiking-resnet18", "spiking-resnet34"), Network("pipeline.networks.spiking_resnet:SpikingResNet", _AVERAGED)
    ),
    # With max pooling in the stem.
    **dict.fromkeys(("sew-resnet18", "sew-resnet34"), Network("pipeline.networks.sew_resnet:SEWResNet", _WITHOUT_HEAD)),
    **dict.fromkeys(("ms-resnet18", "ms-resnet34"), Network("pipeline.networks.ms_resnet:MSResNet", _AVERAGED)),
    "wide-7b": Network("pipeline.networks.wide_7b:Wide7B", _PLAIN),
    "snn4": Network("pipeline.networks.snn4:SNN4", _PLAIN),
    "snn5": Network("pipeline.networks.snn5:SNN5", _PLAIN),
    "vggsnn": Network("pipeline.networks.vggsnn:VGGSNN", _PLAIN),
    **dict.fromkeys(
        ("spike-driven-transformer", "spike-driven-transformer-gesture", "spike-driven-transformer-cifar10dvs"),
        Network("pipeline.networks.spike_driven_transformer:SpikeDrivenTransformer", _WITHOUT_HEAD),
    ),
    **dict.fromkeys(
        ("spikformer", "spikformer-dvs"), Network("pipeline.networks.spikformer:Spikformer", _WITHOUT_HEAD)
    ),
    "fc-snn": Network("pipeline.networks.fc_snn:FullyConnected", _AVERAGED),
    "rsnn": Network("pipeline.networks.fc_snn:FullyConnected", _WITHOUT_HEAD),
}
"""Built-in networks."""

_UNKNOWN = NetworkTraits()


def network_traits(name: str) -> NetworkTraits:
    """Facts about a network; a registered network and a class from a file may have any trait."""
    return NETWORKS[name].traits if name in NETWORKS else _UNKNOWN


def network_errors(name: str) -> Iterator[str]:
    """A line if no built-in network has this name."""
    if name not in NETWORKS:
        other = "Name a custom class, path/to/file.py:Class; a program can also call pipeline.register_network first."
        yield unknown_name("network.name", name, NETWORKS, other)
