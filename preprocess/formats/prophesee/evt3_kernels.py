"""Numba kernel that decodes EVT 3.0; it releases the GIL.

The kernel decodes a block of words, starting from the state after the previous block, until the columns are full. It
returns how it ended, the number of words consumed and the number of events.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from preprocess.formats.clock_wraps import advance_clock
from preprocess.formats.prophesee.decoder_state import (
    BASE,
    GOOD,
    HAS_CLOCK,
    HAS_LOW,
    HAS_ROW,
    LEFT_OUT,
    LOW,
    OUTSIDE_SENSOR,
    ROW,
    SIGN,
    UNKNOWN_WORD,
)
from preprocess.jit import compile_kernel


@compile_kernel
def decode_evt3(words: Any, height: int, width: int, clock: Any, state: Any, t: Any, x: Any, y: Any, p: Any) -> Any:
    """Decode EVT 3.0, which has words for rows, columns, vectors of columns and their bases, and halves of the time.

    A file may begin in the middle of a stream. Events are left out until both halves of the time and the row are known,
    and vectors until their base is known.

    Args:
        words: uint16 (N,).
        height: Sensor rows.
        width: Sensor columns.
        clock: Made by `new_clock`, of the upper 12 bits of the time; updated.
        state: Made by `new_state`; updated.
        t: int64 (M,), M >= 12.
        x: uint16 (M,).
        y: uint16 (M,).
        p: uint8 (M,).

    Returns:
        How it ended, words consumed and events made.
    """
    at = 0
    if not (state[HAS_CLOCK] and state[HAS_LOW] and state[HAS_ROW]):
        ended, at = _start_evt3(words, clock, state)
        if ended != GOOD or at == len(words):
            return ended, at, 0
    low, row, base, sign = state[LOW], state[ROW], state[BASE], state[SIGN]
    high, upper = _upper_evt3(clock)
    n = 0
    ended = GOOD
    while at < len(words) and n + 12 <= len(t):
        word = np.int64(words[at])
        kind = word >> 12
        if kind == 0x2 or kind == 0x4 or kind == 0x5:
            time = upper + low
            if kind == 0x2:
                first, bits, polarity = word & 0x7FF, np.int64(1), (word >> 11) & 1
            else:
                first, bits, polarity = base, word & (0xFFF if kind == 0x4 else 0xFF), sign
                base += 12 if kind == 0x4 else 8
                if first < 0:
                    state[LEFT_OUT] += _events_in(word)
                    base, bits = np.int64(-1), np.int64(0)
            column = first
            while bits:
                if bits & 1:
                    if row >= height or column >= width:
                        # Stored for the error message.
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
            # The sensor sends it every 16 µs, so most are equal to their predecessor.
            if word & 0xFFF != high:
                advance_clock(clock, word & 0xFFF, 12)
                high, upper = _upper_evt3(clock)
        elif kind != 0x7 and kind != 0xA and kind != 0xE and kind != 0xF:
            ended = UNKNOWN_WORD
            break
        at += 1
    state[LOW], state[ROW], state[BASE], state[SIGN] = low, row, base, sign
    return ended, at, n


@njit(nogil=True, error_model="numpy")
def _start_evt3(words: Any, clock: Any, state: Any) -> Any:
    """Consume words until the time and the row are known.

    A lower half of the time before the first upper half is ignored, because it may belong to the previous upper half.

    Returns:
        How it ended and the words consumed.
    """
    for at in range(len(words)):
        word = np.int64(words[at])
        kind = word >> 12
        if kind == 0x8:
            advance_clock(clock, word & 0xFFF, 12)
            state[HAS_CLOCK] = 1
        elif kind == 0x2 or kind == 0x4 or kind == 0x5:
            state[LEFT_OUT] += _events_in(word)
            if state[BASE] >= 0 and kind != 0x2:
                state[BASE] += 12 if kind == 0x4 else 8
        elif kind == 0x0:
            state[ROW], state[HAS_ROW] = word & 0x7FF, 1
        elif kind == 0x3:
            state[BASE], state[SIGN] = word & 0x7FF, (word >> 11) & 1
        elif kind == 0x6:
            state[LOW], state[HAS_LOW] = word & 0xFFF, state[HAS_CLOCK]
        elif kind != 0x7 and kind != 0xA and kind != 0xE and kind != 0xF:
            return UNKNOWN_WORD, at
        if state[HAS_CLOCK] and state[HAS_LOW] and state[HAS_ROW]:
            return GOOD, at + 1
    return GOOD, len(words)


@njit(nogil=True, inline="always")
def _upper_evt3(clock: Any) -> Any:
    """The last upper half of the time, and the same unwrapped in µs."""
    return clock[0], ((clock[1] << 12) + clock[0]) << 12


@njit(nogil=True)
def _events_in(word: Any) -> Any:
    """Number of events of a column or a vector of columns of EVT 3.0."""
    kind = word >> 12
    if kind == 0x2:
        return np.int64(1)
    bits = word & (0xFFF if kind == 0x4 else 0xFF)
    count = np.int64(0)
    while bits:
        count += bits & 1
        bits >>= 1
    return count
