"""The decoding loops of Prophesee's encodings, compiled by Numba; every one of them releases the GIL.

Each takes a block of words and what the words before it left behind, fills columns until they are full, and returns
how it ended, how many words it consumed and how many events it made.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from preprocess.compiling import compile_kernel

# How a block ended.
GOOD, UNKNOWN_WORD, OUTSIDE_SENSOR = range(3)

# An EVT3 word says at most this many events.
MOST_EVENTS_A_WORD = 12


@compile_kernel
def decode_evt3(words: Any, height: int, width: int, state: Any, t: Any, x: Any, y: Any, p: Any) -> Any:
    """Decode EVT 3.0: a row, a column or the base of a vector of columns, and the two halves of the time, each a word.

    Args:
        words: uint16 (N,).
        height: Sensor rows.
        width: Sensor columns.
        state: What goes on from block to block, int64 (6,): upper time, lower time, overflows of the upper time, row,
            base column, polarity of the vector.
        t: int64 (M,), M >= 12.
        x: uint16 (M,).
        y: uint16 (M,).
        p: uint8 (M,).

    Returns:
        How it ended, words consumed and events made.
    """
    high, low, overflows, row, base, sign = state[0], state[1], state[2], state[3], state[4], state[5]
    n = 0
    at = 0
    ended = GOOD
    while at < len(words) and n + 12 <= len(t):
        word = np.int64(words[at])
        kind = word >> 12
        if kind == 0x2 or kind == 0x4 or kind == 0x5:
            time = (overflows << 24) + (high << 12) + low
            if kind == 0x2:
                first, bits, polarity = word & 0x7FF, np.int64(1), (word >> 11) & 1
            else:
                first, bits, polarity = base, word & (0xFFF if kind == 0x4 else 0xFF), sign
                base += 12 if kind == 0x4 else 8
            column = first
            while bits:
                if bits & 1:
                    if row >= height or column >= width:
                        # Left with the event, for the one who tells of it.
                        x[n], y[n] = column, row
                        ended = OUTSIDE_SENSOR
                        break
                    t[n], x[n], y[n], p[n] = time, column, row, polarity
                    n += 1
                bits >>= 1
                column += 1
            if ended != GOOD:
                break
        elif kind == 0x0:
            row = word & 0x7FF
        elif kind == 0x3:
            base, sign = word & 0x7FF, (word >> 11) & 1
        elif kind == 0x6:
            low = word & 0xFFF
        elif kind == 0x8:
            new = word & 0xFFF
            # It counts up to 4095 and begins anew; a small step back is a disorder of the sensor's, not that.
            if new < high and high - new > 2048:
                overflows += 1
            high = new
        elif kind != 0x7 and kind != 0xA and kind != 0xE and kind != 0xF:
            ended = UNKNOWN_WORD
            break
        at += 1
    state[0], state[1], state[2], state[3], state[4], state[5] = high, low, overflows, row, base, sign
    return ended, at, n


@compile_kernel
def decode_evt2(words: Any, height: int, width: int, state: Any, t: Any, x: Any, y: Any, p: Any) -> Any:
    """Decode EVT 2.0: an event a word, and the upper 28 bits of the time in words of their own.

    Args:
        words: uint32 (N,).
        height: Sensor rows.
        width: Sensor columns.
        state: What goes on from block to block, int64 (6,): upper time and its overflows.
        t: int64 (M,).
        x: uint16 (M,).
        y: uint16 (M,).
        p: uint8 (M,).

    Returns:
        How it ended, words consumed and events made.
    """
    n = 0
    at = 0
    while at < len(words) and n < len(t):
        word = np.int64(words[at])
        kind = word >> 28
        if kind <= 0x1:
            row, column = word & 0x7FF, (word >> 11) & 0x7FF
            x[n], y[n] = column, row
            if row >= height or column >= width:
                return OUTSIDE_SENSOR, at, n
            t[n] = (state[1] << 34) + (state[0] << 6) + ((word >> 22) & 0x3F)
            p[n] = kind
            n += 1
        elif kind == 0x8:
            new = word & 0xFFFFFFF
            if new < state[0] and state[0] - new > 1 << 27:
                state[1] += 1
            state[0] = new
        elif kind != 0xA and kind != 0xE and kind != 0xF:
            return UNKNOWN_WORD, at, n
        at += 1
    return GOOD, at, n


@compile_kernel
def decode_dat(words: Any, height: int, width: int, state: Any, t: Any, x: Any, y: Any, p: Any) -> Any:
    """Decode .dat events of two words: the time in µs; x 14 bits, y 14, p 4.

    Args:
        words: uint32 (2 * N,).
        height: Sensor rows.
        width: Sensor columns.
        state: What goes on from block to block, int64 (6,): last time and how often it began anew.
        t: int64 (M,).
        x: uint16 (M,).
        y: uint16 (M,).
        p: uint8 (M,).

    Returns:
        How it ended, words consumed and events made.
    """
    count = min(len(words) // 2, len(t))
    for k in range(count):
        time, word = np.int64(words[2 * k]), np.int64(words[2 * k + 1])
        row, column, polarity = (word >> 14) & 0x3FFF, word & 0x3FFF, word >> 28
        x[k], y[k] = column, row
        if row >= height or column >= width:
            return OUTSIDE_SENSOR, 2 * k, k
        if polarity > 1:
            return UNKNOWN_WORD, 2 * k, k
        if time < state[0] and state[0] - time > 1 << 31:
            state[1] += 1
        state[0] = time
        t[k] = (state[1] << 32) + time
        p[k] = polarity
    return GOOD, 2 * count, count
