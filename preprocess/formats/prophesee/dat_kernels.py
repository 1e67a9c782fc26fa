"""Numba kernel that decodes .dat; it releases the GIL.

The kernel decodes a block of words, starting from the state after the previous block, until the columns are full. It
returns how it ended, the number of words consumed and the number of events.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from preprocess.formats.clock_wraps import unwrap_times
from preprocess.formats.prophesee.decoder_state import GOOD, OUTSIDE_SENSOR, UNKNOWN_WORD
from preprocess.jit import compile_kernel


@compile_kernel
def decode_dat(words: Any, height: int, width: int, clock: Any, state: Any, t: Any, x: Any, y: Any, p: Any) -> Any:
    """Decode .dat events of two words: the time in µs; x 14 bits, y 14, p 4.

    Args:
        words: uint32 (2 * N,).
        height: Sensor rows.
        width: Sensor columns.
        clock: Made by `new_clock`, of the 32 bits of the time; updated.
        state: Made by `new_state`; not used, because every event has its time.
        t: int64 (M,).
        x: uint16 (M,).
        y: uint16 (M,).
        p: uint8 (M,).

    Returns:
        How it ended, words consumed and events made.
    """
    count = min(len(words) // 2, len(t))
    ended = GOOD
    for k in range(count):
        time, word = np.int64(words[2 * k]), np.int64(words[2 * k + 1])
        row, column, polarity = (word >> 14) & 0x3FFF, word & 0x3FFF, word >> 28
        t[k], x[k], y[k], p[k] = time, column, row, polarity
        if row >= height or column >= width or polarity > 1:
            ended = UNKNOWN_WORD if row < height and column < width else OUTSIDE_SENSOR
            count = k
            break
    unwrap_times(t[:count], clock, 32, 0)
    return ended, 2 * count, count
