"""Numba kernel that decodes .dat; it releases the GIL.

The kernel decodes a block of words, starting from the state after the previous block, until the columns are full. It
returns how it ended, the number of words consumed and the number of events. Maxima over a run of events replace checks
of single events, so that the loop is vectorised; a run is searched only if one of its events is invalid.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from preprocess.formats.clock_wraps import unwrap_times
from preprocess.formats.prophesee.decoder_state import GOOD, OUTSIDE_SENSOR, UNKNOWN_WORD
from preprocess.jit import compile_kernel

# Number of events after which their times are unwrapped, while they are still in the first-level cache.
_RUN = 2048


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
    for start in range(0, count, _RUN):
        stop = min(start + _RUN, count)
        run = words[2 * start : 2 * stop]
        right, bottom, most = _split_dat(run, t[start:stop], x[start:stop], y[start:stop], p[start:stop])
        if right >= width or bottom >= height or most > 1:
            k = start
            while x[k] < width and y[k] < height and p[k] <= 1:
                k += 1
            unwrap_times(t[start:k], clock, 32, 0)
            return (UNKNOWN_WORD if y[k] < height and x[k] < width else OUTSIDE_SENSOR), 2 * k, k
        unwrap_times(t[start:stop], clock, 32, 0)
    return GOOD, 2 * count, count


@njit(nogil=True, error_model="numpy")
def _split_dat(words: Any, t: Any, x: Any, y: Any, p: Any) -> Any:
    """Decode a run of events; returns the largest column, row and polarity."""
    right, bottom, most = np.uint32(0), np.uint32(0), np.uint32(0)
    for k in range(len(t)):
        word = words[2 * k + 1]
        column, row = word & np.uint32(0x3FFF), (word >> np.uint32(14)) & np.uint32(0x3FFF)
        polarity = word >> np.uint32(28)
        t[k], x[k], y[k], p[k] = words[2 * k], column, row, polarity
        right, bottom, most = max(right, column), max(bottom, row), max(most, polarity)
    return right, bottom, most
