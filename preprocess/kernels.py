"""The loops over events and bytes, compiled by Numba; every one of them releases the GIL.

None of them checks bounds: callers do, once for a whole array.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from preprocess.compiling import compile_kernel


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


@compile_kernel
def select_events(
    t: Any,
    x: Any,
    y: Any,
    p: Any,
    start: int,
    end: int,
    height: int,
    width: int,
    fresh: bool,
    previous: int,
    address: Any,
    times: Any,
    delta: Any,
    found: Any,
) -> int:
    """Copy the events with start <= t < end, in order, as linear addresses, times and time differences.

    Args:
        t: Times in µs, int64 (N,).
        x: Columns, uint16 (N,).
        y: Rows, uint16 (N,).
        p: Polarities, uint8 (N,).
        start: The first time that belongs.
        end: The first time that no longer does.
        height: Sensor rows.
        width: Sensor columns.
        fresh: Whether the first event that belongs has none before it.
        previous: The time of that event, else.
        address: To fill, any unsigned type that holds 2 * height * width - 1, (N,).
        times: To fill, int64 (N,).
        delta: To fill with differences modulo 2^32, uint32 (N,).
        found: To fill, int64 (3,): the earliest and the latest time, and how many differences lie outside of
            [-2^31, 2^31).

    Returns:
        How many events belong; -1 where one of them lies outside the sensor.
    """
    n = 0
    jumps = 0
    low = np.int64(0)
    high = np.int64(0)
    before = np.int64(previous)
    for k in range(len(t)):
        now = t[k]
        if now < start or now >= end:
            continue
        if x[k] >= width or y[k] >= height or p[k] > 1:
            return -1
        if n == 0:
            low = high = now
            if fresh:
                before = now
        low = min(low, now)
        high = max(high, now)
        step = now - before
        before = now
        if step < -2147483648 or step >= 2147483648:
            jumps += 1
        address[n] = (np.int64(p[k]) * height + np.int64(y[k])) * width + np.int64(x[k])
        times[n] = now
        delta[n] = np.uint32(step)
        n += 1
    found[0] = low
    found[1] = high
    found[2] = jumps
    return n


@compile_kernel
def fletcher32(data: Any) -> Any:
    """HDF5's Fletcher-32 checksum of uint8 (N,): big-endian 16-bit words, ones' complement sums."""
    low = np.uint64(0)
    high = np.uint64(0)
    words = len(data) // 2
    k = 0
    while k < words:
        # 360 words are the most whose sums cannot pass 32 bits in C; here 64 bits leave ample room.
        stop = min(k + 360, words)
        while k < stop:
            low += (np.uint64(data[2 * k]) << np.uint64(8)) | np.uint64(data[2 * k + 1])
            high += low
            k += 1
        low = (low & np.uint64(0xFFFF)) + (low >> np.uint64(16))
        high = (high & np.uint64(0xFFFF)) + (high >> np.uint64(16))
    if len(data) % 2:
        low += np.uint64(data[len(data) - 1]) << np.uint64(8)
        high += low
    for _ in range(3):
        low = (low & np.uint64(0xFFFF)) + (low >> np.uint64(16))
        high = (high & np.uint64(0xFFFF)) + (high >> np.uint64(16))
    return (high << np.uint64(16)) | low
