"""Numba kernel that decodes EVT 2.1; it releases the GIL.

The kernel decodes a block of words, starting from the state after the previous block, until the columns are full. It
returns how it ended, the number of words consumed and the number of events.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from preprocess.formats.clock_wraps import advance_clock
from preprocess.formats.prophesee.decoder_state import (
    GOOD,
    HAS_CLOCK,
    LEFT_OUT,
    OUTSIDE_SENSOR,
    TRIGGER,
    TRIGGERS,
    UNKNOWN_WORD,
)
from preprocess.jit import compile_kernel


@compile_kernel
def decode_evt21(words: Any, height: int, width: int, clock: Any, state: Any, t: Any, x: Any, y: Any, p: Any) -> Any:
    """Decode EVT 2.1: up to 32 events per word, and separate words with the upper 28 bits of the time.

    An event word is its type, 4 bits, the lower 6 bits of the time, the first column, 11 bits, the row, 11 bits, and a
    bit for each of 32 columns. A file may begin in the middle of a stream: events before the first word of the time are
    left out.

    Args:
        words: uint64 (N,), upper half in the upper bits.
        height: Sensor rows.
        width: Sensor columns.
        clock: Made by `new_clock`, of the upper 28 bits of the time; updated.
        state: Made by `new_state`; updated.
        t: int64 (M,), M >= 32.
        x: uint16 (M,).
        y: uint16 (M,).
        p: uint8 (M,).

    Returns:
        How it ended, words consumed and events made.
    """
    n = 0
    at = 0
    while not state[HAS_CLOCK] and at < len(words):
        kind = words[at] >> np.uint64(60)
        if kind == 0x8:
            state[HAS_CLOCK] = 1
            break
        if kind > 0x1 and kind != TRIGGER and kind != 0xE and kind != 0xF:
            return UNKNOWN_WORD, at, n
        state[TRIGGERS] += kind == TRIGGER
        if kind <= 0x1:
            state[LEFT_OUT] += _bits_of(words[at])
        at += 1
    upper = ((clock[1] << 28) + clock[0]) << 6
    while at < len(words) and n + 32 <= len(t):
        head = np.int64(words[at] >> np.uint64(32))
        kind = head >> 28
        if kind <= 0x1:
            row, first = head & 0x7FF, (head >> 11) & 0x7FF
            time = upper + ((head >> 22) & 0x3F)
            bits = np.int64(words[at] & np.uint64(0xFFFFFFFF))
            if bits and row >= height:
                x[n], y[n] = first, row
                return OUTSIDE_SENSOR, at, n
            column = first
            begin = n
            while bits:
                if bits & 1:
                    x[n], y[n] = column, row
                    if column >= width:
                        # The other events of the word are not returned, so that it can be named as a whole.
                        x[begin], y[begin] = column, row
                        return OUTSIDE_SENSOR, at, begin
                    t[n], p[n] = time, kind
                    n += 1
                bits >>= 1
                column += 1
        elif kind == 0x8:
            new = head & 0xFFFFFFF
            upper = ((advance_clock(clock, new, 28) << 28) + new) << 6
        elif kind == TRIGGER:
            state[TRIGGERS] += 1
        elif kind != 0xE and kind != 0xF:
            return UNKNOWN_WORD, at, n
        at += 1
    return GOOD, at, n


@njit(nogil=True)
def _bits_of(word: Any) -> Any:
    """Number of events of a word."""
    bits = np.int64(word & np.uint64(0xFFFFFFFF))
    count = np.int64(0)
    while bits:
        count += bits & 1
        bits >>= 1
    return count
