"""LIF over all time steps at once for CUDA; see `pipeline.neurons.clif.cuda_kernels` for the layout.

It saves only u: with float32 input and spikes, 12 bytes per element and step move forward and 12 backward.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import triton
import triton.language as tl
from torch import Tensor

from pipeline.kernels.triton import BLOCK, WARPS, grid, surrogate_slope

if TYPE_CHECKING:
    from pipeline.neurons.lif.custom_op import Update


@triton.jit(do_not_specialize=["steps", "keep", "gain", "offset", "v_threshold", "reset"])
def forward_kernel(
    x, v, spikes, v_after, u, steps, elements, keep, gain, offset, v_threshold, reset,
    HARD: tl.constexpr, SAVES: tl.constexpr, SIZE: tl.constexpr
):  # fmt: skip
    """See `pipeline.neurons.lif.cpu_kernels.forward`."""
    n = tl.program_id(0).to(tl.int64) * SIZE + tl.arange(0, SIZE)
    inside = n < elements
    vn = tl.load(v + n, inside, 0.0).to(tl.float32)
    at = n
    for _ in range(steps):
        un = vn * keep + tl.load(x + at, inside, 0.0).to(tl.float32) * gain + offset
        s = tl.where(un >= v_threshold, 1.0, 0.0)
        if SAVES:
            tl.store(u + at, un, inside)
        if HARD:
            vn = tl.where(un >= v_threshold, reset, un)
        else:
            vn = un - s * reset
        tl.store(spikes + at, s.to(spikes.dtype.element_ty), inside)
        at += elements
    tl.store(v_after + n, vn.to(v_after.dtype.element_ty), inside)


@triton.jit(do_not_specialize=["steps", "keep", "gain", "v_threshold", "reset", "alpha"])
def backward_kernel(
    grad_spikes, grad_v, u, grad_x, before_v, steps, elements, keep, gain, v_threshold, reset, alpha,
    HARD: tl.constexpr, DETACH_RESET: tl.constexpr, KIND: tl.constexpr, SIZE: tl.constexpr
):  # fmt: skip
    """See `pipeline.neurons.lif.cpu_kernels.backward`."""
    n = tl.program_id(0).to(tl.int64) * SIZE + tl.arange(0, SIZE)
    inside = n < elements
    gv = tl.load(grad_v + n, inside, 0.0).to(tl.float32)
    at = n + (steps - 1).to(tl.int64) * elements
    for _ in range(steps):
        un = tl.load(u + at, inside, 0.0)
        ds = tl.load(grad_spikes + at, inside, 0.0).to(tl.float32)
        kept = gv
        if HARD:
            kept = tl.where(un >= v_threshold, 0.0, gv)
            if not DETACH_RESET:
                ds += gv * (reset - un)
        elif not DETACH_RESET:
            ds -= gv * reset
        du = kept + ds * surrogate_slope(un, v_threshold, alpha, KIND)
        tl.store(grad_x + at, (du * gain).to(grad_x.dtype.element_ty), inside)
        gv = du * keep
        at -= elements
    tl.store(before_v + n, gv.to(before_v.dtype.element_ty), inside)


def forward(x: Tensor, v: Tensor, update: Update, saves: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Spikes, v after the last step, and for the gradient u before firing, float32 (T, N), or (0, N)."""
    steps, elements = len(x), x[0].numel()
    x, v = x.contiguous(), v.contiguous()
    spikes, v_after = torch.empty_like(x), torch.empty_like(v)
    u = x.new_empty(steps if saves else 0, elements, dtype=torch.float32)
    with torch.cuda.device_of(x):
        forward_kernel[grid(elements)](
            x, v, spikes, v_after, u, steps, elements, update.keep, update.gain, update.offset, update.v_threshold,
            update.reset, HARD=update.hard, SAVES=saves, SIZE=BLOCK, num_warps=WARPS,
        )  # fmt: skip
    return spikes, v_after, u


def backward(grad_spikes: Tensor, grad_v: Tensor, u: Tensor, update: Update) -> tuple[Tensor, Tensor]:
    """Gradients of the input and of v before the first step, in the dtypes of the incoming ones."""
    steps, elements = u.shape
    grad_spikes, grad_v = grad_spikes.contiguous(), grad_v.contiguous()
    grad_x, before_v = torch.empty_like(grad_spikes), torch.empty_like(grad_v)
    with torch.cuda.device_of(u):
        backward_kernel[grid(elements)](
            grad_spikes, grad_v, u, grad_x, before_v, steps, elements, update.keep, update.gain, update.v_threshold,
            update.reset, update.alpha, HARD=update.hard, DETACH_RESET=update.detach_reset, KIND=update.kind,
            SIZE=BLOCK, num_warps=WARPS,
        )  # fmt: skip
    return grad_x, before_v
