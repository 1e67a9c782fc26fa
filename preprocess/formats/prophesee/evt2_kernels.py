"""Numba kernel that decodes EVT 2.0; it releases the GIL.

The kernel decodes a block of words, starting from the state after the previous block, until the columns are full. It
returns how it ended, the number of words consumed and the number of events.

A fast sensor sends many events between two words with the time. Blocks that consist only of events are decoded by a
vectorised loop, the others word by word.
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

# Words of a block.
_BLOCK = 64
# Most words of blocks that are decoded together, so that they are still in the first-level cache.
_RUN = 2048
# Words that are decoded one by one after a block with other words than events. Where such blocks follow each other, as
# in recordings of slow sensors, it doubles each time, because looking at a block in vain costs a tenth of decoding it.
_LEAST, _MOST = 64, 1024


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
    some = _LEAST
    while at < len(words) and n < len(t):
        most = min(len(words) - at, len(t) - n, _RUN)
        run = _blocks_of_events(words[at : at + most])
        if run:
            first = _split_events(words[at : at + run], height, width, clock, t[n:], x[n:], y[n:], p[n:])
            at, n = at + first, n + first
            if first < run:
                return OUTSIDE_SENSOR, at, n
            some = _LEAST
        else:
            stop = at + min(most, some)
            some = min(2 * some, _MOST)
            ended, at, n = _decode_words(words, at, stop, height, width, clock, state, n, t, x, y, p)
            if ended != GOOD:
                return ended, at, n
    return GOOD, at, n


@njit(nogil=True, error_model="numpy")
def _blocks_of_events(words: Any) -> Any:
    """Number of leading words in whole blocks that consist only of events."""
    for start in range(0, len(words) - _BLOCK + 1, _BLOCK):
        together = np.uint32(0)
        for k in range(start, start + _BLOCK):
            together |= words[k]
        if together >> np.uint32(29):
            return start
    return len(words) // _BLOCK * _BLOCK


@njit(nogil=True, error_model="numpy")
def _split_events(words: Any, height: int, width: int, clock: Any, t: Any, x: Any, y: Any, p: Any) -> Any:
    """Decode words that are events of the same upper time; returns the number before the first outside the sensor."""
    upper = _upper(clock)
    right, bottom = np.uint32(0), np.uint32(0)
    for k in range(len(words)):
        word = words[k]
        column, row = (word >> np.uint32(11)) & np.uint32(0x7FF), word & np.uint32(0x7FF)
        t[k], p[k] = upper + np.int64((word >> np.uint32(22)) & np.uint32(0x3F)), word >> np.uint32(28)
        x[k], y[k] = column, row
        right, bottom = max(right, column), max(bottom, row)
    k = len(words)
    if right >= width or bottom >= height:
        k = 0
        while x[k] < width and y[k] < height:
            k += 1
    return k


@njit(nogil=True, error_model="numpy", inline="always")
def _decode_words(
    words: Any,
    at: Any,
    stop: Any,
    height: int,
    width: int,
    clock: Any,
    state: Any,
    n: Any,
    t: Any,
    x: Any,
    y: Any,
    p: Any,
) -> Any:
    """Decode words one by one; there must be room for one event per word. Returns as `decode_evt2`."""
    upper = _upper(clock)
    # Unsigned, because Numba takes a negative index from the end, at a cost.
    made: Any = np.uint64(n)
    ended = GOOD
    while at < stop:
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
            advance_clock(clock, word & 0xFFFFFFF, 28)
            upper = _upper(clock)
        elif kind == TRIGGER:
            state[TRIGGERS] += 1
        elif kind != 0xE and kind != 0xF:
            ended = UNKNOWN_WORD
            break
        at += 1
    return ended, at, np.int64(made)


@njit(nogil=True, error_model="numpy", inline="always")
def _upper(clock: Any) -> Any:
    """The upper bits of the time in µs, unwrapped."""
    return ((clock[1] << 28) + clock[0]) << 6
