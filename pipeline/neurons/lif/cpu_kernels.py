"""LIF over all time steps at once, forward and backward, for the CPU; layout as in `pipeline.neurons.clif.cpu_kernels`.

Every variant is one affine update: u[t] = keep * v[t-1] + gain * x[t] + offset, with keep = 1 - 1/tau, gain = 1, or
1/tau if the input decays, and offset = v_reset / tau for the hard reset. The soft reset is v = u - s * drop.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from pipeline.kernels.jit import compile_kernel
from pipeline.kernels.surrogate_kernels import RECT, fill_row, fill_slope, rect

_BLOCK = 1024


@compile_kernel
def forward(
    x: Any,
    v: Any,
    keep: Any,
    gain: Any,
    offset: Any,
    v_threshold: Any,
    hard: bool,
    reset: Any,
    spikes: Any,
    u: Any,
    v_after: Any,
    l: int,
    r: int,
) -> None:
    """Huang et al. (ICML 2024), Eqs. 1-3, and SpikingJelly's variants, for elements l <= i < r.

    Args:
        x: Input current, float32 (T, N).
        v: Potential before the first step, float32 (N,), or (1,) if all are equal.
        keep: Fraction of the potential that remains after a step, float32.
        gain: Factor of the input, float32.
        offset: Added each step, float32.
        v_threshold: float32.
        hard: Whether a spike sets the potential to `reset`; otherwise it lowers it by `reset`.
        reset: float32.
        spikes: 0 or 1, float32 (T, N); filled.
        u: Potential before firing, float32 (T, N); filled, unless its length is 0.
        v_after: v after the last step, float32 (N,); filled.
        l: First element.
        r: Last element + 1.
    """
    one, zero = np.float32(1.0), np.float32(0.0)
    saves = len(u) > 0
    room = np.empty(_BLOCK, np.float32)
    for first in range(l, r, _BLOCK):
        last = min(first + _BLOCK, r)
        vb = v_after[first:last]
        fill_row(vb, v, first)
        for t in range(len(x)):
            xb, sb = x[t, first:last], spikes[t, first:last]
            # If nothing is saved, u goes to a row that is never read: sharing an array would prevent vectorisation.
            ub = u[t, first:last] if saves else room[: last - first]
            if hard:
                for i in range(last - first):
                    un = vb[i] * keep + xb[i] * gain + offset
                    s = one if un >= v_threshold else zero
                    vb[i] = reset if un >= v_threshold else un
                    ub[i] = un
                    sb[i] = s
            else:
                for i in range(last - first):
                    un = vb[i] * keep + xb[i] * gain + offset
                    s = one if un >= v_threshold else zero
                    vb[i] = un - s * reset
                    ub[i] = un
                    sb[i] = s


@compile_kernel
def backward(
    grad_spikes: Any,
    grad_v: Any,
    u: Any,
    keep: Any,
    gain: Any,
    v_threshold: Any,
    hard: bool,
    reset: Any,
    detach_reset: bool,
    kind: int,
    alpha: Any,
    grad_x: Any,
    before_v: Any,
    l: int,
    r: int,
) -> None:
    """The gradient of `forward`, its spikes differentiated by a surrogate, for elements l <= i < r.

    With h the surrogate at u[t] - v_th, soft: ds[t] -= dv[t] drop, du[t] = dv[t] + ds[t] h; hard: ds[t] += dv[t]
    (v_reset - u[t]), du[t] = dv[t] (1 - s[t]) + ds[t] h; the terms through the reset vanish if it is detached;
    then dx[t] = gain du[t] and dv[t-1] = keep du[t].

    Args:
        grad_spikes: Gradient of the spikes, float32 (T, N).
        grad_v: Gradient of v after the last step, float32 (N,), or (1,) if all are equal.
        u: From `forward`, float32 (T, N).
        keep: As in `forward`, like gain, v_threshold, hard and reset.
        gain: See keep.
        v_threshold: See keep.
        hard: See keep.
        reset: See keep.
        detach_reset: Whether the spike in the reset is treated as a constant.
        kind: Kind of surrogate.
        alpha: Alpha of the surrogate, float32.
        grad_x: Gradient of the input, float32 (T, N); filled.
        before_v: Gradient of v before the first step, float32 (N,); filled, unless its length is 0.
        l: First element.
        r: Last element + 1.
    """
    zero = np.float32(0.0)
    slopes, work = np.empty(_BLOCK, np.float32), np.empty(_BLOCK, np.float32)
    edge = np.float32(0.5) / alpha
    through = zero if detach_reset else np.float32(1.0)
    for first in range(l, r, _BLOCK):
        last = min(first + _BLOCK, r)
        n = last - first
        gv = work[:n]
        fill_row(gv, grad_v, first)
        for t in range(len(u) - 1, -1, -1):
            ub, gs, gx = u[t, first:last], grad_spikes[t, first:last], grad_x[t, first:last]
            if kind == RECT and not hard:
                for i in range(n):
                    slope = rect(ub[i] - v_threshold, alpha, edge)
                    du = gv[i] + (gs[i] - through * gv[i] * reset) * slope
                    gx[i] = du * gain
                    gv[i] = du * keep
                continue
            fill_slope(kind, alpha, v_threshold, ub, slopes[:n])
            if hard:
                for i in range(n):
                    ds = gs[i] + through * gv[i] * (reset - ub[i])
                    kept = zero if ub[i] >= v_threshold else gv[i]
                    du = kept + ds * slopes[i]
                    gx[i] = du * gain
                    gv[i] = du * keep
            else:
                for i in range(n):
                    du = gv[i] + (gs[i] - through * gv[i] * reset) * slopes[i]
                    gx[i] = du * gain
                    gv[i] = du * keep
        if len(before_v):
            before_v[first:last] = gv
