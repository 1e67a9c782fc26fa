"""CLIF over all time steps at once, forward and backward, for the CPU.

Elements are independent, so a block of them runs through all T steps while its state stays in the first-level cache.
Forward keeps one value per element and step, the potential before firing; backward recomputes the complementary
potential from it, which is cheaper than reading it from memory.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from pipeline.kernels.jit import compile_kernel, inline
from pipeline.kernels.surrogate_kernels import RECT, fill_row, fill_slope, rect, sigmoid
from pipeline.kernels.vectors import use_widest_vectors

# Elements per block: its rows are long enough for prefetching, and all of them stay in the second-level cache.
_BLOCK = 2048


@compile_kernel
def forward(
    x: Any,
    v: Any,
    m: Any,
    tau: Any,
    v_threshold: Any,
    spikes: Any,
    u: Any,
    v_after: Any,
    m_after: Any,
    l: int,
    r: int,
) -> None:
    """Algorithm 1 of Huang et al. (ICML 2024) for elements l <= i < r.

    Args:
        x: Input current, float32 (T, N).
        v: Potential before the first step, float32 (N,), or (1,) if all are equal.
        m: Complementary potential, likewise.
        tau: Time constant, float32.
        v_threshold: float32.
        spikes: 0 or 1, float32 (T, N); filled.
        u: Potential before firing, float32 (T, N); filled, unless its length is 0.
        v_after: v after the last step, float32 (N,); filled.
        m_after: m, likewise.
        l: First element.
        r: Last element + 1.
    """
    use_widest_vectors()
    one, zero = np.float32(1.0), np.float32(0.0)
    keep, rate = one - one / tau, one / tau
    saves = len(u) > 0
    # If nothing is saved, u goes to a row that is never read: sharing an array would prevent vectorisation.
    room = np.empty(_BLOCK, np.float32)
    state = np.empty(2 * _BLOCK, np.float32)  # v and m
    for first in range(l, r, _BLOCK):
        last = min(first + _BLOCK, r)
        n = last - first
        fill_row(state[:n], v, first)
        fill_row(state[_BLOCK : _BLOCK + n], m, first)
        for t in range(len(x)):
            xb, sb = x[t, first:last], spikes[t, first:last]
            ub = u[t, first:last] if saves else room[:n]
            for i in range(n):
                un = state[i] * keep + xb[i]
                s = one if un >= v_threshold else zero
                mn = state[i + _BLOCK] * sigmoid(un * rate) + s
                state[i] = un - s * (v_threshold + sigmoid(mn))
                state[i + _BLOCK] = mn
                ub[i] = un
                sb[i] = s
        vb, mb = v_after[first:last], m_after[first:last]
        for i in range(n):
            vb[i] = state[i]
        for i in range(n):
            mb[i] = state[i + _BLOCK]


@inline
def _back(
    dv: Any,
    dm: Any,
    ds: Any,
    s: Any,
    raised: Any,
    slope: Any,
    before: Any,
    decay: Any,
    v_threshold: Any,
    rate: Any,
) -> tuple[Any, Any]:
    """du[t] and dm[t] of one element, as in `backward`; raised is sigma(m[t]), before m[t-1], decay sigma(u/tau)."""
    one = np.float32(1.0)
    dm = dm - dv * s * raised * (one - raised)
    ds = ds + dm - dv * (v_threshold + raised)
    return dv + ds * slope + dm * before * decay * (one - decay) * rate, dm


@compile_kernel
def backward(
    grad_spikes: Any,
    grad_v: Any,
    grad_m: Any,
    u: Any,
    m: Any,
    tau: Any,
    v_threshold: Any,
    kind: int,
    alpha: Any,
    detach_m: bool,
    grad_x: Any,
    before_v: Any,
    before_m: Any,
    l: int,
    r: int,
) -> None:
    """The gradient of `forward`, its spikes differentiated by a surrogate, for elements l <= i < r.

    With v[t] = u[t] - s[t] (v_th + sigma(m[t])), m[t] = m[t-1] sigma(u[t]/tau) + s[t] and
    u[t] = (1 - 1/tau) v[t-1] + x[t], the surrogate being h:
    dm[t] += -dv[t] s[t] sigma'(m[t]);  ds[t] += dm[t] - dv[t] (v_th + sigma(m[t]));
    du[t] = dv[t] + ds[t] h(u[t] - v_th) + dm[t] m[t-1] sigma'(u[t]/tau) / tau;
    dv[t-1] = (1 - 1/tau) du[t];  dm[t-1] = dm[t] sigma(u[t]/tau).

    Args:
        grad_spikes: Gradient of the spikes, float32 (T, N).
        grad_v: Gradient of v after the last step, float32 (N,), or (1,) if all are equal.
        grad_m: Gradient of m, likewise.
        u: From `forward`, float32 (T, N).
        m: Before the first step, float32 (N,), or (1,).
        tau: Time constant, float32.
        v_threshold: float32.
        kind: Kind of surrogate.
        alpha: Alpha of the surrogate, float32.
        detach_m: Whether sigma(m) is treated as a constant.
        grad_x: Gradient of the input, float32 (T, N); filled.
        before_v: Gradient of v before the first step, float32 (N,); filled, unless its length is 0.
        before_m: Gradient of m, likewise.
        l: First element.
        r: Last element + 1.
    """
    use_widest_vectors()
    one, zero = np.float32(1.0), np.float32(0.0)
    keep, rate = one - one / tau, one / tau
    edge = np.float32(0.5) / alpha
    steps = len(u)
    # Rows of a block, two per step: sigma(u[t]/tau) and m[t-1]. They belong to this thread and stay in its cache. Each
    # shares an array, at fixed distances, with everything else that a loop writes: only then does the compiler know
    # that nothing overlaps, and vectorise the loop.
    path = np.empty(2 * (steps + 1) * _BLOCK, np.float32)
    work = np.empty(3 * _BLOCK, np.float32)  # dv, dm and the surrogate's slope
    for first in range(l, r, _BLOCK):
        last = min(first + _BLOCK, r)
        n = last - first
        fill_row(path[_BLOCK : _BLOCK + n], m, first)
        for t in range(steps):
            ub = u[t, first:last]
            row = path[2 * t * _BLOCK : (2 * t + 4) * _BLOCK]
            for i in range(n):
                decay = sigmoid(ub[i] * rate)
                row[i] = decay
                row[i + 3 * _BLOCK] = row[i + _BLOCK] * decay + (one if ub[i] >= v_threshold else zero)
        fill_row(work[:n], grad_v, first)
        fill_row(work[_BLOCK : _BLOCK + n], grad_m, first)
        for t in range(steps - 1, -1, -1):
            ub, gs, gx = u[t, first:last], grad_spikes[t, first:last], grad_x[t, first:last]
            row = path[2 * t * _BLOCK : (2 * t + 4) * _BLOCK]
            if detach_m:
                fill_slope(kind, alpha, v_threshold, ub, work[2 * _BLOCK : 2 * _BLOCK + n])
                for i in range(n):
                    dv, slope = work[i], work[i + 2 * _BLOCK]
                    du = dv + (gs[i] - dv * (v_threshold + sigmoid(row[i + 3 * _BLOCK]))) * slope
                    gx[i] = du
                    work[i] = du * keep
            elif kind == RECT:
                for i in range(n):
                    decay, before, raised = row[i], row[i + _BLOCK], sigmoid(row[i + 3 * _BLOCK])
                    slope = rect(ub[i] - v_threshold, alpha, edge)
                    s = one if ub[i] >= v_threshold else zero
                    du, dm = _back(work[i], work[i + _BLOCK], gs[i], s, raised, slope, before, decay, v_threshold, rate)
                    gx[i] = du
                    work[i] = du * keep
                    work[i + _BLOCK] = dm * decay
            else:
                fill_slope(kind, alpha, v_threshold, ub, work[2 * _BLOCK : 2 * _BLOCK + n])
                for i in range(n):
                    decay, before, raised = row[i], row[i + _BLOCK], sigmoid(row[i + 3 * _BLOCK])
                    slope = work[i + 2 * _BLOCK]
                    s = one if ub[i] >= v_threshold else zero
                    du, dm = _back(work[i], work[i + _BLOCK], gs[i], s, raised, slope, before, decay, v_threshold, rate)
                    gx[i] = du
                    work[i] = du * keep
                    work[i + _BLOCK] = dm * decay
        if len(before_v):
            before_v[first:last] = work[:n]
        if len(before_m):
            before_m[first:last] = work[_BLOCK : _BLOCK + n]
        if len(before_m) and detach_m:
            before_m[first:last] = zero
