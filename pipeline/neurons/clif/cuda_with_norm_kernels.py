"""CLIF after batch norm over all time steps at once for CUDA; equations: `pipeline.neurons.clif.cpu_kernels`.

x is normalised as it is read: xn = x * scale + shift. Steps form runs of about four. Forward saves v and m before each
run; backward computes one run after the other again, from x, in registers. `pipeline.kernels.norm_cuda` describes the
layout and the table.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import triton
import triton.language as tl
from torch import Tensor

from pipeline.kernels.norm_cuda import ONE_WARP, Form, locate
from pipeline.kernels.triton import BLOCK, WARPS, logistic, surrogate_slope

if TYPE_CHECKING:
    from pipeline.neurons.clif.with_norm import CLIFSteps


@triton.jit
def _step(vn, mn, xn, keep, rate, v_threshold):
    """u, s, and the new v and m; rounded alike in both directions, so that backward finds the same spikes."""
    un = tl.fma(vn, keep, xn)
    s = tl.where(un >= v_threshold, 1.0, 0.0)
    mn = tl.fma(mn, logistic(un * rate), s)
    return un, s, un - s * (v_threshold + logistic(mn)), mn


@triton.jit(do_not_specialize=["steps", "images", "channels", "units", "tau", "v_threshold"])
def forward_kernel(
    x, v, m, table, spikes, v_after, m_after, kept, steps, images, channels, units, tau, v_threshold,
    REPEATED: tl.constexpr, JOINT: tl.constexpr, SAVES: tl.constexpr, EVERY: tl.constexpr, UNEVEN: tl.constexpr,
    UNIT: tl.constexpr, SIZE: tl.constexpr
):  # fmt: skip
    """Spikes and last states; `kept` is (runs, 2, N) float32, v and m before each run."""
    channel = tl.program_id(1)
    pixels = units * UNIT
    n, inside = locate(tl.program_id(0) * SIZE, channel, images, channels, pixels, SIZE)
    elements = images.to(tl.int64) * (channels * pixels)
    keep, rate = 1.0 - 1.0 / tau, 1.0 / tau
    vn = tl.load(v + n, inside, 0.0).to(tl.float32)
    mn = tl.load(m + n, inside, 0.0).to(tl.float32)
    table += channel
    for first in range(0, steps, EVERY):
        if SAVES:
            tl.store(kept + n, vn, inside)
            tl.store(kept + elements + n, mn, inside)
            kept += 2 * elements
        xns = ()
        for i in tl.static_range(EVERY):
            there = inside & (first + i < steps) if UNEVEN else inside
            xns = xns + (tl.fma(tl.load(x + n, there, 0.0).to(tl.float32), tl.load(table), tl.load(table + channels)),)
            if not REPEATED:
                x += elements
            if not JOINT:
                table += 4 * channels
        for i in tl.static_range(EVERY):
            _, s, v_next, m_next = _step(vn, mn, xns[i], keep, rate, v_threshold)
            there = inside
            if UNEVEN:
                lives = first + i < steps
                there = inside & lives
                v_next, m_next = tl.where(lives, v_next, vn), tl.where(lives, m_next, mn)
            vn, mn = v_next, m_next
            tl.store(spikes + n, s.to(spikes.dtype.element_ty), there)
            spikes += elements
    tl.store(v_after + n, vn.to(v_after.dtype.element_ty), inside)
    tl.store(m_after + n, mn.to(m_after.dtype.element_ty), inside)


@triton.jit(do_not_specialize=["steps", "images", "channels", "units", "tau", "v_threshold", "alpha"])
def backward_kernel(
    grad_spikes, grad_v, grad_m, x, table, kept, grad, before_v, before_m, parts, steps, images, channels, units,
    tau, v_threshold, alpha,
    KIND: tl.constexpr, REPEATED: tl.constexpr, JOINT: tl.constexpr, ENDS: tl.constexpr, STARTS: tl.constexpr,
    EVERY: tl.constexpr, UNEVEN: tl.constexpr, UNIT: tl.constexpr, SIZE: tl.constexpr
):  # fmt: skip
    """The gradient of x * scale + shift, and for each program its sums, (programs, T or 1, 2, C).

    The sums are those of the gradient, and of its product with (x - mean) / deviation. The last states have gradients
    only if ENDS, and those of the first are only written if STARTS.
    """
    channel = tl.program_id(1)
    pixels = units * UNIT
    n, inside = locate(tl.program_id(0) * SIZE, channel, images, channels, pixels, SIZE)
    elements = images.to(tl.int64) * (channels * pixels)
    keep, rate = 1.0 - 1.0 / tau, 1.0 / tau
    gv, gm = tl.zeros([SIZE], tl.float32), tl.zeros([SIZE], tl.float32)
    if ENDS:
        gv = tl.load(grad_v + n, inside, 0.0).to(tl.float32)
        gm = tl.load(grad_m + n, inside, 0.0).to(tl.float32)
    total, product = tl.zeros([SIZE], tl.float32), tl.zeros([SIZE], tl.float32)
    parts += tl.program_id(0).to(tl.int64) * (1 if JOINT else steps) * 2 * channels + channel
    runs = (steps + EVERY - 1) // EVERY
    for back in range(runs):
        first = (runs - 1 - back) * EVERY
        at = kept + (runs - 1 - back) * 2 * elements + n
        vn, mn = tl.load(at, inside, 0.0), tl.load(at + elements, inside, 0.0)
        at_step = first * elements
        xs, gs, us, ms = (), (), (), ()
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
            un, _, v_next, m_next = _step(vn, mn, xn, keep, rate, v_threshold)
            us, ms = us + (un,), ms + (mn,)
            vn, mn = v_next, m_next
        for i in tl.static_range(EVERY - 1, -1, -1):
            at_step -= elements
            un, mb = us[i], ms[i]
            s = tl.where(un >= v_threshold, 1.0, 0.0)
            decay = logistic(un * rate)
            raised = logistic(tl.fma(mb, decay, s))
            dm = gm - gv * s * raised * (1.0 - raised)
            slope = surrogate_slope(un, v_threshold, alpha, KIND)
            du = gv + (gs[i].to(tl.float32) + dm - gv * (v_threshold + raised)) * slope
            du += dm * mb * decay * (1.0 - decay) * rate
            there, lives = inside, True
            if UNEVEN:
                lives = first + i < steps
                there = inside & lives
                du = tl.where(lives, du, 0.0)
                gv, gm = tl.where(lives, du * keep, gv), tl.where(lives, dm * decay, gm)
            else:
                gv, gm = du * keep, dm * decay
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
        tl.store(before_m + n, gm.to(before_m.dtype.element_ty), inside)


def forward(
    x: Tensor, form: Form, states: list[Tensor], table: Tensor, steps: CLIFSteps, saves: bool
) -> tuple[Tensor, list[Tensor], Tensor]:
    """Spikes (T, B, C, H, W), the states after the last step, and what backward needs, (0,) if nothing is saved."""
    v, m = states
    spikes, (v_after, m_after) = x.new_empty(x.shape), (torch.empty_like(state) for state in states)
    kept = table.new_empty((form.runs, 2, v.numel()) if saves else (0,))
    with torch.cuda.device_of(x):
        forward_kernel[form.grid(BLOCK)](
            x, v, m, table, spikes, v_after, m_after, kept, *form[:4], float(steps.tau), float(steps.v_threshold),
            **form.settings, JOINT=len(table) == 1, SAVES=saves, SIZE=BLOCK, num_warps=WARPS,
        )  # fmt: skip
    return spikes, [v_after, m_after], kept


def backward(
    grad_spikes: Tensor,
    grads: list[Tensor] | None,
    x: Tensor,
    form: Form,
    table: Tensor,
    kept: Tensor,
    before: list[Tensor] | None,
    steps: CLIFSteps,
) -> tuple[Tensor, Tensor]:
    """The gradient of the normalised input, and its sums (programs, T or 1, 2, C) before they are added.

    Args:
        grad_spikes: Gradient of the spikes (T, B, C, H, W).
        grads: Gradients of v and m after the last step, or None for zeros.
        x: Input before batch norm.
        form: Of x.
        table: As forward used it.
        kept: As forward returned it.
        before: Filled with the gradients of v and m before the first step; None if they are not needed.
        steps: The neuron's settings.
    """
    grad = torch.empty_like(grad_spikes)
    programs, channels = form.grid(ONE_WARP)
    parts = table.new_empty(programs, len(table), 2, channels)
    # Kernels do not touch what stands in for missing gradients.
    grad_v, grad_m = grads or [table, table]
    before_v, before_m = before or [table, table]
    with torch.cuda.device_of(x):
        backward_kernel[programs, channels](
            grad_spikes, grad_v, grad_m, x, table, kept, grad, before_v, before_m, parts, *form[:4],
            float(steps.tau), float(steps.v_threshold), float(steps.alpha),
            **form.settings, KIND=steps.kind, JOINT=len(table) == 1, ENDS=grads is not None,
            STARTS=before is not None, SIZE=ONE_WARP, num_warps=1,
        )  # fmt: skip
    return grad, parts
