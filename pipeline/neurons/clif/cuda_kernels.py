"""CLIF over all time steps at once for CUDA: one launch forward, one backward, for any T, tau and v_th.

A thread carries one element's float32 state through all steps in registers. As on the CPU only u is saved, 4 bytes per
element and step. Backward first recomputes m before each step into memory that lives as long as the call, since T
values do not fit a thread's registers. With float32 input and spikes, 12 bytes per element and step move forward and 24
backward; saving m as well would move 16 and 16, but twice as much would be kept from forward to backward.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import triton
import triton.language as tl
from torch import Tensor

from pipeline.kernels.triton import BLOCK, WARPS, grid, logistic, surrogate_slope

if TYPE_CHECKING:
    from pipeline.neurons.clif.custom_op import Settings


@triton.jit(do_not_specialize=["steps", "tau", "v_threshold"])
def forward_kernel(
    x, v, m, spikes, v_after, m_after, u, steps, elements, tau, v_threshold,
    SAVES: tl.constexpr, SIZE: tl.constexpr
):  # fmt: skip
    """See `pipeline.neurons.clif.cpu_kernels.forward`."""
    n = tl.program_id(0).to(tl.int64) * SIZE + tl.arange(0, SIZE)
    inside = n < elements
    keep, rate = 1.0 - 1.0 / tau, 1.0 / tau
    vn = tl.load(v + n, inside, 0.0).to(tl.float32)
    mn = tl.load(m + n, inside, 0.0).to(tl.float32)
    at = n
    for _ in range(steps):
        un = vn * keep + tl.load(x + at, inside, 0.0).to(tl.float32)
        s = tl.where(un >= v_threshold, 1.0, 0.0)
        if SAVES:
            tl.store(u + at, un, inside)
        mn = mn * logistic(un * rate) + s
        vn = un - s * (v_threshold + logistic(mn))
        tl.store(spikes + at, s.to(spikes.dtype.element_ty), inside)
        at += elements
    tl.store(v_after + n, vn.to(v_after.dtype.element_ty), inside)
    tl.store(m_after + n, mn.to(m_after.dtype.element_ty), inside)


@triton.jit(do_not_specialize=["steps", "tau", "v_threshold", "alpha"])
def backward_kernel(
    grad_spikes, grad_v, grad_m, u, m, past, grad_x, before_v, before_m, steps, elements, tau, v_threshold, alpha,
    KIND: tl.constexpr, DETACH_M: tl.constexpr, SIZE: tl.constexpr
):  # fmt: skip
    """See `pipeline.neurons.clif.cpu_kernels.backward`; `past` is scratch memory, for m before each step."""
    n = tl.program_id(0).to(tl.int64) * SIZE + tl.arange(0, SIZE)
    inside = n < elements
    keep, rate = 1.0 - 1.0 / tau, 1.0 / tau
    mn = tl.load(m + n, inside, 0.0).to(tl.float32)
    at = n
    for _ in range(steps):
        un = tl.load(u + at, inside, 0.0)
        tl.store(past + at, mn, inside)
        mn = mn * logistic(un * rate) + tl.where(un >= v_threshold, 1.0, 0.0)
        at += elements
    # A thread reads what it wrote if the compiler deals out elements alike in both loops, and else another's.
    tl.debug_barrier()
    gv = tl.load(grad_v + n, inside, 0.0).to(tl.float32)
    gm = tl.load(grad_m + n, inside, 0.0).to(tl.float32)
    if DETACH_M:
        gm = gm * 0.0
    for _ in range(steps):
        at -= elements
        un = tl.load(u + at, inside, 0.0)
        mb = tl.load(past + at, inside, 0.0)
        gs = tl.load(grad_spikes + at, inside, 0.0).to(tl.float32)
        s = tl.where(un >= v_threshold, 1.0, 0.0)
        decay = logistic(un * rate)
        raised = logistic(mb * decay + s)
        if not DETACH_M:
            gm -= gv * s * raised * (1.0 - raised)
        du = gv + (gs + gm - gv * (v_threshold + raised)) * surrogate_slope(un, v_threshold, alpha, KIND)
        if not DETACH_M:
            du += gm * mb * decay * (1.0 - decay) * rate
            gm = gm * decay
        tl.store(grad_x + at, du.to(grad_x.dtype.element_ty), inside)
        gv = du * keep
    tl.store(before_v + n, gv.to(before_v.dtype.element_ty), inside)
    tl.store(before_m + n, gm.to(before_m.dtype.element_ty), inside)


def forward(x: Tensor, v: Tensor, m: Tensor, settings: Settings, saves: bool) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Spikes, v and m after the last step, and for the gradient u before firing, float32 (T, N), or (0, N)."""
    steps, elements = len(x), x[0].numel()
    x, v, m = x.contiguous(), v.contiguous(), m.contiguous()
    spikes, v_after, m_after = torch.empty_like(x), torch.empty_like(v), torch.empty_like(m)
    u = x.new_empty(steps if saves else 0, elements, dtype=torch.float32)
    with torch.cuda.device_of(x):
        forward_kernel[grid(elements)](
            x, v, m, spikes, v_after, m_after, u, steps, elements, settings.tau, settings.v_threshold,
            SAVES=saves, SIZE=BLOCK, num_warps=WARPS,
        )  # fmt: skip
    return spikes, v_after, m_after, u


def backward(
    grad_spikes: Tensor, grad_v: Tensor, grad_m: Tensor, u: Tensor, m: Tensor, settings: Settings
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of the input and of v and m before the first step, in the dtypes of the incoming ones.

    Args:
        grad_spikes: Gradient of the spikes (T, ...).
        grad_v: Gradient of v after the last step.
        grad_m: Gradient of m after the last step.
        u: As `forward` returns it.
        m: m before the first step.
        settings: The neuron's.
    """
    steps, elements = u.shape
    grad_spikes, grad_v, grad_m = grad_spikes.contiguous(), grad_v.contiguous(), grad_m.contiguous()
    m, past = m.contiguous(), torch.empty_like(u)
    grad_x, before_v, before_m = (torch.empty_like(grad) for grad in (grad_spikes, grad_v, grad_m))
    with torch.cuda.device_of(u):
        backward_kernel[grid(elements)](
            grad_spikes, grad_v, grad_m, u, m, past, grad_x, before_v, before_m, steps, elements, settings.tau,
            settings.v_threshold, settings.alpha, KIND=settings.kind, DETACH_M=settings.detach_m,
            SIZE=BLOCK, num_warps=WARPS,
        )  # fmt: skip
    return grad_x, before_v, before_m
