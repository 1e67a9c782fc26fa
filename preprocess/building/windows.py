"""Cut a long recording into windows, samples of equal duration, while it is being decoded, and say which are kept."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from preprocess.datasets.layout import Windows

if TYPE_CHECKING:
    from preprocess.datasets.layout import Sample


class WindowCutter:
    """Cuts one interval of a recording into windows, chunk by chunk.

    Attributes:
        numbers: The sample number that the caller has given to each window so far.
    """

    def __init__(self, windows: Windows, whole: Sample) -> None:
        self._windows = windows
        self._whole = whole
        self._start_us = whole.start_us
        self._latest_us = 0
        self.numbers: dict[int, int] = {}
        # Every window border is a cell border, so the cell of an event determines its windows.
        self._cells: Counter[int] = Counter()
        self._before_start = 0

    def touched(self, t: NDArray[np.int64]) -> list[int]:
        """Return the windows that contain any of these times, ascending; times (N,), N >= 1, in recording order."""
        if self._start_us is None:
            self._start_us = self._latest_us = int(t[0])
        self._latest_us = max(self._latest_us, int(t.max()))
        w = self._windows
        last = self._count_cells(t)
        overlapping = range(-(-w.window_us // w.stride_us))
        return sorted({int(k) - back for k in last for back in overlapping if k >= back})

    def _count_cells(self, t: NDArray[np.int64]) -> NDArray[np.int64]:
        """Count the events of each cell: 2k and 2k + 1 are between the starts of windows k and k + 1. Returns the k."""
        w, start, end = self._windows, self._start_us or 0, self._whole.end_us
        inside = t if end is None else t[t < end]
        self._before_start += int(np.count_nonzero(inside < start)) if self._whole.start_us is None else 0
        k, since = np.divmod(inside[inside >= start] - start, w.stride_us)
        cells, counts = np.unique(2 * k + (since >= w.window_us % w.stride_us), return_counts=True)
        for cell, count in zip(cells.tolist(), counts.tolist(), strict=True):
            self._cells[cell] += count
        return np.unique(cells // 2)

    def events_outside(self, taken: Iterable[int]) -> int:
        """Number of events of the interval that are in none of these windows, once all events were counted."""
        whole, rest = divmod(self._windows.window_us, self._windows.stride_us)
        cells = {cell for k in taken for cell in range(2 * k, 2 * (k + whole) + (rest > 0))}
        return self._before_start + sum(count for cell, count in self._cells.items() if cell not in cells)

    def sample(self, k: int) -> Sample:
        """Window k as a sample; its index is assigned later, when all recordings are known."""
        start, end = self._bounds(k)
        name = f"{self._whole.name}/window_{k}"
        return dataclasses.replace(self._whole, name=name, start_us=start, end_us=end)

    def keeps(self, k: int, events: int) -> bool:
        """Whether window k becomes a sample: it is complete and has the minimum number of events."""
        return self.is_complete(k) and events >= self._windows.min_events

    def is_complete(self, k: int) -> bool:
        """Whether window k ends within the interval, or by the latest event, once all events were counted."""
        limit = self._latest_us + 1 if self._whole.end_us is None else self._whole.end_us
        return self._bounds(k)[1] <= limit

    def _bounds(self, k: int) -> tuple[int, int]:
        start = (self._start_us or 0) + k * self._windows.stride_us
        return start, start + self._windows.window_us
