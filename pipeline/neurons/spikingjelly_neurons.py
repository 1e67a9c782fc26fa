"""SpikingJelly's neurons for comparison; by default with the CLIF paper's settings where they apply."""

from __future__ import annotations

from typing import Any

from spikingjelly.activation_based import neuron
from torch import nn

from pipeline.config.run_config import NeuronConfig
from pipeline.config.surrogates import make_surrogate


def make_plif(config: NeuronConfig) -> nn.Module:
    """LIF whose time constant is learnt, starting from tau (Fang et al., ICCV 2021)."""
    return neuron.ParametricLIFNode(float(config.tau), decay_input=config.decay_input, **_arguments(config))


def make_klif(config: NeuronConfig) -> nn.Module:
    """LIF with a learnt slope before the threshold (Jiang and Zhang, 2023)."""
    return neuron.KLIFNode(False, float(config.tau), decay_input=config.decay_input, **_arguments(config))


def make_if(config: NeuronConfig) -> nn.Module:
    """Integrate and fire: LIF without a leak; tau has no effect."""
    return neuron.IFNode(**_arguments(config))


def make_relu(_: NeuronConfig) -> nn.Module:
    """ReLU instead of a neuron, to show what the same network reaches with real numbers instead of spikes."""
    return nn.ReLU()


def _arguments(config: NeuronConfig) -> dict[str, Any]:
    return {
        "v_threshold": float(config.v_threshold),
        "v_reset": 0.0 if config.reset == "hard" else None,
        "surrogate_function": make_surrogate(config),
        "detach_reset": config.detach_reset,
        "step_mode": "m",
    }
