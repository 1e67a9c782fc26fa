"""Numba kernel that decodes EVT 3.0; it releases the GIL.

The kernel decodes a block of words, starting from the state after the previous block, until the columns are full. It
returns how it ended, the number of words consumed and the number of events.

The kinds of words follow each other in no order that a processor could predict, and each wrong prediction costs as much
as ten words. A run of words is therefore decoded without branches: every word is written as if it were an event, and
only an event advances the position. To need few instructions, an event is first written as one 64-bit number, and the
numbers of a run are split into the columns by a loop that vectorises. If a run turns out to be invalid, it is decoded
again word by word.
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

# A packed event: its column in bits 0-10 and its polarity in bit 11, as in a word, then its time and its row. The time
# counts from an origin half the range before the start of the run: in a run of 1,024 words it moves by less than 1,024
# periods of the clock (2^34 µs).
_POLARITY, _TIME, _ROW = 11, 12, 48
_TIME_BITS = 36
_ORIGIN = 1 << (_TIME_BITS - 1)

# A row and a lower half of the time are moved to both fields at once. The kind of a word of a row is 0, and that of a
# word of the time ends up beyond the field.
_TO_BOTH = (1 << _ROW) + (1 << _TIME)


def _replaced_bits() -> NDArray[np.int64]:
    """For each kind of word, the bits of a packed event that it replaces; -1 for kinds that need a branch.

    Those are rare or come in groups that a processor predicts: vectors and their bases, the upper halves of the time,
    triggers, and unknown words. Of the known ones, 7, 14 and 15 are skipped.
    """
    bits = np.full(16, -1, np.int64)
    bits[[0x2, 0x7, 0xE, 0xF]] = 0
    bits[0x0] = 0x7FF << _ROW
    bits[0x6] = 0xFFF << _TIME
    return bits


def _columns_of_vectors() -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
    """For the twelve bits of a vector: its first four columns, and their number."""
    first, count = np.zeros((1 << 12, 4), np.int64), np.zeros(1 << 12, np.uint64)
    for bits in range(1 << 12):
        columns = [column for column in range(12) if bits >> column & 1]
        first[bits, : len(columns[:4])] = columns[:4]
        count[bits] = len(columns)
    return first, count


_REPLACED = _replaced_bits()
_COLUMNS, _EVENTS = _columns_of_vectors()

# Vectors from a larger base on are decoded word by word: every vector moves the base, also one without events, and a
# packed column has eleven bits.
_LARGEST_BASE = 0x7FF - 32


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
    packed = np.empty(12 * _RUN, np.int64)
    n = 0
    while at < len(words):
        # Every word may be a vector of twelve events.
        stop = min(len(words), at + min(_RUN, (len(t) - n) // 12))
        if stop <= at:
            return GOOD, at, n
        made = _decode_run(words[at:stop], packed, height, width, clock, state, t[n:], x[n:], y[n:], p[n:])
        if made < 0:
            ended, taken, made = _decode_words(words[at:stop], height, width, clock, state, t[n:], x[n:], y[n:], p[n:])
            if ended != GOOD:
                return ended, at + taken, n + made
        at, n = stop, n + made
    return GOOD, at, n


@njit(nogil=True, error_model="numpy")
def _decode_run(
    words: Any, packed: Any, height: int, width: int, clock: Any, state: Any, t: Any, x: Any, y: Any, p: Any
) -> Any:
    """Decode words without branches; `packed` has room for twelve events of every word.

    Returns:
        The number of events; or -1 if the words need `_decode_words`, and then state and clock are as before.
    """
    base, sign = state[BASE], state[SIGN] << _POLARITY
    high, upper = _upper_evt3(clock)
    origin = upper - _ORIGIN
    clock_before = (clock[0], clock[1], clock[2], clock[3], clock[4])
    # The time and the row of the next event.
    current = (state[ROW] << _ROW) | ((upper + state[LOW] - origin) << _TIME)
    triggers = np.int64(0)
    valid = True
    # Unsigned, because Numba takes a negative index from the end, which costs as much as the rest of the loop.
    at: Any = np.uint64(0)
    n: Any = np.uint64(0)
    while at < np.uint64(len(words)):
        word = np.int64(words[at])
        kind = word >> 12
        at += np.uint64(1)
        replaced = _REPLACED[np.uint64(kind)]
        if replaced >= 0:
            event = word - (0x2 << 12)
            packed[n] = current + event
            n += np.uint64(np.uint64(event) < np.uint64(1 << 12))
            current = (current & ~replaced) | ((word * _TO_BOTH) & replaced)
        elif kind == 0x3:
            base, sign = word & 0x7FF, word & 0x800
            if _group_follows(words, at) and base <= _LARGEST_BASE:
                event = current | sign
                n += _write_vector(np.int64(words[at]) & 0xFFF, event + base, n, packed)
                n += _write_vector(np.int64(words[at + np.uint64(1)]) & 0xFFF, event + base + 12, n, packed)
                n += _write_vector(np.int64(words[at + np.uint64(2)]) & 0xFF, event + base + 24, n, packed)
                base += 32
                at += np.uint64(3)
        elif kind == 0x8:
            # The sensor sends it every 16 µs, so most are equal to their predecessor.
            if word & 0xFFF != high:
                advance_clock(clock, word & 0xFFF, 12)
                high, upper = _upper_evt3(clock)
                low = (current >> _TIME) & 0xFFF
                current = (current & (0x7FF << _ROW)) | ((upper + low - origin) << _TIME)
        elif (kind == 0x4 or kind == 0x5) and 0 <= base <= _LARGEST_BASE:
            bits = word & (0xFFF if kind == 0x4 else 0xFF)
            n += _write_vector(bits, (current | sign) + base, n, packed)
            base += 12 if kind == 0x4 else 8
        elif kind == TRIGGER:
            triggers += 1
        else:
            valid = False
            break
    if not (valid and _unpack(packed[:n], origin, height, width, t, x, y, p)):
        for k in range(5):
            clock[k] = clock_before[k]
        return -1
    state[LOW], state[ROW] = (current >> _TIME) & 0xFFF, current >> _ROW
    state[BASE], state[SIGN] = base, sign >> _POLARITY
    state[TRIGGERS] += triggers
    return np.int64(n)


@njit(nogil=True, error_model="numpy", inline="always")
def _group_follows(words: Any, at: Any) -> Any:
    """Whether the next three words are vectors of 12, 12 and 8 columns: a sensor sends 32 columns after each base."""
    if at + np.uint64(3) > np.uint64(len(words)):
        return False
    first, second, third = words[at] >> 12, words[at + np.uint64(1)] >> 12, words[at + np.uint64(2)] >> 12
    return (first == 0x4) & (second == 0x4) & (third == 0x5)


@njit(nogil=True, error_model="numpy", inline="always")
def _write_vector(bits: Any, event: Any, n: Any, packed: Any) -> Any:
    """Write the events of a vector from position n on; returns their number.

    Nearly all vectors have up to four events, so four are always written. `event` is the packed event of column 0.
    """
    for k in range(4):
        packed[n + np.uint64(k)] = event + _COLUMNS[np.uint64(bits), np.uint64(k)]
    made = _EVENTS[np.uint64(bits)]
    if made > np.uint64(4):
        at = n
        for bit in range(12):
            if (bits >> bit) & 1:
                packed[at] = event + bit
                at += np.uint64(1)
    return made


@njit(nogil=True, error_model="numpy")
def _unpack(packed: Any, origin: Any, height: int, width: int, t: Any, x: Any, y: Any, p: Any) -> Any:
    """Write packed events into the columns.

    Returns:
        Whether all of them are within the sensor.
    """
    outside = np.int64(0)
    for k in range(len(packed)):
        event = packed[k]
        column, row = event & 0x7FF, event >> _ROW
        # Negative if one of the two is.
        outside |= (width - 1 - column) | (height - 1 - row)
        t[k] = ((event >> _TIME) & ((1 << _TIME_BITS) - 1)) + origin
        x[k], y[k], p[k] = column, row, (event >> _POLARITY) & 1
    return outside >= 0


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
