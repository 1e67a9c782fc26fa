"""Makes neurons by name: built-in ones (`pipeline.config.neurons`), registered ones, and custom classes."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

from spikingjelly.activation_based.base import StepModule
from torch import nn

from pipeline.config.custom_classes import is_outside, make_outside, make_registered
from pipeline.config.neurons import NEURONS as NEURONS
from pipeline.config.neurons import neuron_errors, traits_of
from pipeline.config.registrations import registration_of
from pipeline.config.run_config import NeuronConfig
from pipeline.config.surrogates import make_surrogate
from preprocess.errors import ConfigError


def make_neuron(config: NeuronConfig) -> nn.Module:
    """A multi-step neuron, input current (T, B, ...) to spikes of the same shape.

    A custom class is called with those of tau, v_threshold, surrogate_function, step_mode, v_reset, decay_input,
    detach_reset (under these names of SpikingJelly's), temporal_window and truncation that its constructor accepts.

    Raises:
        ConfigError: If there is no neuron of the name, it has no fused kernels although the backend asks for them, or T
            is missing for a neuron that needs it.
    """
    if config.backend == "fused" and not (config.name in NEURONS and traits_of(config.name).fused):
        fused = ", ".join(name for name, neuron in NEURONS.items() if neuron.traits.fused)
        raise ConfigError(
            f"neuron.backend: expected a neuron with fused kernels ({fused}), found '{config.name}'. Use auto or torch."
        )
    if is_outside(config.name):
        neuron = _multi_step(make_outside(config.name, "neuron.name", _constructor_arguments(config)), config.name)
    elif registration_of("neuron.name", config.name) is not None:
        neuron = _multi_step(make_registered(config.name, "neuron.name", {"config": config}), config.name)
    elif errors := list(neuron_errors(config.name)):
        raise ConfigError(*errors)
    else:
        neuron = _built_in(config.name)(config)
    # This marks a spiking layer for counters, whatever class it is.
    neuron.is_neuron = True  # type: ignore[assignment]
    return neuron


def _built_in(name: str) -> Callable[[NeuronConfig], nn.Module]:
    make = NEURONS[name].make
    assert isinstance(make, str), name
    module, _, function = make.partition(":")
    found: Callable[[NeuronConfig], nn.Module] = getattr(import_module(module), function)
    return found


def _constructor_arguments(config: NeuronConfig) -> dict[str, Any]:
    return {
        "tau": float(config.tau),
        "v_threshold": float(config.v_threshold),
        "v_reset": 0.0 if config.reset == "hard" else None,
        "decay_input": config.decay_input,
        "detach_reset": config.detach_reset,
        "surrogate_function": make_surrogate(config),
        "step_mode": "m",
        "temporal_window": config.temporal_window,
        "truncation": config.truncation,
    }


def _multi_step(neuron: nn.Module, name: str) -> nn.Module:
    if isinstance(neuron, StepModule) and neuron.step_mode != "m":
        # Without this argument SpikingJelly's nodes run single steps, which would take T for the batch.
        if "m" not in neuron.supported_step_mode():
            raise ConfigError(f"neuron.name: expected a multi-step neuron, found '{name}' of single steps only")
        neuron.step_mode = "m"
    return neuron
