"""Numba kernel that decodes EVT 2.0; it releases the GIL.

The kernel decodes a block of words, starting from the state after the previous block, until the columns are full. It
returns how it ended, the number of words consumed and the number of events.
"""

from __future__ import annotations

from typing import Any

import numpy as np

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
def decode_evt2(words: Any, height: int, width: int, clock: Any, state: Any, t: Any, x: Any, y: Any, p: Any) -> Any:
    """Decode EVT 2.0: one event per word, and separate words with the upper 28 bits of the time.

    A file may begin in the middle of a stream: events before the first of these words are left out.

    Args:
        words: uint32 (N,).
        height: Sensor rows.
        width: Sensor columns.
        clock: Made by `new_clock`, of the upper 28 bits of the time; updated.
        state: Made by `new_state`; updated.
        t: int64 (M,).
        x: uint16 (M,).
        y: uint16 (M,).
        p: uint8 (M,).

    Returns:
        How it ended, words consumed and events made.
    """
    n = 0
    at = 0
    while not state[HAS_CLOCK] and at < len(words):
        kind = words[at] >> 28
        if kind == 0x8:
            state[HAS_CLOCK] = 1
            break
        if kind > 0x1 and kind != TRIGGER and kind != 0xE and kind != 0xF:
            return UNKNOWN_WORD, at, n
        state[LEFT_OUT] += kind <= 0x1
        state[TRIGGERS] += kind == TRIGGER
        at += 1
    upper = ((clock[1] << 28) + clock[0]) << 6
    # Unsigned, because Numba takes a negative index from the end, at a cost.
    made: Any = np.uint64(n)
    room = np.uint64(len(t))
    ended = GOOD
    while at < len(words) and made < room:
        word = np.int64(words[np.uint64(at)])
        kind = word >> 28
        if kind <= 0x1:
            row, column = word & 0x7FF, (word >> 11) & 0x7FF
            x[made], y[made] = column, row
            if row >= height or column >= width:
                ended = OUTSIDE_SENSOR
                break
            t[made] = upper + ((word >> 22) & 0x3F)
            p[made] = kind
            made += np.uint64(1)
        elif kind == 0x8:
            new = word & 0xFFFFFFF
            upper = ((advance_clock(clock, new, 28) << 28) + new) << 6
        elif kind == TRIGGER:
            state[TRIGGERS] += 1
        elif kind != 0xE and kind != 0xF:
            ended = UNKNOWN_WORD
            break
        at += 1
    return ended, at, np.int64(made)
