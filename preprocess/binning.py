"""Binning: which events of a sample fall into which frame.

Frames are index ranges [l_i, r_i) of a sample's events. `number` and `time` are bit-exact with SpikingJelly 2.0
wherever it returns a result; where it raises, a range without events has l = r = the r before it, and the last range
ends at N all the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from preprocess.errors import ConfigError, RecordingError
from preprocess.events import Events

SplitBy = Literal["number", "time"]


@dataclass(frozen=True)
class Binning:
    """How a sample becomes frames."""

    timesteps: int = 10
    """T, the number of frames of a sample."""
    split_by: SplitBy = "number"
    """number: equally many events a frame; time: equally long frames."""
    downsample: int = 1
    """Sum k x k blocks of pixels."""

    def faults(self) -> Iterator[str]:
        if self.timesteps < 1:
            yield f"binning.timesteps: expected at least 1, found {self.timesteps}"
        if self.downsample < 1:
            yield f"binning.downsample: expected at least 1, found {self.downsample}"

    def check(self) -> None:
        """Raise a ConfigError with every fault."""
        faults = list(self.faults())
        if faults:
            raise ConfigError(*faults)

    def size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of the frames of a sensor's events: ceil(H / k), ceil(W / k)."""
        return -(-height // self.downsample), -(-width // self.downsample)

    def key(self, height: int, width: int) -> str:
        """The readable name of the frame cache, such as ``number-T20-128x128``."""
        rows, columns = self.size(height, width)
        return f"{self.split_by}-T{self.timesteps}-{rows}x{columns}"


def bin_ranges(t: NDArray[np.int64], binning: Binning) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Index ranges [l_i, r_i) of the events of each frame.

    `number`: N // T events a frame, the last takes the rest. `time`: with width = (t[-1] - t[0]) // T, from the first
    to the last event with t[0] + i * width <= t < t[0] + (i + 1) * width, the last frame to N; where times are not
    sorted the ranges may overlap, and an event between two others of a bin counts in it whatever its time.

    Args:
        t: Times in µs in recording order, int64, shape (N,); N >= 1. Only its length matters for `number`.
        binning: Its downsampling plays no part here.

    Returns:
        l and r, int64, shape (T,).

    Raises:
        RecordingError: If there is no event.
    """
    if len(t) == 0:
        raise RecordingError("binning: expected at least one event, found none. Leave the empty sample out.")
    if binning.split_by == "number":
        return _number_ranges(len(t), binning.timesteps)
    from preprocess.kernels import time_ranges

    l, r = np.empty((2, binning.timesteps), np.int64)
    time_ranges(t, binning.timesteps, l, r)
    r[-1] = len(t)
    return l, r


def _number_ranges(events: int, timesteps: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    l = np.arange(timesteps, dtype=np.int64) * (events // timesteps)
    r = l + events // timesteps
    r[-1] = events
    return l, r


def bin_events(events: Events, binning: Binning) -> NDArray[Any]:
    """Count events per pixel and polarity in T frames.

    Args:
        events: One sample, N >= 1 events in recording order.
        binning: How; downsampling k sums x // k, y // k.

    Returns:
        The smallest unsigned type that holds the largest count, shape (T, 2, ceil(H/k), ceil(W/k)); channel 1 is ON.

    Raises:
        RecordingError: If there is no event, or one lies outside the sensor.
    """
    return bin_addresses(events.address(), events.t, binning, events.height, events.width)


def bin_addresses(
    address: NDArray[Any], t: NDArray[np.int64] | None, binning: Binning, height: int, width: int
) -> NDArray[Any]:
    """As `bin_events`, of linear addresses ``(p*H + y)*W + x``, the form in which the event store holds events.

    Args:
        address: Any unsigned type, shape (N,).
        t: int64, shape (N,); None will do for `number`.
        binning: How.
        height: Sensor rows H.
        width: Sensor columns W.
    """
    from preprocess.kernels import count_events

    if t is None:
        if binning.split_by == "time":
            raise ValueError("splitting by time needs the times")
        t = np.broadcast_to(np.int64(0), len(address))
    l, r = bin_ranges(t, binning)
    if int(address.max()) >= 2 * height * width:
        limit = 2 * height * width
        raise RecordingError(f"binning: expected addresses below {limit}, found {int(address.max())}. Decode it again.")
    rows, columns = binning.size(height, width)
    if binning.downsample > 1:
        address = _downsampled(height, width, binning.downsample)[address]
    for dtype in (np.uint8, np.uint16, np.uint32, np.uint64):
        frames: NDArray[Any] = np.zeros((binning.timesteps, 2 * rows * columns), dtype)
        # The first type that suffices is the smallest; starting over is rare, and each start touches few bytes.
        if count_events(address, l, r, frames, min(np.iinfo(dtype).max, np.iinfo(np.int64).max)):
            break
    return frames.reshape(binning.timesteps, 2, rows, columns)


@lru_cache(maxsize=8)
def _downsampled(height: int, width: int, k: int) -> NDArray[np.uint32]:
    """The address on the coarse grid of every address on the fine one, uint32 (2*H*W,)."""
    p, y, x = np.ogrid[:2, :height, :width]
    rows, columns = -(-height // k), -(-width // k)
    return ((p * rows + y // k) * columns + x // k).astype(np.uint32).ravel()
