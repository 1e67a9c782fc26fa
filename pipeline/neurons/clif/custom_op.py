"""CLIF over all time steps as one operator of torch; `pipeline.neurons.lif.custom_op` says why it has two forms."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from pipeline.kernels import buffers, fused_function
from pipeline.kernels.fused_function import Kernels, OptionalTensors, Tensors, refuse_derivative, wants_gradient
from pipeline.kernels.tensors import array, row, rows
from pipeline.kernels.threads import for_ranges
from pipeline.neurons.clif import cpu_kernels as clif_cpu

_float = np.float32


class Settings(NamedTuple):
    """Settings of a CLIF neuron."""

    tau: float
    v_threshold: float
    kind: int
    """Kind of surrogate, a number from `pipeline.kernels.surrogate_kernels.KINDS`."""
    alpha: float
    detach_m: bool
    """Whether m is treated as a constant in the gradient."""


def run(x: Tensor, v: Tensor, m: Tensor, settings: Settings) -> tuple[Tensor, Tensor, Tensor]:
    """Spikes (T, ...) and the new v and m (...) of input x (T, ...) from the states before it; differentiable once.

    Args:
        x: Input current, float32, bfloat16 or float16.
        v: Potential after the reset.
        m: Complementary potential.
        settings: The neuron's.
    """
    if torch.compiler.is_compiling():
        return _operator(x, v, m, *settings, wants_gradient(x, v, m))[:3]
    spikes, v_after, m_after = fused_function.run(KERNELS, settings, x, v, m)
    return spikes, v_after, m_after


def _forward(x: Tensor, states: Tensors, settings: Settings, saves: bool) -> tuple[Tensor, Tensors, Tensors]:
    v, m = states
    if x.is_cuda:
        from pipeline.neurons.clif import cuda_kernels as clif_cuda

        spikes, v_after, m_after, u = clif_cuda.forward(x, v, m, settings, saves)
        return spikes, (v_after, m_after), (u,)
    current = rows(x)
    spikes = buffers.like(current)
    u = buffers.like(current) if saves else current.new_empty(0, current.shape[1])
    v_after, m_after = (buffers.empty_rows(1, current.shape[1])[0] for _ in range(2))
    arrays = [array(tensor) for tensor in (current, row(v), row(m))]
    filled = [array(tensor) for tensor in (spikes, u, v_after, m_after)]
    membrane = _float(settings.tau), _float(settings.v_threshold)
    for_ranges(lambda l, r: clif_cpu.forward(*arrays, *membrane, *filled, l, r), current.shape[1], len(current))
    after = v_after.view(v.shape).to(v.dtype), m_after.view(m.shape).to(m.dtype)
    # Backward recomputes m from its value before the first step; the later ones are not kept.
    return buffers.converted(spikes, x.dtype).view(x.shape), after, (u,)


def _backward(
    grad_spikes: Tensor, grads: Tensors, saved: Tensors, kept: Tensors, settings: Settings, wants_states: bool
) -> tuple[Tensor, OptionalTensors]:
    (grad_v, grad_m), (u,), (m,) = grads, saved, kept
    if u.is_cuda:
        from pipeline.neurons.clif import cuda_kernels as clif_cuda

        grad_x, of_v, of_m = clif_cuda.backward(grad_spikes, grad_v, grad_m, u, m, settings)
        return grad_x, (of_v, of_m)
    grad_x = buffers.like(u)
    befores = [buffers.empty_rows(1, u.shape[1] if wants_states else 0)[0] for _ in range(2)]
    arrays = [array(tensor) for tensor in (rows(grad_spikes), row(grad_v), row(grad_m), u, row(m))]
    membrane = _float(settings.tau), _float(settings.v_threshold)
    surrogate = settings.kind, _float(settings.alpha), settings.detach_m
    filled = [array(tensor) for tensor in (grad_x, *befores)]
    for_ranges(lambda l, r: clif_cpu.backward(*arrays, *membrane, *surrogate, *filled, l, r), u.shape[1], len(u))
    found = buffers.converted(grad_x, grad_spikes.dtype).view(grad_spikes.shape)
    if not wants_states:
        return found, (None, None)
    of_v, of_m = (before.view(grad.shape).to(grad.dtype) for before, grad in zip(befores, grads, strict=True))
    return found, (of_v, of_m)


KERNELS = Kernels(_forward, _backward, states=2, saved=1, kept=(1,))


@torch.library.custom_op("spikeloom::clif", mutates_args=())
def _operator(
    x: Tensor,
    v: Tensor,
    m: Tensor,
    tau: float,
    v_threshold: float,
    kind: int,
    alpha: float,
    detach_m: bool,
    saves: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    settings = Settings(tau, v_threshold, kind, alpha, detach_m)
    spikes, v_after, m_after, u = fused_function.results(KERNELS, settings, x, (v, m), saves)
    return spikes, v_after, m_after, u


@_operator.register_fake
def _shapes(x: Tensor, v: Tensor, m: Tensor, *settings: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    saves = settings[-1]
    u = x.new_empty(x.shape[0] if saves else 0, x[0].numel(), dtype=torch.float32)
    return x.new_empty(x.shape), v.new_empty(v.shape), m.new_empty(m.shape), u


@torch.library.custom_op("spikeloom::clif_backward", mutates_args=())
def _operator_backward(
    grad_spikes: Tensor,
    grad_v: Tensor,
    grad_m: Tensor,
    u: Tensor,
    m: Tensor,
    tau: float,
    v_threshold: float,
    kind: int,
    alpha: float,
    detach_m: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    settings = Settings(tau, v_threshold, kind, alpha, detach_m)
    found, (of_v, of_m) = _backward(grad_spikes, (grad_v, grad_m), (u,), (m,), settings, wants_states=True)
    assert of_v is not None and of_m is not None
    return found, of_v, of_m


@_operator_backward.register_fake
def _backward_shapes(grad_spikes: Tensor, grad_v: Tensor, grad_m: Tensor, *_: Any) -> tuple[Tensor, Tensor, Tensor]:
    return grad_spikes.new_empty(grad_spikes.shape), grad_v.new_empty(grad_v.shape), grad_m.new_empty(grad_m.shape)


def _remember(ctx: Any, inputs: tuple[Any, ...], output: Tensors) -> None:
    _, _, m, *settings, _ = inputs
    *_, u = output
    ctx.save_for_backward(u, m)
    ctx.settings = Settings(*settings)


def _differentiate(ctx: Any, grad_spikes: Tensor, grad_v: Tensor, grad_m: Tensor, *_: Tensor) -> OptionalTensors:
    grads = _operator_backward(grad_spikes, grad_v, grad_m, *ctx.saved_tensors, *ctx.settings)
    return *grads, *(None for _ in ctx.settings), None


_operator.register_autograd(_differentiate, setup_context=_remember)
_operator_backward.register_autograd(refuse_derivative)
