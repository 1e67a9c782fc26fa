"""Control neurons: each has one of the differences between CLIF and LIF, and not the others.

`lif-reset1.8` only has CLIF's deeper reset, `clif-detached` has CLIF's spikes without the gradient through m,
`clif-undecayed` has m as a plain count of spikes, and `alif` has a different kind of adaptation.
"""

from __future__ import annotations

from typing import Any

import torch
from spikingjelly.activation_based import surrogate

from pipeline.config.run_config import NeuronConfig
from pipeline.config.surrogates import make_surrogate
from pipeline.neurons.clif.node import CLIFNode, make_clif
from pipeline.neurons.lif.node import LIFNode
from pipeline.neurons.stepped_node import SteppedNode
from pipeline.neurons.truncation import Truncation

# On noise, LIF with this reset has 99.5 % of CLIF's spikes: sigma(m) is at least 0.73 after any spike.
RESET_SCALE = 1.8


class UndecayedCLIFNode(CLIFNode):
    """CLIF whose m never decays: m[t] = m[t-1] + s[t] counts spikes independently of the potential.

    It runs step by step in PyTorch and is otherwise a `CLIFNode`.
    """

    def single_step_functional_forward(
        self, inputs: tuple[torch.Tensor, ...], states: tuple[Any, ...], **kwargs: object
    ) -> tuple[tuple[torch.Tensor, ...], tuple[Any, ...]]:
        """SpikingJelly's hook for one step: x, v and m (B, ...) to spikes and the new v, m."""
        (x,), (v, m) = inputs, states
        u = v - v / self.tau + x
        spikes = self.surrogate_function(u - self.v_threshold)
        m = m + spikes
        return (spikes,), (u - spikes * (self.v_threshold + torch.sigmoid(m)), m)


class AdaptiveLIFNode(SteppedNode):
    """LIF whose threshold rises with each spike and falls back (Bellec et al., NeurIPS 2018, Eqs. 1 and 2).

    u[t] = (1 - 1/tau) v[t-1] + x[t]; s[t] = 1 where u[t] >= v_th (1 + beta a[t-1]), else 0;
    a[t] = (1 - 1/tau_a) a[t-1] + s[t] / tau_a; v[t] = u[t] - v_th s[t]. Decays are 1 - 1/tau, as LIF's is here.

    Args:
        tau: Time constant of the membrane in time steps, > 1.
        v_threshold: v_th.
        surrogate_function: Surrogate gradient of the spike.
        step_mode: ``s`` for one step (B, ...), ``m`` for sequences (T, B, ...).
        beta: Increase of the threshold, in thresholds; 1.8 in the paper.
        tau_a: Time constant of the threshold in time steps, > 1; None means twice tau.
        temporal_window: As for `SteppedNode`.
        truncation: Likewise.
    """

    def __init__(
        self,
        tau: float = 2.0,
        v_threshold: float = 1.0,
        surrogate_function: surrogate.SurrogateFunctionBase | None = None,
        step_mode: str = "s",
        *,
        beta: float = 1.8,
        tau_a: float | None = None,
        temporal_window: int | None = None,
        truncation: Truncation = "block",
    ) -> None:
        super().__init__(
            v_threshold, surrogate_function, step_mode, temporal_window=temporal_window, truncation=truncation
        )
        self.tau, self.beta = float(tau), float(beta)
        self.tau_a = 2 * self.tau if tau_a is None else float(tau_a)
        self.register_memory("a", 0.0)

    def step(self, x: torch.Tensor, *states: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """x, v and a (B, ...) to spikes and the new v, a."""
        v, a = states
        u = v - v / self.tau + x
        spikes = self.surrogate_function(u - self.v_threshold * (1 + self.beta * a))
        return spikes, u - spikes * self.v_threshold, a + (spikes - a) / self.tau_a


def make_lif_deep_reset(config: NeuronConfig) -> LIFNode:
    """LIF whose soft reset lowers the potential by 1.8 thresholds, about as much as CLIF's reset."""
    return LIFNode(
        float(config.tau),
        decay_input=False,
        v_threshold=float(config.v_threshold),
        v_reset=None,
        surrogate_function=make_surrogate(config),
        step_mode="m",
        reset_scale=RESET_SCALE,
        temporal_window=config.temporal_window,
        truncation=config.truncation,
        backend=config.backend,
    )


def make_clif_detached(config: NeuronConfig) -> CLIFNode:
    """CLIF whose m is treated as a constant in the gradient: the same weights give the same spikes."""
    return make_clif(config, detach_m=True)


def make_clif_undecayed(config: NeuronConfig) -> UndecayedCLIFNode:
    """CLIF without the decay of m."""
    return UndecayedCLIFNode(
        *_arguments(config),
        temporal_window=config.temporal_window,
        truncation=config.truncation,
        backend=config.backend,
    )


def make_alif(config: NeuronConfig) -> AdaptiveLIFNode:
    """LIF with an adaptive threshold."""
    return AdaptiveLIFNode(*_arguments(config), temporal_window=config.temporal_window, truncation=config.truncation)


def _arguments(config: NeuronConfig) -> tuple[float, float, surrogate.SurrogateFunctionBase, str]:
    return float(config.tau), float(config.v_threshold), make_surrogate(config), "m"
