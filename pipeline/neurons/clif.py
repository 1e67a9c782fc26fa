"""The complementary leaky integrate-and-fire neuron."""

from __future__ import annotations

from typing import Any

import torch
from spikingjelly.activation_based.neuron import ComplementaryLIFNode

from pipeline.config import NeuronConfig
from pipeline.neurons.surrogates import make_surrogate


class CLIFNode(ComplementaryLIFNode):
    """SpikingJelly's node, its time steps taken apart at once: the same spikes and gradients in half the time.

    SpikingJelly indexes the input at every time step, and the gradient of each index is as large as the whole input.
    """

    def multi_step_functional_forward(
        self, inputs: tuple[torch.Tensor, ...], states: tuple[Any, ...], **words: Any
    ) -> tuple[tuple[torch.Tensor, ...], tuple[Any, ...]]:
        """Inputs and spikes (T, B, ...); states u and m, (B, ...)."""
        spikes = []
        for x in inputs[0].unbind(0):
            (spike,), states = self.single_step_functional_forward((x,), states, **words)
            spikes.append(spike)
        return (torch.stack(spikes),), states


def make_clif(config: NeuronConfig) -> CLIFNode:
    """CLIF: LIF whose reset grows with a complementary potential m that remembers spikes.

    With sigma the logistic function and u[t], s[t] as for LIF before the reset:
    m[t] = m[t-1] sigma(u[t] / tau) + s[t];  u[t] is then lowered by s[t] (v_th + sigma(m[t])).
    (Huang et al., ICML 2024, Algorithm 1.)
    """
    return CLIFNode(
        tau=float(config.tau),
        v_threshold=float(config.v_threshold),
        surrogate_function=make_surrogate(config),
        step_mode="m",
    )
