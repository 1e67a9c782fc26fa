"""The complementary leaky integrate-and-fire neuron, fused over all time steps where it can be."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from spikingjelly.activation_based import surrogate
from spikingjelly.activation_based.neuron import ComplementaryLIFNode

from pipeline.config import NeuronConfig
from pipeline.neurons import clif_kernels
from pipeline.neurons.fused import Backend, array, check_backend, chooses_fused, find_obstacle, rows, surrogate_kind
from pipeline.neurons.surrogates import make_surrogate
from pipeline.neurons.threads import for_ranges

_float = np.float32


class CLIFNode(ComplementaryLIFNode):
    """SpikingJelly's `ComplementaryLIFNode`, to be put in its place.

    With sigma the logistic function: u[t] = (1 - 1/tau) v[t-1] + x[t]; s[t] = 1 where u[t] >= v_th, else 0;
    m[t] = m[t-1] sigma(u[t] / tau) + s[t]; v[t] = u[t] - s[t] (v_th + sigma(m[t])).
    (Huang et al., ICML 2024, Algorithm 1.)

    Args:
        tau: Time constant in time steps, > 1.
        v_threshold: v_th.
        surrogate_function: What differentiates the spike.
        step_mode: ``s`` for one step (B, ...), ``m`` for sequences (T, B, ...).
        store_state_seqs: Keep v and m of every step; runs SpikingJelly's code.
        backend: ``auto`` runs fused where it can, ``torch`` never, ``fused`` always.

    Raises:
        BackendError: If the backend is ``fused`` and input or surrogate cannot run fused.
    """

    def __init__(
        self,
        tau: float = 2.0,
        v_threshold: float = 1.0,
        surrogate_function: surrogate.SurrogateFunctionBase | None = None,
        step_mode: str = "s",
        store_state_seqs: bool = False,
        *,
        backend: Backend = "auto",
    ) -> None:
        check_backend(backend)
        super().__init__(tau, v_threshold, surrogate_function or surrogate.Rect(alpha=1.0), step_mode, store_state_seqs)
        self.fused_backend = backend

    def multi_step_functional_forward(
        self, inputs: tuple[torch.Tensor, ...], states: tuple[Any, ...], **kwargs: object
    ) -> tuple[tuple[torch.Tensor, ...], tuple[Any, ...]]:
        """SpikingJelly's hook for a whole sequence: x (T, B, ...) and v, m (B, ...) to spikes and the new v, m."""
        (x,) = inputs
        if not chooses_fused(self.fused_backend, find_obstacle(x, self.surrogate_function)):
            return self._step_by_step(x, states)
        kind, alpha = surrogate_kind(self.surrogate_function)
        spikes, v, m = _CLIF.apply(x, *states, self.tau, self.v_threshold, kind, alpha)
        return (spikes,), (v, m)

    def _step_by_step(
        self, x: torch.Tensor, states: tuple[Any, ...]
    ) -> tuple[tuple[torch.Tensor, ...], tuple[Any, ...]]:
        # SpikingJelly indexes the sequence at each step, and the gradient of each index is as large as the sequence.
        steps = []
        for current in x.unbind(0):
            (spikes,), states = self.single_step_functional_forward((current,), states)
            steps.append(spikes)
        return (torch.stack(steps),), states


class _CLIF(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        v: torch.Tensor,
        m: torch.Tensor,
        tau: float,
        v_threshold: float,
        kind: int,
        alpha: float,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        current, m_before = rows(x), rows(m[None])[0]
        v_after, m_after = rows(v[None])[0].clone(), m_before.clone()
        spikes = torch.empty_like(current)
        saves = any(ctx.needs_input_grad[:3])
        u = torch.empty_like(current) if saves else current.new_empty(0, current.shape[1])
        state = (array(v_after), array(m_after), _float(tau), _float(v_threshold))
        arrays = (array(current), *state, array(spikes), array(u))
        for_ranges(lambda l, r: clif_kernels.forward(*arrays, l, r), current.shape[1], len(current))
        ctx.save_for_backward(u, m_before)
        ctx.settings = tau, v_threshold, kind, alpha
        ctx.types = x.dtype, v.dtype, m.dtype
        return spikes.view(x.shape).to(x.dtype), v_after.view(v.shape).to(v.dtype), m_after.view(m.shape).to(m.dtype)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(
        ctx: Any, grad_spikes: torch.Tensor, grad_v: torch.Tensor, grad_m: torch.Tensor
    ) -> tuple[torch.Tensor | None, ...]:
        u, m = ctx.saved_tensors
        tau, v_threshold, kind, alpha = ctx.settings
        gradient, before_v, before_m = rows(grad_spikes), rows(grad_v[None])[0].clone(), rows(grad_m[None])[0].clone()
        grad_x = torch.empty_like(u)
        arrays = (array(gradient), array(before_v), array(before_m), array(u), array(m))
        settings = (_float(tau), _float(v_threshold), kind, _float(alpha), False)
        out = array(grad_x)
        for_ranges(lambda l, r: clif_kernels.backward(*arrays, *settings, out, l, r), u.shape[1], len(u))
        found = (grad_x.view(grad_spikes.shape), before_v.view(grad_v.shape), before_m.view(grad_m.shape))
        return *(grad.to(dtype) for grad, dtype in zip(found, ctx.types, strict=True)), None, None, None, None


def make_clif(config: NeuronConfig) -> CLIFNode:
    """CLIF as the paper has it: soft reset, undecayed input."""
    return CLIFNode(float(config.tau), float(config.v_threshold), make_surrogate(config), "m", backend=config.backend)
