"""LIF with the soft reset after batch norm, for CUDA; see `pipeline.neurons.clif.cuda_with_norm_kernels`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import triton
import triton.language as tl
from torch import Tensor

from pipeline.kernels.norm_cuda import ONE_WARP, Form, locate
from pipeline.kernels.triton import BLOCK, WARPS, surrogate_slope

if TYPE_CHECKING:
    from pipeline.neurons.lif.with_norm import LIFSteps


@triton.jit
def _step(vn, xn, keep, v_threshold, reset):
    """u and the new v; rounded alike in both directions, so that backward finds the same spikes."""
    un = tl.fma(vn, keep, xn)
    return un, tl.where(un >= v_threshold, un - reset, un)


@triton.jit(do_not_specialize=["steps", "images", "channels", "units", "keep", "v_threshold", "reset"])
def forward_kernel(
    x, v, table, spikes, v_after, kept, steps, images, channels, units, keep, v_threshold, reset,
    REPEATED: tl.constexpr, JOINT: tl.constexpr, SAVES: tl.constexpr, EVERY: tl.constexpr, UNEVEN: tl.constexpr,
    UNIT: tl.constexpr, SIZE: tl.constexpr
):  # fmt: skip
    """Spikes and last potentials; `kept` is (runs, 1, N) float32, v before each run."""
    channel = tl.program_id(1)
    pixels = units * UNIT
    n, inside = locate(tl.program_id(0) * SIZE, channel, images, channels, pixels, SIZE)
    elements = images.to(tl.int64) * (channels * pixels)
    vn = tl.load(v + n, inside, 0.0).to(tl.float32)
    table += channel
    for first in range(0, steps, EVERY):
        if SAVES:
            tl.store(kept + n, vn, inside)
            kept += elements
        xns = ()
        for i in tl.static_range(EVERY):
            there = inside & (first + i < steps) if UNEVEN else inside
            xns = xns + (tl.fma(tl.load(x + n, there, 0.0).to(tl.float32), tl.load(table), tl.load(table + channels)),)
            if not REPEATED:
                x += elements
            if not JOINT:
                table += 4 * channels
        for i in tl.static_range(EVERY):
            un, v_next = _step(vn, xns[i], keep, v_threshold, reset)
            there = inside
            if UNEVEN:
                lives = first + i < steps
                there = inside & lives
                v_next = tl.where(lives, v_next, vn)
            vn = v_next
            tl.store(spikes + n, tl.where(un >= v_threshold, 1.0, 0.0).to(spikes.dtype.element_ty), there)
            spikes += elements
    tl.store(v_after + n, vn.to(v_after.dtype.element_ty), inside)


_NUMBERS = ["steps", "images", "channels", "units", "keep", "v_threshold", "reset", "through", "alpha"]


@triton.jit(do_not_specialize=_NUMBERS)
def backward_kernel(
    grad_spikes, grad_v, x, table, kept, grad, before_v, parts, steps, images, channels, units, keep, v_threshold,
    reset, through, alpha,
    KIND: tl.constexpr, REPEATED: tl.constexpr, JOINT: tl.constexpr, ENDS: tl.constexpr, STARTS: tl.constexpr,
    EVERY: tl.constexpr, UNEVEN: tl.constexpr, UNIT: tl.constexpr, SIZE: tl.constexpr
):  # fmt: skip
    """The gradient of x * scale + shift, and for each program its sums; `through` is 0 if the reset is detached."""
    channel = tl.program_id(1)
    pixels = units * UNIT
    n, inside = locate(tl.program_id(0) * SIZE, channel, images, channels, pixels, SIZE)
    elements = images.to(tl.int64) * (channels * pixels)
    gv = tl.zeros([SIZE], tl.float32)
    if ENDS:
        gv = tl.load(grad_v + n, inside, 0.0).to(tl.float32)
    total, product = tl.zeros([SIZE], tl.float32), tl.zeros([SIZE], tl.float32)
    parts += tl.program_id(0).to(tl.int64) * (1 if JOINT else steps) * 2 * channels + channel
    runs = (steps + EVERY - 1) // EVERY
    for back in range(runs):
        first = (runs - 1 - back) * EVERY
        vn = tl.load(kept + (runs - 1 - back) * elements + n, inside, 0.0)
        at_step = first * elements
        xs, gs, us = (), (), ()
        for i in tl.static_range(EVERY):
            there = inside & (first + i < steps) if UNEVEN else inside
            xs = xs + (tl.load(x + ((i * 0 if REPEATED else at_step) + n), there, 0.0),)
            gs = gs + (tl.load(grad_spikes + (at_step + n), there, 0.0),)
            at_step += elements
        for i in tl.static_range(EVERY):
            entry = table + channel
            if not JOINT:
                entry += (tl.minimum(first + i, steps - 1) if UNEVEN else first + i) * 4 * channels
            xn = tl.fma(xs[i].to(tl.float32), tl.load(entry), tl.load(entry + channels))
            un, v_next = _step(vn, xn, keep, v_threshold, reset)
            us = us + (un,)
            vn = v_next
        for i in tl.static_range(EVERY - 1, -1, -1):
            at_step -= elements
            du = gv + (gs[i].to(tl.float32) - gv * through) * surrogate_slope(us[i], v_threshold, alpha, KIND)
            there, lives = inside, True
            if UNEVEN:
                lives = first + i < steps
                there = inside & lives
                du = tl.where(lives, du, 0.0)
                gv = tl.where(lives, du * keep, gv)
            else:
                gv = du * keep
            tl.store(grad + (at_step + n), du.to(grad.dtype.element_ty), there)
            row = 0 if JOINT else first + i
            entry = table + row * 4 * channels + channel
            if UNEVEN and not JOINT:
                entry = table + tl.minimum(row, steps - 1) * 4 * channels + channel
            xhat = (xs[i].to(tl.float32) - tl.load(entry + 2 * channels)) * tl.load(entry + 3 * channels)
            if JOINT:
                total += du
                product += du * xhat
            else:
                tl.store(parts + row * 2 * channels, tl.sum(du), lives)
                tl.store(parts + (row * 2 + 1) * channels, tl.sum(du * xhat), lives)
    if JOINT:
        tl.store(parts, tl.sum(total))
        tl.store(parts + channels, tl.sum(product))
    if STARTS:
        tl.store(before_v + n, gv.to(before_v.dtype.element_ty), inside)


def forward(
    x: Tensor, form: Form, states: list[Tensor], table: Tensor, steps: LIFSteps, saves: bool
) -> tuple[Tensor, list[Tensor], Tensor]:
    """Spikes (T, B, C, H, W), v after the last step, and what backward needs, (0,) if nothing is saved."""
    (v,) = states
    spikes, v_after = x.new_empty(x.shape), torch.empty_like(v)
    kept = table.new_empty((form.runs, 1, v.numel()) if saves else (0,))
    with torch.cuda.device_of(x):
        forward_kernel[form.grid(BLOCK)](
            x, v, table, spikes, v_after, kept, *form[:4], float(steps.keep), float(steps.v_threshold),
            float(steps.reset), **form.settings, JOINT=len(table) == 1, SAVES=saves, SIZE=BLOCK, num_warps=WARPS,
        )  # fmt: skip
    return spikes, [v_after], kept


def backward(
    grad_spikes: Tensor,
    grads: list[Tensor] | None,
    x: Tensor,
    form: Form,
    table: Tensor,
    kept: Tensor,
    before: list[Tensor] | None,
    steps: LIFSteps,
) -> tuple[Tensor, Tensor]:
    """See `pipeline.neurons.clif.cuda_with_norm_kernels.backward`."""
    grad = torch.empty_like(grad_spikes)
    programs, channels = form.grid(ONE_WARP)
    parts = table.new_empty(programs, len(table), 2, channels)
    (grad_v,), (before_v,) = grads or [table], before or [table]
    reset = float(steps.reset)
    with torch.cuda.device_of(x):
        backward_kernel[programs, channels](
            grad_spikes, grad_v, x, table, kept, grad, before_v, parts, *form[:4], float(steps.keep),
            float(steps.v_threshold), reset, 0.0 if steps.detach_reset else reset, float(steps.alpha),
            **form.settings, KIND=steps.kind, JOINT=len(table) == 1, ENDS=grads is not None,
            STARTS=before is not None, SIZE=ONE_WARP, num_warps=1,
        )  # fmt: skip
    return grad, parts
