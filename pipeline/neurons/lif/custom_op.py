"""LIF over all time steps as one operator of torch, with its gradient.

In eager mode it is the `autograd.Function` of `fused_function`, which has less overhead per call; inside
`torch.compile`, which cannot trace compiled loops, it is the custom operator ``spikeloom::lif`` over the same two
functions.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from pipeline.kernels import buffers, fused_function
from pipeline.kernels.fused_function import Kernels, OptionalTensors, Tensors, refuse_derivative, wants_gradient
from pipeline.kernels.tensors import array, row, rows
from pipeline.kernels.threads import for_ranges
from pipeline.neurons.lif import cpu_kernels as lif_cpu

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
    """Kind of surrogate, a number from `pipeline.kernels.surrogate_kernels.KINDS`."""
    alpha: float


def run(x: Tensor, v: Tensor, update: Update) -> tuple[Tensor, Tensor]:
    """Spikes (T, ...) and the new v (...) of input x (T, ...) from the potential before it; differentiable once."""
    if torch.compiler.is_compiling():
        return _operator(x, v, *update, wants_gradient(x, v))[:2]
    spikes, v_after = fused_function.run(KERNELS, update, x, v)
    return spikes, v_after


def _forward(x: Tensor, states: Tensors, update: Update, saves: bool) -> tuple[Tensor, Tensors, Tensors]:
    (v,) = states
    if x.is_cuda:
        from pipeline.neurons.lif import cuda_kernels as lif_cuda

        spikes, v_after, u = lif_cuda.forward(x, v, update, saves)
        return spikes, (v_after,), (u,)
    current = rows(x)
    spikes = buffers.like(current)
    u = buffers.like(current) if saves else current.new_empty(0, current.shape[1])
    v_after = buffers.empty_rows(1, current.shape[1])[0]
    affine = _float(update.keep), _float(update.gain), _float(update.offset)
    settings = *affine, _float(update.v_threshold), update.hard, _float(update.reset)
    arrays = (array(current), array(row(v)), *settings, array(spikes), array(u), array(v_after))
    for_ranges(lambda l, r: lif_cpu.forward(*arrays, l, r), current.shape[1], len(current))
    return buffers.converted(spikes, x.dtype).view(x.shape), (v_after.view(v.shape).to(v.dtype),), (u,)


def _backward(
    grad_spikes: Tensor, grads: Tensors, saved: Tensors, _kept: Tensors, update: Update, wants_states: bool
) -> tuple[Tensor, OptionalTensors]:
    (grad_v,), (u,) = grads, saved
    if u.is_cuda:
        from pipeline.neurons.lif import cuda_kernels as lif_cuda

        grad_x, before_v = lif_cuda.backward(grad_spikes, grad_v, u, update)
        return grad_x, (before_v,)
    grad_x = buffers.like(u)
    before_v = buffers.empty_rows(1, u.shape[1] if wants_states else 0)[0]
    # The offset has no gradient.
    settings = _float(update.keep), _float(update.gain), _float(update.v_threshold), update.hard, _float(update.reset)
    surrogate = update.detach_reset, update.kind, _float(update.alpha)
    arrays = (array(rows(grad_spikes)), array(row(grad_v)), array(u), *settings, *surrogate)
    filled = array(grad_x), array(before_v)
    for_ranges(lambda l, r: lif_cpu.backward(*arrays, *filled, l, r), u.shape[1], len(u))
    found = buffers.converted(grad_x, grad_spikes.dtype).view(grad_spikes.shape)
    return found, (before_v.view(grad_v.shape).to(grad_v.dtype) if wants_states else None,)


KERNELS = Kernels(_forward, _backward, states=1, saved=1)


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
    update = Update(keep, gain, offset, v_threshold, hard, reset, detach_reset, kind, alpha)
    spikes, v_after, u = fused_function.results(KERNELS, update, x, (v,), saves)
    return spikes, v_after, u


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
    offset: float,
    v_threshold: float,
    hard: bool,
    reset: float,
    detach_reset: bool,
    kind: int,
    alpha: float,
) -> tuple[Tensor, Tensor]:
    update = Update(keep, gain, offset, v_threshold, hard, reset, detach_reset, kind, alpha)
    grad_x, (before_v,) = _backward(grad_spikes, (grad_v,), (u,), (), update, wants_states=True)
    assert before_v is not None
    return grad_x, before_v


@_operator_backward.register_fake
def _backward_shapes(grad_spikes: Tensor, grad_v: Tensor, *_: Any) -> tuple[Tensor, Tensor]:
    return grad_spikes.new_empty(grad_spikes.shape), grad_v.new_empty(grad_v.shape)


def _remember(ctx: Any, inputs: tuple[Any, ...], output: Tensors) -> None:
    _, _, *update, _ = inputs
    *_, u = output
    ctx.save_for_backward(u)
    ctx.update = Update(*update)


def _differentiate(ctx: Any, grad_spikes: Tensor, grad_v: Tensor, _: Tensor) -> OptionalTensors:
    grads = _operator_backward(grad_spikes, grad_v, *ctx.saved_tensors, *ctx.update)
    return *grads, *(None for _ in ctx.update), None


_operator.register_autograd(_differentiate, setup_context=_remember)
_operator_backward.register_autograd(refuse_derivative)
