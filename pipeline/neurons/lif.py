"""The leaky integrate-and-fire neuron, fused over all time steps where it can be."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from spikingjelly.activation_based import neuron, surrogate

from pipeline.config import NeuronConfig
from pipeline.neurons import lif_kernels
from pipeline.neurons.fused import Backend, array, check_backend, chooses_fused, find_obstacle, rows, surrogate_kind
from pipeline.neurons.surrogates import make_surrogate
from pipeline.neurons.threads import for_ranges

_float = np.float32


class LIFNode(neuron.LIFNode):
    """SpikingJelly's `LIFNode`, to be put in its place.

    u[t] = (1 - 1/tau) v[t-1] + x[t], or with x[t] / tau where the input decays, plus v_reset / tau for the hard reset;
    s[t] = 1 where u[t] >= v_th, else 0; v[t] = u[t] - v_th s[t] (soft) or v_reset where s[t] = 1 (hard).
    (Huang et al., ICML 2024, Eqs. 1-3; SpikingJelly's words for the variants.)

    Args:
        tau: Time constant in time steps, > 1.
        decay_input: Whether the input is divided by tau.
        v_threshold: v_th.
        v_reset: Where a spike resets to; None lowers the potential by v_th instead.
        surrogate_function: What differentiates the spike.
        detach_reset: Whether the spike in the reset counts as a constant for the gradient.
        step_mode: ``s`` for one step (B, ...), ``m`` for sequences (T, B, ...).
        store_v_seq: Keep v of every step; runs SpikingJelly's code.
        backend: ``auto`` runs fused where it can, ``torch`` never, ``fused`` always.

    Raises:
        BackendError: If the backend is ``fused`` and input or surrogate cannot run fused.
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
        backend: Backend = "auto",
    ) -> None:
        check_backend(backend)
        function = surrogate_function or surrogate.Sigmoid()
        super().__init__(tau, decay_input, v_threshold, v_reset, function, detach_reset, step_mode, store_v_seq)
        self.fused_backend = backend

    def multi_step_functional_forward(
        self, inputs: tuple[torch.Tensor, ...], states: tuple[Any, ...], **kwargs: object
    ) -> tuple[tuple[torch.Tensor, ...], tuple[Any, ...]]:
        """SpikingJelly's hook for a whole sequence: x (T, B, ...) and v (B, ...) to spikes and the new v."""
        (x,) = inputs
        if not chooses_fused(self.fused_backend, find_obstacle(x, self.surrogate_function)):
            return super().multi_step_functional_forward(inputs, states, **kwargs)
        hard = self.v_reset is not None
        update = (
            1.0 - 1.0 / self.tau,
            1.0 / self.tau if self.decay_input else 1.0,
            self.v_reset / self.tau if hard else 0.0,
            self.v_threshold,
            hard,
            self.v_reset if hard else self.v_threshold,
        )
        spikes, v = _LIF.apply(x, states[0], update, self.detach_reset, *surrogate_kind(self.surrogate_function))
        return (spikes,), (v,)


class _LIF(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, v: torch.Tensor, update: tuple[Any, ...], detach_reset: bool, kind: int, alpha: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        keep, gain, offset, v_threshold, hard, reset = update
        current, v_after = rows(x), rows(v[None])[0].clone()
        spikes = torch.empty_like(current)
        u = torch.empty_like(current) if any(ctx.needs_input_grad[:2]) else current.new_empty(0, current.shape[1])
        settings = (_float(keep), _float(gain), _float(offset), _float(v_threshold), hard, _float(reset))
        arrays = (array(current), array(v_after), *settings, array(spikes), array(u))
        for_ranges(lambda l, r: lif_kernels.forward(*arrays, l, r), current.shape[1], len(current))
        ctx.save_for_backward(u)
        ctx.settings = (_float(keep), _float(gain), _float(v_threshold), hard, _float(reset), detach_reset, kind)
        ctx.alpha = _float(alpha)
        ctx.types = x.dtype, v.dtype
        return spikes.view(x.shape).to(x.dtype), v_after.view(v.shape).to(v.dtype)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_spikes: torch.Tensor, grad_v: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (u,) = ctx.saved_tensors
        gradient, before_v = rows(grad_spikes), rows(grad_v[None])[0].clone()
        grad_x = torch.empty_like(u)
        arrays = (array(gradient), array(before_v), array(u), *ctx.settings, ctx.alpha, array(grad_x))
        for_ranges(lambda l, r: lif_kernels.backward(*arrays, l, r), u.shape[1], len(u))
        types = ctx.types
        return grad_x.view(grad_spikes.shape).to(types[0]), before_v.view(grad_v.shape).to(types[1]), *(None,) * 4


def make_lif(config: NeuronConfig) -> LIFNode:
    """LIF as the CLIF paper has it: undecayed input, soft reset, gradient through the reset."""
    return LIFNode(
        float(config.tau),
        decay_input=False,
        v_threshold=float(config.v_threshold),
        v_reset=None,
        surrogate_function=make_surrogate(config),
        step_mode="m",
        backend=config.backend,
    )
