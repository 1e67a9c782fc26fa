"""Loops of `spike_conv` backward: the gradient of the weights, sums of the gradient around the pixels that spiked.

Nine sums of 16 numbers, one for each tap, follow one list and read a block of pixels of the gradient for 16 output
channels, which fits in the first-level cache. Arrays are as in `spike_conv_kernels`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from pipeline.kernels.vectors import add, load, store, word
from pipeline.layers.spike_conv_kernels import LANES, STEP, TAPS, WORD, list_pixels
from preprocess.jit import compile_kernel


@compile_kernel
def weight_gradient(
    words: Any,
    places: Any,
    size: Any,
    band: Any,
    grad: Any,
    value: Any,
    strides: Any,
    packed: Any,
    cells: Any,
    ends: Any,
    lists: Any,
    starts: Any,
    local: Any,
    result: Any,
    bias: Any,
    l: int,
    r: int,
) -> None:
    """Gradient of the weights of input channels l <= c < r, and of the bias where l is 0.

    A band consists of a few complete images or some rows of one. Its gradient for 16 output channels is copied with a
    border of its neighbours (zeros outside the image), so that a pixel's neighbours are at fixed distances: nine sums
    follow one list, the pixels where a channel spiked.

    Args:
        words: From `scan`.
        places: `PLACES`.
        size: Images, H, W, Cin, Cout.
        band: Images per band, rows per band, and bands per pass over the weights.
        grad: Gradient of the result, float32 (pixels * Cout,).
        value: Value of a spike, float32.
        strides: Strides of an output channel, an input channel and a tap in `result`.
        packed: Scratch, float32 (ceil(Cout / 16) * Cin * 9 * 16,), of which a thread uses its channels.
        cells: Scratch, uint16 (pixels of a band * 16 * words of the range + ROOM,).
        ends: Scratch, int32 (pixels of a band + 1,).
        lists: Scratch, uint16 (bands * pixels of a band * 16 * words of the range,).
        starts: Scratch, int32 (bands * (16 * words of the range + 1),).
        local: Scratch, float32 (((rows + 1) * images of a band + 1) * (W + 1) + 1) * 16,).
        result: float32, all of its memory; filled.
        bias: float32 (Cout rounded up to 16,), zeros; filled where l is 0.
        l: First channel.
        r: Last channel + 1.
    """
    images, height, width, channels, out = size
    each, rows, bands = band
    a_pixel = -(-channels // WORD)
    w0, w1 = l // WORD, -(-r // WORD)
    entries = (w1 - w0) * WORD + 1
    in_image = -(-height // rows)
    all_bands = -(-images // each) if rows == height else images * in_image
    line = width + 1
    far = line * LANES
    blocks = -(-out // LANES)
    zero = np.float32(0.0)
    for block in range(blocks):
        packed[(block * channels + l) * TAPS * LANES : (block * channels + r) * TAPS * LANES] = zero
    for group in range(0, all_bands, bands):
        last = min(group + bands, all_bands)
        n = 0
        for b in range(group, last):
            image, y = (b * each, 0) if rows == height else (b // in_image, b % in_image * rows)
            high = min(rows, height - y)
            pixels = min(each, images - image) * high * width
            list_pixels(words, places, a_pixel, w0, w1, (image * height + y) * width, pixels, ends, cells)
            first = (b - group) * entries
            _list_channels(cells, ends, pixels, width, high, starts, first, entries, lists, n)
            n += ends[pixels]
        for block in range(blocks):
            for b in range(group, last):
                image, y = (b * each, 0) if rows == height else (b // in_image, b % in_image * rows)
                high = min(rows, height - y)
                local[:] = zero
                for k in range(min(each, images - image)):
                    for row in range(max(y - 1, 0), min(y + high + 1, height)):
                        source = ((image + k) * height + row) * width * out + block * LANES
                        to = ((k * (high + 1) + row - y + 1) * line + 1) * LANES
                        own = l == 0 and y <= row < y + high
                        _copy_row(grad, source, out, out - block * LANES, local, to, width, own, bias, block * LANES)
                first = (b - group) * entries
                for c in range(l, r):
                    at = first + c - w0 * WORD
                    o = (block * channels + c) * TAPS * LANES
                    if starts[at] < starts[at + 1]:
                        _sum_nine(local, lists, starts[at], starts[at + 1], far, packed, o)
    for block in range(blocks):
        for o in range(min(LANES, out - block * LANES)):
            for c in range(l, r):
                at = (block * LANES + o) * strides[0] + c * strides[1]
                source = (block * channels + c) * TAPS * LANES + o
                for tap in range(TAPS):
                    result[at + tap * strides[2]] = packed[source + tap * LANES] * value


@compile_kernel
def _list_channels(
    cells: Any,
    ends: Any,
    pixels: int,
    width: int,
    high: int,
    starts: Any,
    first: int,
    entries: int,
    lists: Any,
    n: int,
) -> None:
    """Sort a band's spikes by channel, into lists[n:].

    Channel c's are lists[starts[first + c]:starts[first + c + 1]], each the position of its pixel in a copy with
    borders, in eighths of the position's 64 bytes.
    """
    # Counts are stored one entry later, because filling moves each start to its end, the start of the next one.
    starts[first : first + entries] = 0
    for k in range(ends[pixels]):
        channel = cells[k] // STEP
        if channel + 2 < entries:
            starts[first + channel + 2] += 1
    starts[first : first + 2] = n
    for c in range(first + 2, first + entries):
        starts[c] += starts[c - 1]
    for p in range(pixels):
        row, column = p // width, p % width
        place = ((row + row // high + 1) * (width + 1) + column + 1) * 8
        for k in range(ends[p], ends[p + 1]):
            at = first + cells[k] // STEP + 1
            lists[starts[at]] = place
            starts[at] += 1


@compile_kernel
def _copy_row(
    grad: Any,
    source: int,
    stride: int,
    left: int,
    local: Any,
    to: int,
    width: int,
    own: bool,
    bias: Any,
    at: int,
) -> None:
    """Copy up to 16 channels of a row of pixels; add them to the bias if the row belongs to the band."""
    if left >= LANES:
        for x in range(width):
            store(local, to + x * LANES, load(grad, source + x * stride))
    else:
        for x in range(width):
            for o in range(left):
                local[to + x * LANES + o] = grad[source + x * stride + o]
    if own:
        total = load(bias, at)
        for x in range(width):
            total = add(total, load(local, to + x * LANES))
        store(bias, at, total)


@compile_kernel
def _sum_nine(local: Any, lists: Any, first: int, last: int, far: int, packed: Any, o: int) -> None:
    """Add the neighbourhoods of the listed pixels to nine sums of 16 numbers."""
    a0, a1, a2 = load(packed, o), load(packed, o + LANES), load(packed, o + 2 * LANES)
    a3, a4, a5 = load(packed, o + 3 * LANES), load(packed, o + 4 * LANES), load(packed, o + 5 * LANES)
    a6, a7, a8 = load(packed, o + 6 * LANES), load(packed, o + 7 * LANES), load(packed, o + 8 * LANES)
    for k in range(first, last):
        # Through weight[:, :, 0, 0] a pixel affects the result one row below and one column to the right.
        i = word(lists, k) * 2
        a0, a1, a2 = (
            add(a0, load(local, i + far + LANES)),
            add(a1, load(local, i + far)),
            add(a2, load(local, i + far - LANES)),
        )
        a3, a4, a5 = add(a3, load(local, i + LANES)), add(a4, load(local, i)), add(a5, load(local, i - LANES))
        a6, a7, a8 = (
            add(a6, load(local, i - far + LANES)),
            add(a7, load(local, i - far)),
            add(a8, load(local, i - far - LANES)),
        )
    store(packed, o, a0)
    store(packed, o + LANES, a1)
    store(packed, o + 2 * LANES, a2)
    store(packed, o + 3 * LANES, a3)
    store(packed, o + 4 * LANES, a4)
    store(packed, o + 5 * LANES, a5)
    store(packed, o + 6 * LANES, a6)
    store(packed, o + 7 * LANES, a7)
    store(packed, o + 8 * LANES, a8)
