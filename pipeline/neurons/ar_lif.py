"""AR-LIF: LIF whose reset follows the history of inputs and spikes, and whose threshold follows the input."""

from __future__ import annotations

import torch
from spikingjelly.activation_based import surrogate
from torch import nn

from pipeline.config.run_config import NeuronConfig
from pipeline.config.surrogates import make_surrogate
from pipeline.neurons.stepped_node import SteppedNode
from pipeline.neurons.truncation import Truncation


class ARLIFNode(SteppedNode):
    """The adaptive-reset LIF neuron of Huang et al. (arXiv 2507.20746), as in the authors' code.

    With sigma the logistic function and a and c learnt: u[t] = (1 - 1/tau) v[t-1] + x[t];
    theta[t] = v_th + tanh(a) tanh(x[t]); s[t] = 1 where u[t] >= theta[t], else 0;
    m[t] = m[t-1] d[t] + (2 s[t] - 1) sigma(x[t]), where d[t] is sigma(c x[t]) if m[t-1] > 0, and 1 - sigma(c x[t]) if
    it is negative; v[t] = u[t] - s[t] (theta[t] + sigma(m[t])).

    Args:
        tau: Time constant in time steps, > 1; the authors' decay of 0.5 is that of the default.
        v_threshold: v_th.
        surrogate_function: Surrogate gradient of the spike.
        step_mode: ``s`` for one step (B, ...), ``m`` for sequences (T, B, ...).
        temporal_window: As for `SteppedNode`.
        truncation: Likewise.

    Attributes:
        a: Strength of the threshold's adaptation before tanh, shared by a layer; 0 at first.
        c: Sensitivity of the decay of m to the input, shared by a layer; 1 at first.
    """

    def __init__(
        self,
        tau: float = 2.0,
        v_threshold: float = 1.0,
        surrogate_function: surrogate.SurrogateFunctionBase | None = None,
        step_mode: str = "s",
        *,
        temporal_window: int | None = None,
        truncation: Truncation = "block",
    ) -> None:
        super().__init__(
            v_threshold, surrogate_function, step_mode, temporal_window=temporal_window, truncation=truncation
        )
        self.tau = float(tau)
        self.a = nn.Parameter(torch.tensor(0.0))
        self.c = nn.Parameter(torch.tensor(1.0))
        self.register_memory("m", 0.0)

    def step(self, x: torch.Tensor, *states: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """x, v and m (B, ...) to spikes and the new v, m."""
        v, m = states
        u = v - v / self.tau + x
        threshold = self.v_threshold + self.a.tanh() * x.tanh()
        spikes = self.surrogate_function(u - threshold)
        decay = torch.sigmoid(self.c * x)
        m = m.relu() * decay - (-m).relu() * (1 - decay) + (2 * spikes - 1) * torch.sigmoid(x)
        return spikes, u - spikes * (threshold + torch.sigmoid(m)), m


def make_ar_lif(config: NeuronConfig) -> ARLIFNode:
    """AR-LIF with the initial values of its authors."""
    return ARLIFNode(
        float(config.tau),
        float(config.v_threshold),
        make_surrogate(config),
        "m",
        temporal_window=config.temporal_window,
        truncation=config.truncation,
    )
