"""Windows: a long recording cut into samples of equal length while its events stream through."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Windows:
    """Window k of a recording is [start + k * stride_us, start + k * stride_us + window_us), k = 0, 1, ..

    The start is that of the recording's interval, or its first event. Only windows that end within the interval, or
    no later than the recording's last event, become samples.

    Attributes:
        window_us: Length in µs.
        stride_us: From the start of one window to the start of the next; less than `window_us` overlaps them.
        min_events: What a window needs to become a sample.
    """

    window_us: int
    stride_us: int
    min_events: int = 1

    def start_of(self, k: int, start_us: int) -> int:
        """When window k begins."""
        return start_us + k * self.stride_us

    def touched(self, t: NDArray[np.int64], start_us: int) -> list[int]:
        """The numbers of the windows in which some of the times lie, ascending."""
        last = np.unique((t[t >= start_us] - start_us) // self.stride_us)
        overlapping = -(-self.window_us // self.stride_us)
        found = {int(k) - back for k in last for back in range(overlapping)}
        return sorted(k for k in found if k >= 0)
