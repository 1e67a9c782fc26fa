"""The leaky integrate-and-fire neuron, fused over all time steps where possible."""

from __future__ import annotations

from typing import Any

import torch
from spikingjelly.activation_based import neuron, surrogate

from pipeline.config.run_config import NeuronConfig
from pipeline.config.surrogates import make_surrogate
from pipeline.kernels import norm_neuron
from pipeline.neurons.backend import (
    chooses_fused,
    find_obstacle,
    has_plain_numbers,
    step_by_step,
    surrogate_kind,
    takes_norm,
)
from pipeline.neurons.fused_node import AnyBackend, FusedNode
from pipeline.neurons.lif import custom_op as lif_op
from pipeline.neurons.lif.custom_op import Update
from pipeline.neurons.lif.with_norm import LIFSteps
from pipeline.neurons.truncation import Truncation, check_window, in_windows
from preprocess.errors import ConfigError


class LIFNode(FusedNode, neuron.LIFNode):
    """SpikingJelly's `LIFNode` as a drop-in replacement.

    u[t] = (1 - 1/tau) v[t-1] + x[t], or with x[t] / tau if the input decays, plus v_reset / tau for the hard reset;
    s[t] = 1 where u[t] >= v_th, else 0; v[t] = u[t] - reset_scale v_th s[t] (soft) or v_reset where s[t] = 1 (hard).
    (Huang et al., ICML 2024, Eqs. 1-3; the variants and their names are SpikingJelly's.)

    Args:
        tau: Time constant in time steps, > 1.
        decay_input: Whether the input is divided by tau.
        v_threshold: v_th.
        v_reset: The potential after a spike; None lowers the potential by v_th instead.
        surrogate_function: Surrogate gradient of the spike.
        detach_reset: Whether the spike in the reset is treated as a constant in the gradient.
        step_mode: ``s`` for one step (B, ...), ``m`` for sequences (T, B, ...).
        store_v_seq: Whether to keep v of every step, which runs SpikingJelly's code.
        reset_scale: The soft reset lowers the potential by reset_scale * v_th: the control for CLIF's deeper reset.
        temporal_window: Maximum number of time steps through which gradients flow back; 0 for none, None for no limit.
        truncation: ``block`` cuts gradients between blocks of temporal_window + 1 steps; ``sliding`` between any two
            steps that are further apart than temporal_window, see `pipeline.neurons.truncation`.
        backend: ``auto`` runs fused where possible, ``torch`` never, ``fused`` always; SpikingJelly's ``cupy``,
            ``triton`` and ``inductor`` behave as ``auto``. It can also be set later.

    Raises:
        ConfigError: If reset_scale is not 1 and the reset is hard, or temporal_window is negative or states are stored.
        BackendError: If there is no such backend, or if it is ``fused`` and input or surrogate cannot run fused.
    """

    def __init__(
        self,
        tau: float = 2.0,
        decay_input: bool = True,
        v_threshold: float = 1.0,
        v_reset: float | None = 0.0,
        surrogate_function: surrogate.SurrogateFunctionBase | None = None,
        detach_reset: bool = False,
        step_mode: str = "s",
        store_v_seq: bool = False,
        *,
        reset_scale: float = 1.0,
        temporal_window: int | None = None,
        truncation: Truncation = "block",
        backend: AnyBackend = "auto",
    ) -> None:
        check_window(temporal_window, store_v_seq)
        if reset_scale != 1.0 and v_reset is not None:
            raise ConfigError(
                f"reset_scale: expected 1 with the hard reset (v_reset={v_reset}), found {reset_scale}. "
                "Use v_reset=None, the soft reset."
            )
        function = surrogate_function or surrogate.Sigmoid()
        super().__init__(tau, decay_input, v_threshold, v_reset, function, detach_reset, step_mode, store_v_seq)
        self.reset_scale = float(reset_scale)
        self.temporal_window, self.truncation = temporal_window, truncation
        self.backend = backend

    def single_step_functional_forward(
        self, inputs: tuple[torch.Tensor, ...], states: tuple[Any, ...], **kwargs: object
    ) -> tuple[tuple[torch.Tensor, ...], tuple[Any, ...]]:
        """SpikingJelly's hook for one step: x and v (B, ...) to spikes and the new v."""
        if self._is_spikingjellys:
            return super().single_step_functional_forward(inputs, states, **kwargs)
        (x,), (v,) = inputs, states
        leak = (v if self.v_reset is None else v - self.v_reset) / self.tau
        u = v - leak + (x / self.tau if self.decay_input else x)
        spikes = self.surrogate_function(u - self.v_threshold)
        reset = spikes.detach() if self.detach_reset else spikes
        if self.v_reset is None:
            return (spikes,), (u - reset * (self.reset_scale * self.v_threshold),)
        return (spikes,), ((1.0 - reset) * u + reset * self.v_reset,)

    @property
    def _is_spikingjellys(self) -> bool:
        # SpikingJelly's kernels only accept numbers.
        return self.reset_scale == 1.0 and has_plain_numbers(self)

    @property
    def takes_norm(self) -> bool:
        """Whether a call may pass the preceding batch norm as ``norm``; see `norm_neuron.can_fuse`."""
        return takes_norm(self, self.store_v_seq) and self.v_reset is None

    def multi_step_functional_forward(
        self, inputs: tuple[torch.Tensor, ...], states: tuple[Any, ...], *, norm: Any = None, **kwargs: object
    ) -> tuple[tuple[torch.Tensor, ...], tuple[Any, ...]]:
        """SpikingJelly's hook for a whole sequence: x (T, B, ...) and v (B, ...) to spikes and the new v.

        If a batch norm is passed, x is the input of the batch norm.
        """
        if norm is not None:
            kind, alpha = surrogate_kind(self.surrogate_function)
            steps = LIFSteps(
                keep=1.0 - 1.0 / self.tau,
                gain=1.0 / self.tau if self.decay_input else 1.0,
                v_threshold=float(self.v_threshold),
                reset=self.reset_scale * self.v_threshold,
                detach_reset=self.detach_reset,
                kind=kind,
                alpha=alpha,
            )
            spikes, *after = norm_neuron.run(inputs[0], norm, states, steps)
            return (spikes,), tuple(after)
        outputs, memories = in_windows(self.temporal_window, self.truncation, inputs[0], states[:1], self._run)
        return outputs, (*memories, *states[1:])

    def _run(self, x: torch.Tensor, states: tuple[Any, ...]) -> tuple[tuple[torch.Tensor, ...], tuple[Any, ...]]:
        if not chooses_fused(self.fused_backend, find_obstacle(self, x)):
            if self._is_spikingjellys:
                return super().multi_step_functional_forward((x,), states)
            return step_by_step(self, x, states)
        hard = self.v_reset is not None
        kind, alpha = surrogate_kind(self.surrogate_function)
        update = Update(
            keep=1.0 - 1.0 / self.tau,
            gain=1.0 / self.tau if self.decay_input else 1.0,
            offset=self.v_reset / self.tau if hard else 0.0,
            v_threshold=float(self.v_threshold),
            hard=hard,
            reset=self.v_reset if hard else self.reset_scale * self.v_threshold,
            detach_reset=self.detach_reset,
            kind=kind,
            alpha=alpha,
        )
        spikes, v = lif_op.run(x, states[0], update)
        return (spikes,), (v,)


def make_lif(config: NeuronConfig) -> LIFNode:
    """LIF; by default as the CLIF paper has it: undecayed input, soft reset, gradient through the reset."""
    return LIFNode(
        float(config.tau),
        decay_input=config.decay_input,
        v_threshold=float(config.v_threshold),
        v_reset=0.0 if config.reset == "hard" else None,
        surrogate_function=make_surrogate(config),
        detach_reset=config.detach_reset,
        step_mode="m",
        temporal_window=config.temporal_window,
        truncation=config.truncation,
        backend=config.backend,
    )
