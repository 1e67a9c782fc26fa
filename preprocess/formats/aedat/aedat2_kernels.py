"""Numba kernels that decode AEDAT 2.0; they release the GIL.

A kernel decodes a block of bytes into columns that the caller allocates. Sums and maxima over a run of events replace
checks of single events, so that the loops are vectorised; a run is searched only if one of its events is invalid.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from preprocess.formats.clock_wraps import unwrap_times
from preprocess.jit import compile_kernel

# Number of events after which their times are unwrapped, while they are still in the first-level cache.
_RUN = 2048


@compile_kernel
def decode_dvs128(
    words: Any,
    x_shift: int,
    x_flip: int,
    y_shift: int,
    y_flip: int,
    clock: Any,
    notes: Any,
    t: Any,
    x: Any,
    y: Any,
    p: Any,
) -> int:
    """Decode DVS128 events of AEDAT 2.0.

    Args:
        words: Addresses and timestamps of the file, big-endian but read as little-endian, uint32 (2 * N,).
        x_shift: Position of the 7 bits of x in the address.
        x_flip: 127 if x is counted from the other edge, else 0.
        y_shift: As `x_shift`.
        y_flip: As `x_flip`.
        clock: Made by `new_clock`; updated.
        notes: Counts to add to, int64 (1,): events with the special bit.
        t: int64 (N,).
        x: uint16 (N,).
        y: uint16 (N,).
        p: uint8 (N,).

    Returns:
        The first event whose address has more than 16 bits, or -1.
    """
    for start in range(0, len(t), _RUN):
        stop = min(start + _RUN, len(t))
        run = words[2 * start : 2 * stop]
        together, special = _split_dvs128(
            run, x_shift, x_flip, y_shift, y_flip, t[start:stop], x[start:stop], y[start:stop], p[start:stop]
        )
        if together > np.uint32(0xFFFF):
            k = 0
            while _swapped(run[2 * k]) <= np.uint32(0xFFFF):
                k += 1
            unwrap_times(t[start : start + k], clock, 32, 0)
            return start + k
        unwrap_times(t[start:stop], clock, 32, 0)
        notes[0] += special
    return -1


@njit(nogil=True, error_model="numpy")
def _split_dvs128(
    words: Any, x_shift: int, x_flip: int, y_shift: int, y_flip: int, t: Any, x: Any, y: Any, p: Any
) -> Any:
    """Decode a run of events; returns the bitwise OR of all addresses, and the number of special events."""
    together = np.uint32(0)
    special = np.int64(0)
    for k in range(len(t)):
        word = _swapped(words[2 * k])
        t[k] = _swapped(words[2 * k + 1])
        x[k] = ((word >> np.uint32(x_shift)) & np.uint32(127)) ^ np.uint32(x_flip)
        y[k] = ((word >> np.uint32(y_shift)) & np.uint32(127)) ^ np.uint32(y_flip)
        p[k] = (word & np.uint32(1)) ^ np.uint32(1)
        together |= word
        special += np.int64((word >> np.uint32(15)) & np.uint32(1))
    return together, special


@compile_kernel
def decode_addresses(
    words: Any,
    x_shift: int,
    x_mask: int,
    y_shift: int,
    y_mask: int,
    p_shift: int,
    other: int,
    height: int,
    width: int,
    clock: Any,
    left_out: Any,
    t: Any,
    x: Any,
    y: Any,
    p: Any,
) -> tuple[int, int]:
    """Decode events whose coordinates are both counted from the other edge, and leave other words out.

    Args:
        words: Addresses and timestamps of the file, big-endian but read as little-endian, uint32 (2 * N,).
        x_shift: Position of x in the address.
        x_mask: Bits of x.
        y_shift: As `x_shift`.
        y_mask: As `x_mask`.
        p_shift: Position of the polarity, 1 for ON.
        other: Bits of which none is set in the event of a pixel. Bit 31 marks samples of a frame or, with bits 10 and
            11, of the IMU.
        height: Sensor rows.
        width: Sensor columns.
        clock: Made by `new_clock`; updated.
        left_out: Counts to add to, int64 (3,): samples of frames, samples of the IMU, external events.
        t: int64 (N,).
        x: uint16 (N,).
        y: uint16 (N,).
        p: uint8 (N,).

    Returns:
        The number of events, and the number of the first word with an event outside the sensor, or -1.
    """
    n = 0
    right, top = width - 1, height - 1
    for start in range(0, len(t), _RUN):
        run = words[2 * start : 2 * min(start + _RUN, len(t))]
        outside = -1
        found = _keep_pixels(
            run, x_shift, x_mask, y_shift, y_mask, p_shift, other, right, top, t[n:], x[n:], y[n:], p[n:]
        )
        if found[4] > right or found[5] > top:
            outside = _first_outside(run, x_shift, x_mask, y_shift, y_mask, other, right, top)
            run = run[: 2 * outside]
            found = _keep_pixels(
                run, x_shift, x_mask, y_shift, y_mask, p_shift, other, right, top, t[n:], x[n:], y[n:], p[n:]
            )
        kept = found[0]
        unwrap_times(t[n : n + kept], clock, 32, 0)
        n += kept
        left_out[0] += found[1]
        left_out[1] += found[2]
        left_out[2] += found[3]
        if outside >= 0:
            return n, start + outside
    return n, -1


@njit(nogil=True, error_model="numpy")
def _keep_pixels(
    words: Any,
    x_shift: int,
    x_mask: int,
    y_shift: int,
    y_mask: int,
    p_shift: int,
    other: int,
    right: int,
    top: int,
    t: Any,
    x: Any,
    y: Any,
    p: Any,
) -> Any:
    """Decode the events of pixels in a run; returns their number, the counts of other words, the largest x and y."""
    frames, imus, externals = np.int64(0), np.int64(0), np.int64(0)
    most_x, most_y = np.uint32(0), np.uint32(0)
    together = np.uint32(0)
    for k in range(len(words) // 2):
        together |= words[2 * k]
    n = 0
    if _swapped(together) & np.uint32(other) == 0:
        for k in range(len(words) // 2):
            word = _swapped(words[2 * k])
            column = (word >> np.uint32(x_shift)) & np.uint32(x_mask)
            row = (word >> np.uint32(y_shift)) & np.uint32(y_mask)
            t[k] = _swapped(words[2 * k + 1])
            x[k] = np.uint32(right) - column
            y[k] = np.uint32(top) - row
            p[k] = (word >> np.uint32(p_shift)) & np.uint32(1)
            most_x = max(most_x, column)
            most_y = max(most_y, row)
        n = len(words) // 2
    else:
        for k in range(len(words) // 2):
            word = _swapped(words[2 * k])
            if word & np.uint32(other):
                is_sample = word >> np.uint32(31)
                is_imu = (word >> np.uint32(10)) & np.uint32(3) == np.uint32(3)
                frames += is_sample and not is_imu
                imus += is_sample and is_imu
                externals += not is_sample
                continue
            column = (word >> np.uint32(x_shift)) & np.uint32(x_mask)
            row = (word >> np.uint32(y_shift)) & np.uint32(y_mask)
            t[n] = _swapped(words[2 * k + 1])
            x[n] = np.uint32(right) - column
            y[n] = np.uint32(top) - row
            p[n] = (word >> np.uint32(p_shift)) & np.uint32(1)
            most_x = max(most_x, column)
            most_y = max(most_y, row)
            n += 1
    return n, frames, imus, externals, most_x, most_y


@njit(nogil=True, error_model="numpy")
def _first_outside(
    words: Any, x_shift: int, x_mask: int, y_shift: int, y_mask: int, other: int, right: int, top: int
) -> Any:
    """The first word of a run that is an event outside the sensor; there is one."""
    for k in range(len(words) // 2):
        word = _swapped(words[2 * k])
        is_pixel = word & np.uint32(other) == 0
        column = (word >> np.uint32(x_shift)) & np.uint32(x_mask)
        row = (word >> np.uint32(y_shift)) & np.uint32(y_mask)
        if is_pixel and (column > right or row > top):
            return k
    return len(words) // 2


@njit(nogil=True, inline="always")
def _swapped(word: Any) -> Any:
    """Reverse the byte order of a uint32."""
    outer = (word << np.uint32(24)) | (word >> np.uint32(24))
    inner = ((word & np.uint32(0xFF00)) << np.uint32(8)) | ((word >> np.uint32(8)) & np.uint32(0xFF00))
    return np.uint32(outer | inner)  # Numba widens shifts to 64 bits
