"""CLIF over all time steps as one operator of torch: what runs where, and its gradient.

Run eagerly it is an `autograd.Function`, which costs less a call; inside `torch.compile`, which cannot look into
compiled loops, it is the custom operator ``spikeloom::clif`` over the same two functions.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from pipeline.neurons import buffers, clif_kernels
from pipeline.neurons.fused import array, has_fastest_channel, no_gradient, row, rows
from pipeline.neurons.threads import for_ranges

_float = np.float32


def run(
    x: Tensor, v: Tensor, m: Tensor, tau: float, v_threshold: float, kind: int, alpha: float, detach_m: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Spikes (T, ...) and the new v and m (...) of input x (T, ...) from the states before it; differentiable once.

    Args:
        x: Input current, float32, bfloat16 or float16.
        v: Potential after the reset.
        m: Complementary potential.
        tau: Time constant.
        v_threshold: Threshold.
        kind: Of surrogate, as `surrogate_kernels.KINDS` numbers them.
        alpha: Of surrogate.
        detach_m: Whether m counts as a constant for the gradient.
    """
    settings = (float(tau), float(v_threshold), kind, alpha, detach_m)
    if torch.compiler.is_compiling():
        saves = torch.is_grad_enabled() and (x.requires_grad or v.requires_grad or m.requires_grad)
        spikes, v, m, *_ = _operator(x, v, m, *settings, saves)
        return spikes, v, m
    if not has_fastest_channel(x):
        return _CLIF.apply(x, v, m, *settings)
    # Elements are independent: they are taken and given back in the order of memory.
    spikes, v, m = _CLIF.apply(x.movedim(2, -1), v.movedim(1, -1), m.movedim(1, -1), *settings)
    return spikes.movedim(-1, 2), v.movedim(-1, 1), m.movedim(-1, 1)


def _forward(
    x: Tensor, v: Tensor, m: Tensor, tau: float, v_threshold: float, saves: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    if x.is_cuda:
        from pipeline.neurons import clif_triton

        return clif_triton.forward(x, v, m, tau, v_threshold, saves)
    current = rows(x)
    spikes = buffers.like(current)
    u = buffers.like(current) if saves else current.new_empty(0, current.shape[1])
    v_after, m_after = (buffers.empty_rows(1, current.shape[1])[0] for _ in range(2))
    arrays = [array(tensor) for tensor in (current, row(v), row(m))]
    filled = [array(tensor) for tensor in (spikes, u, v_after, m_after)]
    settings = _float(tau), _float(v_threshold)
    for_ranges(lambda l, r: clif_kernels.forward(*arrays, *settings, *filled, l, r), current.shape[1], len(current))
    after = v_after.view(v.shape).to(v.dtype), m_after.view(m.shape).to(m.dtype)
    # On the CPU m is recomputed from its value before the first step: nothing to keep of the others.
    return buffers.converted(spikes, x.dtype).view(x.shape), *after, u, current.new_empty(0, current.shape[1])


def _backward(
    grad_spikes: Tensor,
    grad_v: Tensor,
    grad_m: Tensor,
    u: Tensor,
    past: Tensor,
    m: Tensor,
    tau: float,
    v_threshold: float,
    kind: int,
    alpha: float,
    detach_m: bool,
    wants_state: bool = True,
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    if u.is_cuda:
        from pipeline.neurons import clif_triton

        return clif_triton.backward(grad_spikes, grad_v, grad_m, u, past, tau, v_threshold, kind, alpha, detach_m)
    grad_x = buffers.like(u)
    befores = [buffers.empty_rows(1, u.shape[1] if wants_state else 0)[0] for _ in range(2)]
    arrays = [array(tensor) for tensor in (rows(grad_spikes), row(grad_v), row(grad_m), u, row(m))]
    settings = _float(tau), _float(v_threshold), kind, _float(alpha), detach_m
    filled = [array(tensor) for tensor in (grad_x, *befores)]
    for_ranges(lambda l, r: clif_kernels.backward(*arrays, *settings, *filled, l, r), u.shape[1], len(u))
    found = buffers.converted(grad_x, grad_spikes.dtype).view(grad_spikes.shape)
    if not wants_state:
        return found, None, None
    before_v, before_m = (
        before.view(grad.shape).to(grad.dtype) for before, grad in zip(befores, (grad_v, grad_m), strict=True)
    )
    return found, before_v, before_m


class _CLIF(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, v: Tensor, m: Tensor, *settings: Any) -> tuple[Tensor, Tensor, Tensor]:
        tau, v_threshold, *_ = ctx.settings = settings
        spikes, v_after, m_after, u, past = _forward(x, v, m, tau, v_threshold, any(ctx.needs_input_grad[:3]))
        ctx.save_for_backward(u, past, m)
        ctx.set_materialize_grads(False)
        ctx.outputs = [no_gradient(output) for output in (spikes, v_after, m_after)]
        return spikes, v_after, m_after

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        known: Any = [none if grad is None else grad for grad, none in zip(grads, ctx.outputs, strict=True)]
        arguments: Any = *known, *ctx.saved_tensors, *ctx.settings, any(ctx.needs_input_grad[1:3])
        return *_backward(*arguments), *(None,) * 5


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
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    return _forward(x, v, m, tau, v_threshold, saves)


@_operator.register_fake
def _shapes(x: Tensor, v: Tensor, m: Tensor, *settings: Any) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    saves, elements = settings[-1], x[0].numel()
    u = x.new_empty(x.shape[0] if saves else 0, elements, dtype=torch.float32)
    past = x.new_empty(x.shape[0] if saves and x.is_cuda else 0, elements, dtype=torch.float32)
    return x.new_empty(x.shape), v.new_empty(v.shape), m.new_empty(m.shape), u, past


@torch.library.custom_op("spikeloom::clif_backward", mutates_args=())
def _operator_backward(
    grad_spikes: Tensor,
    grad_v: Tensor,
    grad_m: Tensor,
    u: Tensor,
    past: Tensor,
    m: Tensor,
    tau: float,
    v_threshold: float,
    kind: int,
    alpha: float,
    detach_m: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    found: Any = _backward(grad_spikes, grad_v, grad_m, u, past, m, tau, v_threshold, kind, alpha, detach_m)
    return found


@_operator_backward.register_fake
def _backward_shapes(grad_spikes: Tensor, grad_v: Tensor, grad_m: Tensor, *_: Any) -> tuple[Tensor, Tensor, Tensor]:
    return grad_spikes.new_empty(grad_spikes.shape), grad_v.new_empty(grad_v.shape), grad_m.new_empty(grad_m.shape)


def _remember(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    ctx.save_for_backward(*output[3:], inputs[2])
    ctx.settings = inputs[3:8]


def _differentiate(
    ctx: Any, grad_spikes: Tensor, grad_v: Tensor, grad_m: Tensor, *_: Tensor
) -> tuple[Tensor | None, ...]:
    grads = _operator_backward(grad_spikes, grad_v, grad_m, *ctx.saved_tensors, *ctx.settings)
    return *grads, *(None,) * 6


_operator.register_autograd(_differentiate, setup_context=_remember)
