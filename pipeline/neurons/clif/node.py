"""The complementary leaky integrate-and-fire neuron, fused over all time steps where possible."""

from __future__ import annotations

from typing import Any

import torch
from spikingjelly.activation_based import base, functional, surrogate
from spikingjelly.activation_based.neuron import ComplementaryLIFNode

from pipeline.config.run_config import NeuronConfig
from pipeline.config.surrogates import make_surrogate
from pipeline.kernels import norm_neuron
from pipeline.neurons.backend import (
    chooses_fused,
    find_obstacle,
    step_by_step,
    surrogate_kind,
    takes_norm,
)
from pipeline.neurons.clif import custom_op as clif_op
from pipeline.neurons.clif.custom_op import Settings
from pipeline.neurons.clif.with_norm import CLIFSteps
from pipeline.neurons.fused_node import AnyBackend, FusedNode
from pipeline.neurons.truncation import Truncation, check_window, in_windows


class CLIFNode(FusedNode, ComplementaryLIFNode):
    """SpikingJelly's `ComplementaryLIFNode` as a drop-in replacement.

    With sigma the logistic function: u[t] = (1 - 1/tau) v[t-1] + x[t]; s[t] = 1 where u[t] >= v_th, else 0;
    m[t] = m[t-1] sigma(u[t] / tau) + s[t]; v[t] = u[t] - s[t] (v_th + sigma(m[t])).
    (Huang et al., ICML 2024, Algorithm 1.)

    Args:
        tau: Time constant in time steps, > 1.
        v_threshold: v_th.
        surrogate_function: Surrogate gradient of the spike.
        step_mode: ``s`` for one step (B, ...), ``m`` for sequences (T, B, ...).
        store_state_seqs: Whether to keep v and m of every step, which runs SpikingJelly's code.
        detach_m: Whether m is treated as a constant in the gradient: a control for the effect of m's gradient.
        temporal_window: Maximum number of time steps through which gradients flow back; 0 for none, None for no limit.
        truncation: ``block`` cuts gradients between blocks of temporal_window + 1 steps; ``sliding`` between any two
            steps that are further apart than temporal_window, see `pipeline.neurons.truncation`.
        backend: ``auto`` runs fused where possible, ``torch`` never, ``fused`` always; SpikingJelly's ``cupy``,
            ``triton`` and ``inductor`` behave as ``auto``. It can also be set later.

    Raises:
        ConfigError: If temporal_window is negative, or states are stored.
        BackendError: If there is no such backend, or if it is ``fused`` and input or surrogate cannot run fused.
    """

    _states = 2

    def __init__(
        self,
        tau: float = 2.0,
        v_threshold: float = 1.0,
        surrogate_function: surrogate.SurrogateFunctionBase | None = None,
        step_mode: str = "s",
        store_state_seqs: bool = False,
        *,
        detach_m: bool = False,
        temporal_window: int | None = None,
        truncation: Truncation = "block",
        backend: AnyBackend = "auto",
    ) -> None:
        check_window(temporal_window, store_state_seqs)
        super().__init__(tau, v_threshold, surrogate_function or surrogate.Rect(alpha=1.0), step_mode, store_state_seqs)
        self.detach_m = detach_m
        self.temporal_window, self.truncation = temporal_window, truncation
        self.backend = backend

    def single_step_functional_forward(
        self, inputs: tuple[torch.Tensor, ...], states: tuple[Any, ...], **kwargs: object
    ) -> tuple[tuple[torch.Tensor, ...], tuple[Any, ...]]:
        """SpikingJelly's hook for one step: x, v and m (B, ...) to spikes and the new v, m."""
        (x,), (v, m) = inputs, states
        if not self.detach_m:
            # SpikingJelly's CLIF node steps without a gradient in evaluation mode, unlike its LIF node.
            spikes, v, m = functional.clif_step(x, v, m, self.tau, self.v_threshold, self.surrogate_function)
            return (spikes,), (v, m)
        u = v - v / self.tau + x
        spikes = self.surrogate_function(u - self.v_threshold)
        with torch.no_grad():
            m = m * torch.sigmoid(u / self.tau) + spikes
        return (spikes,), (u - spikes * (self.v_threshold + torch.sigmoid(m)), m)

    @property
    def takes_norm(self) -> bool:
        """Whether a call may pass the preceding batch norm as ``norm``; see `norm_neuron.can_fuse`."""
        return takes_norm(self, self.store_state_seqs) and not self.detach_m and not self._has_other_step

    @property
    def _has_other_step(self) -> bool:
        return type(self).single_step_functional_forward is not CLIFNode.single_step_functional_forward

    def multi_step_forward(self, x_seq: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        """(T, B, ...) to spikes of the same shape; SpikingJelly's own accepts no further arguments."""
        if self.store_state_seqs:
            return super().multi_step_forward(x_seq)
        return base.MemoryModule.multi_step_forward(self, x_seq, *args, **kwargs)

    def multi_step_functional_forward(
        self, inputs: tuple[torch.Tensor, ...], states: tuple[Any, ...], *, norm: Any = None, **kwargs: object
    ) -> tuple[tuple[torch.Tensor, ...], tuple[Any, ...]]:
        """SpikingJelly's hook for a whole sequence: x (T, B, ...) and v, m (B, ...) to spikes and the new v, m.

        If a batch norm is passed, x is the input of the batch norm.
        """
        if norm is not None:
            steps = CLIFSteps(self.tau, self.v_threshold, *surrogate_kind(self.surrogate_function))
            spikes, *after = norm_neuron.run(inputs[0], norm, states, steps)
            return (spikes,), tuple(after)
        return in_windows(self.temporal_window, self.truncation, inputs[0], states, self._run)

    def _run(self, x: torch.Tensor, states: tuple[Any, ...]) -> tuple[tuple[torch.Tensor, ...], tuple[Any, ...]]:
        other = "expected CLIF's own step, found a subclass with another" if self._has_other_step else None
        if not chooses_fused(self.fused_backend, other or find_obstacle(self, x)):
            return step_by_step(self, x, states)
        kind, alpha = surrogate_kind(self.surrogate_function)
        settings = Settings(float(self.tau), float(self.v_threshold), kind, alpha, self.detach_m)
        v, m = states
        spikes, v, m = clif_op.run(x, v, m, settings)
        return (spikes,), (v, m)


def make_clif(config: NeuronConfig, *, detach_m: bool = False) -> CLIFNode:
    """CLIF as the paper has it: soft reset, undecayed input."""
    return CLIFNode(
        float(config.tau),
        float(config.v_threshold),
        make_surrogate(config),
        "m",
        detach_m=detach_m,
        temporal_window=config.temporal_window,
        truncation=config.truncation,
        backend=config.backend,
    )
