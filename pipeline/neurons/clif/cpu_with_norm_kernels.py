"""CLIF after batch norm over all time steps at once, for the CPU; equations: `pipeline.neurons.clif.cpu_kernels`.

x is normalised as it is read: xn = x * scale + shift. Backward recomputes everything from x, so that only x is kept.
Arrays are float32, or bfloat16 as bits.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from pipeline.kernels.bfloat16 import narrow, widen
from pipeline.kernels.jit import compile_kernel
from pipeline.kernels.norm_cpu import ROW, add_path, tile_affine, tile_path
from pipeline.kernels.surrogate_kernels import RECT, fill_row, fill_slope, rect, sigmoid
from pipeline.kernels.vectors import use_widest_vectors
from pipeline.neurons.clif.cpu_kernels import _back

# Rows of a step in backward's path: u, sigma(u/tau), sigma(m[t]) and m[t-1]; sums of the gradient and of its product
# with x - mean; mean, scale and shift; the surrogate's slope.
_ROWS = 10
_STEP = _ROWS * ROW


@compile_kernel
def forward(
    x: Any,
    v: Any,
    m: Any,
    scale: Any,
    shift: Any,
    tau: Any,
    v_threshold: Any,
    spikes: Any,
    v_after: Any,
    m_after: Any,
    length: int,
    l: int,
    r: int,
) -> None:
    """Spikes and last states of blocks l <= block < r.

    Args:
        x: Input before batch norm, (T, N).
        v: Potential before the first step, float32 (N,), or (1,) if all are equal.
        m: Complementary potential, likewise.
        scale: Scale of each channel, float32 (T, C), or (1, C) for all steps.
        shift: Likewise.
        tau: float32.
        v_threshold: float32.
        spikes: 0 or 1, (T, N); filled.
        v_after: (N,); filled.
        m_after: Likewise.
        length: Elements per block.
        l: First block.
        r: Last block + 1.
    """
    use_widest_vectors()
    one, zero = np.float32(1.0), np.float32(0.0)
    keep, rate = one - one / tau, one / tau
    tiled = np.empty(2 * len(scale) * ROW, np.float32)
    tile_affine(tiled, scale, shift, length)
    state = np.empty(2 * ROW, np.float32)  # v and m
    for block in range(l, r):
        first = block * length
        last = min(first + length, x.shape[1])
        n = last - first
        fill_row(state[:n], v, first)
        fill_row(state[ROW : ROW + n], m, first)
        for t in range(len(x)):
            xb, sb = x[t, first:last], spikes[t, first:last]
            k = min(t, len(scale) - 1)
            row = tiled[2 * k * ROW : (2 * k + 2) * ROW]
            for i in range(n):
                un = state[i] * keep + (widen(xb[i]) * row[i] + row[i + ROW])
                s = one if un >= v_threshold else zero
                mn = state[i + ROW] * sigmoid(un * rate) + s
                state[i] = un - s * (v_threshold + sigmoid(mn))
                state[i + ROW] = mn
                sb[i] = narrow(sb, s)
        vb, mb = v_after[first:last], m_after[first:last]
        for i in range(n):
            vb[i] = narrow(vb, state[i])
        for i in range(n):
            mb[i] = narrow(mb, state[i + ROW])


@compile_kernel
def backward(
    grad_spikes: Any,
    grad_v: Any,
    grad_m: Any,
    x: Any,
    v: Any,
    m: Any,
    scale: Any,
    shift: Any,
    mean: Any,
    tau: Any,
    v_threshold: Any,
    kind: int,
    alpha: Any,
    grad: Any,
    before_v: Any,
    before_m: Any,
    sums: Any,
    length: int,
    blocks: int,
    l: int,
    r: int,
) -> None:
    """The gradient of the normalised input, and its sums, for chunks l <= chunk < r.

    Args:
        grad_spikes: Gradient of the spikes, (T, N).
        grad_v: Gradient of v after the last step, float32 (N,), or (1,) if all are equal.
        grad_m: Gradient of m, likewise.
        x: As in `forward`, like v, m, scale, shift, tau and v_threshold.
        v: See x.
        m: See x.
        scale: See x.
        shift: See x.
        mean: Mean of each channel, of the shape of scale.
        tau: See x.
        v_threshold: See x.
        kind: Kind of surrogate.
        alpha: Alpha of the surrogate, float32.
        grad: Gradient of x * scale + shift, (T, N); filled.
        before_v: Gradient of v before the first step, float32 (N,); filled, unless its length is 0.
        before_m: Gradient of m, likewise.
        sums: Sums of grad and of grad * (x - mean), float64 (chunks, T, 2, C); filled.
        length: Elements per block.
        blocks: Blocks per chunk.
        l: First chunk.
        r: Last chunk + 1.
    """
    use_widest_vectors()
    one, zero = np.float32(1.0), np.float32(0.0)
    keep, rate = one - one / tau, one / tau
    edge = np.float32(0.5) / alpha
    steps, elements = x.shape
    # All rows are in one array at fixed distances, from which the compiler knows that they do not overlap. The row of u
    # first contains the potential before the step; on the way back, the gradients of v and m replace sigma(u/tau) and
    # sigma(m) of the following step.
    path = np.zeros((steps + 1) * _STEP, np.float32)
    tile_path(path, steps, _STEP, 6, mean, scale, shift, length)
    end = path[steps * _STEP :]
    for chunk in range(l, r):
        for first in range(chunk * blocks * length, min((chunk + 1) * blocks * length, elements), length):
            last = min(first + length, elements)
            n = last - first
            fill_row(path[:n], v, first)
            fill_row(path[3 * ROW : 3 * ROW + n], m, first)
            for t in range(steps):
                xb, row = x[t, first:last], path[t * _STEP : (t + 2) * _STEP]
                for i in range(n):
                    un = row[i] * keep + (widen(xb[i]) * row[i + 7 * ROW] + row[i + 8 * ROW])
                    s = one if un >= v_threshold else zero
                    decay = sigmoid(un * rate)
                    mn = row[i + 3 * ROW] * decay + s
                    raised = sigmoid(mn)
                    row[i] = un
                    row[i + ROW] = decay
                    row[i + 2 * ROW] = raised
                    row[i + _STEP] = un - s * (v_threshold + raised)
                    row[i + _STEP + 3 * ROW] = mn
            fill_row(end[ROW : ROW + n], grad_v, first)
            fill_row(end[2 * ROW : 2 * ROW + n], grad_m, first)
            for t in range(steps - 1, -1, -1):
                xb, gs, gb = x[t, first:last], grad_spikes[t, first:last], grad[t, first:last]
                row = path[t * _STEP : (t + 2) * _STEP]
                if kind == RECT:
                    for i in range(n):
                        u, decay, raised, before = row[i], row[i + ROW], row[i + 2 * ROW], row[i + 3 * ROW]
                        dv, dm = row[i + _STEP + ROW], row[i + _STEP + 2 * ROW]
                        s = one if u >= v_threshold else zero
                        slope = rect(u - v_threshold, alpha, edge)
                        g = widen(gs[i])
                        du, dm = _back(dv, dm, g, s, raised, slope, before, decay, v_threshold, rate)
                        row[i + ROW] = du * keep
                        row[i + 2 * ROW] = dm * decay
                        row[i + 4 * ROW] += du
                        row[i + 5 * ROW] += du * (widen(xb[i]) - row[i + 6 * ROW])
                        gb[i] = narrow(gb, du)
                else:
                    fill_slope(kind, alpha, v_threshold, row[:n], row[9 * ROW : 9 * ROW + n])
                    for i in range(n):
                        u, decay, raised, before = row[i], row[i + ROW], row[i + 2 * ROW], row[i + 3 * ROW]
                        dv, dm = row[i + _STEP + ROW], row[i + _STEP + 2 * ROW]
                        s = one if u >= v_threshold else zero
                        slope = row[i + 9 * ROW]
                        g = widen(gs[i])
                        du, dm = _back(dv, dm, g, s, raised, slope, before, decay, v_threshold, rate)
                        row[i + ROW] = du * keep
                        row[i + 2 * ROW] = dm * decay
                        row[i + 4 * ROW] += du
                        row[i + 5 * ROW] += du * (widen(xb[i]) - row[i + 6 * ROW])
                        gb[i] = narrow(gb, du)
            if len(before_v):
                before_v[first:last] = path[ROW : ROW + n]
                before_m[first:last] = path[2 * ROW : 2 * ROW + n]
        add_path(sums[chunk], path, steps, _STEP, 4, length)
