"""Binning written down plainly in NumPy, after the formulae: the law for the compiled one."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def bin_ranges(t: NDArray[np.int64], timesteps: int, split_by: str) -> list[tuple[int, int]]:
    """[l_i, r_i) of each frame; an empty range starts and ends where the one before it ended."""
    ranges: list[tuple[int, int]] = []
    previous = 0
    for i in range(timesteps):
        if split_by == "number":
            width = len(t) // timesteps
            l, r = i * width, (i + 1) * width
        else:
            span = (int(t[-1]) - int(t[0])) // timesteps
            inside = np.flatnonzero((t >= t[0] + i * span) & (t < t[0] + (i + 1) * span))
            l, r = (int(inside[0]), int(inside[-1]) + 1) if len(inside) else (previous, previous)
        if i == timesteps - 1:
            r = len(t)
        ranges.append((l, r))
        previous = r
    return ranges


def bin_events(events: Any, timesteps: int, split_by: str, downsample: int = 1) -> NDArray[np.int64]:
    """Counts, int64 (T, 2, H, W), of an object with t, x, y, p, height and width."""
    rows, columns = -(-events.height // downsample), -(-events.width // downsample)
    frames = np.zeros((timesteps, 2, rows, columns), np.int64)
    for i, (l, r) in enumerate(bin_ranges(events.t, timesteps, split_by)):
        place = (events.p[l:r].astype(int), events.y[l:r] // downsample, events.x[l:r] // downsample)
        np.add.at(frames[i], place, 1)
    return frames
