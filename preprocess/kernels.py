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
        found: To fill, int64 (4,): the earliest and the latest time, how many differences lie outside of
            [-2^31, 2^31), and how many are negative.

    Returns:
        How many events belong; -1 where one of them lies outside the sensor.
    """
    belong = 0
    widest = 0
    tallest = 0
    highest = 0
    for k in range(len(t)):
        belong += t[k] >= start and t[k] < end
        widest = max(widest, x[k])
        tallest = max(tallest, y[k])
        highest = max(highest, p[k])
    if belong == 0:
        return 0
    first = 0
    while t[first] < start or t[first] >= end:
        first += 1
    last = len(t) - 1
    while t[last] < start or t[last] >= end:
        last -= 1
    if last - first + 1 == belong and widest < width and tallest < height and highest < 2:
        # They lie together, as they nearly always do: loops without a branch compile to vectors.
        times[:belong] = t[first : last + 1]
        for n in range(belong):
            k = first + n
            address[n] = (np.int64(p[k]) * height + np.int64(y[k])) * width + np.int64(x[k])
    else:
        n = 0
        for k in range(first, last + 1):
            if t[k] >= start and t[k] < end:
                if x[k] >= width or y[k] >= height or p[k] > 1:
                    return -1
                address[n] = (np.int64(p[k]) * height + np.int64(y[k])) * width + np.int64(x[k])
                times[n] = t[k]
                n += 1
    step = times[0] - (times[0] if fresh else previous)
    delta[0] = np.uint32(step)
    jumps = np.int64(step < -2147483648 or step >= 2147483648)
    backwards = np.int64(step < 0)
    low = times[0]
    high = times[0]
    for n in range(1, belong):
        step = times[n] - times[n - 1]
        delta[n] = np.uint32(step)
        jumps += step < -2147483648 or step >= 2147483648
        backwards += step < 0
        low = min(low, times[n])
        high = max(high, times[n])
    found[0] = low
    found[1] = high
    found[2] = jumps
    found[3] = backwards
    return belong


@compile_kernel
def count_outside(t: Any, starts: Any, ends: Any) -> int:
    """How many times, int64 (N,), lie in none of the intervals [starts[i], ends[i]), ascending and disjoint.

    An event is compared with the interval of the event before it, and searched for only where it leaves that one.
    """
    outside = 0
    i = 0
    for k in range(len(t)):
        now = t[k]
        if now < starts[i] or now >= ends[i]:
            i = max(0, np.searchsorted(starts, now, side="right") - 1)
            outside += now < starts[i] or now >= ends[i]
    return outside


@compile_kernel
def fletcher32(data: Any) -> Any:
    """HDF5's Fletcher-32 checksum of uint8 (N,): sums of big-endian 16-bit words modulo 65535, and of those sums.

    The words are summed as they lie, little-endian, for that needs no shifts: swapping bytes is multiplying by 256
    modulo 65535, so it is done once, at the end. A block's sum of sums is a weighted sum, which compiles to vectors.
    """
    modulus = np.uint64(65535)
    words = data[: len(data) // 2 * 2].view(np.uint16)
    low = np.uint64(0)
    high = np.uint64(0)
    seen = np.uint32(0)
    k = 0
    while k < len(words):
        # 256 words are what two 32-bit sums hold: 65535 * 256 * 255 / 2 < 2^32.
        block = words[k : k + 256]
        plain = np.uint32(0)
        weighted = np.uint32(0)
        for i in range(np.uint32(len(block))):
            word = np.uint32(block[i])
            plain = np.uint32(plain + word)
            weighted = np.uint32(weighted + np.uint32(word * np.uint32(i)))
        size = np.uint64(len(block))
        high = (high + low * size + np.uint64(plain) * size - np.uint64(weighted)) % modulus
        low = (low + np.uint64(plain)) % modulus
        seen |= plain
        k += 256
    if len(data) % 2:
        last = data[len(data) - 1]
        low = (low + np.uint64(last)) % modulus
        high = (high + low) % modulus
        seen |= np.uint32(last)
    low = (low * np.uint64(256)) % modulus
    high = (high * np.uint64(256)) % modulus
    # HDF5 adds carries back instead of dividing: its sums are 0 only where all words are.
    if seen and low == 0:
        low = modulus
    if seen and high == 0:
        high = modulus
    return (high << np.uint64(16)) | low
