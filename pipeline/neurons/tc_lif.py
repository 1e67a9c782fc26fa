"""TC-LIF: a neuron of two compartments, the dendrite and the soma."""

from __future__ import annotations

import torch
from spikingjelly.activation_based import surrogate
from torch import nn

from pipeline.config.run_config import NeuronConfig
from pipeline.config.surrogates import make_surrogate
from pipeline.neurons.stepped_node import SteppedNode
from pipeline.neurons.truncation import Truncation


class TCLIFNode(SteppedNode):
    """The two-compartment LIF neuron of Zhang et al. (AAAI 2024, arXiv 2308.13250), with its soft reset.

    With sigma the logistic function and c learnt: p[t] = d[t-1] - sigma(c_1) v[t-1] + x[t];
    u[t] = v[t-1] + sigma(c_2) p[t]; s[t] = 1 where u[t] >= v_th, else 0; d[t] = p[t] - gamma s[t];
    v[t] = u[t] - v_th s[t]. Neither compartment leaks by itself: their coupling decides what is forgotten.

    Args:
        v_threshold: v_th, of the soma.
        surrogate_function: Surrogate gradient of the spike.
        step_mode: ``s`` for one step (B, ...), ``m`` for sequences (T, B, ...).
        gamma: Decrease of the dendrite's potential after a spike; 0.5 in the authors' code.
        temporal_window: As for `SteppedNode`.
        truncation: Likewise.

    Attributes:
        c: Coupling of soma to dendrite and of dendrite to soma before the logistic function, (2,), shared by a layer; 0
            at first.
    """

    def __init__(
        self,
        v_threshold: float = 1.0,
        surrogate_function: surrogate.SurrogateFunctionBase | None = None,
        step_mode: str = "s",
        *,
        gamma: float = 0.5,
        temporal_window: int | None = None,
        truncation: Truncation = "block",
    ) -> None:
        super().__init__(
            v_threshold, surrogate_function, step_mode, temporal_window=temporal_window, truncation=truncation
        )
        self.gamma = float(gamma)
        self.c = nn.Parameter(torch.zeros(2))
        self.register_memory("d", 0.0)

    def step(self, x: torch.Tensor, *states: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """x and the potentials v of the soma and d of the dendrite (B, ...) to spikes and the new v, d."""
        v, d = states
        to_dendrite, to_soma = torch.sigmoid(self.c)
        d = d - to_dendrite * v + x
        u = v + to_soma * d
        spikes = self.surrogate_function(u - self.v_threshold)
        return spikes, u - spikes * self.v_threshold, d - self.gamma * spikes


def make_tc_lif(config: NeuronConfig) -> TCLIFNode:
    """TC-LIF with the initial values of its authors' code."""
    return TCLIFNode(
        float(config.v_threshold),
        make_surrogate(config),
        "m",
        temporal_window=config.temporal_window,
        truncation=config.truncation,
    )
