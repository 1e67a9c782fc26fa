"""The complementary leaky integrate-and-fire neuron."""

from __future__ import annotations

from spikingjelly.activation_based.neuron import ComplementaryLIFNode

from pipeline.config import NeuronConfig
from pipeline.neurons.surrogates import make_surrogate


def make_clif(config: NeuronConfig) -> ComplementaryLIFNode:
    """CLIF: LIF whose reset grows with a complementary potential m that remembers spikes.

    With sigma the logistic function and u[t], s[t] as for LIF before the reset:
    m[t] = m[t-1] sigma(u[t] / tau) + s[t];  u[t] is then lowered by s[t] (v_th + sigma(m[t])).
    (Huang et al., ICML 2024, Algorithm 1.)
    """
    return ComplementaryLIFNode(
        tau=config.tau,
        v_threshold=config.v_threshold,
        surrogate_function=make_surrogate(config),
        step_mode="m",
    )
