"""LIF with the soft reset after batch norm, for the CPU; layout as in `pipeline.neurons.clif.cpu_with_norm_kernels`."""

from __future__ import annotations

from typing import Any

import numpy as np

from pipeline.kernels.bfloat16 import narrow, widen
from pipeline.kernels.jit import compile_kernel
from pipeline.kernels.norm_cpu import ROW, add_path, tile_affine, tile_path
from pipeline.kernels.surrogate_kernels import RECT, fill_row, fill_slope, rect

# Rows of a step in backward's path: u; sums of the gradient and of its product with x - mean; mean, scale and shift;
# the surrogate's slope.
_ROWS = 7
_STEP = _ROWS * ROW


@compile_kernel
def forward(
    x: Any,
    v: Any,
    scale: Any,
    shift: Any,
    keep: Any,
    v_threshold: Any,
    reset: Any,
    spikes: Any,
    v_after: Any,
    length: int,
    l: int,
    r: int,
) -> None:
    """Spikes and last potentials of blocks l <= block < r.

    Args:
        x: Input before batch norm, (T, N).
        v: Potential before the first step, float32 (N,), or (1,) if all are equal.
        scale: Scale of each channel, including the neuron's gain, float32 (T, C), or (1, C) for all steps.
        shift: Likewise.
        keep: Fraction of the potential that remains after a step, float32.
        v_threshold: float32.
        reset: The amount by which a spike lowers the potential, float32.
        spikes: 0 or 1, (T, N); filled.
        v_after: (N,); filled.
        length: Elements per block.
        l: First block.
        r: Last block + 1.
    """
    one, zero = np.float32(1.0), np.float32(0.0)
    tiled = np.empty(2 * len(scale) * ROW, np.float32)
    tile_affine(tiled, scale, shift, length)
    state = np.empty(ROW, np.float32)
    for block in range(l, r):
        first = block * length
        last = min(first + length, x.shape[1])
        n = last - first
        fill_row(state[:n], v, first)
        for t in range(len(x)):
            xb, sb = x[t, first:last], spikes[t, first:last]
            k = min(t, len(scale) - 1)
            row = tiled[2 * k * ROW : (2 * k + 2) * ROW]
            for i in range(n):
                un = state[i] * keep + (widen(xb[i]) * row[i] + row[i + ROW])
                s = one if un >= v_threshold else zero
                state[i] = un - s * reset
                sb[i] = narrow(sb, s)
        vb = v_after[first:last]
        for i in range(n):
            vb[i] = narrow(vb, state[i])


@compile_kernel
def backward(
    grad_spikes: Any,
    grad_v: Any,
    x: Any,
    v: Any,
    scale: Any,
    shift: Any,
    mean: Any,
    keep: Any,
    v_threshold: Any,
    reset: Any,
    through: Any,
    kind: int,
    alpha: Any,
    grad: Any,
    before_v: Any,
    sums: Any,
    length: int,
    blocks: int,
    l: int,
    r: int,
) -> None:
    """The gradient of x * scale + shift, and its sums, for chunks l <= chunk < r.

    Args:
        grad_spikes: Gradient of the spikes, (T, N).
        grad_v: Gradient of v after the last step, float32 (N,), or (1,) if all are equal.
        x: As in `forward`, like v, scale, shift, keep, v_threshold and reset.
        v: See x.
        scale: See x.
        shift: See x.
        mean: Mean of each channel, of the shape of scale.
        keep: See x.
        v_threshold: See x.
        reset: See x.
        through: Factor of the gradient through the reset, or 0 if the reset is detached, float32.
        kind: Kind of surrogate.
        alpha: Alpha of the surrogate, float32.
        grad: (T, N); filled.
        before_v: Gradient of v before the first step, float32 (N,); filled, unless its length is 0.
        sums: Sums of grad and of grad * (x - mean), float64 (chunks, T, 2, C); filled.
        length: Elements per block.
        blocks: Blocks per chunk.
        l: First chunk.
        r: Last chunk + 1.
    """
    one, zero = np.float32(1.0), np.float32(0.0)
    edge = np.float32(0.5) / alpha
    steps, elements = x.shape
    # The row of u first contains the potential before the step; on the way back, the gradient of v replaces u of the
    # following step.
    path = np.zeros((steps + 1) * _STEP, np.float32)
    tile_path(path, steps, _STEP, 3, mean, scale, shift, length)
    end = path[steps * _STEP :]
    for chunk in range(l, r):
        for first in range(chunk * blocks * length, min((chunk + 1) * blocks * length, elements), length):
            last = min(first + length, elements)
            n = last - first
            fill_row(path[:n], v, first)
            for t in range(steps):
                xb, row = x[t, first:last], path[t * _STEP : (t + 2) * _STEP]
                for i in range(n):
                    un = row[i] * keep + (widen(xb[i]) * row[i + 4 * ROW] + row[i + 5 * ROW])
                    s = one if un >= v_threshold else zero
                    row[i] = un
                    row[i + _STEP] = un - s * reset
            fill_row(end[:n], grad_v, first)
            for t in range(steps - 1, -1, -1):
                xb, gs, gb = x[t, first:last], grad_spikes[t, first:last], grad[t, first:last]
                row = path[t * _STEP : (t + 2) * _STEP]
                if kind == RECT:
                    for i in range(n):
                        dv, slope = row[i + _STEP], rect(row[i] - v_threshold, alpha, edge)
                        du = dv + (widen(gs[i]) - dv * through) * slope
                        row[i] = du * keep
                        row[i + ROW] += du
                        row[i + 2 * ROW] += du * (widen(xb[i]) - row[i + 3 * ROW])
                        gb[i] = narrow(gb, du)
                else:
                    fill_slope(kind, alpha, v_threshold, row[:n], row[6 * ROW : 6 * ROW + n])
                    for i in range(n):
                        dv, slope = row[i + _STEP], row[i + 6 * ROW]
                        du = dv + (widen(gs[i]) - dv * through) * slope
                        row[i] = du * keep
                        row[i + ROW] += du
                        row[i + 2 * ROW] += du * (widen(xb[i]) - row[i + 3 * ROW])
                        gb[i] = narrow(gb, du)
            if len(before_v):
                before_v[first:last] = path[:n]
        add_path(sums[chunk], path, steps, _STEP, 1, length)
