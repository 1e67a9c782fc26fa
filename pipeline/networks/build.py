"""Networks by name; names from outside point to a class."""

from __future__ import annotations

import difflib
from collections.abc import Callable

import torch
from torch import nn

from pipeline.config import NetworkConfig, NeuronConfig
from pipeline.networks.initialisation import initialise
from pipeline.networks.spiking_vgg import PLANS, SpikingVGG
from pipeline.networks.vggsnn import VGGSNN
from pipeline.neurons import make_neuron
from pipeline.outside import is_outside, load_outside
from preprocess.errors import ConfigError

NETWORKS: dict[str, Callable[..., nn.Module]] = {**dict.fromkeys(PLANS, SpikingVGG), "vggsnn": VGGSNN}


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

    A class from outside is called as those here are: ``Class(config, make_neuron, channels=, classes=, size=)``,
    where `make_neuron()` gives a spiking layer.

    Args:
        network: Which, how wide, how it normalises.
        neuron: The spiking layers.
        channels: Of a frame, 2 for OFF and ON.
        classes: How many logits.
        size: Height and width of a frame.
        timesteps: T; the neurons here work with any.
        seed: Of the initial weights.

    Raises:
        ConfigError: If there is no such network or neuron, or frames are too small for it.
    """
    if is_outside(network.name):
        kind: Callable[..., nn.Module] = load_outside(network.name, "network.name")
    elif network.name in NETWORKS:
        kind = NETWORKS[network.name]
    else:
        near = difflib.get_close_matches(network.name, NETWORKS, n=1, cutoff=0.4)
        hint = f"Did you mean '{near[0]}'?" if near else "A class of your own is named path/to/file.py:Class."
        raise ConfigError(f"network.name: expected one of {', '.join(NETWORKS)}, found '{network.name}'. {hint}")
    # Constructors draw weights that are drawn again below: the global random state must not show it.
    with torch.random.fork_rng(devices=[]):
        built = kind(network, lambda: make_neuron(neuron), channels=channels, classes=classes, size=size)
    initialise(built, seed)
    return built
