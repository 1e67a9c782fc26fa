"""Binning written down plainly in NumPy, after the formulae: the law for the compiled one."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray


def bin_ranges(t: NDArray[np.int64], binning: Any) -> list[tuple[int, int]]:
    """[l_i, r_i) of each frame; an empty range of `number` and `time` starts and ends where the one before ended."""
    return _RULES[binning.split_by](t, binning)


def _number(t: NDArray[np.int64], binning: Any) -> list[tuple[int, int]]:
    width = len(t) // binning.timesteps
    ranges = [(i * width, (i + 1) * width) for i in range(binning.timesteps)]
    return [*ranges[:-1], (ranges[-1][0], len(t))]


def _time(t: NDArray[np.int64], binning: Any) -> list[tuple[int, int]]:
    ranges: list[tuple[int, int]] = []
    previous = 0
    span = (int(t[-1]) - int(t[0])) // binning.timesteps
    for i in range(binning.timesteps):
        inside = np.flatnonzero((t >= t[0] + i * span) & (t < t[0] + (i + 1) * span))
        l, r = (int(inside[0]), int(inside[-1]) + 1) if len(inside) else (previous, previous)
        if i == binning.timesteps - 1:
            r = len(t)
        ranges.append((l, r))
        previous = r
    return ranges


def _duration(t: NDArray[np.int64], binning: Any) -> list[tuple[int, int]]:
    numbers = (t - t.min()) // binning.duration_us
    frames = max(1, math.ceil((int(t[-1]) - int(t.min())) / binning.duration_us))
    borders = [0, *(int(np.searchsorted(numbers, i)) for i in range(1, frames)), len(t)]
    return list(pairwise(borders))


def _time_window(t: NDArray[np.int64], binning: Any) -> list[tuple[int, int]]:
    stride = binning.duration_us - binning.overlap
    starts = [int(t[0])]
    end = int(t[-1])
    # The next window is there if it ends by the last event, or begins before the window before it would cover all.
    while starts[-1] + stride + binning.duration_us <= end or (
        binning.include_incomplete and starts[-1] + binning.duration_us < end
    ):
        starts.append(starts[-1] + stride)
    return _between(t, starts, binning.duration_us)


def _fixed_window(t: NDArray[np.int64], binning: Any) -> list[tuple[int, int]]:
    first = int(t[0]) + binning.start_us
    return _between(t, [first + i * binning.duration_us for i in range(binning.timesteps)], binning.duration_us)


def _n_time_bins(t: NDArray[np.int64], binning: Any) -> list[tuple[int, int]]:
    width = (int(t[-1]) - int(t[0])) // binning.timesteps
    return _between(t, [int(t[0]) + i * width for i in range(binning.timesteps)], width)


def _between(t: NDArray[np.int64], starts: list[int], width: int) -> list[tuple[int, int]]:
    """Of times that are sorted."""
    return [(int(np.sum(t < start)), int(np.sum(t < start + width))) for start in starts]


def _event_count(t: NDArray[np.int64], binning: Any) -> list[tuple[int, int]]:
    count, stride, n = binning.event_count, binning.event_count - binning.overlap, len(t)
    if n <= count:
        return [(0, n)]
    full = [(l, l + count) for l in range(0, n, stride) if l + count <= n]
    if binning.include_incomplete and full[-1][1] < n:
        full.append((full[-1][0] + stride, n))
    return full


def _n_event_bins(t: NDArray[np.int64], binning: Any) -> list[tuple[int, int]]:
    width = len(t) // binning.timesteps
    return [(i * width, (i + 1) * width) for i in range(binning.timesteps)]


_RULES = {
    "number": _number,
    "time": _time,
    "duration": _duration,
    "time_window": _time_window,
    "event_count": _event_count,
    "n_time_bins": _n_time_bins,
    "n_event_bins": _n_event_bins,
    "fixed_window": _fixed_window,
}


def bin_events(events: Any, binning: Any) -> NDArray[np.int64]:
    """Counts, int64 (F, 2, H, W), of an object with t, x, y, p, height and width."""
    k = binning.downsample
    rows, columns = -(-events.height // k), -(-events.width // k)
    ranges = bin_ranges(events.t, binning)
    frames = np.zeros((len(ranges), 2, rows, columns), np.int64)
    for i, (l, r) in enumerate(ranges):
        place = (events.p[l:r].astype(int), events.y[l:r] // k, events.x[l:r] // k)
        np.add.at(frames[i], place, 1)
    return frames
