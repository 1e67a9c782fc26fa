"""Numba kernel that decodes AEDAT 3.1; it releases the GIL.

A kernel decodes a block of bytes into columns that the caller allocates. Sums and maxima over a run of events replace
checks of single events, so that the loops are vectorised; a run is searched only if one of its events is outside the
sensor or marked invalid.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from preprocess.jit import compile_kernel

# How a block ended.
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
        notes: Counts to add to, int64 (3,): events marked invalid, which are left out, slots beyond a packet's number
            of events, and events of other kinds, which are skipped.
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
            if valid < events or right >= width or bottom >= height:
                checked, kept = _keep_valid(
                    words, height, width, t[n : n + events], x[n : n + events], y[n : n + events], p[n : n + events]
                )
                notes[0] += checked - kept
                n += kept
                if checked < events:
                    return OUTSIDE_SENSOR, at + 8 * checked, n
            else:
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


@njit(nogil=True, error_model="numpy")
def _keep_valid(words: Any, height: int, width: int, t: Any, x: Any, y: Any, p: Any) -> Any:
    """Move the valid events of a decoded run to its beginning, up to the first valid one outside the sensor.

    Returns:
        The number of events up to that one, or of all, and how many of them are valid.
    """
    kept = 0
    for k in range(len(t)):
        if words[2 * k] & np.uint32(1):
            if x[k] >= width or y[k] >= height:
                return k, kept
            t[kept], x[kept], y[kept], p[kept] = t[k], x[k], y[k], p[k]
            kept += 1
    return len(t), kept
