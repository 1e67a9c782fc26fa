"""Numba kernel that decodes AEDAT 2.0; it releases the GIL.

A kernel decodes a block of bytes into columns that the caller allocates. Sums and maxima over a run of events replace
checks of single events, so that the loops are vectorised; a run is searched only if one of its events is invalid.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from preprocess.formats.clock_wraps import unwrap_times
from preprocess.jit import compile_kernel

# Number of events after which their times are unwrapped, while they are still in the first-level cache.
_RUN = 2048


@compile_kernel
def decode_aedat2(
    words: Any,
    x_shift: int,
    x_flip: int,
    y_shift: int,
    y_flip: int,
    clock: Any,
    notes: Any,
    t: Any,
    x: Any,
    y: Any,
    p: Any,
) -> int:
    """Decode DVS128 events of AEDAT 2.0.

    Args:
        words: Addresses and timestamps of the file, big-endian but read as little-endian, uint32 (2 * N,).
        x_shift: Position of the 7 bits of x in the address.
        x_flip: 127 if x is counted from the other edge, else 0.
        y_shift: As `x_shift`.
        y_flip: As `x_flip`.
        clock: Made by `new_clock`; updated.
        notes: Counts to add to, int64 (1,): events with the special bit.
        t: int64 (N,).
        x: uint16 (N,).
        y: uint16 (N,).
        p: uint8 (N,).

    Returns:
        The first event whose address has more than 16 bits, or -1.
    """
    for start in range(0, len(t), _RUN):
        stop = min(start + _RUN, len(t))
        run = words[2 * start : 2 * stop]
        together, special = _split_aedat2(
            run, x_shift, x_flip, y_shift, y_flip, t[start:stop], x[start:stop], y[start:stop], p[start:stop]
        )
        if together > np.uint32(0xFFFF):
            k = 0
            while _swapped(run[2 * k]) <= np.uint32(0xFFFF):
                k += 1
            unwrap_times(t[start : start + k], clock, 32, 0)
            return start + k
        unwrap_times(t[start:stop], clock, 32, 0)
        notes[0] += special
    return -1


@njit(nogil=True, error_model="numpy")
def _split_aedat2(
    words: Any, x_shift: int, x_flip: int, y_shift: int, y_flip: int, t: Any, x: Any, y: Any, p: Any
) -> Any:
    """Decode a run of events; returns the bitwise OR of all addresses, and the number of special events."""
    together = np.uint32(0)
    special = np.int64(0)
    for k in range(len(t)):
        word = _swapped(words[2 * k])
        t[k] = _swapped(words[2 * k + 1])
        x[k] = ((word >> np.uint32(x_shift)) & np.uint32(127)) ^ np.uint32(x_flip)
        y[k] = ((word >> np.uint32(y_shift)) & np.uint32(127)) ^ np.uint32(y_flip)
        p[k] = (word & np.uint32(1)) ^ np.uint32(1)
        together |= word
        special += np.int64((word >> np.uint32(15)) & np.uint32(1))
    return together, special


@njit(nogil=True, inline="always")
def _swapped(word: Any) -> Any:
    """Reverse the byte order of a uint32."""
    outer = (word << np.uint32(24)) | (word >> np.uint32(24))
    inner = ((word & np.uint32(0xFF00)) << np.uint32(8)) | ((word >> np.uint32(8)) & np.uint32(0xFF00))
    return np.uint32(outer | inner)  # Numba widens shifts to 64 bits
