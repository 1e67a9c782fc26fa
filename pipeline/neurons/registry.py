"""Neurons by name; names from outside point to a class."""

from __future__ import annotations

import difflib
from collections.abc import Callable

from spikingjelly.activation_based.base import StepModule
from torch import nn

from pipeline.config.custom_classes import is_outside, make_outside
from pipeline.config.run_config import NeuronConfig
from pipeline.neurons.clif.node import make_clif
from pipeline.neurons.controls import make_alif, make_clif_detached, make_clif_undecayed, make_lif_deep_reset
from pipeline.neurons.fixed_timesteps import make_glif, make_psn
from pipeline.neurons.lif.node import make_lif
from pipeline.neurons.spikingjelly_neurons import make_if, make_klif, make_plif, make_relu
from pipeline.neurons.surrogates import make_surrogate
from preprocess.errors import ConfigError

NEURONS: dict[str, Callable[[NeuronConfig], nn.Module]] = {
    "lif": make_lif,
    "clif": make_clif,
    "plif": make_plif,
    "klif": make_klif,
    "glif": make_glif,
    "psn": make_psn,
    "if": make_if,
    "relu": make_relu,
    "alif": make_alif,
    "lif-reset1.8": make_lif_deep_reset,
    "clif-detached": make_clif_detached,
    "clif-undecayed": make_clif_undecayed,
}
FUSED = ("lif", "clif", "lif-reset1.8", "clif-detached")


def make_neuron(config: NeuronConfig) -> nn.Module:
    """A multi-step neuron, input current (T, B, ...) to spikes of the same shape.

    A class from outside is called with those of tau, v_threshold, surrogate_function and step_mode that its
    constructor takes; v_reset, decay_input and detach_reset where it has SpikingJelly's words.

    Raises:
        ConfigError: If there is no neuron of the name, no kernel for the backend, or no T for one that is bound to it.
    """
    if config.backend == "fused" and config.name not in FUSED:
        kernels = ", ".join(FUSED)
        raise ConfigError(f"neuron.backend: fused kernels are for {kernels}, found '{config.name}'. Use auto or torch.")
    if is_outside(config.name):
        neuron = _make_outside(config)
    elif config.name in NEURONS:
        neuron = NEURONS[config.name](config)
    else:
        near = difflib.get_close_matches(config.name, NEURONS, n=1, cutoff=0.4)
        hint = f"Did you mean '{near[0]}'?" if near else "A class of your own is named path/to/file.py:Class."
        raise ConfigError(f"neuron.name: expected one of {', '.join(NEURONS)}, found '{config.name}'. {hint}")
    # What marks a spiking layer for counters, whatever class it is.
    neuron.is_neuron = True  # type: ignore[assignment]
    return neuron


def _make_outside(config: NeuronConfig) -> nn.Module:
    words = {
        "tau": float(config.tau),
        "v_threshold": float(config.v_threshold),
        "v_reset": 0.0 if config.reset == "hard" else None,
        "decay_input": config.decay_input,
        "detach_reset": config.detach_reset,
        "surrogate_function": make_surrogate(config),
        "step_mode": "m",
    }
    neuron = make_outside(config.name, "neuron.name", words)
    if isinstance(neuron, StepModule) and neuron.step_mode != "m":
        # A constructor without the word leaves SpikingJelly's single step, which would take T for the batch.
        if "m" not in neuron.supported_step_mode():
            raise ConfigError(f"neuron.name: expected a multi-step neuron, found '{config.name}' of single steps only")
        neuron.step_mode = "m"
    return neuron
