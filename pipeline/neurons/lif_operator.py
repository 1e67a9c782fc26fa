"""LIF over all time steps as one operator of torch; see `clif_operator` for why there are two ways in."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from pipeline.neurons import buffers, lif_kernels
from pipeline.neurons.fused import array, has_fastest_channel, no_gradient, row, rows
from pipeline.neurons.threads import for_ranges

_float = np.float32


class Update(NamedTuple):
    """u[t] = keep v[t-1] + gain x[t] + offset; a spike sets v to `reset` (hard) or lowers it by `reset` (soft)."""

    keep: float
    gain: float
    offset: float
    v_threshold: float
    hard: bool
    reset: float
    detach_reset: bool
    kind: int
    """Of surrogate, as `surrogate_kernels.KINDS` numbers them."""
    alpha: float


def run(x: Tensor, v: Tensor, update: Update) -> tuple[Tensor, Tensor]:
    """Spikes (T, ...) and the new v (...) of input x (T, ...) from the potential before it; differentiable once."""
    if torch.compiler.is_compiling():
        saves = torch.is_grad_enabled() and (x.requires_grad or v.requires_grad)
        return _operator(x, v, *update, saves)[:2]
    if not has_fastest_channel(x):
        return _LIF.apply(x, v, *update)
    # Elements are independent: they are taken and given back in the order of memory.
    spikes, v = _LIF.apply(x.movedim(2, -1), v.movedim(1, -1), *update)
    return spikes.movedim(-1, 2), v.movedim(-1, 1)


def _forward(
    x: Tensor,
    v: Tensor,
    keep: float,
    gain: float,
    offset: float,
    v_threshold: float,
    hard: bool,
    reset: float,
    saves: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    if x.is_cuda:
        from pipeline.neurons import lif_triton

        return lif_triton.forward(x, v, keep, gain, offset, v_threshold, hard, reset, saves)
    current = rows(x)
    spikes = buffers.like(current)
    u = buffers.like(current) if saves else current.new_empty(0, current.shape[1])
    v_after = buffers.empty_rows(1, current.shape[1])[0]
    settings = (_float(keep), _float(gain), _float(offset), _float(v_threshold), hard, _float(reset))
    arrays = (array(current), array(row(v)), *settings, array(spikes), array(u), array(v_after))
    for_ranges(lambda l, r: lif_kernels.forward(*arrays, l, r), current.shape[1], len(current))
    return buffers.converted(spikes, x.dtype).view(x.shape), v_after.view(v.shape).to(v.dtype), u


def _backward(
    grad_spikes: Tensor,
    grad_v: Tensor,
    u: Tensor,
    keep: float,
    gain: float,
    v_threshold: float,
    hard: bool,
    reset: float,
    detach_reset: bool,
    kind: int,
    alpha: float,
    wants_state: bool = True,
) -> tuple[Tensor, Tensor | None]:
    if u.is_cuda:
        from pipeline.neurons import lif_triton

        settings = (keep, gain, v_threshold, hard, reset, detach_reset, kind, alpha)
        return lif_triton.backward(grad_spikes, grad_v, u, *settings)
    grad_x = buffers.like(u)
    before_v = buffers.empty_rows(1, u.shape[1] if wants_state else 0)[0]
    update = (_float(keep), _float(gain), _float(v_threshold), hard, _float(reset), detach_reset, kind, _float(alpha))
    arrays = (array(rows(grad_spikes)), array(row(grad_v)), array(u), *update, array(grad_x), array(before_v))
    for_ranges(lambda l, r: lif_kernels.backward(*arrays, l, r), u.shape[1], len(u))
    found = buffers.converted(grad_x, grad_spikes.dtype).view(grad_spikes.shape)
    return found, before_v.view(grad_v.shape).to(grad_v.dtype) if wants_state else None


def _for_backward(update: Update) -> tuple[Any, ...]:
    # The offset has no gradient.
    return *update[:2], *update[3:]


class _LIF(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, v: Tensor, *settings: Any) -> tuple[Tensor, Tensor]:
        update = Update(*settings)
        spikes, v_after, u = _forward(x, v, *update[:6], any(ctx.needs_input_grad[:2]))
        ctx.save_for_backward(u)
        ctx.set_materialize_grads(False)
        ctx.outputs = [no_gradient(output) for output in (spikes, v_after)]
        ctx.update = update
        return spikes, v_after

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        known: Any = [none if grad is None else grad for grad, none in zip(grads, ctx.outputs, strict=True)]
        arguments: Any = *known, *ctx.saved_tensors, *_for_backward(ctx.update), ctx.needs_input_grad[1]
        return *_backward(*arguments), *(None,) * 9


@torch.library.custom_op("spikeloom::lif", mutates_args=())
def _operator(
    x: Tensor,
    v: Tensor,
    keep: float,
    gain: float,
    offset: float,
    v_threshold: float,
    hard: bool,
    reset: float,
    detach_reset: bool,
    kind: int,
    alpha: float,
    saves: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    return _forward(x, v, keep, gain, offset, v_threshold, hard, reset, saves)


@_operator.register_fake
def _shapes(x: Tensor, v: Tensor, *settings: Any) -> tuple[Tensor, Tensor, Tensor]:
    saves = settings[-1]
    u = x.new_empty(x.shape[0] if saves else 0, x[0].numel(), dtype=torch.float32)
    return x.new_empty(x.shape), v.new_empty(v.shape), u


@torch.library.custom_op("spikeloom::lif_backward", mutates_args=())
def _operator_backward(
    grad_spikes: Tensor,
    grad_v: Tensor,
    u: Tensor,
    keep: float,
    gain: float,
    v_threshold: float,
    hard: bool,
    reset: float,
    detach_reset: bool,
    kind: int,
    alpha: float,
) -> tuple[Tensor, Tensor]:
    found: Any = _backward(grad_spikes, grad_v, u, keep, gain, v_threshold, hard, reset, detach_reset, kind, alpha)
    return found


@_operator_backward.register_fake
def _backward_shapes(grad_spikes: Tensor, grad_v: Tensor, *_: Any) -> tuple[Tensor, Tensor]:
    return grad_spikes.new_empty(grad_spikes.shape), grad_v.new_empty(grad_v.shape)


def _remember(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    ctx.save_for_backward(output[2])
    ctx.update = Update(*inputs[2:11])


def _differentiate(ctx: Any, grad_spikes: Tensor, grad_v: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
    grads = _operator_backward(grad_spikes, grad_v, *ctx.saved_tensors, *_for_backward(ctx.update))
    return *grads, *(None,) * 10


_operator.register_autograd(_differentiate, setup_context=_remember)
