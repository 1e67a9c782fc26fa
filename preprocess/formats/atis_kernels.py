"""Numba kernel that decodes ATIS; it releases the GIL.

A kernel decodes a block of bytes into columns that the caller allocates. Sums and maxima over a run of events replace
checks of single events, so that the loops are vectorised; a run is searched only if one of its events is invalid.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from preprocess.formats.clock_wraps import advance_clock, is_plain, reset_clock, unwrap_times
from preprocess.jit import compile_kernel

# Number of events after which their times are unwrapped, while they are still in the first-level cache.
_RUN = 2048

# The bits of the clock, the row of overflow marks, and the time that a mark adds.
_ATIS_BITS, _MARK_ROW, _MARK_US = 23, 240, 1 << 13


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


@compile_kernel
def decode_atis_files(
    data: Any, ends: Any, height: int, width: int, clock: Any, t: Any, x: Any, y: Any, p: Any, counts: Any
) -> int:
    """Decode files that follow one another in memory.

    Args:
        data: The files, uint8 (B,).
        ends: The end of each file, int64 (F,).
        height: Sensor rows.
        width: Sensor columns.
        clock: Made by `new_clock`; overwritten.
        t: int64 (N,), N >= B // 5.
        x: uint16 (N,).
        y: uint16 (N,).
        p: uint8 (N,).
        counts: Output, int64 (F,): number of events of each file; -1, and no events, if something about it must be
            reported: it is empty, cut off, or has an event outside the sensor, an overflow mark or a clock that wraps.

    Returns:
        Number of events.
    """
    marks = np.zeros(1, np.int64)
    n = 0
    start = 0
    for k in range(len(ends)):
        content = data[start : ends[k]]
        start = ends[k]
        events = len(content) // 5
        counts[k] = -1
        if events == 0 or len(content) % 5:
            continue
        reset_clock(clock)
        marks[0] = 0
        end = n + events
        taken, good = decode_atis(content, height, width, clock, marks, t[n:end], x[n:end], y[n:end], p[n:end])
        if taken == events and marks[0] == 0 and is_plain(clock):
            counts[k] = good
            n += good
    return n


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
