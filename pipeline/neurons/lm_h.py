"""LM-H: a neuron of two compartments whose couplings and leaks are learnt, from no leak at all on."""

from __future__ import annotations

import torch
from spikingjelly.activation_based import surrogate
from torch import nn

from pipeline.config.run_config import NeuronConfig
from pipeline.config.surrogates import make_surrogate
from pipeline.neurons.stepped_node import SteppedNode
from pipeline.neurons.truncation import Truncation


class LMHNode(SteppedNode):
    """The learnable multi-hierarchical neuron of Hao et al. (ICLR 2024), as in the authors' code.

    With sigma the logistic function and alpha and beta learnt:
    d[t] = (sigma(alpha_1) - 1/2) d[t-1] + (sigma(beta_1) - 1/2) v[t-1] + x[t];
    u[t] = (sigma(alpha_2) + 1/2) v[t-1] + (sigma(beta_2) + 1/2) d[t]; s[t] = 1 where u[t] >= v_th, else 0;
    v[t] = u[t] - v_th s[t]. The reset passes no gradient. The dendrite starts from 0 and the soma from v_th / 2. The
    authors' spikes are v_th high, and 1 in their experiments as here.

    Args:
        v_threshold: v_th, of the soma.
        surrogate_function: Surrogate gradient of the spike; the authors use the triangle of alpha 1.
        step_mode: ``s`` for one step (B, ...), ``m`` for sequences (T, B, ...).
        temporal_window: As for `SteppedNode`.
        truncation: Likewise.

    Attributes:
        alpha: Leaks of the dendrite and of the soma before the logistic function, (2,), shared by a layer; 0 at first,
            which is an integrate-and-fire neuron together with the initial beta.
        beta: Coupling of soma to dendrite and of dendrite to soma before the logistic function, (2,), likewise.
    """

    def __init__(
        self,
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
        self.alpha = nn.Parameter(torch.zeros(2))
        self.beta = nn.Parameter(torch.zeros(2))
        self.register_memory("d", 0.0)
        self.set_reset_value("v", v_threshold / 2)
        self.reset()

    def step(self, x: torch.Tensor, *states: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """x and the potentials v of the soma and d of the dendrite (B, ...) to spikes and the new v, d."""
        v, d = states
        of_dendrite, of_soma = torch.sigmoid(self.alpha)
        to_dendrite, to_soma = torch.sigmoid(self.beta)
        d = (of_dendrite - 0.5) * d + (to_dendrite - 0.5) * v + x
        u = (of_soma + 0.5) * v + (to_soma + 0.5) * d
        spikes = self.surrogate_function(u - self.v_threshold)
        return spikes, u - spikes.detach() * self.v_threshold, d


def make_lm_h(config: NeuronConfig) -> LMHNode:
    """LM-H with the initial values of its authors' code."""
    return LMHNode(
        float(config.v_threshold),
        make_surrogate(config),
        "m",
        temporal_window=config.temporal_window,
        truncation=config.truncation,
    )
