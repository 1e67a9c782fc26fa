"""Numba kernels that loop over the events of a recording while an event store is built; they release the GIL."""

from __future__ import annotations

from typing import Any

import numpy as np

from preprocess.jit import compile_kernel
from preprocess.store.fletcher32 import fletcher32


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
    """Copy the events with start <= t < end, in order, to arrays of linear addresses, times and time differences.

    Args:
        t: Times in µs, int64 (N,).
        x: Columns, uint16 (N,).
        y: Rows, uint16 (N,).
        p: Polarities, uint8 (N,).
        start: Start of the interval, inclusive.
        end: End of the interval, exclusive.
        height: Sensor rows.
        width: Sensor columns.
        fresh: Whether these are the first events of their sample.
        previous: Time of the sample's previous event; unused if `fresh`.
        address: Output, any unsigned type that fits 2 * height * width - 1, (N,).
        times: Output, int64 (N,).
        delta: Output, differences modulo 2^32, uint32 (N,).
        found: Output, int64 (4,): the earliest and the latest time, the number of differences outside
            [-2^31, 2^31), and the number of negative differences.

    Returns:
        Number of copied events; -1 if one of them is outside the sensor.
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
        # The events are contiguous, as they nearly always are: loops without branches are vectorised.
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
def select_recordings(
    t: Any,
    x: Any,
    y: Any,
    p: Any,
    counts: Any,
    height: int,
    width: int,
    address: Any,
    delta: Any,
    found: Any,
    checksums: Any,
) -> None:
    """As `select_events`, for all events of several recordings without jumps, each of which is one sample.

    Args:
        t: Times in µs of all recordings, int64 (N,).
        x: Columns, uint16 (N,); as all events, within the sensor.
        y: Rows, uint16 (N,).
        p: Polarities, uint8 (N,).
        counts: Number of events of each recording, at least one, int64 (R,).
        height: Sensor rows.
        width: Sensor columns.
        address: Output, any unsigned type that fits 2 * height * width - 1, (N,).
        delta: Output, uint32 (N,).
        found: Output, the earliest and the latest time and the number of negative differences, int64 (R, 3).
        checksums: Output, `checksum_segment` of each recording, int64 (R,).
    """
    for n in range(len(t)):
        address[n] = (np.int64(p[n]) * height + np.int64(y[n])) * width + np.int64(x[n])
    l = 0
    for k in range(len(counts)):
        r = l + counts[k]
        low = high = t[l]
        backwards = np.int64(0)
        delta[l] = 0
        for n in range(l + 1, r):
            step = t[n] - t[n - 1]
            delta[n] = np.uint32(step)
            backwards += step < 0
            low = min(low, t[n])
            high = max(high, t[n])
        found[k, 0], found[k, 1], found[k, 2] = low, high, backwards
        checksums[k] = checksum_segment(address[l:r], delta[l:r])
        l = r


@compile_kernel
def mark_unordered(t: Any, starts: Any, counts: Any, ordered: Any) -> None:
    """Mark recordings with a time that is earlier than its predecessor.

    Args:
        t: Times in µs of all recordings, int64 (N,).
        starts: The first event of each recording, int64 (R,).
        counts: Number of events of each recording, int64 (R,).
        ordered: Recordings to look at, bool (R,); becomes False for unordered ones.
    """
    for k in range(len(starts)):
        if ordered[k]:
            backwards = np.int64(0)
            for n in range(starts[k] + 1, starts[k] + counts[k]):
                backwards += t[n] < t[n - 1]
            ordered[k] = backwards == 0


@compile_kernel
def checksum_segment(address: Any, delta: Any) -> Any:
    """Return the checksum of the addresses and time differences of a segment, 63 bits."""
    return np.int64(fletcher32(address.view(np.uint8)) << np.uint64(31) ^ fletcher32(delta.view(np.uint8)))


@compile_kernel
def find_damaged(address: Any, delta: Any, segments: Any) -> int:
    """Return the first segment that does not match its checksum, or -1.

    Args:
        address: Addresses, any unsigned type, (N,).
        delta: Time differences, uint32 (N,).
        segments: Sample, first event, last event + 1 and checksum of each segment, int64 (S, 4).
    """
    for k in range(len(segments)):
        l, r = segments[k, 1], segments[k, 2]
        if checksum_segment(address[l:r], delta[l:r]) != segments[k, 3]:
            return k
    return -1


@compile_kernel
def count_outside(t: Any, starts: Any, ends: Any) -> int:
    """Count the times, int64 (N,), that are in none of the intervals [starts[i], ends[i]), ascending and disjoint.

    Each time is compared with the interval of its predecessor first, and searched for only if it is not in it.
    """
    outside = 0
    i = 0
    for k in range(len(t)):
        now = t[k]
        if now < starts[i] or now >= ends[i]:
            i = max(0, np.searchsorted(starts, now, side="right") - 1)
            outside += now < starts[i] or now >= ends[i]
    return outside
