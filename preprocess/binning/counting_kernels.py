"""Numba kernels for binning; they release the GIL.

They do not check bounds: callers check the complete array once.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from preprocess.jit import compile_kernel


@compile_kernel
def time_ranges(t: Any, timesteps: int, l: Any, r: Any) -> None:
    """Fill l and r, int64 (T,), with the first and last + 1 index of the events of T equally long bins.

    In one pass: each event is compared with the bin of its predecessor, and only a change of the bin needs a division.
    Events before t[0], or from t[0] + T * width on, are in no bin. A bin without events has l = r = the previous r.
    """
    n = len(t)
    t0 = t[0]
    width = (t[n - 1] - t0) // timesteps
    for i in range(timesteps):
        l[i] = -1
    if width > 0:
        i = 0
        low = t0
        high = t0 + width
        for k in range(n):
            now = t[k]
            if now < low or now >= high:
                j = (now - t0) // width
                if now < t0 or j >= timesteps:
                    continue
                i = j
                low = t0 + i * width
                high = low + width
            if l[i] < 0:
                l[i] = k
            r[i] = k + 1
    previous = 0
    for i in range(timesteps):
        if l[i] < 0:
            l[i] = previous
            r[i] = previous
        previous = r[i]


@compile_kernel
def search_borders(t: Any, start: int, duration: int, borders: Any) -> None:
    """Fill borders[1:-1], int64 (F + 1,), with the results of binary searches for t >= start + i * duration.

    Each border is searched for in all of t, so that the result equals SpikingJelly's even if times are not sorted.
    """
    for i in range(1, len(borders) - 1):
        wanted = start + i * duration
        low = 0
        high = len(t)
        while low < high:
            middle = low + ((high - low) >> 1)
            if t[middle] < wanted:
                low = middle + 1
            else:
                high = middle
        borders[i] = low


@compile_kernel
def count_events(address: Any, l: Any, r: Any, frames: Any, largest: int) -> bool:
    """Add every event to its frames: ``frames[i, address[k]] += 1`` for l[i] <= k < r[i].

    Args:
        address: Pixel numbers, any unsigned type, shape (N,), all < P.
        l: First event of each frame, int64 (T,).
        r: Last event + 1 of each frame, int64 (T,).
        frames: Zeros, any unsigned type, shape (T, P).
        largest: The largest value of the type of the frames.

    Returns:
        False if a count would exceed `largest`; the frames are then incomplete.
    """
    for i in range(frames.shape[0]):
        frame = frames[i]
        for k in range(l[i], r[i]):
            a = address[k]
            count = np.int64(frame[a]) + 1
            if count > largest:
                return False
            frame[a] = count
    return True


@compile_kernel
def count_samples(address: Any, starts: Any, l: Any, r: Any, frames: Any, largest: int) -> int:
    """As `count_events`, for several samples.

    Args:
        address: Pixel numbers of all samples, any unsigned type, shape (N,), all < P.
        starts: First event of each sample, int64 (S,).
        l: First event of each frame, counted from its sample's first, int64 (S, T).
        r: Last event + 1 of each frame, likewise, int64 (S, T).
        frames: Zeros, any unsigned type, shape (S, T, P).
        largest: The largest value of the type of the frames.

    Returns:
        Number of samples whose counts fit, before the first whose counts do not.
    """
    for s in range(len(starts)):
        if not count_events(address[starts[s] :], l[s], r[s], frames[s], largest):
            return s
    return len(starts)
