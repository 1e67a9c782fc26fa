"""The leaky integrate-and-fire neuron."""

from __future__ import annotations

from spikingjelly.activation_based.neuron import LIFNode

from pipeline.config import NeuronConfig
from pipeline.neurons.surrogates import make_surrogate


def make_lif(config: NeuronConfig) -> LIFNode:
    """LIF as the CLIF paper has it: undecayed input, soft reset, gradient through the reset.

    u[t] = (1 - 1/tau) (u[t-1] - v_th s[t-1]) + x[t];  s[t] = 1 where u[t] >= v_th, else 0.
    (Huang et al., ICML 2024, Eqs. 1-3.)
    """
    return LIFNode(
        tau=float(config.tau),
        decay_input=False,
        v_threshold=float(config.v_threshold),
        v_reset=None,
        surrogate_function=make_surrogate(config),
        detach_reset=False,
        step_mode="m",
    )
