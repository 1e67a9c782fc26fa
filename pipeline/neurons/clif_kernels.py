"""CLIF over all time steps at once, forward and backward, for the CPU.

Elements are independent, so a block of them runs through all T steps while its state stays in the nearest cache.
Forward keeps one value an element and step, the potential before firing; backward recomputes the complementary
potential from it, which costs less than reading it from memory would.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from pipeline.neurons.surrogate_kernels import compile_kernel, fill_surrogate, sigmoid

# Elements a block: its few rows of float32 stay in the first-level cache.
_BLOCK = 512


@compile_kernel
def forward(x: Any, v: Any, m: Any, tau: Any, v_threshold: Any, spikes: Any, u: Any, l: int, r: int) -> None:
    """Algorithm 1 of Huang et al. (ICML 2024) for elements l <= i < r.

    Args:
        x: Input current, float32 (T, N).
        v: Potential after the reset, float32 (N,); before the first step on entry, after the last on return.
        m: Complementary potential, float32 (N,); likewise.
        tau: Time constant, float32.
        v_threshold: float32.
        spikes: 0 or 1, float32 (T, N); filled.
        u: Potential before firing, float32 (T, N); filled, unless of length 0.
        l: First element.
        r: Last element + 1.
    """
    one, zero = np.float32(1.0), np.float32(0.0)
    keep, rate = one - one / tau, one / tau
    saves = len(u) > 0
    for first in range(l, r, _BLOCK):
        last = min(first + _BLOCK, r)
        vb, mb = v[first:last], m[first:last]
        for t in range(len(x)):
            xb, sb = x[t, first:last], spikes[t, first:last]
            ub = u[t, first:last] if saves else sb
            for i in range(last - first):
                un = vb[i] * keep + xb[i]
                s = one if un >= v_threshold else zero
                mn = mb[i] * sigmoid(un * rate) + s
                vb[i] = un - s * (v_threshold + sigmoid(mn))
                mb[i] = mn
                ub[i] = un
                sb[i] = s


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
        grad_spikes: Of the spikes, float32 (T, N).
        grad_v: Of v, float32 (N,); after the last step on entry, before the first on return.
        grad_m: Of m, float32 (N,); likewise.
        u: From `forward`, float32 (T, N).
        m: Before the first step, float32 (N,).
        tau: Time constant, float32.
        v_threshold: float32.
        kind: Of surrogate.
        alpha: Of surrogate, float32.
        detach_m: Whether sigma(m) counts as a constant.
        grad_x: Of the input, float32 (T, N); filled.
        l: First element.
        r: Last element + 1.
    """
    one, zero = np.float32(1.0), np.float32(0.0)
    keep, rate = one - one / tau, one / tau
    steps = len(u)
    # past[t] is m[t-1] and decay[t] is sigma(u[t]/tau); they are this thread's own and stay in its cache.
    past = np.empty((steps + 1, _BLOCK), np.float32)
    decay = np.empty((steps, _BLOCK), np.float32)
    slope, raised = np.empty(_BLOCK, np.float32), np.empty(_BLOCK, np.float32)
    # The compiler turns a loop into vector instructions only where few arrays might overlap: many short loops are fast.
    for first in range(l, r, _BLOCK):
        last = min(first + _BLOCK, r)
        n = last - first
        past[0, :n] = m[first:last]
        for t in range(steps):
            ub, ab, mb, after = u[t, first:last], decay[t], past[t], past[t + 1]
            for i in range(n):
                ab[i] = sigmoid(ub[i] * rate)
            for i in range(n):
                after[i] = mb[i] * ab[i] + (one if ub[i] >= v_threshold else zero)
        gv, gm = grad_v[first:last], grad_m[first:last]
        for t in range(steps - 1, -1, -1):
            ub, ab, mb, after = u[t, first:last], decay[t], past[t], past[t + 1]
            gs, gx = grad_spikes[t, first:last], grad_x[t, first:last]
            fill_surrogate(kind, alpha, v_threshold, ub, slope[:n])
            for i in range(n):
                raised[i] = sigmoid(after[i])
            if detach_m:
                for i in range(n):
                    gx[i] = gv[i] + (gs[i] - gv[i] * (v_threshold + raised[i])) * slope[i]
            else:
                for i in range(n):
                    s = one if ub[i] >= v_threshold else zero
                    gm[i] -= gv[i] * s * raised[i] * (one - raised[i])
                for i in range(n):
                    ds = gs[i] + gm[i] - gv[i] * (v_threshold + raised[i])
                    gx[i] = gv[i] + ds * slope[i] + gm[i] * mb[i] * ab[i] * (one - ab[i]) * rate
                for i in range(n):
                    gm[i] *= ab[i]
            for i in range(n):
                gv[i] = gx[i] * keep
        if detach_m:
            gm[:] = zero
