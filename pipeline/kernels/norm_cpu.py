"""Batch norm's two sums over all pixels, forward and backward, for the CPU; the rest is in the neuron's kernels.

A sequence is stored as rows (T, N) with the channel fastest: N = pixels * C. A block consists of complete pixels. The
values of the channels are tiled to the length of a block, so that loops are long for any C. Blocks form chunks, whose
sums are added in the order of the chunks: results do not depend on the number of threads.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from pipeline.kernels.bfloat16 import narrow, widen
from pipeline.kernels.jit import compile_kernel, inline

LONGEST = 1024
"""Maximum number of elements in a block, and therefore of channels."""

# Distance between rows of a block; with a power of two they would compete for the same cache lines.
ROW = LONGEST + 16

# Element-steps whose rows fit in the second-level cache together.
_ROOM = 10 * LONGEST
_LEAST_CHUNK, _MOST_CHUNKS = 1 << 15, 32
# Blocks that are summed in float32 before the sum is added in float64.
_SHORT = 64


class Partition(NamedTuple):
    """How N elements are divided, depending only on N, C and T."""

    length: int
    """Elements per block, a multiple of C."""
    blocks: int
    """Blocks per chunk."""
    chunks: int


def partition(elements: int, channels: int, steps: int) -> Partition:
    """The blocks and chunks of rows (T, N)."""
    length = channels * max(1, min(LONGEST, max(_ROOM // steps, 256)) // channels)
    blocks = -(-elements // length)
    chunks = max(1, min(_MOST_CHUNKS, elements // _LEAST_CHUNK))
    blocks_a_chunk = max(1, -(-blocks // chunks))
    return Partition(length, blocks_a_chunk, -(-blocks // blocks_a_chunk))


@inline
def tile(row: Any, values: Any, length: int) -> None:
    """Repeat values (C,) along a row."""
    for first in range(0, length, len(values)):
        row[first : first + len(values)] = values


@inline
def add_lanes(sums: Any, lanes: Any, length: int) -> None:
    """Add the sum of each position in a block to its channel's sum, float64 (C,), and reset the positions to 0."""
    for first in range(0, length, len(sums)):
        for c in range(len(sums)):
            sums[c] += lanes[first + c]
            lanes[first + c] = np.float32(0.0)


@inline
def tile_affine(tiled: Any, scale: Any, shift: Any, length: int) -> None:
    """Fill two rows for each step of (T, C), or of (1, C) for all steps: the tiled scale and shift."""
    for t in range(len(scale)):
        tile(tiled[2 * t * ROW : (2 * t + 1) * ROW], scale[t], length)
        tile(tiled[(2 * t + 1) * ROW : (2 * t + 2) * ROW], shift[t], length)


@inline
def tile_path(path: Any, steps: int, step: int, row: int, mean: Any, scale: Any, shift: Any, length: int) -> None:
    """Fill rows `row` to `row` + 2 of every step of a backward kernel's path: the tiled mean, scale and shift.

    Args:
        path: All rows, with `step` elements for each time step.
        steps: T.
        step: Elements of a step.
        row: Number of the first of the three rows.
        mean: (T, C), or (1, C) for all steps, like scale and shift.
        scale: See mean.
        shift: See mean.
        length: Elements per block.
    """
    for t in range(steps):
        k, rows = min(t, len(scale) - 1), path[t * step + row * ROW : (t + 1) * step]
        tile(rows, mean[k], length)
        tile(rows[ROW:], scale[k], length)
        tile(rows[2 * ROW :], shift[k], length)


@inline
def add_path(sums: Any, path: Any, steps: int, step: int, row: int, length: int) -> None:
    """Set a chunk's two sums, float64 (T, 2, C), to those of rows `row` and `row` + 1 of the path, which become 0."""
    for t in range(steps):
        sums[t] = 0.0
        first = t * step + row * ROW
        add_lanes(sums[t, 0], path[first : first + ROW], length)
        add_lanes(sums[t, 1], path[first + ROW : first + 2 * ROW], length)


@compile_kernel
def moments(x: Any, length: int, blocks: int, first_value: Any, sums: Any, l: int, r: int) -> None:
    """Each channel's sums of x - k and (x - k)^2 for chunks l <= chunk < r, k being the chunk's first pixel.

    Args:
        x: float32 or the bits of bfloat16, (T, N).
        length: Elements per block.
        blocks: Blocks per chunk.
        first_value: k, float32 (chunks, T, C); filled. Without it the squares would cancel where means are large.
        sums: float64 (chunks, T, 2, C); filled.
        l: First chunk.
        r: Last chunk + 1.
    """
    elements, channels = x.shape[1], first_value.shape[2]
    work = np.zeros(3 * ROW, np.float32)  # sum, sum of squares, k
    for chunk in range(l, r):
        start = chunk * blocks * length
        end = min(start + blocks * length, elements)
        for t in range(len(x)):
            for c in range(channels):
                first_value[chunk, t, c] = widen(x[t, start + c])
            tile(work[2 * ROW :], first_value[chunk, t], length)
            sums[chunk, t] = 0.0
            since = 0
            # Four blocks at a time, so that sums are read and written once for all four.
            first = start
            while first + 4 * length <= end:
                xb = x[t, first : first + 4 * length]
                xb1, xb2, xb3 = xb[length:], xb[2 * length :], xb[3 * length :]
                for i in range(length):
                    k = work[i + 2 * ROW]
                    a, b, c, d = widen(xb[i]) - k, widen(xb1[i]) - k, widen(xb2[i]) - k, widen(xb3[i]) - k
                    work[i] += (a + b) + (c + d)
                    work[i + ROW] += (a * a + b * b) + (c * c + d * d)
                first += 4 * length
                since += 4
                if since >= _SHORT:
                    add_lanes(sums[chunk, t, 0], work[:ROW], length)
                    add_lanes(sums[chunk, t, 1], work[ROW : 2 * ROW], length)
                    since = 0
            while first < end:
                n = min(length, end - first)
                xb = x[t, first : first + n]
                for i in range(n):
                    a = widen(xb[i]) - work[i + 2 * ROW]
                    work[i] += a
                    work[i + ROW] += a * a
                first += n
            add_lanes(sums[chunk, t, 0], work[:ROW], length)
            add_lanes(sums[chunk, t, 1], work[ROW : 2 * ROW], length)


@compile_kernel
def finish(grad: Any, x: Any, factors: Any, length: int, l: int, r: int) -> None:
    """Turn the gradient of the normalised input into that of the input, in place, for blocks l <= block < r.

    Args:
        grad: float32 or the bits of bfloat16, (T, N); g becomes a g + b (x - mean) + c.
        x: Likewise.
        factors: Rows a, b, mean and c, float32 (T or 1, 4, C).
        length: Elements per block.
        l: First block.
        r: Last block + 1.
    """
    work = np.empty(4 * ROW, np.float32)
    end = min(r * length, x.shape[1])
    for t in range(len(x)):
        if t < len(factors):
            for k in range(4):
                tile(work[k * ROW : (k + 1) * ROW], factors[t, k], length)
        for first in range(l * length, end, length):
            last = min(first + length, end)
            gb, xb = grad[t, first:last], x[t, first:last]
            for i in range(last - first):
                centred = widen(xb[i]) - work[i + 2 * ROW]
                gb[i] = narrow(gb, widen(gb[i]) * work[i] + (centred * work[i + ROW] + work[i + 3 * ROW]))
