"""Unwrap the clock of a recording, which counts up to 2^bits - 1 and starts again at 0.

Time only increases, so a step back of more than half the range is a wrap, and any step ahead is a pause. Two things
would break that for the rest of a recording and are detected: a timestamp that is far from its predecessor while its
successor is close to that predecessor (a damaged word), and a small step back from just after a wrap to just before it.
Long pauses are ambiguous: complete clock periods without any word in the file are lost, and so are those of a pause
that takes more than half the range and passes a wrap.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

if TYPE_CHECKING:
    from preprocess.formats.recording import Recording

# The state of a clock: the last value and its number of wraps, the same for its predecessor, and the number of
# isolated values.
_LAST, _WRAPS, _EARLIER, _EARLIER_WRAPS, _ISOLATED = range(5)

# Less than all times, and far from all of them.
_NEVER = -(1 << 60)


def new_clock() -> NDArray[np.int64]:
    """Return the initial state of a clock, int64 (5,)."""
    return np.array([_NEVER, 0, _NEVER, 0, 0], np.int64)


@njit(nogil=True, error_model="numpy")
def reset_clock(clock: Any) -> None:
    """Set a clock to its initial state."""
    clock[:] = 0
    clock[_LAST] = clock[_EARLIER] = _NEVER


@njit(nogil=True, error_model="numpy")
def is_plain(clock: Any) -> Any:
    """Whether `note_clock` has nothing to record."""
    return clock[_WRAPS] == 0 and clock[_ISOLATED] == 0


def note_clock(recording: Recording, clock: NDArray[np.int64]) -> None:
    """Record the number of wraps, and of timestamps that are far from both neighbours, in the recording's notes."""
    recording.note("clock_wraps", int(clock[_WRAPS]))
    recording.note("isolated_timestamps", int(clock[_ISOLATED]))


@njit(nogil=True, error_model="numpy")
def advance_clock(clock: Any, value: Any, bits: int) -> Any:
    """Advance the clock to its next value.

    Args:
        clock: State from `new_clock`; updated.
        value: The next value, below 2^bits.
        bits: Number of bits of the clock.

    Returns:
        Number of wraps since the beginning of the recording, 0 or more.
    """
    whole = np.int64(1) << bits
    small = whole >> 6
    wraps = clock[_WRAPS]
    step = value - clock[_LAST]
    if abs(step) > whole >> 2 and clock[_LAST] >= 0:
        is_near_earlier = abs(value - clock[_EARLIER]) <= small
        if step >= whole - small and wraps > 0:
            wraps -= 1  # back to just before the wrap
        elif -step >= whole - small and not (is_near_earlier and clock[_EARLIER_WRAPS] == wraps):
            wraps += 1
        elif is_near_earlier:
            wraps = clock[_EARLIER_WRAPS]
            clock[_ISOLATED] += 1
        elif -step > whole >> 1:
            wraps += 1
    clock[_EARLIER], clock[_EARLIER_WRAPS] = clock[_LAST], clock[_WRAPS]
    clock[_LAST], clock[_WRAPS] = value, wraps
    return wraps


@njit(nogil=True, error_model="numpy")
def unwrap_times(t: Any, clock: Any, bits: int, offset: int) -> None:
    """Convert the clock values of consecutive events to continuous times.

    Args:
        t: Clock values, below 2^bits; replaced by the times, int64 (N,).
        clock: State from `new_clock`; updated.
        bits: Number of bits of the clock.
        offset: Added to every time.
    """
    n = len(t)
    if n == 0:
        return
    # Nearly always, all values are in the same quarter of the range, so that no step is large.
    last = clock[_LAST]
    different = np.int64(0)
    for k in range(n):
        different |= t[k] ^ last
    if different >> (bits - 2):
        for k in range(n):
            t[k] += (advance_clock(clock, t[k], bits) << bits) + offset
        return
    clock[_EARLIER], clock[_EARLIER_WRAPS] = t[n - 2] if n > 1 else last, clock[_WRAPS]
    clock[_LAST] = t[n - 1]
    base = (clock[_WRAPS] << bits) + offset
    if base:
        for k in range(n):
            t[k] += base
