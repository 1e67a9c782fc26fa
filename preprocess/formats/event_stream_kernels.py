"""Numba kernel that decodes Event Stream; it releases the GIL."""

from __future__ import annotations

from typing import Any

import numpy as np

from preprocess.jit import compile_kernel

_TIME, _SKIPPED = range(2)


@compile_kernel
def decode_event_stream(
    data: Any, is_atis: bool, height: int, width: int, state: Any, t: Any, x: Any, y: Any, p: Any
) -> Any:
    """Decode events of a byte with the time and polarity, and two columns of two bytes.

    DVS: 7 bits of time, 1 bit of polarity; all ones is an overflow of 127 µs, and all ones but the last is nothing.
    ATIS: 6 bits of time, 1 bit of polarity, 1 bit that marks measurements of exposure; six ones are an overflow of
    63 µs times the last two bits.

    Args:
        data: uint8 (N,).
        is_atis: Whether the events are those of an ATIS.
        height: Sensor rows.
        width: Sensor columns.
        state: Time of the last event, and number of measurements of exposure so far, int64 (2,); updated.
        t: int64 (M,).
        x: uint16 (M,).
        y: uint16 (M,).
        p: uint8 (M,).

    Returns:
        Whether the next event is outside the sensor, bytes consumed and events made.
    """
    n = 0
    at = 0
    time = state[_TIME]
    outside = False
    while at < len(data) and n < len(t):
        byte = np.int64(data[at])
        if is_atis and byte >= 0xFC:
            time += 63 * (byte & 3)
            at += 1
            continue
        if not is_atis and byte >= 0xFE:
            time += 127 * (byte & 1)
            at += 1
            continue
        if at + 5 > len(data):
            break
        column = np.int64(data[at + 1]) | np.int64(data[at + 2]) << 8
        row = height - 1 - (np.int64(data[at + 3]) | np.int64(data[at + 4]) << 8)
        if row < 0 or column >= width:
            outside = True
            break
        time += byte >> 2 if is_atis else byte >> 1
        at += 5
        if is_atis and byte & 1:
            state[_SKIPPED] += 1
            continue
        t[n], x[n], y[n], p[n] = time, column, row, byte >> 1 & 1 if is_atis else byte & 1
        n += 1
    state[_TIME] = time
    return outside, at, n
