"""Count the events of a sample per pixel and polarity in the frames of a binning."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from preprocess.binning.binning_config import Binning
from preprocess.binning.frame_ranges import RULES, count_coverage
from preprocess.errors import RecordingError
from preprocess.events import Events


def bin_ranges(t: NDArray[np.int64] | range, binning: Binning) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Index ranges [l_i, r_i) of the events of each frame, by `preprocess.binning.frame_ranges`.

    Args:
        t: Times in µs in recording order, int64, shape (N,); N >= 1. Only its length is used if the rule does not
            need times, and ``range(N)`` is enough.
        binning: Its downsampling is not used here.

    Returns:
        l and r, int64, shape (F,); F is T if the binning does not vary.

    Raises:
        RecordingError: If there is no event.
    """
    if len(t) == 0:
        raise RecordingError("binning: expected at least one event, found none. Leave the empty sample out.")
    return RULES[binning.split_by].ranges(t, binning)


def bin_events(events: Events, binning: Binning) -> NDArray[Any]:
    """Count events per pixel and polarity in frames.

    Args:
        events: One sample, N >= 1 events in recording order.
        binning: The rule; downsampling k sums x // k, y // k.

    Returns:
        Counts in the smallest unsigned type that fits the largest, shape (F, 2, ceil(H/k), ceil(W/k)); channel 1 is
        ON. F is T if the binning does not vary.

    Raises:
        ConfigError: If the binning is invalid.
        RecordingError: If there is no event, one is outside the sensor, or the columns are not of one length and
            integers.
    """
    binning.check()
    events = events.checked()
    return bin_addresses(events.address(), events.t, binning, events.height, events.width)


def bin_addresses(
    address: NDArray[Any], t: NDArray[np.int64] | None, binning: Binning, height: int, width: int
) -> NDArray[Any]:
    """As `bin_events`, for linear addresses ``(p*H + y)*W + x`` as in the event store.

    Args:
        address: Any unsigned type, shape (N,).
        t: int64, shape (N,); may be None if the binning needs no times.
        binning: The rule.
        height: Sensor rows H.
        width: Sensor columns W.
    """
    l, r = _ranges(len(address), t, binning)
    for dtype in (np.uint8, np.uint16, np.uint32, np.uint64):
        frames: NDArray[Any] = np.zeros((len(l), 2, *binning.size(height, width)), dtype)
        # The first type that fits all counts is the smallest; counting again is rare and cheap.
        if _count(address, l, r, binning, height, width, frames):
            break
    return frames


def bin_addresses_into(
    frames: NDArray[Any], address: NDArray[Any], t: NDArray[np.int64] | None, binning: Binning, height: int, width: int
) -> int:
    """As `bin_addresses`, into given frames; returns the number of frames of the sample. Further frames are zero.

    Args:
        frames: Any unsigned type, contiguous, shape (>= F, 2, ceil(H/k), ceil(W/k)); overwritten.

    Raises:
        RecordingError: As `bin_addresses`, and if a count or the sample does not fit into the frames.
    """
    l, r = _ranges(len(address), t, binning)
    if len(l) > len(frames):
        raise RecordingError(f"binning: expected at most {len(frames)} frames, found {len(l)}. Bin the data set again.")
    frames[...] = 0
    if not _count(address, l, r, binning, height, width, frames[: len(l)]):
        raise RecordingError(
            f"binning: expected counts that fit into {frames.dtype}, found larger ones. Bin the data set again."
        )
    return len(l)


def bin_samples(
    address: NDArray[Any],
    t: NDArray[np.int64] | None,
    counts: NDArray[np.int64],
    binning: Binning,
    height: int,
    width: int,
    shape: tuple[int, Any],
) -> NDArray[Any] | None:
    """As `bin_addresses`, for several samples at once.

    Args:
        address: The addresses of all samples, one sample after another, any unsigned type, shape (N,).
        t: Their times, int64, shape (N,); may be None if the binning needs no times.
        counts: Number of events of each sample, int64, shape (S,).
        binning: The rule.
        height: Sensor rows.
        width: Sensor columns.
        shape: Number of frames of the result, at least that of every sample, and its type.

    Returns:
        Counts, shape (S, frames, 2, ceil(H/k), ceil(W/k)), zero in frames that a sample does not have; None if a count
        does not fit into the type.

    Raises:
        RecordingError: As `bin_addresses`.
    """
    from preprocess.binning.counting_kernels import count_samples

    longest, dtype = shape
    starts = np.cumsum(counts) - counts
    borders = np.zeros((2, len(counts), longest), np.int64)
    for s, (start, events) in enumerate(zip(starts.tolist(), counts.tolist(), strict=True)):
        l, r = _ranges(events, None if t is None else t[start : start + events], binning)
        borders[0, s, : len(l)], borders[1, s, : len(l)] = l, r
    address = _pixels(address, binning, height, width)
    frames: NDArray[Any] = np.zeros((len(counts), longest, 2, *binning.size(height, width)), dtype)
    fitting = count_samples(address, starts, *borders, frames.reshape(*frames.shape[:2], -1), _largest(frames))
    return frames if fitting == len(counts) else None


def _ranges(events: int, t: NDArray[np.int64] | None, binning: Binning) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    if t is None:
        if binning.needs_times:
            raise ValueError(f"expected times, because split_by {binning.split_by} needs them, found None")
        return bin_ranges(range(events), binning)
    return bin_ranges(t, binning)


def _count(
    address: NDArray[Any],
    l: NDArray[np.int64],
    r: NDArray[np.int64],
    binning: Binning,
    height: int,
    width: int,
    frames: NDArray[Any],
) -> bool:
    """Count every event in its frames, which are zero before; False if a count does not fit into their type."""
    from preprocess.binning.counting_kernels import count_events

    pixels = _pixels(address, binning, height, width)
    return bool(count_events(pixels, l, r, frames.reshape(len(frames), -1), _largest(frames)))


def _pixels(address: NDArray[Any], binning: Binning, height: int, width: int) -> NDArray[Any]:
    """Pixel numbers in a frame; RecordingError if an address is outside the sensor."""
    limit = 2 * height * width
    if int(address.max()) >= limit:
        raise RecordingError(f"binning: expected addresses below {limit}, found {int(address.max())}. Decode it again.")
    return address if binning.downsample == 1 else _downsampled(height, width, binning.downsample)[address]


def _largest(frames: NDArray[Any]) -> int:
    """The largest value of a type that is compared as int64."""
    return int(min(np.iinfo(frames.dtype).max, np.iinfo(np.int64).max))


def measure_sample(events: int, t: NDArray[np.int64] | None, binning: Binning) -> tuple[int, int, int]:
    """The number of frames of a sample, of its events in no frame, and of its events in several frames.

    Args:
        events: Number of events.
        t: Their times; may be None if the binning needs no times.
        binning: The rule.
    """
    l, r = _ranges(events, t, binning)
    return len(l), *count_coverage(events, l, r)


@lru_cache(maxsize=8)
def _downsampled(height: int, width: int, k: int) -> NDArray[np.uint32]:
    """The address on the coarse grid of every address on the fine one, uint32 (2*H*W,)."""
    p, y, x = np.ogrid[:2, :height, :width]
    rows, columns = -(-height // k), -(-width // k)
    return ((p * rows + y // k) * columns + x // k).astype(np.uint32).ravel()
