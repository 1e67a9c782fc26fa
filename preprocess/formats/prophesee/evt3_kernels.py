"""Numba kernel that decodes EVT 3.0; it releases the GIL.

The kernel decodes a block of words, starting from the state after the previous block, until the columns are full. It
returns how it ended, the number of words consumed and the number of events.

The kinds of words follow each other in no order that a processor could predict, and each wrong prediction costs as much
as ten words. A run of words is therefore decoded without branches: every word is written as if it were an event, and
only an event advances the position. If a run turns out to be invalid, it is decoded again word by word.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

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
    TRIGGER,
    TRIGGERS,
    UNKNOWN_WORD,
)
from preprocess.jit import compile_kernel

# Words that are decoded without branches.
_RUN = 1024

# Events that may be written after the last one.
_ROOM = 4

# Bits of the kinds of words that are rare or come in groups that a processor predicts: vectors and their bases, the
# upper halves of the time, triggers, and unknown words. Of the known ones, 7, 14 and 15 are skipped.
_SPECIAL = 0xFFFF & ~(1 << 0x0 | 1 << 0x2 | 1 << 0x6 | 1 << 0x7 | 1 << 0xE | 1 << 0xF)


def _columns_of_vectors() -> NDArray[np.uint64]:
    """For the twelve bits of a vector: four bits for each of the first four columns, and the number of columns."""
    table = np.zeros(1 << 12, np.uint64)
    for bits in range(1 << 12):
        columns = [column for column in range(12) if bits >> column & 1]
        packed = sum(column << 4 * k for k, column in enumerate(columns[:4]))
        table[bits] = packed | len(columns) << 56
    return table


_COLUMNS = _columns_of_vectors()


def _of_kind(kind: int, value: int) -> NDArray[np.int64]:
    """For each kind of word: the value for the kind given, 0 for others."""
    table = np.zeros(16, np.int64)
    table[kind] = value
    return table


# The number of events of a word, the bits of the row that it replaces, and the bits of the time.
_EVENTS_OF_KIND = _of_kind(0x2, 1).astype(np.uint64)
_ROW_BITS_OF_KIND = _of_kind(0x0, 0x7FF)
_TIME_BITS_OF_KIND = _of_kind(0x6, 0xFFF)

# Every vector moves the base, also one without events. From here on columns are decoded one by one, before they need
# more bits than the array of columns has.
_LARGEST_BASE = 1 << 15


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
        t: int64 (M,), M >= 24.
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
    n = 0
    while at < len(words):
        # Every word may be a vector of twelve events, and what is written after the last event needs room too.
        stop = min(len(words), at + min(_RUN, (len(t) - n - _ROOM) // 12))
        if stop <= at:
            return GOOD, at, n
        made = _decode_run(words[at:stop], height, width, clock, state, t[n:], x[n:], y[n:], p[n:])
        if made < 0:
            ended, taken, made = _decode_words(words[at:stop], height, width, clock, state, t[n:], x[n:], y[n:], p[n:])
            if ended != GOOD:
                return ended, at + taken, n + made
        at, n = stop, n + made
    return GOOD, at, n


@njit(nogil=True, error_model="numpy")
def _decode_run(words: Any, height: int, width: int, clock: Any, state: Any, t: Any, x: Any, y: Any, p: Any) -> Any:
    """Decode words without branches.

    Returns:
        The number of events; or -1 if the words need `_decode_words`, and then state and clock are as before.
    """
    row, base, sign = state[ROW], state[BASE], state[SIGN]
    high, upper = _upper_evt3(clock)
    time = upper | state[LOW]
    clock_before = (clock[0], clock[1], clock[2], clock[3], clock[4])
    triggers = np.int64(0)
    # Unsigned, because Numba takes a negative index from the end, which costs as much as the rest of the loop.
    n: Any = np.uint64(0)
    valid = True
    for at in range(len(words)):
        word = np.int64(words[at])
        kind = word >> 12
        value = word & 0xFFF
        if (_SPECIAL >> kind) & 1:
            if kind == 0x8:
                # The sensor sends it every 16 µs, so most are equal to their predecessor.
                if value != high:
                    low = time & 0xFFF
                    advance_clock(clock, value, 12)
                    high, upper = _upper_evt3(clock)
                    time = upper | low
                continue
            if kind == 0x3:
                base, sign = word & 0x7FF, value >> 11
                continue
            if (kind != 0x4 and kind != 0x5) or base < 0 or base > _LARGEST_BASE:
                if kind == TRIGGER:
                    triggers += 1
                    continue
                valid = False
                break
            bits = value if kind == 0x4 else word & 0xFF
            n += _write_vector(bits, time, base, row, sign, n, t, x, y, p)
            base += 12 if kind == 0x4 else 8
            continue
        t[n], x[n], y[n], p[n] = time, word & 0x7FF, row, value >> 11
        of_kind = np.uint64(kind)
        n += _EVENTS_OF_KIND[of_kind]
        row ^= (row ^ word) & _ROW_BITS_OF_KIND[of_kind]
        time ^= (time ^ word) & _TIME_BITS_OF_KIND[of_kind]
    if not (valid and _are_within(height, width, x[:n], y[:n])):
        for k in range(5):
            clock[k] = clock_before[k]
        return -1
    state[LOW], state[ROW], state[BASE], state[SIGN] = time & 0xFFF, row, base, sign
    state[TRIGGERS] += triggers
    return np.int64(n)


@njit(nogil=True, error_model="numpy", inline="always")
def _are_within(height: int, width: int, x: Any, y: Any) -> Any:
    """Whether all events are within the sensor."""
    right, bottom = np.uint16(0), np.uint16(0)
    for k in range(len(x)):
        right, bottom = max(right, x[k]), max(bottom, y[k])
    return right < width and bottom < height


@njit(nogil=True, error_model="numpy", inline="always")
def _write_vector(bits: Any, time: Any, base: Any, row: Any, sign: Any, n: Any, t: Any, x: Any, y: Any, p: Any) -> Any:
    """Write the events of a vector from position n on; returns their number.

    Nearly all vectors have up to four events, so four are always written.
    """
    columns = _COLUMNS[np.uint64(bits)]
    made = columns >> np.uint64(56)
    for k in range(4):
        at = n + np.uint64(k)
        t[at], x[at] = time, base + np.int64((columns >> np.uint64(4 * k)) & np.uint64(15))
        y[at], p[at] = row, sign
    if made > np.uint64(4):
        at = n
        for bit in range(12):
            if (bits >> bit) & 1:
                t[at], x[at], y[at], p[at] = time, base + bit, row, sign
                at += np.uint64(1)
    return made


@njit(nogil=True, error_model="numpy")
def _decode_words(words: Any, height: int, width: int, clock: Any, state: Any, t: Any, x: Any, y: Any, p: Any) -> Any:
    """Decode words one by one up to the first that is invalid; there must be room for twelve events for each word."""
    low, row, base, sign = state[LOW], state[ROW], state[BASE], state[SIGN]
    high, upper = _upper_evt3(clock)
    n = 0
    at = 0
    ended = GOOD
    while at < len(words):
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
                        x[n], y[n] = min(column, 0xFFFF), row
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
        elif kind == TRIGGER:
            state[TRIGGERS] += 1
        elif kind != 0x7 and kind != 0xE and kind != 0xF:
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
        elif kind == TRIGGER:
            state[TRIGGERS] += 1
        elif kind != 0x7 and kind != 0xE and kind != 0xF:
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
