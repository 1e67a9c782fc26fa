"""Neurons to compare with, SpikingJelly's own code: by default the CLIF paper's settings wherever one has them."""

from __future__ import annotations

from typing import Any

from spikingjelly.activation_based import neuron
from torch import nn

from pipeline.config.run_config import NeuronConfig
from pipeline.neurons.surrogates import make_surrogate


def make_plif(config: NeuronConfig) -> nn.Module:
    """LIF whose time constant is learnt, from tau on (Fang et al., ICCV 2021)."""
    return neuron.ParametricLIFNode(float(config.tau), decay_input=config.decay_input, **_words(config))


def make_klif(config: NeuronConfig) -> nn.Module:
    """LIF with a learnt slope in front of the threshold (Jiang and Zhang, 2023)."""
    return neuron.KLIFNode(False, float(config.tau), decay_input=config.decay_input, **_words(config))


def make_if(config: NeuronConfig) -> nn.Module:
    """Integrate and fire: LIF without a leak, so that tau has no part in it."""
    return neuron.IFNode(**_words(config))


def make_relu(_: NeuronConfig) -> nn.Module:
    """No neuron: what the same network reaches with real numbers in place of spikes."""
    return nn.ReLU()


def _words(config: NeuronConfig) -> dict[str, Any]:
    return {
        "v_threshold": float(config.v_threshold),
        "v_reset": 0.0 if config.reset == "hard" else None,
        "surrogate_function": make_surrogate(config),
        "detach_reset": config.detach_reset,
        "step_mode": "m",
    }
