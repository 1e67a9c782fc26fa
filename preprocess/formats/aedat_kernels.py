"""Numba kernels that decode AEDAT and ATIS; they release the GIL.

A kernel decodes a block of bytes into columns that the caller allocates. Sums and maxima over a run of events replace
checks of single events, so that the loops are vectorised; a run is searched only if one of its events is invalid.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from preprocess.formats.clock import advance_clock, unwrap_times
from preprocess.jit import compile_kernel

# Number of events after which their times are unwrapped, while they are still in the first-level cache.
_RUN = 2048

# The bits of ATIS's clock, the row of overflow marks, and the time that a mark adds.
_ATIS_BITS, _MARK_ROW, _MARK_US = 23, 240, 1 << 13

# How an AEDAT 3.1 block ended.
GOOD, BEYOND_FILE, WRONG_SIZE, WRONG_NUMBER, OUTSIDE_SENSOR = range(5)


@compile_kernel
def decode_aedat31(
    data: Any, left: int, height: int, width: int, packet: Any, notes: Any, t: Any, x: Any, y: Any, p: Any
) -> tuple[int, int, int]:
    """Decode the packets of a block, which may begin and end within a packet.

    Args:
        data: Bytes, uint8 (B,), B >= 28 unless the file ends.
        left: Bytes of the file from data[0] on.
        height: Sensor rows.
        width: Sensor columns.
        packet: The packet that the last block ended in, int64 (3,): payload bytes to come, whether they are polarity
            events, the upper bits of their timestamps. Zeros at the beginning of the data.
        notes: Counts to add to, int64 (3,): events marked invalid, slots beyond a packet's number of events, and
            events of other kinds, which are skipped.
        t: int64 (B // 8,).
        x: uint16 (B // 8,).
        y: uint16 (B // 8,).
        p: uint8 (B // 8,).

    Returns:
        How it ended, the bytes consumed (up to the error, if there is one), and the number of events.
    """
    n = 0
    at = 0
    while True:
        if packet[0] == 0:
            if at + 28 > len(data):
                return GOOD, at, n
            head = data[at : at + 28].view(np.uint32)
            polarity = head[0] & np.uint32(0xFFFF) == np.uint32(1)
            size, capacity, number = np.int64(head[1]), np.int64(head[4]), np.int64(head[5])
            # A division, because the product of two 32-bit numbers may exceed 63 bits.
            if size != 0 and capacity > (left - at - 28) // size:
                return BEYOND_FILE, at, n
            if polarity and size != 8 and capacity > 0:
                return WRONG_SIZE, at, n
            if number > capacity:
                return WRONG_NUMBER, at, n
            if polarity:
                notes[1] += capacity - number
            else:
                notes[2] += number
            packet[0] = size * capacity
            packet[1] = polarity
            packet[2] = np.int64(head[3]) << 31
            at += 28
        count = min(packet[0], len(data) - at)
        if packet[1]:
            count = count // 8 * 8
        if count == 0 and packet[0] > 0:
            return GOOD, at, n
        if packet[1]:
            events = count // 8
            words = data[at : at + count].view(np.uint32)
            valid, right, bottom = _decode_polarity(
                words, packet[2], t[n : n + events], x[n : n + events], y[n : n + events], p[n : n + events]
            )
            if right >= width or bottom >= height:
                k = 0
                while x[n + k] < width and y[n + k] < height:
                    k += 1
                return OUTSIDE_SENSOR, at + 8 * k, n + k
            notes[0] += events - valid
            n += events
        packet[0] -= count
        at += count


@njit(nogil=True, error_model="numpy", inline="always")
def _decode_polarity(words: Any, high: int, t: Any, x: Any, y: Any, p: Any) -> Any:
    """Decode a run of polarity events; returns the number of valid ones, the largest x and the largest y."""
    valid = np.int64(0)
    right = np.uint32(0)
    bottom = np.uint32(0)
    for k in range(len(t)):
        word = words[2 * k]
        column = word >> np.uint32(17)
        row = (word >> np.uint32(2)) & np.uint32(0x7FFF)
        t[k] = np.int64(words[2 * k + 1]) | high
        x[k] = column
        y[k] = row
        p[k] = (word >> np.uint32(1)) & np.uint32(1)
        valid += np.int64(word & np.uint32(1))
        right = max(right, column)
        bottom = max(bottom, row)
    return valid, right, bottom


@compile_kernel
def decode_aedat2(
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
        together, special = _split_aedat2(
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
def _split_aedat2(
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


@njit(nogil=True, inline="always")
def _swapped(word: Any) -> Any:
    """Reverse the byte order of a uint32."""
    outer = (word << np.uint32(24)) | (word >> np.uint32(24))
    inner = ((word & np.uint32(0xFF00)) << np.uint32(8)) | ((word >> np.uint32(8)) & np.uint32(0xFF00))
    return np.uint32(outer | inner)  # Numba widens shifts to 64 bits


@compile_kernel
def decode_atis(
    data: Any, height: int, width: int, clock: Any, marks: Any, t: Any, x: Any, y: Any, p: Any
) -> tuple[int, int]:
    """Decode 40-bit ATIS events: x 8 bits, y 8, p 1, t 23.

    Args:
        data: Bytes, uint8 (5 * N,).
        height: Sensor rows.
        width: Sensor columns.
        clock: Made by `new_clock`; updated.
        marks: Overflow marks so far, int64 (1,); updated.
        t: int64 (N,).
        x: uint16 (N,).
        y: uint16 (N,).
        p: uint8 (N,).

    Returns:
        Number of records decoded, up to the first outside the sensor, and number of events among them.
    """
    n = 0
    for start in range(0, len(t), _RUN):
        stop = min(start + _RUN, len(t))
        end = n + stop - start
        right, bottom = _split_atis(data[5 * start : 5 * stop], t[n:end], x[n:end], y[n:end], p[n:end])
        if right >= width or bottom >= min(height, _MARK_ROW):
            taken, n = _decode_marked(data, start, stop, height, width, clock, marks, n, t, x, y, p)
            if taken < stop:
                return taken, n
        else:
            unwrap_times(t[n:end], clock, _ATIS_BITS, marks[0] * _MARK_US)
            n = end
    return len(t), n


@njit(nogil=True, error_model="numpy")
def _split_atis(data: Any, t: Any, x: Any, y: Any, p: Any) -> Any:
    """Decode a run of events; returns the largest x and the largest y."""
    right = bottom = np.uint8(0)
    for k in range(len(t)):
        at = 5 * k
        x[k] = data[at]
        y[k] = data[at + 1]
        p[k] = data[at + 2] >> np.uint8(7)
        t[k] = _atis_time(data, at)
        right = max(right, data[at])
        bottom = max(bottom, data[at + 1])
    return right, bottom


@njit(nogil=True, inline="always")
def _atis_time(data: Any, at: int) -> Any:
    return (np.int64(data[at + 2] & np.uint8(127)) << 16) | (np.int64(data[at + 3]) << 8) | np.int64(data[at + 4])


@njit(nogil=True, error_model="numpy")
def _decode_marked(
    data: Any,
    start: int,
    stop: int,
    height: int,
    width: int,
    clock: Any,
    marks: Any,
    n: int,
    t: Any,
    x: Any,
    y: Any,
    p: Any,
) -> tuple[int, int]:
    """As `decode_atis`, one by one, for the few runs with overflow marks or events outside the sensor."""
    for k in range(start, stop):
        at = 5 * k
        column, row = data[at], data[at + 1]
        if column == 0 and row == _MARK_ROW:
            marks[0] += 1
            continue
        if row >= height or column >= width:
            return k, n
        time = _atis_time(data, at)
        t[n] = (advance_clock(clock, time, _ATIS_BITS) << _ATIS_BITS) + time + marks[0] * _MARK_US
        x[n], y[n], p[n] = column, row, data[at + 2] >> np.uint8(7)
        n += 1
    return stop, n
