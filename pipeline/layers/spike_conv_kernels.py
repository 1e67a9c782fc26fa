"""Loops of `spike_conv`: find spikes, and sum the rows of weights that they select.

A sum keeps eight vectors of 16 numbers in registers and reads a block of weights for 32 output channels, which fits in
the nearest caches, so that an addition costs little more than one load. Arrays are flat. A pixel is a position (image,
row, column), numbered in this order; a word has one bit for each of 16 channels of a pixel.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from pipeline.kernels.vectors import add, copy_8, copy_16, count_bits, load, scale, store, unlike, word, zeros
from preprocess.jit import compile_kernel

TAPS = 9
"""Tap 3 i + j is weight[:, :, i, j]: with i = 0 it reads the input pixel one row above, likewise for columns."""
WIDTH = 32
"""Output channels of a block, forward."""
LANES = 16
"""Numbers in a vector."""
WORD = 16
"""Channels per word."""
ROOM = 16
"""Elements after a list that copies may overwrite."""

STEP = 16
"""Distance of rows in a list, in sixteenths of 128 bytes; the processor multiplies it by 8 when it reads."""
PLACES = np.zeros(256 * 8, np.uint16)
"""For each byte, the positions of its 1 bits, in list steps; entries after the last bit are overwritten later."""
for _byte in range(256):
    _bits = [_bit for _bit in range(8) if _byte >> _bit & 1]
    PLACES[8 * _byte : 8 * _byte + len(_bits)] = np.array(_bits, np.uint16) * STEP


@compile_kernel
def scan(x: Any, channels: int, words: Any, most: int, l: int, r: int) -> tuple[Any, bool, int]:
    """Find the spikes among pixels l <= p < r, their value and their number.

    It stops at a second value, or at more spikes than `most`.

    Args:
        x: Input, float32 (pixels * channels,).
        channels: Cin.
        words: uint16 (pixels * ceil(Cin / 16),); filled.
        most: Number of spikes above which it stops.
        l: First pixel.
        r: Last pixel + 1.

    Returns:
        The value (0 without spikes), whether all spikes have it and are few enough, and their number.
    """
    value, count = np.float32(0.0), 0
    zero = np.float32(0.0)
    a_pixel = -(-channels // WORD)
    for p in range(l, r):
        bad = np.int64(0)
        for w in range(a_pixel):
            i = p * channels + w * WORD
            rest = channels - w * WORD
            # A last word that is not full is read up to its end, and the channels before it are shifted out.
            back = max(WORD - rest, 0)
            if i >= back:
                bits = unlike(x, i - back, zero) >> back
                if value == zero and bits:
                    k = 0
                    while x[i + k] == zero:
                        k += 1
                    value = x[i + k]
                bad |= bits & (unlike(x, i - back, value) >> back)
            else:
                bits = np.int64(0)
                for k in range(rest):
                    if x[i + k] != zero:
                        bits |= np.int64(1) << k
                        value = x[i + k] if value == zero else value
                        bad |= np.int64(x[i + k] != value)
            words[p * a_pixel + w] = bits
            count += count_bits(bits)
        if bad or count > most:
            return value, False, count
    return value, True, count


@compile_kernel
def pack_weights(
    weight: Any, strides: Any, channels: int, out: int, words: int, chunks: int, packed: Any, l: int, r: int
) -> None:
    """Copy weights to the order in which `forward` reads them, for the units l <= u < r of (block, chunk).

    Args:
        weight: float32, all of its memory.
        strides: Strides of an output channel, an input channel and a tap.
        channels: Cin.
        out: Cout.
        words: Words of input channels in a chunk.
        chunks: Number of chunks.
        packed: float32 (blocks * chunks * (9 * 16 * words + 1) * 32,): rows of 32 output channels, by tap and channel,
            and a row of zeros; filled.
        l: First unit.
        r: Last unit + 1.
    """
    wide = words * WORD
    rows = TAPS * wide + 1
    zero = np.float32(0.0)
    for u in range(l, r):
        block, chunk = u // chunks, u % chunks
        first = u * rows * WIDTH
        inputs = min(wide, channels - chunk * wide)
        outputs = min(WIDTH, out - block * WIDTH)
        packed[first + (rows - 1) * WIDTH : first + rows * WIDTH] = zero
        # The results of channels that do not exist are not read, but the weights must be initialised.
        if outputs < WIDTH:
            packed[first : first + rows * WIDTH] = zero
        # Eight output channels at a time: one set of the first-level cache has room for eight lines of the weights.
        for o in range(0, outputs, 8):
            at = (block * WIDTH + o) * strides[0] + chunk * wide * strides[1]
            for c in range(inputs):
                for tap in range(TAPS):
                    source = at + c * strides[1] + tap * strides[2]
                    to = first + (tap * wide + c) * WIDTH + o
                    for k in range(min(8, outputs - o)):
                        packed[to + k] = weight[source + k * strides[0]]


@compile_kernel
def list_pixels(
    words: Any, places: Any, a_pixel: int, w0: int, w1: int, pixel: int, pixels: int, ends: Any, cells: Any
) -> None:
    """List the spikes of channels 16 w0 .. 16 w1 - 1 of `pixels` pixels from `pixel`.

    Those of the k-th pixel are cells[ends[k]:ends[k + 1]], as channel - 16 w0 in list steps.
    """
    n = 0
    ends[0] = 0
    for k in range(pixels):
        for w in range(w0, w1):
            bits = word(words, (pixel + k) * a_pixel + w)
            base = (w - w0) * (WORD * STEP)
            copy_8(cells, n, places, (bits & 255) * 8, base)
            n += count_bits(bits & 255)
            copy_8(cells, n, places, (bits >> 8) * 8, base + 8 * STEP)
            n += count_bits(bits >> 8)
        ends[k + 1] = n


@compile_kernel
def forward(
    words: Any,
    places: Any,
    size: Any,
    chunk_words: int,
    packed: Any,
    value: Any,
    bias: Any,
    result: Any,
    rows: int,
    cells: Any,
    ends: Any,
    lists: Any,
    starts: Any,
    sums: Any,
    l: int,
    r: int,
) -> None:
    """Convolution for the groups l <= g < r of `rows` rows of pixels each.

    Args:
        words: From `scan`.
        places: `PLACES`.
        size: Images, H, W, Cin, Cout.
        chunk_words: Words of input channels in a chunk.
        packed: From `pack_weights`.
        value: Value of a spike, float32.
        bias: float32 (Cout rounded up to 32,).
        result: float32 (pixels * Cout,); filled.
        rows: Rows of pixels in a group.
        cells: Scratch, uint16 ((rows + 2) * W * 16 * chunk_words + ROOM,).
        ends: Scratch, int32 ((rows + 2) * W + 1,).
        lists: Scratch, uint16 (rows * W * chunks * (9 * 16 * chunk_words + 4) + ROOM,).
        starts: Scratch, int32 (chunks * rows * W + 1,).
        sums: Scratch, float32 (rows * W * 32,).
        l: First group.
        r: Last group + 1.
    """
    images, height, width, channels, out = size
    a_pixel = -(-channels // WORD)
    chunks = -(-a_pixel // chunk_words)
    wide = chunk_words * WORD
    block_size = (TAPS * wide + 1) * WIDTH
    for g in range(l, r):
        top, bottom = g * rows, min((g + 1) * rows, images * height)
        pixels = (bottom - top) * width
        n = 0
        for chunk in range(chunks):
            w0 = chunk * chunk_words
            above = max(top - 1, 0)
            seen = (min(bottom + 1, images * height) - above) * width
            list_pixels(words, places, a_pixel, w0, min(w0 + chunk_words, a_pixel), above * width, seen, ends, cells)
            for p in range(pixels):
                starts[chunk * pixels + p] = n
                row, column = top + p // width, p % width
                y = row % height
                for i in range(3):
                    if 0 <= y + i - 1 < height:
                        for j in range(max(0, 1 - column), min(3, width + 1 - column)):
                            k = (row + i - 1 - above) * width + column + j - 1
                            first, found = ends[k], ends[k + 1] - ends[k]
                            # Surplus elements are overwritten later; most pixels need no second copy.
                            tap = (3 * i + j) * wide * STEP
                            copy_16(lists, n, cells, first, tap)
                            for m in range(16, found, 16):
                                copy_16(lists, n + m, cells, first + m, tap)
                            n += found
                # Four sums alternate: the row of zeros completes the last turn.
                lists[n] = lists[n + 1] = lists[n + 2] = TAPS * wide * STEP
                n = (n + 3) // 4 * 4
        starts[chunks * pixels] = n
        for block in range(-(-out // WIDTH)):
            left = out - block * WIDTH
            sums[: pixels * WIDTH] = np.float32(0.0)
            for chunk in range(chunks):
                part = packed[(block * chunks + chunk) * block_size : (block * chunks + chunk + 1) * block_size]
                if left > LANES:
                    _sum_two(part, lists, starts, sums, chunk * pixels, pixels)
                else:
                    _sum_one(part, lists, starts, sums, chunk * pixels, pixels)
            for p in range(pixels):
                to = (top * width + p) * out + block * WIDTH
                if left >= WIDTH:
                    low, high = scale(load(sums, p * WIDTH), value), scale(load(sums, p * WIDTH + LANES), value)
                    store(result, to, add(low, load(bias, block * WIDTH)))
                    store(result, to + LANES, add(high, load(bias, block * WIDTH + LANES)))
                else:
                    for o in range(left):
                        result[to + o] = sums[p * WIDTH + o] * value + bias[block * WIDTH + o]


@compile_kernel
def _sum_two(part: Any, lists: Any, starts: Any, sums: Any, first: int, pixels: int) -> None:
    """Add the listed rows of `part` to the sums of each pixel, 32 channels."""
    for p in range(pixels):
        a0, a1, a2, a3 = load(sums, p * WIDTH), zeros(), zeros(), zeros()
        b0, b1, b2, b3 = load(sums, p * WIDTH + LANES), zeros(), zeros(), zeros()
        for k in range(starts[first + p], starts[first + p + 1], 4):
            i = word(lists, k) * 2
            a0, b0 = add(a0, load(part, i)), add(b0, load(part, i + LANES))
            i = word(lists, k + 1) * 2
            a1, b1 = add(a1, load(part, i)), add(b1, load(part, i + LANES))
            i = word(lists, k + 2) * 2
            a2, b2 = add(a2, load(part, i)), add(b2, load(part, i + LANES))
            i = word(lists, k + 3) * 2
            a3, b3 = add(a3, load(part, i)), add(b3, load(part, i + LANES))
        store(sums, p * WIDTH, add(add(a0, a1), add(a2, a3)))
        store(sums, p * WIDTH + LANES, add(add(b0, b1), add(b2, b3)))


@compile_kernel
def _sum_one(part: Any, lists: Any, starts: Any, sums: Any, first: int, pixels: int) -> None:
    """The same for 16 channels, for a last block that has no more."""
    for p in range(pixels):
        a0, a1, a2, a3 = load(sums, p * WIDTH), zeros(), zeros(), zeros()
        for k in range(starts[first + p], starts[first + p + 1], 4):
            a0 = add(a0, load(part, word(lists, k) * 2))
            a1 = add(a1, load(part, word(lists, k + 1) * 2))
            a2 = add(a2, load(part, word(lists, k + 2) * 2))
            a3 = add(a3, load(part, word(lists, k + 3) * 2))
        store(sums, p * WIDTH, add(add(a0, a1), add(a2, a3)))
