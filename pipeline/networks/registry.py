"""Networks by name: built-in ones, registered ones, and custom classes."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module

from torch import nn

from pipeline.config.custom_classes import is_outside, make_outside, make_registered
from pipeline.config.networks import NETWORKS as NETWORKS
from pipeline.config.networks import network_errors
from pipeline.config.registrations import registration_of
from pipeline.config.run_config import NetworkConfig, NeuronConfig
from pipeline.layers.blocks import MakeNeuron, SpikingBlock
from pipeline.layers.dropout import set_dropout_masks
from pipeline.networks.initialisation import initialise, seeded
from pipeline.neurons import make_neuron
from preprocess.errors import ConfigError


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

    A custom class is called with those of config, make_neuron, channels, classes, size and timesteps that its
    constructor accepts, where `make_neuron()` makes a spiking layer; it keeps the initial weights that it draws itself.

    Args:
        network: The network's name, width and normalisation.
        neuron: The spiking layers.
        channels: Channels of a frame: 2, OFF and ON, 1 (see `input.polarity`), or 3 of an image.
        classes: Number of logits.
        size: Height and width of a frame.
        timesteps: T. Built-in networks work with any; neurons with weights for each time step work with this T only.
        seed: Seed of the initial weights, which are the same for every neuron.

    Raises:
        ConfigError: If there is no such network or neuron, or frames are too small for it.
    """
    make_custom = _custom(network.name)
    if neuron.timesteps not in (None, timesteps):
        raise ConfigError(
            f"neuron.timesteps: expected T = {timesteps} as the frames have, found {neuron.timesteps}. Leave it out."
        )
    neuron = replace(neuron, timesteps=timesteps)
    if neuron.temporal_window is not None and neuron.temporal_window >= timesteps - 1:
        # No limit, and computed as such: in windows, the kernels that include batch norm are not used, and round
        # otherwise.
        neuron = replace(neuron, temporal_window=None)
    arguments = {
        "config": network,
        "make_neuron": _seeded_neurons(neuron, seed),
        "channels": channels,
        "classes": classes,
        "size": size,
    }
    with seeded(seed, "network"):
        if make_custom is not None:
            return make_custom(network.name, "network.name", arguments | {"timesteps": timesteps})
        built = _built_in(network.name)(**arguments)
    initialise(built, seed, network.linear_weights)
    set_dropout_masks(built, network.dropout_mask)
    # Random numbers fill weights in the order of memory, so the memory layout may only change now.
    for module in built.modules():
        if isinstance(module, SpikingBlock):
            module.lay_out()
    return built


def _custom(name: str) -> Callable[..., nn.Module] | None:
    """What makes a network of this name that is not built in, or None for one that is."""
    if is_outside(name):
        return make_outside
    if registration_of("network.name", name) is not None:
        if name in NETWORKS:
            raise ConfigError(
                f"network.name: expected a registered name that is not built in, found '{name}'. Rename it."
            )
        return make_registered
    if errors := list(network_errors(name)):
        raise ConfigError(*errors)
    return None


def _built_in(name: str) -> Callable[..., nn.Module]:
    module, _, kind = NETWORKS[name].make.partition(":")
    found: Callable[..., nn.Module] = getattr(import_module(module), kind)
    return found


def _seeded_neurons(config: NeuronConfig, seed: int) -> MakeNeuron:
    """Makes the neuron of each layer in turn, its random numbers independent of those of the layers around it."""
    numbers = itertools.count(1)

    def make(threshold_factor: float = 1.0) -> nn.Module:
        with seeded(seed, f"neuron {next(numbers)}"):
            neuron = make_neuron(replace(config, v_threshold=config.v_threshold * threshold_factor))
        # A custom network may contain other spiking layers, or only those.
        neuron.is_configured = True  # type: ignore[assignment]
        return neuron

    return make
