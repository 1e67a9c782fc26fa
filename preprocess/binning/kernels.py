"""The loops over events and bytes, compiled by Numba; every one of them releases the GIL.

None of them checks bounds: callers do, once for a whole array.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from preprocess.jit import compile_kernel


@compile_kernel
def time_ranges(t: Any, timesteps: int, l: Any, r: Any) -> None:
    """Fill l and r, int64 (T,), with the first and last + 1 index of the events of T equally long bins.

    One pass: an event is compared with the bin of the event before it, and divides only where it leaves that bin.
    Events before t[0], or from t[0] + T * width on, belong to no bin. A bin without events gets l = r = the r before.
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
    """Fill borders[1:-1], int64 (F + 1,), with where a binary search finds t >= start + i * duration.

    One search over all of t for each border: where times are not sorted, that is what SpikingJelly finds.
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
        largest: What the frames' type holds at most.

    Returns:
        False as soon as a count would pass `largest`; the frames are then of no use.
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
