"""Numba kernel that decodes a chunk of Prophesee's ECF, the compression of Metavision's HDF5; it releases the GIL.

A chunk is the number of events and two flags (4 bytes), then the columns one after another, all little-endian:

- times: the first (8 bytes), then a byte for each run of equal times: the difference to the last run (4 bits) and the
  length. A length of 15 is followed by the length in 2 bytes. Differences from 15 on precede the run, as bytes whose
  upper bits are 15, each with 4 further bits of the difference.
- rows: 2 bytes for each run of equal rows, 11 bits and the length; a length of 31 is followed by the length in 2 bytes.
- columns: 2 bytes for up to six events, the first column (11 bits) and a bit for each of the next five columns.
- polarities: a byte for each run, 1 bit and the length; a length of 127 is followed by the length in 2 bytes.

With the first flag, columns and polarities are packed instead, 12 bits an event; with the second, rows too, 24 bits.
Source: https://github.com/prophesee-ai/hdf5_ecf
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from preprocess.jit import compile_kernel

# Bytes that may be read behind the last: the caller appends them.
PADDING = 16

_TIME_BITS = 60


@compile_kernel
def decode_ecf(data: Any, t: Any, x: Any, y: Any, p: Any) -> Any:
    """Decode a chunk.

    Args:
        data: Its bytes and PADDING zeros, uint8 (B,).
        t: int64 (M,), times in µs; M is the number of events that a chunk has at most.
        x: uint16 (M,).
        y: uint16 (M,).
        p: uint8 (M,).

    Returns:
        The number of events, or -1 if the chunk is damaged.
    """
    end = len(data) - PADDING
    if end < 12:
        return -1
    flags = _number(data, 0, 4)
    count = flags >> 2
    if count > len(t):
        return -1
    at = _times(data, end, t[:count])
    if at < 0:
        return -1
    if flags & 2:
        return _rows_columns_polarities(data, at, end, x[:count], y[:count], p[:count])
    at = _rows(data, at, end, y[:count])
    if at < 0:
        return -1
    if flags & 1:
        return _columns_polarities(data, at, end, x[:count], p[:count])
    at = _columns(data, at, end, x[:count])
    return _polarities(data, at, end, p[:count]) if at >= 0 else -1


@njit(nogil=True, error_model="numpy", inline="always")
def _number(data: Any, at: Any, size: int) -> Any:
    """A little-endian number of `size` bytes."""
    value = np.int64(0)
    for k in range(size):
        value |= np.int64(data[at + k]) << 8 * k
    return value


@njit(nogil=True, error_model="numpy")
def _times(data: Any, end: Any, t: Any) -> Any:
    """Read the times; returns the byte behind them, or -1."""
    time = _number(data, 4, 8)
    at = 12
    n = 0
    while n < len(t):
        if at >= end:
            return -1
        word = np.int64(data[at])
        at += 1
        shift = 0
        while word >> 4 == 15:
            if shift > _TIME_BITS or at >= end:
                return -1
            time += (word & 15) << shift
            shift += 4
            word = np.int64(data[at])
            at += 1
        time += word >> 4
        length: Any = word & 15
        if length == 15:
            length = _number(data, at, 2)
            at += 2
        if length > len(t) - n:
            return -1
        t[n : n + length] = time
        n += length
    return at


@njit(nogil=True, error_model="numpy")
def _rows(data: Any, at: Any, end: Any, y: Any) -> Any:
    n = 0
    while n < len(y):
        if at >= end:
            return -1
        word = _number(data, at, 2)
        at += 2
        length = word & 31
        if length == 31:
            length = _number(data, at, 2)
            at += 2
        if length > len(y) - n:
            return -1
        y[n : n + length] = word >> 5
        n += length
    return at


@njit(nogil=True, error_model="numpy")
def _columns(data: Any, at: Any, end: Any, x: Any) -> Any:
    n = 0
    while n < len(x):
        if at >= end:
            return -1
        word = _number(data, at, 2)
        at += 2
        x[n] = word >> 5
        n += 1
        for k in range(5):
            # The encoder may mark columns behind the last event.
            if word >> (4 - k) & 1 and n < len(x):
                x[n] = (word >> 5) + k + 1
                n += 1
    return at


@njit(nogil=True, error_model="numpy")
def _polarities(data: Any, at: Any, end: Any, p: Any) -> Any:
    n = 0
    while n < len(p):
        if at >= end:
            return -1
        word = np.int64(data[at])
        at += 1
        length: Any = word & 127
        if length == 127:
            length = _number(data, at, 2)
            at += 2
        if length > len(p) - n:
            return -1
        p[n : n + length] = word >> 7
        n += length
    return len(p) if at <= end else -1


@njit(nogil=True, error_model="numpy")
def _columns_polarities(data: Any, at: Any, end: Any, x: Any, p: Any) -> Any:
    """Read four events from three numbers of 16 bits, upper bits first; returns their number, or -1."""
    for n in range(0, len(x), 4):
        if at >= end:
            return -1
        bits = _number(data, at, 2) << 32 | _number(data, at + 2, 2) << 16 | _number(data, at + 4, 2)
        at += 6
        # The second and third event are divided: their lower bits come first.
        second = bits >> 32 & 15 | (bits >> 24 & 255) << 4
        third = bits >> 16 & 255 | (bits >> 12 & 15) << 8
        events = bits >> 36, second, third, bits & 0xFFF
        for k in range(min(4, len(x) - n)):
            x[n + k], p[n + k] = events[k] >> 1 & 0x7FF, events[k] & 1
    return len(x)


@njit(nogil=True, error_model="numpy")
def _rows_columns_polarities(data: Any, at: Any, end: Any, x: Any, y: Any, p: Any) -> Any:
    """Read four events from three numbers of 32 bits, as `_columns_polarities` does."""
    for n in range(0, len(x), 4):
        if at >= end:
            return -1
        first, middle, last = _number(data, at, 4), _number(data, at + 4, 4), _number(data, at + 8, 4)
        at += 12
        events = first >> 8, first & 255 | (middle >> 16) << 8, middle & 0xFFFF | (last >> 24) << 16, last & 0xFFFFFF
        for k in range(min(4, len(x) - n)):
            y[n + k], x[n + k], p[n + k] = events[k] >> 12 & 0x7FF, events[k] >> 1 & 0x7FF, events[k] & 1
    return len(x)
