"""Networks by name; names from outside point to a class."""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Callable
from dataclasses import replace

from torch import nn

from pipeline.config.custom_classes import is_outside, make_outside
from pipeline.config.run_config import NetworkConfig, NeuronConfig
from pipeline.layers.blocks import ConvBlock, MakeNeuron
from pipeline.networks.initialisation import initialise, seeded
from pipeline.networks.plif_net import PLANS as PLIF_PLANS
from pipeline.networks.plif_net import PLIFNet
from pipeline.networks.snn5 import SNN5
from pipeline.networks.spiking_vgg import PLANS as VGG_PLANS
from pipeline.networks.spiking_vgg import SpikingVGG
from pipeline.networks.vggsnn import VGGSNN
from pipeline.neurons import make_neuron
from preprocess.errors import ConfigError

NETWORKS: dict[str, Callable[..., nn.Module]] = {
    **dict.fromkeys(VGG_PLANS, SpikingVGG),
    **dict.fromkeys(PLIF_PLANS, PLIFNet),
    "snn5": SNN5,
    "vggsnn": VGGSNN,
}


def build_network(
    network: NetworkConfig,
    neuron: NeuronConfig,
    *,
    channels: int,
    classes: int,
    size: tuple[int, int],
    timesteps: int,
    seed: int,
) -> nn.Module:
    """A network that maps frames (T, B, channels, H, W), float, to logits (T, B, classes).

    A class from outside is called with those of config, make_neuron, channels, classes, size and timesteps that its
    constructor takes, where `make_neuron()` gives a spiking layer; it keeps the initial weights that it draws itself.

    Args:
        network: Which, how wide, how it normalises.
        neuron: The spiking layers.
        channels: Of a frame, 2 for OFF and ON.
        classes: How many logits.
        size: Height and width of a frame.
        timesteps: T; the networks here work with any, neurons with weights for each time step with this one alone.
        seed: Of the initial weights: equal seeds start equal whatever the neuron.

    Raises:
        ConfigError: If there is no such network or neuron, or frames are too small for it.
    """
    outside = is_outside(network.name)
    if not outside and network.name not in NETWORKS:
        near = difflib.get_close_matches(network.name, NETWORKS, n=1, cutoff=0.4)
        hint = f"Did you mean '{near[0]}'?" if near else "A class of your own is named path/to/file.py:Class."
        raise ConfigError(f"network.name: expected one of {', '.join(NETWORKS)}, found '{network.name}'. {hint}")
    if neuron.timesteps not in (None, timesteps):
        raise ConfigError(
            f"neuron.timesteps: expected T = {timesteps} as the frames have, found {neuron.timesteps}. Leave it out."
        )
    neuron = replace(neuron, timesteps=timesteps)
    words = {
        "config": network,
        "make_neuron": _seeded_neurons(neuron, seed),
        "channels": channels,
        "classes": classes,
        "size": size,
    }
    with seeded(seed, "network"):
        if outside:
            return make_outside(network.name, "network.name", words | {"timesteps": timesteps})
        built = NETWORKS[network.name](**words)
    initialise(built, seed)
    # Random numbers fill weights in the order of memory: only now may it change.
    for module in built.modules():
        if isinstance(module, ConvBlock):
            module.lay_out()
    return built


def _seeded_neurons(config: NeuronConfig, seed: int) -> MakeNeuron:
    """Makes the neuron of each layer in turn, its own random numbers apart from those of the layers around it."""
    numbers = itertools.count(1)

    def make() -> nn.Module:
        with seeded(seed, f"neuron {next(numbers)}"):
            return make_neuron(config)

    return make
